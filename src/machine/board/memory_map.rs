//! Where RAM, device RAM and ROM lie in the arena, and where they appear to the guest.
//!
//! ```text
//!   arena     | RAM below 4 GiB | RAM above | VGA RAM 16 MiB | BIOS 256 KiB | VGA BIOS 64 KiB |
//!
//!   physical  0 ... A0000  RAM
//!             A0000-BFFFF  the bus (VGA), or RAM while SMRAM is open
//!             C0000-FFFFF  RAM or the ROM beneath, by the PAM registers; the VGA BIOS begins at
//!                          C0000, the last 128 KiB of the BIOS at E0000
//!             ... below_4g RAM, then PCI windows
//!             4 GiB - size the BIOS
//!             4 GiB ...    the rest of RAM
//! ```
//!
//! The map is laid out anew whenever a register moves anything: that is rare, and a list of
//! what lies over what reads better than a way from each state to each other.

use super::Roms;
use crate::devices::pci::{ConfigSpace, HostBridge, Region, Space};
use crate::devices::vga::MemoryWindow;
use crate::firmware::RamLayout;
use crate::memory::{ArenaOffset, Mapping, Memory, MemoryError, PAGE_SIZE, PhysAddr};

/// The memory of the VGA.
pub const VGA_RAM_BYTES: u64 = 16 << 20;
/// The largest system BIOS.
pub const BIOS_BYTES: u64 = 256 << 10;
/// The largest VGA BIOS.
pub const VGA_BIOS_BYTES: u64 = 64 << 10;

/// The base address register of the VGA's memory.
const VGA_MEMORY: Region = Region::Bar(0);

const VGA_WINDOW: PhysAddr = 0xa_0000;
const VGA_WINDOW_BYTES: u64 = 0x2_0000;
const VGA_BIOS: PhysAddr = 0xc_0000;
const SHADOW_BIOS_BYTES: u64 = 0x2_0000;
const ONE_MIB: PhysAddr = 0x10_0000;
const FOUR_GIB: PhysAddr = 1 << 32;

/// The places in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArenaLayout {
    /// The RAM.
    pub ram: RamLayout,
    /// How much of the BIOS area the image takes, up to a page.
    bios_len: u64,
    vga_bios_len: u64,
}

impl ArenaLayout {
    /// The layout for `ram` and ROM images of these lengths. What is longer than its area is
    /// cut off; whoever reads the files says so before.
    pub fn new(ram: RamLayout, roms: Roms<'_>) -> Self {
        let pages = |len: usize, most: u64| (len as u64).next_multiple_of(PAGE_SIZE).min(most);
        Self {
            ram,
            bios_len: pages(roms.bios.len(), BIOS_BYTES),
            vga_bios_len: pages(roms.vga_bios.len(), VGA_BIOS_BYTES),
        }
    }

    /// Zeroed memory of this layout.
    pub fn allocate(&self) -> Result<Memory, MemoryError> {
        Memory::new(self.vga_bios() + VGA_BIOS_BYTES)
    }

    /// Where the VGA's memory begins in the arena.
    pub fn vga_ram(&self) -> ArenaOffset {
        self.ram.total()
    }

    /// Where the BIOS image begins in the arena.
    pub fn bios(&self) -> ArenaOffset {
        self.vga_ram() + VGA_RAM_BYTES
    }

    /// Where the VGA BIOS image begins in the arena.
    pub fn vga_bios(&self) -> ArenaOffset {
        self.bios() + BIOS_BYTES
    }

    /// How long the VGA BIOS is, in whole pages.
    pub fn vga_bios_len(&self) -> u64 {
        self.vga_bios_len
    }

    /// Puts the ROM images into the arena. The BIOS ends where its pages end.
    pub fn load_roms(&self, memory: &mut Memory, roms: Roms<'_>) {
        let cut = |rom: &[u8], most: u64| rom.len().min(most as usize);
        let bios = &roms.bios[..cut(roms.bios, self.bios_len)];
        let vga_bios = &roms.vga_bios[..cut(roms.vga_bios, self.vga_bios_len)];
        let lead = self.bios_len - bios.len() as u64;
        memory.write_arena(self.bios() + lead, bios);
        memory.write_arena(self.vga_bios(), vga_bios);
    }

    /// Lays out everything but PCI windows and the VGA's own window.
    pub fn map(&self, memory: &mut Memory, bridge: &HostBridge) {
        let map = &mut memory.map;
        map.clear();
        map.map_ram(0, self.ram.below_4g, 0);
        if self.ram.above_4g != 0 {
            map.map_ram(FOUR_GIB, self.ram.above_4g, self.ram.below_4g);
        }
        if self.bios_len != 0 {
            map.map_rom(FOUR_GIB - self.bios_len, self.bios_len, self.bios());
        }
        // The VGA maps its window over this if it can be plain memory.
        if !bridge.smram_is_open() {
            map.unmap(VGA_WINDOW, VGA_WINDOW_BYTES);
        }
        for area in bridge.shadow_areas() {
            let len = area.range.end - area.range.start;
            for page in (area.range.start..area.range.start + len).step_by(PAGE_SIZE as usize) {
                let ram = (page < self.ram.below_4g).then_some(page);
                let read = if area.read_ram {
                    ram
                } else {
                    self.rom_at(page)
                };
                let write = if area.write_ram { ram } else { None };
                memory.map.map(page, PAGE_SIZE, Mapping { read, write });
            }
        }
    }

