//! Reading and writing the memory that instructions name.
//!
//! The fast path is a segment bound, one TLB comparison that covers page and alignment, and a
//! host load or store. Everything else (misses, page crossings, memory-mapped devices, pages
//! that hold decoded code) is in the cold functions below. A write that crosses pages checks
//! both before it changes a byte.

use super::walk::Access;
use crate::cpu::decode::Op;
use crate::cpu::fault::{AC, GP};
use crate::cpu::flags;
use crate::cpu::mode::cr0;
use crate::cpu::model::SegmentEnd;
use crate::cpu::segment::{FLAT, FLAT_STACK, SS as STACK};
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec, Raised};
use crate::memory::{ArenaOffset, PAGE_SIZE};

/// In [`Place::linear`]: a word at the end of a segment of the 8086, whose second byte lies at the
/// segment's start. No linear address looks so: it is not canonical.
const WRAPPED: u64 = 1 << 62;
const WRAPPED_BITS: u64 = 3 << 62;

/// Where a read-modify-write operand lies; what was read there was checked for writing.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The host address, or 0 where the store takes the slow path.
    host: usize,
    linear: u64,
}

/// Where a read-modify-write operand lies whose store needs no slow path: a host address.
#[derive(Clone, Copy, Debug)]
pub struct QuickPlace(usize);

/// Where a store goes that takes little more than a host store: an unaligned one, or one to a
/// page that holds decoded code.
#[derive(Clone, Copy)]
struct NearPlace {
    host: usize,
    linear: u64,
    hits_code: bool,
}

