//! Floating-point arithmetic in integers: the reference for x87 and SSE, the same on every host.
//!
//! ```text
//!  bit pattern --Format::unpack--> Unpacked --add, mul, sin, …--> Exact --round--> bit pattern
//!                                      |                            |                 |
//!                                      +-- IE, DE, ZE --> Env <-----+--- OE, UE, PE --+
//! ```
//!
//! Everything here is a pure function of its operands and an [`Env`]. Stack, tags and delivery of
//! exceptions are the instructions' work. Where an unmasked exception stops an instruction, the
//! returned value means nothing, and [`Env::unmasked`] says so.
//! Intel SDM volume 1, chapters 4 and 8.

pub mod arctan;
pub mod arith;
pub mod bcd;
pub mod compare;
pub mod constant;
pub mod env;
pub mod exp_log;
pub mod format;
pub mod integral;
pub mod remainder;
mod round;
pub mod scale;
pub mod trig;
pub mod unpacked;
mod wide;

pub use env::{Env, Rounding, exception};
pub use format::{Float16, Float32, Float64, Float80, Format, Ieee};
pub use unpacked::{Class, Unpacked};
