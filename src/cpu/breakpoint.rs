//! Breakpoints of the debug registers: on instructions, data and ports, and what waits for the
//! #DB that reports it (Intel SDM volume 3, chapter 17).
//!
//! A page with a data breakpoint has no fast TLB entry, so that only the slow paths look at
//! [`Breakpoints::data`]. A page with an instruction breakpoint is not opened as the fetch
//! window, so that every block in it passes the run loop, which runs no further than the
//! breakpoint. Without breakpoints neither costs anything.
//!
//! Traps are noted while the instruction runs and reported at the next instruction boundary;
//! a breakpoint on an instruction is a fault, reported before it runs.

use serde::{Deserialize, Serialize};

use super::flags;
use super::mmu::Access;
use super::mode::cr4;
use super::{Core, Cpu};
use crate::bus::Size;
use crate::memory::PAGE_SIZE;

/// Bits of DR6.
pub mod dr6 {
    /// A debug register was accessed under general detect.
    pub const BD: u32 = 1 << 13;
    /// Single step.
    pub const BS: u32 = 1 << 14;
    /// Switch to a task whose TSS has its debug trap flag set.
    pub const BT: u32 = 1 << 15;
}

/// Bits of DR7.
pub mod dr7 {
    /// MOV DR raises #DB.
    pub const GD: u64 = 1 << 13;
    /// L0 to L3, which last until the task is switched.
    pub const LOCAL: u64 = 0x55;
}

/// What DR7 enables, and what has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breakpoints {
    /// A bit for each of DR0 to DR3 that is an instruction breakpoint.
    code: u8,
    /// For each that is a data breakpoint.
    data: u8,
    /// For each that is a port breakpoint.
    ports: u8,
    /// What the next #DB reports in DR6.
    waiting: u32,
}

impl Breakpoints {
    /// Whether there are breakpoints on ports.
    pub(super) fn on_ports(&self) -> bool {
        self.ports != 0
    }

    /// Whether there are breakpoints on instructions.
    pub(super) fn on_instructions(&self) -> bool {
        self.code != 0
    }

    /// Has the next #DB report `bits` of DR6.
    pub(super) fn note(&mut self, bits: u32) {
        self.waiting |= bits;
    }

    /// What is to be reported, which is then nothing any more.
    pub(super) fn take(&mut self) -> u32 {
        std::mem::take(&mut self.waiting)
    }
}

/// The numbers in a mask of DR0 to DR3.
fn numbers(mask: u8) -> impl Iterator<Item = usize> {
    (0..4).filter(move |n| mask >> n & 1 != 0)
}

impl Cpu {
    /// Takes over DR0 to DR3, DR7 and CR4.DE after one of them changed.
    pub(super) fn arm_breakpoints(&mut self) {
        let control = self.dr[7];
        let debugging_extensions = self.cr4 & cr4::DE != 0;
        let waiting = self.breakpoints.waiting;
        let mut armed = Breakpoints {
            waiting,
            ..Breakpoints::default()
        };
        for n in 0..4 {
            if control >> (2 * n) & 3 == 0 {
                continue;
            }
            match control >> (16 + 4 * n) & 3 {
                0 => armed.code |= 1 << n,
                2 if debugging_extensions => armed.ports |= 1 << n,
                2 => {}
                _ => armed.data |= 1 << n,
            }
        }
        if armed.data | self.breakpoints.data != 0 {
            self.tlb.make_slow();
        }
        if armed.code | self.breakpoints.code != 0 {
            self.flow.forget_fetch_page();
        }
        self.breakpoints = armed;
    }

    /// Whether a data breakpoint lies in the page of `linear`.
    pub(super) fn watches_page(&self, linear: u64) -> bool {
        let near = |n: usize| (self.dr[n] ^ linear) & !(PAGE_SIZE - 1) == 0;
        self.breakpoints.data != 0 && numbers(self.breakpoints.data).any(near)
    }

    /// Whether a breakpoint is on an instruction in the page of `linear`.
    pub(super) fn breaks_in_page(&self, linear: u64) -> bool {
        let near = |n: usize| (self.dr[n] ^ linear) & !(PAGE_SIZE - 1) == 0;
        self.breakpoints.code != 0 && numbers(self.breakpoints.code).any(near)
    }

    /// The first byte and the length that a data or port breakpoint covers.
    fn covered(&self, n: usize) -> (u64, u64) {
        let len = match self.dr[7] >> (18 + 4 * n) & 3 {
            0 => 1,
            1 => 2,
            2 => 8,
            _ => 4,
        };
        (self.dr[n] & !(len - 1), len)
    }

