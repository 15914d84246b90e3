//! Control and debug registers: MOV CR, MOV DR, LMSW, SMSW, CLTS
//! (Intel SDM volume 3, sections 2.5, 4.1.2, 9.8.5 and 17.2).

use iced_x86::{Code, Instruction};

use super::form::{Kind, kind};
use super::{Handler, run};
use crate::cpu::breakpoint::{dr6, dr7};
use crate::cpu::decode::Op;
use crate::cpu::fault::{DB, GP, UD};
use crate::cpu::mmu::PHYSICAL_BITS;
use crate::cpu::mode::{cr0, cr4, efer};
use crate::cpu::segment::CS;
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec};

/// The bits of CR0 that exist.
const CR0_DEFINED: u32 = cr0::PE
    | cr0::MP
    | cr0::EM
    | cr0::TS
    | cr0::ET
    | cr0::NE
    | cr0::WP
    | cr0::AM
    | cr0::NW
    | cr0::CD
    | cr0::PG;

/// In CR3 with CR4.PCIDE: the process-context identifier.
const PCID: u64 = 0xfff;
/// In a value for CR3 with CR4.PCIDE: its translations may stay.
const NO_FLUSH: u64 = 1 << 63;

impl Core<'_> {
    /// #GP(0) unless at level 0.
    #[inline]
    pub(super) fn require_supervisor(&mut self) -> Exec {
        if self.cpu.cpl == 0 {
            return Ok(());
        }
        Err(self.fault_with(GP, 0))
    }

    /// Forgets all translations, also of the page that is being fetched from.
    pub(in crate::cpu) fn flush_translations(&mut self) {
        self.cpu.tlb.flush();
        self.cpu.flow.forget_fetch_page();
    }

    /// Loads CR3: all translations but those of global pages go.
    pub(in crate::cpu) fn switch_address_space(&mut self, cr3: u64) {
        self.cpu.cr3 = cr3;
        self.cpu.tlb.flush_local();
        self.cpu.flow.forget_fetch_page();
    }

    fn set_cr0(&mut self, value: u64) -> Exec {
        if value >> 32 != 0 {
            return Err(self.fault_with(GP, 0));
        }
        let model = self.cpu.model.traits();
        let new = (value as u32 & CR0_DEFINED | cr0::ET) & model.cr0;
        let set = |bits: u32| new & bits != 0;
        if set(cr0::PG) && !set(cr0::PE) || set(cr0::NW) && !set(cr0::CD) {
            return Err(self.fault_with(GP, 0));
        }
        let changed = self.cpu.cr0 ^ new;
        if changed & cr0::PG != 0 && !set(cr0::PG) && self.cpu.cr4 & cr4::PCIDE != 0 {
            return Err(self.fault_with(GP, 0));
        }
        if changed & (cr0::PG | cr0::CD | cr0::NW) != 0 {
            let legacy = self.cpu.msr.efer & efer::LME == 0;
            if set(cr0::PG) && self.cpu.cr4 & cr4::PAE != 0 && legacy {
                self.load_pdptes(self.cpu.cr3)?;
            }
        }
        if changed & cr0::PG != 0 {
            self.switch_paging(set(cr0::PG))?;
        }
        self.cpu.cr0 = new;
        if changed & (cr0::PG | cr0::WP | cr0::PE) != 0 {
            self.flush_translations();
        }
        self.cpu.refresh_mode();
        Ok(())
    }

    /// Paging goes on or off: with EFER.LME long mode does too (section 9.8.5).
    fn switch_paging(&mut self, on: bool) -> Exec {
        let cpu = &mut self.cpu;
        let long_code = cpu.segment(CS).attributes.long();
        if on && cpu.msr.efer & efer::LME != 0 {
            if cpu.cr4 & cr4::PAE == 0 || long_code {
                return Err(self.fault_with(GP, 0));
            }
            cpu.msr.efer |= efer::LMA;
        } else if !on {
            if cpu.is_64_bit() {
                return Err(self.fault_with(GP, 0));
            }
            cpu.msr.efer &= !efer::LMA;
        }
        Ok(())
    }

    /// With process-context identifiers too all translations but global ones go: those of
    /// other identifiers need not be kept (section 4.10.4.1).
    fn set_cr3(&mut self, value: u64) -> Exec {
        let value = match self.cpu.cr4 & cr4::PCIDE {
            0 => value,
            _ => value & !NO_FLUSH,
        };
        if self.cpu.is_long() && value >> PHYSICAL_BITS != 0 {
            return Err(self.fault_with(GP, 0));
        }
        if self.cpu.uses_pae_paging() {
            self.load_pdptes(value)?;
        }
        self.switch_address_space(value);
        Ok(())
    }

    fn set_cr4(&mut self, value: u64) -> Exec {
        let drops_pae = value & u64::from(cr4::PAE) == 0 && self.cpu.is_long();
        let defined = self.cpu.model.cr4_bits();
        if value & !u64::from(defined) != 0 || drops_pae {
            return Err(self.fault_with(GP, 0));
        }
        let changed = self.cpu.cr4 ^ value as u32;
        let set = |bits: u32| changed & value as u32 & bits != 0;
        if set(cr4::PCIDE) && (!self.cpu.is_long() || self.cpu.cr3 & PCID != 0) {
            return Err(self.fault_with(GP, 0));
        }
        const LOADS_PDPTES: u32 = cr4::PAE | cr4::PGE | cr4::PSE | cr4::SMEP;
        let pages = self.cpu.cr0 & cr0::PG != 0 && !self.cpu.is_long();
        let pae = pages && value & u64::from(cr4::PAE) != 0;
        if pae && changed & LOADS_PDPTES != 0 {
            self.load_pdptes(self.cpu.cr3)?;
        }
        self.cpu.cr4 = value as u32;
        const TRANSLATION: u32 =
            cr4::PAE | cr4::PSE | cr4::PGE | cr4::PCIDE | cr4::SMEP | cr4::SMAP;
        if changed & TRANSLATION != 0 {
            self.flush_translations();
        }
        if changed & cr4::DE != 0 {
            self.cpu.arm_breakpoints();
        }
        self.cpu.refresh_mode();
        Ok(())
    }

    /// #UD for a control register that the model does not have.
    fn require_control_register(&mut self, number: u8) -> Exec {
        match number {
            0 | 2 | 3 | 8 => Ok(()),
            4 if self.cpu.model.cr4_bits() != 0 => Ok(()),
            _ => Err(self.fault(UD)),
        }
    }

    /// The debug register that a number means: 4 and 5 are 6 and 7 unless CR4.DE is set.
    fn debug_register(&mut self, number: u8) -> Exec<usize> {
        if matches!(number, 4 | 5) && self.cpu.cr4 & cr4::DE != 0 || number > 7 {
            return Err(self.fault(UD));
        }
        self.require_supervisor()?;
        if self.cpu.dr[7] & dr7::GD != 0 {
            self.cpu.dr[6] |= u64::from(dr6::BD);
            return Err(self.fault(DB));
        }
        Ok(usize::from(match number {
            4 | 5 => number + 2,
            n => n,
        }))
    }

    fn set_debug_register(&mut self, number: usize, value: u64) -> Exec {
        if number >= 6 && value >> 32 != 0 {
            return Err(self.fault_with(GP, 0));
        }
        self.cpu.dr[number] = match number {
            6 => value & 0xe00f | 0xffff_0ff0,
            7 => value & 0xffff_2bff | 0x400,
            _ => value,
        };
        self.cpu.arm_breakpoints();
        Ok(())
    }

    /// #GP(0) under CR4.UMIP unless at level 0: for what tells of the system's tables.
    pub(super) fn require_table_access(&mut self) -> Exec {
        if self.cpu.cr4 & cr4::UMIP == 0 {
            return Ok(());
        }
        self.require_supervisor()
    }
}

