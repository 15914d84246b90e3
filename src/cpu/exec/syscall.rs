//! SYSCALL SYSRET SYSENTER SYSEXIT SWAPGS (AMD64 APM volume 2, section 6.1), and reading and writing
//! the bases of FS and GS.
//!
//! As AMD has it: SYSCALL works in every mode, SYSENTER and SYSEXIT are invalid in long mode.

use iced_x86::{Code, Instruction, Mnemonic};

use super::{Handler, run};
use crate::cpu::breakpoint::dr6;
use crate::cpu::decode::Op;
use crate::cpu::descriptor::is_canonical;
use crate::cpu::fault::{GP, UD};
use crate::cpu::flags;
use crate::cpu::mode::{cr4, efer};
use crate::cpu::regs::{RCX, RDX, RSP};
use crate::cpu::segment::{Attributes, CS, FS, GS, SS, Segment};
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec};

/// R11.
const R11: u8 = 11;

/// The size of a flat code segment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flat {
    Code32,
    Code64,
}

/// Loads flat segments for code and stack, and the privilege level, without looking at any
/// table.
fn set_flat(core: &mut Core<'_>, code: Flat, cs: u16, ss: u16, level: u8) {
    const CODE_32: u16 = 0xc09b;
    const CODE_64: u16 = 0xa09b;
    const DATA: u16 = 0xc093;
    let dpl = u16::from(level) << 5;
    let rpl = u16::from(level);
    let code = match code {
        Flat::Code32 => CODE_32,
        Flat::Code64 => CODE_64,
    };
    let flat = |selector: u16, attributes: u16| {
        let attributes = Attributes(attributes | dpl);
        Segment::new(selector & !3 | rpl, 0, u32::MAX, attributes)
    };
    core.cpu.segments[usize::from(CS)] = flat(cs, code);
    core.cpu.segments[usize::from(SS)] = flat(ss, DATA);
    core.cpu.set_cpl(level);
}

fn syscall(core: &mut Core<'_>, _op: &Op) -> Exec {
    if core.cpu.msr.efer & efer::SCE == 0 {
        return Err(core.fault(UD));
    }
    let next = core.cpu.rip;
    let star = core.cpu.msr.star;
    let selector = (star >> 32) as u16;
    if core.cpu.is_long() {
        let from_64_bit = core.cpu.is_64_bit();
        let image = core.cpu.flags.bits();
        core.cpu.regs.set(RCX, next);
        core.cpu.regs.set(R11, u64::from(image & !flags::RF));
        let mask = core.cpu.msr.sfmask as u32 | flags::RF;
        core.cpu.flags.set_bits(image & !mask);
        core.after_access_control();
        set_flat(core, Flat::Code64, selector, selector.wrapping_add(8), 0);
        let msr = &core.cpu.msr;
        let target = if from_64_bit { msr.lstar } else { msr.cstar };
        core.continue_at(target);
    } else {
        core.cpu.regs.set(RCX, next);
        let cleared = flags::VM | flags::IF | flags::RF;
        core.cpu.flags.assign(cleared, false);
        set_flat(core, Flat::Code32, selector, selector.wrapping_add(8), 0);
        core.continue_at(star & 0xffff_ffff);
    }
    core.cpu.flow.handler_entered();
    if core.cpu.flags.has(flags::TF) {
        core.report_later(dr6::BS);
    }
    Ok(())
}

/// SYSRET to 64-bit code.
fn sysret_64(core: &mut Core<'_>, _op: &Op) -> Exec {
    check_sysret(core)?;
    let base = (core.cpu.msr.star >> 48) as u16;
    let target = core.cpu.regs.get(RCX);
    restore_flags(core);
    set_flat(
        core,
        Flat::Code64,
        base.wrapping_add(16),
        base.wrapping_add(8),
        3,
    );
    core.continue_at(target);
    Ok(())
}

/// SYSRET to 32-bit code.
fn sysret_32(core: &mut Core<'_>, _op: &Op) -> Exec {
    check_sysret(core)?;
    let base = (core.cpu.msr.star >> 48) as u16;
    let target = core.cpu.regs.get(RCX) & 0xffff_ffff;
    if core.cpu.is_long() {
        restore_flags(core);
    } else {
        core.cpu.flags.assign(flags::IF, true);
        core.after_flags();
    }
    set_flat(core, Flat::Code32, base, base.wrapping_add(8), 3);
    core.continue_at(target);
    Ok(())
}

fn check_sysret(core: &mut Core<'_>) -> Exec {
    if core.cpu.msr.efer & efer::SCE == 0 {
        return Err(core.fault(UD));
    }
    if !core.cpu.is_protected() || core.cpu.cpl != 0 {
        return Err(core.fault_with(GP, 0));
    }
    Ok(())
}

