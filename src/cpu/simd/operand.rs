//! What vector instructions check before they work, and how they reach their operands.
//! Intel SDM volume 3, section 2.5 and tables 13-1 to 13-3; volume 2, tables 2-14 to 2-26.
//!
//! A [`Unit`] is a register file with the width at which an instruction uses it, a [`Place`] is
//! where its second source comes from. SSE works on the destination and that source; AVX has a
//! first source of its own, accepts memory at any alignment, and clears what lies above its
//! width.

use super::lanes::{Lane, get, low, replace};
use super::state::{Bytes, ZERO};
use crate::cpu::decode::Op;
use crate::cpu::exec::Way;
use crate::cpu::fault::{GP, MF, NM, UD};
use crate::cpu::fpu::soft::Ieee;
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec, cr0, cr4};

/// A vector: two lanes of 128 bits. SSE has the first of them, MMX half of that.
pub(crate) type Vector = [Bytes; 2];

impl Core<'_> {
    /// What every SSE instruction checks: #UD unless the system saves the registers, #NM after a
    /// task switch.
    #[inline(always)]
    pub(crate) fn enter_sse(&mut self) -> Exec {
        match self.cpu.mode.sse {
            true => Ok(()),
            false => self.refuse_sse(),
        }
    }

    #[cold]
    fn refuse_sse(&mut self) -> Exec {
        if self.cpu.cr4 & cr4::OSFXSR == 0 || self.cpu.cr0 & cr0::EM != 0 {
            return Err(self.fault(UD));
        }
        Err(self.fault(NM))
    }

    /// What every AVX instruction checks: #UD outside protected mode and unless the system saves
    /// the registers, #NM after a task switch.
    #[inline(always)]
    pub(crate) fn enter_avx(&mut self) -> Exec {
        match self.cpu.mode.avx {
            true => Ok(()),
            false => self.refuse_avx(),
        }
    }

    #[cold]
    fn refuse_avx(&mut self) -> Exec {
        self.require_protected()?;
        if !self.cpu.sse.has_avx() || self.cpu.cr4 & cr4::OSXSAVE == 0 {
            return Err(self.fault(UD));
        }
        Err(self.fault(NM))
    }

    /// What every MMX instruction checks: #UD, #NM, then an x87 exception that waits.
    #[inline(always)]
    pub(crate) fn check_mmx(&mut self) -> Exec {
        if self.cpu.cr0 & cr0::EM != 0 {
            return Err(self.fault(UD));
        }
        if self.cpu.cr0 & cr0::TS != 0 {
            return Err(self.fault(NM));
        }
        if self.cpu.fpu.has_pending() && self.cpu.cr0 & cr0::NE != 0 {
            return Err(self.fault(MF));
        }
        Ok(())
    }
}

/// #GP(0) unless the memory operand's linear address is a multiple of `bytes`, its size. Quick
/// accesses of this size are aligned.
#[inline(always)]
pub(super) fn require_aligned<'m, M: Way<'m>>(core: &mut M, op: &Op, bytes: u64) -> Exec {
    if M::IS_QUICK {
        return Ok(());
    }
    let offset = core.effective_address(op);
    let base = core.cpu.segment(op.segment()).base;
    if base.wrapping_add(offset) & (bytes - 1) != 0 {
        return Err(core.fault_with(GP, 0));
    }
    Ok(())
}

