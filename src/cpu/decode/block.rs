//! A basic block: instructions that run one after the other.

use std::cell::Cell;

use super::op::Op;
use crate::memory::ArenaOffset;

/// A block's place in the [`super::BlockCache`].
pub type BlockId = u32;

/// No block.
pub(super) const NO_BLOCK: BlockId = BlockId::MAX;

/// A run of decoded instructions that lie behind each other in physical memory.
#[derive(Debug)]
#[repr(align(64))]
pub struct Block {
    /// Physical address and code size, or [`super::BlockKey::DEAD`].
    pub(super) key: super::BlockKey,
    /// The instructions.
    pub(super) ops: Vec<Op>,
    /// Their length.
    pub(super) bytes: u64,
    /// Where the bytes lie in the arena: one stretch, or two if an instruction crosses a
    /// page. Length 0: nothing is watched.
    pub(super) sources: [(ArenaOffset, u64); 2],
    /// Of a page-crossing instruction the physical address of its second page.
    pub(super) second_page: Option<u64>,
    /// The blocks that came next: after falling through, and after a branch. Only hints; the
    /// key of the block that they name decides.
    pub(super) successors: [Cell<BlockId>; 2],
}

impl Block {
    /// The instructions; never empty while the block lives.
    #[inline(always)]
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// The length in bytes.
    #[inline(always)]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The key of the block behind this one.
    pub(super) fn next_key(&self) -> super::BlockKey {
        self.key.plus(self.bytes)
    }
}
