//! The translation look-aside buffer: direct-mapped entries for reading, writing and
//! fetching, separately for supervisor and user.
//!
//! What is present and what is evicted depends only on the guest's accesses, and is saved
//! state. Whether an entry may be used through a host pointer (is *fast*) is not: a slow entry
//! has a mark in its tag that no masked address can equal, so the hot comparison fails and the
//! slow path finds the translation still there.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::walk::Access;

/// Entries of each kind.
const ENTRIES: usize = 512;
const KINDS: usize = 6;

/// In a tag: the entry has no host pointer.
const SLOW: u64 = 1 << 11;
/// The tag of an entry that holds nothing. Equal to no address with or without its mark.
const EMPTY: u64 = 1 << 10;

const PAGE_MASK: u64 = !0xfff;

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Linear page address, with [`SLOW`], or [`EMPTY`].
    tag: u64,
    /// Host address minus linear address, when not slow.
    addend: usize,
    /// Physical page address.
    physical: u64,
}

const NOTHING: Entry = Entry {
    tag: EMPTY,
    addend: 0,
    physical: 0,
};

/// The TLB of one CPU.
#[derive(Clone)]
pub struct Tlb {
    entries: Box<[[Entry; ENTRIES]; KINDS]>,
}

impl std::fmt::Debug for Tlb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let used = self.entries.iter().flatten().filter(|e| e.tag != EMPTY);
        write!(f, "Tlb {{ {} entries }}", used.count())
    }
}

impl Default for Tlb {
    fn default() -> Self {
        Self {
            entries: Box::new([[NOTHING; ENTRIES]; KINDS]),
        }
    }
}

/// Which array of entries serves an access.
#[inline(always)]
const fn kind(access: Access, user: u8) -> usize {
    access as usize * 2 + (user & 1) as usize
}

#[inline(always)]
const fn slot(linear: u64) -> usize {
    (linear >> 12) as usize % ENTRIES
}

impl Tlb {
    /// The host address of `bytes` bytes at `linear`, if a fast entry covers them and they are
    /// aligned. `bytes` is a power of two.
    #[inline(always)]
    pub(super) fn host(&self, access: Access, user: u8, linear: u64, bytes: u64) -> Option<usize> {
        let entry = &self.entries[kind(access, user)][slot(linear)];
        (entry.tag == linear & (PAGE_MASK | (bytes - 1)))
            .then(|| entry.addend.wrapping_add(linear as usize))
    }

    /// As [`Tlb::host`], for bytes at any alignment that the caller knows to lie in one page.
    #[inline(always)]
    pub(super) fn host_unaligned(&self, access: Access, user: u8, linear: u64) -> Option<usize> {
        let entry = &self.entries[kind(access, user)][slot(linear)];
        (entry.tag == linear & PAGE_MASK).then(|| entry.addend.wrapping_add(linear as usize))
    }

    /// The physical address of `linear`, if an entry covers it.
    #[inline]
    pub(super) fn physical(&self, access: Access, user: u8, linear: u64) -> Option<u64> {
        let entry = &self.entries[kind(access, user)][slot(linear)];
        (entry.tag & !SLOW == linear & PAGE_MASK).then_some(entry.physical | (linear & 0xfff))
    }

    /// Installs a translation without a host pointer.
    pub(super) fn fill(&mut self, access: Access, user: u8, linear: u64, physical: u64) {
        self.entries[kind(access, user)][slot(linear)] = Entry {
            tag: (linear & PAGE_MASK) | SLOW,
            addend: 0,
            physical: physical & PAGE_MASK,
        };
    }

    /// Gives the entry of `linear`, which is there, the host address of its page.
    pub(super) fn make_fast(&mut self, access: Access, user: u8, linear: u64, host_page: usize) {
        let entry = &mut self.entries[kind(access, user)][slot(linear)];
        entry.tag = linear & PAGE_MASK;
        entry.addend = host_page.wrapping_sub((linear & PAGE_MASK) as usize);
    }

