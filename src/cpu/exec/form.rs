//! Operand forms as types: register, memory, immediate. A family is instantiated for each
//! combination that an encoding has, so that no form is tested when it runs.

use super::backend::Backend;
use crate::cpu::Exec;
use crate::cpu::decode::Op;
use crate::cpu::width::Width;

/// An operand that is read.
pub(super) trait Source {
    /// Reads it.
    fn read<B: Backend, W: Width>(b: &mut B, op: &Op) -> Exec<B::Value<W>>;
}

/// What opening a target gives: where it is, and what it holds.
type Opened<T, B, W> = (<T as Target>::Place<B, W>, <B as Backend>::Value<W>);

/// An operand that is read, changed and written, or only written.
pub(super) trait Target: Source + Sized {
    /// What [`Target::commit`] needs to know.
    type Place<B: Backend, W: Width>: Copy;
    /// Reads it; all faults of the write that follows come here.
    fn open<B: Backend, W: Width>(b: &mut B, op: &Op) -> Exec<Opened<Self, B, W>>;
    /// Writes it.
    fn commit<B: Backend, W: Width>(
        b: &mut B,
        op: &Op,
        place: Self::Place<B, W>,
        value: B::Value<W>,
    );
    /// Writes it without reading it.
    fn write<B: Backend, W: Width>(b: &mut B, op: &Op, value: B::Value<W>) -> Exec;
}

/// The register `op.dst`.
pub(super) struct Dst;
/// The register `op.src`.
pub(super) struct Src;
/// The register `op.extra`.
pub(super) struct Extra;
/// The memory operand.
pub(super) struct Mem;
/// The immediate.
pub(super) struct Imm;
/// The number 1.
pub(super) struct One;
/// CL.
pub(super) struct Cl;

impl Source for Dst {
    #[inline(always)]
    fn read<B: Backend, W: Width>(b: &mut B, op: &Op) -> Exec<B::Value<W>> {
        Ok(b.register(op.dst))
    }
}

impl Target for Dst {
    type Place<B: Backend, W: Width> = ();

    #[inline(always)]
    fn open<B: Backend, W: Width>(b: &mut B, op: &Op) -> Exec<((), B::Value<W>)> {
        Ok(((), b.register(op.dst)))
    }

    #[inline(always)]
    fn commit<B: Backend, W: Width>(b: &mut B, op: &Op, (): (), value: B::Value<W>) {
        b.set_register(op.dst, value);
    }

    #[inline(always)]
    fn write<B: Backend, W: Width>(b: &mut B, op: &Op, value: B::Value<W>) -> Exec {
        b.set_register(op.dst, value);
        Ok(())
    }
}

impl Source for Mem {
    #[inline(always)]
    fn read<B: Backend, W: Width>(b: &mut B, op: &Op) -> Exec<B::Value<W>> {
        b.read_memory(op)
    }
}

impl Target for Mem {
    type Place<B: Backend, W: Width> = B::Place<W>;

    #[inline(always)]
    fn open<B: Backend, W: Width>(b: &mut B, op: &Op) -> Exec<(B::Place<W>, B::Value<W>)> {
        b.open_memory(op)
    }

    #[inline(always)]
    fn commit<B: Backend, W: Width>(b: &mut B, _op: &Op, place: B::Place<W>, value: B::Value<W>) {
        b.commit_memory(place, value);
    }

    #[inline(always)]
    fn write<B: Backend, W: Width>(b: &mut B, op: &Op, value: B::Value<W>) -> Exec {
        b.write_memory(op, value)
    }
}

impl Source for Src {
    #[inline(always)]
    fn read<B: Backend, W: Width>(b: &mut B, op: &Op) -> Exec<B::Value<W>> {
        Ok(b.register(op.src))
    }
}

impl Source for Extra {
    #[inline(always)]
    fn read<B: Backend, W: Width>(b: &mut B, op: &Op) -> Exec<B::Value<W>> {
        Ok(b.register(op.extra))
    }
}

impl Source for Imm {
    #[inline(always)]
    fn read<B: Backend, W: Width>(b: &mut B, op: &Op) -> Exec<B::Value<W>> {
        Ok(b.constant(op.immediate))
    }
}

impl Source for One {
    #[inline(always)]
    fn read<B: Backend, W: Width>(b: &mut B, _op: &Op) -> Exec<B::Value<W>> {
        Ok(b.constant(1))
    }
}

impl Source for Cl {
    #[inline(always)]
    fn read<B: Backend, W: Width>(b: &mut B, _op: &Op) -> Exec<B::Value<W>> {
        let cl = b.register::<u8>(crate::cpu::regs::RCX);
        Ok(b.zero_extend(cl))
    }
}

/// What the tables ask of an instruction: its operand size and the kinds of its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No such operand.
    None,
    /// A register.
    Reg,
    /// Memory.
    Mem,
    /// An immediate.
    Imm,
}

/// The kind of operand `n`.
pub(super) fn kind(instruction: &iced_x86::Instruction, n: u32) -> Kind {
    use iced_x86::OpKind;
    if n >= instruction.op_count() {
        return Kind::None;
    }
    match instruction.op_kind(n) {
        OpKind::Register => Kind::Reg,
        OpKind::Memory => Kind::Mem,
        _ => Kind::Imm,
    }
}

/// The width in bits of operand `n`, a general register or memory.
pub(super) fn bits(instruction: &iced_x86::Instruction, n: u32) -> u32 {
    let bytes = match kind(instruction, n) {
        Kind::Reg => instruction.op_register(n).size(),
        _ => instruction.memory_size().size(),
    };
    bytes as u32 * 8
}

/// The instance of a family at the width of operand 0, `None` if it has no such width.
macro_rules! by_width {
    ($instruction:expr, $family:ident $(, $parameter:ty)*) => {
        match super::form::bits($instruction, 0) {
            8 => Some(super::chain::instance!($family, u8 $(, $parameter)*)),
            16 => Some(super::chain::instance!($family, u16 $(, $parameter)*)),
            32 => Some(super::chain::instance!($family, u32 $(, $parameter)*)),
            64 => Some(super::chain::instance!($family, u64 $(, $parameter)*)),
            _ => None,
        }
    };
}

/// The instance of a two-operand family for the forms of an instruction.
macro_rules! by_form {
    ($instruction:expr, $family:ident) => {{
        use super::form::{Dst, Imm, Kind, Mem, Src, by_width, kind};
        match (kind($instruction, 0), kind($instruction, 1)) {
            (Kind::Reg, Kind::Reg) => by_width!($instruction, $family, Dst, Src),
            (Kind::Reg, Kind::Imm) => by_width!($instruction, $family, Dst, Imm),
            (Kind::Reg, Kind::Mem) => by_width!($instruction, $family, Dst, Mem),
            (Kind::Mem, Kind::Reg) => by_width!($instruction, $family, Mem, Src),
            (Kind::Mem, Kind::Imm) => by_width!($instruction, $family, Mem, Imm),
            _ => None,
        }
    }};
}

/// The instance of a one-operand family for the form of an instruction.
macro_rules! by_target {
    ($instruction:expr, $family:ident $(, $parameter:ty)*) => {{
        use super::form::{Dst, Kind, Mem, by_width, kind};
        match kind($instruction, 0) {
            Kind::Reg => by_width!($instruction, $family, Dst $(, $parameter)*),
            Kind::Mem => by_width!($instruction, $family, Mem $(, $parameter)*),
            _ => None,
        }
    }};
}

pub(super) use {by_form, by_target, by_width};
