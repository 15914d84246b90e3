//! What each instruction does.
//!
//! The hot families are written once, generic over a [`Backend`], a [`Width`] and the forms of
//! their operands; with [`Core`] as the back end they are the interpreter. Instructions whose
//! control flow depends on data are plain functions on `Core`. Each file ends with the table
//! from iced-x86's mnemonics or encodings to its functions.
//!
//! A handler reads everything, checks everything, then changes state: a fault leaves no trace.

mod alu;
mod backend;
mod bits;

mod branch;
mod form;
mod mov;
mod muldiv;
mod shift;

mod stack;

use iced_x86::{Code, Instruction};

use super::Core;
use super::decode::Op;
use super::fault::{Event, Exec, UD};
use super::features;

pub use backend::Backend;

/// The function that executes an [`Op`].
pub type Handler = fn(&mut Core<'_>, &Op) -> Exec;

/// The tables of all families, asked in this order.
const TABLES: &[fn(&Instruction) -> Option<Handler>] = &[
    alu::handler,
    mov::handler,
    stack::handler,
    branch::handler,
    shift::handler,
    muldiv::handler,
    bits::handler,
    super::simd::handler,
];

/// The function that executes `instruction`. Bytes that are no instruction, or one of a set
/// that this CPU lacks, raise #UD; an instruction that it has and nobody implements stops the
/// run.
pub fn handler(instruction: &Instruction) -> Handler {
    if instruction.is_invalid() || !features::has(instruction) {
        return invalid;
    }
    let found = TABLES.iter().find_map(|table| table(instruction));
    found.unwrap_or(unimplemented)
}

/// Whether an instruction ends its block although control flows on behind it.
pub fn ends_block(code: Code) -> bool {
    stack::ends_block(code)
}

fn invalid(core: &mut Core<'_>, _op: &Op) -> Exec {
    Err(core.fault(UD))
}

fn unimplemented(core: &mut Core<'_>, _op: &Op) -> Exec {
    Err(core.raise(Event::Unimplemented))
}
