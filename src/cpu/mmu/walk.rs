//! Paging: from a linear page to a physical one through the tables (Intel SDM volume 3,
//! chapter 4).
//!
//! Three shapes: 32-bit paging (2 levels, 4 MiB pages under CR4.PSE), PAE paging (3 levels,
//! the PDPTEs being registers) and 4-level paging (2 MiB and 1 GiB pages). Accessed and
//! dirty bits are set as the walk goes, once the access is known to be allowed.

use serde::{Deserialize, Serialize};

use super::tlb::Page;
use crate::cpu::fault::{GP, PF, SS};
use crate::cpu::flags;
use crate::cpu::mode::{cr0, cr4, efer};
use crate::cpu::segment::FLAT_STACK;
use crate::cpu::{Core, Cpu, Exec};
use crate::memory::{Arena, ArenaOffset, Memory, PhysAddr};

/// What an access does with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Reads data.
    Read = 0,
    /// Writes data.
    Write = 1,
    /// Fetches instructions.
    Fetch = 2,
}

pub(super) const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = 1 << 63;

/// Physical address bits that CPUID reports (leaf 80000008h).
pub(crate) const PHYSICAL_BITS: u32 = 40;
const ADDRESS: u64 = ((1 << PHYSICAL_BITS) - 1) & !0xfff;
/// Bits of an 8-byte entry that must be zero: address bits past the physical width.
const RESERVED: u64 = ((1 << 52) - 1) & !((1 << PHYSICAL_BITS) - 1);

// Page-fault error code.
const ERROR_PRESENT: u32 = 1 << 0;
const ERROR_WRITE: u32 = 1 << 1;
const ERROR_USER: u32 = 1 << 2;
const ERROR_RESERVED: u32 = 1 << 3;
const ERROR_FETCH: u32 = 1 << 4;

/// The entries that led to a page, from the top, and the page.
struct Path {
    /// Where each can be marked, if it is memory that can be written, and its value.
    entries: [(Option<ArenaOffset>, u64); 4],
    depth: usize,
    /// What all entries have in common: a right holds if every level grants it.
    common: u64,
    /// What any of the entries has.
    union: u64,
    wide: bool,
    page: PhysAddr,
    /// Log2 of the page's size.
    bits: u32,
}

impl Path {
    /// No entries yet, which are `wide` if they have 8 bytes.
    fn new(wide: bool) -> Self {
        Self {
            entries: [(None, 0); 4],
            depth: 0,
            common: u64::MAX,
            union: 0,
            wide,
            page: 0,
            bits: 12,
        }
    }

    fn push(&mut self, entry: Entry) {
        self.entries[self.depth] = (entry.write, entry.value);
        self.depth += 1;
        self.common &= entry.value;
        self.union |= entry.value;
    }

    /// The last entry.
    fn leaf(&self) -> u64 {
        self.entries[..self.depth].last().map_or(0, |entry| entry.1)
    }

    /// Whether the page has a right.
    fn grants(&self, right: u64) -> bool {
        self.common & right != 0
    }
}

/// An entry of a table, as it was read.
struct Entry {
    value: u64,
    /// Where it stands in the arena, if it can be written.
    write: Option<ArenaOffset>,
}

impl Entry {
    fn is_present(&self) -> bool {
        self.value & PRESENT != 0
    }
}

/// Why there is no page: not present, or a reserved bit is set.
enum Missing {
    NotPresent,
    Reserved,
}

