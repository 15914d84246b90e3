//! The 256 bytes of configuration space of one PCI function.
//!
//! Each byte has a mask of bits that a write sets and a mask of bits that a written one clears;
//! base address registers, the expansion ROM and capabilities are laid over that. Sizing a base
//! address register needs no code: its low bits are read-only zeroes.
//!
//! A function's reset is [`ConfigSpace::new`] and its layout calls once more; nothing here
//! remembers reset values. (PCI Local Bus Specification 3.0, chapter 6.)

use serde::{Deserialize, Serialize};

use super::DevFn;
use crate::bus::{Size, Wire};
use crate::devices::{BoardRequest, Cx, Remap};

const SPACE: usize = 256;

const COMMAND: u8 = 0x04;
const STATUS: u8 = 0x06;
const CACHE_LINE_SIZE: u8 = 0x0c;
const LATENCY_TIMER: u8 = 0x0d;
const HEADER_TYPE: u8 = 0x0e;
const FIRST_BAR: u8 = 0x10;
const SUBSYSTEM: u8 = 0x2c;
const ROM_BASE: u8 = 0x30;
const CAPABILITIES: u8 = 0x34;
const INTERRUPT_LINE: u8 = 0x3c;
const INTERRUPT_PIN: u8 = 0x3d;
const FIRST_CAPABILITY: u8 = 0x40;

const COMMAND_IO: u16 = 1 << 0;
const COMMAND_MEMORY: u16 = 1 << 1;
const COMMAND_MASTER: u16 = 1 << 2;
const COMMAND_SERR: u16 = 1 << 8;
const COMMAND_INTX_DISABLE: u16 = 1 << 10;

const STATUS_INTERRUPT: u16 = 1 << 3;
const STATUS_CAPABILITIES: u16 = 1 << 4;
const STATUS_ERRORS: u16 = 0xf900;

const HEADER_MULTIFUNCTION: u8 = 0x80;
const ROM_ENABLE: u32 = 1;

/// Who a function says that it is.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Vendor ID, offset 00h.
    pub vendor: u16,
    /// Device ID, offset 02h.
    pub device: u16,
    /// Revision ID, offset 08h.
    pub revision: u8,
    /// Class code in 24 bits (base class, subclass, programming interface), offset 09h.
    pub class: u32,
    /// Subsystem vendor ID and subsystem ID, offsets 2Ch and 2Eh.
    pub subsystem: (u16, u16),
}

/// What one base address register decodes. Sizes are powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bar {
    /// `size` ports, at least 4.
    Io {
        /// In bytes.
        size: u32,
    },
    /// `size` bytes below 4 GiB, at least 16.
    Memory32 {
        /// In bytes.
        size: u32,
        /// Reads have no side effects.
        prefetchable: bool,
    },
    /// `size` bytes anywhere, at least 16; takes two registers.
    Memory64 {
        /// In bytes.
        size: u64,
        /// Reads have no side effects.
        prefetchable: bool,
    },
}

/// Which register places a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Region {
    /// Base address register 0 to 5.
    Bar(u8),
    /// The expansion ROM base address register.
    Rom,
}

/// The address space of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// I/O ports.
    Io,
    /// Physical memory addresses.
    Memory,
}

/// A range of addresses that a function decodes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The register that places it.
    pub region: Region,
    /// Ports or memory.
    pub space: Space,
    /// The first address.
    pub base: u64,
    /// In bytes.
    pub size: u64,
}

/// The configuration space of one function.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConfigSpace {
    devfn: DevFn,
    bytes: Vec<u8>,
    writable: Vec<u8>,
    write_one_clears: Vec<u8>,
    bars: [Option<Bar>; 6],
    rom_size: Option<u32>,
    last_capability: u8,
    free: u8,
    intx: bool,
}

