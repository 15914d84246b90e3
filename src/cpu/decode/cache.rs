//! The block cache: finds decoded blocks, decodes new ones, forgets overwritten ones.
//!
//! Blocks lie in an arena beside the [`Core`]. They are found by physical address and code
//! size: through the hint that the last block left, else through a hash table. A write into
//! decoded bytes kills the blocks it hits; they are dropped between two blocks, never under
//! the feet of one that runs.

use std::cell::Cell;
use std::collections::HashMap;

use iced_x86::{Decoder, DecoderError, DecoderOptions, Instruction};

use serde::{Deserialize, Serialize};

use super::block::{Block, BlockId, NO_BLOCK};
use super::lower::{ends_block, lower};
use super::op::Op;
use crate::cpu::mmu::Access;
use crate::cpu::mode::{CodeSize, DataSegments, Mode};
use crate::cpu::segment::CS;
use crate::cpu::{Core, Exec};
use crate::memory::{CodeWrite, PAGE_SIZE, PhysAddr};

/// What identifies a block: the physical address of its first byte, the code size, and whether
/// data segments are flat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlockKey(u64);

impl BlockKey {
    /// The key of no block.
    pub(crate) const DEAD: Self = Self(u64::MAX);

    /// The key of code at `physical` in the mode that the CPU is in.
    #[inline(always)]
    pub fn new(physical: PhysAddr, mode: &Mode) -> Self {
        Self(physical | (mode.code as u64) << 60 | (mode.data as u64) << 62)
    }

    /// The key of code `offset` bytes on, in the same page.
    #[inline(always)]
    pub fn plus(self, offset: u64) -> Self {
        Self(self.0.wrapping_add(offset))
    }

    /// The physical address of the first byte.
    pub(super) fn physical(self) -> PhysAddr {
        self.0 & ((1 << 60) - 1)
    }

    fn slot(self) -> usize {
        (self.0 ^ (self.0 >> 14)) as usize % SLOTS
    }
}

/// Instructions in a block; also its length in bytes has to fit 8 bits.
const MAX_OPS: usize = 48;
const MAX_BYTES: u64 = 240;
/// The longest instruction.
const MAX_INSTRUCTION: usize = 15;
/// Blocks before all are dropped.
const MAX_BLOCKS: usize = 1 << 16;
const SLOTS: usize = 1 << 16;

/// All decoded code of one CPU. Not state: it can be dropped at any block boundary.
#[derive(Debug)]
pub struct BlockCache {
    blocks: Vec<Block>,
    free: Vec<BlockId>,
    table: Vec<BlockId>,
    pages: HashMap<u64, Vec<BlockId>>,
}

impl Default for BlockCache {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            free: Vec::new(),
            table: vec![NO_BLOCK; SLOTS],
            pages: HashMap::new(),
        }
    }
}

impl BlockCache {
    /// A block that [`BlockCache::find`] gave.
    #[inline(always)]
    pub fn get(&self, id: BlockId) -> &Block {
        &self.blocks[id as usize]
    }

    /// The block with `key` that followed `last` before, after it ended the same way (`taken`:
    /// by a branch).
    #[inline(always)]
    pub fn successor(&self, last: &Block, taken: bool, key: BlockKey) -> Option<BlockId> {
        let id = last.successors[usize::from(taken)].get();
        let next = self.blocks.get(id as usize)?;
        (next.key == key).then_some(id)
    }

    /// Leaves the hint that [`BlockCache::successor`] follows: `next`, with `key`, came after
    /// `last`. Page-crossing blocks are always looked up.
    pub fn link(&self, last: BlockId, key: BlockKey, next: BlockId) {
        if self.get(next).second_page.is_some() {
            return;
        }
        if let Some(block) = self.blocks.get(last as usize) {
            let falls_through = block.next_key() == key;
            block.successors[usize::from(!falls_through)].set(next);
        }
    }

    /// The block with `key`, whose address the CPU has translated from its instruction pointer;
    /// decoded if need be. Faults if the first instruction reaches into
    /// a page that cannot be fetched.
    pub fn find(&mut self, core: &mut Core<'_>, key: BlockKey) -> Exec<BlockId> {
        let id = self.table[key.slot()];
        if let Some(block) = self.blocks.get(id as usize)
            && block.key == key
        {
            let Some(second) = block.second_page else {
                return Ok(id);
            };
            if second_page(core)? == second {
                return Ok(id);
            }
            self.kill(id);
        }
        self.decode(core, key)
    }

    /// Drops the blocks that the writes hit.
    pub fn forget_written(&mut self, core: &mut Core<'_>) {
        for CodeWrite { page, chunks } in core.memory.pages.take_code_writes() {
            let Some(ids) = self.pages.remove(&page) else {
                continue;
            };
            let (hit, kept): (Vec<_>, Vec<_>) = ids
                .into_iter()
                .filter(|&id| self.chunks_in(id, page) != 0)
                .partition(|&id| self.chunks_in(id, page) & chunks != 0);
            hit.into_iter().for_each(|id| self.kill(id));
            let left = kept.iter().fold(0, |c, &id| c | self.chunks_in(id, page));
            core.memory.pages.set_code(page, left);
            if left != 0 {
                self.pages.insert(page, kept);
            }
        }
    }

    /// Drops everything.
    pub fn clear(&mut self, core: &mut Core<'_>) {
        for page in self.pages.drain() {
            core.memory.pages.set_code(page.0, 0);
        }
        self.blocks.clear();
        self.free.clear();
        self.table.fill(NO_BLOCK);
        core.memory.pages.take_code_writes();
    }

