//! The descriptor table registers: LGDT SGDT LIDT SIDT LLDT SLDT LTR STR
//! (Intel SDM volume 3, section 2.4).

use iced_x86::{Code, Instruction, Mnemonic};

use super::form::{Kind, kind};
use super::{Handler, run};
use crate::cpu::decode::Op;
use crate::cpu::descriptor::{Descriptor, is_canonical, is_null, kind as descriptor_kind};
use crate::cpu::fault::{GP, NP, UD};
use crate::cpu::mmu::Access;
use crate::cpu::segment::{Segment, TableRegister};
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec};

/// Bits of the base that each operand size has.
const BASE_16: u64 = 0xff_ffff;
const BASE_32: u64 = 0xffff_ffff;

/// Reads a limit and a base behind it; `mask` is what the operand size has of the base.
fn read_pseudo_descriptor(core: &mut Core<'_>, op: &Op, mask: u64) -> Exec<TableRegister> {
    core.require_supervisor()?;
    let at = core.effective_address(op);
    let limit: u16 = core.load_at(op.segment(), at)?;
    let behind = core.offset_after(op, at, 2);
    let base = if mask > BASE_32 {
        core.load_at::<u64>(op.segment(), behind)?
    } else {
        u64::from(core.load_at::<u32>(op.segment(), behind)?)
    };
    if !is_canonical(base) {
        return Err(core.fault_with(GP, 0));
    }
    Ok(TableRegister {
        base: base & mask,
        limit,
    })
}

fn base_mask(op: &Op) -> u64 {
    match op.code() {
        Code::Lgdt_m1632_16 | Code::Lidt_m1632_16 => BASE_16,
        Code::Lgdt_m1632 | Code::Lidt_m1632 => BASE_32,
        _ => u64::MAX,
    }
}

fn lgdt(core: &mut Core<'_>, op: &Op) -> Exec {
    core.cpu.gdtr = read_pseudo_descriptor(core, op, base_mask(op))?;
    Ok(())
}

fn lidt(core: &mut Core<'_>, op: &Op) -> Exec {
    core.cpu.idtr = read_pseudo_descriptor(core, op, base_mask(op))?;
    Ok(())
}

/// Writes a limit and a base: 32 bits of it outside 64-bit mode, whatever the operand size. Each
/// has its own alignment (section 3.5.1).
fn write_pseudo_descriptor(core: &mut Core<'_>, op: &Op, table: TableRegister) -> Exec {
    let at = core.effective_address(op);
    let base_bytes = if core.cpu.is_64_bit() { 8 } else { 4 };
    let linear = core.linear(Access::Write, op.segment(), at, 2 + base_bytes)?;
    core.check_alignment(linear, 2)?;
    core.check_alignment(linear.wrapping_add(2), base_bytes)?;
    let mut bytes = [0; 10];
    bytes[..2].copy_from_slice(&table.limit.to_le_bytes());
    bytes[2..].copy_from_slice(&table.base.to_le_bytes());
    if core.cpu.is_64_bit() {
        return core.store_bytes(op.segment(), at, bytes);
    }
    let mut short = [0; 6];
    short.copy_from_slice(&bytes[..6]);
    core.store_bytes(op.segment(), at, short)
}

fn sgdt(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_table_access()?;
    write_pseudo_descriptor(core, op, core.cpu.gdtr)
}

fn sidt(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_table_access()?;
    write_pseudo_descriptor(core, op, core.cpu.idtr)
}

impl Core<'_> {
    /// #UD in real and virtual-8086 mode, which do not know selectors.
    pub(in crate::cpu) fn require_protected(&mut self) -> Exec {
        if self.cpu.is_protected() {
            return Ok(());
        }
        Err(self.fault(UD))
    }
}

