//! Far transfers of control: JMP, CALL and RET to another segment, through call gates and to
//! other tasks (Intel SDM volume 3, sections 5.8 and 7.3).

use iced_x86::{Code, Instruction};

use super::{Handler, run};
use crate::cpu::decode::Op;
use crate::cpu::descriptor::{Descriptor, is_null, kind, rpl};
use crate::cpu::fault::{GP, NP};
use crate::cpu::regs::RSP;
use crate::cpu::segment::{Attributes, CS, DS, ES, FS, GS, SS, Segment};
use crate::cpu::stack::{Frame, Stack};
use crate::cpu::task::Switch;
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec};

/// A far pointer.
#[derive(Clone, Copy)]
struct Pointer {
    selector: u16,
    offset: u64,
}

/// The pointer in the instruction.
fn immediate(op: &Op) -> Pointer {
    Pointer {
        selector: (op.immediate >> 32) as u16,
        offset: op.immediate & 0xffff_ffff,
    }
}

/// The pointer in memory: an offset of `W`, then a selector.
fn memory<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec<Pointer> {
    let at = core.effective_address(op);
    let offset = core.load_at::<W>(op.segment(), at)?.zero_extend();
    let behind = core.offset_after(op, at, W::BYTES);
    let selector = core.load_at::<u16>(op.segment(), behind)?;
    Ok(Pointer { selector, offset })
}

fn jump_immediate(core: &mut Core<'_>, op: &Op) -> Exec {
    jump(core, immediate(op))
}

fn jump_memory<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let pointer = memory::<W>(core, op)?;
    jump(core, pointer)
}

fn call_immediate<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    call(core, immediate(op), W::BYTES)
}

fn call_memory<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let pointer = memory::<W>(core, op)?;
    call(core, pointer, W::BYTES)
}

/// What a selector of a far jump or call leads to.
enum Target {
    Code(Descriptor),
    Gate(Descriptor),
    /// A TSS, and its selector.
    Task(u16, Descriptor),
}

/// Finds out what a selector leads to, and checks the caller's rights to a gate or task.
fn target(core: &mut Core<'_>, selector: u16) -> Exec<Target> {
    if is_null(selector) {
        return Err(core.fault_with(GP, 0));
    }
    let descriptor = core.descriptor(selector, GP)?;
    let Some(found) = descriptor.system_kind() else {
        return Ok(Target::Code(descriptor));
    };
    let long = core.cpu.is_long();
    let known = match found {
        kind::CALL_GATE => true,
        kind::CALL_GATE_16 | kind::TASK_GATE | kind::TSS_16 | kind::TSS => !long,
        _ => false,
    };
    let attributes = descriptor.attributes();
    if !known || attributes.dpl() < core.cpu.cpl.max(rpl(selector)) {
        return Err(core.selector_fault(GP, selector));
    }
    if !attributes.present() {
        return Err(core.selector_fault(NP, selector));
    }
    match found {
        kind::CALL_GATE if long => {
            let whole = core.system_descriptor(selector, GP)?;
            if !whole.is_whole() {
                return Err(core.selector_fault(GP, selector));
            }
            Ok(Target::Gate(whole))
        }
        kind::CALL_GATE | kind::CALL_GATE_16 => Ok(Target::Gate(descriptor)),
        kind::TASK_GATE => {
            let task = descriptor.gate_selector();
            let tss = core.task_of_gate(task)?;
            Ok(Target::Task(task, tss))
        }
        _ => Ok(Target::Task(selector, descriptor)),
    }
}

/// Real and virtual-8086 mode: CS and the instruction pointer of the same level.
fn enter_real(core: &mut Core<'_>, pointer: Pointer) {
    let segment = core.real_segment(CS, pointer.selector);
    core.set_segment(CS, segment);
    core.continue_at(pointer.offset);
}

fn jump(core: &mut Core<'_>, pointer: Pointer) -> Exec {
    if !core.cpu.is_protected() {
        core.check_target(pointer.offset)?;
        enter_real(core, pointer);
        return Ok(());
    }
    match target(core, pointer.selector)? {
        Target::Code(code) => {
            core.check_code(pointer.selector, &code, rpl(pointer.selector))?;
            core.check_code_target(&code, pointer.offset)?;
            enter_code(core, pointer, &code)
        }
        Target::Gate(gate) => {
            let selector = gate.gate_selector();
            let code = gate_code(core, &gate)?;
            core.check_code(selector, &code, 0)?;
            let offset = gate.gate_offset();
            core.check_code_target(&code, offset)?;
            enter_code(core, Pointer { selector, offset }, &code)
        }
        Target::Task(selector, tss) => core.switch_task(selector, &tss, Switch::Jump),
    }
}

/// Continues in a checked code segment at the same privilege.
fn enter_code(core: &mut Core<'_>, pointer: Pointer, code: &Descriptor) -> Exec {
    core.mark_accessed(code)?;
    core.set_code_segment(pointer.selector, code, core.cpu.cpl);
    core.continue_at(pointer.offset);
    Ok(())
}

