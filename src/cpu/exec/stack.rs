//! PUSH POP PUSHA POPA PUSHF POPF ENTER LEAVE (Intel SDM volume 1, chapter 6).
//!
//! The stack pointer moves only after the access succeeded.

use iced_x86::{Code, Instruction, Mnemonic};

use super::backend::Backend;
use super::chain::instance;
use super::form::{Dst, Imm, Kind, Mem, Source, kind};
use super::{Handler, run};
use crate::cpu::decode::Op;
use crate::cpu::fault::GP;
use crate::cpu::flags;
use crate::cpu::mmu::Access;
use crate::cpu::mode::cr4;
use crate::cpu::regs::{RAX, RBP, RSP};
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec};

impl Core<'_> {
    /// The stack pointer, cut to the stack's size.
    #[inline(always)]
    pub fn stack_pointer(&self) -> u64 {
        self.cpu.regs.get(RSP) & self.cpu.mode.stack_mask
    }

    /// Sets the stack pointer; bits past the stack's size stay.
    #[inline(always)]
    pub fn set_stack_pointer(&mut self, value: u64) {
        let mask = self.cpu.mode.stack_mask;
        let kept = self.cpu.regs.get(RSP) & !mask;
        self.cpu.regs.set(RSP, kept | value & mask);
    }

    /// Pushes a value.
    #[inline(always)]
    pub fn push<W: Width>(&mut self, value: W) -> Exec {
        let mask = self.cpu.mode.stack_mask;
        let top = self.cpu.regs.get(RSP).wrapping_sub(W::BYTES);
        self.store_at(self.cpu.mode.stack_segment, top & mask, value)?;
        self.set_stack_pointer(top);
        Ok(())
    }

    /// [`Core::push`] if that takes no more than a host store; else nothing, and false.
    #[inline(always)]
    pub(super) fn push_quickly<W: Width>(&mut self, value: W) -> bool {
        let mask = self.cpu.mode.stack_mask;
        let top = self.cpu.regs.get(RSP).wrapping_sub(W::BYTES);
        let stored = self.store_at_quickly(self.cpu.mode.stack_segment, top & mask, value);
        if stored {
            self.set_stack_pointer(top);
        }
        stored
    }

    /// The top of the stack, if that takes no more than a host load.
    #[inline(always)]
    pub(super) fn top_quickly<W: Width>(&self) -> Option<W> {
        self.load_at_quickly(self.cpu.mode.stack_segment, self.stack_pointer())
    }

    /// Pops a value.
    #[inline(always)]
    pub fn pop<W: Width>(&mut self) -> Exec<W> {
        let value = self.peek_stack(0)?;
        self.set_stack_pointer(self.cpu.regs.get(RSP).wrapping_add(W::BYTES));
        Ok(value)
    }

    /// Reads the stack `offset` bytes above its top.
    #[inline(always)]
    pub fn peek_stack<W: Width>(&mut self, offset: u64) -> Exec<W> {
        let mask = self.cpu.mode.stack_mask;
        let at = self.cpu.regs.get(RSP).wrapping_add(offset) & mask;
        self.load_at(self.cpu.mode.stack_segment, at)
    }
}

fn push<B: Backend, S: Source, W: Width>(b: &mut B, op: &Op) -> Exec {
    let value = S::read::<B, W>(b, op)?;
    b.push(value)
}

/// POP to a register: also POP RSP, where the popped value wins.
fn pop_register<B: Backend, W: Width>(b: &mut B, op: &Op) -> Exec {
    let value = b.top::<W>()?;
    b.discard(W::BYTES);
    b.set_register(op.dst, value);
    Ok(())
}

/// POP to memory: an address that uses RSP uses it after the pop.
fn pop_memory<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let before = core.cpu.regs.get(RSP);
    let value: W = core.pop()?;
    let stored = core.store(op, value);
    if stored.is_err() {
        core.cpu.regs.set(RSP, before);
    }
    stored
}