    /// Maps the VGA's window in low memory, and its memory and ROM where its base addresses put
    /// them: between RAM and the IOAPIC, where nothing else is.
    pub fn map_vga(&self, memory: &mut Memory, low: Option<MemoryWindow>, config: &ConfigSpace) {
        if let Some(window) = low
            && let Some(direct) = window.direct
        {
            memory.map.map_ram(window.base, window.len, direct);
        }
        let hole = self.ram.below_4g..RamLayout::PCI_END;
        for window in config.windows() {
            let end = window.base + window.size;
            if window.space != Space::Memory || window.base < hole.start || end > hole.end {
                continue;
            }
            match window.region {
                VGA_MEMORY => memory
                    .map
                    .map_ram(window.base, VGA_RAM_BYTES, self.vga_ram()),
                Region::Rom => memory
                    .map
                    .map_rom(window.base, window.size, self.vga_bios()),
                Region::Bar(_) => {}
            }
        }
    }

    /// The ROM at a page between C0000h and FFFFFh.
    fn rom_at(&self, page: PhysAddr) -> Option<ArenaOffset> {
        let shadowed = self.bios_len.min(SHADOW_BIOS_BYTES);
        let bios_start = ONE_MIB - shadowed;
        if page >= bios_start {
            return Some(self.bios() + self.bios_len - shadowed + (page - bios_start));
        }
        let in_vga_bios = page.checked_sub(VGA_BIOS)?;
        (in_vga_bios < self.vga_bios_len).then_some(self.vga_bios() + in_vga_bios)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Size;
    use crate::devices::Workbench;
    use crate::devices::pci::PciFunction;

    fn machine(bytes: u64) -> (ArenaLayout, Memory) {
        let bios: Vec<u8> = (0..0x3_0000_u32).map(|i| (i >> 12) as u8).collect();
        let mut vga_bios = [0; 0x1200];
        vga_bios[..2].copy_from_slice(&[0x55, 0xaa]);
        let roms = Roms {
            bios: &bios,
            vga_bios: &vga_bios,
        };
        let layout = ArenaLayout::new(RamLayout::new(bytes), roms);
        let mut memory = layout.allocate().unwrap();
        layout.load_roms(&mut memory, roms);
        (layout, memory)
    }

    #[test]
    fn after_reset_rom_answers_at_the_top_of_both_megabyte_and_address_space() {
        let (layout, mut memory) = machine(32 << 20);
        layout.map(&mut memory, &HostBridge::new());
        assert_eq!(memory.read_array(0xffff_fff0), [0x2f]);
        assert_eq!(memory.read_array(0xfffd_0000), [0x00]);
        assert_eq!(memory.read_array(0xf_fff0), [0x2f]);
        assert_eq!(memory.read_array(0xe_0000), [0x10]);
        assert_eq!(memory.read_array(0xc_0000), [0x55, 0xaa]);
        assert_eq!(memory.read_array(0xd_0000), [0xff]);
        memory.write(0xf_fff0, &[1]);
        assert_eq!(memory.read_array(0xf_fff0), [0x2f]);
    }

    #[test]
    fn shadowing_copies_rom_into_ram_beneath_it() {
        let (layout, mut memory) = machine(32 << 20);
        let mut bridge = HostBridge::new();
        let mut bench = Workbench::new();
        bridge.write_config(&mut bench.cx(), 0x59, Size::Byte, 0x20);
        layout.map(&mut memory, &bridge);
        let rom: [u8; 1] = memory.read_array(0xf_8000);
        memory.write(0xf_8000, &[rom[0] ^ 0xff]);
        assert_eq!(memory.read_array(0xf_8000), rom);
        bridge.write_config(&mut bench.cx(), 0x59, Size::Byte, 0x10);
        layout.map(&mut memory, &bridge);
        assert_eq!(memory.read_array(0xf_8000), [rom[0] ^ 0xff]);
        memory.write(0xf_8000, &[0]);
        assert_eq!(memory.read_array(0xf_8000), [rom[0] ^ 0xff]);
    }

    #[test]
    fn ram_past_the_pci_hole_goes_on_above_four_gib() {
        let (layout, mut memory) = machine((3 << 30) + (1 << 20));
        layout.map(&mut memory, &HostBridge::new());
        memory.write(FOUR_GIB + 0xf_fff8, &[1, 2]);
        assert_eq!(memory.read_array(FOUR_GIB + 0xf_fff8), [1, 2]);
        assert_eq!(memory.read_array(0xc000_0000), [0xff]);
    }

    #[test]
    fn open_smram_shows_ram_where_vga_memory_lies() {
        let (layout, mut memory) = machine(32 << 20);
        let mut bridge = HostBridge::new();
        layout.map(&mut memory, &bridge);
        assert!(memory.map.lookup(0xa_0000).is_none());
        bridge.write_config(&mut Workbench::new().cx(), 0x72, Size::Byte, 0x4a);
        layout.map(&mut memory, &bridge);
        assert_eq!(memory.map.lookup(0xa_0000).unwrap().write, Some(0xa_0000));
    }
}
