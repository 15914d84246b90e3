//! Packed shifts: by a vector's low quadword or an immediate, by bits or by bytes; AVX2's by a
//! count for each lane. Intel SDM volume 1, sections 9.4.6, 11.4.2 and 14.6.

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::binary::{Binary, Immediate, binary, each, with_immediate};
use super::lanes::{build, get, low, map, whole};
use super::state::Bytes;
use crate::cpu::decode::Op;
use crate::cpu::exec::{Way, both_ways};
use crate::cpu::simd::operand::{Avx128, Avx256, Mmx, Place, Registers, Sse, Unit};
use crate::cpu::simd::operand::{by_form, registers};
use crate::cpu::{Exec, Handler};

/// A shift of every lane by one count.
trait Shift {
    /// Shifts; a count past the width clears the lanes, or fills them with their signs.
    fn shift(a: Bytes, count: u64) -> Bytes;
}

/// The shift as an operation whose count is the source's low quadword.
struct ByVector<S>(std::marker::PhantomData<S>);

impl<S: Shift> Binary for ByVector<S> {
    #[inline(always)]
    fn apply(a: Bytes, b: Bytes, _bytes: usize) -> Bytes {
        S::shift(a, get(b, 0))
    }
}

macro_rules! shifts {
    ($($name:ident: $lane:ty, $shift:expr;)*) => {
        $(
            struct $name;
            impl Shift for $name {
                #[inline(always)]
                fn shift(a: Bytes, count: u64) -> Bytes {
                    let count = u32::try_from(count).unwrap_or(u32::MAX);
                    map(a, |x: $lane| ($shift)(x, count))
                }
            }
        )*
    };
}

shifts! {
    Psllw: u16, |x: u16, n| x.checked_shl(n).unwrap_or(0);
    Pslld: u32, |x: u32, n| x.checked_shl(n).unwrap_or(0);
    Psllq: u64, |x: u64, n| x.checked_shl(n).unwrap_or(0);
    Psrlw: u16, |x: u16, n| x.checked_shr(n).unwrap_or(0);
    Psrld: u32, |x: u32, n| x.checked_shr(n).unwrap_or(0);
    Psrlq: u64, |x: u64, n| x.checked_shr(n).unwrap_or(0);
    Psraw: i16, |x: i16, n: u32| x >> n.min(15);
    Psrad: i32, |x: i32, n: u32| x >> n.min(31);
}

/// The whole register by bytes.
struct Pslldq;
struct Psrldq;

impl Shift for Pslldq {
    fn shift(a: Bytes, count: u64) -> Bytes {
        whole(a, |a| a.checked_shl(8 * count.min(16) as u32).unwrap_or(0))
    }
}

impl Shift for Psrldq {
    fn shift(a: Bytes, count: u64) -> Bytes {
        whole(a, |a| a.checked_shr(8 * count.min(16) as u32).unwrap_or(0))
    }
}

/// By the low quadword of 16 bytes, whatever the width: AVX.
fn by_quadword<'m, M: Way<'m>, S: Shift, U: Unit, P: Place>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let count = get(P::lane(core, op)?, 0);
    let a = U::first(core, op);
    U::set(core, op, each::<U>(|n| S::shift(a[n], count)));
    Ok(())
}

fn by_immediate<'m, M: Way<'m>, S: Shift, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let a = U::first(core, op);
    let count = op.immediate & 0xff;
    U::set(core, op, each::<U>(|n| S::shift(a[n], count)));
    Ok(())
}

/// By an immediate, of another register than the destination: AVX.
fn copy_by_immediate<'m, M: Way<'m>, S: Shift, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let a = U::register(core, op.src);
    let count = op.immediate & 0xff;
    U::set(core, op, each::<U>(|n| S::shift(a[n], count)));
    Ok(())
}

fn shift<S: Shift>(instruction: &Instruction) -> Option<Handler> {
    let last = instruction.op_count() - 1;
    let immediate = instruction.op_kind(last) == OpKind::Immediate8;
    Some(match (registers(instruction), immediate) {
        (Registers::Mmx, true) => both_ways!(by_immediate, S, Mmx),
        (Registers::Sse, true) => both_ways!(by_immediate, S, Sse),
        (Registers::Avx128, true) => both_ways!(copy_by_immediate, S, Avx128),
        (Registers::Avx256, true) => both_ways!(copy_by_immediate, S, Avx256),
        (Registers::Mmx | Registers::Sse, false) => return binary::<ByVector<S>>(instruction),
        (_, false) => by_form!(quick instruction, by_quadword, S),
    })
}

/// AVX2: every lane by its own count.
struct Each<S>(std::marker::PhantomData<S>);

macro_rules! each_lane {
    ($($shift:ident: $lane:ty;)*) => {
        $(
            impl Binary for Each<$shift> {
                fn apply(a: Bytes, b: Bytes, _bytes: usize) -> Bytes {
                    build::<$lane>(|n| {
                        let count: $lane = get(b, n);
                        get($shift::shift(low::<$lane>(get(a, n)), count.into()), 0)
                    })
                }
            }
        )*
    };
}

each_lane! {
    Pslld: u32;
    Psllq: u64;
    Psrld: u32;
    Psrlq: u64;
    Psrad: u32;
}

/// PALIGNR: destination and source as one long vector, shifted right by bytes.
struct Palignr;

impl Immediate for Palignr {
    fn apply(a: Bytes, b: Bytes, immediate: u8, bytes: usize) -> Bytes {
        let count = usize::from(immediate);
        build(|n| match n + count {
            from if from < bytes => b[from],
            from if from < 2 * bytes => a[from - bytes],
            _ => 0,
        })
    }
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    use Mnemonic as M;
    match instruction.mnemonic() {
        M::Psllw | M::Vpsllw => shift::<Psllw>(instruction),
        M::Pslld | M::Vpslld => shift::<Pslld>(instruction),
        M::Psllq | M::Vpsllq => shift::<Psllq>(instruction),
        M::Psrlw | M::Vpsrlw => shift::<Psrlw>(instruction),
        M::Psrld | M::Vpsrld => shift::<Psrld>(instruction),
        M::Psrlq | M::Vpsrlq => shift::<Psrlq>(instruction),
        M::Psraw | M::Vpsraw => shift::<Psraw>(instruction),
        M::Psrad | M::Vpsrad => shift::<Psrad>(instruction),
        M::Pslldq | M::Vpslldq => shift::<Pslldq>(instruction),
        M::Psrldq | M::Vpsrldq => shift::<Psrldq>(instruction),
        M::Palignr | M::Vpalignr => with_immediate::<Palignr>(instruction),
        M::Vpsllvd => binary::<Each<Pslld>>(instruction),
        M::Vpsllvq => binary::<Each<Psllq>>(instruction),
        M::Vpsrlvd => binary::<Each<Psrld>>(instruction),
        M::Vpsrlvq => binary::<Each<Psrlq>>(instruction),
        M::Vpsravd => binary::<Each<Psrad>>(instruction),
        _ => None,
    }
}
