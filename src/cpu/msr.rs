//! Model-specific registers (Intel SDM volume 4, AMD64 APM volume 2 appendix A).
//!
//! What is not here raises #GP(0), as on the processor. A few AMD registers only hold what is
//! written: Linux reads or sets them on family 0Fh without asking whether they exist.

use serde::{Deserialize, Serialize};

use super::descriptor::is_canonical;
use super::fault::GP;
use super::mmu::PHYSICAL_BITS;
use super::mode::{cr0, efer};
use super::segment::{FS, GS};
use super::{Core, Cpu, Exec, Model};
use crate::bus::Tick;

/// The registers behind RDMSR and WRMSR that the CPU itself keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Msrs {
    /// EFER, C0000080h.
    pub efer: u64,
    /// STAR, C0000081h: SYSCALL selectors and 32-bit target.
    pub star: u64,
    /// LSTAR, C0000082h: 64-bit SYSCALL target.
    pub lstar: u64,
    /// CSTAR, C0000083h: compatibility-mode SYSCALL target.
    pub cstar: u64,
    /// SFMASK, C0000084h: flags that SYSCALL clears.
    pub sfmask: u64,
    /// KernelGSbase, C0000102h.
    pub kernel_gs_base: u64,
    /// TSC_AUX, C0000103h.
    pub tsc_aux: u64,
    /// SYSENTER_CS, 174h.
    pub sysenter_cs: u64,
    /// SYSENTER_ESP, 175h.
    pub sysenter_esp: u64,
    /// SYSENTER_EIP, 176h.
    pub sysenter_eip: u64,
    /// What the TSC adds to guest time.
    pub tsc_offset: u64,
    /// PAT, 277h.
    pub pat: u64,
    /// MTRRdefType, 2FFh.
    pub mtrr_default: u64,
    /// MTRRphysBase and MTRRphysMask, 200h to 20Fh.
    pub mtrr_variable: [u64; 2 * MTRR_PAIRS],
    /// The fixed-range MTRRs, in the order of [`FIXED_MTRRS`].
    pub mtrr_fixed: [u64; FIXED_MTRRS.len()],
    /// The registers of [`HELD`].
    pub held: [u64; HELD.len()],
}

impl Default for Msrs {
    fn default() -> Self {
        Self {
            efer: 0,
            star: 0,
            lstar: 0,
            cstar: 0,
            sfmask: 0,
            kernel_gs_base: 0,
            tsc_aux: 0,
            sysenter_cs: 0,
            sysenter_esp: 0,
            sysenter_eip: 0,
            tsc_offset: 0,
            pat: 0x0007_0406_0007_0406,
            mtrr_default: 0,
            mtrr_variable: [0; 2 * MTRR_PAIRS],
            mtrr_fixed: [0; FIXED_MTRRS.len()],
            held: [0; HELD.len()],
        }
    }
}

const MTRR_PAIRS: usize = 8;

/// The numbers of the fixed-range MTRRs.
pub const FIXED_MTRRS: [u32; 11] = [
    0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f,
];

/// AMD registers that hold what is written and do nothing: SYSCFG, HWCR, IORR base and mask
/// (two pairs), TOP_MEM, TOP_MEM2, NB_CFG, the interrupt-pending message, the two that
/// override CPUID features, and LS, IC, DC, BU and DE configuration.
pub const HELD: [u32; 17] = [
    0xc001_0010,
    0xc001_0015,
    0xc001_0016,
    0xc001_0017,
    0xc001_0018,
    0xc001_0019,
    0xc001_001a,
    0xc001_001d,
    0xc001_001f,
    0xc001_0055,
    0xc001_1004,
    0xc001_1005,
    0xc001_1020,
    0xc001_1021,
    0xc001_1022,
    0xc001_1023,
    0xc001_1029,
];

const TSC: u32 = 0x10;
const APIC_BASE: u32 = 0x1b;
const PATCH_LEVEL: u32 = 0x8b;
const MTRR_CAP: u32 = 0xfe;
const SYSENTER_CS: u32 = 0x174;
const SYSENTER_ESP: u32 = 0x175;
const SYSENTER_EIP: u32 = 0x176;
const MTRR_VARIABLE: u32 = 0x200;
const MTRR_VARIABLE_END: u32 = MTRR_VARIABLE + 2 * MTRR_PAIRS as u32 - 1;
const PAT: u32 = 0x277;
const MTRR_DEFAULT: u32 = 0x2ff;
const EFER: u32 = 0xc000_0080;
const STAR: u32 = 0xc000_0081;
const LSTAR: u32 = 0xc000_0082;
const CSTAR: u32 = 0xc000_0083;
const SFMASK: u32 = 0xc000_0084;
const FS_BASE: u32 = 0xc000_0100;
const GS_BASE: u32 = 0xc000_0101;
const KERNEL_GS_BASE: u32 = 0xc000_0102;
const TSC_AUX: u32 = 0xc000_0103;

/// Write-combining (bit 10), fixed ranges (bit 8), and how many variable ones.
const MTRR_CAPABILITIES: u64 = 0x500 | MTRR_PAIRS as u64;

