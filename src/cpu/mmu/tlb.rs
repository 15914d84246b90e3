//! The translation look-aside buffer: direct-mapped entries for reading, writing and
//! fetching, separately for supervisor and user. Those of the current privilege are at hand;
//! a change of privilege exchanges the two.
//!
//! What is present and what is evicted depends only on the guest's accesses, and is saved
//! state. Whether an entry may be used through a host pointer (is *fast*) is not: a slow entry
//! has a mark in its tag that no masked address can equal, so the hot comparison fails and the
//! slow path finds the translation still there.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::walk::Access;

/// Entries of each kind.
const ENTRIES: usize = 512;
/// [`Access`]es, and with them the two privileges.
const ACCESSES: usize = 3;
const KINDS: usize = 2 * ACCESSES;

/// In a tag: the entry has no host pointer.
const SLOW: u64 = 1 << 11;
/// The tag of an entry that holds nothing. Equal to no address with or without its mark.
const EMPTY: u64 = 1 << 10;

const PAGE_MASK: u64 = !0xfff;

/// What translates one page of 4 KiB: its physical address, and in the low bits of the same
/// word log2 of the size of the page that it is part of, and whether that is global.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Page(u64);

impl Page {
    const GLOBAL: u64 = 1 << 6;
    const BITS: u64 = Self::GLOBAL - 1;

    /// The page at a physical address, part of one of `1 << bits` bytes.
    pub(super) fn new(address: u64, bits: u32, global: bool) -> Self {
        let global = if global { Self::GLOBAL } else { 0 };
        Self((address & PAGE_MASK) | u64::from(bits) | global)
    }

    /// A page of 4 KiB.
    pub(super) fn small(address: u64) -> Self {
        Self::new(address, 12, false)
    }

    /// The physical address of the 4 KiB.
    pub(super) fn address(self) -> u64 {
        self.0 & PAGE_MASK
    }

    /// Log2 of the page's size.
    fn bits(self) -> u32 {
        (self.0 & Self::BITS) as u32
    }

    fn is_global(self) -> bool {
        self.0 & Self::GLOBAL != 0
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Linear page address, with [`SLOW`], or [`EMPTY`].
    tag: u64,
    /// Host address minus linear address, or 0 where that is not known. A slow entry has it
    /// where only some stores to the page need a look.
    addend: usize,
    page: Page,
}

const NOTHING: Entry = Entry {
    tag: EMPTY,
    addend: 0,
    page: Page(0),
};

/// The entries of one privilege.
type View = [[Entry; ENTRIES]; ACCESSES];

/// The TLB of one CPU.
#[derive(Clone)]
pub struct Tlb {
    /// Those of the privilege `user`.
    current: Box<View>,
    /// Those of the other one.
    other: Box<View>,
    user: u8,
    /// Kind and slot of the entries that were filled, or too many to name.
    filled: Vec<u16>,
    /// From the lower and the upper half of the linear addresses the first and the last that
    /// a large page holds, as far as any is here: elsewhere INVLPG has one slot to look at.
    large: [Option<(u64, u64)>; 2],
    /// Which supervisor entries are of user pages, under SMAP: they go when EFLAGS.AC does.
    opened: Vec<(u8, u16)>,
}

/// How many filled entries are named before a flush goes through all of them.
const MOST_NAMED: usize = 512;

impl std::fmt::Debug for Tlb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tlb {{ {} entries }}", self.used().count())
    }
}

impl Default for Tlb {
    fn default() -> Self {
        Self {
            current: Box::new([[NOTHING; ENTRIES]; ACCESSES]),
            other: Box::new([[NOTHING; ENTRIES]; ACCESSES]),
            user: 0,
            filled: Vec::with_capacity(MOST_NAMED),
            large: [None; 2],
            opened: Vec::new(),
        }
    }
}

/// Which array of entries serves an access, as saved machines number them.
const fn kind(access: usize, user: u8) -> usize {
    access * 2 + user as usize
}

#[inline(always)]
const fn slot(linear: u64) -> usize {
    (linear >> 12) as usize % ENTRIES
}

impl Tlb {
    /// Takes the entries of a privilege: 1 for user mode, 0 for supervisor mode.
    pub(in crate::cpu) fn set_user(&mut self, user: u8) {
        if user != self.user {
            std::mem::swap(&mut self.current, &mut self.other);
            self.user = user;
        }
    }

