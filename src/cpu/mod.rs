//! The CPU.

pub mod fpu;
pub mod simd;
mod socket;

pub use socket::{Bus, Signals};