fn mov_to_control<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_control_register(op.dst)?;
    core.require_supervisor()?;
    let value = core.cpu.regs.read::<W>(op.src).zero_extend();
    match op.dst {
        0 => core.set_cr0(value),
        2 => {
            core.cpu.cr2 = value;
            Ok(())
        }
        3 => core.set_cr3(value),
        4 => core.set_cr4(value),
        _ => set_task_priority(core, value),
    }
}

/// CR8.
fn set_task_priority(core: &mut Core<'_>, value: u64) -> Exec {
    if value > 15 {
        return Err(core.fault_with(GP, 0));
    }
    let now = core.cpu.now();
    core.bus.set_task_priority(core.memory, now, value as u8);
    core.after_bus_access();
    Ok(())
}

fn mov_from_control<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_control_register(op.src)?;
    core.require_supervisor()?;
    let value = match op.src {
        0 => u64::from(core.cpu.cr0),
        2 => core.cpu.cr2,
        3 => core.cpu.cr3,
        4 => u64::from(core.cpu.cr4),
        _ => u64::from(core.bus.task_priority()),
    };
    core.cpu.regs.write(op.dst, W::truncate(value));
    Ok(())
}

fn mov_to_debug<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let number = core.debug_register(op.dst)?;
    let value = core.cpu.regs.read::<W>(op.src).zero_extend();
    core.set_debug_register(number, value)
}

