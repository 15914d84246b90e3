//! The `cowbox` command.

fn main() {}
