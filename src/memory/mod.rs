//! Physical memory: one host mapping that holds guest RAM, device RAM and ROM images, the map
//! from physical addresses to it, and the state of its pages.
//!
//! ```text
//!   physical address --A20--> MemoryMap --> arena offset --> bytes
//!                                 |
//!                                 +--> nothing mapped: the bus (MMIO or open)
//! ```
//!
//! Everything that can be read as plain memory lives in the [`Arena`], a private mapping over
//! a memfd that does not move while the machine lives: the CPU's TLB may hold pointers into
//! it. Writes that could change decoded code or saved pages are seen by [`Pages`], which the
//! fast path of the CPU asks once, when it fills a TLB entry.

#[expect(
    unsafe_code,
    reason = "adopts the descriptor that memfd_create returns"
)]
mod arena;
mod map;
mod pages;

pub use arena::{Arena, MemoryError};
pub use map::{Mapping, MemoryMap, PAGE_SIZE, PhysAddr};
pub use pages::{ArenaOffset, CHUNK, CodeWrite, Pages, chunks};

/// The physical memory of one machine.
#[derive(Debug)]
pub struct Memory {
    /// The bytes themselves.
    pub arena: Arena,
    /// Where the bytes appear in the physical address space.
    pub map: MemoryMap,
    /// Which pages hold decoded code or were written.
    pub pages: Pages,
}

impl Memory {
    /// Zeroed memory of `bytes` bytes in all (RAM, device RAM and ROM together), nothing of
    /// it mapped yet. `bytes` is a multiple of the page size.
    pub fn new(bytes: u64) -> Result<Self, MemoryError> {
        let arena = Arena::new(bytes)?;
        Ok(Self {
            pages: Pages::new(bytes),
            map: MemoryMap::default(),
            arena,
        })
    }

    /// Reads physical memory as a bus master does. What is neither RAM nor ROM reads as ones.
    pub fn read(&self, address: PhysAddr, buffer: &mut [u8]) {
        let mut done = 0;
        while done < buffer.len() {
            let at = address.wrapping_add(done as u64);
            let run = in_page(at, buffer.len() - done);
            let into = &mut buffer[done..done + run];
            match self.map.lookup(at).and_then(|m| m.read) {
                Some(offset) => self.arena.read(offset, into),
                None => into.fill(0xff),
            }
            done += run;
        }
    }

    /// Writes physical memory as a bus master does. What is not writable RAM ignores it.
    /// Decoded code that the bytes replace is reported to the CPU.
    pub fn write(&mut self, address: PhysAddr, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let at = address.wrapping_add(done as u64);
            let run = in_page(at, bytes.len() - done);
            if let Some(offset) = self.map.lookup(at).and_then(|m| m.write) {
                self.write_arena(offset, &bytes[done..done + run]);
            }
            done += run;
        }
    }

    /// Writes bytes of the arena, wherever they are mapped, and tells [`Pages`] so.
    pub fn write_arena(&mut self, offset: ArenaOffset, bytes: &[u8]) {
        self.pages.written(offset, bytes.len() as u64);
        self.arena.write(offset, bytes);
    }

    /// A little-endian number of `N` bytes at `address`.
    pub fn read_array<const N: usize>(&self, address: PhysAddr) -> [u8; N] {
        let mut bytes = [0; N];
        self.read(address, &mut bytes);
        bytes
    }
}

/// How many of `len` bytes from `address` on lie in its page.
fn in_page(address: PhysAddr, len: usize) -> usize {
    len.min((PAGE_SIZE - address % PAGE_SIZE) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_pages_of_ram() -> Memory {
        let mut memory = Memory::new(4 * PAGE_SIZE).unwrap();
        memory.map.map_ram(0x1000, 2 * PAGE_SIZE, 0);
        memory
    }

    #[test]
    fn ram_reads_back_what_was_written_across_pages() {
        let mut memory = two_pages_of_ram();
        memory.write(0x1ffe, &[1, 2, 3, 4]);
        assert_eq!(memory.read_array::<4>(0x1ffe), [1, 2, 3, 4]);
    }

    #[test]
    fn unmapped_memory_reads_as_ones_and_ignores_writes() {
        let mut memory = two_pages_of_ram();
        memory.write(0x2ffe, &[1, 2, 3, 4]);
        assert_eq!(memory.read_array::<4>(0x2ffe), [1, 2, 0xff, 0xff]);
        memory.write(0x10_0000, &[0; 8]);
        assert_eq!(memory.read_array::<2>(0x10_0000), [0xff; 2]);
    }

    #[test]
    fn rom_ignores_writes() {
        let mut memory = Memory::new(4 * PAGE_SIZE).unwrap();
        memory.map.map_rom(0xf000, PAGE_SIZE, PAGE_SIZE);
        memory.write_arena(PAGE_SIZE, &[0xea]);
        memory.write(0xf000, &[0]);
        assert_eq!(memory.read_array::<1>(0xf000), [0xea]);
    }

    #[test]
    fn a20_gate_folds_odd_megabytes_onto_even_ones() {
        let mut memory = Memory::new(PAGE_SIZE).unwrap();
        memory.map.map_ram(0, PAGE_SIZE, 0);
        memory.map.set_a20(false);
        memory.write(0x10_0010, &[7]);
        assert_eq!(memory.read_array::<1>(0x10), [7]);
    }

    #[test]
    fn a_write_into_decoded_code_is_reported_once_and_elsewhere_is_not() {
        let mut memory = two_pages_of_ram();
        assert!(memory.pages.mark_code(0x40, 4));
        memory.write(0x1100, &[1]);
        assert!(!memory.pages.has_code_writes());
        memory.write(0x1042, &[1]);
        let expected = CodeWrite { bytes: 0x42..0x43 };
        assert_eq!(memory.pages.take_code_write(), Some(expected));
        assert!(!memory.pages.has_code_writes());
    }
}
