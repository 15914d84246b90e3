//! Operands of any number of bytes: the wide ones of SSE and AVX, state images, and whatever else
//! is no integer.
//!
//! An aligned one takes the fast path of [`access`](super::access). Elsewhere it is read and
//! written page by page, where a write that crosses pages is checked in both before it changes a
//! byte. Not here: whole runs of elements, which are [`bulk`](super::bulk).

use super::walk::Access;
use crate::cpu::{Core, Exec};
use crate::memory::PAGE_SIZE;

impl Core<'_> {
    /// Loads `N` bytes from `offset` of a segment: the wide operands of SSE and AVX, and state
    /// images. They have no alignment that EFLAGS.AC could check.
    #[inline(always)]
    pub fn load_bytes<const N: usize>(&mut self, segment: u8, offset: u64) -> Exec<[u8; N]> {
        match self.load_bytes_quickly(segment, offset) {
            Some(bytes) => Ok(bytes),
            None => self.load_bytes_aligned(segment, offset, 1),
        }
    }

    /// [`Core::load_bytes`] if that takes neither a check nor a walk nor a device.
    #[inline(always)]
    pub fn load_bytes_quickly<const N: usize>(&self, segment: u8, offset: u64) -> Option<[u8; N]> {
        let host = self.quick_host_bytes::<N>(Access::Read, segment, offset)?;
        Some(read_host_bytes(host))
    }

    /// [`Core::quick_host`] of `N` bytes, if they are aligned: SSE's check of alignment relies on it.
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
        match self.store_bytes_quickly(segment, offset, bytes) {
            true => Ok(()),
            false => self.store_bytes_aligned(segment, offset, bytes, 1),
        }
    }

    /// [`Core::store_bytes`] if that takes no more than a host store; false if it does.
    #[inline(always)]
    pub fn store_bytes_quickly<const N: usize>(
        &mut self,
        segment: u8,
        offset: u64,
        bytes: [u8; N],
    ) -> bool {
        let host = self.quick_host_bytes::<N>(Access::Write, segment, offset);
        host.is_some_and(|host| {
            write_host_bytes(host, bytes);
            true
        })
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

    /// Writes bytes at a linear address with the rights of `user`, if they lie in one page and that
    /// takes no more than a host store; false if not.
    pub fn write_quickly(&mut self, user: u8, linear: u64, from: &[u8]) -> bool {
        if linear % PAGE_SIZE + from.len() as u64 > PAGE_SIZE {
            return false;
        }
        let host = self.cpu.tlb.host_unaligned(Access::Write, user, linear);
        host.is_some_and(|host| {
            // SAFETY: as in `write_host`; all of `from` goes to the page of the entry.
            unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), host as *mut u8, from.len()) };
            true
        })
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
