//! Source operands of the arithmetic and comparing instructions, as types.

use super::soft::{Env, Float32, Float64, Format, Unpacked};
use crate::cpu::decode::Op;
use crate::cpu::{Core, Exec};

/// A source operand; `None` if it is an empty register.
pub(super) trait Operand {
    /// Reads it; memory faults come here.
    fn read(core: &mut Core<'_>, op: &Op) -> Exec<Option<Unpacked>>;

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
fn stack(core: &Core<'_>, i: u8) -> Option<Unpacked> {
    let fpu = &core.cpu.fpu;
    (!fpu.is_empty(i)).then(|| fpu.st(i).unpack(&PLAIN))
}

/// Unpacking looks at nothing but DAZ, which the x87 does not have.
const PLAIN: Env = Env::PLAIN;

impl Operand for Register {
    #[inline(always)]
    fn read(core: &mut Core<'_>, op: &Op) -> Exec<Option<Unpacked>> {
        Ok(stack(core, op.src))
    }

    #[inline(always)]
    fn note(_: &mut Core<'_>, _: &Op) {}
}

impl Operand for Next {
    #[inline(always)]
    fn read(core: &mut Core<'_>, _: &Op) -> Exec<Option<Unpacked>> {
        Ok(stack(core, 1))
    }

    #[inline(always)]
    fn note(_: &mut Core<'_>, _: &Op) {}
}

macro_rules! memory {
    ($operand:ident, $width:ty, |$value:ident| $unpacked:expr) => {
        impl Operand for $operand {
            #[inline(always)]
            fn read(core: &mut Core<'_>, op: &Op) -> Exec<Option<Unpacked>> {
                let $value: $width = core.load(op)?;
                Ok(Some($unpacked))
            }

            #[inline(always)]
            fn note(core: &mut Core<'_>, op: &Op) {
                core.note_operand(op);
            }
        }
    };
}

memory!(Single, u32, |value| Float32(value).unpack(&PLAIN));
memory!(Double, u64, |value| Float64(value).unpack(&PLAIN));
memory!(Word, u16, |value| Unpacked::from_integer(
    value.cast_signed().into()
));
memory!(Dword, u32, |value| Unpacked::from_integer(
    value.cast_signed().into()
));
memory!(Qword, u64, |value| Unpacked::from_integer(
    value.cast_signed()
));