/// The code segment that a call gate leads to; in long mode it has to be a 64-bit one.
fn gate_code(core: &mut Core<'_>, gate: &Descriptor) -> Exec<Descriptor> {
    let selector = gate.gate_selector();
    if is_null(selector) {
        return Err(core.fault_with(GP, 0));
    }
    let code = core.descriptor(selector, GP)?;
    if core.cpu.is_long() && !code.attributes().long() {
        return Err(core.selector_fault(GP, selector));
    }
    Ok(code)
}

/// CALL: `bytes` is the width of what is pushed.
fn call(core: &mut Core<'_>, pointer: Pointer, bytes: u64) -> Exec {
    if !core.cpu.is_protected() {
        core.check_target(pointer.offset)?;
        push_return(core, bytes)?;
        enter_real(core, pointer);
        return Ok(());
    }
    match target(core, pointer.selector)? {
        Target::Code(code) => {
            core.check_code(pointer.selector, &code, rpl(pointer.selector))?;
            core.check_code_target(&code, pointer.offset)?;
            core.mark_accessed(&code)?;
            push_return(core, bytes)?;
            enter_code(core, pointer, &code)
        }
        Target::Gate(gate) => call_gate(core, &gate),
        Target::Task(selector, tss) => core.switch_task(selector, &tss, Switch::Nested),
    }
}

/// Pushes CS and the instruction pointer.
fn push_return(core: &mut Core<'_>, bytes: u64) -> Exec {
    let mut stack = Stack::current(core);
    push_return_on(core, &mut stack, bytes)?;
    core.keep_stack(&stack);
    Ok(())
}

fn push_return_on(core: &mut Core<'_>, stack: &mut Stack, bytes: u64) -> Exec {
    let mut frame = Frame::default();
    frame.add(core.cpu.segment(CS).selector);
    frame.add(core.cpu.rip);
    stack.push_frame(core, bytes, &frame)
}

/// The width of what a call gate pushes.
fn gate_bytes(core: &Core<'_>, gate: &Descriptor) -> u64 {
    match (core.cpu.is_long(), gate.attributes().kind()) {
        (true, _) => 8,
        (false, kind::CALL_GATE) => 4,
        _ => 2,
    }
}

/// CALL through a call gate (section 5.8.4).
fn call_gate(core: &mut Core<'_>, gate: &Descriptor) -> Exec {
    let selector = gate.gate_selector();
    let code = gate_code(core, gate)?;
    let attributes = code.attributes();
    let bytes = gate_bytes(core, gate);
    let offset = gate.gate_offset();
    let inner =
        attributes.is_code() && !attributes.is_conforming() && attributes.dpl() < core.cpu.cpl;
    if inner {
        core.check_code_size(selector, &code)?;
    } else {
        core.check_code(selector, &code, 0)?;
    }
    core.check_code_target(&code, offset)?;
    core.mark_accessed(&code)?;
    if !inner {
        push_return(core, bytes)?;
        return enter_code(core, Pointer { selector, offset }, &code);
    }
    let level = attributes.dpl();
    let mut stack = inner_stack(core, gate, level, bytes)?;
    push_return_on(core, &mut stack, bytes)?;
    let segment = if core.cpu.is_long() {
        Segment::null_stack(u16::from(level))
    } else {
        stack.segment()
    };
    core.set_code_and_stack(selector, &code, level, segment);
    core.keep_stack(&stack);
    core.continue_at(offset);
    Ok(())
}

/// The stack of the inner level, with the old stack pointer and the parameters on it.
fn inner_stack(core: &mut Core<'_>, gate: &Descriptor, level: u8, bytes: u64) -> Exec<Stack> {
    let mut stack = if core.cpu.is_long() {
        let pointer = core.long_stack_pointer(4 + u64::from(level) * 8)?;
        core.long_stack(pointer, level)?
    } else {
        core.stack_of_level(level)?
    };
    let selector = core.cpu.segment(SS).selector;
    stack.push_sized(core, bytes, u64::from(selector))?;
    stack.push_sized(core, bytes, core.cpu.regs.get(RSP))?;
    if !core.cpu.is_long() {
        for n in (0..u64::from(gate.gate_parameters())).rev() {
            let value = core.peek_sized(n * bytes, bytes)?;
            stack.push_sized(core, bytes, value)?;
        }
    }
    Ok(stack)
}

