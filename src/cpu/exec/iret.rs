//! INT n, INT3, INTO, INT1 and BOUND, and IRET in all modes (Intel SDM volume 3, sections
//! 6.12.1, 6.14.3 and 20.2.1).

use iced_x86::{Code, Instruction};

use super::{Handler, run};
use crate::cpu::decode::Op;
use crate::cpu::descriptor::{kind, rpl};
use crate::cpu::fault::{BP, BR, GP, OF, TS};
use crate::cpu::flags;
use crate::cpu::interrupt::Delivery;
use crate::cpu::mode::cr4;
use crate::cpu::regs::RSP;
use crate::cpu::segment::{CS, DS, ES, FS, GS, SS, Segment};
use crate::cpu::task::Switch;
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec};

fn int(core: &mut Core<'_>, op: &Op) -> Exec {
    core.deliver(Delivery::Software(op.immediate as u8))
}

fn int3(core: &mut Core<'_>, _op: &Op) -> Exec {
    core.deliver(Delivery::Trap(BP))
}

fn int1(core: &mut Core<'_>, _op: &Op) -> Exec {
    core.deliver(Delivery::Debug)
}

fn into(core: &mut Core<'_>, _op: &Op) -> Exec {
    if core.cpu.flags.of() {
        return core.deliver(Delivery::Trap(OF));
    }
    Ok(())
}

/// BOUND: an index between two signed bounds in memory.
fn bound<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let at = core.effective_address(op);
    let index = core.cpu.regs.read::<W>(op.dst).sign_extend() as i64;
    let lower = core.load_at::<W>(op.segment(), at)?.sign_extend() as i64;
    if index < lower {
        return Err(core.fault(BR));
    }
    let behind = core.offset_after(op, at, W::BYTES);
    let upper = core.load_at::<W>(op.segment(), behind)?.sign_extend() as i64;
    if index > upper {
        return Err(core.fault(BR));
    }
    Ok(())
}

/// The flags that every IRET replaces.
const BASIC: u32 = flags::ARITHMETIC | flags::TF | flags::DF | flags::NT;

/// What IRET pops first, at any width.
struct Return {
    ip: u64,
    cs: u16,
    flags: u32,
}

fn frame<W: Width>(core: &mut Core<'_>) -> Exec<Return> {
    Ok(Return {
        ip: core.peek_stack::<W>(0)?.zero_extend(),
        cs: core.peek_stack::<W>(W::BYTES)?.zero_extend() as u16,
        flags: core.peek_stack::<W>(2 * W::BYTES)?.zero_extend() as u32,
    })
}

/// NMIs are unblocked even if the instruction faults (section 6.7.1).
fn iret<W: Width>(core: &mut Core<'_>, _op: &Op) -> Exec {
    if std::mem::take(&mut core.cpu.flow.nmi_masked) {
        core.cpu.flow.attend();
    }
    if core.cpu.is_real() {
        iret_real::<W>(core)
    } else if core.cpu.is_v86() {
        iret_v86::<W>(core)
    } else if core.cpu.is_64_bit() {
        iret_64::<W>(core)
    } else {
        iret_protected::<W>(core)
    }
}

/// The flags that an IRET of this width may replace at the current privilege.
fn writable<W: Width>(core: &Core<'_>) -> u32 {
    let mut mask = BASIC;
    if W::BITS != 16 {
        mask |= flags::RF | flags::AC | flags::ID;
    }
    if core.cpu.cpl == 0 {
        mask |= flags::IOPL;
        if W::BITS != 16 {
            mask |= flags::VIF | flags::VIP;
        }
    }
    if core.cpu.cpl <= core.cpu.flags.iopl() {
        mask |= flags::IF;
    }
    mask
}

/// Pops the frame of three within the same stack.
fn discard_frame<W: Width>(core: &mut Core<'_>) {
    let top = core.cpu.regs.get(RSP).wrapping_add(3 * W::BYTES);
    core.set_stack_pointer(top);
}

fn iret_real<W: Width>(core: &mut Core<'_>) -> Exec {
    let frame = frame::<W>(core)?;
    core.check_target(frame.ip)?;
    let mut mask = BASIC | flags::IF | flags::IOPL;
    if W::BITS != 16 {
        mask |= flags::RF | flags::AC | flags::ID;
    }
    discard_frame::<W>(core);
    core.write_flags(frame.flags, mask);
    let segment = core.real_segment(CS, frame.cs);
    core.set_segment(CS, segment);
    core.continue_at(frame.ip);
    Ok(())
}

/// IRET within virtual-8086 mode: below IOPL 3 only with VME and 16 bits wide, and then the
/// interrupt flag is the virtual one (section 20.3, table 20-2).
fn iret_v86<W: Width>(core: &mut Core<'_>) -> Exec {
    let limited = core.cpu.flags.iopl() < 3;
    if limited && (core.cpu.cr4 & cr4::VME == 0 || W::BITS != 16) {
        return Err(core.fault_with(GP, 0));
    }
    let frame = frame::<W>(core)?;
    core.check_target(frame.ip)?;
    let wants_interrupts = frame.flags & flags::IF != 0;
    if limited {
        let pending = core.cpu.flags.has(flags::VIP) && wants_interrupts;
        if pending || frame.flags & flags::TF != 0 {
            return Err(core.fault_with(GP, 0));
        }
        core.cpu.flags.assign(flags::VIF, wants_interrupts);
    }
    let mut mask = BASIC;
    if !limited {
        mask |= flags::IF;
    }
    if W::BITS != 16 {
        mask |= flags::RF | flags::AC | flags::ID;
    }
    discard_frame::<W>(core);
    core.write_flags(frame.flags, mask);
    let segment = core.real_segment(CS, frame.cs);
    core.set_segment(CS, segment);
    core.continue_at(frame.ip);
    Ok(())
}