/// RFLAGS from R11.
fn restore_flags(core: &mut Core<'_>) {
    let image = core.cpu.regs.get(R11) as u32;
    core.cpu.flags.set_bits(image & !(flags::RF | flags::VM));
    core.after_flags();
}

fn sysenter(core: &mut Core<'_>, _op: &Op) -> Exec {
    if core.cpu.is_long() {
        return Err(core.fault(UD));
    }
    let selector = core.cpu.msr.sysenter_cs as u16 & !3;
    if core.cpu.is_real() || selector == 0 {
        return Err(core.fault_with(GP, 0));
    }
    let cleared = flags::VM | flags::IF | flags::RF;
    core.cpu.flags.assign(cleared, false);
    set_flat(core, Flat::Code32, selector, selector.wrapping_add(8), 0);
    let msr = &core.cpu.msr;
    let (stack, target) = (msr.sysenter_esp as u32, msr.sysenter_eip as u32);
    core.cpu.regs.write(RSP, stack);
    core.continue_at(u64::from(target));
    core.cpu.flow.handler_entered();
    Ok(())
}

fn sysexit(core: &mut Core<'_>, _op: &Op) -> Exec {
    if core.cpu.is_long() {
        return Err(core.fault(UD));
    }
    let selector = core.cpu.msr.sysenter_cs as u16 & !3;
    if !core.cpu.is_protected() || core.cpu.cpl != 0 || selector == 0 {
        return Err(core.fault_with(GP, 0));
    }
    let stack: u32 = core.cpu.regs.read(RCX);
    let target: u32 = core.cpu.regs.read(RDX);
    let (cs, ss) = (selector.wrapping_add(16), selector.wrapping_add(24));
    set_flat(core, Flat::Code32, cs, ss, 3);
    core.cpu.regs.write(RSP, stack);
    core.continue_at(u64::from(target));
    Ok(())
}

fn swapgs(core: &mut Core<'_>, _op: &Op) -> Exec {
    core.require_supervisor()?;
    let cpu = &mut *core.cpu;
    let base = &mut cpu.segments[usize::from(GS)].base;
    std::mem::swap(base, &mut cpu.msr.kernel_gs_base);
    Ok(())
}

impl Core<'_> {
    /// #UD unless CR4.FSGSBASE is set.
    fn require_base_access(&mut self) -> Exec {
        if self.cpu.cr4 & cr4::FSGSBASE == 0 {
            return Err(self.fault(UD));
        }
        Ok(())
    }
}

/// RDFSBASE and RDGSBASE.
fn read_base<W: Width, const SEGMENT: u8>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_base_access()?;
    let base = core.cpu.segment(SEGMENT).base;
    core.cpu.regs.write(op.dst, W::truncate(base));
    Ok(())
}

/// WRFSBASE and WRGSBASE.
fn write_base<W: Width, const SEGMENT: u8>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_base_access()?;
    let base = core.cpu.regs.read::<W>(op.dst).zero_extend();
    if !is_canonical(base) {
        return Err(core.fault_with(GP, 0));
    }
    core.cpu.segments[usize::from(SEGMENT)].base = base;
    Ok(())
}

fn base_handler(instruction: &Instruction) -> Option<Handler> {
    let wide = instruction.op_count() == 1 && instruction.op_register(0).is_gpr64();
    Some(match (instruction.mnemonic(), wide) {
        (Mnemonic::Rdfsbase, true) => run!(read_base::<u64, FS>),
        (Mnemonic::Rdfsbase, false) => run!(read_base::<u32, FS>),
        (Mnemonic::Rdgsbase, true) => run!(read_base::<u64, GS>),
        (Mnemonic::Rdgsbase, false) => run!(read_base::<u32, GS>),
        (Mnemonic::Wrfsbase, true) => run!(write_base::<u64, FS>),
        (Mnemonic::Wrfsbase, false) => run!(write_base::<u32, FS>),
        (Mnemonic::Wrgsbase, true) => run!(write_base::<u64, GS>),
        (Mnemonic::Wrgsbase, false) => run!(write_base::<u32, GS>),
        _ => return None,
    })
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    let handler: Handler = match (instruction.mnemonic(), instruction.code()) {
        (Mnemonic::Syscall, _) => run!(syscall),
        (_, Code::Sysretq) => run!(sysret_64),
        (_, Code::Sysretd) => run!(sysret_32),
        (Mnemonic::Sysenter, _) => run!(sysenter),
        (Mnemonic::Sysexit | Mnemonic::Sysexitq, _) => run!(sysexit),
        (Mnemonic::Swapgs, _) => run!(swapgs),
        _ => return base_handler(instruction),
    };
    Some(handler)
}
