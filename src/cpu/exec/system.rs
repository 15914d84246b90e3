//! What remains of the system instructions: interrupt and direction flags, HLT, INVLPG and the
//! caches, time stamps, MSRs, CPUID and random numbers (Intel SDM volume 3, section 2.8).

use iced_x86::{Code, Instruction, Mnemonic};

use super::{Handler, run};
use crate::cpu::decode::Op;
use crate::cpu::descriptor::is_canonical;
use crate::cpu::fault::{GP, UD};
use crate::cpu::flags;
use crate::cpu::mmu::Access;
use crate::cpu::mode::cr4;
use crate::cpu::regs::{RAX, RBX, RCX, RDX};
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec};

/// Which interrupt flag CLI and STI mean.
enum InterruptFlag {
    Real,
    Virtual,
}

/// IF, or below IOPL with PVI or VME the virtual one, else #GP(0) (section 20.3 and 20.4).
fn interrupt_flag(core: &mut Core<'_>) -> Exec<InterruptFlag> {
    let cpu = &core.cpu;
    let allowed = cpu.is_real() || cpu.cpl <= cpu.flags.iopl();
    let has_virtual = if cpu.is_v86() {
        cpu.cr4 & cr4::VME != 0
    } else {
        cpu.cpl == 3 && cpu.cr4 & cr4::PVI != 0
    };
    match (allowed, has_virtual) {
        (true, _) => Ok(InterruptFlag::Real),
        (false, true) => Ok(InterruptFlag::Virtual),
        (false, false) => Err(core.fault_with(GP, 0)),
    }
}

fn cli(core: &mut Core<'_>, _op: &Op) -> Exec {
    let flag = match interrupt_flag(core)? {
        InterruptFlag::Real => flags::IF,
        InterruptFlag::Virtual => flags::VIF,
    };
    core.cpu.flags.assign(flag, false);
    Ok(())
}

fn sti(core: &mut Core<'_>, _op: &Op) -> Exec {
    match interrupt_flag(core)? {
        InterruptFlag::Real => {
            if !core.cpu.flags.has(flags::IF) {
                core.cpu.flags.assign(flags::IF, true);
                core.cpu.flow.shadow_interrupts();
            }
        }
        InterruptFlag::Virtual => {
            if core.cpu.flags.has(flags::VIP) {
                return Err(core.fault_with(GP, 0));
            }
            core.cpu.flags.assign(flags::VIF, true);
        }
    }
    Ok(())
}

fn cld(core: &mut Core<'_>, _op: &Op) -> Exec {
    core.cpu.flags.assign(flags::DF, false);
    Ok(())
}

fn std(core: &mut Core<'_>, _op: &Op) -> Exec {
    core.cpu.flags.assign(flags::DF, true);
    Ok(())
}

fn hlt(core: &mut Core<'_>, _op: &Op) -> Exec {
    core.require_supervisor()?;
    core.cpu.flow.halt();
    Ok(())
}

fn invlpg(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_supervisor()?;
    let offset = core.effective_address(op);
    let base = core.cpu.segment(op.segment()).base;
    let linear = base.wrapping_add(offset) & core.cpu.mode.linear_mask;
    core.cpu.tlb.flush_page(linear);
    core.cpu.flow.forget_fetch_page();
    Ok(())
}

/// INVPCID: as translations of other process-context identifiers are not kept, every type drops
/// those of all (section 4.10.4.1 allows that).
fn invpcid(core: &mut Core<'_>, op: &Op) -> Exec {
    const INDIVIDUAL: u64 = 0;
    const SINGLE_CONTEXT: u64 = 1;
    const LAST_TYPE: u64 = 3;
    core.require_supervisor()?;
    let wanted = match core.cpu.is_64_bit() {
        true => core.cpu.regs.get(op.dst),
        false => core.cpu.regs.get(op.dst) & 0xffff_ffff,
    };
    let at = core.effective_address(op);
    let descriptor = u128::from_le_bytes(core.load_bytes(op.segment(), at)?);
    let (context, linear) = (descriptor as u64, (descriptor >> 64) as u64);
    let identifiers = core.cpu.cr4 & cr4::PCIDE != 0;
    let refused = match wanted {
        INDIVIDUAL => context != 0 && !identifiers || !is_canonical(linear),
        SINGLE_CONTEXT => context != 0 && !identifiers,
        _ => false,
    };
    if wanted > LAST_TYPE || context >> 12 != 0 || refused {
        return Err(core.fault_with(GP, 0));
    }
    core.flush_translations();
    Ok(())
}

/// CLAC and STAC: EFLAGS.AC, which under SMAP lets the supervisor into user pages.
fn set_access_control(core: &mut Core<'_>, op: &Op) -> Exec {
    if core.cpu.cpl != 0 {
        return Err(core.fault(UD));
    }
    let open = op.code().mnemonic() == Mnemonic::Stac;
    core.cpu.flags.assign(flags::AC, open);
    core.after_access_control();
    Ok(())
}

/// INVD and WBINVD: there is no cache.
fn flush_cache(core: &mut Core<'_>, _op: &Op) -> Exec {
    core.require_supervisor()
}

/// Writes EDX:EAX.
fn write_pair(core: &mut Core<'_>, value: u64) {
    core.cpu.regs.set(RAX, value & 0xffff_ffff);
    core.cpu.regs.set(RDX, value >> 32);
}