    #[inline(always)]
    fn view(&self, user: u8) -> &View {
        if user == self.user {
            &self.current
        } else {
            &self.other
        }
    }

    fn view_mut(&mut self, user: u8) -> &mut View {
        if user == self.user {
            &mut self.current
        } else {
            &mut self.other
        }
    }

    /// The host address of `bytes` bytes at `linear`, for the current privilege, if a fast
    /// entry covers them and they are aligned. `bytes` is a power of two.
    #[inline(always)]
    pub(super) fn host(&self, access: Access, linear: u64, bytes: u64) -> Option<usize> {
        let entry = &self.current[access as usize][slot(linear)];
        (entry.tag == linear & (PAGE_MASK | (bytes - 1)))
            .then(|| entry.addend.wrapping_add(linear as usize))
    }

    /// As [`Tlb::host`], for any privilege and bytes at any alignment that the caller knows to
    /// lie in one page.
    #[inline(always)]
    pub(super) fn host_unaligned(&self, access: Access, user: u8, linear: u64) -> Option<usize> {
        let entry = &self.view(user)[access as usize][slot(linear)];
        (entry.tag == linear & PAGE_MASK).then(|| entry.addend.wrapping_add(linear as usize))
    }

    /// As [`Tlb::host_unaligned`] for a store, of slow entries too where they hold the address;
    /// and whether the entry is fast. If it is not, whoever stores has to look at what he hits.
    #[inline]
    pub(super) fn known_host(&self, user: u8, linear: u64) -> Option<(usize, bool)> {
        let entry = &self.view(user)[Access::Write as usize][slot(linear)];
        (entry.tag & !SLOW == linear & PAGE_MASK && entry.addend != 0).then(|| {
            let host = entry.addend.wrapping_add(linear as usize);
            (host, entry.tag & SLOW == 0)
        })
    }

    /// The physical address of `linear`, if an entry covers it.
    #[inline]
    pub(in crate::cpu) fn physical(&self, access: Access, user: u8, linear: u64) -> Option<u64> {
        let entry = &self.view(user)[access as usize][slot(linear)];
        (entry.tag & !SLOW == linear & PAGE_MASK).then_some(entry.page.address() | (linear & 0xfff))
    }

    /// Installs a translation without a host pointer.
    pub(super) fn fill(&mut self, access: Access, user: u8, linear: u64, page: Page) {
        self.install(access as usize, user, linear & PAGE_MASK, page);
    }

    fn install(&mut self, access: usize, user: u8, linear: u64, page: Page) {
        let slot = slot(linear);
        if self.filled.len() < MOST_NAMED {
            self.filled
                .push((kind(access, user) * ENTRIES + slot) as u16);
        }
        if page.bits() > 12 {
            let within = (1 << page.bits()) - 1;
            let (first, last) = (linear & !within, linear | within);
            let seen = &mut self.large[half(linear)];
            *seen = Some(match *seen {
                Some((low, high)) => (low.min(first), high.max(last)),
                None => (first, last),
            });
        }
        self.view_mut(user)[access][slot] = Entry {
            tag: linear | SLOW,
            addend: 0,
            page,
        };
    }

    /// Gives the entry of `linear`, which is there, the host address of its page.
    pub(super) fn make_fast(&mut self, access: Access, user: u8, linear: u64, host_page: usize) {
        self.note_host(access, user, linear, host_page);
        let entry = &mut self.view_mut(user)[access as usize][slot(linear)];
        entry.tag = linear & PAGE_MASK;
    }

    /// As [`Tlb::make_fast`] for [`Tlb::known_host`] alone.
    pub(super) fn note_host(&mut self, access: Access, user: u8, linear: u64, host_page: usize) {
        let entry = &mut self.view_mut(user)[access as usize][slot(linear)];
        entry.addend = host_page.wrapping_sub((linear & PAGE_MASK) as usize);
    }

    /// Takes the host pointers from all entries; the translations stay.
    pub fn make_slow(&mut self) {
        for entry in self.every() {
            if entry.tag != EMPTY {
                entry.tag |= SLOW;
                entry.addend = 0;
            }
        }
    }

    /// Makes stores to the page at `host_page` take a look first.
    pub(super) fn make_writes_slow(&mut self, host_page: usize) {
        for view in [&mut self.current, &mut self.other] {
            for entry in &mut view[Access::Write as usize] {
                let page = entry.addend.wrapping_add((entry.tag & PAGE_MASK) as usize);
                if entry.tag & (EMPTY | SLOW) == 0 && page == host_page {
                    entry.tag |= SLOW;
                }
            }
        }
    }

