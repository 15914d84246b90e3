//! Segment and gate descriptors: finding them in the tables, and loading segment registers
//! from them (Intel SDM volume 3, sections 3.4, 3.5, 5.6 and 5.8.3).

use super::fault::{GP, NP, SS as STACK_FAULT};
use super::segment::{Attributes, CS, SS, Segment};
use super::{Core, Exec, Raised};

/// The table index and table bit of a selector, without its RPL: what error codes hold.
const INDEX: u16 = 0xfffc;
/// The selector's table bit: the LDT.
const LOCAL: u16 = 4;

/// The type field of a system descriptor.
pub(super) mod kind {
    pub(crate) const TSS_16: u8 = 1;
    pub(crate) const LDT: u8 = 2;
    pub(crate) const TSS_16_BUSY: u8 = 3;
    pub(crate) const CALL_GATE_16: u8 = 4;
    pub(crate) const TASK_GATE: u8 = 5;
    pub(crate) const INTERRUPT_GATE_16: u8 = 6;
    pub(crate) const TRAP_GATE_16: u8 = 7;
    pub(crate) const TSS: u8 = 9;
    pub(crate) const TSS_BUSY: u8 = 11;
    pub(crate) const CALL_GATE: u8 = 12;
    pub(crate) const INTERRUPT_GATE: u8 = 14;
    pub(crate) const TRAP_GATE: u8 = 15;
}

/// Whether a selector names nothing.
pub(super) fn is_null(selector: u16) -> bool {
    selector & INDEX == 0
}

/// The requested privilege level of a selector.
pub(super) fn rpl(selector: u16) -> u8 {
    (selector & 3) as u8
}

/// One entry of the GDT, an LDT or the IDT.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descriptor {
    /// The linear address it was read from.
    at: u64,
    low: u64,
    /// The second half that system descriptors have in long mode.
    high: u64,
}

impl Descriptor {
    /// The entry of two words that stands at linear address `at`.
    pub(super) fn new(at: u64, low: u64, high: u64) -> Self {
        Self { at, low, high }
    }

    pub(super) fn attributes(&self) -> Attributes {
        Attributes((self.low >> 40) as u16 & 0xf0ff)
    }

    /// The type of a system descriptor; `None` for code and data.
    pub(super) fn system_kind(&self) -> Option<u8> {
        let attributes = self.attributes();
        (!attributes.is_code_or_data()).then(|| attributes.kind())
    }

    pub(super) fn base(&self) -> u64 {
        (self.low >> 16 & 0xff_ffff) | (self.low >> 56) << 24 | self.high << 32
    }

    /// The limit in bytes.
    pub(super) fn limit(&self) -> u32 {
        let field = (self.low & 0xffff) as u32 | (self.low >> 32) as u32 & 0xf_0000;
        if self.attributes().granular() {
            field << 12 | 0xfff
        } else {
            field
        }
    }

    /// Whether the second half cannot be taken for a descriptor: its type field is 0 (section
    /// 7.2.3).
    pub(super) fn is_whole(&self) -> bool {
        self.high >> 40 & 0x1f == 0
    }

    /// Of a gate: the selector it leads to.
    pub(super) fn gate_selector(&self) -> u16 {
        (self.low >> 16) as u16
    }

    /// Of a gate: the offset it leads to. 16-bit gates have no upper half.
    pub(super) fn gate_offset(&self) -> u64 {
        let low = self.low & 0xffff;
        if self.attributes().kind() & 8 == 0 {
            return low;
        }
        low | (self.low >> 32 & 0xffff_0000) | self.high << 32
    }

    /// Of a call gate: how many stack words it copies.
    pub(super) fn gate_parameters(&self) -> u8 {
        (self.low >> 32) as u8 & 0x1f
    }

    /// Of a 64-bit interrupt gate: which stack of the TSS it uses, 0 for none.
    pub(super) fn gate_stack(&self) -> u8 {
        (self.low >> 32) as u8 & 7
    }

    /// The segment register that it gives, marked accessed.
    pub(super) fn segment(&self, selector: u16) -> Segment {
        let mut attributes = self.attributes();
        if attributes.is_code_or_data() {
            attributes.0 |= 1;
        }
        Segment::new(selector, self.base(), self.limit(), attributes)
    }
}

