//! Physical addresses: memory at once, everything else by way of the bus.
//!
//! What is given here lies within one page. A write into decoded code is noted, so that no
//! instruction after this one runs what was there before.

use crate::bus::Size;
use crate::cpu::Core;
use crate::memory::PhysAddr;

impl Core<'_> {
    /// Reads within one page: memory at once, devices a byte at a time.
    pub(super) fn read_run(&mut self, physical: PhysAddr, into: &mut [u8]) {
        if let Some(offset) = self.memory.map.lookup(physical).and_then(|m| m.read) {
            self.memory.arena.read(offset, into);
            return;
        }
        for (at, byte) in (physical..).zip(into) {
            *byte = self.read_physical(at, 1) as u8;
        }
    }

    pub(super) fn write_run(&mut self, physical: PhysAddr, from: &[u8]) {
        if let Some(offset) = self.memory.map.lookup(physical).and_then(|m| m.write) {
            self.memory.write_arena(offset, from);
            self.after_watched_write();
            return;
        }
        for (at, byte) in (physical..).zip(from) {
            self.write_physical(at, 1, u64::from(*byte));
        }
    }

    /// Reads 1, 2, 4 or 8 bytes within one page.
    pub(super) fn read_physical(&mut self, physical: PhysAddr, bytes: u64) -> u64 {
        if let Some(offset) = self.memory.map.lookup(physical).and_then(|m| m.read) {
            let mut buffer = [0; 8];
            self.memory
                .arena
                .read(offset, &mut buffer[..bytes as usize]);
            return u64::from_le_bytes(buffer);
        }
        let now = self.cpu.now();
        let at = self.memory.map.after_a20(physical);
        let size = Size::from_bytes(bytes).unwrap_or(Size::Byte);
        let value = self.bus.read_memory(self.memory, now, at, size);
        self.after_bus_access();
        value
    }

    /// Writes 1, 2, 4 or 8 bytes within one page.
    pub(super) fn write_physical(&mut self, physical: PhysAddr, bytes: u64, value: u64) {
        if let Some(offset) = self.memory.map.lookup(physical).and_then(|m| m.write) {
            let buffer = value.to_le_bytes();
            self.memory.write_arena(offset, &buffer[..bytes as usize]);
            self.after_watched_write();
            return;
        }
        let now = self.cpu.now();
        let at = self.memory.map.after_a20(physical);
        let size = Size::from_bytes(bytes).unwrap_or(Size::Byte);
        self.bus.write_memory(self.memory, now, at, size, value);
        self.after_bus_access();
    }

    /// The physical page and arena offset behind instruction bytes at `physical`.
    pub(crate) fn code_source(&self, physical: PhysAddr) -> Option<u64> {
        self.memory.map.lookup(physical).and_then(|m| m.read)
    }

    /// Notes that `len` bytes at arena `offset` were decoded; stores there are watched.
    pub(crate) fn watch_code(&mut self, offset: u64, len: u64) {
        if self.memory.pages.mark_code(offset, len) {
            let host = self.memory.arena.host_base() as usize + (offset & !0xfff) as usize;
            self.cpu.tlb.make_writes_slow(host);
        }
    }
}
