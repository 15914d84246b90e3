//! The block cache: finds decoded blocks, decodes new ones, forgets overwritten ones.
//!
//! Blocks lie in an arena beside the [`Core`]. They are found by physical address and code
//! size: through the hint that the last block left, else through a hash table. A write into
//! decoded bytes reaches the blocks it hits between two blocks, never under the feet of one that
//! runs. Where it changes an immediate operand, as code that patches itself mostly does, the block
//! takes that; else it dies. A dead block comes back in its old place, and takes over the
//! instructions whose bytes did not change.

use std::cell::Cell;
use std::ops::Range;

use iced_x86::Instruction;

use serde::{Deserialize, Serialize};

use super::block::{Block, BlockId, NO_BLOCK, no_hints};
use super::lower::lower;
use super::op::Op;
use super::pages::PageLists;
use super::reader::{MAX_INSTRUCTION, Reader};
use crate::cpu::exec;
use crate::cpu::fault::GP;
use crate::cpu::mmu::Access;
use crate::cpu::mode::Mode;
use crate::cpu::segment::CS;
use crate::cpu::{Core, Cpu, Exec};
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

    /// The key of the block if its first instruction crosses the end of the page or segment.
    /// Nobody looks for it but [`BlockCache::find`], which looks where the instruction goes on.
    fn crossing(self) -> Self {
        Self(self.0 | 1 << 63)
    }

    /// The physical address of the first byte.
    pub(super) fn physical(self) -> PhysAddr {
        self.0 & ((1 << 60) - 1)
    }

    /// Few bits that differ between blocks near each other.
    #[inline(always)]
    pub(super) fn hash(self) -> usize {
        (self.0 ^ (self.0 >> 3)) as usize
    }

    fn slot(self) -> usize {
        (self.0 ^ (self.0 >> 14)) as usize % SLOTS
    }
}

/// Instructions in a block; also its length in bytes has to fit 8 bits.
const MAX_OPS: usize = 48;
const MAX_BYTES: usize = 240;
/// Conditional branches in a block.
const MAX_BRANCHES: usize = 3;
/// No block is longer.
pub(in crate::cpu) const MAX_BLOCK_BYTES: u64 = WINDOW as u64;
/// Enough bytes for a block.
const WINDOW: usize = MAX_BYTES + MAX_INSTRUCTION;
/// Blocks before all are dropped.
const MAX_BLOCKS: usize = 1 << 16;
const SLOTS: usize = 1 << 16;

/// All decoded code of one CPU. Not state: it can be dropped at any block boundary.
#[derive(Debug)]
pub struct BlockCache {
    blocks: Vec<Block>,
    free: Vec<BlockId>,
    table: Vec<BlockId>,
    /// Where the living ones are found by what they were decoded from.
    pages: PageLists,
}

impl Default for BlockCache {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            free: Vec::new(),
            table: vec![NO_BLOCK; SLOTS],
            pages: PageLists::default(),
        }
    }
}

impl BlockCache {
    /// A block that [`BlockCache::find`] gave.
    #[inline(always)]
    pub fn get(&self, id: BlockId) -> &Block {
        &self.blocks[id as usize]
    }

    /// The block with `key`, which comes after `last`, if it is here: one of those that came
    /// before, else by the table. The host guesses which of them it is, and goes on with it before
    /// `key` is known.
    #[inline(always)]
    pub fn successor(&self, last: &Block, key: BlockKey) -> Option<&Block> {
        for hint in &last.successors {
            if let Some(next) = self.blocks.get(hint.get() as usize)
                && next.key == key
            {
                return Some(next);
            }
        }
        self.new_successor(last, key)
    }

    /// As [`BlockCache::successor`] by the table alone.
    #[inline(never)]
    fn new_successor(&self, last: &Block, key: BlockKey) -> Option<&Block> {
        let next = self.blocks.get(self.table[key.slot()] as usize)?;
        if next.key != key {
            return None;
        }
        let is_unused = |hint: &&Cell<BlockId>| {
            let block = self.blocks.get(hint.get() as usize);
            block.is_none_or(|block| block.key == BlockKey::DEAD)
        };
        let unused = last.successors.iter().find(is_unused);
        unused.unwrap_or(last.hint(key)).set(next.id);
        Some(next)
    }

    /// The block with `key`, whose address the CPU has translated from its instruction pointer;
    /// decoded if need be. Faults if the first instruction reaches into
    /// a page that cannot be fetched.
    pub fn find(&mut self, core: &mut Core<'_>, key: BlockKey) -> Exec<BlockId> {
        let id = self.table[key.slot()];
        if let Some(block) = self.blocks.get(id as usize)
            && (block.key == key || block.key == key.crossing())
        {
            let here = bytes_here(core.cpu, key);
            let is_right = match block.second_page {
                None => block.bytes() <= here,
                Some(second) => {
                    u64::from(block.first_bytes) == here && goes_on_at(core, here)? == second
                }
            };
            if is_right {
                return Ok(id);
            }
            self.drop_block(id);
        }
        self.decode(core, key)
    }

