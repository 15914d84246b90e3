//! Packed shifts: by a vector's low quadword or an immediate, by bits or by bytes.
//! Intel SDM volume 1, sections 9.4.6 and 11.4.2.

use crate::cpu::exec::run;
use iced_x86::{Instruction, Mnemonic, OpKind};

use super::binary::{Binary, Immediate, binary, with_immediate};
use super::lanes::map;
use crate::cpu::decode::Op;
use crate::cpu::simd::operand::{Mmx, VectorSource, Xmm};
use crate::cpu::{Core, Exec, Handler};

/// A shift of every lane by one count.
trait Shift {
    /// Shifts; a count past the width clears the lanes, or fills them with their signs.
    fn shift(a: u128, count: u64) -> u128;
}

/// The shift as an operation whose count is the source's low quadword.
struct ByVector<S>(std::marker::PhantomData<S>);

impl<S: Shift> Binary for ByVector<S> {
    #[inline(always)]
    fn apply(a: u128, b: u128, _bytes: usize) -> u128 {
        S::shift(a, b as u64)
    }
}

macro_rules! shifts {
    ($($name:ident: $lane:ty, $shift:expr;)*) => {
        $(
            struct $name;
            impl Shift for $name {
                #[inline(always)]
                fn shift(a: u128, count: u64) -> u128 {
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
    fn shift(a: u128, count: u64) -> u128 {
        if count > 15 { 0 } else { a << (8 * count) }
    }
}

impl Shift for Psrldq {
    fn shift(a: u128, count: u64) -> u128 {
        if count > 15 { 0 } else { a >> (8 * count) }
    }
}

fn by_immediate<S: Shift, V: VectorSource>(core: &mut Core<'_>, op: &Op) -> Exec {
    V::enter(core)?;
    let a = V::destination(core, op);
    V::set(core, op, S::shift(a, op.immediate & 0xff));
    Ok(())
}

fn shift<S: Shift>(instruction: &Instruction) -> Option<Handler> {
    if instruction.op_kind(1) != OpKind::Immediate8 {
        return binary::<ByVector<S>>(instruction);
    }
    Some(match instruction.op_register(0).is_mm() {
        false => run!(by_immediate::<S, Xmm>),
        true => run!(by_immediate::<S, Mmx>),
    })
}

/// PALIGNR: destination and source as one long vector, shifted right by bytes.
struct Palignr;

impl Immediate for Palignr {
    fn apply(a: u128, b: u128, immediate: u8, bytes: usize) -> u128 {
        let count = usize::from(immediate);
        let at = |n: usize| {
            let from = n + count;
            let byte = |v: u128, k: usize| v >> (8 * k) & 0xff;
            match from {
                _ if from < bytes => byte(b, from),
                _ if from < 2 * bytes => byte(a, from - bytes),
                _ => 0,
            }
        };
        (0..bytes).fold(0, |v, n| v | at(n) << (8 * n))
    }
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    match instruction.mnemonic() {
        Mnemonic::Psllw => shift::<Psllw>(instruction),
        Mnemonic::Pslld => shift::<Pslld>(instruction),
        Mnemonic::Psllq => shift::<Psllq>(instruction),
        Mnemonic::Psrlw => shift::<Psrlw>(instruction),
        Mnemonic::Psrld => shift::<Psrld>(instruction),
        Mnemonic::Psrlq => shift::<Psrlq>(instruction),
        Mnemonic::Psraw => shift::<Psraw>(instruction),
        Mnemonic::Psrad => shift::<Psrad>(instruction),
        Mnemonic::Pslldq => shift::<Pslldq>(instruction),
        Mnemonic::Psrldq => shift::<Psrldq>(instruction),
        Mnemonic::Palignr => with_immediate::<Palignr>(instruction),
        _ => None,
    }
}
