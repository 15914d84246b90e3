//! Where guest RAM lies in the physical address space, and how that is told to the guest.
//!
//! ```text
//!   0 .......... below_4g .... PCI windows .... FEC00000 IOAPIC, HPET, LAPIC, ROM .... 4 GiB
//!   4 GiB ...... 4 GiB + above_4g
//! ```
//!
//! (ACPI specification 6.4, section 15: system address map interfaces.)

use std::ops::Range;

const GIB: u64 = 1 << 30;

/// The end of conventional memory: the last KiB below A0000h is the extended BIOS data area.
const CONVENTIONAL_END: u64 = 0x9_fc00;
const VGA: u64 = 0xa_0000;
const BIOS_AREA: u64 = 0xf_0000;
const EXTENDED: u64 = 0x10_0000;

/// How much RAM lies on each side of the hole for devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RamLayout {
    /// Bytes from address 0.
    pub below_4g: u64,
    /// Bytes from 4 GiB.
    pub above_4g: u64,
}

impl RamLayout {
    /// The end of RAM below 4 GiB at most: the rest is for PCI and the chipset.
    pub const MAX_BELOW_4G: u64 = 3 * GIB;
    /// Where RAM goes on.
    pub const ABOVE_4G: u64 = 4 * GIB;
    /// The end of the addresses given to PCI below 4 GiB: the IOAPIC lies here.
    pub const PCI_END: u64 = 0xfec0_0000;

    /// The layout of `bytes` of RAM.
    pub fn new(bytes: u64) -> Self {
        let below_4g = bytes.min(Self::MAX_BELOW_4G);
        Self {
            below_4g,
            above_4g: bytes - below_4g,
        }
    }

    /// The addresses below 4 GiB that firmware may give to PCI devices.
    pub fn pci_window(&self) -> Range<u32> {
        let start = if self.below_4g <= 2 * GIB {
            2 * GIB
        } else {
            Self::MAX_BELOW_4G
        };
        start as u32..Self::PCI_END as u32
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.below_4g + self.above_4g
    }

    /// The address map that firmware reports (INT 15h, AX = E820h) and a kernel gets in its
    /// boot parameters.
    pub fn e820(&self) -> Vec<E820Entry> {
        let entry = |start, end: u64, kind| E820Entry {
            base: start,
            len: end.saturating_sub(start),
            kind,
        };
        let above_end = Self::ABOVE_4G + self.above_4g;
        let mut map = vec![
            entry(0, CONVENTIONAL_END, E820Kind::Ram),
            entry(CONVENTIONAL_END, VGA, E820Kind::Reserved),
            entry(BIOS_AREA, EXTENDED, E820Kind::Reserved),
            entry(EXTENDED, self.below_4g, E820Kind::Ram),
            entry(0xfffc_0000, Self::ABOVE_4G, E820Kind::Reserved),
            entry(Self::ABOVE_4G, above_end, E820Kind::Ram),
        ];
        map.retain(|e| e.len != 0);
        map
    }
}

/// What a stretch of the address map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum E820Kind {
    /// Usable RAM.
    Ram,
    /// Not to be touched.
    Reserved,
}

/// A stretch of the address map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct E820Entry {
    /// The first physical address.
    pub base: u64,
    /// In bytes.
    pub len: u64,
    /// What it is.
    pub kind: E820Kind,
}

impl E820Entry {
    /// The entry as INT 15h stores it: base, length, type, little-endian.
    pub fn to_bytes(&self) -> [u8; 20] {
        let kind: u32 = match self.kind {
            E820Kind::Ram => 1,
            E820Kind::Reserved => 2,
        };
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&self.base.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.len.to_le_bytes());
        bytes[16..].copy_from_slice(&kind.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ram_past_three_gib_goes_on_above_four() {
        let layout = RamLayout::new(5 * GIB);
        assert_eq!((layout.below_4g, layout.above_4g), (3 * GIB, 2 * GIB));
        let map = layout.e820();
        let last = map.last().unwrap();
        assert_eq!(
            (last.base, last.len, last.kind),
            (4 * GIB, 2 * GIB, E820Kind::Ram)
        );
    }

    #[test]
    fn the_map_of_a_small_machine_is_sorted_and_does_not_overlap() {
        let map = RamLayout::new(32 << 20).e820();
        assert!(map.windows(2).all(|w| w[0].base + w[0].len <= w[1].base));
        let ram = map.iter().filter(|e| e.kind == E820Kind::Ram);
        assert_eq!(
            ram.map(|e| e.len).sum::<u64>(),
            CONVENTIONAL_END + (31 << 20)
        );
    }
}
