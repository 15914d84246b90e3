//! Runs of bytes within one page, through host pointers: what repeated string instructions
//! move at once. Whoever asks handles one element himself where there is no such run (page
//! crossings, devices, pages with decoded code, limits that an element would cross).

use super::walk::Access;
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec};
use crate::memory::PAGE_SIZE;

/// A stretch of guest memory that can be reached through a host pointer.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    host: usize,
    /// Its length in bytes; what it is used for stays within.
    len: u64,
}

impl Run {
    /// The length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing to be had at once.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// No run.
const NOTHING: Run = Run { host: 0, len: 0 };

impl Core<'_> {
    /// The longest run from `offset` of a segment up, at most `len` bytes, cut at the end of
    /// the page, at the segment's limit and where the address wraps (`mask`). Empty where
    /// there is no plain memory; faults as an access to its first byte.
    pub fn run_at(
        &mut self,
        access: Access,
        segment: u8,
        offset: u64,
        len: u64,
        mask: u64,
    ) -> Exec<Run> {
        let s = self.cpu.segment(segment);
        let end = match access {
            Access::Write => s.write_end(),
            _ => s.read_end(),
        };
        let linear = s.base.wrapping_add(offset) & self.cpu.mode.linear_mask;
        let len = len
            .min(end.saturating_sub(offset))
            .min((mask - offset).saturating_add(1))
            .min(PAGE_SIZE - linear % PAGE_SIZE);
        if len == 0 || self.checks_alignment() {
            return Ok(NOTHING);
        }
        let user = self.cpu.mode.user;
        if let Some(host) = self.cpu.tlb.host_unaligned(access, user, linear) {
            return Ok(Run { host, len });
        }
        self.translate(access, user, linear, segment)?;
        let host = self.cpu.tlb.host_unaligned(access, user, linear);
        Ok(host.map_or(NOTHING, |host| Run { host, len }))
    }

    /// Copies `count` elements upwards, one after the other as far as anyone can tell: also
    /// where the runs overlap.
    pub fn copy_up<W: Width>(&mut self, from: Run, to: Run, count: u64) {
        let bytes = (count * W::BYTES) as usize;
        assert!(bytes as u64 <= from.len.min(to.len));
        let distance = to.host.wrapping_sub(from.host);
        if distance >= bytes || distance == 0 {
            // SAFETY: both runs lie in the arena (see `Run`), and `bytes` is within both.
            unsafe { std::ptr::copy(from.host as *const u8, to.host as *mut u8, bytes) };
            return;
        }
        for at in (0..bytes).step_by(W::BYTES as usize) {
            // SAFETY: as above.
            unsafe {
                let value = ((from.host + at) as *const W).read_unaligned();
                ((to.host + at) as *mut W).write_unaligned(value);
            }
        }
    }

    /// Stores `value` `count` times upwards.
    pub fn fill_up<W: Width>(&mut self, to: Run, value: W, count: u64) {
        let bytes = (count * W::BYTES) as usize;
        assert!(bytes as u64 <= to.len);
        let wide = value.zero_extend();
        if wide == (wide & 0xff) * ((u64::MAX / 0xff) >> (64 - W::BITS)) {
            // SAFETY: the run lies in the arena (see `Run`), and `bytes` is within it.
            unsafe { std::ptr::write_bytes(to.host as *mut u8, wide as u8, bytes) };
            return;
        }
        for at in (0..bytes).step_by(W::BYTES as usize) {
            // SAFETY: as above.
            unsafe { ((to.host + at) as *mut W).write_unaligned(value) };
        }
    }

    /// Copies bytes out of a run.
    pub fn copy_out(&mut self, from: Run, into: &mut [u8]) {
        assert!(into.len() as u64 <= from.len);
        // SAFETY: the run lies in the arena (see `Run`), which no Rust reference points into.
        unsafe {
            std::ptr::copy_nonoverlapping(from.host as *const u8, into.as_mut_ptr(), into.len());
        }
    }

    /// Copies bytes into a run.
    pub fn copy_in(&mut self, to: Run, from: &[u8]) {
        assert!(from.len() as u64 <= to.len);
        // SAFETY: as in `copy_out`.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to.host as *mut u8, from.len()) };
    }
}
