//! The shape that most packed instructions share: the destination and one source, both whole
//! vectors, give the destination.

use crate::cpu::exec::run;
use iced_x86::{Instruction, OpKind};

use super::operand::{Mem128, Mmx, MmxMem, VectorSource, Xmm};
use crate::cpu::decode::Op;
use crate::cpu::{Core, Exec, Handler};

/// An operation on two vectors.
pub(super) trait Binary {
    /// `a` is the destination, `b` the source, `bytes` the width: 8 or 16.
    fn apply(a: u128, b: u128, bytes: usize) -> u128;
}

/// An operation on two vectors and an immediate byte.
pub(super) trait Immediate {
    /// `a` is the destination, `b` the source, `bytes` the width: 8 or 16.
    fn apply(a: u128, b: u128, immediate: u8, bytes: usize) -> u128;
}

fn run<O: Binary, S: VectorSource>(core: &mut Core<'_>, op: &Op) -> Exec {
    S::enter(core)?;
    let b = S::source(core, op)?;
    let a = S::destination(core, op);
    S::set(core, op, O::apply(a, b, S::BYTES));
    Ok(())
}

fn run_immediate<O: Immediate, S: VectorSource>(core: &mut Core<'_>, op: &Op) -> Exec {
    S::enter(core)?;
    let b = S::source(core, op)?;
    let a = S::destination(core, op);
    S::set(core, op, O::apply(a, b, op.immediate as u8, S::BYTES));
    Ok(())
}

/// Whether the destination is an MMX register, and whether the source is memory.
pub(super) fn shape(instruction: &Instruction) -> (bool, bool) {
    let mmx = instruction.op_register(0).is_mm();
    (mmx, instruction.op_kind(1) == OpKind::Memory)
}

/// The handler of `O` for the operands of `instruction`.
pub(super) fn binary<O: Binary>(instruction: &Instruction) -> Option<Handler> {
    Some(match shape(instruction) {
        (false, false) => run!(run::<O, Xmm>),
        (false, true) => run!(run::<O, Mem128>),
        (true, false) => run!(run::<O, Mmx>),
        (true, true) => run!(run::<O, MmxMem>),
    })
}

/// The handler of `O`, whose memory source has 8 bytes although its destination is an XMM
/// register.
pub(super) fn from_half<O: Binary>(instruction: &Instruction) -> Option<Handler> {
    use super::operand::Mem64;
    Some(match shape(instruction).1 {
        false => run!(run::<O, Xmm>),
        true => run!(run::<O, Mem64>),
    })
}

/// The handler of `O` for the operands of `instruction`.
pub(super) fn with_immediate<O: Immediate>(instruction: &Instruction) -> Option<Handler> {
    Some(match shape(instruction) {
        (false, false) => run!(run_immediate::<O, Xmm>),
        (false, true) => run!(run_immediate::<O, Mem128>),
        (true, false) => run!(run_immediate::<O, Mmx>),
        (true, true) => run!(run_immediate::<O, MmxMem>),
    })
}