impl ConfigSpace {
    /// A type 0 header with nothing in it but `identity` and the registers all functions have.
    pub fn new(devfn: DevFn, identity: Identity) -> Self {
        let mut space = Self {
            devfn,
            bytes: vec![0; SPACE],
            writable: vec![0; SPACE],
            write_one_clears: vec![0; SPACE],
            bars: [None; 6],
            rom_size: None,
            last_capability: 0,
            free: FIRST_CAPABILITY,
            intx: false,
        };
        space.set_u16(0x00, identity.vendor);
        space.set_u16(0x02, identity.device);
        space.set_u32(0x08, identity.class << 8 | u32::from(identity.revision));
        space.set_u16(SUBSYSTEM, identity.subsystem.0);
        space.set_u16(SUBSYSTEM + 2, identity.subsystem.1);
        let command = COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER | COMMAND_SERR;
        space.allow_writes(COMMAND, &(command | COMMAND_INTX_DISABLE).to_le_bytes());
        put(
            &mut space.write_one_clears,
            STATUS,
            &STATUS_ERRORS.to_le_bytes(),
        );
        space.allow_writes(CACHE_LINE_SIZE, &[0xff]);
        space.allow_writes(LATENCY_TIMER, &[0xff]);
        space.allow_writes(INTERRUPT_LINE, &[0xff]);
        space
    }

    /// Says that other functions share the slot.
    pub fn set_multifunction(&mut self) {
        let header = self.byte(HEADER_TYPE) | HEADER_MULTIFUNCTION;
        self.set_u8(HEADER_TYPE, header);
    }

    /// Connects the function to the INTA# pin of its slot.
    pub fn set_interrupt_pin(&mut self) {
        self.set_u8(INTERRUPT_PIN, 1);
    }

    /// Lays base address register `index` (0 to 5) out. A 64-bit one also takes `index + 1`.
    pub fn set_bar(&mut self, index: u8, bar: Bar) {
        let Some(slot) = self.bars.get_mut(usize::from(index)) else {
            return;
        };
        *slot = Some(bar);
        let at = bar_offset(index);
        match bar {
            Bar::Io { size } => {
                self.set_u32(at, 1);
                self.allow_writes(at, &(!(size - 1)).to_le_bytes());
            }
            Bar::Memory32 { size, prefetchable } => {
                self.set_u32(at, u32::from(prefetchable) << 3);
                self.allow_writes(at, &(!(size - 1)).to_le_bytes());
            }
            Bar::Memory64 { size, prefetchable } => {
                self.set_u32(at, 1 << 2 | u32::from(prefetchable) << 3);
                self.allow_writes(at, &(!(size - 1)).to_le_bytes());
            }
        }
    }

    /// Gives the function an expansion ROM of `size` bytes, a power of two of at least 2 KiB.
    pub fn set_rom(&mut self, size: u32) {
        self.rom_size = Some(size);
        self.allow_writes(ROM_BASE, &(!(size - 1) | ROM_ENABLE).to_le_bytes());
    }

    /// Appends a capability: its ID, the link, then `body`. Returns its offset.
    pub fn add_capability(&mut self, id: u8, body: &[u8]) -> u8 {
        let at = self.free;
        let link = match self.last_capability {
            0 => CAPABILITIES,
            last => last + 1,
        };
        self.set_u8(link, at);
        self.set_u8(at, id);
        put(&mut self.bytes, at + 2, body);
        self.last_capability = at;
        let end = usize::from(at) + 2 + body.len();
        self.free = u8::try_from(end.next_multiple_of(4)).unwrap_or(u8::MAX);
        self.set_u16(STATUS, self.word(STATUS) | STATUS_CAPABILITIES);
        at
    }

    /// Lets writes change the bits of `mask` from `offset` on.
    pub fn allow_writes(&mut self, offset: u8, mask: &[u8]) {
        put(&mut self.writable, offset, mask);
    }

    /// Sets a byte as the function itself does, whatever the write masks say.
    pub fn set_u8(&mut self, offset: u8, value: u8) {
        put(&mut self.bytes, offset, &[value]);
    }

