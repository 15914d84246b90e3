//! Direct kernel boot: puts the CPU where the loader in [`crate::firmware`] says.

use super::Machine;
use crate::cpu::regs::{RSI, RSP};
use crate::cpu::segment::{Attributes, CS, DS, ES, FS, GS, SS};
use crate::cpu::{Segment, TableRegister, cr0};
use crate::firmware::{BootError, BootState, FlatSegment, LinuxBoot};

impl Machine {
    /// Loads a Linux kernel into RAM and enters it instead of the firmware. `rsdp` is the
    /// address of the ACPI root pointer, or 0. Errors: the file is no kernel, or too large.
    pub fn boot_linux(&mut self, boot: &LinuxBoot<'_>, rsdp: u64) -> Result<(), BootError> {
        let map = self.board.ram().e820();
        let state = boot.load(&mut self.memory, &map, rsdp)?;
        self.enter(&state);
        Ok(())
    }

    fn enter(&mut self, state: &BootState) {
        let flat = |s: FlatSegment| Segment::new(s.selector, 0, u32::MAX, Attributes(s.attributes));
        for index in [ES, SS, DS, FS, GS] {
            self.cpu.segments[usize::from(index)] = flat(state.data);
        }
        self.cpu.segments[usize::from(CS)] = flat(state.code);
        self.cpu.gdtr = TableRegister {
            base: u64::from(state.gdt_base),
            limit: state.gdt_limit,
        };
        self.cpu.cr0 = cr0::PE | cr0::ET;
        self.cpu.rip = u64::from(state.eip);
        self.cpu.regs.set(RSI, u64::from(state.esi));
        self.cpu.regs.set(RSP, u64::from(state.esp));
        self.cpu.refresh_mode();
    }
}