impl Core<'_> {
    /// The physical address of `linear`, through the TLB. On a miss the tables are walked and
    /// the entry is filled, with a host pointer if the page is plain memory. `segment` only
    /// decides which exception a non-canonical address raises.
    pub(crate) fn translate(
        &mut self,
        access: Access,
        user: u8,
        linear: u64,
        segment: u8,
    ) -> Exec<PhysAddr> {
        if let Some(physical) = self.cpu.tlb.physical(access, user, linear) {
            self.make_fast(access, user, linear, physical);
            return Ok(physical);
        }
        self.check_canonical(linear, segment)?;
        let page = if self.cpu.cr0 & cr0::PG == 0 {
            Page::small(linear)
        } else {
            self.walk(access, user, linear)?
        };
        self.cpu.tlb.fill(access, user, linear, page);
        let physical = page.address() | (linear & 0xfff);
        self.make_fast(access, user, linear, physical);
        Ok(physical)
    }

    fn check_canonical(&mut self, linear: u64, segment: u8) -> Exec {
        let canonical = !self.cpu.is_long() || ((linear << 16) as i64 >> 16) as u64 == linear;
        if canonical {
            return Ok(());
        }
        let vector = if segment == FLAT_STACK { SS } else { GP };
        Err(self.fault_with(vector, 0))
    }

    /// Gives the TLB entry of `linear` a host pointer, if the page is plain memory and nobody
    /// watches what the access would do unseen.
    fn make_fast(&mut self, access: Access, user: u8, linear: u64, physical: PhysAddr) {
        let Some(mapping) = self.memory.map.lookup(physical) else {
            return;
        };
        let (offset, watched) = match access {
            Access::Read => (mapping.read, false),
            // A read-modify-write there needs two places.
            Access::Write if mapping.read != mapping.write => (None, false),
            Access::Write => {
                let pages = &mut self.memory.pages;
                let watched = mapping.write.is_some_and(|o| !pages.begin_fast_writes(o));
                (mapping.write, watched)
            }
            Access::Fetch => (None, false),
        };
        let Some(offset) = offset else { return };
        if self.cpu.watches_page(linear) {
            return;
        }
        let host = self.memory.arena.host_base() as usize + (offset & !0xfff) as usize;
        if watched {
            self.cpu.tlb.note_host(access, user, linear, host);
        } else {
            self.cpu.tlb.make_fast(access, user, linear, host);
        }
    }

    /// Walks the tables, checks rights, marks entries; returns the page.
    fn walk(&mut self, access: Access, user: u8, linear: u64) -> Exec<Page> {
        let path = match self.tables().find_page(linear) {
            Ok(path) => path,
            Err(Missing::NotPresent) => return Err(self.page_fault(access, user, linear, 0)),
            Err(Missing::Reserved) => {
                let code = ERROR_PRESENT | ERROR_RESERVED;
                return Err(self.page_fault(access, user, linear, code));
            }
        };
        let supervisor_page = !path.grants(USER);
        let write_protected = !path.grants(WRITABLE);
        let denied = match access {
            _ if user != 0 && supervisor_page => true,
            _ if user == 0 && !supervisor_page && self.keeps_out(access) => true,
            Access::Write => write_protected && (user != 0 || self.cpu.cr0 & cr0::WP != 0),
            Access::Fetch => path.union & NO_EXECUTE != 0,
            Access::Read => false,
        };
        if denied {
            return Err(self.page_fault(access, user, linear, ERROR_PRESENT));
        }
        self.mark(&path, access);
        if user == 0 && !supervisor_page && self.cpu.cr4 & cr4::SMAP != 0 {
            self.cpu.tlb.note_user_page(access, linear);
        }
        let global = self.cpu.cr4 & cr4::PGE != 0 && path.leaf() & GLOBAL != 0;
        Ok(Page::new(path.page, path.bits, global))
    }

    /// Whether the supervisor may not do this in a user page (section 4.6.1): SMEP, and SMAP
    /// unless EFLAGS.AC opens it. What the CPU itself reads and writes for a program of level 3
    /// is never open.
    fn keeps_out(&self, access: Access) -> bool {
        let cpu = &self.cpu;
        match access {
            Access::Fetch => cpu.cr4 & cr4::SMEP != 0,
            _ if cpu.cr4 & cr4::SMAP == 0 => false,
            _ => cpu.cpl == 3 || !cpu.flags.has(flags::AC),
        }
    }

    fn page_fault(
        &mut self,
        access: Access,
        user: u8,
        linear: u64,
        code: u32,
    ) -> crate::cpu::Raised {
        let no_execute = self.cpu.msr.efer & efer::NXE != 0 && self.cpu.cr4 & cr4::PAE != 0
            || self.cpu.cr4 & cr4::SMEP != 0;
        let code =
            code | match access {
                Access::Read => 0,
                Access::Write => ERROR_WRITE,
                Access::Fetch if no_execute => ERROR_FETCH,
                Access::Fetch => 0,
            } | if user != 0 { ERROR_USER } else { 0 };
        self.cpu.cr2 = linear;
        self.fault_with(PF, code)
    }

    /// Sets the accessed bits on the path, and the dirty bit of its last entry for a write.
    fn mark(&mut self, path: &Path, access: Access) {
        let dirty = if access == Access::Write { DIRTY } else { 0 };
        if path.common & ACCESSED != 0 && path.leaf() & dirty == dirty {
            return;
        }
        for (level, &(at, entry)) in path.entries[..path.depth].iter().enumerate() {
            let dirty = if level + 1 == path.depth { dirty } else { 0 };
            let marked = entry | ACCESSED | dirty;
            if marked != entry
                && let Some(at) = at
            {
                let width = if path.wide { 8 } else { 4 };
                self.memory.write_arena(at, &marked.to_le_bytes()[..width]);
            }
        }
    }

    fn tables(&self) -> Tables<'_> {
        Tables {
            cpu: self.cpu,
            memory: self.memory,
        }
    }
}