fn iret_protected<W: Width>(core: &mut Core<'_>) -> Exec {
    if core.cpu.flags.has(flags::NT) {
        return iret_task(core);
    }
    let frame = frame::<W>(core)?;
    let to_v86 = frame.flags & flags::VM != 0 && W::BITS == 32 && core.cpu.cpl == 0;
    if to_v86 && !core.cpu.is_long() {
        return iret_to_v86(core, &frame);
    }
    if rpl(frame.cs) > core.cpu.cpl {
        return iret_outer::<W>(core, &frame);
    }
    let code = core.check_return(frame.cs)?;
    core.check_code_target(&code, frame.ip)?;
    core.mark_accessed(&code)?;
    let mask = writable::<W>(core);
    discard_frame::<W>(core);
    core.write_flags(frame.flags, mask);
    core.set_code_segment(frame.cs, &code, core.cpu.cpl);
    core.continue_at(frame.ip);
    Ok(())
}

/// IRET from 64-bit mode, and from anywhere to an outer level: SS and the stack pointer are
/// popped too.
fn iret_outer<W: Width>(core: &mut Core<'_>, frame: &Return) -> Exec {
    let code = core.check_return(frame.cs)?;
    core.check_code_target(&code, frame.ip)?;
    let level = rpl(frame.cs);
    let top = core.peek_stack::<W>(3 * W::BYTES)?.zero_extend();
    let ss = core.peek_stack::<W>(4 * W::BYTES)?.zero_extend() as u16;
    let stack = core.check_return_stack(ss, &code, level)?;
    core.mark_accessed(&code)?;
    let mask = writable::<W>(core);
    let outward = level > core.cpu.cpl;
    core.write_flags(frame.flags, mask);
    core.set_code_and_stack(frame.cs, &code, level, stack);
    core.set_stack_pointer(top);
    if outward {
        core.drop_inner_segments();
    }
    core.continue_at(frame.ip);
    Ok(())
}

fn iret_64<W: Width>(core: &mut Core<'_>) -> Exec {
    if core.cpu.flags.has(flags::NT) {
        return Err(core.fault_with(GP, 0));
    }
    let frame = frame::<W>(core)?;
    iret_outer::<W>(core, &frame)
}

/// From level 0 to virtual-8086 mode: all segment registers are popped.
fn iret_to_v86(core: &mut Core<'_>, frame: &Return) -> Exec {
    if frame.ip > 0xffff {
        return Err(core.fault_with(GP, 0));
    }
    let top = core.peek_stack::<u32>(12)?;
    let mut selectors = [0; 5];
    for (n, selector) in (4..).zip(&mut selectors) {
        *selector = core.peek_stack::<u32>(n * 4)? as u16;
    }
    let sticks = core.cpu.model.traits().flags;
    core.cpu.flags.set_bits(frame.flags & sticks);
    core.after_flags();
    core.cpu.cpl = 3;
    let [ss, es, ds, fs, gs] = selectors;
    let selectors = [
        (CS, frame.cs),
        (SS, ss),
        (ES, es),
        (DS, ds),
        (FS, fs),
        (GS, gs),
    ];
    core.set_segments(selectors.map(|(index, selector)| (index, Segment::virtual_8086(selector))));
    core.cpu.regs.write(RSP, top);
    core.continue_at(frame.ip);
    Ok(())
}

/// With NT set: back to the task that the TSS links to (section 7.4).
fn iret_task(core: &mut Core<'_>) -> Exec {
    if core.cpu.is_long() {
        return Err(core.fault_with(GP, 0));
    }
    let link: u16 = core.read_system(core.cpu.tr.base)?;
    let found = if link & 4 != 0 {
        None
    } else {
        core.find_descriptor(link)?
    };
    match found {
        Some(tss) if matches!(tss.system_kind(), Some(kind::TSS_BUSY | kind::TSS_16_BUSY)) => {
            if !tss.attributes().present() {
                return Err(core.selector_fault(crate::cpu::fault::NP, link));
            }
            core.switch_task(link, &tss, Switch::Return)
        }
        _ => Err(core.selector_fault(TS, link)),
    }
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    let handler: Handler = match instruction.code() {
        Code::Int_imm8 => run!(int),
        Code::Int3 => run!(int3),
        Code::Int1 => run!(int1),
        Code::Into => run!(into),
        Code::Bound_r16_m1616 => run!(bound::<u16>),
        Code::Bound_r32_m3232 => run!(bound::<u32>),
        Code::Iretw => run!(iret::<u16>),
        Code::Iretd => run!(iret::<u32>),
        Code::Iretq => run!(iret::<u64>),
        _ => return None,
    };
    Some(handler)
}