    /// All entries, in the order of their numbers in [`Tlb::filled`].
    fn every(&mut self) -> impl Iterator<Item = &mut Entry> {
        let (supervisor, user) = if self.user == 0 {
            (&mut self.current, &mut self.other)
        } else {
            (&mut self.other, &mut self.current)
        };
        let pairs = supervisor.iter_mut().zip(user.iter_mut());
        pairs.flat_map(|(s, u)| s.iter_mut().chain(u))
    }

    /// The entry that has a number in [`Tlb::filled`].
    fn numbered(&mut self, number: u16) -> &mut Entry {
        let (kind, slot) = (usize::from(number) / ENTRIES, usize::from(number) % ENTRIES);
        &mut self.view_mut((kind & 1) as u8)[kind / 2][slot]
    }

    /// Number and contents of the entries in use.
    fn used(&self) -> impl Iterator<Item = (usize, &Entry)> {
        in_use(self.view(0), 0).chain(in_use(self.view(1), 1))
    }

    /// Notes that the supervisor's entry for `linear`, which is about to be filled, is of a
    /// user page.
    pub(super) fn note_user_page(&mut self, access: Access, linear: u64) {
        let place = (access as u8, slot(linear) as u16);
        if !self.opened.contains(&place) {
            self.opened.push(place);
        }
    }

    /// Forgets what the supervisor translated of user pages.
    pub(in crate::cpu) fn close_user_pages(&mut self) {
        let opened = std::mem::take(&mut self.opened);
        for &(access, slot) in &opened {
            self.view_mut(0)[usize::from(access)][usize::from(slot)] = NOTHING;
        }
        self.opened = opened;
        self.opened.clear();
    }

    /// Forgets everything.
    pub fn flush(&mut self) {
        let filled = std::mem::take(&mut self.filled);
        if filled.len() < MOST_NAMED {
            for &number in &filled {
                *self.numbered(number) = NOTHING;
            }
        } else {
            self.every().for_each(|entry| *entry = NOTHING);
        }
        self.filled = filled;
        self.filled.clear();
        self.large = [None; 2];
    }

    /// Forgets everything but global pages.
    pub fn flush_local(&mut self) {
        let mut filled = std::mem::take(&mut self.filled);
        if filled.len() < MOST_NAMED {
            filled.retain(|&number| self.numbered(number).keep_global());
        } else {
            filled.clear();
            for (number, entry) in (0..).zip(self.every()) {
                if entry.keep_global() && filled.len() < MOST_NAMED {
                    filled.push(number);
                }
            }
        }
        self.filled = filled;
    }

    /// Forgets the translations of the page that holds `linear`, be it small or large.
    pub fn flush_page(&mut self, linear: u64) {
        for entries in self.current.iter_mut().chain(self.other.iter_mut()) {
            let entry = &mut entries[slot(linear)];
            if entry.tag & !SLOW == linear & PAGE_MASK {
                *entry = NOTHING;
            }
        }
        let large = self.large[half(linear)];
        if large.is_some_and(|(low, high)| (low..=high).contains(&linear)) {
            for entry in self.every() {
                let bits = entry.page.bits();
                let same_page = (entry.tag ^ linear) >> bits == 0;
                if bits > 12 && entry.tag != EMPTY && same_page {
                    *entry = NOTHING;
                }
            }
        }
    }
}

/// Number and contents of the entries in use of one privilege.
fn in_use(view: &View, user: u8) -> impl Iterator<Item = (usize, &Entry)> {
    view.iter().enumerate().flat_map(move |(access, entries)| {
        let first = kind(access, user) * ENTRIES;
        (first..).zip(entries).filter(|(_, e)| e.tag != EMPTY)
    })
}

impl Entry {
    /// Becomes empty unless it is of a global page; whether something is left.
    fn keep_global(&mut self) -> bool {
        if !self.page.is_global() {
            *self = NOTHING;
        }
        self.tag != EMPTY
    }
}

/// Which half of its address space a linear address lies in, by bit 63 or bit 31.
fn half(linear: u64) -> usize {
    usize::from(linear >> 63 != 0 || linear >> 31 == 1)
}

