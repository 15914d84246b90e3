//! Stacks that are pushed to before they are switched to: calls and interrupts that change
//! privilege write the whole frame first, and only then change a register, so that a fault
//! half-way leaves no trace (Intel SDM volume 3, sections 5.8.5, 6.12.1 and 6.14).

use super::descriptor::{is_canonical, is_null, kind};
use super::fault::{SS as STACK_FAULT, TS};
use super::regs::RSP;
use super::segment::{FLAT_STACK, SS, Segment};
use super::width::Width;
use super::{Core, Cpu, Exec};

/// Values that are pushed together, each as wide as the gate says.
#[derive(Default)]
pub(super) struct Frame {
    values: [u64; Self::MOST],
    len: usize,
}

impl Frame {
    /// An exception in virtual-8086 mode pushes so many.
    const MOST: usize = 10;

    /// The next value to push.
    pub(super) fn add(&mut self, value: impl Into<u64>) {
        self.values[self.len] = value.into();
        self.len += 1;
    }

    /// The values as they lie in memory, the last one lowest.
    fn image<W: Width>(&self) -> [u8; 8 * Self::MOST] {
        let mut image = [0; 8 * Self::MOST];
        let width = W::BYTES as usize;
        let last_first = self.values[..self.len].iter().rev();
        for (place, value) in image.chunks_exact_mut(width).zip(last_first) {
            place.copy_from_slice(&value.to_le_bytes()[..width]);
        }
        image
    }
}

/// A stack with its own pointer, which nobody sees until [`Core::keep_stack`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Stack {
    segment: Segment,
    pointer: u64,
    mask: u64,
    linear_mask: u64,
    /// 1 if it is accessed with the rights of privilege 3.
    user: u8,
    /// The error code of a #SS: the selector if the stack is a new one.
    error: u16,
}

impl Stack {
    /// The stack in use.
    pub(super) fn current(core: &Core<'_>) -> Self {
        let mode = &core.cpu.mode;
        Self {
            segment: *core.cpu.segment(mode.stack_segment),
            pointer: core.cpu.regs.get(RSP),
            mask: mode.stack_mask,
            linear_mask: mode.linear_mask,
            user: mode.user,
            error: 0,
        }
    }

    /// A stack segment that was checked, for privilege `cpl`.
    pub(super) fn new(segment: Segment, pointer: u64, cpl: u8) -> Self {
        Self {
            mask: if segment.attributes.big() {
                0xffff_ffff
            } else {
                0xffff
            },
            linear_mask: 0xffff_ffff,
            user: u8::from(cpl == 3),
            error: segment.selector,
            segment,
            pointer,
        }
    }

    /// A stack of 64-bit mode for privilege `cpl`.
    fn long(pointer: u64, cpl: u8) -> Self {
        Self {
            segment: Segment::flat(0, 0),
            pointer,
            mask: u64::MAX,
            linear_mask: u64::MAX,
            user: u8::from(cpl == 3),
            error: 0,
        }
    }

    /// What SS is when this is the stack.
    pub(super) fn segment(&self) -> Segment {
        self.segment
    }

    /// Pushes a value.
    pub(super) fn push<W: Width>(&mut self, core: &mut Core<'_>, value: W) -> Exec {
        let pointer = self.pointer.wrapping_sub(W::BYTES);
        let offset = pointer & self.mask;
        if core.wraps(offset, W::BYTES) {
            core.store_at(SS, offset, value)?;
            self.pointer = pointer;
            return Ok(());
        }
        let in_bounds = offset.wrapping_add(W::BYTES) <= self.segment.write_end()
            || (self.segment.attributes.is_writable() && self.segment.covers(offset, W::BYTES));
        if !in_bounds {
            return Err(core.selector_fault(core.cpu.stack_fault(), self.error));
        }
        let linear = self.segment.base.wrapping_add(offset) & self.linear_mask;
        if self.user != 0 {
            core.check_alignment(linear, W::BYTES)?;
        }
        core.write_linear(self.user, linear, FLAT_STACK, value)?;
        self.pointer = pointer;
        Ok(())
    }

    /// Pushes a frame of values of 2, 4 or 8 bytes.
    pub(super) fn push_frame(&mut self, core: &mut Core<'_>, bytes: u64, frame: &Frame) -> Exec {
        match bytes {
            2 => self.push_all::<u16>(core, frame),
            4 => self.push_all::<u32>(core, frame),
            _ => self.push_all::<u64>(core, frame),
        }
    }

