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
mod i286;
mod i8086;
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

use iced_x86::{CpuidFeature, Instruction};

use super::decode::Op;
use super::fault::{Event, Exec, GP, UD};
use super::model::Opcodes;
use super::{Core, Model};

pub use backend::Backend;
pub(super) use chain::{both_ways, one_way, run};
pub(super) use fuse::pair;
pub(super) use quick::{Fully, Quick, Way};

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

/// The function that executes `instruction` on `model`. Bytes that are no instruction, or one of
/// a feature that the model does not have, raise #UD; an instruction that nobody implements stops
/// the run.
pub fn handler(instruction: &Instruction, model: Model) -> Handler {
    if instruction.len() > model.traits().longest_instruction || is_cut_off(instruction) {
        return run!(too_long);
    }
    let own = match model.traits().opcodes {
        Opcodes::I8086 => i8086::handler(instruction),
        Opcodes::I286 => i286::handler(instruction),
        Opcodes::I386 => None,
    };
    if let Some(handler) = own {
        return handler;
    }
    let skipped = model.has_feature(CpuidFeature::MULTIBYTENOP);
    let known = model.has(instruction) || skipped && system::is_reserved_nop(instruction);
    if instruction.is_invalid() || !known {
        return run!(invalid);
    }
    let found = TABLES.iter().find_map(|table| table(instruction));
    found.unwrap_or(run!(unimplemented))
}

/// Whether an instruction ends its block although control flows on behind it.
pub fn ends_block(instruction: &Instruction, model: Model) -> bool {
    let code = instruction.code();
    model == Model::I8086 && i8086::ends_block(instruction)
        || stack::ends_block(code)
        || portio::ends_block(code)
        || sreg::ends_block(code)
        || control::ends_block(code)
        || system::ends_block(code)
}

/// Whether iced-x86 gave up at the most bytes that an instruction can have.
fn is_cut_off(instruction: &Instruction) -> bool {
    instruction.is_invalid() && instruction.len() == 15
}

/// More bytes than an instruction may have (Intel SDM volume 3, section 6.15, #GP).
fn too_long(core: &mut Core<'_>, _op: &Op) -> Exec {
    Err(core.fault_with(GP, 0))
}

fn invalid(core: &mut Core<'_>, _op: &Op) -> Exec {
    Err(core.fault(UD))
}

fn unimplemented(core: &mut Core<'_>, _op: &Op) -> Exec {
    Err(core.raise(Event::Unimplemented))
}