    /// Sets a word as the function itself does.
    pub fn set_u16(&mut self, offset: u8, value: u16) {
        put(&mut self.bytes, offset, &value.to_le_bytes());
    }

    /// Sets a dword as the function itself does.
    pub fn set_u32(&mut self, offset: u8, value: u32) {
        put(&mut self.bytes, offset, &value.to_le_bytes());
    }

    /// The byte at `offset`.
    pub fn byte(&self, offset: u8) -> u8 {
        self.bytes.get(usize::from(offset)).copied().unwrap_or(0xff)
    }

    /// The word at `offset`.
    pub fn word(&self, offset: u8) -> u16 {
        u16::from_le_bytes([self.byte(offset), self.byte(offset.wrapping_add(1))])
    }

    /// The dword at `offset`.
    pub fn dword(&self, offset: u8) -> u32 {
        u32::from(self.word(offset)) | u32::from(self.word(offset.wrapping_add(2))) << 16
    }

    /// Reads as the configuration ports do; `size` is at most a dword.
    pub fn read(&self, offset: u8, size: Size) -> u32 {
        let bytes = (0u8..4).take_while(|i| u64::from(*i) < size.bytes());
        bytes.fold(0, |value, i| {
            let byte = match offset.checked_add(i) {
                Some(at) => self.byte(at),
                None => 0xff,
            };
            value | u32::from(byte) << (8 * i)
        })
    }

    /// Writes as the configuration ports do: only writable bits change. Leaves a request with
    /// the board if a window moved, and drives INTA# anew if its disable bit changed.
    pub fn write(&mut self, cx: &mut Cx<'_>, offset: u8, size: Size, value: u32) {
        let before = self.windows();
        for (i, byte) in (0u8..).zip(value.to_le_bytes()) {
            if u64::from(i) < size.bytes()
                && let Some(at) = offset.checked_add(i)
            {
                self.write_byte(at, byte);
            }
        }
        if self.windows() != before {
            cx.request(BoardRequest::Remap(Remap::Pci(self.devfn)));
        }
        self.drive_intx(cx);
    }

    fn write_byte(&mut self, offset: u8, value: u8) {
        let at = usize::from(offset);
        let writable = self.writable.get(at).copied().unwrap_or(0);
        let clears = self.write_one_clears.get(at).copied().unwrap_or(0);
        let old = self.byte(offset);
        self.set_u8(
            offset,
            (old & !writable | value & writable) & !(value & clears),
        );
    }

    /// Whether the function answers to I/O ports.
    pub fn io_enabled(&self) -> bool {
        self.word(COMMAND) & COMMAND_IO != 0
    }

    /// Whether the function answers to memory addresses.
    pub fn memory_enabled(&self) -> bool {
        self.word(COMMAND) & COMMAND_MEMORY != 0
    }

    /// Whether the function may read and write memory by itself.
    pub fn is_bus_master(&self) -> bool {
        self.word(COMMAND) & COMMAND_MASTER != 0
    }

    /// The place of the function.
    pub fn devfn(&self) -> DevFn {
        self.devfn
    }

    /// Raises or lowers the function's INTx interrupt: the status bit always, the wire unless
    /// the command register disables it.
    pub fn set_intx(&mut self, cx: &mut Cx<'_>, asserted: bool) {
        self.intx = asserted;
        let status = self.word(STATUS) & !STATUS_INTERRUPT;
        self.set_u16(STATUS, status | if asserted { STATUS_INTERRUPT } else { 0 });
        self.drive_intx(cx);
    }

    fn drive_intx(&self, cx: &mut Cx<'_>) {
        if self.byte(INTERRUPT_PIN) != 0 {
            let enabled = self.word(COMMAND) & COMMAND_INTX_DISABLE == 0;
            cx.set_irq(Wire::IntA(self.devfn >> 3), self.intx && enabled);
        }
    }