    fn push_all<W: Width>(&mut self, core: &mut Core<'_>, frame: &Frame) -> Exec {
        if self.push_quickly::<W>(core, frame) {
            return Ok(());
        }
        let mut values = frame.values[..frame.len].iter();
        values.try_for_each(|&value| self.push(core, W::truncate(value)))
    }

    /// Pushes all of the frame, where one look shows that nothing is in the way; else nothing.
    fn push_quickly<W: Width>(&mut self, core: &mut Core<'_>, frame: &Frame) -> bool {
        let len = frame.len as u64 * W::BYTES;
        let pointer = self.pointer.wrapping_sub(len);
        let offset = pointer & self.mask;
        let end = offset.saturating_add(len);
        if self.user != 0 || end > self.segment.write_end() || end - 1 > self.mask {
            return false;
        }
        let linear = self.segment.base.wrapping_add(offset) & self.linear_mask;
        let image = frame.image::<W>();
        let done = core.write_quickly(self.user, linear, &image[..len as usize]);
        if done {
            self.pointer = pointer;
        }
        done
    }

    /// Pushes a value at one of the widths that gates and operand sizes have: 2, 4 or 8 bytes.
    pub(super) fn push_sized(&mut self, core: &mut Core<'_>, bytes: u64, value: u64) -> Exec {
        match bytes {
            2 => self.push::<u16>(core, Width::truncate(value)),
            4 => self.push::<u32>(core, Width::truncate(value)),
            _ => self.push(core, value),
        }
    }
}

impl Cpu {
    /// The exception of an access past the end of the stack segment.
    pub(super) fn stack_fault(&self) -> u8 {
        match self.is_real() {
            true => self.model.traits().real_mode_stack_fault,
            false => STACK_FAULT,
        }
    }
}

impl Core<'_> {
    /// Moves the stack pointer to where `stack` stands. SS is that stack's already.
    pub(super) fn keep_stack(&mut self, stack: &Stack) {
        self.set_stack_pointer(stack.pointer);
    }

    /// The stack that the TSS holds for privilege `level`, outside long mode.
    pub(super) fn stack_of_level(&mut self, level: u8) -> Exec<Stack> {
        let level_offset = u64::from(level);
        let wide = matches!(self.cpu.tr.attributes.kind(), kind::TSS | kind::TSS_BUSY);
        let (pointer_at, selector_at, end) = if wide {
            let at = 4 + level_offset * 8;
            (at, at + 4, at + 7)
        } else {
            let at = 2 + level_offset * 4;
            (at, at + 2, at + 3)
        };
        if end > u64::from(self.cpu.tr.limit) {
            let tr = self.cpu.tr.selector;
            return Err(self.selector_fault(TS, tr));
        }
        let base = self.cpu.tr.base;
        let pointer = if wide {
            u64::from(self.read_system::<u32>(base.wrapping_add(pointer_at))?)
        } else {
            u64::from(self.read_system::<u16>(base.wrapping_add(pointer_at))?)
        };
        let selector: u16 = self.read_system(base.wrapping_add(selector_at))?;
        if is_null(selector) {
            return Err(self.selector_fault(TS, selector));
        }
        let segment = self.checked_stack_segment(selector, level, TS)?;
        Ok(Stack::new(segment, pointer, level))
    }

    /// The stack of 64-bit mode at `pointer`, for privilege `cpl`; #SS(0) if that is not canonical.
    pub(super) fn long_stack(&mut self, pointer: u64, cpl: u8) -> Exec<Stack> {
        if !is_canonical(pointer) {
            return Err(self.fault_with(STACK_FAULT, 0));
        }
        Ok(Stack::long(pointer, cpl))
    }

    /// The stack pointer at `offset` of the 64-bit TSS.
    pub(super) fn long_stack_pointer(&mut self, offset: u64) -> Exec<u64> {
        if offset + 7 > u64::from(self.cpu.tr.limit) {
            let tr = self.cpu.tr.selector;
            return Err(self.selector_fault(TS, tr));
        }
        self.read_system(self.cpu.tr.base.wrapping_add(offset))
    }
}
