//! A bounded write-back cache of table slices (L2 tables, or refcount blocks).
//!
//! A slice is up to 4 KiB of a table, keyed by its host offset. The cache writes nothing on its
//! own: which tables must be durable before which is decided in [`super::metadata`], which calls
//! [`TableCache::write_dirty`] in that order. Eviction is second-chance over clean slices; a cache
//! full of dirty ones says so, and the caller writes them back first.

use std::collections::HashMap;

use super::super::Result;
use super::super::fields::buffer_len;
use super::address::HostOffset;
use super::host::Host;

/// The slices of one kind of table.
#[derive(Debug)]
pub(super) struct TableCache {
    slots: Vec<Slot>,
    index: HashMap<HostOffset, usize>,
    /// The slot found last: neighbouring lookups mostly hit it again.
    last: usize,
    hand: usize,
    capacity: usize,
    dirty: usize,
}

#[derive(Debug)]
struct Slot {
    offset: HostOffset,
    bytes: Box<[u8]>,
    dirty: bool,
    used: bool,
}

impl TableCache {
    /// A cache of at most `bytes`, and at least eight slices, of `slice_size` bytes each.
    pub(super) fn new(bytes: u64, slice_size: u64) -> Self {
        Self {
            slots: Vec::new(),
            index: HashMap::new(),
            last: 0,
            hand: 0,
            capacity: buffer_len((bytes / slice_size).max(8)),
            dirty: 0,
        }
    }

    /// The slice at `offset`, if it is here.
    pub(super) fn get(&mut self, offset: HostOffset) -> Option<&[u8]> {
        let at = self.find(offset)?;
        self.slots.get(at).map(|slot| &*slot.bytes)
    }

    /// The slice at `offset` to be changed, if it is here.
    pub(super) fn get_mut(&mut self, offset: HostOffset) -> Option<&mut [u8]> {
        let at = self.find(offset)?;
        let slot = self.slots.get_mut(at)?;
        if !slot.dirty {
            slot.dirty = true;
            self.dirty += 1;
        }
        Some(&mut slot.bytes)
    }

    fn find(&mut self, offset: HostOffset) -> Option<usize> {
        if self
            .slots
            .get(self.last)
            .is_none_or(|slot| slot.offset != offset)
        {
            self.last = *self.index.get(&offset)?;
        }
        if let Some(slot) = self.slots.get_mut(self.last) {
            slot.used = true;
        }
        Some(self.last)
    }

    /// Whether a slice can be inserted without writing one back first.
    pub(super) fn has_room(&self) -> bool {
        self.slots.len() < self.capacity || self.dirty < self.slots.len()
    }

    /// Inserts a clean slice that is not here, in place of a clean one where the cache is full.
    pub(super) fn insert(&mut self, offset: HostOffset, bytes: Box<[u8]>) {
        debug_assert!(self.has_room(), "the caller writes dirty slices back first");
        let slot = Slot {
            offset,
            bytes,
            dirty: false,
            used: true,
        };
        let at = self.place();
        match self.slots.get_mut(at) {
            Some(old) => {
                self.index.remove(&old.offset);
                *old = slot;
            }
            None => self.slots.push(slot),
        }
        self.index.insert(offset, at);
        self.last = at;
    }

    /// The slot for a new slice: past the last one while there is room, else that of a clean
    /// slice not used since the hand last passed.
    fn place(&mut self) -> usize {
        if self.slots.len() < self.capacity {
            return self.slots.len();
        }
        loop {
            self.hand = (self.hand + 1) % self.slots.len();
            match self.slots.get_mut(self.hand) {
                Some(slot) if slot.dirty => {}
                Some(slot) if slot.used => slot.used = false,
                _ => return self.hand,
            }
        }
    }

    /// Forgets the slices of the table of `len` bytes at `table`, changed or not: it is not a
    /// table any more.
    pub(super) fn forget(&mut self, table: HostOffset, len: u64) {
        let gone = |offset: HostOffset| offset >= table && offset.0 - table.0 < len;
        if !self.index.keys().any(|&offset| gone(offset)) {
            return;
        }
        self.slots.retain(|slot| !gone(slot.offset));
        self.index = self
            .slots
            .iter()
            .enumerate()
            .map(|(at, slot)| (slot.offset, at))
            .collect();
        self.dirty = self.slots.iter().filter(|slot| slot.dirty).count();
        (self.last, self.hand) = (0, 0);
    }

    /// Whether any slice is changed and not written.
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty > 0
    }

    /// Writes every changed slice, in the order of their offsets.
    pub(super) fn write_dirty(&mut self, host: &Host, what: &str) -> Result<()> {
        let mut dirty: Vec<&mut Slot> = self.slots.iter_mut().filter(|slot| slot.dirty).collect();
        dirty.sort_unstable_by_key(|slot| slot.offset);
        for slot in dirty {
            host.write(&slot.bytes, slot.offset, what)?;
            slot.dirty = false;
            self.dirty -= 1;
        }
        Ok(())
    }
}
