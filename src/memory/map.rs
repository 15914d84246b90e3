//! The map from physical addresses to the arena.
//!
//! Only plain memory is mapped: RAM, ROM, and device RAM while its window is direct. All the
//! rest (MMIO, open bus, trapped windows) is not in the map and goes to the board. Reading and
//! writing have separate targets, because the PAM registers of the host bridge switch them
//! separately (82441FX datasheet, section 3.2.18).

use super::pages::ArenaOffset;

/// A physical address, before or after A20 as the text says.
pub type PhysAddr = u64;

/// The page size of the map and of [`super::Pages`], in bytes.
pub const PAGE_SIZE: u64 = 4096;

const A20: u64 = 1 << 20;

/// Where the accesses to one address go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Reads and fetches: the arena offset, or the bus.
    pub read: Option<ArenaOffset>,
    /// Writes: the arena offset, or the bus (which ignores what ROM is written).
    pub write: Option<ArenaOffset>,
}

/// A run of pages that is mapped alike.
#[derive(Clone, Copy, Debug)]
struct Range {
    start: PhysAddr,
    end: PhysAddr,
    at_start: Mapping,
}

impl Range {
    fn len(&self) -> u64 {
        self.end - self.start
    }

    #[inline]
    fn lookup(&self, address: PhysAddr) -> Option<Mapping> {
        let offset = address.wrapping_sub(self.start);
        (offset < self.len()).then(|| advanced(self.at_start, offset))
    }
}

/// Which physical pages are plain memory, and where they lie in the arena.
#[derive(Clone, Debug)]
pub struct MemoryMap {
    /// The longest first: those are nearly all of RAM.
    ranges: Vec<Range>,
    a20_mask: u64,
}

impl Default for MemoryMap {
    fn default() -> Self {
        Self {
            ranges: Vec::new(),
            a20_mask: u64::MAX,
        }
    }
}

impl MemoryMap {
    /// Opens or closes the A20 gate. Closed, address bit 20 is always 0.
    pub fn set_a20(&mut self, open: bool) {
        self.a20_mask = if open { u64::MAX } else { !A20 };
    }

    /// The address that the gate lets through.
    #[inline]
    pub fn after_a20(&self, address: PhysAddr) -> PhysAddr {
        address & self.a20_mask
    }

    /// Maps `len` bytes at `start` as RAM, over what was there. All page-aligned.
    pub fn map_ram(&mut self, start: PhysAddr, len: u64, offset: ArenaOffset) {
        let both = Mapping {
            read: Some(offset),
            write: Some(offset),
        };
        self.map(start, len, both);
    }

    /// Maps `len` bytes at `start` as ROM: reads see it, writes go to the bus.
    pub fn map_rom(&mut self, start: PhysAddr, len: u64, offset: ArenaOffset) {
        let reads = Mapping {
            read: Some(offset),
            write: None,
        };
        self.map(start, len, reads);
    }

    /// Maps `len` bytes at `start`, over what was there; the offsets are those of `start`.
    pub fn map(&mut self, start: PhysAddr, len: u64, at_start: Mapping) {
        self.unmap(start, len);
        let end = start + len;
        self.ranges.push(Range {
            start,
            end,
            at_start,
        });
        self.sort();
    }

    /// Gives `len` bytes at `start` to the bus.
    pub fn unmap(&mut self, start: PhysAddr, len: u64) {
        let end = start + len;
        let mut kept = Vec::with_capacity(self.ranges.len() + 2);
        for range in self.ranges.drain(..) {
            if range.start < start.min(range.end) {
                kept.push(Range {
                    end: range.end.min(start),
                    ..range
                });
            }
            if range.end > end.max(range.start) {
                let cut = end.max(range.start);
                kept.push(Range {
                    start: cut,
                    end: range.end,
                    at_start: advanced(range.at_start, cut - range.start),
                });
            }
        }
        self.ranges = kept;
        self.sort();
    }

    fn sort(&mut self) {
        self.ranges.sort_by_key(|r| std::cmp::Reverse(r.len()));
    }

    /// Forgets every mapping; the A20 gate stays.
    pub fn clear(&mut self) {
        self.ranges.clear();
    }

    /// Where accesses to `address` go; `None` is the bus for both. The gate applies here.
    #[inline]
    pub fn lookup(&self, address: PhysAddr) -> Option<Mapping> {
        let address = self.after_a20(address);
        self.ranges.iter().find_map(|r| r.lookup(address))
    }
}

fn advanced(mapping: Mapping, by: u64) -> Mapping {
    Mapping {
        read: mapping.read.map(|o| o + by),
        write: mapping.write.map(|o| o + by),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapping_over_the_middle_of_a_range_keeps_both_ends() {
        let mut map = MemoryMap::default();
        map.map_ram(0, 0x10_0000, 0);
        map.map_rom(0xc_0000, 0x8000, 0x80_0000);
        assert_eq!(map.lookup(0xb_f000).unwrap().write, Some(0xb_f000));
        assert_eq!(map.lookup(0xc_1000).unwrap().read, Some(0x80_1000));
        assert_eq!(map.lookup(0xc_1000).unwrap().write, None);
        assert_eq!(map.lookup(0xc_8000).unwrap().read, Some(0xc_8000));
        assert_eq!(map.lookup(0x10_0000), None);
        map.unmap(0xa_0000, 0x2_0000);
        assert_eq!(map.lookup(0xa_0000), None);
        assert_eq!(map.lookup(0x9_ffff).unwrap().read, Some(0x9_ffff));
        assert_eq!(map.lookup(0xc_0000).unwrap().read, Some(0x80_0000));
    }

    #[test]
    fn unmapping_several_ranges_at_once_leaves_what_lies_around() {
        let mut map = MemoryMap::default();
        map.map_ram(0, 0x1000, 0);
        map.map_ram(0x1000, 0x1000, 0x5000);
        map.map_ram(0x2000, 0x1000, 0x9000);
        map.unmap(0x800, 0x2000);
        assert_eq!(map.lookup(0x7ff).unwrap().read, Some(0x7ff));
        assert_eq!(map.lookup(0x800), None);
        assert_eq!(map.lookup(0x1800), None);
        assert_eq!(map.lookup(0x2800).unwrap().read, Some(0x9800));
    }
}
