//! What SSE floating-point instructions share: their sources, and what becomes of exceptions.
//! Intel SDM volume 1, sections 11.5.2 to 11.5.4.

use super::float::Number;
use crate::cpu::decode::Op;
use crate::cpu::fault::{UD, XM};
use crate::cpu::fpu::soft::{Env, exception};
use crate::cpu::{Core, Exec, cr4};

impl Core<'_> {
    /// The environment under MXCSR.
    #[inline(always)]
    pub(super) fn sse_env(&self) -> Env {
        Env::sse(self.cpu.sse.mxcsr)
    }

    /// Takes over what an instruction raised, from all lanes together. An unmasked exception is
    /// #XM (#UD if the system does not handle that), and the destination stays; if the operands
    /// of one lane caused it, no lane reports what rounding found.
    #[inline(always)]
    pub(super) fn settle_sse(&mut self, env: &Env) -> Exec {
        if env.unmasked() == 0 {
            self.cpu.sse.mxcsr |= u32::from(env.flags);
            return Ok(());
        }
        self.refuse_result(env)
    }

    #[cold]
    fn refuse_result(&mut self, env: &Env) -> Exec {
        let before = env.unmasked() & exception::BEFORE != 0;
        let flags = if before {
            env.flags & exception::BEFORE
        } else {
            env.flags
        };
        self.cpu.sse.mxcsr |= u32::from(flags);
        let handled = self.cpu.cr4 & cr4::OSXMMEXCPT != 0;
        Err(self.fault(if handled { XM } else { UD }))
    }
}

/// Where the source operand comes from.
pub(super) trait Source {
    /// One number.
    fn number<N: Number>(core: &mut Core<'_>, op: &Op) -> Exec<N>;
    /// A whole register, or 16 aligned bytes.
    fn vector(core: &mut Core<'_>, op: &Op) -> Exec<u128>;
    /// The low half of a register, or 8 bytes.
    fn half(core: &mut Core<'_>, op: &Op) -> Exec<u64>;
}

/// XMM register `op.src`.
pub(super) struct Register;
/// The memory operand.
pub(super) struct Memory;

impl Source for Register {
    #[inline(always)]
    fn number<N: Number>(core: &mut Core<'_>, op: &Op) -> Exec<N> {
        Ok(N::lane(core.cpu.sse.get(op.src), 0))
    }

    #[inline(always)]
    fn vector(core: &mut Core<'_>, op: &Op) -> Exec<u128> {
        Ok(core.cpu.sse.get(op.src))
    }

    #[inline(always)]
    fn half(core: &mut Core<'_>, op: &Op) -> Exec<u64> {
        Ok(core.cpu.sse.get(op.src) as u64)
    }
}

impl Source for Memory {
    #[inline(always)]
    fn number<N: Number>(core: &mut Core<'_>, op: &Op) -> Exec<N> {
        Ok(N::cut(if N::BITS == 32 {
            core.load::<u32>(op)?.into()
        } else {
            core.load::<u64>(op)?
        }))
    }

    #[inline(always)]
    fn vector(core: &mut Core<'_>, op: &Op) -> Exec<u128> {
        core.load_aligned(op)
    }

    #[inline(always)]
    fn half(core: &mut Core<'_>, op: &Op) -> Exec<u64> {
        core.load(op)
    }
}

/// The low `N::BITS` bits of register `op.dst` become `value`; the others stay.
#[inline(always)]
pub(super) fn set_low<N: Number>(core: &mut Core<'_>, op: &Op, value: N) {
    if N::BITS == 32 {
        core.cpu.sse.set_low32(op.dst, value.bits() as u32);
    } else {
        core.cpu.sse.set_low64(op.dst, value.bits());
    }
}

/// A handler's instance for the source of an instruction.
macro_rules! by_source {
    ($instruction:expr, $handler:ident $(, $parameter:ty)*) => {
        if $instruction.op_kind(1) == iced_x86::OpKind::Memory {
            crate::cpu::exec::run!($handler::<$($parameter,)* super::float_unit::Memory>)
        } else {
            crate::cpu::exec::run!($handler::<$($parameter,)* super::float_unit::Register>)
        }
    };
}

pub(super) use by_source;
