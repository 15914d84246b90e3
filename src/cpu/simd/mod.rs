//! MMX and SSE.
//! Intel SDM volume 1, chapters 9 to 12.

pub mod approximate;
mod binary;
mod convert;
pub mod float;
mod float_arith;
mod float_fast;
mod float_unit;
mod integer;
mod lanes;
mod moves;
mod operand;
mod shift;
mod shuffle;
mod state;
mod string;

use iced_x86::Instruction;

use super::Handler;

pub use state::{MXCSR_MASK, Sse};

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
    ];
    TABLES.iter().find_map(|table| table(instruction))
}