/// Saved as the current privilege, (kind and slot, linear page, page) of the entries in use, and
/// those of user pages; host pointers come back with use.
type Saved = (u8, Vec<(u32, u64, Page)>, Vec<(u8, u16)>);

impl Serialize for Tlb {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let used = self.used();
        let used = used.map(|(at, e)| (at as u32, e.tag & PAGE_MASK, e.page));
        let saved: Saved = (self.user, used.collect(), self.opened.clone());
        saved.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Tlb {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (user, used, opened) = Saved::deserialize(deserializer)?;
        let mut tlb = Self::default();
        tlb.set_user(user & 1);
        for (at, linear, page) in used {
            let kind = at as usize / ENTRIES;
            if kind < KINDS && page.bits() < 64 {
                tlb.install(kind / 2, (kind & 1) as u8, linear & PAGE_MASK, page);
            }
        }
        let exists = |&(access, slot): &(u8, u16)| {
            usize::from(access) < ACCESSES && usize::from(slot) < ENTRIES
        };
        tlb.opened = opened.into_iter().filter(exists).collect();
        Ok(tlb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_entry_translates_but_has_no_host_address() {
        let mut tlb = Tlb::default();
        tlb.set_user(1);
        tlb.fill(Access::Write, 1, 0x1234_5678, Page::small(0x9000));
        assert_eq!(tlb.host(Access::Write, 0x1234_5678, 8), None);
        assert_eq!(tlb.physical(Access::Write, 1, 0x1234_5678), Some(0x9678));
        assert_eq!(tlb.physical(Access::Read, 1, 0x1234_5678), None);
        assert_eq!(tlb.physical(Access::Write, 0, 0x1234_5678), None);
        tlb.make_fast(Access::Write, 1, 0x1234_5678, 0x7000_0000);
        assert_eq!(tlb.host(Access::Write, 0x1234_5678, 8), Some(0x7000_0678));
        assert_eq!(tlb.host(Access::Write, 0x1234_567c, 8), None);
        tlb.make_writes_slow(0x7000_0000);
        assert_eq!(tlb.host(Access::Write, 0x1234_5678, 8), None);
    }

    #[test]
    fn translations_survive_saving_and_page_flushes_elsewhere() {
        let mut tlb = Tlb::default();
        tlb.fill(Access::Read, 0, 0xffff_8000_0000_1000, Page::small(0x5000));
        tlb.fill(Access::Fetch, 0, 0x2000, Page::small(0x6000));
        let bytes = postcard::to_stdvec(&tlb).unwrap();
        let mut back: Tlb = postcard::from_bytes(&bytes).unwrap();
        back.flush_page(0x2000);
        assert_eq!(back.physical(Access::Fetch, 0, 0x2000), None);
        let there = back.physical(Access::Read, 0, 0xffff_8000_0000_1234);
        assert_eq!(there, Some(0x5234));
    }

    #[test]
    fn flushing_one_address_of_a_large_page_forgets_all_of_it() {
        let mut tlb = Tlb::default();
        for linear in [0x20_0000, 0x3f_f000, 0x40_0000] {
            tlb.fill(Access::Read, 0, linear, Page::new(linear, 21, false));
        }
        tlb.fill(Access::Read, 0, 0x1000, Page::small(0x1000));
        tlb.flush_page(0x31_2345);
        assert_eq!(tlb.physical(Access::Read, 0, 0x20_0000), None);
        assert_eq!(tlb.physical(Access::Read, 0, 0x3f_f000), None);
        assert_eq!(tlb.physical(Access::Read, 0, 0x40_0000), Some(0x40_0000));
        assert_eq!(tlb.physical(Access::Read, 0, 0x1000), Some(0x1000));
    }

    #[test]
    fn global_pages_outlive_a_change_of_address_space_but_not_a_full_flush() {
        let mut tlb = Tlb::default();
        for page in 0..600 {
            let linear = page << 12;
            tlb.fill(Access::Write, 0, linear, Page::small(linear));
        }
        tlb.fill(Access::Read, 0, 0xc000_0000, Page::new(0, 12, true));
        tlb.flush_local();
        assert_eq!(tlb.physical(Access::Write, 0, 599 << 12), None);
        assert_eq!(tlb.physical(Access::Read, 0, 0xc000_0000), Some(0));
        tlb.flush();
        assert_eq!(tlb.physical(Access::Read, 0, 0xc000_0000), None);
    }
}