impl Cpu {
    /// The physical address that a debugger or monitor sees at `linear`: no rights are
    /// checked, nothing is filled or marked.
    pub fn peek(&self, memory: &Memory, linear: u64) -> Option<PhysAddr> {
        if self.cr0 & cr0::PG == 0 {
            return Some(linear);
        }
        let tables = Tables { cpu: self, memory };
        let path = tables.find_page(linear).ok()?;
        Some(path.page | (linear & 0xfff))
    }
}

/// The tables that CR3 names, for reading.
struct Tables<'a> {
    cpu: &'a Cpu,
    memory: &'a Memory,
}

impl Tables<'_> {
    fn find_page(&self, linear: u64) -> Result<Path, Missing> {
        if self.cpu.is_long() {
            self.find_long(linear, 4, self.cpu.cr3 & ADDRESS)
        } else if self.cpu.cr4 & cr4::PAE != 0 {
            let pdpte = self.cpu.pdptes[(linear >> 30 & 3) as usize];
            if pdpte & PRESENT == 0 {
                return Err(Missing::NotPresent);
            }
            self.find_long(linear, 2, pdpte & ADDRESS)
        } else {
            self.find_32(linear)
        }
    }

    /// 8-byte entries, nine index bits a level, from `level` down.
    fn find_long(&self, linear: u64, level: u32, table: PhysAddr) -> Result<Path, Missing> {
        let mut path = Path::new(true);
        let mut table = table;
        let reserved = self.reserved();
        for level in (1..=level).rev() {
            let shift = 3 + 9 * level;
            let entry = self.entry64(table + ((linear >> shift) & 0x1ff) * 8);
            if !entry.is_present() {
                return Err(Missing::NotPresent);
            }
            let value = entry.value;
            path.push(entry);
            let large = value & LARGE != 0 && level != 1;
            let reserved = match (level, large) {
                (4, _) => reserved | LARGE,
                // Between the PAT bit and the page's address.
                (_, true) => reserved | ((1 << shift) - 1) & !0x1fff,
                _ => reserved,
            };
            if value & reserved != 0 {
                return Err(Missing::Reserved);
            }
            if large || level == 1 {
                let within = (1u64 << shift) - 1;
                path.page = (value & ADDRESS & !within) | (linear & within & !0xfff);
                path.bits = shift;
                return Ok(path);
            }
            table = value & ADDRESS;
        }
        Err(Missing::NotPresent)
    }

    /// The bits that have to be zero in an 8-byte entry of any level.
    fn reserved(&self) -> u64 {
        let mut reserved = RESERVED;
        if self.cpu.msr.efer & efer::NXE == 0 {
            reserved |= NO_EXECUTE;
        }
        if !self.cpu.is_long() {
            reserved |= 0x7ff << 52;
        }
        reserved
    }

    fn find_32(&self, linear: u64) -> Result<Path, Missing> {
        let mut path = Path::new(false);
        let at = (self.cpu.cr3 & 0xffff_f000) + ((linear >> 22) & 0x3ff) * 4;
        let entry = self.entry32(at);
        if !entry.is_present() {
            return Err(Missing::NotPresent);
        }
        let directory = entry.value;
        path.push(entry);
        if directory & LARGE != 0 && self.cpu.cr4 & cr4::PSE != 0 {
            // PSE-36: bits 20..13 are address bits 39..32; bit 21 is reserved.
            if directory & (1 << 21) != 0 {
                return Err(Missing::Reserved);
            }
            let high = (directory >> 13 & 0xff) << 32;
            path.page = (directory & 0xffc0_0000) | high | (linear & 0x003f_f000);
            path.bits = 22;
            return Ok(path);
        }
        let at = (directory & 0xffff_f000) + ((linear >> 12) & 0x3ff) * 4;
        let entry = self.entry32(at);
        if !entry.is_present() {
            return Err(Missing::NotPresent);
        }
        path.page = entry.value & 0xffff_f000;
        path.push(entry);
        Ok(path)
    }

    fn entry64(&self, at: PhysAddr) -> Entry {
        self.entry(at, u64::MAX, Arena::load_u64)
    }

    fn entry32(&self, at: PhysAddr) -> Entry {
        let load = |arena: &Arena, offset| arena.load_u32(offset).map(u64::from);
        self.entry(at, u32::MAX.into(), load)
    }

    /// The entry at `at`, read at once by `load`; `ones` where there is no memory.
    #[inline(always)]
    fn entry(
        &self,
        at: PhysAddr,
        ones: u64,
        load: impl Fn(&Arena, ArenaOffset) -> Option<u64>,
    ) -> Entry {
        let Some(mapping) = self.memory.map.lookup(at) else {
            return Entry {
                value: ones,
                write: None,
            };
        };
        let value = mapping.read.and_then(|at| load(&self.memory.arena, at));
        Entry {
            value: value.unwrap_or(ones),
            write: mapping.write,
        }
    }
}
