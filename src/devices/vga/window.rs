//! The CPU's way into display memory between A0000h and BFFFFh: latches, planes and write
//! modes.
//!
//! ```text
//!   CPU byte --rotate--> set/reset --> AND, OR, XOR with latches --> bit mask --> planes
//!                                              ^                                   |
//!                                              +---- latches <--- any read <-------+
//! ```
//!
//! Memory holds the four planes side by side: byte p of dword n is offset n of plane p. So a
//! chained mode is a row of bytes, and can be mapped without a trap. (IBM VGA XGA Technical
//! Reference Manual, section 2-8, graphics controller.)

use super::Vga;
use super::registers::Addressing;
use crate::memory::{ArenaOffset, Memory};

const WINDOW: u64 = 0xa_0000;
const BANK: u64 = 0x1_0000;

/// What the board maps where the CPU looks for display memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryWindow {
    /// The physical address.
    pub base: u64,
    /// In bytes.
    pub len: u64,
    /// Plain memory of the arena; `None`: each access goes to [`Vga::read_window`] and
    /// [`Vga::write_window`].
    pub direct: Option<ArenaOffset>,
}

/// One access, resolved.
struct Cell {
    /// Which dword of memory: the same offset of four planes.
    dword: u64,
    /// The planes that a write reaches, one bit each.
    writable: u8,
    /// The plane that a read returns.
    readable: u8,
}

impl Vga {
    /// The window now. Nothing else between A0000h and BFFFFh answers.
    pub fn window(&self) -> Option<MemoryWindow> {
        if let Some(bank) = self.linear_bank() {
            let direct = Some(self.memory_start + bank);
            return Some(MemoryWindow {
                base: WINDOW,
                len: BANK,
                direct,
            });
        }
        if !self.registers.memory_enabled() {
            return None;
        }
        let (base, len) = self.registers.window();
        let is_row =
            self.registers.addressing() == Addressing::Chain4 && self.registers.writes_are_plain();
        let direct = is_row.then_some(self.memory_start);
        Some(MemoryWindow { base, len, direct })
    }

    /// Where the window begins in memory while a packed linear mode is set.
    fn linear_bank(&self) -> Option<u64> {
        let mode = self.dispi.mode()?;
        (mode.depth != 4).then_some(u64::from(self.dispi.bank_offset()))
    }

    /// What the CPU would read at a physical address of the window, as the planes have it: no
    /// latch is filled and no colour compared. `None`: outside the window.
    pub fn peek(&self, memory: &Memory, address: u64) -> Option<u8> {
        let window = self.window()?;
        let offset = address.checked_sub(window.base)?;
        if offset >= window.len {
            return None;
        }
        if let Some(direct) = window.direct {
            let mut byte = [0];
            memory.arena.read(direct + offset, &mut byte);
            return Some(byte[0]);
        }
        let cell = self.cell(offset);
        let [byte, ..] = (self.load(memory, cell.dword) >> (8 * cell.readable)).to_le_bytes();
        Some(byte)
    }

    /// Reads a byte at a physical address of the window.
    pub(super) fn read_window_byte(&mut self, memory: &Memory, address: u64) -> u8 {
        let Some(window) = self.window() else {
            return 0xff;
        };
        let offset = address.wrapping_sub(window.base);
        if offset >= window.len {
            return 0xff;
        }
        if let Some(direct) = window.direct {
            let mut byte = [0];
            memory.arena.read(direct + offset, &mut byte);
            let [byte] = byte;
            return byte;
        }
        let cell = self.cell(offset);
        self.latches = self.load(memory, cell.dword);
        if self.registers.graphics.get(5) & 0x08 != 0 {
            return self.compare_colour();
        }
        let [byte, ..] = (self.latches >> (8 * cell.readable)).to_le_bytes();
        byte
    }

    /// Writes a byte at a physical address of the window.
    pub(super) fn write_window_byte(&mut self, memory: &mut Memory, address: u64, value: u8) {
        let Some(window) = self.window() else {
            return;
        };
        let offset = address.wrapping_sub(window.base);
        if offset >= window.len {
            return;
        }
        if let Some(direct) = window.direct {
            memory.write_arena(direct + offset, &[value]);
            return;
        }
        let cell = self.cell(offset);
        let planes = spread(cell.writable & self.registers.sequencer.get(2));
        let old = self.load(memory, cell.dword);
        let new = old & !planes | self.combine(value) & planes;
        let place = self.memory_start + cell.dword * 4;
        memory.write_arena(place, &new.to_le_bytes());
    }

    /// Which dword and planes an offset of the window means.
    fn cell(&self, offset: u64) -> Cell {
        let bank = match self.dispi.mode() {
            Some(_) => u64::from(self.dispi.bank_offset()),
            None => 0,
        };
        let [low, ..] = offset.to_le_bytes();
        let read_plane = self.registers.graphics.get(4) & 3;
        let (dword, writable, readable) = match self.registers.addressing() {
            Addressing::Chain4 => (offset >> 2, 1 << (low & 3), low & 3),
            Addressing::OddEven => (offset >> 1, 0b0101 << (low & 1), read_plane & 2 | low & 1),
            Addressing::Planar => ((offset & 0xffff) + bank, 0x0f, read_plane),
        };
        Cell {
            dword,
            writable,
            readable,
        }
    }

    fn load(&self, memory: &Memory, dword: u64) -> u32 {
        let mut bytes = [0; 4];
        if dword * 4 < self.memory_len {
            memory.arena.read(self.memory_start + dword * 4, &mut bytes);
        }
        u32::from_le_bytes(bytes)
    }

    /// Read mode 1: a bit for each dot of the wanted colour, over the planes that matter.
    fn compare_colour(&self) -> u8 {
        let wanted = spread(self.registers.graphics.get(2));
        let matter = spread(self.registers.graphics.get(7));
        let differ = ((self.latches ^ wanted) & matter).to_le_bytes();
        !differ.into_iter().fold(0, |bits, plane| bits | plane)
    }

    /// What the graphics controller makes of a CPU byte for all four planes.
    fn combine(&self, value: u8) -> u32 {
        let graphics = |index| self.registers.graphics.get(index);
        let rotated = value.rotate_right(u32::from(graphics(3) & 7));
        let set_reset = spread(graphics(0));
        let (data, mask) = match graphics(5) & 3 {
            0 => {
                let forced = spread(graphics(1));
                (repeat(rotated) & !forced | set_reset & forced, graphics(8))
            }
            1 => return self.latches,
            2 => (spread(value), graphics(8)),
            _ => (set_reset, graphics(8) & rotated),
        };
        let data = match graphics(3) >> 3 & 3 {
            0 => data,
            1 => data & self.latches,
            2 => data | self.latches,
            _ => data ^ self.latches,
        };
        let mask = repeat(mask);
        data & mask | self.latches & !mask
    }
}

/// All ones in the byte of each plane whose bit is set.
fn spread(bits: u8) -> u32 {
    (0..4).fold(0, |planes, p| {
        planes
            | if bits & 1 << p != 0 {
                0xff << (8 * p)
            } else {
                0
            }
    })
}

/// The same byte in each plane.
fn repeat(byte: u8) -> u32 {
    u32::from(byte) * 0x0101_0101
}