/// A register file, and how much of a register an instruction uses.
pub(crate) trait Unit {
    /// The bytes of a lane: 8 for MMX, else 16.
    const BYTES: usize = 16;
    /// The lanes of a vector: 1, or 2 for YMM registers.
    const LANES: usize = 1;
    /// Whether instructions have a first source of their own, and not the destination for it.
    const HAS_FIRST: bool = false;
    /// Checks that the unit may be used.
    fn enter(core: &mut Core<'_>) -> Exec;
    /// Notes that the unit is used by an instruction that does not write one of its registers.
    #[inline(always)]
    fn note_use(_: &mut Core<'_>) {}
    /// Register `n`.
    fn register(core: &Core<'_>, n: u8) -> Vector;
    /// Writes the destination register.
    fn set(core: &mut Core<'_>, op: &Op, value: Vector);
    /// The memory operand.
    fn load<'m, M: Way<'m>>(core: &mut M, op: &Op) -> Exec<Vector>;
    /// Writes the memory operand.
    fn store<'m, M: Way<'m>>(core: &mut M, op: &Op, value: Vector) -> Exec;

    /// The first source.
    #[inline(always)]
    fn first(core: &Core<'_>, op: &Op) -> Vector {
        Self::register(core, if Self::HAS_FIRST { op.extra } else { op.dst })
    }

    /// The memory operand as the second source, where SSE wants it aligned.
    #[inline(always)]
    fn second<'m, M: Way<'m>>(core: &mut M, op: &Op) -> Exec<Vector> {
        Self::load(core, op)
    }
}

/// MMX registers.
pub(crate) struct Mmx;
/// XMM registers, as SSE uses them.
pub(crate) struct Sse;
/// XMM registers, as AVX uses them.
pub(crate) struct Avx128;
/// YMM registers.
pub(crate) struct Avx256;

impl Unit for Mmx {
    const BYTES: usize = 8;

    #[inline(always)]
    fn enter(core: &mut Core<'_>) -> Exec {
        core.check_mmx()
    }

    #[inline(always)]
    fn note_use(core: &mut Core<'_>) {
        core.cpu.fpu.enter_mmx();
    }

    #[inline(always)]
    fn register(core: &Core<'_>, n: u8) -> Vector {
        [low(core.cpu.fpu.mmx(n)), ZERO]
    }

    #[inline(always)]
    fn load<'m, M: Way<'m>>(core: &mut M, op: &Op) -> Exec<Vector> {
        Ok([low(core.load::<u64>(op)?), ZERO])
    }

    #[inline(always)]
    fn set(core: &mut Core<'_>, op: &Op, value: Vector) {
        core.cpu.fpu.enter_mmx();
        core.cpu.fpu.set_mmx(op.dst, get(value[0], 0));
    }

    #[inline(always)]
    fn store<'m, M: Way<'m>>(core: &mut M, op: &Op, value: Vector) -> Exec {
        core.store(op, get::<u64>(value[0], 0))
    }
}

impl Unit for Sse {
    #[inline(always)]
    fn enter(core: &mut Core<'_>) -> Exec {
        core.enter_sse()
    }

    #[inline(always)]
    fn register(core: &Core<'_>, n: u8) -> Vector {
        [core.cpu.sse.get(n), ZERO]
    }

    #[inline(always)]
    fn second<'m, M: Way<'m>>(core: &mut M, op: &Op) -> Exec<Vector> {
        require_aligned(core, op, 16)?;
        Self::load(core, op)
    }

    #[inline(always)]
    fn set(core: &mut Core<'_>, op: &Op, value: Vector) {
        core.cpu.sse.set(op.dst, value[0]);
    }

    #[inline(always)]
    fn load<'m, M: Way<'m>>(core: &mut M, op: &Op) -> Exec<Vector> {
        Ok([core.load_bytes(op)?, ZERO])
    }

    #[inline(always)]
    fn store<'m, M: Way<'m>>(core: &mut M, op: &Op, value: Vector) -> Exec {
        core.store_bytes(op, value[0])
    }
}

impl Unit for Avx128 {
    const HAS_FIRST: bool = true;

    #[inline(always)]
    fn enter(core: &mut Core<'_>) -> Exec {
        core.enter_avx()
    }

    #[inline(always)]
    fn register(core: &Core<'_>, n: u8) -> Vector {
        [core.cpu.sse.get(n), ZERO]
    }

    #[inline(always)]
    fn set(core: &mut Core<'_>, op: &Op, value: Vector) {
        core.cpu.sse.set_ymm(op.dst, [value[0], ZERO]);
    }

    #[inline(always)]
    fn load<'m, M: Way<'m>>(core: &mut M, op: &Op) -> Exec<Vector> {
        Sse::load(core, op)
    }

    #[inline(always)]
    fn store<'m, M: Way<'m>>(core: &mut M, op: &Op, value: Vector) -> Exec {
        Sse::store(core, op, value)
    }
}

impl Unit for Avx256 {
    const LANES: usize = 2;
    const HAS_FIRST: bool = true;

    #[inline(always)]
    fn enter(core: &mut Core<'_>) -> Exec {
        core.enter_avx()
    }

    #[inline(always)]
    fn register(core: &Core<'_>, n: u8) -> Vector {
        core.cpu.sse.ymm(n)
    }

    #[inline(always)]
    fn set(core: &mut Core<'_>, op: &Op, value: Vector) {
        core.cpu.sse.set_ymm(op.dst, value);
    }

    #[inline(always)]
    fn load<'m, M: Way<'m>>(core: &mut M, op: &Op) -> Exec<Vector> {
        let bytes: [u8; 32] = core.load_bytes(op)?;
        let (halves, _) = bytes.as_chunks();
        Ok([halves[0], halves[1]])
    }

    #[inline(always)]
    fn store<'m, M: Way<'m>>(core: &mut M, op: &Op, value: Vector) -> Exec {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&value[0]);
        bytes[16..].copy_from_slice(&value[1]);
        core.store_bytes(op, bytes)
    }
}

/// Where the second source comes from.
pub(crate) trait Place {
    /// A whole vector.
    fn vector<'m, U: Unit>(core: &mut impl Way<'m>, op: &Op) -> Exec<Vector>;
    /// Its low bits, of which memory holds no more.
    fn low<'m, W: Width>(core: &mut impl Way<'m>, op: &Op) -> Exec<W>;

    /// One number.
    #[inline(always)]
    fn number<'m, N: Ieee>(core: &mut impl Way<'m>, op: &Op) -> Exec<N> {
        Ok(N::from_bits(if N::BITS == 32 {
            Self::low::<u32>(core, op)?.into()
        } else {
            Self::low::<u64>(core, op)?
        }))
    }

