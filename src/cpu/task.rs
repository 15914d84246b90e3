//! Task switches through the 16-bit and the 32-bit TSS (Intel SDM volume 3, chapter 7).
//!
//! Up to where the new task register stands a fault belongs to the old task and leaves it as
//! it was; what goes wrong with the new task's segments afterwards is raised in the new task.

use super::breakpoint::{dr6, dr7};
use super::descriptor::{Descriptor, is_null, kind, rpl};
use super::fault::{NP, TS};
use super::flags;
use super::mode::cr0;
use super::regs::RAX;
use super::segment::{CS, DS, ES, FS, GS, SS, Segment};
use super::{Core, Exec};
use crate::memory::PAGE_SIZE;

/// Why tasks are switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Switch {
    /// JMP.
    Jump,
    /// CALL, interrupts and exceptions: the old task stays busy, and the new one links back.
    Nested,
    /// IRET with NT: back along the link.
    Return,
}

/// Where the fields of a TSS lie, and how wide they are.
struct Layout {
    wide: bool,
    /// The offset of the last byte that must be there.
    limit: u32,
    /// Instruction pointer, flags, then the eight general registers.
    dynamic: u64,
    /// ES, CS, SS, DS, and in the 32-bit TSS FS and GS.
    selectors: u64,
    ldt: u64,
}

const TSS_16: Layout = Layout {
    wide: false,
    limit: 0x2b,
    dynamic: 14,
    selectors: 34,
    ldt: 42,
};

const TSS_32: Layout = Layout {
    wide: true,
    limit: 0x67,
    dynamic: 32,
    selectors: 72,
    ldt: 96,
};

/// The offset of CR3 in the 32-bit TSS.
const CR3: u64 = 28;
/// The offset of the word with the debug trap flag in the 32-bit TSS.
const TRAP: u64 = 100;

impl Layout {
    fn of(kind: u8) -> &'static Self {
        if kind & 8 != 0 { &TSS_32 } else { &TSS_16 }
    }

    fn field(&self) -> u64 {
        if self.wide { 4 } else { 2 }
    }

    fn segments(&self) -> &'static [u8] {
        const ALL: [u8; 6] = [ES, CS, SS, DS, FS, GS];
        if self.wide { &ALL } else { &ALL[..4] }
    }
}

/// What a TSS holds of its task.
struct Image {
    cr3: Option<u32>,
    ip: u64,
    flags: u32,
    registers: [u64; 8],
    selectors: [u16; 6],
    ldt: u16,
    trap: bool,
}