/// The eight registers from the first pushed to the last; the fifth is the old SP. A fault leaves
/// on the stack what was pushed before it.
pub(super) fn pusha<W: Width>(core: &mut Core<'_>, _op: &Op) -> Exec {
    let mask = core.cpu.mode.stack_mask;
    let segment = core.cpu.mode.stack_segment;
    let top = core.cpu.regs.get(RSP);
    let at = |n: u64| top.wrapping_sub(W::BYTES * (n + 1)) & mask;
    for n in 0..8 {
        let value: W = core.cpu.regs.read(RAX + n as u8);
        core.store_at(segment, at(n), value)?;
    }
    core.set_stack_pointer(top.wrapping_sub(W::BYTES * 8));
    Ok(())
}

fn popa<W: Width>(core: &mut Core<'_>, _op: &Op) -> Exec {
    let mut values = [W::truncate(0); 8];
    for (offset, value) in (0..).step_by(W::BYTES as usize).zip(&mut values) {
        *value = core.peek_stack(offset)?;
    }
    for (register, value) in (0..8).rev().zip(values) {
        if register != RSP {
            core.cpu.regs.write(register, value);
        }
    }
    core.set_stack_pointer(core.cpu.regs.get(RSP).wrapping_add(W::BYTES * 8));
    Ok(())
}

fn pushf<W: Width>(core: &mut Core<'_>, _op: &Op) -> Exec {
    let mut image = core.cpu.flags.bits() & !(flags::VM | flags::RF);
    if core.cpu.is_v86() && core.cpu.flags.iopl() < 3 {
        if core.cpu.cr4 & cr4::VME == 0 || W::BITS != 16 {
            return Err(core.fault_with(GP, 0));
        }
        image |= flags::IOPL | flags::IF;
        if !core.cpu.flags.has(flags::VIF) {
            image &= !flags::IF;
        }
    }
    image |= core.cpu.model.traits().fixed_flags;
    core.push(W::truncate(u64::from(image)))
}

fn popf<W: Width>(core: &mut Core<'_>, _op: &Op) -> Exec {
    let v86_limited = core.cpu.is_v86() && core.cpu.flags.iopl() < 3;
    if v86_limited {
        return popf_virtual::<W>(core);
    }
    let image = core.pop::<W>()?.zero_extend() as u32;
    let mut writable = flags::ARITHMETIC | flags::TF | flags::DF | flags::NT;
    if W::BITS != 16 {
        writable |= flags::AC | flags::ID;
    }
    if core.cpu.cpl == 0 {
        writable |= flags::IOPL;
    }
    if core.cpu.cpl <= core.cpu.flags.iopl() || core.cpu.is_real() {
        writable |= flags::IF;
    }
    core.write_flags(image, writable);
    Ok(())
}

/// POPF in virtual-8086 mode below IOPL 3: with VME the interrupt flag is the virtual one.
fn popf_virtual<W: Width>(core: &mut Core<'_>) -> Exec {
    if core.cpu.cr4 & cr4::VME == 0 || W::BITS != 16 {
        return Err(core.fault_with(GP, 0));
    }
    let image: W = core.peek_stack(0)?;
    let image = image.zero_extend() as u32;
    let pending = core.cpu.flags.has(flags::VIP) && image & flags::IF != 0;
    if pending || image & flags::TF != 0 {
        return Err(core.fault_with(GP, 0));
    }
    core.pop::<W>()?;
    core.cpu.flags.assign(flags::VIF, image & flags::IF != 0);
    core.write_flags(image, flags::ARITHMETIC | flags::DF | flags::NT);
    Ok(())
}

impl Core<'_> {
    /// Replaces the flags that `writable` names; a new IF or TF takes effect at the next
    /// block head. RF is cleared.
    pub fn write_flags(&mut self, image: u32, writable: u32) {
        let writable = writable & self.cpu.mode.writable_flags;
        let kept = self.cpu.flags.bits() & !writable & !flags::RF;
        self.cpu.flags.set_bits(kept | image & writable);
        self.after_flags();
    }
}