    /// One lane of 128 bits, at any alignment.
    fn lane<'m>(core: &mut impl Way<'m>, op: &Op) -> Exec<Bytes>;
}

/// The register `op.src`.
pub(crate) struct Register;
/// The memory operand.
pub(crate) struct Memory;

impl Place for Register {
    #[inline(always)]
    fn vector<'m, U: Unit>(core: &mut impl Way<'m>, op: &Op) -> Exec<Vector> {
        Ok(U::register(core, op.src))
    }

    #[inline(always)]
    fn low<'m, W: Width>(core: &mut impl Way<'m>, op: &Op) -> Exec<W> {
        Ok(W::truncate(get(core.cpu.sse.get(op.src), 0)))
    }

    #[inline(always)]
    fn lane<'m>(core: &mut impl Way<'m>, op: &Op) -> Exec<Bytes> {
        Ok(core.cpu.sse.get(op.src))
    }
}

impl Place for Memory {
    #[inline(always)]
    fn vector<'m, U: Unit>(core: &mut impl Way<'m>, op: &Op) -> Exec<Vector> {
        U::second(core, op)
    }

    #[inline(always)]
    fn low<'m, W: Width>(core: &mut impl Way<'m>, op: &Op) -> Exec<W> {
        core.load(op)
    }

    #[inline(always)]
    fn lane<'m>(core: &mut impl Way<'m>, op: &Op) -> Exec<Bytes> {
        core.load_bytes(op)
    }
}