impl Core<'_> {
    /// Raises an exception whose error code names a selector.
    #[cold]
    pub(super) fn selector_fault(&mut self, vector: u8, selector: u16) -> Raised {
        self.fault_with(vector, u32::from(selector & INDEX))
    }

    /// The descriptor of `selector`: `None` if it is null or beyond the table's limit.
    pub(super) fn find_descriptor(&mut self, selector: u16) -> Exec<Option<Descriptor>> {
        self.find_entry(selector, 8)
    }

    /// As [`Core::find_descriptor`], with the second half that system descriptors have in
    /// long mode.
    pub(super) fn find_system_descriptor(&mut self, selector: u16) -> Exec<Option<Descriptor>> {
        let bytes = if self.cpu.is_long() { 16 } else { 8 };
        self.find_entry(selector, bytes)
    }

    fn find_entry(&mut self, selector: u16, bytes: u64) -> Exec<Option<Descriptor>> {
        if is_null(selector) {
            return Ok(None);
        }
        let (base, limit) = if selector & LOCAL == 0 {
            (self.cpu.gdtr.base, u64::from(self.cpu.gdtr.limit))
        } else if self.cpu.ldtr.attributes.present() {
            (self.cpu.ldtr.base, u64::from(self.cpu.ldtr.limit))
        } else {
            return Ok(None);
        };
        let offset = u64::from(selector & 0xfff8);
        if offset + bytes - 1 > limit {
            return Ok(None);
        }
        let at = base.wrapping_add(offset);
        let low = self.read_system(at)?;
        let high = match bytes {
            16 => self.read_system(at.wrapping_add(8))?,
            _ => 0,
        };
        Ok(Some(Descriptor::new(at, low, high)))
    }

    /// The descriptor of `selector`, or `vector` with the selector as error code.
    pub(super) fn descriptor(&mut self, selector: u16, vector: u8) -> Exec<Descriptor> {
        match self.find_descriptor(selector)? {
            Some(descriptor) => Ok(descriptor),
            None => Err(self.selector_fault(vector, selector)),
        }
    }

    /// As [`Core::descriptor`], for a system descriptor.
    pub(super) fn system_descriptor(&mut self, selector: u16, vector: u8) -> Exec<Descriptor> {
        match self.find_system_descriptor(selector)? {
            Some(descriptor) => Ok(descriptor),
            None => Err(self.selector_fault(vector, selector)),
        }
    }

    /// Sets the accessed bit of a code or data descriptor in memory.
    pub(super) fn mark_accessed(&mut self, descriptor: &Descriptor) -> Exec {
        if descriptor.attributes().0 & 1 == 0 {
            self.set_kind(descriptor, descriptor.attributes().kind() | 1)?;
        }
        Ok(())
    }

    /// Replaces the type field of a descriptor in memory.
    pub(super) fn set_kind(&mut self, descriptor: &Descriptor, kind: u8) -> Exec {
        let byte = (descriptor.low >> 40) as u8 & 0xf0 | kind;
        self.write_system(descriptor.at.wrapping_add(5), byte)
    }

    /// Loads ES, SS, DS, FS or GS.
    pub(super) fn load_segment(&mut self, index: u8, selector: u16) -> Exec {
        let segment = if !self.cpu.is_protected() {
            self.real_segment(index, selector)
        } else if index == SS {
            self.stack_segment(selector, self.cpu.cpl)?
        } else {
            self.data_segment(selector, GP)?
        };
        self.set_segment(index, segment);
        Ok(())
    }

    /// Replaces the segment register, and what follows from it.
    pub(super) fn set_segment(&mut self, index: u8, segment: Segment) {
        self.set_segments([(index, segment)]);
    }

    /// Replaces segment registers, and then what follows from them.
    pub(super) fn set_segments<const N: usize>(&mut self, segments: [(u8, Segment); N]) {
        for (index, segment) in segments {
            self.cpu.segments[usize::from(index)] = segment;
        }
        self.cpu.refresh_mode();
    }

    /// What a selector gives in real mode, where limit and size stay as protected mode left
    /// them, and in virtual-8086 mode, where they do not.
    pub(super) fn real_segment(&self, index: u8, selector: u16) -> Segment {
        const GRANULAR_AND_BIG: u16 = 0xc000;
        if self.cpu.is_v86() {
            return Segment::virtual_8086(selector);
        }
        let old = self.cpu.segment(index);
        let kept = if index == CS {
            0
        } else {
            old.attributes.0 & GRANULAR_AND_BIG
        };
        let attributes = Attributes(kept | 0x93);
        Segment::new(selector, u64::from(selector) << 4, old.limit, attributes)
    }

    /// Checks a selector for DS, ES, FS or GS: `vector` if it does not fit, #NP if it is not
    /// present.
    pub(super) fn data_segment(&mut self, selector: u16, vector: u8) -> Exec<Segment> {
        if is_null(selector) {
            return Ok(Segment::null(selector));
        }
        let descriptor = self.descriptor(selector, vector)?;
        let attributes = descriptor.attributes();
        let level = self.cpu.cpl.max(rpl(selector));
        let allowed = attributes.is_conforming() || attributes.dpl() >= level;
        if !attributes.is_readable() || !allowed {
            return Err(self.selector_fault(vector, selector));
        }
        if !attributes.present() {
            return Err(self.selector_fault(NP, selector));
        }
        self.mark_accessed(&descriptor)?;
        Ok(descriptor.segment(selector))
    }

    /// Checks a selector for SS at privilege `cpl`. In 64-bit mode it may be null.
    pub(super) fn stack_segment(&mut self, selector: u16, cpl: u8) -> Exec<Segment> {
        if is_null(selector) {
            if self.cpu.is_64_bit() && cpl < 3 && rpl(selector) == cpl {
                return Ok(Segment::null_stack(selector));
            }
            return Err(self.fault_with(GP, 0));
        }
        self.checked_stack_segment(selector, cpl, GP)
    }

    /// Checks a selector for SS at privilege `cpl`: `vector` if it does not fit, #SS if it is
    /// not present.
    pub(super) fn checked_stack_segment(
        &mut self,
        selector: u16,
        cpl: u8,
        vector: u8,
    ) -> Exec<Segment> {
        let descriptor = self.descriptor(selector, vector)?;
        let attributes = descriptor.attributes();
        let fits = rpl(selector) == cpl && attributes.dpl() == cpl && attributes.is_writable();
        if !fits {
            return Err(self.selector_fault(vector, selector));
        }
        if !attributes.present() {
            return Err(self.selector_fault(STACK_FAULT, selector));
        }
        self.mark_accessed(&descriptor)?;
        Ok(descriptor.segment(selector))
    }

    /// Checks that `descriptor` is a present code segment that `cpl` may enter without
    /// changing its privilege; `requested` is the selector's RPL, or 0 where none counts.
    pub(super) fn check_code(
        &mut self,
        selector: u16,
        descriptor: &Descriptor,
        requested: u8,
    ) -> Exec {
        let attributes = descriptor.attributes();
        let cpl = self.cpu.cpl;
        let allowed = if attributes.is_conforming() {
            attributes.dpl() <= cpl
        } else {
            requested <= cpl && attributes.dpl() == cpl
        };
        if !attributes.is_code() || !allowed {
            return Err(self.selector_fault(GP, selector));
        }
        self.check_code_size(selector, descriptor)
    }

    /// Checks that a code segment is present, and not both 32-bit and 64-bit in long mode.
    pub(super) fn check_code_size(&mut self, selector: u16, descriptor: &Descriptor) -> Exec {
        let attributes = descriptor.attributes();
        if self.cpu.is_long() && attributes.long() && attributes.big() {
            return Err(self.selector_fault(GP, selector));
        }
        if !attributes.present() {
            return Err(self.selector_fault(NP, selector));
        }
        Ok(())
    }

    /// #GP(0) unless `target` can be an instruction pointer in the code segment
    /// `descriptor`.
    pub(super) fn check_code_target(&mut self, descriptor: &Descriptor, target: u64) -> Exec {
        let fine = if self.cpu.is_long() && descriptor.attributes().long() {
            is_canonical(target)
        } else {
            target <= u64::from(descriptor.limit())
        };
        if fine {
            return Ok(());
        }
        Err(self.fault_with(GP, 0))
    }

    /// Loads CS and the privilege level, both checked; the selector's RPL becomes `cpl`.
    pub(super) fn set_code_segment(&mut self, selector: u16, descriptor: &Descriptor, cpl: u8) {
        let selector = selector & INDEX | u16::from(cpl);
        let segment = descriptor.segment(selector);
        if cpl != self.cpu.cpl || segment != *self.cpu.segment(CS) {
            self.cpu.cpl = cpl;
            self.set_segment(CS, segment);
        }
    }

    /// Loads CS, SS and another privilege level, all checked; the selector's RPL becomes `cpl`.
    pub(super) fn set_code_and_stack(
        &mut self,
        selector: u16,
        descriptor: &Descriptor,
        cpl: u8,
        stack: Segment,
    ) {
        let code = descriptor.segment(selector & INDEX | u16::from(cpl));
        self.cpu.cpl = cpl;
        self.cpu.segments[usize::from(SS)] = stack;
        self.set_segment(CS, code);
    }

    /// Continues at `target` of a code segment that was just loaded.
    pub(super) fn continue_at(&mut self, target: u64) {
        self.cpu.rip = target;
    }
}

/// Whether bits 63..47 of a linear address are all alike.
pub(super) fn is_canonical(address: u64) -> bool {
    ((address << 16) as i64 >> 16) as u64 == address
}
