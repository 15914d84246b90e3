//! Questions about selectors: LAR LSL VERR VERW ARPL (Intel SDM volume 3, section 5.10).

use iced_x86::{Code, Instruction, Mnemonic};

use super::form::{Kind, kind};
use super::table::{InMemory, InRegister, Selector};
use super::{Handler, run};
use crate::cpu::decode::Op;
use crate::cpu::descriptor::{Descriptor, kind as descriptor_kind, rpl};
use crate::cpu::flags::ZF;
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec};

fn set_zf(core: &mut Core<'_>, set: bool) {
    core.cpu.flags.set_arithmetic(if set { ZF } else { 0 }, ZF);
}

/// The descriptor of a selector if the program may know of it.
fn visible(core: &mut Core<'_>, selector: u16) -> Exec<Option<Descriptor>> {
    let Some(descriptor) = core.find_descriptor(selector)? else {
        return Ok(None);
    };
    let attributes = descriptor.attributes();
    let level = core.cpu.cpl.max(rpl(selector));
    let seen = attributes.is_conforming() || attributes.dpl() >= level;
    if !seen {
        return Ok(None);
    }
    if core.cpu.is_long() && !attributes.is_code_or_data() {
        let found = core.find_system_descriptor(selector)?;
        return Ok(found.filter(Descriptor::is_whole));
    }
    Ok(Some(descriptor))
}

/// Whether LAR answers for a descriptor; LSL answers for those of them that have a limit.
fn has_rights(descriptor: &Descriptor, long: bool) -> bool {
    use descriptor_kind::*;
    match descriptor.system_kind() {
        None | Some(LDT | TSS | TSS_BUSY | CALL_GATE) => true,
        Some(TSS_16 | TSS_16_BUSY | CALL_GATE_16 | TASK_GATE) => !long,
        Some(_) => false,
    }
}

fn has_limit(descriptor: &Descriptor, long: bool) -> bool {
    use descriptor_kind::{CALL_GATE, CALL_GATE_16, TASK_GATE};
    let gate = matches!(
        descriptor.system_kind(),
        Some(CALL_GATE | CALL_GATE_16 | TASK_GATE)
    );
    has_rights(descriptor, long) && !gate
}

/// The second operand: the register `src`, or memory.
trait Operand {
    fn read(core: &mut Core<'_>, op: &Op) -> Exec<u16>;
}

impl Operand for InRegister {
    fn read(core: &mut Core<'_>, op: &Op) -> Exec<u16> {
        Ok(core.cpu.regs.read(op.src))
    }
}

impl Operand for InMemory {
    fn read(core: &mut Core<'_>, op: &Op) -> Exec<u16> {
        core.load(op)
    }
}

fn lar<W: Width, S: Operand>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_protected()?;
    let selector = S::read(core, op)?;
    let long = core.cpu.is_long();
    let found = visible(core, selector)?.filter(|d| has_rights(d, long));
    if let Some(descriptor) = found {
        let rights = u64::from(descriptor.attributes().0) << 8;
        core.cpu.regs.write(op.dst, W::truncate(rights));
    }
    set_zf(core, found.is_some());
    Ok(())
}

fn lsl<W: Width, S: Operand>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_protected()?;
    let selector = S::read(core, op)?;
    let long = core.cpu.is_long();
    let found = visible(core, selector)?.filter(|d| has_limit(d, long));
    if let Some(descriptor) = found {
        let limit = u64::from(descriptor.limit());
        core.cpu.regs.write(op.dst, W::truncate(limit));
    }
    set_zf(core, found.is_some());
    Ok(())
}

fn verify<S: Selector>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_protected()?;
    let selector = S::read(core, op)?;
    let write = op.code().mnemonic() == Mnemonic::Verw;
    let found = visible(core, selector)?;
    let granted = found.is_some_and(|d| {
        if write {
            d.attributes().is_writable()
        } else {
            d.attributes().is_readable()
        }
    });
    set_zf(core, granted);
    Ok(())
}

/// The selector that ARPL leaves, if it raises the RPL of `selector` to that of `caller`.
fn raised(selector: u16, caller: u16) -> Option<u16> {
    (rpl(selector) < rpl(caller)).then_some(selector & !3 | caller & 3)
}

fn arpl_register(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_protected()?;
    let new = raised(core.cpu.regs.read(op.dst), core.cpu.regs.read(op.src));
    if let Some(selector) = new {
        core.cpu.regs.write(op.dst, selector);
    }
    set_zf(core, new.is_some());
    Ok(())
}

fn arpl_memory(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_protected()?;
    let selector = core.load::<u16>(op)?;
    let new = raised(selector, core.cpu.regs.read(op.src));
    if let Some(selector) = new {
        core.store(op, selector)?;
    }
    set_zf(core, new.is_some());
    Ok(())
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    let register = kind(instruction, 1) == Kind::Reg;
    let handler: Handler = match instruction.code() {
        Code::Lar_r16_rm16 if register => run!(lar::<u16, InRegister>),
        Code::Lar_r32_r32m16 if register => run!(lar::<u32, InRegister>),
        Code::Lar_r64_r64m16 if register => run!(lar::<u64, InRegister>),
        Code::Lar_r16_rm16 => run!(lar::<u16, InMemory>),
        Code::Lar_r32_r32m16 => run!(lar::<u32, InMemory>),
        Code::Lar_r64_r64m16 => run!(lar::<u64, InMemory>),
        Code::Lsl_r16_rm16 if register => run!(lsl::<u16, InRegister>),
        Code::Lsl_r32_r32m16 if register => run!(lsl::<u32, InRegister>),
        Code::Lsl_r64_r64m16 if register => run!(lsl::<u64, InRegister>),
        Code::Lsl_r16_rm16 => run!(lsl::<u16, InMemory>),
        Code::Lsl_r32_r32m16 => run!(lsl::<u32, InMemory>),
        Code::Lsl_r64_r64m16 => run!(lsl::<u64, InMemory>),
        _ => return verify_handler(instruction),
    };
    Some(handler)
}

fn verify_handler(instruction: &Instruction) -> Option<Handler> {
    let memory = kind(instruction, 0) == Kind::Mem;
    let handler: Handler = match instruction.mnemonic() {
        Mnemonic::Verr | Mnemonic::Verw if memory => run!(verify::<InMemory>),
        Mnemonic::Verr | Mnemonic::Verw => run!(verify::<InRegister>),
        Mnemonic::Arpl if memory => run!(arpl_memory),
        Mnemonic::Arpl => run!(arpl_register),
        _ => return None,
    };
    Some(handler)
}