impl Core<'_> {
    /// Switches to the task of the TSS `target`, whose type and presence were checked.
    pub(super) fn switch_task(
        &mut self,
        selector: u16,
        target: &Descriptor,
        switch: Switch,
    ) -> Exec {
        let target_kind = target.attributes().kind();
        let layout = Layout::of(target_kind);
        if target.limit() < layout.limit {
            return Err(self.selector_fault(TS, selector));
        }
        let image = self.read_task(target.base(), layout)?;
        self.save_task(switch)?;
        let old = self.cpu.tr;
        if switch != Switch::Nested {
            self.set_busy(old.selector, false)?;
        }
        if switch != Switch::Return {
            self.set_kind(target, target_kind | 2)?;
        }
        if switch == Switch::Nested {
            self.write_system(target.base(), old.selector)?;
        }
        let mut tr = target.segment(selector);
        tr.attributes.0 |= 2;
        self.cpu.tr = tr;
        self.cpu.cr0 |= cr0::TS;
        self.cpu.refresh_mode();
        self.enter_task_image(&image, switch)
    }

    /// Reads all fields of a TSS.
    fn read_task(&mut self, base: u64, layout: &Layout) -> Exec<Image> {
        let mut registers = [0; 8];
        for (n, register) in (2..).zip(&mut registers) {
            *register = self.task_field(base, layout, layout.dynamic + n * layout.field())?;
        }
        let mut selectors = [0; 6];
        for (n, &index) in (0..).zip(layout.segments()) {
            let at = base + layout.selectors + n * layout.field();
            selectors[usize::from(index)] = self.read_system(at)?;
        }
        Ok(Image {
            cr3: match layout.wide {
                true => Some(self.read_system(base + CR3)?),
                false => None,
            },
            ip: self.task_field(base, layout, layout.dynamic)?,
            flags: self.task_field(base, layout, layout.dynamic + layout.field())? as u32,
            registers,
            selectors,
            ldt: self.read_system(base + layout.ldt)?,
            trap: layout.wide && self.read_system::<u16>(base + TRAP)? & 1 != 0,
        })
    }

    fn task_field(&mut self, base: u64, layout: &Layout, offset: u64) -> Exec<u64> {
        if layout.wide {
            return Ok(u64::from(self.read_system::<u32>(base + offset)?));
        }
        Ok(u64::from(self.read_system::<u16>(base + offset)?))
    }

    /// Writes the running task into its TSS.
    fn save_task(&mut self, switch: Switch) -> Exec {
        let tr = self.cpu.tr;
        let layout = Layout::of(tr.attributes.kind());
        let len = u64::from(layout.limit) + 1;
        debug_assert!(len <= PAGE_SIZE);
        self.probe_write(tr.base, len, 0, 0)?;
        let mut image = self.cpu.flags.bits();
        if switch == Switch::Return {
            image &= !flags::NT;
        }
        let mut fields = vec![self.cpu.rip, u64::from(image)];
        fields.extend((RAX..8).map(|register| self.cpu.regs.get(register)));
        for (n, value) in (0..).zip(fields) {
            let at = tr.base + layout.dynamic + n * layout.field();
            if layout.wide {
                self.write_system(at, value as u32)?;
            } else {
                self.write_system(at, value as u16)?;
            }
        }
        for (n, &index) in (0..).zip(layout.segments()) {
            let selector = self.cpu.segment(index).selector;
            let at = tr.base + layout.selectors + n * layout.field();
            self.write_system(at, selector)?;
        }
        Ok(())
    }

    /// Sets or clears the busy bit of a TSS descriptor.
    fn set_busy(&mut self, selector: u16, busy: bool) -> Exec {
        let descriptor = self.descriptor(selector, TS)?;
        let kind = descriptor.attributes().kind();
        self.set_kind(&descriptor, if busy { kind | 2 } else { kind & !2 })
    }

    /// Becomes the new task: from here on faults are its own.
    fn enter_task_image(&mut self, image: &Image, switch: Switch) -> Exec {
        self.cpu.flow.handler_entered();
        self.cpu.dr[7] &= !dr7::LOCAL;
        self.cpu.arm_breakpoints();
        if let Some(cr3) = image.cr3
            && self.cpu.cr0 & cr0::PG != 0
        {
            // The PDPTEs stay where CR3 does (section 4.4.1).
            if self.cpu.uses_pae_paging() && u64::from(cr3) != self.cpu.cr3 {
                self.load_pdptes(u64::from(cr3))?;
            }
            self.switch_address_space(u64::from(cr3));
        }
        let nested = if switch == Switch::Nested {
            flags::NT
        } else {
            0
        };
        let image_flags = image.flags & self.cpu.mode.writable_flags;
        self.cpu.flags.set_bits(image_flags | nested);
        self.after_access_control();
        for (register, value) in (RAX..).zip(image.registers) {
            self.cpu.regs.set(register, value);
        }
        self.continue_at(image.ip);
        self.cpu.flow.attend();
        let cs = image.selectors[usize::from(CS)];
        self.cpu.cpl = if self.cpu.is_v86() { 3 } else { rpl(cs) };
        for index in [ES, CS, SS, DS, FS, GS] {
            let selector = image.selectors[usize::from(index)];
            self.set_segment(index, Segment::null(selector));
        }
        self.load_task_ldt(image.ldt)?;
        if self.cpu.is_v86() {
            for index in [ES, CS, SS, DS, FS, GS] {
                let selector = image.selectors[usize::from(index)];
                self.set_segment(index, Segment::virtual_8086(selector));
            }
        } else {
            self.load_task_segments(image)?;
        }
        self.check_target(image.ip)?;
        if image.trap {
            self.report_later(dr6::BT);
        }
        Ok(())
    }

    fn load_task_ldt(&mut self, selector: u16) -> Exec {
        self.cpu.ldtr = Segment::null(selector);
        if is_null(selector) {
            return Ok(());
        }
        let found = if selector & 4 != 0 {
            None
        } else {
            self.find_descriptor(selector)?
        };
        match found {
            Some(d) if d.system_kind() == Some(kind::LDT) && d.attributes().present() => {
                self.cpu.ldtr = d.segment(selector);
                Ok(())
            }
            _ => Err(self.selector_fault(TS, selector)),
        }
    }

    /// CS, SS and the data segments of a protected-mode task (section 7.3, table 7-1).
    fn load_task_segments(&mut self, image: &Image) -> Exec {
        let selector = |index: u8| image.selectors[usize::from(index)];
        let cpl = self.cpu.cpl;
        let cs = selector(CS);
        let code = self.descriptor(cs, TS)?;
        let attributes = code.attributes();
        let allowed = if attributes.is_conforming() {
            attributes.dpl() <= cpl
        } else {
            attributes.dpl() == cpl
        };
        if !attributes.is_code() || !allowed {
            return Err(self.selector_fault(TS, cs));
        }
        if !attributes.present() {
            return Err(self.selector_fault(NP, cs));
        }
        self.mark_accessed(&code)?;
        self.set_code_segment(cs, &code, cpl);
        let stack = self.checked_stack_segment(selector(SS), cpl, TS)?;
        self.set_segment(SS, stack);
        for index in [DS, ES, FS, GS] {
            let segment = self.data_segment(selector(index), TS)?;
            self.set_segment(index, segment);
        }
        Ok(())
    }
}
