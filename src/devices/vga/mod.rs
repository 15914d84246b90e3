//! The VGA, a PCI function at 00:02.0 (1234:1111, as QEMU's and Bochs' standard VGA): all
//! registers of an IBM VGA, and the linear modes of the Bochs display interface.
//!
//! ```text
//!   3B0h..3DFh, 1CEh/1CFh  registers, dac, dispi           A0000h..BFFFFh  window (latches, planes)
//!   BAR 0  display memory, plain RAM of the arena          BAR 2  the registers as memory
//!   ROM    the VGA BIOS
//! ```
//!
//! Display memory is device RAM: it lies in the arena, and the board maps it. What is shown is
//! read out on demand ([`Vga::screen`], [`Vga::frame`]). Left out: the light pen, interrupts on
//! vertical retrace, EDID. (IBM VGA XGA Technical Reference Manual, 1992.)

mod dac;
mod dispi;
mod registers;
mod screen;
mod timing;
mod window;

use serde::{Deserialize, Serialize};

use self::dac::Dac;
use self::dispi::{Dispi, Effect};
use self::registers::Registers;
use super::pci::{Bar, ConfigSpace, DevFn, Identity, PciFunction, Region};
use super::{BoardRequest, Cx, PortIo, Remap};
use crate::bus::Size;
use crate::memory::ArenaOffset;

pub use dac::Rgb;
pub use screen::{Cell, Frame, Screen, TextScreen};
pub use window::MemoryWindow;

/// Where the VGA sits on PCI bus 0.
pub const VGA_DEVFN: DevFn = 0x10;

const DISPI_INDEX: u16 = 0x1ce;
const DISPI_DATA: u16 = 0x1cf;

const MMIO_BAR: u8 = 2;
const MMIO_BYTES: u32 = 4096;
const MMIO_PORTS: u64 = 0x400;
const MMIO_PORTS_END: u64 = 0x420;
const MMIO_DISPI: u64 = 0x500;
const MMIO_DISPI_END: u64 = 0x516;

/// The card and the place of its memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Vga {
    config: ConfigSpace,
    registers: Registers,
    dac: Dac,
    dispi: Dispi,
    /// The last dword read through the window, a byte a plane.
    latches: u32,
    memory_start: ArenaOffset,
    memory_len: u64,
    rom_len: u32,
}

impl Vga {
    /// A card whose display memory is `memory_len` bytes of the arena (a power of two, at least
    /// 256 KiB) from `memory_start` on, with a ROM of `rom_len` bytes, which may be none.
    pub fn new(memory_start: ArenaOffset, memory_len: u32, rom_len: u32) -> Self {
        let mut config = ConfigSpace::new(
            VGA_DEVFN,
            Identity {
                vendor: 0x1234,
                device: 0x1111,
                revision: 2,
                class: 0x03_0000,
                subsystem: (0x1af4, 0x1100),
            },
        );
        config.set_bar(
            0,
            Bar::Memory32 {
                size: memory_len,
                prefetchable: true,
            },
        );
        config.set_bar(
            MMIO_BAR,
            Bar::Memory32 {
                size: MMIO_BYTES,
                prefetchable: false,
            },
        );
        if rom_len != 0 {
            config.set_rom(rom_len.next_power_of_two().max(0x800));
        }
        Self {
            config,
            registers: Registers::default(),
            dac: Dac::default(),
            dispi: Dispi::new(memory_len),
            latches: 0,
            memory_start,
            memory_len: u64::from(memory_len),
            rom_len,
        }
    }

    /// Back to the state after power-on; display memory stays as it is.
    pub fn reset(&mut self) {
        let len = u32::try_from(self.memory_len).unwrap_or(0);
        *self = Self::new(self.memory_start, len, self.rom_len);
    }

    /// Reads `size` at a physical address between A0000h and BFFFFh.
    pub fn read_window(&mut self, cx: &mut Cx<'_>, address: u64, size: Size) -> u64 {
        (0..size.bytes()).fold(0, |value, i| {
            let byte = self.read_window_byte(cx.memory, address + i);
            value | u64::from(byte) << (8 * i)
        })
    }

    /// Writes the low `size` of `value` at a physical address between A0000h and BFFFFh.
    pub fn write_window(&mut self, cx: &mut Cx<'_>, address: u64, size: Size, value: u64) {
        let bytes = value.to_le_bytes();
        for (i, byte) in (0..size.bytes()).zip(bytes) {
            self.write_window_byte(cx.memory, address + i, byte);
        }
    }

    fn read_port(&mut self, cx: &Cx<'_>, port: u16) -> u8 {
        let registers = &mut self.registers;
        match port {
            0x3c0 => registers.attribute.index,
            0x3c1 => registers.attribute.get(registers.attribute.index & 0x1f),
            0x3c4 => registers.sequencer.index,
            0x3c5 => registers.sequencer.get(registers.sequencer.index),
            0x3c6..=0x3c9 => self.dac.read(port),
            0x3ca => registers.feature,
            0x3cc => registers.misc,
            0x3ce => registers.graphics.index,
            0x3cf => registers.graphics.get(registers.graphics.index),
            _ => match self.crtc_port(port) {
                Some(4) => self.registers.crtc.index,
                Some(5) => self.registers.crtc.get(self.registers.crtc.index),
                Some(10) => {
                    self.registers.attribute_data_next = false;
                    timing::input_status_1(&self.registers, cx.now)
                }
                _ if port == 0x3c2 => 0,
                _ => 0xff,
            },
        }
    }