    /// The address ranges that the function decodes now. A window that lies at 0 or reaches
    /// past the end of its space (as while a guest sizes it) decodes nothing.
    pub fn windows(&self) -> Vec<Window> {
        let bars = (0u8..).zip(self.bars).filter_map(|(index, bar)| {
            let window = self.bar_window(index, bar?);
            window.filter(|w| self.decodes(w))
        });
        bars.chain(self.rom_window().filter(|w| self.decodes(w)))
            .collect()
    }

    fn bar_window(&self, index: u8, bar: Bar) -> Option<Window> {
        let at = bar_offset(index);
        let region = Region::Bar(index);
        let low = u64::from(self.dword(at));
        let (space, base, size) = match bar {
            Bar::Io { size } => (Space::Io, low & !3, u64::from(size)),
            Bar::Memory32 { size, .. } => (Space::Memory, low & !15, u64::from(size)),
            Bar::Memory64 { size, .. } => {
                let high = u64::from(self.dword(at.checked_add(4)?));
                (Space::Memory, low & !15 | high << 32, size)
            }
        };
        let limit = match bar {
            Bar::Io { .. } => 0xffff,
            Bar::Memory32 { .. } => 0xffff_fffe,
            Bar::Memory64 { .. } => (1 << 52) - 1,
        };
        let last = base.checked_add(size - 1)?;
        (base != 0 && last <= limit).then_some(Window {
            region,
            space,
            base,
            size,
        })
    }

    fn rom_window(&self) -> Option<Window> {
        let size = u64::from(self.rom_size?);
        let register = self.dword(ROM_BASE);
        let base = u64::from(register & !0x7ff);
        let last = base.checked_add(size - 1)?;
        let decodes = register & ROM_ENABLE != 0 && base != 0 && last < 0xffff_ffff;
        decodes.then_some(Window {
            region: Region::Rom,
            space: Space::Memory,
            base,
            size,
        })
    }

    fn decodes(&self, window: &Window) -> bool {
        match window.space {
            Space::Io => self.io_enabled(),
            Space::Memory => self.memory_enabled(),
        }
    }
}

fn bar_offset(index: u8) -> u8 {
    FIRST_BAR + 4 * index.min(5)
}