    /// Takes the host pointers from all entries; the translations stay.
    pub fn make_slow(&mut self) {
        for entry in self.entries.iter_mut().flatten() {
            if entry.tag != EMPTY {
                entry.tag |= SLOW;
            }
        }
    }

    /// Takes the host pointer from write entries that point into the page at `host_page`.
    pub(super) fn make_writes_slow(&mut self, host_page: usize) {
        for user in 0..2 {
            for entry in &mut self.entries[kind(Access::Write, user)] {
                let page = entry.addend.wrapping_add((entry.tag & PAGE_MASK) as usize);
                if entry.tag & (EMPTY | SLOW) == 0 && page == host_page {
                    entry.tag |= SLOW;
                }
            }
        }
    }

    /// Forgets everything.
    pub fn flush(&mut self) {
        for entries in self.entries.iter_mut() {
            entries.fill(NOTHING);
        }
    }

    /// Forgets the translations of the page that holds `linear`.
    pub fn flush_page(&mut self, linear: u64) {
        for entries in self.entries.iter_mut() {
            let entry = &mut entries[slot(linear)];
            if entry.tag & !SLOW == linear & PAGE_MASK {
                *entry = NOTHING;
            }
        }
    }
}

/// Saved as (kind and slot, linear page, physical page) of the entries in use; host pointers
/// come back with use.
impl Serialize for Tlb {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let used: Vec<(u32, u64, u64)> = (0u32..)
            .zip(self.entries.iter().flatten())
            .filter(|(_, e)| e.tag != EMPTY)
            .map(|(at, e)| (at, e.tag & PAGE_MASK, e.physical))
            .collect();
        used.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Tlb {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let used = Vec::<(u32, u64, u64)>::deserialize(deserializer)?;
        let mut tlb = Self::default();
        for (at, linear, physical) in used {
            if let Some(entry) = tlb.entries.iter_mut().flatten().nth(at as usize) {
                *entry = Entry {
                    tag: (linear & PAGE_MASK) | SLOW,
                    addend: 0,
                    physical: physical & PAGE_MASK,
                };
            }
        }
        Ok(tlb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_entry_translates_but_has_no_host_address() {
        let mut tlb = Tlb::default();
        tlb.fill(Access::Write, 1, 0x1234_5678, 0x9000);
        assert_eq!(tlb.host(Access::Write, 1, 0x1234_5678, 8), None);
        assert_eq!(tlb.physical(Access::Write, 1, 0x1234_5678), Some(0x9678));
        assert_eq!(tlb.physical(Access::Read, 1, 0x1234_5678), None);
        assert_eq!(tlb.physical(Access::Write, 0, 0x1234_5678), None);
        tlb.make_fast(Access::Write, 1, 0x1234_5678, 0x7000_0000);
        assert_eq!(
            tlb.host(Access::Write, 1, 0x1234_5678, 8),
            Some(0x7000_0678)
        );
        assert_eq!(tlb.host(Access::Write, 1, 0x1234_567c, 8), None);
        tlb.make_writes_slow(0x7000_0000);
        assert_eq!(tlb.host(Access::Write, 1, 0x1234_5678, 8), None);
    }

    #[test]
    fn translations_survive_saving_and_page_flushes_elsewhere() {
        let mut tlb = Tlb::default();
        tlb.fill(Access::Read, 0, 0xffff_8000_0000_1000, 0x5000);
        tlb.fill(Access::Fetch, 0, 0x2000, 0x6000);
        let bytes = postcard::to_stdvec(&tlb).unwrap();
        let mut back: Tlb = postcard::from_bytes(&bytes).unwrap();
        back.flush_page(0x2000);
        assert_eq!(back.physical(Access::Fetch, 0, 0x2000), None);
        let there = back.physical(Access::Read, 0, 0xffff_8000_0000_1234);
        assert_eq!(there, Some(0x5234));
    }
}