fn enter<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let level = u64::from(op.extra & 31);
    let mask = core.cpu.mode.stack_mask;
    let segment = core.cpu.mode.stack_segment;
    let top = core.cpu.regs.get(RSP);
    let frame = top.wrapping_sub(W::BYTES);
    let old: W = core.cpu.regs.read(RBP);
    core.store_at(segment, frame & mask, old)?;
    let mut low = frame;
    for n in 1..level {
        let from = core.cpu.regs.get(RBP).wrapping_sub(W::BYTES * n) & mask;
        let link: W = core.load_at(segment, from)?;
        low = low.wrapping_sub(W::BYTES);
        core.store_at(segment, low & mask, link)?;
    }
    if level > 0 {
        low = low.wrapping_sub(W::BYTES);
        core.store_at(segment, low & mask, W::truncate(frame))?;
    }
    let low = low.wrapping_sub(op.immediate & 0xffff);
    // The new top has to be writable, although nothing is written.
    let last = core.linear(Access::Write, segment, low & mask, 1)?;
    core.check_alignment(last, W::BYTES)?;
    core.probe_write(last, 1, core.cpu.mode.user, segment)?;
    core.cpu.regs.write(RBP, W::truncate(frame));
    core.set_stack_pointer(low);
    Ok(())
}

fn leave<W: Width>(core: &mut Core<'_>, _op: &Op) -> Exec {
    let mask = core.cpu.mode.stack_mask;
    let frame = core.cpu.regs.get(RBP);
    let old: W = core.load_at(core.cpu.mode.stack_segment, frame & mask)?;
    core.cpu.regs.write(RBP, old);
    core.set_stack_pointer(frame.wrapping_add(W::BYTES));
    Ok(())
}

/// The width in bits that a stack instruction moves.
fn stack_bits(instruction: &Instruction) -> u32 {
    instruction.stack_pointer_increment().unsigned_abs() * 8
}

fn push_pop_handler(instruction: &Instruction) -> Option<Handler> {
    let is_push = instruction.mnemonic() == Mnemonic::Push;
    if kind(instruction, 0) == Kind::Reg && instruction.op_register(0).is_segment_register() {
        return None;
    }
    let handler: Handler = match (is_push, kind(instruction, 0), stack_bits(instruction)) {
        (true, Kind::Reg, 16) => instance!(push, Dst, u16),
        (true, Kind::Reg, 32) => instance!(push, Dst, u32),
        (true, Kind::Reg, _) => instance!(push, Dst, u64),
        (true, Kind::Mem, 16) => instance!(push, Mem, u16),
        (true, Kind::Mem, 32) => instance!(push, Mem, u32),
        (true, Kind::Mem, _) => instance!(push, Mem, u64),
        (true, _, 16) => instance!(push, Imm, u16),
        (true, _, 32) => instance!(push, Imm, u32),
        (true, _, _) => instance!(push, Imm, u64),
        (false, Kind::Reg, 16) => instance!(pop_register, u16),
        (false, Kind::Reg, 32) => instance!(pop_register, u32),
        (false, Kind::Reg, _) => instance!(pop_register, u64),
        (false, _, 16) => run!(pop_memory::<u16>),
        (false, _, 32) => run!(pop_memory::<u32>),
        (false, _, _) => run!(pop_memory::<u64>),
    };
    Some(handler)
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    if matches!(instruction.mnemonic(), Mnemonic::Push | Mnemonic::Pop) {
        return push_pop_handler(instruction);
    }
    let handler: Handler = match instruction.code() {
        Code::Pushaw => run!(pusha::<u16>),
        Code::Pushad => run!(pusha::<u32>),
        Code::Popaw => run!(popa::<u16>),
        Code::Popad => run!(popa::<u32>),
        Code::Pushfw => run!(pushf::<u16>),
        Code::Pushfd => run!(pushf::<u32>),
        Code::Pushfq => run!(pushf::<u64>),
        Code::Popfw => run!(popf::<u16>),
        Code::Popfd => run!(popf::<u32>),
        Code::Popfq => run!(popf::<u64>),
        Code::Enterw_imm16_imm8 => run!(enter::<u16>),
        Code::Enterd_imm16_imm8 => run!(enter::<u32>),
        Code::Enterq_imm16_imm8 => run!(enter::<u64>),
        Code::Leavew => run!(leave::<u16>),
        Code::Leaved => run!(leave::<u32>),
        Code::Leaveq => run!(leave::<u64>),
        _ => return None,
    };
    Some(handler)
}

/// Whether an encoding of this file ends its block: POPF can open interrupts.
pub(super) fn ends_block(code: Code) -> bool {
    matches!(code, Code::Popfw | Code::Popfd | Code::Popfq)
}
