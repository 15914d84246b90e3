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
mod bcd;
mod bits;
mod bmi;
mod branch;
mod chain;
mod cmpxchg;
mod control;
mod far;
mod form;
mod fuse;
mod iret;
mod mov;
mod muldiv;
mod portio;
mod protection;
mod quick;
mod shift;
mod sreg;
mod stack;
mod string;
mod syscall;
mod system;
mod table;

use iced_x86::{Code, Instruction};

use super::decode::Op;
use super::fault::{Event, Exec, GP, UD};
use super::{Core, cpuid};

pub use backend::Backend;
pub(super) use chain::run;
pub(super) use fuse::pair;

/// The function that executes an [`Op`], and then those behind it in its block.
pub type Handler = fn(&mut Core<'_>, &Op, &[Op]) -> Exec;

/// The tables of all families, asked in this order.
const TABLES: &[fn(&Instruction) -> Option<Handler>] = &[
    alu::handler,
    mov::handler,
    stack::handler,
    branch::handler,
    shift::handler,
    muldiv::handler,
    bits::handler,
    bmi::handler,
    super::fpu::handler,
    super::simd::handler,
    string::handler,
    far::handler,
    iret::handler,
    sreg::handler,
    portio::handler,
    control::handler,
    table::handler,
    protection::handler,
    syscall::handler,
    system::handler,
    bcd::handler,
    cmpxchg::handler,
];

/// The function that executes `instruction`. Bytes that are no instruction, or one of a
/// feature that CPUID does not report, raise #UD; an instruction that nobody implements stops
/// the run.
pub fn handler(instruction: &Instruction) -> Handler {
    let known = cpuid::claims(instruction) || system::is_reserved_nop(instruction);
    if instruction.is_invalid() && instruction.len() == LONGEST {
        return run!(too_long);
    }
    if instruction.is_invalid() || !known {
        return run!(invalid);
    }
    let found = TABLES.iter().find_map(|table| table(instruction));
    found.unwrap_or(run!(unimplemented))
}

/// Whether an instruction ends its block although control flows on behind it.
pub fn ends_block(code: Code) -> bool {
    stack::ends_block(code)
        || portio::ends_block(code)
        || sreg::ends_block(code)
        || control::ends_block(code)
        || system::ends_block(code)
}

/// The longest instruction; with more prefixes it is none, and raises #GP(0).
const LONGEST: usize = 15;

fn too_long(core: &mut Core<'_>, _op: &Op) -> Exec {
    Err(core.fault_with(GP, 0))
}

fn invalid(core: &mut Core<'_>, _op: &Op) -> Exec {
    Err(core.fault(UD))
}

fn unimplemented(core: &mut Core<'_>, _op: &Op) -> Exec {
    Err(core.raise(Event::Unimplemented))
}