/// The destination becomes the first source with `value` in place of its low number.
#[inline(always)]
pub(super) fn set_low<U: Unit, L: Lane>(core: &mut Core<'_>, op: &Op, value: L) {
    let first = U::first(core, op)[0];
    U::set(core, op, [replace(first, value, 0), ZERO]);
}

/// What the tables ask of an instruction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Registers {
    Mmx,
    Sse,
    Avx128,
    Avx256,
}

/// The registers that `instruction` works on: YMM if any operand or index has 256 bits.
pub(super) fn registers(instruction: &iced_x86::Instruction) -> Registers {
    use iced_x86::{EncodingKind, OpKind};
    let of_kind =
        |kind| (0..instruction.op_count()).filter(move |&n| instruction.op_kind(n) == kind);
    let is_register = |test: fn(iced_x86::Register) -> bool| {
        of_kind(OpKind::Register).any(|n| test(instruction.op_register(n)))
    };
    if instruction.encoding() != EncodingKind::VEX {
        return match is_register(iced_x86::Register::is_mm) {
            true => Registers::Mmx,
            false => Registers::Sse,
        };
    }
    let wide_memory =
        of_kind(OpKind::Memory).next().is_some() && instruction.memory_size().size() == 32;
    let wide_index = instruction.memory_index().is_ymm();
    match wide_memory || wide_index || is_register(iced_x86::Register::is_ymm) {
        true => Registers::Avx256,
        false => Registers::Avx128,
    }
}

/// Whether an operand is memory.
pub(super) fn has_memory(instruction: &iced_x86::Instruction) -> bool {
    (0..instruction.op_count()).any(|n| instruction.op_kind(n) == iced_x86::OpKind::Memory)
}

/// A handler's instance for the unit and the place of an instruction that has no MMX form; marked
/// `quick`, with a quick way.
macro_rules! by_form {
    (quick $instruction:expr, $handler:ident $(, $parameter:ty)*) => {
        by_form!(both_ways $instruction, $handler $(, $parameter)*)
    };
    ($way:ident $instruction:expr, $handler:ident $(, $parameter:ty)*) => {{
        use crate::cpu::exec::$way;
        use crate::cpu::simd::operand::{
            Avx128, Avx256, Memory, Register, Registers, Sse, has_memory, registers,
        };
        match (registers($instruction), has_memory($instruction)) {
            (Registers::Avx256, true) => $way!($handler $(, $parameter)*, Avx256, Memory),
            (Registers::Avx256, false) => $way!($handler $(, $parameter)*, Avx256, Register),
            (Registers::Avx128, true) => $way!($handler $(, $parameter)*, Avx128, Memory),
            (Registers::Avx128, false) => $way!($handler $(, $parameter)*, Avx128, Register),
            (_, true) => $way!($handler $(, $parameter)*, Sse, Memory),
            (_, false) => $way!($handler $(, $parameter)*, Sse, Register),
        }
    }};
    ($instruction:expr, $handler:ident $(, $parameter:ty)*) => {
        by_form!(one_way $instruction, $handler $(, $parameter)*)
    };
}

/// A handler's instance for the unit of an instruction.
macro_rules! by_unit {
    (quick $instruction:expr, $handler:ident $(, $parameter:ty)*) => {
        by_unit!(both_ways $instruction, $handler $(, $parameter)*)
    };
    ($way:ident $instruction:expr, $handler:ident $(, $parameter:ty)*) => {{
        use crate::cpu::exec::$way;
        use crate::cpu::simd::operand::{Avx128, Avx256, Registers, Sse, registers};
        match registers($instruction) {
            Registers::Avx256 => $way!($handler $(, $parameter)*, Avx256),
            Registers::Avx128 => $way!($handler $(, $parameter)*, Avx128),
            _ => $way!($handler $(, $parameter)*, Sse),
        }
    }};
    ($instruction:expr, $handler:ident $(, $parameter:ty)*) => {
        by_unit!(one_way $instruction, $handler $(, $parameter)*)
    };
}

pub(super) use {by_form, by_unit};