fn mov_from_debug<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let number = core.debug_register(op.src)?;
    let value = core.cpu.dr[number];
    core.cpu.regs.write(op.dst, W::truncate(value));
    Ok(())
}

fn clts(core: &mut Core<'_>, _op: &Op) -> Exec {
    core.require_supervisor()?;
    core.cpu.cr0 &= !cr0::TS;
    core.cpu.refresh_mode();
    Ok(())
}

/// LMSW replaces PE, MP, EM and TS, but cannot clear PE.
fn lmsw(core: &mut Core<'_>, value: u16) -> Exec {
    const WRITABLE: u32 = cr0::PE | cr0::MP | cr0::EM | cr0::TS;
    let kept = core.cpu.cr0 & (!WRITABLE | cr0::PE);
    core.set_cr0(u64::from(kept | u32::from(value) & WRITABLE))
}

fn lmsw_register(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_supervisor()?;
    lmsw(core, core.cpu.regs.read(op.dst))
}

fn lmsw_memory(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_supervisor()?;
    let value = core.load(op)?;
    lmsw(core, value)
}

fn smsw_register<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_table_access()?;
    let value = u64::from(core.cpu.cr0);
    core.cpu.regs.write(op.dst, W::truncate(value));
    Ok(())
}

fn smsw_memory(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_table_access()?;
    core.store(op, core.cpu.cr0 as u16)
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    let memory = kind(instruction, 0) == Kind::Mem;
    let handler: Handler = match instruction.code() {
        Code::Mov_cr_r32 => run!(mov_to_control::<u32>),
        Code::Mov_cr_r64 => run!(mov_to_control::<u64>),
        Code::Mov_r32_cr => run!(mov_from_control::<u32>),
        Code::Mov_r64_cr => run!(mov_from_control::<u64>),
        Code::Mov_dr_r32 => run!(mov_to_debug::<u32>),
        Code::Mov_dr_r64 => run!(mov_to_debug::<u64>),
        Code::Mov_r32_dr => run!(mov_from_debug::<u32>),
        Code::Mov_r64_dr => run!(mov_from_debug::<u64>),
        Code::Clts => run!(clts),
        Code::Lmsw_rm16 | Code::Lmsw_r32m16 | Code::Lmsw_r64m16 if memory => run!(lmsw_memory),
        Code::Lmsw_rm16 | Code::Lmsw_r32m16 | Code::Lmsw_r64m16 => run!(lmsw_register),
        Code::Smsw_rm16 | Code::Smsw_r32m16 | Code::Smsw_r64m16 if memory => run!(smsw_memory),
        Code::Smsw_rm16 => run!(smsw_register::<u16>),
        Code::Smsw_r32m16 => run!(smsw_register::<u32>),
        Code::Smsw_r64m16 => run!(smsw_register::<u64>),
        _ => return None,
    };
    Some(handler)
}

/// Whether an encoding of this file ends its block: whatever writes CR0, CR3, CR4, CR8 or a
/// debug register.
pub(super) fn ends_block(code: Code) -> bool {
    matches!(
        code,
        Code::Mov_cr_r32
            | Code::Mov_cr_r64
            | Code::Mov_dr_r32
            | Code::Mov_dr_r64
            | Code::Lmsw_rm16
            | Code::Lmsw_r32m16
            | Code::Lmsw_r64m16
    )
}