impl Core<'_> {
    /// Reads `bytes` (2, 4 or 8) of the stack, `offset` above its top.
    pub(super) fn peek_sized(&mut self, offset: u64, bytes: u64) -> Exec<u64> {
        Ok(match bytes {
            2 => u64::from(self.peek_stack::<u16>(offset)?),
            4 => u64::from(self.peek_stack::<u32>(offset)?),
            _ => self.peek_stack::<u64>(offset)?,
        })
    }

    /// The offset `bytes` behind the operand at `offset`, cut to the address size.
    pub(super) fn offset_after(&self, op: &Op, offset: u64, bytes: u64) -> u64 {
        let sum = offset.wrapping_add(bytes);
        match op.address_size() {
            0 => sum & 0xffff,
            1 => sum & 0xffff_ffff,
            _ => sum,
        }
    }

    /// Returning to an outer level takes those data segments away that it may not use, and makes
    /// selectors 1 to 3 selector 0 (volume 2, IRET and RET). The bases of FS and GS stay (AMD64
    /// APM volume 2, section 4.5.1).
    pub(super) fn drop_inner_segments(&mut self) {
        for index in [ES, DS, FS, GS] {
            let segment = *self.cpu.segment(index);
            let attributes = segment.attributes;
            let is_inner = attributes.dpl() < self.cpu.cpl && !attributes.is_conforming();
            let is_clear = segment.selector == 0 && segment.limit == 0 && attributes.0 == 0;
            if (segment.is_null() || is_inner) && !is_clear {
                self.set_segment(index, Segment::new(0, segment.base, 0, Attributes(0)));
            }
        }
    }

    /// Checks the code segment that RET or IRET goes back to; returns the level it has.
    pub(super) fn check_return(&mut self, selector: u16) -> Exec<Descriptor> {
        if is_null(selector) {
            return Err(self.fault_with(GP, 0));
        }
        let code = self.descriptor(selector, GP)?;
        let attributes = code.attributes();
        let level = rpl(selector);
        let allowed = if attributes.is_conforming() {
            attributes.dpl() <= level
        } else {
            attributes.dpl() == level
        };
        if !attributes.is_code() || !allowed || level < self.cpu.cpl {
            return Err(self.selector_fault(GP, selector));
        }
        self.check_code_size(selector, &code)?;
        Ok(code)
    }

    /// Checks the stack segment that RET or IRET goes back to with the code segment `code`
    /// at privilege `level`.
    pub(super) fn check_return_stack(
        &mut self,
        selector: u16,
        code: &Descriptor,
        level: u8,
    ) -> Exec<Segment> {
        let to_64_bit = self.cpu.is_long() && code.attributes().long();
        if is_null(selector) && to_64_bit && level < 3 {
            return Ok(Segment::null_stack(selector));
        }
        if is_null(selector) {
            return Err(self.fault_with(GP, 0));
        }
        self.checked_stack_segment(selector, level, GP)
    }
}

/// RETF: `W` is the width of what is popped.
fn ret<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let discarded = op.immediate & 0xffff;
    let offset = core.peek_stack::<W>(0)?.zero_extend();
    let selector = core.peek_stack::<W>(W::BYTES)?.zero_extend() as u16;
    let behind = 2 * W::BYTES + discarded;
    let pointer = Pointer { selector, offset };
    if !core.cpu.is_protected() {
        core.check_target(offset)?;
        let top = core.cpu.regs.get(RSP).wrapping_add(behind);
        core.set_stack_pointer(top);
        enter_real(core, pointer);
        return Ok(());
    }
    let code = core.check_return(selector)?;
    core.check_code_target(&code, offset)?;
    let level = rpl(selector);
    if level == core.cpu.cpl {
        core.mark_accessed(&code)?;
        let top = core.cpu.regs.get(RSP).wrapping_add(behind);
        core.set_stack_pointer(top);
        return enter_code(core, pointer, &code);
    }
    let new_top = core.peek_stack::<W>(behind)?.zero_extend();
    let ss = core.peek_stack::<W>(behind + W::BYTES)?.zero_extend() as u16;
    let stack = core.check_return_stack(ss, &code, level)?;
    core.mark_accessed(&code)?;
    core.set_code_and_stack(selector, &code, level, stack);
    core.set_stack_pointer(new_top.wrapping_add(discarded));
    core.drop_inner_segments();
    core.continue_at(offset);
    Ok(())
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    let handler: Handler = match instruction.code() {
        Code::Jmp_ptr1616 | Code::Jmp_ptr1632 => run!(jump_immediate),
        Code::Jmp_m1616 => run!(jump_memory::<u16>),
        Code::Jmp_m1632 => run!(jump_memory::<u32>),
        Code::Jmp_m1664 => run!(jump_memory::<u64>),
        Code::Call_ptr1616 => run!(call_immediate::<u16>),
        Code::Call_ptr1632 => run!(call_immediate::<u32>),
        Code::Call_m1616 => run!(call_memory::<u16>),
        Code::Call_m1632 => run!(call_memory::<u32>),
        Code::Call_m1664 => run!(call_memory::<u64>),
        Code::Retfw | Code::Retfw_imm16 => run!(ret::<u16>),
        Code::Retfd | Code::Retfd_imm16 => run!(ret::<u32>),
        Code::Retfq | Code::Retfq_imm16 => run!(ret::<u64>),
        _ => return None,
    };
    Some(handler)
}
