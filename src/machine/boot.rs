//! Direct kernel boot: puts the CPU where the loader in [`crate::firmware`] says.

use super::Machine;
use super::board::Board;
use crate::bus::{Size, Tick};
use crate::cpu::regs::{RSI, RSP};
use crate::cpu::segment::{Attributes, CS, DS, ES, FS, GS, SS};
use crate::cpu::{Bus, Segment, TableRegister, cr0};
use crate::firmware::{self, BootError, BootState, FlatSegment, LinuxBoot, Ports, direct_boot};
use crate::memory::Memory;

/// The CPU's place on the board, taken by the host until the kernel starts.
struct Socket<'a> {
    now: Tick,
    board: &'a mut Board,
    memory: &'a mut Memory,
}

impl Ports for Socket<'_> {
    fn read(&mut self, port: u16, size: Size) -> u32 {
        self.board.read_port(self.memory, self.now, port, size)
    }

    fn write(&mut self, port: u16, size: Size, value: u32) {
        self.board
            .write_port(self.memory, self.now, port, size, value);
    }
}

impl firmware::Machine for Socket<'_> {
    fn memory(&mut self) -> &mut Memory {
        self.memory
    }
}

impl Machine {
    /// Sets the board up as firmware does, loads a Linux kernel into RAM and enters it.
    /// Errors: the file is no kernel, or too large.
    pub fn boot_linux(&mut self, boot: &LinuxBoot<'_>) -> Result<(), BootError> {
        let ram = *self.board.ram();
        let mut socket = Socket {
            now: self.now(),
            board: &mut self.board,
            memory: &mut self.memory,
        };
        let state = direct_boot(&mut socket, &ram, boot)?;
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