    /// The chunks of `page` that a live block was decoded from.
    fn chunks_in(&self, id: BlockId, page: u64) -> u64 {
        let block = &self.blocks[id as usize];
        if block.key == BlockKey::DEAD {
            return 0;
        }
        let sources = block.sources.iter();
        sources
            .filter(|(offset, len)| *len != 0 && offset / PAGE_SIZE == page)
            .fold(0, |c, &(offset, len)| {
                c | crate::memory::chunks(offset, len)
            })
    }

    fn kill(&mut self, id: BlockId) {
        let block = &mut self.blocks[id as usize];
        if block.key != BlockKey::DEAD {
            block.key = BlockKey::DEAD;
            block.ops = Vec::new();
            self.free.push(id);
        }
    }

    fn decode(&mut self, core: &mut Core<'_>, key: BlockKey) -> Exec<BlockId> {
        if self.blocks.len() - self.free.len() >= MAX_BLOCKS {
            self.clear(core);
        }
        let block = read_block(core, key)?;
        for (offset, len) in block.sources.into_iter().filter(|(_, len)| *len != 0) {
            core.watch_code(offset, len);
        }
        let id = match self.free.pop() {
            Some(id) => {
                self.blocks[id as usize] = block;
                id
            }
            None => {
                self.blocks.push(block);
                (self.blocks.len() - 1) as BlockId
            }
        };
        for (offset, len) in self.blocks[id as usize].sources {
            if len != 0 {
                self.pages.entry(offset / PAGE_SIZE).or_default().push(id);
            }
        }
        self.table[key.slot()] = id;
        Ok(id)
    }
}

/// The physical address of the page behind the one that the instruction pointer is in.
fn second_page(core: &mut Core<'_>) -> Exec<PhysAddr> {
    let cpu = &core.cpu;
    let linear = cpu.segment(CS).base.wrapping_add(cpu.rip) & cpu.mode.linear_mask;
    let next = ((linear & !(PAGE_SIZE - 1)) + PAGE_SIZE) & cpu.mode.linear_mask;
    let user = cpu.mode.user;
    core.translate(Access::Fetch, user, next, CS)
}

/// Decodes the block that `key` names.
fn read_block(core: &mut Core<'_>, key: BlockKey) -> Exec<Block> {
    let physical = key.physical();
    let in_page = PAGE_SIZE - physical % PAGE_SIZE;
    let mut bytes = vec![0; in_page.min(MAX_BYTES + MAX_INSTRUCTION as u64) as usize];
    read_code(core, physical, &mut bytes);
    let (code, data) = (core.cpu.mode.code, core.cpu.mode.data);
    let mut ops = decode_run(&bytes, code, data);
    let mut sources = [(0, 0); 2];
    let mut second = None;
    let mut watch = |core: &Core<'_>, n: usize, at: PhysAddr, len: u64| {
        if let Some(offset) = core.code_source(at) {
            sources[n] = (offset, len);
        }
    };
    if ops.is_empty() {
        let page = second_page(core)?;
        let kept = bytes.len();
        bytes.resize(kept + MAX_INSTRUCTION, 0);
        read_code(core, page, &mut bytes[kept..]);
        ops.push(decode_one(&bytes, code, data));
        let len = u64::from(ops[0].next);
        watch(core, 0, physical, in_page.min(len));
        watch(core, 1, page, len.saturating_sub(in_page));
        second = Some(page);
    } else {
        let len = ops.last().map_or(0, |op| u64::from(op.next));
        watch(core, 0, physical, len);
    }
    Ok(Block {
        key,
        bytes: ops.last().map_or(0, |op| u64::from(op.next)),
        ops,
        sources,
        second_page: second,
        successors: [Cell::new(NO_BLOCK), Cell::new(NO_BLOCK)],
    })
}

/// Instruction bytes: plain memory, or ones where a device or nothing is.
fn read_code(core: &Core<'_>, physical: PhysAddr, into: &mut [u8]) {
    match core.code_source(physical) {
        Some(offset) => core.memory.arena.read(offset, into),
        None => into.fill(0xff),
    }
}

/// One vendor, AMD; and no LZCNT and TZCNT, which CPUID does not claim: their bytes are BSR and
/// BSF with a prefix that means nothing.
const DECODER_OPTIONS: u32 =
    DecoderOptions::AMD | DecoderOptions::NO_MPFX_0FBC | DecoderOptions::NO_MPFX_0FBD;

fn decoder(bytes: &[u8], code: CodeSize) -> Decoder<'_> {
    Decoder::with_ip(code.bits(), bytes, 0, DECODER_OPTIONS)
}

/// The instructions from the start of `bytes` up to the end of the block; none if the first
/// one needs more bytes than there are.
fn decode_run(bytes: &[u8], code: CodeSize, data: DataSegments) -> Vec<Op> {
    let mut decoder = decoder(bytes, code);
    let mut instruction = Instruction::default();
    let mut ops = Vec::new();
    while ops.len() < MAX_OPS && decoder.ip() < MAX_BYTES && decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        if decoder.last_error() == DecoderError::NoMoreBytes {
            break;
        }
        ops.push(lower(&instruction, bytes, code, data));
        if ends_block(&instruction) {
            break;
        }
    }
    ops.shrink_to_fit();
    ops
}

/// The first instruction of `bytes`, which hold enough of them for any.
fn decode_one(bytes: &[u8], code: CodeSize, data: DataSegments) -> Op {
    lower(&decoder(bytes, code).decode(), bytes, code, data)
}