/// The 16-bit operand: the register `dst`, or memory.
pub(super) trait Selector {
    fn read(core: &mut Core<'_>, op: &Op) -> Exec<u16>;
}

/// In a register.
pub(super) struct InRegister;
/// In memory.
pub(super) struct InMemory;

impl Selector for InRegister {
    fn read(core: &mut Core<'_>, op: &Op) -> Exec<u16> {
        Ok(core.cpu.regs.read(op.dst))
    }
}

impl Selector for InMemory {
    fn read(core: &mut Core<'_>, op: &Op) -> Exec<u16> {
        core.load(op)
    }
}

/// A system descriptor of the GDT that is present and of a kind that `fits`.
fn system_segment(
    core: &mut Core<'_>,
    selector: u16,
    fits: fn(u8, bool) -> bool,
) -> Exec<Descriptor> {
    if selector & 4 != 0 {
        return Err(core.selector_fault(GP, selector));
    }
    let descriptor = core.system_descriptor(selector, GP)?;
    let long = core.cpu.is_long();
    let known = descriptor.system_kind().is_some_and(|k| fits(k, long));
    if !known || !descriptor.is_whole() {
        return Err(core.selector_fault(GP, selector));
    }
    if !descriptor.attributes().present() {
        return Err(core.selector_fault(NP, selector));
    }
    if !is_canonical(descriptor.base()) {
        return Err(core.selector_fault(GP, selector));
    }
    Ok(descriptor)
}

fn lldt<S: Selector>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_protected()?;
    core.require_supervisor()?;
    let selector = S::read(core, op)?;
    core.cpu.ldtr = if is_null(selector) {
        Segment::null(selector)
    } else {
        let is_ldt = |k, _| k == descriptor_kind::LDT;
        system_segment(core, selector, is_ldt)?.segment(selector)
    };
    Ok(())
}

fn ltr<S: Selector>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_protected()?;
    core.require_supervisor()?;
    let selector = S::read(core, op)?;
    if is_null(selector) {
        return Err(core.fault_with(GP, 0));
    }
    let is_available =
        |k, long: bool| k == descriptor_kind::TSS || (k == descriptor_kind::TSS_16 && !long);
    let descriptor = system_segment(core, selector, is_available)?;
    let busy = descriptor.attributes().kind() | 2;
    core.set_kind(&descriptor, busy)?;
    let mut tr = descriptor.segment(selector);
    tr.attributes.0 |= 2;
    core.cpu.tr = tr;
    Ok(())
}

/// SLDT and STR: to memory 16 bits, to a register the operand size.
fn store_selector(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_protected()?;
    core.require_table_access()?;
    let selector = match op.code().mnemonic() {
        Mnemonic::Sldt => core.cpu.ldtr.selector,
        _ => core.cpu.tr.selector,
    };
    core.store(op, selector)
}

fn move_selector<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_protected()?;
    core.require_table_access()?;
    let selector = match op.code().mnemonic() {
        Mnemonic::Sldt => core.cpu.ldtr.selector,
        _ => core.cpu.tr.selector,
    };
    let value = W::truncate(u64::from(selector));
    core.cpu.regs.write(op.dst, value);
    Ok(())
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    let memory = kind(instruction, 0) == Kind::Mem;
    let handler: Handler = match instruction.mnemonic() {
        Mnemonic::Lgdt => run!(lgdt),
        Mnemonic::Lidt => run!(lidt),
        Mnemonic::Sgdt => run!(sgdt),
        Mnemonic::Sidt => run!(sidt),
        Mnemonic::Lldt if memory => run!(lldt::<InMemory>),
        Mnemonic::Lldt => run!(lldt::<InRegister>),
        Mnemonic::Ltr if memory => run!(ltr::<InMemory>),
        Mnemonic::Ltr => run!(ltr::<InRegister>),
        Mnemonic::Sldt | Mnemonic::Str if memory => run!(store_selector),
        Mnemonic::Sldt | Mnemonic::Str => match instruction.op_register(0).size() {
            2 => run!(move_selector::<u16>),
            4 => run!(move_selector::<u32>),
            _ => run!(move_selector::<u64>),
        },
        _ => return None,
    };
    Some(handler)
}