    fn write_port(&mut self, port: u16, value: u8) {
        let registers = &mut self.registers;
        match port {
            0x3c0 => registers.write_attribute(value),
            0x3c2 => registers.misc = value,
            0x3c4 => registers.sequencer.index = value & 0x07,
            0x3c5 => registers.write_sequencer(value),
            0x3c6..=0x3c9 => self.dac.write(port, value),
            0x3ce => registers.graphics.index = value & 0x0f,
            0x3cf => registers.write_graphics(value),
            _ => match self.crtc_port(port) {
                Some(4) => self.registers.crtc.index = value,
                Some(5) => self.registers.write_crtc(value),
                Some(10) => self.registers.feature = value & 0x10,
                _ => {}
            },
        }
    }

    /// The last digit of a port that lies at 3Bxh or 3Dxh by the choice of monitor.
    fn crtc_port(&self, port: u16) -> Option<u16> {
        let base = if self.registers.is_colour() {
            0x3d0
        } else {
            0x3b0
        };
        port.checked_sub(base).filter(|digit| *digit < 16)
    }

    fn write_dispi(&mut self, cx: &mut Cx<'_>, index: u16, value: u16) {
        let effect = self.dispi.write(index, value);
        if effect != Effect::None {
            self.dac.set_wide(self.dispi.wants_wide_dac());
        }
        if effect == Effect::ChangedAndClear
            && let Some(mode) = self.dispi.mode()
        {
            let planes = if mode.depth == 4 { 4 } else { 1 };
            let len = (mode.stride * mode.height * planes) as u64;
            self.clear(cx, len);
        }
    }

    /// Zeroes display memory from its start.
    fn clear(&self, cx: &mut Cx<'_>, len: u64) {
        let zeroes = [0; 4096];
        let len = len.min(self.memory_len);
        for start in (0..len).step_by(zeroes.len()) {
            cx.memory.write_arena(self.memory_start + start, &zeroes);
        }
    }

    /// Runs a register write and tells the board if the window moved by it.
    fn change(&mut self, cx: &mut Cx<'_>, write: impl FnOnce(&mut Self, &mut Cx<'_>)) {
        let before = self.window();
        write(self, cx);
        if self.window() != before {
            cx.request(BoardRequest::Remap(Remap::Vga));
        }
    }
}

/// The bytes of an access, with the port or offset of each.
fn split(first: u16, size: Size, value: u32) -> impl Iterator<Item = (u16, u8)> {
    let count = usize::try_from(size.bytes()).unwrap_or(1);
    (first..).zip(value.to_le_bytes()).take(count)
}

impl PortIo for Vga {
    fn read(&mut self, cx: &mut Cx<'_>, port: u16, size: Size) -> u32 {
        match port {
            DISPI_INDEX => u32::from(self.dispi.index),
            DISPI_DATA => u32::from(self.dispi.read(self.dispi.index)),
            _ => split(port, size, 0).fold(0, |value, (at, _)| {
                value | u32::from(self.read_port(cx, at)) << (8 * (at - port))
            }),
        }
    }

    fn write(&mut self, cx: &mut Cx<'_>, port: u16, size: Size, value: u32) {
        let [low, high, ..] = value.to_le_bytes();
        let word = u16::from_le_bytes([low, high]);
        self.change(cx, |vga, cx| match port {
            DISPI_INDEX => vga.dispi.index = word,
            DISPI_DATA => vga.write_dispi(cx, vga.dispi.index, word),
            _ => {
                for (at, byte) in split(port, size, value) {
                    vga.write_port(at, byte);
                }
            }
        });
    }
}

impl PciFunction for Vga {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn write_config(&mut self, cx: &mut Cx<'_>, offset: u8, size: Size, value: u32) {
        self.config.write(cx, offset, size, value);
    }

    fn read_region(&mut self, cx: &mut Cx<'_>, region: Region, offset: u64, size: Size) -> u64 {
        let place = u16::try_from(offset).unwrap_or(u16::MAX);
        match offset {
            _ if region != Region::Bar(MMIO_BAR) => size.mask(),
            MMIO_PORTS..MMIO_PORTS_END => u64::from(PortIo::read(self, cx, place - 0x40, size)),
            MMIO_DISPI..MMIO_DISPI_END => {
                let index = (place - 0x500) / 2;
                u64::from(self.dispi.read(index))
            }
            _ => 0,
        }
    }

    fn write_region(
        &mut self,
        cx: &mut Cx<'_>,
        region: Region,
        offset: u64,
        size: Size,
        value: u64,
    ) {
        let place = u16::try_from(offset).unwrap_or(u16::MAX);
        let value = u32::try_from(value & 0xffff_ffff).unwrap_or(0);
        match offset {
            _ if region != Region::Bar(MMIO_BAR) => {}
            MMIO_PORTS..MMIO_PORTS_END => PortIo::write(self, cx, place - 0x40, size, value),
            MMIO_DISPI..MMIO_DISPI_END => {
                let [low, high, ..] = value.to_le_bytes();
                let word = u16::from_le_bytes([low, high]);
                self.change(cx, |vga, cx| vga.write_dispi(cx, (place - 0x500) / 2, word));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
