//! What MMX and SSE instructions check before they work, and how they reach their operands.
//! Intel SDM volume 3, section 2.5 and tables 13-1 to 13-3; volume 2, table 2-18 and following.

use crate::cpu::decode::Op;
use crate::cpu::fault::{GP, MF, NM, UD};
use crate::cpu::{Core, Exec, cr0, cr4};

impl Core<'_> {
    /// What every SSE instruction checks: #UD unless the system saves the registers, #NM after a
    /// task switch.
    #[inline(always)]
    pub(crate) fn enter_sse(&mut self) -> Exec {
        let fine = self.cpu.cr4 & cr4::OSFXSR != 0;
        if !fine || self.cpu.cr0 & (cr0::EM | cr0::TS) != 0 {
            return self.refuse_sse();
        }
        Ok(())
    }

    #[cold]
    fn refuse_sse(&mut self) -> Exec {
        if self.cpu.cr4 & cr4::OSFXSR == 0 || self.cpu.cr0 & cr0::EM != 0 {
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

    /// Loads 16 bytes that have to be aligned, or #GP(0).
    #[inline(always)]
    pub(crate) fn load_aligned(&mut self, op: &Op) -> Exec<u128> {
        let offset = self.effective_address(op);
        self.check_aligned(op, offset)?;
        Ok(u128::from_le_bytes(self.load_bytes(op.segment(), offset)?))
    }

    /// Loads 16 bytes at any alignment.
    #[inline(always)]
    pub(crate) fn load_unaligned(&mut self, op: &Op) -> Exec<u128> {
        let offset = self.effective_address(op);
        Ok(u128::from_le_bytes(self.load_bytes(op.segment(), offset)?))
    }

    /// Stores 16 bytes to an aligned place, or #GP(0).
    #[inline(always)]
    pub(crate) fn store_aligned(&mut self, op: &Op, value: u128) -> Exec {
        let offset = self.effective_address(op);
        self.check_aligned(op, offset)?;
        self.store_bytes(op.segment(), offset, value.to_le_bytes())
    }

    /// Stores 16 bytes at any alignment.
    #[inline(always)]
    pub(crate) fn store_unaligned(&mut self, op: &Op, value: u128) -> Exec {
        let offset = self.effective_address(op);
        self.store_bytes(op.segment(), offset, value.to_le_bytes())
    }

    #[inline(always)]
    fn check_aligned(&mut self, op: &Op, offset: u64) -> Exec {
        let base = self.cpu.segment(op.segment()).base;
        if base.wrapping_add(offset) & 15 != 0 {
            return Err(self.fault_with(GP, 0));
        }
        Ok(())
    }
}

/// Where a source operand comes from, and what it is: the register file and its width.
pub(crate) trait VectorSource {
    /// The width of the whole instruction in bytes: 8 for MMX, 16 for SSE.
    const BYTES: usize;
    /// Checks that the unit may be used.
    fn enter(core: &mut Core<'_>) -> Exec;
    /// Reads the source operand.
    fn source(core: &mut Core<'_>, op: &Op) -> Exec<u128>;
    /// Reads the destination register.
    fn destination(core: &Core<'_>, op: &Op) -> u128;
    /// Writes the destination register.
    fn set(core: &mut Core<'_>, op: &Op, value: u128);
}

/// An XMM register.
pub(crate) struct Xmm;
/// 16 aligned bytes.
pub(crate) struct Mem128;
/// 8 bytes as the low half; the whole is an XMM operation (MOVHLPS and its kin, PMOVSX).
pub(crate) struct Mem64;
/// An MMX register.
pub(crate) struct Mmx;
/// 8 bytes of an MMX instruction.
pub(crate) struct MmxMem;

macro_rules! xmm_destination {
    () => {
        const BYTES: usize = 16;

        #[inline(always)]
        fn enter(core: &mut Core<'_>) -> Exec {
            core.enter_sse()
        }

        #[inline(always)]
        fn destination(core: &Core<'_>, op: &Op) -> u128 {
            core.cpu.sse.get(op.dst)
        }

        #[inline(always)]
        fn set(core: &mut Core<'_>, op: &Op, value: u128) {
            core.cpu.sse.set(op.dst, value);
        }
    };
}

macro_rules! mmx_destination {
    () => {
        const BYTES: usize = 8;

        #[inline(always)]
        fn enter(core: &mut Core<'_>) -> Exec {
            core.check_mmx()
        }

        #[inline(always)]
        fn destination(core: &Core<'_>, op: &Op) -> u128 {
            u128::from(core.cpu.fpu.mmx(op.dst))
        }

        #[inline(always)]
        fn set(core: &mut Core<'_>, op: &Op, value: u128) {
            core.cpu.fpu.enter_mmx();
            core.cpu.fpu.set_mmx(op.dst, value as u64);
        }
    };
}

impl VectorSource for Xmm {
    xmm_destination!();

    #[inline(always)]
    fn source(core: &mut Core<'_>, op: &Op) -> Exec<u128> {
        Ok(core.cpu.sse.get(op.src))
    }
}

impl VectorSource for Mem128 {
    xmm_destination!();

    #[inline(always)]
    fn source(core: &mut Core<'_>, op: &Op) -> Exec<u128> {
        core.load_aligned(op)
    }
}

impl VectorSource for Mem64 {
    xmm_destination!();

    #[inline(always)]
    fn source(core: &mut Core<'_>, op: &Op) -> Exec<u128> {
        Ok(u128::from(core.load::<u64>(op)?))
    }
}

impl VectorSource for Mmx {
    mmx_destination!();

    #[inline(always)]
    fn source(core: &mut Core<'_>, op: &Op) -> Exec<u128> {
        Ok(u128::from(core.cpu.fpu.mmx(op.src)))
    }
}

impl VectorSource for MmxMem {
    mmx_destination!();

    #[inline(always)]
    fn source(core: &mut Core<'_>, op: &Op) -> Exec<u128> {
        Ok(u128::from(core.load::<u64>(op)?))
    }
}
