//! Reading and writing the memory that instructions name.
//!
//! The fast path is a segment bound, one TLB comparison that covers page and alignment, and a
//! host load or store. Everything else (misses, page crossings, memory-mapped devices, pages
//! that hold decoded code) is in the cold functions below. A write that crosses pages checks
//! both before it changes a byte.

use super::walk::Access;
use crate::bus::Size;
use crate::cpu::decode::Op;
use crate::cpu::fault::{AC, GP};
use crate::cpu::flags;
use crate::cpu::mode::cr0;
use crate::cpu::model::SegmentEnd;
use crate::cpu::segment::{FLAT, FLAT_STACK, SS as STACK};
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec, Raised};
use crate::memory::{PAGE_SIZE, PhysAddr};

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
    fn quick_host(&self, access: Access, segment: u8, offset: u64, bytes: u64) -> Option<usize> {
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
    fn system_mask(&self) -> u64 {
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

    /// Loads `N` bytes from `offset` of a segment: the wide operands of SSE and AVX, and state
    /// images. They have no alignment that EFLAGS.AC could check.
    #[inline(always)]
    pub fn load_bytes<const N: usize>(&mut self, segment: u8, offset: u64) -> Exec<[u8; N]> {
        match self.quick_host_bytes::<N>(Access::Read, segment, offset) {
            Some(host) => Ok(read_host_bytes(host)),
            None => self.load_bytes_aligned(segment, offset, 1),
        }
    }

    /// [`Core::quick_host`] of `N` bytes, if they are aligned.
    #[inline(always)]
    fn quick_host_bytes<const N: usize>(
        &self,
        access: Access,
        segment: u8,
        offset: u64,
    ) -> Option<usize> {
        match N.is_power_of_two() {
            true => self.quick_host(access, segment, offset, N as u64),
            false => None,
        }
    }

    /// Loads `N` bytes that lie on a multiple of `alignment`, or raise #AC where that is checked.
    #[cold]
    #[inline(never)]
    pub fn load_bytes_aligned<const N: usize>(
        &mut self,
        segment: u8,
        offset: u64,
        alignment: u64,
    ) -> Exec<[u8; N]> {
        let linear = self.linear(Access::Read, segment, offset, N as u64)?;
        self.check_alignment(linear, alignment)?;
        let user = self.cpu.mode.user;
        if linear % PAGE_SIZE + N as u64 <= PAGE_SIZE
            && let Some(host) = self.cpu.tlb.host_unaligned(Access::Read, user, linear)
        {
            return Ok(read_host_bytes(host));
        }
        let mut bytes = [0; N];
        self.read_bytes(linear, user, segment, &mut bytes)?;
        Ok(bytes)
    }

    /// Stores `N` bytes to `offset` of a segment, all or none; the counterpart of
    /// [`Core::load_bytes`].
    #[inline(always)]
    pub fn store_bytes<const N: usize>(
        &mut self,
        segment: u8,
        offset: u64,
        bytes: [u8; N],
    ) -> Exec {
        match self.quick_host_bytes::<N>(Access::Write, segment, offset) {
            Some(host) => {
                write_host_bytes(host, bytes);
                Ok(())
            }
            None => self.store_bytes_aligned(segment, offset, bytes, 1),
        }
    }

    /// Stores `N` bytes that lie on a multiple of `alignment`, or raise #AC where that is checked.
    #[cold]
    #[inline(never)]
    pub fn store_bytes_aligned<const N: usize>(
        &mut self,
        segment: u8,
        offset: u64,
        bytes: [u8; N],
        alignment: u64,
    ) -> Exec {
        let linear = self.linear(Access::Write, segment, offset, N as u64)?;
        self.check_alignment(linear, alignment)?;
        let user = self.cpu.mode.user;
        if linear % PAGE_SIZE + N as u64 <= PAGE_SIZE
            && let Some(host) = self.cpu.tlb.host_unaligned(Access::Write, user, linear)
        {
            write_host_bytes(host, bytes);
            return Ok(());
        }
        self.probe_write(linear, N as u64, user, segment)?;
        self.write_bytes(linear, user, &bytes);
        Ok(())
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

    /// The host address for a store within one page of memory, also one that holds code, if
    /// the store does not hit it.
    #[inline]
    fn unwatched_host<W: Width>(&self, user: u8, linear: u64) -> Option<usize> {
        if let Some(host) = self.cpu.tlb.host_unaligned(Access::Write, user, linear) {
            return Some(host);
        }
        let host = self.cpu.tlb.known_host(user, linear)?;
        let offset = (host - self.memory.arena.host_base() as usize) as u64;
        let beside = self.memory.pages.is_beside_code(offset, W::BYTES);
        beside.then_some(host)
    }

    #[cold]
    #[inline(never)]
    fn write_slow<W: Width>(&mut self, linear: u64, user: u8, segment: u8, value: W) -> Exec {
        if linear % PAGE_SIZE + W::BYTES <= PAGE_SIZE {
            if let Some(host) = self.unwatched_host::<W>(user, linear) {
                write_host(host, value);
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
        if linear % PAGE_SIZE + W::BYTES <= PAGE_SIZE
            && let Some(host) = self.unwatched_host::<W>(user, linear)
        {
            return Ok((Place { host, linear }, read_host(host)));
        }
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
        if linear % PAGE_SIZE + W::BYTES <= PAGE_SIZE
            && let Ok(physical) = self.translate(Access::Write, user, linear, 0)
        {
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

    /// Reads bytes that may cross a page, page by page.
    pub fn read_bytes(&mut self, linear: u64, user: u8, segment: u8, into: &mut [u8]) -> Exec {
        let mut done = 0;
        while done < into.len() {
            let at = linear.wrapping_add(done as u64) & self.system_mask();
            let run = ((PAGE_SIZE - at % PAGE_SIZE) as usize).min(into.len() - done);
            let physical = self.translate(Access::Read, user, at, segment)?;
            self.note_access(Access::Read, at, run as u64);
            self.read_run(physical, &mut into[done..done + run]);
            done += run;
        }
        Ok(())
    }

    /// Writes bytes that [`Core::probe_write`] let pass.
    pub fn write_bytes(&mut self, linear: u64, user: u8, from: &[u8]) {
        let mut done = 0;
        while done < from.len() {
            let at = linear.wrapping_add(done as u64) & self.system_mask();
            let run = ((PAGE_SIZE - at % PAGE_SIZE) as usize).min(from.len() - done);
            if let Ok(physical) = self.translate(Access::Write, user, at, 0) {
                self.note_access(Access::Write, at, run as u64);
                self.write_run(physical, &from[done..done + run]);
            }
            done += run;
        }
    }

    /// Reads within one page: memory at once, devices a byte at a time.
    fn read_run(&mut self, physical: PhysAddr, into: &mut [u8]) {
        if let Some(offset) = self.memory.map.lookup(physical).and_then(|m| m.read) {
            self.memory.arena.read(offset, into);
            return;
        }
        for (at, byte) in (physical..).zip(into) {
            *byte = self.read_physical(at, 1) as u8;
        }
    }

    fn write_run(&mut self, physical: PhysAddr, from: &[u8]) {
        if let Some(offset) = self.memory.map.lookup(physical).and_then(|m| m.write) {
            self.memory.write_arena(offset, from);
            self.after_watched_write();
            return;
        }
        for (at, byte) in (physical..).zip(from) {
            self.write_physical(at, 1, u64::from(*byte));
        }
    }

    /// Reads 1, 2, 4 or 8 bytes within one page.
    fn read_physical(&mut self, physical: PhysAddr, bytes: u64) -> u64 {
        if let Some(offset) = self.memory.map.lookup(physical).and_then(|m| m.read) {
            let mut buffer = [0; 8];
            self.memory
                .arena
                .read(offset, &mut buffer[..bytes as usize]);
            return u64::from_le_bytes(buffer);
        }
        let now = self.cpu.now();
        let at = self.memory.map.after_a20(physical);
        let size = Size::from_bytes(bytes).unwrap_or(Size::Byte);
        let value = self.bus.read_memory(self.memory, now, at, size);
        self.after_bus_access();
        value
    }

    /// Writes 1, 2, 4 or 8 bytes within one page.
    fn write_physical(&mut self, physical: PhysAddr, bytes: u64, value: u64) {
        if let Some(offset) = self.memory.map.lookup(physical).and_then(|m| m.write) {
            let buffer = value.to_le_bytes();
            self.memory.write_arena(offset, &buffer[..bytes as usize]);
            self.after_watched_write();
            return;
        }
        let now = self.cpu.now();
        let at = self.memory.map.after_a20(physical);
        let size = Size::from_bytes(bytes).unwrap_or(Size::Byte);
        self.bus.write_memory(self.memory, now, at, size, value);
        self.after_bus_access();
    }

    /// The physical page and arena offset behind instruction bytes at `physical`.
    pub(crate) fn code_source(&self, physical: PhysAddr) -> Option<u64> {
        self.memory.map.lookup(physical).and_then(|m| m.read)
    }

    /// Notes that `len` bytes at arena `offset` were decoded; stores there are watched.
    pub(crate) fn watch_code(&mut self, offset: u64, len: u64) {
        if self.memory.pages.mark_code(offset, len) {
            let host = self.memory.arena.host_base() as usize + (offset & !0xfff) as usize;
            self.cpu.tlb.make_writes_slow(host);
        }
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

#[inline(always)]
fn read_host_bytes<const N: usize>(host: usize) -> [u8; N] {
    // SAFETY: as in `read_host`.
    unsafe { (host as *const [u8; N]).read_unaligned() }
}

#[inline(always)]
fn write_host_bytes<const N: usize>(host: usize, bytes: [u8; N]) {
    // SAFETY: as in `write_host`.
    unsafe { (host as *mut [u8; N]).write_unaligned(bytes) }
}