impl Cpu {
    /// The time-stamp counter at the running instruction: guest time and an offset.
    pub fn time_stamp(&self) -> Tick {
        self.now().wrapping_add(self.msr.tsc_offset)
    }
}

impl Msrs {
    /// A register that is plain storage.
    fn stored(&mut self, number: u32) -> Option<&mut u64> {
        Some(match number {
            STAR => &mut self.star,
            LSTAR => &mut self.lstar,
            CSTAR => &mut self.cstar,
            SFMASK => &mut self.sfmask,
            KERNEL_GS_BASE => &mut self.kernel_gs_base,
            TSC_AUX => &mut self.tsc_aux,
            SYSENTER_CS => &mut self.sysenter_cs,
            SYSENTER_ESP => &mut self.sysenter_esp,
            SYSENTER_EIP => &mut self.sysenter_eip,
            PAT => &mut self.pat,
            MTRR_DEFAULT => &mut self.mtrr_default,
            MTRR_VARIABLE..=MTRR_VARIABLE_END => {
                &mut self.mtrr_variable[(number - MTRR_VARIABLE) as usize]
            }
            _ => {
                if let Some(n) = FIXED_MTRRS.iter().position(|&m| m == number) {
                    return Some(&mut self.mtrr_fixed[n]);
                }
                let n = HELD.iter().position(|&m| m == number)?;
                &mut self.held[n]
            }
        })
    }
}

/// Whether every byte of `value` is a memory type: UC, WC, WT, WP, WB, and for PAT also UC-.
fn are_memory_types(value: u64, uncached_minus: bool) -> bool {
    value.to_le_bytes().into_iter().all(|kind| match kind {
        0 | 1 | 4 | 5 | 6 => true,
        7 => uncached_minus,
        _ => false,
    })
}

impl Core<'_> {
    /// #GP(0) for the registers that a Pentium does not have.
    fn check_msr(&mut self, number: u32) -> Exec {
        if self.cpu.model >= Model::Core2 || matches!(number, TSC | APIC_BASE) {
            return Ok(());
        }
        Err(self.fault_with(GP, 0))
    }

    /// RDMSR.
    pub(super) fn read_msr(&mut self, number: u32) -> Exec<u64> {
        self.check_msr(number)?;
        let cpu = &mut *self.cpu;
        let value = match number {
            TSC => cpu.time_stamp(),
            APIC_BASE => self.bus.apic_base(),
            PATCH_LEVEL => 0,
            MTRR_CAP => MTRR_CAPABILITIES,
            EFER => cpu.msr.efer,
            FS_BASE => cpu.segment(FS).base,
            GS_BASE => cpu.segment(GS).base,
            _ => match cpu.msr.stored(number) {
                Some(value) => *value,
                None => return Err(self.fault_with(GP, 0)),
            },
        };
        Ok(value)
    }

    /// WRMSR.
    pub(super) fn write_msr(&mut self, number: u32, value: u64) -> Exec {
        self.check_msr(number)?;
        if !is_valid(number, value) {
            return Err(self.fault_with(GP, 0));
        }
        match number {
            TSC => self.cpu.msr.tsc_offset = value.wrapping_sub(self.cpu.now()),
            APIC_BASE => {
                let now = self.cpu.now();
                self.bus.set_apic_base(self.memory, now, value);
                self.after_bus_access();
            }
            EFER => return self.set_efer(value),
            FS_BASE => self.cpu.segments[usize::from(FS)].base = value,
            GS_BASE => self.cpu.segments[usize::from(GS)].base = value,
            _ => match self.cpu.msr.stored(number) {
                Some(register) => *register = value,
                None => return Err(self.fault_with(GP, 0)),
            },
        }
        Ok(())
    }

    /// EFER: LMA is not writable, and LME not while paging is on.
    fn set_efer(&mut self, value: u64) -> Exec {
        const WRITABLE: u64 = efer::SCE | efer::LME | efer::NXE;
        let old = self.cpu.msr.efer;
        let switches = (value ^ old) & efer::LME != 0 && self.cpu.cr0 & cr0::PG != 0;
        if value & !(WRITABLE | efer::LMA) != 0 || switches {
            return Err(self.fault_with(GP, 0));
        }
        self.cpu.msr.efer = value & WRITABLE | old & efer::LMA;
        if (value ^ old) & efer::NXE != 0 {
            self.flush_translations();
        }
        Ok(())
    }
}

/// Whether a register takes a value: canonical addresses, memory types, reserved bits.
fn is_valid(number: u32, value: u64) -> bool {
    const APIC_BASE_RESERVED: u64 = 0x6ff | (u64::MAX << PHYSICAL_BITS);
    match number {
        LSTAR | CSTAR | FS_BASE | GS_BASE | KERNEL_GS_BASE => is_canonical(value),
        APIC_BASE => value & APIC_BASE_RESERVED == 0,
        PAT => are_memory_types(value, true),
        MTRR_DEFAULT => value & !0xcff == 0 && are_memory_types(value & 0xff, false),
        MTRR_VARIABLE..=MTRR_VARIABLE_END => value >> PHYSICAL_BITS == 0,
        TSC_AUX | SFMASK => value >> 32 == 0,
        _ if FIXED_MTRRS.contains(&number) => are_memory_types(value, false),
        _ => true,
    }
}