    /// Drops the blocks whose bytes were written, but for those that [take](Block::take_write) it.
    pub fn forget_written(&mut self, core: &mut Core<'_>) {
        while let Some(CodeWrite { bytes }) = core.memory.pages.take_code_write() {
            let page = bytes.start / PAGE_SIZE;
            let Some(ids) = self.pages.of(page) else {
                core.memory.pages.set_code(page, 0);
                continue;
            };
            let (mut is_code, mut died) = (false, false);
            let mut elsewhere = Vec::new();
            for &id in ids.iter() {
                let block = &mut self.blocks[id as usize];
                is_code |= block.is_in_chunks_of(&bytes);
                if block.has_any_of(&bytes) && !block.take_write(&core.memory.arena, &bytes) {
                    elsewhere.extend(block.pages().filter(|p| *p != page).map(|p| (p, id)));
                    kill(block, &mut self.free);
                    died = true;
                }
            }
            if died || !is_code {
                let mut left = 0;
                ids.retain(|&id| {
                    let held = self.blocks[id as usize].chunks_in(page);
                    left |= held;
                    held != 0
                });
                core.memory.pages.set_code(page, left);
            }
            for (page, id) in elsewhere {
                self.pages.remove(page, id);
            }
        }
    }

    /// Drops a block that lives.
    fn drop_block(&mut self, id: BlockId) {
        let block = &mut self.blocks[id as usize];
        for page in block.pages() {
            self.pages.remove(page, id);
        }
        kill(block, &mut self.free);
    }

    /// Has the pages of a block that lives watched.
    fn enter(&mut self, core: &mut Core<'_>, id: BlockId) {
        let pages = core.memory.arena.len() / PAGE_SIZE;
        for (offset, len) in self.blocks[id as usize].watched() {
            core.watch_code(offset, len);
            self.pages.add(offset / PAGE_SIZE, id, pages);
        }
    }

    /// Drops everything.
    pub fn clear(&mut self, core: &mut Core<'_>) {
        for page in self.pages.drain() {
            core.memory.pages.set_code(page, 0);
        }
        self.blocks.clear();
        self.free.clear();
        self.table.fill(NO_BLOCK);
        while core.memory.pages.take_code_write().is_some() {}
    }

    /// A place for a block with `key`: that of a dead one with the same key, or any.
    fn place(&mut self, key: BlockKey) -> BlockId {
        let last = self.table[key.slot()];
        if let Some(block) = self.blocks.get(last as usize)
            && block.key == BlockKey::DEAD
            && (block.former == key || block.former == key.crossing())
        {
            return last;
        }
        while let Some(id) = self.free.pop() {
            let block = &mut self.blocks[id as usize];
            block.listed = false;
            if block.key == BlockKey::DEAD {
                block.ops.clear();
                block.successors = no_hints();
                return id;
            }
        }
        let id = self.blocks.len() as BlockId;
        self.blocks.push(Block::new(id));
        id
    }

    fn decode(&mut self, core: &mut Core<'_>, key: BlockKey) -> Exec<BlockId> {
        if self.free.is_empty() && self.blocks.len() >= MAX_BLOCKS {
            self.clear(core);
        }
        let id = self.place(key);
        let block = &mut self.blocks[id as usize];
        if let Err(raised) = read_block(core, key, block) {
            block.former = BlockKey::DEAD;
            release(block, &mut self.free);
            return Err(raised);
        }
        self.enter(core, id);
        self.table[key.slot()] = id;
        Ok(id)
    }
}

/// Ends the life of a block.
fn kill(block: &mut Block, free: &mut Vec<BlockId>) {
    if block.key != BlockKey::DEAD {
        block.former = block.key;
        block.key = BlockKey::DEAD;
        release(block, free);
    }
}

/// Lets the place of a dead block be given away.
fn release(block: &mut Block, free: &mut Vec<BlockId>) {
    if !std::mem::replace(&mut block.listed, true) {
        free.push(block.id);
    }
}

/// How many bytes there are from the instruction pointer, which is at `key`, to the end of the
/// page or of the code segment.
fn bytes_here(cpu: &Cpu, key: BlockKey) -> u64 {
    let in_segment = (cpu.mode.ip_limit - cpu.rip).saturating_add(1);
    in_segment.min(PAGE_SIZE - key.physical() % PAGE_SIZE)
}

/// The physical address of what follows `here` bytes behind the instruction pointer: on the next
/// page, or at the start of a segment that wraps.
fn goes_on_at(core: &mut Core<'_>, here: u64) -> Exec<PhysAddr> {
    let mode = &core.cpu.mode;
    let ip = core.cpu.rip.wrapping_add(here) & mode.ip_mask;
    if ip > mode.ip_limit {
        return Err(core.fault_with(GP, 0));
    }
    let linear = mode.code_base.wrapping_add(ip) & mode.linear_mask;
    let user = mode.user;
    core.translate(Access::Fetch, user, linear, CS)
}

