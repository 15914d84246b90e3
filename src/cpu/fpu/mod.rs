//! The x87 floating-point unit: 80-bit arithmetic, and the instructions on top of it.
//! Intel SDM volume 1, chapter 8.

pub mod soft;
mod state;

pub use state::{CONTROL_INIT, Fpu, LastInstruction, status};
