//! Delivery of interrupts and exceptions (Intel SDM volume 3, chapter 6).
//!
//! ```text
//!   real mode                  IVT entry: FLAGS, CS, IP on the same stack
//!   protected mode             interrupt, trap or task gate; a TSS stack if privilege rises
//!   virtual-8086 mode          as protected, with the segment registers on the stack of
//!                              level 0; INT n by VME's redirection bitmap through the IVT
//!   long mode                  64-bit gates, RSP0-2 or the interrupt stack table
//! ```
//!
//! A delivery checks and pushes everything before it changes a register. A fault on the way
//! is an event of its own: of an exception it may become a double fault, and of a double fault
//! it is a shutdown (table 6-5).

use serde::{Deserialize, Serialize};

use super::breakpoint::dr7;
use super::descriptor::{Descriptor, is_canonical, is_null, kind};
use super::fault::{self, AC, BP, DB, DE, DF, Event, GP, MC, NP, OF, PF, SS as STACK_FAULT, TS};
use super::flags;
use super::mode::cr4;
use super::regs::RSP;
use super::segment::{CS, DS, ES, FS, GS, SS, Segment};
use super::stack::{Frame, Stack};
use super::task::Switch;
use super::{Core, Exec, Raised};

/// What is delivered through the interrupt table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// An exception of the running instruction.
    Exception {
        /// The vector.
        vector: u8,
        /// The error code, where the vector has one.
        error: Option<u32>,
    },
    /// INT n: the gate's privilege is checked, and in virtual-8086 mode IOPL.
    Software(u8),
    /// INT3 and INTO: the gate's privilege is checked.
    Trap(u8),
    /// INT1, single steps and breakpoints: no privilege is checked.
    Debug,
    /// A maskable interrupt.
    External(u8),
    /// A non-maskable interrupt.
    Nmi,
}

impl Delivery {
    /// The vector.
    pub fn vector(self) -> u8 {
        match self {
            Self::Exception { vector, .. } => vector,
            Self::Software(vector) | Self::Trap(vector) | Self::External(vector) => vector,
            Self::Debug => DB,
            Self::Nmi => fault::NMI,
        }
    }

    /// The program asked for it: the gate has to allow the caller.
    fn is_software(self) -> bool {
        matches!(self, Self::Software(_) | Self::Trap(_))
    }

    fn error(self) -> Option<u32> {
        match self {
            Self::Exception { error, .. } => error,
            _ => None,
        }
    }

    /// RF in the pushed flags: set by faults, so that a breakpoint on the instruction does
    /// not hit again when it is restarted (section 17.3.1.1).
    fn is_fault(self) -> bool {
        match self {
            Self::Exception { vector, .. } => !matches!(vector, DB | BP | OF | DF | MC),
            _ => false,
        }
    }
}

/// One exception that was raised, for the report of a shutdown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// The vector.
    pub vector: u8,
    /// The error code, 0 where the vector has none.
    pub error: u32,
    /// CS of the instruction.
    pub cs: u16,
    /// The instruction pointer of the instruction.
    pub rip: u64,
    /// CR2 then, of use after a page fault.
    pub cr2: u64,
}

/// How many exceptions are remembered.
const REMEMBERED: usize = 8;

/// The last exceptions, oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Incidents {
    last: std::collections::VecDeque<Incident>,
}

impl Incidents {
    fn note(&mut self, incident: Incident) {
        if self.last.len() == REMEMBERED {
            self.last.pop_front();
        }
        self.last.push_back(incident);
    }

    /// The last exceptions, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Incident> {
        self.last.iter()
    }
}

/// What a second exception means while a first is delivered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Benign,
    Contributory,
    PageFault,
}

fn class(vector: u8) -> Class {
    match vector {
        DE | TS | NP | STACK_FAULT | GP => Class::Contributory,
        PF => Class::PageFault,
        _ => Class::Benign,
    }
}

