//! A basic block: instructions that run one after the other.

use std::cell::Cell;
use std::ops::Range;

use super::op::Op;
use crate::memory::{Arena, ArenaOffset, CHUNK, PAGE_SIZE, chunks};

/// A block's place in the [`super::BlockCache`].
pub type BlockId = u32;

/// No block.
pub(super) const NO_BLOCK: BlockId = BlockId::MAX;

/// How many successors a block remembers: a return goes to several places.
const HINTS: usize = 4;

/// Hints of a block that nothing followed yet.
pub(super) fn no_hints() -> [Cell<BlockId>; HINTS] {
    [const { Cell::new(NO_BLOCK) }; HINTS]
}

/// A cache holds tens of thousands, and finds the place of one by a shift.
const _: () = assert!(size_of::<Block>() == 128);

/// A run of decoded instructions that lie behind each other in physical memory.
#[derive(Debug)]
#[repr(align(64))]
pub struct Block {
    /// Its place in the cache.
    pub(super) id: BlockId,
    /// Physical address and code size, or [`super::BlockKey::DEAD`].
    pub(super) key: super::BlockKey,
    /// What the key was before the block died. Until its place is given away it may come
    /// back, with those instructions whose bytes are still the same.
    pub(super) former: super::BlockKey,
    /// Whether the place stands in the list of free ones.
    pub(super) listed: bool,
    /// The instructions.
    pub(super) ops: Vec<Op>,
    /// The bytes that they were decoded from.
    pub(super) code: Vec<u8>,
    /// How many bytes that is.
    pub(super) bytes: u8,
    /// Where the bytes lie in the arena: one stretch, or two if an instruction crosses a page.
    pub(super) sources: [ArenaOffset; 2],
    /// How long the stretches are. 0: nothing is watched.
    pub(super) lengths: [u8; 2],
    /// Of an instruction that crosses the end of a page or of its segment: the physical address
    /// where it goes on.
    pub(super) second_page: Option<u64>,
    /// And how many bytes it has before that.
    pub(super) first_bytes: u8,
    /// How many writes it has taken since it was decoded.
    pub(super) takes: u8,
    /// Blocks that came next. Only hints; the key of the block that they name decides.
    pub(super) successors: [Cell<BlockId>; HINTS],
}

impl Block {
    /// A dead block that was never alive.
    pub(super) fn new(id: BlockId) -> Self {
        Self {
            id,
            key: super::BlockKey::DEAD,
            former: super::BlockKey::DEAD,
            listed: false,
            ops: Vec::new(),
            code: Vec::new(),
            bytes: 0,
            sources: [0; 2],
            lengths: [0; 2],
            second_page: None,
            first_bytes: 0,
            takes: 0,
            successors: no_hints(),
        }
    }

    /// The 64-byte chunks of `page` that the block was decoded from, if it lives.
    pub(super) fn chunks_in(&self, page: u64) -> u64 {
        if self.key == super::BlockKey::DEAD {
            return 0;
        }
        self.watched()
            .filter(|(offset, _)| offset / PAGE_SIZE == page)
            .fold(0, |c, (offset, len)| c | chunks(offset, len))
    }

    /// Whether any of `bytes` of the arena belongs to the block, if it lives.
    pub(super) fn has_any_of(&self, bytes: &Range<ArenaOffset>) -> bool {
        let lives = self.key != super::BlockKey::DEAD;
        let stretches = self.sources.iter().zip(self.lengths);
        lives
            & stretches.fold(false, |has, (&offset, len)| {
                has | (len != 0) & (offset < bytes.end) & (bytes.start < offset + u64::from(len))
            })
    }

    /// Whether the block, if it lives, has bytes in the 64-byte chunks of `bytes`.
    pub(super) fn is_in_chunks_of(&self, bytes: &Range<ArenaOffset>) -> bool {
        self.has_any_of(&(bytes.start & !(CHUNK - 1)..bytes.end.next_multiple_of(CHUNK)))
    }

    /// Takes over what was written to `bytes` of the arena. False, and the block stays as it was,
    /// if that changes more than the immediate operand of one instruction, or if there were so many
    /// writes that it may be data by now.
    pub(super) fn take_write(&mut self, arena: &Arena, bytes: &Range<ArenaOffset>) -> bool {
        if self.second_page.is_some() || self.takes == u8::MAX {
            return false;
        }
        self.takes += 1;
        let start = self.sources[0];
        let [from, to] = [bytes.start, bytes.end].map(|at| {
            let within = at.saturating_sub(start);
            within.min(self.bytes()) as usize
        });
        let mut written = [0; 16];
        let Some(written) = written.get_mut(..to - from) else {
            return false;
        };
        arena.read(start + from as u64, written);
        let before = &self.code[from..to];
        let differs = |(a, b): (&u8, &u8)| a != b;
        let mut pairs = before.iter().zip(&*written);
        let Some(first) = pairs.clone().position(differs) else {
            return true;
        };
        let last = pairs.rposition(differs).unwrap_or(first);
        let changed = from + first..from + last + 1;
        let holds = |op: &&mut Op| {
            let next = usize::from(op.next);
            next - op.immediate_len() <= changed.start && changed.end <= next
        };
        let Some(op) = self.ops.iter_mut().find(holds) else {
            return false;
        };
        self.code[from..to].copy_from_slice(written);
        op.take_immediate(&self.code[op.start() as usize..op.next.into()]);
        true
    }

    /// The pages of the arena that the block was decoded from.
    pub(super) fn pages(&self) -> impl Iterator<Item = u64> + use<> {
        self.watched().map(|(offset, _)| offset / PAGE_SIZE)
    }

    /// The stretches of the arena that the block was decoded from, with their lengths.
    pub(super) fn watched(&self) -> impl Iterator<Item = (ArenaOffset, u64)> + use<> {
        let lengths = self.lengths.map(u64::from);
        let stretches = self.sources.into_iter().zip(lengths);
        stretches.filter(|&(_, len)| len != 0)
    }

    /// Where the block with `key` is remembered as coming next, if all places are taken.
    pub(super) fn hint(&self, key: super::BlockKey) -> &Cell<BlockId> {
        &self.successors[key.hash() % HINTS]
    }

    /// The instructions; never empty while the block lives.
    #[inline(always)]
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// The length in bytes.
    #[inline(always)]
    pub fn bytes(&self) -> u64 {
        self.bytes.into()
    }
}
