//! MMX and SSE.
//! Intel SDM volume 1, chapters 9 to 12.

pub mod approximate;
pub mod float;
mod state;

pub use state::{MXCSR_MASK, Sse};