/// Stores `values` from `offset` on; what would lie past the end of the space is dropped.
fn put(space: &mut [u8], offset: u8, values: &[u8]) {
    let places = space.iter_mut().skip(usize::from(offset));
    for (place, value) in places.zip(values) {
        *place = *value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Workbench;

    const BOTH: u32 = (COMMAND_IO | COMMAND_MEMORY) as u32;

    fn disk_controller() -> ConfigSpace {
        let mut config = ConfigSpace::new(
            0x20,
            Identity {
                vendor: 0x1af4,
                device: 0x1001,
                revision: 0,
                class: 0x01_0000,
                subsystem: (0x1af4, 2),
            },
        );
        config.set_bar(0, Bar::Io { size: 128 });
        config.set_bar(
            1,
            Bar::Memory32 {
                size: 4096,
                prefetchable: false,
            },
        );
        config.set_bar(
            4,
            Bar::Memory64 {
                size: 1 << 14,
                prefetchable: true,
            },
        );
        config.set_rom(0x1_0000);
        config.set_interrupt_pin();
        config
    }

    fn size_of(config: &mut ConfigSpace, offset: u8) -> u32 {
        let mut bench = Workbench::new();
        config.write(&mut bench.cx(), offset, Size::Dword, 0xffff_ffff);
        config.read(offset, Size::Dword)
    }

    #[test]
    fn writing_ones_to_a_base_address_register_reads_back_its_size_and_type() {
        let mut config = disk_controller();
        assert_eq!(size_of(&mut config, 0x10), 0xffff_ff81);
        assert_eq!(size_of(&mut config, 0x14), 0xffff_f000);
        assert_eq!(size_of(&mut config, 0x18), 0);
        assert_eq!(size_of(&mut config, 0x20), 0xffff_c00c);
        assert_eq!(size_of(&mut config, 0x24), 0xffff_ffff);
        assert_eq!(size_of(&mut config, 0x30), 0xffff_0001);
    }

    #[test]
    fn the_board_is_asked_to_look_again_only_when_a_decoded_window_moves() {
        let mut config = disk_controller();
        let mut bench = Workbench::new();
        config.write(&mut bench.cx(), 0x10, Size::Dword, 0xc000);
        assert!(bench.requests.is_empty());
        config.write(&mut bench.cx(), 0x04, Size::Word, BOTH);
        assert_eq!(bench.requests, [BoardRequest::Remap(Remap::Pci(0x20))]);
        let io = Window {
            region: Region::Bar(0),
            space: Space::Io,
            base: 0xc000,
            size: 128,
        };
        assert_eq!(config.windows(), [io]);
        config.write(&mut bench.cx(), 0x3c, Size::Byte, 11);
        assert_eq!(bench.requests.len(), 1);
    }

    #[test]
    fn a_window_that_is_being_sized_or_lies_at_zero_decodes_nothing() {
        let mut config = disk_controller();
        let mut bench = Workbench::new();
        config.write(&mut bench.cx(), 0x04, Size::Word, BOTH);
        for offset in [0x10, 0x14, 0x20, 0x24, 0x30] {
            config.write(&mut bench.cx(), offset, Size::Dword, 0xffff_ffff);
        }
        assert!(config.windows().is_empty());
    }

    #[test]
    fn a_64_bit_window_and_the_rom_lie_where_their_registers_say() {
        let mut config = disk_controller();
        let mut bench = Workbench::new();
        config.write(&mut bench.cx(), 0x20, Size::Dword, 0x4000);
        config.write(&mut bench.cx(), 0x24, Size::Dword, 0x80);
        config.write(&mut bench.cx(), 0x30, Size::Dword, 0xfeb0_0001);
        config.write(&mut bench.cx(), 0x04, Size::Byte, u32::from(COMMAND_MEMORY));
        let bases: Vec<u64> = config.windows().iter().map(|w| w.base).collect();
        assert_eq!(bases, [0x80_0000_4000, 0xfeb0_0000]);
    }

    #[test]
    fn identity_is_read_only_and_status_errors_clear_where_ones_are_written() {
        let mut config = disk_controller();
        let mut bench = Workbench::new();
        config.write(&mut bench.cx(), 0x00, Size::Dword, 0);
        assert_eq!(config.read(0x00, Size::Dword), 0x1001_1af4);
        config.set_u16(STATUS, 0xf900);
        config.write(&mut bench.cx(), STATUS, Size::Word, 0x2000);
        assert_eq!(config.word(STATUS), 0xd900);
    }

    #[test]
    fn intx_shows_in_status_and_its_disable_bit_lets_the_wire_go() {
        let mut config = disk_controller();
        let mut bench = Workbench::new();
        let wire = Wire::IntA(4).bit();
        config.set_intx(&mut bench.cx(), true);
        assert_eq!(bench.irq.levels(), wire);
        let disable = u32::from(COMMAND_INTX_DISABLE);
        config.write(&mut bench.cx(), 0x04, Size::Word, disable);
        assert_eq!(bench.irq.levels(), 0);
        assert_ne!(config.word(STATUS) & STATUS_INTERRUPT, 0);
        config.write(&mut bench.cx(), 0x04, Size::Word, 0);
        assert_eq!(bench.irq.levels(), wire);
    }

    #[test]
    fn capabilities_form_a_list_in_the_order_they_were_added() {
        let mut config = disk_controller();
        let first = config.add_capability(9, &[16, 1, 0]);
        let second = config.add_capability(0x11, &[0; 10]);
        assert_eq!(config.byte(CAPABILITIES), first);
        assert_eq!(config.byte(first + 1), second);
        assert_eq!(config.byte(second + 1), 0);
        assert_eq!(config.byte(first + 2), 16);
        assert_eq!(second % 4, 0);
    }

    #[test]
    fn a_read_past_the_last_byte_gives_ones() {
        assert_eq!(disk_controller().read(0xfe, Size::Dword), 0xffff_0000);
    }
}
