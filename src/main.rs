//! The `cowbox` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    cowbox::cli::main()
}
