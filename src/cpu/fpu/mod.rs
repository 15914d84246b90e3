//! The x87 floating-point unit: 80-bit arithmetic, and the instructions on top of it.
//!
//! ```text
//!   soft     arithmetic as pure functions        state    registers, control, status, tags
//!   unit     what all instructions share         operand  where their sources come from
//!   arithmetic, compare, transcendental, load_store, control, fxsave, xsave   the
//!                                                                     instructions
//! ```
//!
//! Intel SDM volume 1, chapter 8.

mod arithmetic;
mod compare;
mod control;
mod fxsave;
mod image;
mod load_store;
mod operand;
pub mod soft;
mod state;
mod transcendental;
mod unit;
pub(super) mod xsave;

use crate::cpu::Handler;
use iced_x86::Instruction;

pub(crate) use compare::eflags;
pub use state::{CONTROL_INIT, Fpu, LastInstruction, status};

/// The functions that execute x87 instructions, FXSAVE and XSAVE and their kin.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    let tables = [
        arithmetic::handler,
        compare::handler,
        load_store::handler,
        transcendental::handler,
        control::handler,
        fxsave::handler,
        xsave::handler,
    ];
    tables.iter().find_map(|table| table(instruction))
}

/// FOP of the x87 instruction that begins `bytes`: the last three bits of its escape byte, and its
/// ModRM byte. No prefix looks like an escape byte. Intel SDM volume 1, section 8.1.9.
#[must_use]
pub(super) fn opcode(bytes: &[u8]) -> u16 {
    let mut rest = bytes
        .iter()
        .skip_while(|byte| !(0xd8..=0xdf).contains(*byte));
    match (rest.next(), rest.next()) {
        (Some(escape), Some(modrm)) => u16::from(escape & 7) << 8 | u16::from(*modrm),
        _ => 0,
    }
}
