//! MMX, SSE, AVX, and what works on their registers.
//! Intel SDM volume 1, chapters 9 to 14.

pub mod approximate;
mod binary;
mod convert;
mod crypto;
pub mod float;
mod float_arith;
mod float_fast;
mod float_unit;
mod fma;
mod integer;
mod lanes;
mod masked;
mod moves;
mod operand;
mod permute;
mod shift;
mod shuffle;
mod state;
mod string;

use iced_x86::Instruction;

use super::Handler;

pub use state::{Bytes, MXCSR_MASK, Sse};

/// The handlers of this folder.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    const TABLES: &[fn(&Instruction) -> Option<Handler>] = &[
        moves::handler,
        integer::handler,
        shift::handler,
        shuffle::handler,
        string::handler,
        float_arith::handler,
        convert::handler,
        permute::handler,
        masked::handler,
        fma::handler,
        crypto::handler,
    ];
    TABLES.iter().find_map(|table| table(instruction))
}