/// What is delivered when `second` is raised while `first` is delivered: itself, a double
/// fault, or nothing any more.
fn escalate(first: u8, second: Event) -> Event {
    let Event::Exception { vector, .. } = second else {
        return second;
    };
    match (first, class(first), class(vector)) {
        (DF, _, Class::Contributory | Class::PageFault) => Event::Shutdown,
        (_, Class::Contributory, Class::Contributory)
        | (_, Class::PageFault, Class::Contributory | Class::PageFault) => Event::with_code(DF, 0),
        _ => second,
    }
}

/// A checked way into a handler of protected mode.
struct Entry {
    selector: u16,
    code: Descriptor,
    offset: u64,
    /// The privilege level of the handler.
    level: u8,
    /// The width of what is pushed.
    bytes: u64,
    /// Interrupt gates clear IF, trap gates do not.
    clears_if: bool,
}

impl Core<'_> {
    /// Transfers control to the handler of `delivery`. What goes wrong on the way of an
    /// exception is delivered in its place; of the others it is left to the run loop.
    ///
    /// Where a handler of level 3 has a stack that is not aligned, alignment checks follow each
    /// other on a processor without end, and no interrupt comes between. Here the second one is
    /// a shutdown.
    pub(crate) fn deliver(&mut self, delivery: Delivery) -> Exec {
        let mut delivery = delivery;
        let mut misaligned = delivery.vector() == AC;
        loop {
            self.note_incident(delivery);
            let Err(Raised) = self.enter_handler(delivery) else {
                return Ok(());
            };
            if !delivery.is_software() {
                self.mark_external();
            }
            let Delivery::Exception { vector, .. } = delivery else {
                return Err(Raised);
            };
            self.cpu.event = escalate(vector, self.cpu.event);
            if matches!(self.cpu.event, Event::Exception { vector: AC, .. })
                && std::mem::replace(&mut misaligned, true)
            {
                self.cpu.event = Event::Shutdown;
            }
            let Event::Exception { vector, error } = self.cpu.event else {
                return Err(Raised);
            };
            delivery = Delivery::Exception { vector, error };
        }
    }

    fn note_incident(&mut self, delivery: Delivery) {
        if let Delivery::Exception { vector, error } = delivery {
            self.cpu.incidents.note(Incident {
                vector,
                error: error.unwrap_or(0),
                cs: self.cpu.segment(CS).selector,
                rip: self.cpu.rip,
                cr2: self.cpu.cr2,
            });
        }
    }

    /// Sets EXT in the error code of the waiting event: it came up while something was
    /// delivered that the program did not ask for.
    fn mark_external(&mut self) {
        const EXT: u32 = 1;
        if let Event::Exception {
            vector: TS | NP | STACK_FAULT | GP,
            error: Some(error),
        } = &mut self.cpu.event
        {
            *error |= EXT;
        }
    }

    fn enter_handler(&mut self, delivery: Delivery) -> Exec {
        if self.cpu.is_real() {
            self.enter_real(delivery)?;
        } else if self.cpu.is_long() {
            self.enter_long(delivery)?;
        } else if !self.enter_redirected(delivery)? {
            self.enter_protected(delivery)?;
        }
        if delivery == Delivery::Nmi {
            self.cpu.flow.nmi_masked = true;
        }
        if delivery.vector() == DB {
            self.cpu.dr[7] &= !dr7::GD;
        }
        self.cpu.flow.halted = false;
        self.cpu.flow.mid_repeat = false;
        self.cpu.flow.handler_entered();
        Ok(())
    }

    /// Real mode: through the interrupt vector table (section 20.1.4).
    fn enter_real(&mut self, delivery: Delivery) -> Exec {
        let vector = delivery.vector();
        let entry = u64::from(vector) * 4;
        if entry + 3 > u64::from(self.cpu.idtr.limit) {
            return Err(self.idt_fault(vector));
        }
        let at = self.cpu.idtr.base.wrapping_add(entry);
        let target: u32 = self.read_system(at)?;
        let image = self.cpu.flags.bits() | self.cpu.model.traits().fixed_flags;
        self.push_real_frame(image as u16)?;
        self.cpu
            .flags
            .assign(flags::IF | flags::TF | flags::AC | flags::RF, false);
        self.jump_real(target);
        Ok(())
    }

    /// FLAGS, CS and IP on the stack in use.
    fn push_real_frame(&mut self, flags: u16) -> Exec {
        let mut frame = Frame::default();
        frame.add(flags);
        frame.add(self.cpu.segment(CS).selector);
        frame.add(self.cpu.rip);
        let mut stack = Stack::current(self);
        stack.push_frame(self, 2, &frame)?;
        self.keep_stack(&stack);
        Ok(())
    }

    /// Continues at a far pointer of the interrupt vector table.
    fn jump_real(&mut self, target: u32) {
        let segment = self.real_segment(CS, (target >> 16) as u16);
        if segment != *self.cpu.segment(CS) {
            self.set_segment(CS, segment);
        }
        self.continue_at(u64::from(target & 0xffff));
    }

    /// INT n in virtual-8086 mode (section 20.3, table 20-2): whether it went to a handler
    /// of the program's own, through the interrupt vector table at linear 0.
    fn enter_redirected(&mut self, delivery: Delivery) -> Exec<bool> {
        let Delivery::Software(vector) = delivery else {
            return Ok(false);
        };
        if !self.cpu.is_v86() {
            return Ok(false);
        }
        let free = self.cpu.flags.iopl() == 3;
        if self.cpu.cr4 & cr4::VME == 0 || self.is_intercepted(vector)? {
            return if free {
                Ok(false)
            } else {
                Err(self.fault_with(GP, 0))
            };
        }
        let target: u32 = self.read_linear(1, u64::from(vector) * 4, SS)?;
        let mut image = self.cpu.flags.bits();
        let interrupts = if free { flags::IF } else { flags::VIF };
        if !free {
            image |= flags::IOPL;
            image &= !flags::IF;
            if self.cpu.flags.has(flags::VIF) {
                image |= flags::IF;
            }
        }
        self.push_real_frame(image as u16)?;
        self.cpu.flags.assign(interrupts | flags::TF, false);
        self.jump_real(target);
        Ok(true)
    }

    /// VIF and VIP are both set where they count: #GP before the next instruction (section
    /// 20.3.3.5).
    pub(super) fn virtual_interrupt_is_due(&self) -> bool {
        let cpu = &self.cpu;
        let counts = if cpu.is_v86() {
            cpu.cr4 & cr4::VME != 0
        } else {
            cpu.cpl == 3 && cpu.cr4 & cr4::PVI != 0
        };
        counts && cpu.flags.iopl() < 3 && cpu.flags.has(flags::VIF) && cpu.flags.has(flags::VIP)
    }

    /// The bit of the TSS's interrupt redirection map: set if INT `vector` goes to the
    /// monitor (section 20.3.1).
    fn is_intercepted(&mut self, vector: u8) -> Exec<bool> {
        let tr = self.cpu.tr;
        if tr.limit < 0x67 {
            return Err(self.fault_with(GP, 0));
        }
        let io_map: u16 = self.read_system(tr.base.wrapping_add(0x66))?;
        let at = (u64::from(io_map) + u64::from(vector / 8)).wrapping_sub(32);
        if at > u64::from(tr.limit) {
            return Err(self.fault_with(GP, 0));
        }
        let bits: u8 = self.read_system(tr.base.wrapping_add(at))?;
        Ok(bits >> (vector % 8) & 1 != 0)
    }

    #[cold]
    fn idt_fault(&mut self, vector: u8) -> Raised {
        self.idt_fault_with(GP, vector)
    }

    /// An exception whose error code names an entry of the IDT.
    #[cold]
    fn idt_fault_with(&mut self, exception: u8, vector: u8) -> Raised {
        const IDT: u32 = 2;
        self.fault_with(exception, (u32::from(vector) * 8) | IDT)
    }

    /// Reads a gate of the IDT, `bytes` long, and checks that it is present and that the
    /// program may use it.
    fn gate(&mut self, delivery: Delivery, bytes: u64) -> Exec<Descriptor> {
        let vector = delivery.vector();
        let offset = u64::from(vector) * bytes;
        if offset + bytes - 1 > u64::from(self.cpu.idtr.limit) {
            return Err(self.idt_fault(vector));
        }
        let at = self.cpu.idtr.base.wrapping_add(offset);
        let low = self.read_system(at)?;
        let high = match bytes {
            16 => self.read_system(at.wrapping_add(8))?,
            _ => 0,
        };
        let gate = Descriptor::new(at, low, high);
        let known = match gate.system_kind() {
            Some(kind::INTERRUPT_GATE | kind::TRAP_GATE) => true,
            Some(kind::TASK_GATE | kind::INTERRUPT_GATE_16 | kind::TRAP_GATE_16) => bytes == 8,
            _ => false,
        };
        if !known || delivery.is_software() && gate.attributes().dpl() < self.cpu.cpl {
            return Err(self.idt_fault(vector));
        }
        if !gate.attributes().present() {
            return Err(self.idt_fault_with(NP, vector));
        }
        Ok(gate)
    }

    /// Checks the code segment that a gate leads to (section 6.12.1).
    fn entry(&mut self, gate: &Descriptor) -> Exec<Entry> {
        let selector = gate.gate_selector();
        if is_null(selector) {
            return Err(self.fault_with(GP, 0));
        }
        let code = self.descriptor(selector, GP)?;
        let attributes = code.attributes();
        if !attributes.is_code() || attributes.dpl() > self.cpu.cpl {
            return Err(self.selector_fault(GP, selector));
        }
        if !attributes.present() {
            return Err(self.selector_fault(NP, selector));
        }
        let level = if attributes.is_conforming() {
            self.cpu.cpl
        } else {
            attributes.dpl()
        };
        let gate_kind = gate.attributes().kind();
        Ok(Entry {
            selector,
            code,
            offset: gate.gate_offset(),
            level,
            bytes: if gate_kind & 8 != 0 { 4 } else { 2 },
            clears_if: gate_kind & 1 == 0,
        })
    }

    /// Protected and virtual-8086 mode: through a gate of the IDT.
    fn enter_protected(&mut self, delivery: Delivery) -> Exec {
        let gate = self.gate(delivery, 8)?;
        if gate.attributes().kind() == kind::TASK_GATE {
            return self.enter_task(delivery, &gate);
        }
        let entry = self.entry(&gate)?;
        let v86 = self.cpu.is_v86();
        if v86 && entry.level != 0 {
            return Err(self.selector_fault(GP, entry.selector));
        }
        self.check_code_target(&entry.code, entry.offset)?;
        self.mark_accessed(&entry.code)?;
        let changes = entry.level < self.cpu.cpl;
        let mut stack = if changes {
            self.stack_of_level(entry.level)?
        } else {
            Stack::current(self)
        };
        let mut frame = Frame::default();
        if v86 {
            for index in [GS, FS, DS, ES] {
                frame.add(self.cpu.segment(index).selector);
            }
        }
        if changes {
            self.add_stack(&mut frame);
        }
        self.add_return(&mut frame, delivery);
        stack.push_frame(self, entry.bytes, &frame)?;
        self.clear_handler_flags(entry.clears_if);
        if v86 {
            self.set_segments([GS, FS, DS, ES].map(|index| (index, Segment::default())));
        }
        if changes {
            let segment = stack.segment();
            self.set_code_and_stack(entry.selector, &entry.code, entry.level, segment);
        } else {
            self.set_code_segment(entry.selector, &entry.code, entry.level);
        }
        self.keep_stack(&stack);
        self.continue_at(entry.offset);
        Ok(())
    }

    /// SS and the stack pointer.
    fn add_stack(&self, frame: &mut Frame) {
        frame.add(self.cpu.segment(SS).selector);
        frame.add(self.cpu.regs.get(RSP));
    }

    /// Flags, CS, instruction pointer and error code.
    fn add_return(&self, frame: &mut Frame, delivery: Delivery) {
        frame.add(self.cpu.flags.bits() | self.resume_flag(delivery));
        frame.add(self.cpu.segment(CS).selector);
        frame.add(self.cpu.rip);
        if let Some(error) = delivery.error() {
            frame.add(error);
        }
    }

    /// RF in the flags that `delivery` saves: faults set it, and whatever comes between two
    /// iterations of a repeated instruction (section 17.3.1.1).
    fn resume_flag(&self, delivery: Delivery) -> u32 {
        if delivery.is_fault() || self.cpu.flow.mid_repeat {
            flags::RF
        } else {
            0
        }
    }

    fn clear_handler_flags(&mut self, clears_if: bool) {
        let cleared = flags::TF | flags::NT | flags::RF | flags::VM;
        self.cpu.flags.assign(cleared, false);
        if clears_if {
            self.cpu.flags.assign(flags::IF, false);
        }
    }

    /// Through a task gate: the handler is a task, and the error code goes on its stack.
    fn enter_task(&mut self, delivery: Delivery, gate: &Descriptor) -> Exec {
        let selector = gate.gate_selector();
        let target = self.task_of_gate(selector)?;
        if self.resume_flag(delivery) != 0 {
            self.cpu.flags.assign(flags::RF, true);
        }
        self.switch_task(selector, &target, Switch::Nested)?;
        if let Some(error) = delivery.error() {
            let wide = self.cpu.tr.attributes.kind() == kind::TSS_BUSY;
            let mut stack = Stack::current(self);
            stack.push_sized(self, if wide { 4 } else { 2 }, u64::from(error))?;
            self.keep_stack(&stack);
        }
        Ok(())
    }

    /// Long mode: 16-byte gates, and a frame that always holds SS and RSP (section 6.14).
    fn enter_long(&mut self, delivery: Delivery) -> Exec {
        const RSP0: u64 = 4;
        const IST1: u64 = 36;
        let gate = self.gate(delivery, 16)?;
        let entry = self.entry(&gate)?;
        let attributes = entry.code.attributes();
        if !attributes.long() || attributes.big() {
            return Err(self.selector_fault(GP, entry.selector));
        }
        if !is_canonical(entry.offset) {
            return Err(self.fault_with(GP, 0));
        }
        self.mark_accessed(&entry.code)?;
        let changes = entry.level < self.cpu.cpl;
        let pointer = match gate.gate_stack() {
            0 if !changes => self.cpu.regs.get(RSP),
            0 => self.long_stack_pointer(RSP0 + u64::from(entry.level) * 8)?,
            n => self.long_stack_pointer(IST1 + u64::from(n - 1) * 8)?,
        };
        let mut stack = self.long_stack(pointer & !15, entry.level)?;
        let mut frame = Frame::default();
        self.add_stack(&mut frame);
        self.add_return(&mut frame, delivery);
        stack.push_frame(self, 8, &frame)?;
        self.clear_handler_flags(entry.clears_if);
        if changes {
            let segment = Segment::null_stack(u16::from(entry.level));
            self.set_code_and_stack(entry.selector, &entry.code, entry.level, segment);
        } else {
            self.set_code_segment(entry.selector, &entry.code, entry.level);
        }
        self.keep_stack(&stack);
        self.continue_at(entry.offset);
        Ok(())
    }

    /// The TSS that a task gate names: in the GDT, available, present.
    pub(super) fn task_of_gate(&mut self, selector: u16) -> Exec<Descriptor> {
        let local = selector & 4 != 0;
        let found = if local {
            None
        } else {
            self.find_descriptor(selector)?
        };
        let Some(descriptor) = found else {
            return Err(self.selector_fault(GP, selector));
        };
        if !matches!(descriptor.system_kind(), Some(kind::TSS | kind::TSS_16)) {
            return Err(self.selector_fault(GP, selector));
        }
        if !descriptor.attributes().present() {
            return Err(self.selector_fault(NP, selector));
        }
        Ok(descriptor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_while_delivering_escalate_as_table_6_5_says() {
        let gp = Event::with_code(GP, 8);
        let pf = Event::with_code(PF, 2);
        let double = Event::with_code(DF, 0);
        assert_eq!(escalate(fault::UD, gp), gp);
        assert_eq!(escalate(GP, pf), pf);
        assert_eq!(escalate(GP, gp), double);
        assert_eq!(escalate(PF, gp), double);
        assert_eq!(escalate(PF, pf), double);
        assert_eq!(escalate(DF, pf), Event::Shutdown);
    }
}
