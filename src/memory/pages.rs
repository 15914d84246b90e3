//! The state of each page of the arena: holds decoded code, was written.
//!
//! One mechanism serves all reasons to look at a store: the CPU's fast path writes a page only
//! through a TLB entry, and an entry becomes fast only when [`Pages::begin_fast_writes`] says
//! that nobody watches the page. Code is tracked in chunks of 64 bytes, since boot code keeps
//! data and stacks beside its instructions.

use std::ops::Range;

use super::map::PAGE_SIZE;

/// An offset into the arena, in bytes.
pub type ArenaOffset = u64;

const CODE: u8 = 1 << 0;
const WRITTEN: u8 = 1 << 1;

/// The bytes of code that are watched together.
pub const CHUNK: u64 = 64;

/// A write that replaced bytes of decoded code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeWrite {
    /// What was written, all in one page: from the first to the last byte of the write, or of
    /// several that came behind each other.
    pub bytes: Range<ArenaOffset>,
}

/// The state bits of every page.
#[derive(Debug)]
pub struct Pages {
    state: Vec<u8>,
    code: Vec<u64>,
    code_writes: Vec<CodeWrite>,
}

impl Pages {
    pub(super) fn new(bytes: u64) -> Self {
        let pages = (bytes / PAGE_SIZE) as usize;
        Self {
            state: vec![0; pages],
            code: vec![0; pages],
            code_writes: Vec::new(),
        }
    }

    /// Notes that `len` bytes at `offset`, within one page, were decoded. True if the page
    /// held no code before: fast write entries for it must go.
    pub fn mark_code(&mut self, offset: ArenaOffset, len: u64) -> bool {
        let page = (offset / PAGE_SIZE) as usize;
        self.code[page] |= chunks(offset, len);
        let fresh = self.state[page] & CODE == 0;
        self.state[page] |= CODE;
        fresh
    }

    /// Says which 64-byte chunks of `page` still hold decoded code. A page without any stays
    /// watched until a store comes: code that is overwritten is often decoded anew.
    pub fn set_code(&mut self, page: u64, chunks: u64) {
        self.code[page as usize] = chunks;
    }

    /// Asks to write the page that holds `offset` unseen from now on: true if nobody watches
    /// it. The page counts as written either way.
    pub fn begin_fast_writes(&mut self, offset: ArenaOffset) -> bool {
        let page = (offset / PAGE_SIZE) as usize;
        let state = &mut self.state[page];
        *state |= WRITTEN;
        if self.code[page] == 0 {
            *state &= !CODE;
        }
        *state & CODE == 0
    }

    /// Whether a store of `len` bytes at `offset`, within a page that counts as written, may hit
    /// decoded code; `None` if the page has no code any more.
    #[inline]
    pub fn hits_code(&self, offset: ArenaOffset, len: u64) -> Option<bool> {
        let code = *self.code.get((offset / PAGE_SIZE) as usize)?;
        (code != 0).then(|| code & chunks(offset, len) != 0)
    }

    /// Notes a store of `len` bytes at `offset` that did not take the fast path.
    pub fn written(&mut self, offset: ArenaOffset, len: u64) {
        let mut at = offset;
        let end = offset + len;
        while at < end {
            let run = (PAGE_SIZE - at % PAGE_SIZE).min(end - at);
            let page = at / PAGE_SIZE;
            let Some(state) = self.state.get_mut(page as usize) else {
                return;
            };
            *state |= WRITTEN;
            if *state & CODE != 0 {
                let hit = chunks(at, run) & self.code[page as usize];
                match self.code_writes.last_mut() {
                    _ if hit == 0 => {}
                    Some(CodeWrite { bytes }) if bytes.start / PAGE_SIZE == page => {
                        *bytes = bytes.start.min(at)..bytes.end.max(at + run);
                    }
                    _ => self.code_writes.push(CodeWrite {
                        bytes: at..at + run,
                    }),
                }
            }
            at += run;
        }
    }

    /// Whether decoded code was replaced since [`Pages::take_code_write`].
    pub fn has_code_writes(&self) -> bool {
        !self.code_writes.is_empty()
    }

    /// Writes into the decoded code of a page, as long as there are any since the last calls.
    pub fn take_code_write(&mut self) -> Option<CodeWrite> {
        self.code_writes.pop()
    }

    /// The offsets of all pages that were ever written; every other page is zero.
    pub fn written_pages(&self) -> impl Iterator<Item = ArenaOffset> + '_ {
        let bits = self.state.iter().enumerate();
        bits.filter(|(_, state)| **state & WRITTEN != 0)
            .map(|(page, _)| page as u64 * PAGE_SIZE)
    }
}

/// The 64-byte chunks that `len` bytes at `offset` touch, within their page, one bit each.
pub fn chunks(offset: ArenaOffset, len: u64) -> u64 {
    let first = offset % PAGE_SIZE / CHUNK;
    let last = (offset % PAGE_SIZE + len.max(1) - 1).min(PAGE_SIZE - 1) / CHUNK;
    (u64::MAX << first) & (u64::MAX >> (63 - last))
}