    /// Which of the breakpoints `mask` are hit by `bytes` bytes at `at`.
    fn hits(&self, mask: u8, at: u64, bytes: u64) -> u32 {
        let hit = |&n: &usize| {
            let (first, len) = self.covered(n);
            first.wrapping_sub(at) < bytes || at.wrapping_sub(first) < len
        };
        numbers(mask).filter(hit).fold(0, |bits, n| bits | 1 << n)
    }

    /// The breakpoints on the instruction at `linear`, as bits of DR6.
    pub(super) fn breakpoints_at(&self, linear: u64) -> u32 {
        let here = |&n: &usize| self.dr[n] == linear;
        let hit = numbers(self.breakpoints.code).filter(here);
        hit.fold(0, |bits, n| bits | 1 << n)
    }

    /// How many bytes behind `linear` the next breakpoint on an instruction lies.
    pub(super) fn next_breakpoint(&self, linear: u64) -> u64 {
        let distance = |n: usize| self.dr[n].wrapping_sub(linear);
        let behind = numbers(self.breakpoints.code).map(distance);
        behind.filter(|&d| d != 0).min().unwrap_or(u64::MAX)
    }
}

impl Core<'_> {
    /// Notes an access to data, if a breakpoint is there.
    #[inline]
    pub(super) fn note_access(&mut self, access: Access, linear: u64, bytes: u64) {
        if self.cpu.breakpoints.data != 0 {
            self.note_watched_access(access, linear, bytes);
        }
    }

    #[cold]
    fn note_watched_access(&mut self, access: Access, linear: u64, bytes: u64) {
        const ON_WRITES: u64 = 1;
        let control = self.cpu.dr[7];
        let only_writes = |n: &usize| control >> (16 + 4 * n) & 3 == ON_WRITES;
        let mask = numbers(self.cpu.breakpoints.data)
            .filter(|n| access == Access::Write || !only_writes(n))
            .fold(0, |mask, n| mask | 1 << n);
        let hits = self.cpu.hits(mask, linear, bytes);
        self.report_later(hits);
    }

    /// Notes an access to ports, if a breakpoint is there.
    pub(super) fn note_port(&mut self, port: u16, size: Size) {
        if self.cpu.breakpoints.on_ports() {
            let mask = self.cpu.breakpoints.ports;
            let hits = self.cpu.hits(mask, port.into(), size.bytes());
            self.report_later(hits);
        }
    }

    /// Enters into DR6 the traps of the last instruction and the breakpoints on the next one;
    /// whether there are any.
    pub(super) fn debug_exception_is_due(&mut self) -> bool {
        let mut bits = self.cpu.breakpoints.take();
        if self.cpu.breakpoints.on_instructions() && !self.cpu.flags.has(flags::RF) {
            bits |= self.cpu.breakpoints_at(self.fetch_address());
        }
        self.cpu.dr[6] |= u64::from(bits);
        bits != 0
    }

    /// Has the next instruction boundary report `bits` of DR6.
    pub(super) fn report_later(&mut self, bits: u32) {
        if bits != 0 {
            self.cpu.breakpoints.note(bits);
            self.cpu.flow.attend();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breakpoint_covers_its_aligned_bytes_and_no_others() {
        let mut cpu = Cpu::at_reset();
        cpu.dr[1] = 0x1006;
        // Enabled by G1, on writes, four bytes.
        cpu.dr[7] = 0x400 | 1 << 3 | 0b1101 << 20;
        cpu.arm_breakpoints();
        let hits = |at, bytes| cpu.hits(cpu.breakpoints.data, at, bytes);
        assert_eq!(hits(0x1003, 1), 0);
        assert_eq!(hits(0x1003, 2), 2);
        assert_eq!(hits(0x1007, 8), 2);
        assert_eq!(hits(0x1008, 8), 0);
        assert!(cpu.watches_page(0x1fff) && !cpu.watches_page(0x2000));
    }

    #[test]
    fn a_port_breakpoint_needs_debugging_extensions() {
        let mut cpu = Cpu::at_reset();
        cpu.dr[0] = 0x80;
        cpu.dr[7] = 0x402 | 0b10 << 16;
        cpu.arm_breakpoints();
        assert_eq!(cpu.breakpoints, Breakpoints::default());
        cpu.cr4 |= cr4::DE;
        cpu.arm_breakpoints();
        assert!(cpu.breakpoints.on_ports());
    }
}
