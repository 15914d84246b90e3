//! Source operands of the arithmetic and comparing instructions, as types.

use super::soft::{Env, Float32, Float64, Float80, Format, Unpacked};
use crate::cpu::decode::Op;
use crate::cpu::exec::Way;
use crate::cpu::{Core, Exec};

/// What an operand holds before it is taken apart.
pub(super) trait Value: Copy {
    /// Takes it apart if it is a normal number.
    fn normal_number(self) -> Option<Unpacked>;

    /// Takes it apart.
    fn number(self) -> Unpacked;
}

/// Unpacking looks at nothing but DAZ, which the x87 does not have.
impl<F: Format> Value for F {
    #[inline(always)]
    fn normal_number(self) -> Option<Unpacked> {
        self.normal()
    }

    #[inline(always)]
    fn number(self) -> Unpacked {
        self.unpack(&Env::PLAIN)
    }
}

/// An integer of any size.
#[derive(Clone, Copy)]
pub(super) struct Integer(i64);

impl Value for Integer {
    #[inline(always)]
    fn normal_number(self) -> Option<Unpacked> {
        (self.0 != 0).then(|| Unpacked::from_integer(self.0))
    }

    #[inline(always)]
    fn number(self) -> Unpacked {
        Unpacked::from_integer(self.0)
    }
}

/// A source operand; `None` if it is an empty register.
pub(super) trait Operand {
    /// What it holds.
    type Value: Value;

    /// Reads it; memory faults come here.
    fn read<'m>(core: &mut impl Way<'m>, op: &Op) -> Exec<Option<Self::Value>>;

    /// Records the operand as the last one of the unit.
    fn note(core: &mut Core<'_>, op: &Op);
}

/// ST(`op.src`).
pub(super) struct Register;
/// ST(1), which some encodings imply.
pub(super) struct Next;
/// A binary32 number in memory.
pub(super) struct Single;
/// A binary64 number in memory.
pub(super) struct Double;
/// A 16-bit integer in memory.
pub(super) struct Word;
/// A 32-bit integer in memory.
pub(super) struct Dword;
/// A 64-bit integer in memory.
pub(super) struct Qword;

#[inline(always)]
fn stack(core: &Core<'_>, i: u8) -> Option<Float80> {
    let fpu = &core.cpu.fpu;
    (!fpu.is_empty(i)).then(|| fpu.st(i))
}

impl Operand for Register {
    type Value = Float80;

    #[inline(always)]
    fn read<'m>(core: &mut impl Way<'m>, op: &Op) -> Exec<Option<Float80>> {
        Ok(stack(core, op.src))
    }

    #[inline(always)]
    fn note(_: &mut Core<'_>, _: &Op) {}
}

impl Operand for Next {
    type Value = Float80;

    #[inline(always)]
    fn read<'m>(core: &mut impl Way<'m>, _: &Op) -> Exec<Option<Float80>> {
        Ok(stack(core, 1))
    }

    #[inline(always)]
    fn note(_: &mut Core<'_>, _: &Op) {}
}

macro_rules! memory {
    ($operand:ident, $width:ty, $value:ty, |$bits:ident| $number:expr) => {
        impl Operand for $operand {
            type Value = $value;

            #[inline(always)]
            fn read<'m>(core: &mut impl Way<'m>, op: &Op) -> Exec<Option<$value>> {
                let $bits: $width = core.load(op)?;
                Ok(Some($number))
            }

            #[inline(always)]
            fn note(core: &mut Core<'_>, op: &Op) {
                core.note_operand(op);
            }
        }
    };
}

memory!(Single, u32, Float32, |bits| Float32(bits));
memory!(Double, u64, Float64, |bits| Float64(bits));
memory!(Word, u16, Integer, |bits| Integer(
    bits.cast_signed().into()
));
memory!(Dword, u32, Integer, |bits| Integer(
    bits.cast_signed().into()
));
memory!(Qword, u64, Integer, |bits| Integer(bits.cast_signed()));