impl Core<'_> {
    /// The effective address of the operand: base + index * scale + displacement, cut to the
    /// address size (Intel SDM volume 1, section 3.7.5).
    #[inline(always)]
    pub fn effective_address(&self, op: &Op) -> u64 {
        let base = self.cpu.regs.get(op.base);
        let index = self.cpu.regs.get(op.index).wrapping_mul(op.scale.into());
        let sum = base
            .wrapping_add(index)
            .wrapping_add(op.displacement as i64 as u64);
        sum & self.cpu.regs.get(op.address_mask)
    }

    /// The linear address of `bytes` bytes at `offset` of a segment, checked for `access`.
    #[inline(always)]
    pub fn linear(&mut self, access: Access, segment: u8, offset: u64, bytes: u64) -> Exec<u64> {
        if self.quick_linear(access, segment, offset, bytes).is_none() {
            self.check_segment(access, segment, offset, bytes)?;
        }
        let base = self.cpu.segment(segment).base;
        Ok(base.wrapping_add(offset) & self.cpu.mode.linear_mask)
    }

    /// The linear address, where one comparison shows that the access is allowed. Offsets in
    /// the flat segments are linear addresses.
    #[inline(always)]
    fn quick_linear(&self, access: Access, segment: u8, offset: u64, bytes: u64) -> Option<u64> {
        if segment >= FLAT {
            return Some(offset);
        }
        let s = self.cpu.segment(segment);
        let end = match access {
            Access::Write => s.write_end(),
            _ => s.read_end(),
        };
        let linear = s.base.wrapping_add(offset) & self.cpu.mode.linear_mask;
        (offset.wrapping_add(bytes) <= end).then_some(linear)
    }

    /// The host address of an access that needs neither a check nor a walk nor a device.
    #[inline(always)]
    pub(super) fn quick_host(
        &self,
        access: Access,
        segment: u8,
        offset: u64,
        bytes: u64,
    ) -> Option<usize> {
        let linear = self.quick_linear(access, segment, offset, bytes)?;
        self.cpu.tlb.host(access, linear, bytes)
    }

    /// Loads the memory operand if that takes neither a check nor a walk nor a device.
    #[inline(always)]
    pub fn load_quickly<W: Width>(&self, op: &Op) -> Option<W> {
        self.load_at_quickly(op.segment(), self.effective_address(op))
    }

    /// [`Core::load_quickly`] from `offset` of a segment.
    #[inline(always)]
    pub fn load_at_quickly<W: Width>(&self, segment: u8, offset: u64) -> Option<W> {
        let host = self.quick_host(Access::Read, segment, offset, W::BYTES)?;
        Some(read_host(host))
    }

    /// Stores to the memory operand; false if that takes more than a host store.
    #[inline(always)]
    pub fn store_quickly<W: Width>(&mut self, op: &Op, value: W) -> bool {
        self.store_at_quickly(op.segment(), self.effective_address(op), value)
    }

    /// [`Core::store_quickly`] to `offset` of a segment.
    #[inline(always)]
    pub fn store_at_quickly<W: Width>(&mut self, segment: u8, offset: u64, value: W) -> bool {
        let host = self.quick_host(Access::Write, segment, offset, W::BYTES);
        host.is_some_and(|host| {
            write_host(host, value);
            true
        })
    }

    /// [`Core::open`] if that takes neither a check nor a walk nor a device.
    #[inline(always)]
    pub fn open_quickly<W: Width>(&mut self, op: &Op) -> Option<(QuickPlace, W)> {
        let offset = self.effective_address(op);
        let host = self.quick_host(Access::Write, op.segment(), offset, W::BYTES)?;
        Some((QuickPlace(host), read_host(host)))
    }

    /// Stores what [`Core::open_quickly`] loaded, changed.
    #[inline(always)]
    pub fn commit_quickly<W: Width>(&mut self, place: QuickPlace, value: W) {
        write_host(place.0, value);
    }

    /// Loads the memory operand.
    #[inline(always)]
    pub fn load<W: Width>(&mut self, op: &Op) -> Exec<W> {
        let offset = self.effective_address(op);
        self.load_at(op.segment(), offset)
    }

    /// Loads from `offset` of a segment.
    #[inline(always)]
    pub fn load_at<W: Width>(&mut self, segment: u8, offset: u64) -> Exec<W> {
        match self.quick_host(Access::Read, segment, offset, W::BYTES) {
            Some(host) => Ok(read_host(host)),
            None => self.load_checked(segment, offset),
        }
    }

    #[cold]
    #[inline(never)]
    fn load_checked<W: Width>(&mut self, segment: u8, offset: u64) -> Exec<W> {
        let user = self.cpu.mode.user;
        let linear = self.near_linear(Access::Read, segment, offset, W::BYTES);
        match linear.and_then(|linear| self.cpu.tlb.host_unaligned(Access::Read, user, linear)) {
            Some(host) => Ok(read_host(host)),
            None => self.load_slowly(segment, offset),
        }
    }

    #[inline(never)]
    fn load_slowly<W: Width>(&mut self, segment: u8, offset: u64) -> Exec<W> {
        if self.wraps(offset, W::BYTES) {
            return self.load_wrapped(segment, offset);
        }
        let linear = self.linear(Access::Read, segment, offset, W::BYTES)?;
        self.check_alignment(linear, W::BYTES)?;
        self.read_slow(linear, self.cpu.mode.user, segment)
    }

    /// Stores to the memory operand.
    #[inline(always)]
    pub fn store<W: Width>(&mut self, op: &Op, value: W) -> Exec {
        let offset = self.effective_address(op);
        self.store_at(op.segment(), offset, value)
    }

    /// Stores to `offset` of a segment.
    #[inline(always)]
    pub fn store_at<W: Width>(&mut self, segment: u8, offset: u64, value: W) -> Exec {
        match self.quick_host(Access::Write, segment, offset, W::BYTES) {
            Some(host) => {
                write_host(host, value);
                Ok(())
            }
            None => self.store_checked(segment, offset, value),
        }
    }

    #[cold]
    #[inline(never)]
    fn store_checked<W: Width>(&mut self, segment: u8, offset: u64, value: W) -> Exec {
        match self.near_place(segment, offset, W::BYTES) {
            Some(place) => {
                self.write_near(place, value);
                Ok(())
            }
            None => self.store_slowly(segment, offset, value),
        }
    }

    #[inline(never)]
    fn store_slowly<W: Width>(&mut self, segment: u8, offset: u64, value: W) -> Exec {
        if self.wraps(offset, W::BYTES) {
            return self.store_wrapped(segment, offset, value);
        }
        let linear = self.linear(Access::Write, segment, offset, W::BYTES)?;
        self.check_alignment(linear, W::BYTES)?;
        self.write_slow(linear, self.cpu.mode.user, segment, value)
    }

    /// Loads the memory operand for a following [`Core::commit`]: faults as a write would.
    #[inline(always)]
    pub fn open<W: Width>(&mut self, op: &Op) -> Exec<(Place, W)> {
        let offset = self.effective_address(op);
        self.open_at(op.segment(), offset)
    }

    /// [`Core::open`] at `offset` of a segment.
    #[inline(always)]
    pub fn open_at<W: Width>(&mut self, segment: u8, offset: u64) -> Exec<(Place, W)> {
        match self.quick_host(Access::Write, segment, offset, W::BYTES) {
            Some(host) => Ok((Place { host, linear: 0 }, read_host(host))),
            None => self.open_checked(segment, offset),
        }
    }

    #[cold]
    #[inline(never)]
    fn open_checked<W: Width>(&mut self, segment: u8, offset: u64) -> Exec<(Place, W)> {
        match self.near_place(segment, offset, W::BYTES) {
            Some(near) => {
                let host = if near.hits_code { 0 } else { near.host };
                let linear = near.linear;
                Ok((Place { host, linear }, read_host(near.host)))
            }
            None => self.open_slowly(segment, offset),
        }
    }

    #[inline(never)]
    fn open_slowly<W: Width>(&mut self, segment: u8, offset: u64) -> Exec<(Place, W)> {
        if self.wraps(offset, W::BYTES) {
            let linear = self.linear(Access::Write, segment, offset, 1)? | WRAPPED;
            return Ok((
                Place { host: 0, linear },
                self.load_wrapped(segment, offset)?,
            ));
        }
        let linear = self.linear(Access::Write, segment, offset, W::BYTES)?;
        self.check_alignment(linear, W::BYTES)?;
        self.open_slow(linear, self.cpu.mode.user, segment)
    }

    /// Stores what [`Core::open`] loaded, changed. Cannot fault.
    #[inline(always)]
    pub fn commit<W: Width>(&mut self, place: Place, value: W) {
        if place.host != 0 {
            write_host(place.host, value);
        } else {
            self.commit_slow(place.linear, value);
        }
    }

    /// Whether an access goes on at the start of the segment: so it does on the 8086.
    pub(in crate::cpu) fn wraps(&self, offset: u64, bytes: u64) -> bool {
        offset.saturating_add(bytes) > 0x1_0000
            && self.cpu.model.traits().segment_end == SegmentEnd::Wraps
    }

    fn load_wrapped<W: Width>(&mut self, segment: u8, offset: u64) -> Exec<W> {
        let mut bytes = [0; 8];
        for (at, byte) in (offset..).zip(&mut bytes[..W::BYTES as usize]) {
            *byte = self.load_at(segment, at & 0xffff)?;
        }
        Ok(W::from_bytes(bytes))
    }

    fn store_wrapped<W: Width>(&mut self, segment: u8, offset: u64, value: W) -> Exec {
        let bytes = value.zero_extend().to_le_bytes();
        for (at, byte) in (offset..).zip(&bytes[..W::BYTES as usize]) {
            self.store_at(segment, at & 0xffff, *byte)?;
        }
        Ok(())
    }

    /// Reads at a linear address with supervisor rights: descriptor tables, TSS, IDT.
    pub fn read_system<W: Width>(&mut self, linear: u64) -> Exec<W> {
        self.read_linear(0, linear & self.system_mask(), 0)
    }

    /// Writes at a linear address with supervisor rights.
    pub fn write_system<W: Width>(&mut self, linear: u64, value: W) -> Exec {
        self.write_linear(0, linear & self.system_mask(), 0, value)
    }

    /// What addresses of system tables are cut to: also compatibility mode has them above
    /// 4 GiB.
    pub(super) fn system_mask(&self) -> u64 {
        if self.cpu.is_long() {
            u64::MAX
        } else {
            self.cpu.mode.linear_mask
        }
    }

    /// Reads at a linear address with the rights of `user`. `segment` only decides which
    /// exception a non-canonical address raises.
    pub fn read_linear<W: Width>(&mut self, user: u8, linear: u64, segment: u8) -> Exec<W> {
        if linear % PAGE_SIZE + W::BYTES <= PAGE_SIZE
            && let Some(host) = self.cpu.tlb.host_unaligned(Access::Read, user, linear)
        {
            return Ok(read_host(host));
        }
        self.read_slow(linear, user, segment)
    }

    /// Writes at a linear address with the rights of `user`; the counterpart of
    /// [`Core::read_linear`].
    pub fn write_linear<W: Width>(&mut self, user: u8, linear: u64, segment: u8, value: W) -> Exec {
        if linear % PAGE_SIZE + W::BYTES <= PAGE_SIZE
            && let Some(host) = self.cpu.tlb.host_unaligned(Access::Write, user, linear)
        {
            write_host(host, value);
            return Ok(());
        }
        self.write_slow(linear, user, segment, value)
    }

    /// Decides what the bounds of a segment left open (section 5.3), or faults.
    #[cold]
    fn check_segment(&mut self, access: Access, segment: u8, offset: u64, bytes: u64) -> Exec {
        let s = *self.cpu.segment(segment);
        let protected = self.cpu.is_protected();
        let allowed = match access {
            Access::Write => s.attributes.is_writable(),
            _ => s.attributes.is_readable(),
        };
        if s.covers(offset, bytes) && (!protected || (allowed && !s.is_null())) {
            return Ok(());
        }
        Err(self.segment_fault(segment))
    }

    /// #AC(0) for data of `bytes` bytes, a power of two, that level 3 reaches unaligned while
    /// CR0.AM and EFLAGS.AC are set (section 6.15).
    #[inline(always)]
    pub(in crate::cpu) fn check_alignment(&mut self, linear: u64, bytes: u64) -> Exec {
        if linear & (bytes - 1) == 0 || !self.checks_alignment() {
            return Ok(());
        }
        Err(self.fault_with(AC, 0))
    }

    /// Whether unaligned accesses raise #AC.
    pub(super) fn checks_alignment(&self) -> bool {
        let cpu = &self.cpu;
        cpu.cpl == 3 && cpu.cr0 & cr0::AM != 0 && cpu.flags.has(flags::AC)
    }

    fn segment_fault(&mut self, segment: u8) -> Raised {
        let stack = matches!(segment, STACK | FLAT_STACK);
        let vector = match stack {
            true => self.cpu.stack_fault(),
            false => GP,
        };
        self.fault_with(vector, 0)
    }

    #[cold]
    #[inline(never)]
    fn read_slow<W: Width>(&mut self, linear: u64, user: u8, segment: u8) -> Exec<W> {
        if linear % PAGE_SIZE + W::BYTES <= PAGE_SIZE {
            if let Some(host) = self.cpu.tlb.host_unaligned(Access::Read, user, linear) {
                return Ok(read_host(host));
            }
            let physical = self.translate(Access::Read, user, linear, segment)?;
            self.note_access(Access::Read, linear, W::BYTES);
            return Ok(W::truncate(self.read_physical(physical, W::BYTES)));
        }
        let mut bytes = [0; 8];
        self.read_bytes(linear, user, segment, &mut bytes[..W::BYTES as usize])?;
        Ok(W::from_bytes(bytes))
    }

    /// The linear address of an access within one page that needs no check.
    #[inline(always)]
    fn near_linear(&self, access: Access, segment: u8, offset: u64, bytes: u64) -> Option<u64> {
        let linear = self.quick_linear(access, segment, offset, bytes)?;
        let aligned = linear & (bytes - 1) == 0;
        let allowed = linear % PAGE_SIZE + bytes <= PAGE_SIZE && !self.checks_alignment();
        (aligned || allowed).then_some(linear)
    }

    /// Where a store within one page goes that the fast path refuses only because it is
    /// unaligned or because the page holds code.
    #[inline(always)]
    fn near_place(&self, segment: u8, offset: u64, bytes: u64) -> Option<NearPlace> {
        let linear = self.near_linear(Access::Write, segment, offset, bytes)?;
        self.near_place_at(self.cpu.mode.user, linear, bytes)
    }

    /// [`Core::near_place`] for `bytes` bytes at a linear address, which lie in one page.
    #[inline(always)]
    fn near_place_at(&self, user: u8, linear: u64, bytes: u64) -> Option<NearPlace> {
        let (host, fast) = self.cpu.tlb.known_host(user, linear)?;
        let hits_code = match fast {
            true => false,
            false => {
                let pages = &self.memory.pages;
                pages.hits_code(self.arena_offset(host), bytes)?
            }
        };
        Some(NearPlace {
            host,
            linear,
            hits_code,
        })
    }

    /// The arena offset behind a host address of the TLB.
    fn arena_offset(&self, host: usize) -> ArenaOffset {
        (host - self.memory.arena.host_base() as usize) as ArenaOffset
    }

    /// Stores there. Code that is hit is forgotten before the next instruction.
    #[inline(always)]
    fn write_near<W: Width>(&mut self, place: NearPlace, value: W) {
        if place.hits_code {
            let offset = self.arena_offset(place.host);
            self.memory.pages.written(offset, W::BYTES);
            self.cpu.flow.attend();
        }
        write_host(place.host, value);
    }

    #[cold]
    #[inline(never)]
    fn write_slow<W: Width>(&mut self, linear: u64, user: u8, segment: u8, value: W) -> Exec {
        if linear % PAGE_SIZE + W::BYTES <= PAGE_SIZE {
            if let Some(place) = self.near_place_at(user, linear, W::BYTES) {
                self.write_near(place, value);
                return Ok(());
            }
            let physical = self.translate(Access::Write, user, linear, segment)?;
            self.note_access(Access::Write, linear, W::BYTES);
            self.write_physical(physical, W::BYTES, value.zero_extend());
            return Ok(());
        }
        self.probe_write(linear, W::BYTES, user, segment)?;
        let bytes = value.zero_extend().to_le_bytes();
        self.write_bytes(linear, user, &bytes[..W::BYTES as usize]);
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn open_slow<W: Width>(&mut self, linear: u64, user: u8, segment: u8) -> Exec<(Place, W)> {
        self.probe_write(linear, W::BYTES, user, segment)?;
        let value = self.read_slow(linear, user, segment)?;
        Ok((Place { host: 0, linear }, value))
    }

    #[cold]
    #[inline(never)]
    fn commit_slow<W: Width>(&mut self, linear: u64, value: W) {
        let user = self.cpu.mode.user;
        let bytes = value.zero_extend().to_le_bytes();
        if linear & WRAPPED_BITS == WRAPPED {
            let first = linear & !WRAPPED;
            self.write_bytes(first, user, &bytes[..1]);
            let start = first.wrapping_sub(0xffff) & self.cpu.mode.linear_mask;
            self.write_bytes(start, user, &bytes[1..2]);
            return;
        }
        let within = linear % PAGE_SIZE + W::BYTES <= PAGE_SIZE;
        if within && let Some(place) = self.near_place_at(user, linear, W::BYTES) {
            self.write_near(place, value);
            return;
        }
        if within && let Ok(physical) = self.translate(Access::Write, user, linear, 0) {
            self.note_access(Access::Write, linear, W::BYTES);
            self.write_physical(physical, W::BYTES, value.zero_extend());
        } else {
            self.write_bytes(linear, user, &bytes[..W::BYTES as usize]);
        }
    }

    /// Checks that all of `bytes` bytes (at most a page) at `linear` can be written.
    pub fn probe_write(&mut self, linear: u64, bytes: u64, user: u8, segment: u8) -> Exec {
        self.translate(Access::Write, user, linear, segment)?;
        let last = linear.wrapping_add(bytes - 1) & self.system_mask();
        if (last ^ linear) & !(PAGE_SIZE - 1) != 0 {
            let page = last & !(PAGE_SIZE - 1);
            self.translate(Access::Write, user, page, segment)?;
        }
        Ok(())
    }
}

#[inline(always)]
fn read_host<W: Width>(host: usize) -> W {
    // SAFETY: `host` came from a fast TLB entry. Entries point into the arena, which outlives
    // the `Core` and does not move, and the caller checked that all bytes lie in one page.
    unsafe { (host as *const W).read_unaligned() }
}

#[inline(always)]
fn write_host<W: Width>(host: usize, value: W) {
    // SAFETY: as in `read_host`; only writable pages of the arena have fast write entries, and
    // no Rust reference into the arena exists (it is reached through raw pointers only).
    unsafe { (host as *mut W).write_unaligned(value) }
}