/// Decodes the block that `key` names into `block`, whose instructions are those of its last
/// life or none. On a fault nothing is left of them.
fn read_block(core: &mut Core<'_>, key: BlockKey, block: &mut Block) -> Exec {
    let physical = key.physical();
    let here = bytes_here(core.cpu, key);
    let mut bytes = [0; WINDOW];
    let first = (here as usize).min(WINDOW);
    read_code(core, physical, &mut bytes[..first]);
    decode_run(core.cpu, &bytes[..first], &mut block.ops, &block.code);
    block.second_page = None;
    let mut lengths = [block.ops.last().map_or(0, |op| op.next), 0];
    if block.ops.is_empty() {
        let page = goes_on_at(core, here)?;
        let window = &mut bytes[..first + MAX_INSTRUCTION];
        read_code(core, page, &mut window[first..]);
        let op = decode_one(core.cpu, window);
        block.ops.push(op);
        block.second_page = Some(page);
        block.first_bytes = first as u8;
        let here = op.next.min(block.first_bytes);
        lengths = [here, op.next - here];
    }
    block.bytes = lengths[0] + lengths[1];
    block.takes = 0;
    block.code.clear();
    block
        .code
        .extend_from_slice(&bytes[..usize::from(block.bytes)]);
    for (n, start) in [Some(physical), block.second_page].into_iter().enumerate() {
        let source = start.and_then(|start| core.code_source(start));
        block.sources[n] = source.unwrap_or(0);
        block.lengths[n] = source.map_or(0, |_| lengths[n]);
    }
    block.key = match block.second_page {
        None => key,
        Some(_) => key.crossing(),
    };
    Ok(())
}

/// Instruction bytes: plain memory, or ones where a device or nothing is.
fn read_code(core: &Core<'_>, physical: PhysAddr, into: &mut [u8]) {
    match core.code_source(physical) {
        Some(offset) => core.memory.arena.read(offset, into),
        None => into.fill(0xff),
    }
}

/// The instruction at the start of `bytes`, which are enough.
fn decode_one(cpu: &Cpu, bytes: &[u8]) -> Op {
    let (code, data, model) = (cpu.mode.code, cpu.mode.data, cpu.model);
    let mut instruction = Instruction::default();
    Reader::new(bytes, code, model).read(0, &mut instruction);
    lower(&instruction, bytes, code, data, model)
}

/// The instructions from the start of `bytes` up to the end of the block; none if the first
/// one needs more bytes than there are. `ops` were decoded from `code`: those whose bytes are
/// the same stay.
fn decode_run(cpu: &Cpu, bytes: &[u8], ops: &mut Vec<Op>, code: &[u8]) {
    let (size, data, model) = (cpu.mode.code, cpu.mode.data, cpu.model);
    let changed = difference(code, bytes);
    let mut reader = None;
    let mut instruction = Instruction::default();
    let (mut count, mut branches, mut at) = (0, 0, 0);
    while count < MAX_OPS && branches < MAX_BRANCHES && at < MAX_BYTES.min(bytes.len()) {
        if !is_still_there(&ops[count..], &changed) {
            let reader = reader.get_or_insert_with(|| Reader::new(bytes, size, model));
            if !reader.read(at, &mut instruction) {
                break;
            }
            let op = lower(&instruction, bytes, size, data, model);
            match ops.get_mut(count) {
                Some(old) if old.next == op.next => *old = op,
                _ => {
                    ops.truncate(count);
                    ops.push(op);
                }
            }
        }
        count += 1;
        if ops[count - 1].is_conditional_branch() {
            branches += 1;
            pair_last(&mut ops[..count]);
        }
        at = ops[count - 1].next.into();
        if ops[count - 1].is_last() {
            break;
        }
    }
    ops.truncate(count);
    ops.shrink_to_fit();
}

/// From the first to the last byte of `code` that differs from `bytes`.
fn difference(code: &[u8], bytes: &[u8]) -> Range<usize> {
    let both = code.len().min(bytes.len());
    let mut changed = both..if both < code.len() { code.len() } else { 0 };
    let words = code[..both].chunks(8).zip(bytes[..both].chunks(8));
    for (start, (a, b)) in (0..).step_by(8).zip(words) {
        let differing = word(a) ^ word(b);
        if differing != 0 {
            changed.start = changed
                .start
                .min(start + differing.trailing_zeros() as usize / 8);
            let last = start + 7 - differing.leading_zeros() as usize / 8;
            changed.end = changed.end.max(last + 1);
        }
    }
    changed
}

/// Up to 8 bytes as one number.
fn word(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(whole) => u64::from_le_bytes(*whole),
        None => bytes.iter().rev().fold(0, |w, &b| w << 8 | u64::from(b)),
    }
}

/// Whether none of the bytes of the first of `ops` `changed`, nor those of the instruction that it
/// is paired with.
fn is_still_there(ops: &[Op], changed: &Range<usize>) -> bool {
    let end = match ops {
        [first, second, ..] if first.is_paired() => second.next,
        [first, ..] if !first.is_paired() => first.next,
        _ => return false,
    };
    usize::from(end) <= changed.start || changed.end <= ops[0].start() as usize
}

/// Pairs the last two of `ops`, if they can be.
fn pair_last(ops: &mut [Op]) {
    if let [.., first, branch] = ops
        && let Some(run) = exec::pair(first, branch)
    {
        first.pair(run);
    }
}