/// Reads the time-stamp counter, if the program may.
fn time_stamp(core: &mut Core<'_>) -> Exec<u64> {
    if core.cpu.cr4 & cr4::TSD != 0 && core.cpu.cpl != 0 {
        return Err(core.fault_with(GP, 0));
    }
    Ok(core.cpu.time_stamp())
}

fn rdtsc(core: &mut Core<'_>, _op: &Op) -> Exec {
    let value = time_stamp(core)?;
    write_pair(core, value);
    Ok(())
}

fn rdtscp(core: &mut Core<'_>, _op: &Op) -> Exec {
    let value = time_stamp(core)?;
    write_pair(core, value);
    let aux = core.cpu.msr.tsc_aux;
    core.cpu.regs.set(RCX, aux & 0xffff_ffff);
    Ok(())
}

/// RDPMC: there are no counters.
fn rdpmc(core: &mut Core<'_>, _op: &Op) -> Exec {
    Err(core.fault_with(GP, 0))
}

fn rdmsr(core: &mut Core<'_>, _op: &Op) -> Exec {
    core.require_supervisor()?;
    let value = core.read_msr(core.cpu.regs.read(RCX))?;
    write_pair(core, value);
    Ok(())
}

fn wrmsr(core: &mut Core<'_>, _op: &Op) -> Exec {
    core.require_supervisor()?;
    let regs = &core.cpu.regs;
    let value = u64::from(regs.read::<u32>(RDX)) << 32 | u64::from(regs.read::<u32>(RAX));
    core.write_msr(regs.read(RCX), value)
}

fn cpuid(core: &mut Core<'_>, _op: &Op) -> Exec {
    let regs = &core.cpu.regs;
    let leaf = core.cpuid(regs.read(RAX), regs.read(RCX));
    for (register, value) in [RAX, RBX, RCX, RDX].into_iter().zip(leaf) {
        core.cpu.regs.write(register, value);
    }
    Ok(())
}

/// RDRAND and RDSEED: of the flags only CF is set (Intel SDM volume 2, RDRAND).
fn rdrand<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let value = core.cpu.random.draw();
    core.cpu.regs.write(op.dst, W::truncate(value));
    core.cpu.flags.set_arithmetic(flags::CF, flags::ARITHMETIC);
    Ok(())
}

/// UD0, UD1, UD2.
fn undefined(core: &mut Core<'_>, _op: &Op) -> Exec {
    Err(core.fault(UD))
}

/// Encodings that are no operation where the feature they belong to is not there: the
/// reserved space of NOP and PREFETCH.
fn nothing(_core: &mut Core<'_>, _op: &Op) -> Exec {
    Ok(())
}

/// Whether an encoding lies in the space that processors without its feature skip.
pub(super) fn is_reserved_nop(instruction: &Instruction) -> bool {
    matches!(
        instruction.mnemonic(),
        Mnemonic::Reservednop
            | Mnemonic::Endbr32
            | Mnemonic::Endbr64
            | Mnemonic::Rdsspd
            | Mnemonic::Rdsspq
            | Mnemonic::Cldemote
            | Mnemonic::Prefetchwt1
            | Mnemonic::Prefetch
    )
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    if is_reserved_nop(instruction) {
        return Some(run!(nothing));
    }
    let handler: Handler = match instruction.mnemonic() {
        Mnemonic::Cli => run!(cli),
        Mnemonic::Sti => run!(sti),
        Mnemonic::Cld => run!(cld),
        Mnemonic::Std => run!(std),
        Mnemonic::Hlt => run!(hlt),
        Mnemonic::Invlpg => run!(invlpg),
        Mnemonic::Invpcid => run!(invpcid),
        Mnemonic::Clac | Mnemonic::Stac => run!(set_access_control),
        Mnemonic::Invd | Mnemonic::Wbinvd | Mnemonic::Wbnoinvd => run!(flush_cache),
        Mnemonic::Rdtsc => run!(rdtsc),
        Mnemonic::Rdtscp => run!(rdtscp),
        Mnemonic::Rdpmc => run!(rdpmc),
        Mnemonic::Rdmsr => run!(rdmsr),
        Mnemonic::Wrmsr => run!(wrmsr),
        Mnemonic::Cpuid => run!(cpuid),
        Mnemonic::Rdrand | Mnemonic::Rdseed => match instruction.op_register(0).size() {
            2 => run!(rdrand::<u16>),
            4 => run!(rdrand::<u32>),
            _ => run!(rdrand::<u64>),
        },
        Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2 => run!(undefined),
        Mnemonic::Clflush => run!(clflush),
        _ => return None,
    };
    Some(handler)
}

/// CLFLUSH: there is no cache, but the address has to be readable, or in a code segment (Intel SDM
/// volume 2, CLFLUSH).
fn clflush(core: &mut Core<'_>, op: &Op) -> Exec {
    let offset = core.effective_address(op);
    let segment = *core.cpu.segment(op.segment());
    let linear = match segment.attributes.is_code() && segment.covers(offset, 1) {
        true => segment.base.wrapping_add(offset) & core.cpu.mode.linear_mask,
        false => core.linear(Access::Read, op.segment(), offset, 1)?,
    };
    let user = core.cpu.mode.user;
    core.translate(Access::Read, user, linear, op.segment())?;
    Ok(())
}

/// Whether an encoding of this file ends its block.
pub(super) fn ends_block(code: Code) -> bool {
    matches!(
        code.mnemonic(),
        Mnemonic::Sti | Mnemonic::Hlt | Mnemonic::Invlpg | Mnemonic::Invpcid | Mnemonic::Wrmsr
    )
}
