//! A bounded write-back cache of table slices (L2 tables, or refcount blocks), shared by requests.
//!
//! A slice is up to 4 KiB of a table, keyed by its host offset. Looking into one takes two locks,
//! both shared and neither held while the host works:
//!
//! - `index` says which slices are here; exclusive only to put one in or take one out;
//! - `bytes` of a slice; exclusive only to change an entry, by the one who holds the metadata.
//!
//! A slice that is missing is read from the host under no lock at all. Meanwhile it is noted in
//! `loading`: who wants the same one waits for it, and nobody else does. Only a slice that nobody
//! had when its loading began is put in, so what was read is never older than what is here.
//!
//! The cache writes nothing on its own: which tables must be durable before which is decided in
//! [`super::metadata`], which calls [`TableCache::write_dirty`] in that order, and does so before
//! most of the slices are dirty ([`TableCache::is_crowded`]). Eviction is second-chance over clean
//! slices, so that whoever loads one always finds room.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::super::Result;
use super::super::fields::{buffer_len, zeroed};
use super::address::HostOffset;
use super::host::Host;

/// The slices of one kind of table.
#[derive(Debug)]
pub(super) struct TableCache {
    what: &'static str,
    slice_size: u64,
    capacity: usize,
    index: RwLock<Index>,
    /// How many slices are changed and not written.
    dirty: AtomicUsize,
    /// What is being read from the host.
    loading: Mutex<Vec<Range<HostOffset>>>,
    /// Woken when something has been read.
    loaded: Condvar,
}

#[derive(Debug, Default)]
struct Index {
    slots: Vec<Arc<Slot>>,
    places: HashMap<HostOffset, usize>,
    hand: usize,
}

#[derive(Debug)]
struct Slot {
    offset: HostOffset,
    bytes: RwLock<Box<[u8]>>,
    dirty: AtomicBool,
    used: AtomicBool,
}

impl TableCache {
    /// A cache of at most `bytes`, and at least eight slices, of `slice_size` bytes each, for
    /// tables of the kind `what`.
    pub(super) fn new(bytes: u64, slice_size: u64, what: &'static str) -> Self {
        Self {
            what,
            slice_size,
            capacity: buffer_len((bytes / slice_size).max(8)),
            index: RwLock::default(),
            dirty: AtomicUsize::new(0),
            loading: Mutex::default(),
            loaded: Condvar::new(),
        }
    }

    /// The bytes that the cache may take.
    pub(super) fn size(&self) -> u64 {
        self.capacity as u64 * self.slice_size
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(|e| e.into_inner())
    }

    fn change_index(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(|e| e.into_inner())
    }

    /// Looks into the slice at `offset`, if it is here.
    pub(super) fn look<T>(&self, offset: HostOffset, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let index = self.index();
        let slot = index.find(offset)?;
        let bytes = slot.bytes.read().unwrap_or_else(|e| e.into_inner());
        Some(look(&bytes))
    }

    /// Changes the slice at `offset`, if it is here. Only the holder of the metadata changes any.
    pub(super) fn change<T>(
        &self,
        offset: HostOffset,
        change: impl FnOnce(&mut [u8]) -> T,
    ) -> Option<T> {
        // The index stays locked until the slice is dirty: a clean one might be evicted.
        let index = self.index();
        let slot = index.find(offset)?;
        let mut bytes = slot.bytes.write().unwrap_or_else(|e| e.into_inner());
        if !slot.dirty.swap(true, Ordering::AcqRel) {
            self.dirty.fetch_add(1, Ordering::AcqRel);
        }
        Some(change(&mut bytes))
    }

    /// Reads the slices of `range` that are not here from the host. They are whole slices.
    pub(super) fn load(&self, range: Range<HostOffset>, host: &Host) -> Result<()> {
        let Some(_claim) = self.claim(&range) else {
            return Ok(());
        };
        let offsets = (range.start.0..range.end.0).step_by(buffer_len(self.slice_size));
        let mut missing: Vec<HostOffset> = offsets.map(HostOffset).collect();
        {
            let index = self.index();
            missing.retain(|offset| !index.places.contains_key(offset));
        }
        let mut bytes = zeroed(range.end.0 - range.start.0);
        host.read(&mut bytes, range.start, self.what)?;
        let mut index = self.change_index();
        for (slice, at) in bytes.chunks(buffer_len(self.slice_size)).zip(0..) {
            let offset = range.start.plus(at * self.slice_size);
            if missing.contains(&offset) {
                index.insert(Slot::new(offset, slice.into()), self.capacity);
            }
        }
        Ok(())
    }

