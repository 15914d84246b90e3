//! The CPU.

mod socket;

pub use socket::{Bus, Signals};
