//! The shape that most packed instructions share: two sources, both whole vectors, give the
//! destination, lane of 128 bits by lane.

use iced_x86::Instruction;

use super::lanes::low;
use super::operand::{Avx128, Memory, Mmx, Place, Register, Registers, Sse, Unit, Vector};
use super::operand::{by_form, has_memory, registers};
use super::state::{Bytes, ZERO};
use crate::cpu::decode::Op;
use crate::cpu::exec::{Way, both_ways};
use crate::cpu::{Exec, Handler};

/// An operation on a lane of two vectors.
pub(super) trait Binary {
    /// `a` is of the first source, `b` of the second, `bytes` the width: 8 or 16.
    fn apply(a: Bytes, b: Bytes, bytes: usize) -> Bytes;
}

/// Declares operations: what becomes of `$a`, of the first source, and `$b`, of the second, in a
/// vector of `$n` bytes.
macro_rules! operations {
    ($($name:ident($a:ident, $b:ident, $n:ident) = $result:expr;)*) => {$(
        pub(super) struct $name;

        impl Binary for $name {
            #[inline(always)]
            fn apply($a: Bytes, $b: Bytes, $n: usize) -> Bytes {
                let _ = ($a, $n);
                $result
            }
        }
    )*};
}

pub(super) use operations;

/// An operation on a lane of two vectors and an immediate byte.
pub(super) trait Immediate {
    /// How many bits of the immediate belong to a lane; 0 if all of them belong to each.
    const BITS_A_LANE: usize = 0;
    /// `a` is of the first source, `b` of the second, `bytes` the width: 8 or 16.
    fn apply(a: Bytes, b: Bytes, immediate: u8, bytes: usize) -> Bytes;
}

/// Lane by lane.
#[inline(always)]
pub(super) fn each<U: Unit>(mut f: impl FnMut(usize) -> Bytes) -> Vector {
    [f(0), if U::LANES == 2 { f(1) } else { ZERO }]
}

fn apply<'m, M: Way<'m>, O: Binary, U: Unit, P: Place>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let b = P::vector::<U>(core, op)?;
    let a = U::first(core, op);
    U::set(core, op, each::<U>(|n| O::apply(a[n], b[n], U::BYTES)));
    Ok(())
}

fn apply_immediate<'m, M: Way<'m>, O: Immediate, U: Unit, P: Place>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let b = P::vector::<U>(core, op)?;
    let a = U::first(core, op);
    let result = each::<U>(|n| {
        let immediate = op.immediate as u8 >> (O::BITS_A_LANE * n);
        O::apply(a[n], b[n], immediate, U::BYTES)
    });
    U::set(core, op, result);
    Ok(())
}

/// The handler of `O` for the operands of `instruction`.
pub(super) fn binary<O: Binary>(instruction: &Instruction) -> Option<Handler> {
    Some(match (registers(instruction), has_memory(instruction)) {
        (Registers::Mmx, true) => both_ways!(apply, O, Mmx, Memory),
        (Registers::Mmx, false) => both_ways!(apply, O, Mmx, Register),
        _ => by_form!(quick instruction, apply, O),
    })
}

/// The handler of `O`, whose memory source has 8 bytes although its destination is an XMM
/// register.
pub(super) fn from_half<O: Binary>(instruction: &Instruction) -> Option<Handler> {
    fn apply_half<'m, M: Way<'m>, O: Binary, U: Unit>(core: &mut M, op: &Op) -> Exec {
        U::enter(core)?;
        let b = low(Memory::low::<u64>(core, op)?);
        let a = U::first(core, op)[0];
        U::set(core, op, [O::apply(a, b, 16), ZERO]);
        Ok(())
    }
    match (registers(instruction), has_memory(instruction)) {
        (Registers::Sse, true) => Some(both_ways!(apply_half, O, Sse)),
        (Registers::Avx128, true) => Some(both_ways!(apply_half, O, Avx128)),
        _ => binary::<O>(instruction),
    }
}

/// The handler of `O` for the operands of `instruction`.
pub(super) fn with_immediate<O: Immediate>(instruction: &Instruction) -> Option<Handler> {
    Some(match (registers(instruction), has_memory(instruction)) {
        (Registers::Mmx, true) => both_ways!(apply_immediate, O, Mmx, Memory),
        (Registers::Mmx, false) => both_ways!(apply_immediate, O, Mmx, Register),
        _ => by_form!(quick instruction, apply_immediate, O),
    })
}