    /// Claims the loading of `range`; `None` after waiting for another who loaded some of it.
    fn claim(&self, range: &Range<HostOffset>) -> Option<Claim<'_>> {
        let meets = |other: &Range<HostOffset>| other.start < range.end && range.start < other.end;
        let mut loading = self.loading();
        if !loading.iter().any(meets) {
            loading.push(range.clone());
            let range = range.clone();
            return Some(Claim { cache: self, range });
        }
        while loading.iter().any(meets) {
            let woken = self.loaded.wait(loading);
            loading = woken.unwrap_or_else(|e| e.into_inner());
        }
        None
    }

    fn loading(&self) -> MutexGuard<'_, Vec<Range<HostOffset>>> {
        self.loading.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Whether so much is changed that it should be written back before more is.
    pub(super) fn is_crowded(&self) -> bool {
        self.dirty.load(Ordering::Acquire) >= self.capacity / 2
    }

    /// Forgets the slices of the table of `len` bytes at `table`, changed or not: it is not a
    /// table any more.
    pub(super) fn forget(&self, table: HostOffset, len: u64) {
        let mut index = self.change_index();
        for at in 0..len / self.slice_size {
            if let Some(slot) = index.remove(table.plus(at * self.slice_size))
                && slot.dirty.load(Ordering::Acquire)
            {
                self.dirty.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    /// Whether any slice is changed and not written.
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire) > 0
    }

    /// Writes every changed slice, in the order of their offsets. Requests look into them
    /// meanwhile; nobody changes one.
    pub(super) fn write_dirty(&self, host: &Host) -> Result<()> {
        let mut dirty: Vec<Arc<Slot>> = {
            let index = self.index();
            let changed = index.slots.iter().filter(|slot| slot.is_dirty());
            changed.cloned().collect()
        };
        dirty.sort_unstable_by_key(|slot| slot.offset);
        for slot in dirty {
            let bytes = slot.bytes.read().unwrap_or_else(|e| e.into_inner());
            host.write(&bytes, slot.offset, self.what)?;
            slot.dirty.store(false, Ordering::Release);
            self.dirty.fetch_sub(1, Ordering::AcqRel);
        }
        Ok(())
    }
}

/// The loading of a range, until it is dropped.
struct Claim<'a> {
    cache: &'a TableCache,
    range: Range<HostOffset>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.cache.loading().retain(|range| *range != self.range);
        self.cache.loaded.notify_all();
    }
}

impl Index {
    fn find(&self, offset: HostOffset) -> Option<&Slot> {
        let slot = self.slots.get(*self.places.get(&offset)?)?;
        if !slot.used.load(Ordering::Relaxed) {
            slot.used.store(true, Ordering::Relaxed);
        }
        Some(slot)
    }

    /// Inserts a slice that is not here, in place of a clean one where `capacity` is reached.
    fn insert(&mut self, slot: Slot, capacity: usize) {
        let (offset, slot) = (slot.offset, Arc::new(slot));
        let at = self.victim(capacity).unwrap_or(self.slots.len());
        match self.slots.get_mut(at) {
            Some(old) => {
                self.places.remove(&old.offset);
                *old = slot;
            }
            None => self.slots.push(slot),
        }
        self.places.insert(offset, at);
    }

    /// A clean slice not used since the hand last passed; `None` while there is room.
    fn victim(&mut self, capacity: usize) -> Option<usize> {
        let len = self.slots.len();
        if len < capacity {
            return None;
        }
        // The first round takes the marks away, the second finds one without.
        for _ in 0..2 * len {
            self.hand = (self.hand + 1) % len;
            let slot = self.slots.get(self.hand)?;
            if !slot.is_dirty() && !slot.used.swap(false, Ordering::Relaxed) {
                return Some(self.hand);
            }
        }
        None
    }

    fn remove(&mut self, offset: HostOffset) -> Option<Arc<Slot>> {
        let at = self.places.remove(&offset)?;
        let slot = self.slots.swap_remove(at);
        if let Some(moved) = self.slots.get(at) {
            self.places.insert(moved.offset, at);
        }
        Some(slot)
    }
}

impl Slot {
    fn new(offset: HostOffset, bytes: Box<[u8]>) -> Self {
        Self {
            offset,
            bytes: RwLock::new(bytes),
            dirty: AtomicBool::new(false),
            used: AtomicBool::new(true),
        }
    }

    fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
    }
}
