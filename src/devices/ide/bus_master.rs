//! The bus master of one channel: registers, and the walk through the list of physical regions.
//!
//! ```text
//!   table --> | base (4) | count (2) | .. end of table (bit 31) |   one descriptor a region
//! ```
//!
//! (Programming Interface for Bus Master IDE Controller, revision 1.0; PIIX3 datasheet 2.3.)

use serde::{Deserialize, Serialize};

use crate::memory::Memory;

const COMMAND_START: u8 = 0x01;
const COMMAND_TO_MEMORY: u8 = 0x08;

const STATUS_ACTIVE: u8 = 0x01;
const STATUS_ERROR: u8 = 0x02;
const STATUS_INTERRUPT: u8 = 0x04;
const STATUS_DMA_CAPABLE: u8 = 0x60;

const DESCRIPTOR_BYTES: u32 = 8;
const END_OF_TABLE: u16 = 0x8000;

/// A stretch of physical memory still to be filled or read.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Region {
    base: u32,
    left: u32,
    is_last: bool,
}

/// The bus master of one channel.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct BusMaster {
    command: u8,
    status: u8,
    table: u32,
    /// Where the next descriptor lies.
    next: u32,
    region: Region,
}

impl BusMaster {
    /// Whether it moves data now.
    pub(super) fn is_active(&self) -> bool {
        self.status & STATUS_ACTIVE != 0
    }

    /// Notes that the channel's interrupt was raised.
    pub(super) fn note_interrupt(&mut self) {
        self.status |= STATUS_INTERRUPT;
    }

    /// Reads the byte at `offset` of the channel's eight registers.
    pub(super) fn read(&self, offset: u64) -> u8 {
        let [b0, b1, b2, b3] = self.table.to_le_bytes();
        match offset {
            0 => self.command,
            2 => self.status,
            4 => b0,
            5 => b1,
            6 => b2,
            7 => b3,
            _ => 0,
        }
    }

    /// Writes the byte at `offset` of the channel's eight registers.
    pub(super) fn write(&mut self, offset: u64, value: u8) {
        match offset {
            0 => self.write_command(value),
            2 => {
                self.status &= !(value & (STATUS_ERROR | STATUS_INTERRUPT));
                self.status = self.status & !STATUS_DMA_CAPABLE | value & STATUS_DMA_CAPABLE;
            }
            4..=7 => {
                let mut bytes = self.table.to_le_bytes();
                let place = usize::try_from(offset - 4).unwrap_or(0);
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = value;
                }
                self.table = u32::from_le_bytes(bytes) & !3;
            }
            _ => {}
        }
    }

    fn write_command(&mut self, value: u8) {
        let was = self.command & COMMAND_START != 0;
        self.command = value & (COMMAND_START | COMMAND_TO_MEMORY);
        match (was, value & COMMAND_START != 0) {
            (false, true) => {
                self.status |= STATUS_ACTIVE;
                self.next = self.table;
                self.region = Region::default();
            }
            (true, false) => self.status &= !STATUS_ACTIVE,
            _ => {}
        }
    }

    /// Sends bytes of a drive to memory. Returns how many there was room for; where the table
    /// ends before the bytes do, the bus master stops.
    pub(super) fn store(&mut self, memory: &mut Memory, mut bytes: &[u8]) -> usize {
        let mut moved = 0;
        while let Some((base, len)) = self.advance(memory, bytes.len()) {
            let (now, rest) = bytes.split_at(len);
            memory.write(base, now);
            bytes = rest;
            moved += len;
        }
        moved
    }

    /// Fetches bytes for a drive; the counterpart of [`BusMaster::store`].
    pub(super) fn load(&mut self, memory: &Memory, mut bytes: &mut [u8]) -> usize {
        let mut moved = 0;
        while let Some((base, len)) = self.advance(memory, bytes.len()) {
            let (now, rest) = bytes.split_at_mut(len);
            memory.read(base, now);
            bytes = rest;
            moved += len;
        }
        moved
    }

    /// The next stretch of memory, at most `wanted` bytes long. Every descriptor covers at
    /// least two bytes, so a transfer takes a bounded number of them.
    fn advance(&mut self, memory: &Memory, wanted: usize) -> Option<(u64, usize)> {
        if !self.is_active() {
            return None;
        }
        if self.region.left == 0 {
            if self.region.is_last {
                self.status &= !STATUS_ACTIVE;
                return None;
            }
            if wanted == 0 {
                return None;
            }
            self.fetch(memory);
        }
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        let len = wanted.min(self.region.left);
        let base = self.region.base;
        self.region.left -= len;
        self.region.base = base.wrapping_add(len);
        let len = usize::try_from(len).ok().filter(|len| *len > 0)?;
        Some((u64::from(base), len))
    }

    fn fetch(&mut self, memory: &Memory) {
        let [b0, b1, b2, b3, c0, c1, f0, f1] = memory.read_array(u64::from(self.next));
        let count = u32::from(u16::from_le_bytes([c0, c1]) & !1);
        self.region = Region {
            base: u32::from_le_bytes([b0, b1, b2, b3]) & !1,
            left: if count == 0 { 0x1_0000 } else { count },
            is_last: u16::from_le_bytes([f0, f1]) & END_OF_TABLE != 0,
        };
        self.next = self.next.wrapping_add(DESCRIPTOR_BYTES);
    }
}
