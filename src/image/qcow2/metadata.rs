//! Changes of the tables of an open image, and the order in which they reach the disk.
//!
//! The mapping is in [`super::active`], where requests read it; refcounts are in [`super::space`].
//! Whoever holds this changes them, in memory; they are written back in stages, and the order of
//! the stages *is* the crash consistency:
//!
//! ```text
//!   1 refcount blocks (raised counts)      written earlier: data of new clusters, new refcount
//!                                          blocks, new L2 tables (empty, or copies)
//!        ── barrier (only if there are entries for new blocks)
//!   2 refcount table entries of new blocks
//!        ── barrier: clusters, counts and tables before references ──
//!   3 L2 slices and L1 entries
//!        ── barrier: cleared references before reuse ──
//!   4 lowered counts of released clusters
//! ```
//!
//! L2 slices and L1 entries need no order between them: a new table was whole before the barrier,
//! so an L1 entry without the slices that follow shows the guest what it saw before.
//!
//! A stage with nothing to do costs nothing, so an allocating write and a flush are two host
//! flushes. A count is lowered only in stage 4, so whatever is in the refcount cache before is
//! safe to write at any time. With lazy refcounts, stages 1 and 2 wait until the image is closed,
//! and a dirty bit says so before the first change. Format description, "Cluster mapping" and
//! "lazy refcounts".

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::super::fields::{buffer_len, zeroed};
use super::super::{ErrorKind, ImageError, Result};
use super::active::ActiveTables;
use super::address::{GuestCluster, HostOffset};
use super::emptied::Emptied;
use super::entry::{L1Entry, Mapping};
use super::geometry::Geometry;
use super::header::{
    AT_AUTOCLEAR, AT_INCOMPATIBLE, BITMAPS, CORRUPT, DIRTY, Header, LAZY_REFCOUNTS,
    RAW_EXTERNAL_DATA,
};
use super::host::{Barrier, Host};
use super::open::CacheSizes;
use super::overlap::Kind;
use super::space::{Cleared, Reason, Space};
use super::tracking::Tracking;

/// The metadata of one open image.
#[derive(Debug)]
pub(super) struct Metadata {
    host: Arc<Host>,
    geometry: Geometry,
    active: Arc<ActiveTables>,
    l1_offset: HostOffset,
    l1_dirty: BTreeSet<usize>,
    pub(super) space: Space,
    /// The dirty bitmaps that follow changes.
    pub(super) bitmaps: Tracking,
    /// Whether the bitmaps on disk survive a change, with their marks.
    pub(super) bitmaps_kept: bool,
    /// Guest clusters for which a request is writing data that is not yet mapped.
    pub(super) allocating: Vec<Range<u64>>,
    /// The subclusters whose bytes the host is to get back.
    pub(super) emptied: Emptied,
    incompatible: u64,
    /// Whether refcounts are written at the end only, with the dirty bit set meanwhile.
    lazy: bool,
    autoclear: u64,
    /// Why nothing may be written any more.
    failed: Option<String>,
}

impl Metadata {
    /// Reads the tables that stay in memory.
    pub(super) fn load(host: &Arc<Host>, header: &Header, caches: CacheSizes) -> Result<Self> {
        let space = Space::new(host, header, caches.refcounts)?;
        let active = ActiveTables::load(host, header, &space.overlap, caches.l2)?;
        let metadata = Self {
            host: Arc::clone(host),
            geometry: header.geometry,
            active: Arc::new(active),
            l1_offset: header.l1_offset,
            l1_dirty: BTreeSet::new(),
            space,
            bitmaps: Tracking::default(),
            bitmaps_kept: false,
            allocating: Vec::new(),
            emptied: Emptied::default(),
            incompatible: header.incompatible,
            lazy: header.compatible & LAZY_REFCOUNTS != 0,
            autoclear: header.autoclear,
            failed: None,
        };
        metadata.note_l2_tables();
        Ok(metadata)
    }

    fn note_l2_tables(&self) {
        for index in 0..self.active.l1_len() {
            if let Ok(Some(entry)) = self.active.l1_entry(index) {
                self.space
                    .overlap
                    .add(entry.table, 1, Kind::ActiveL2, &self.geometry);
            }
        }
    }

    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    pub(super) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The tables that requests read.
    pub(super) fn active(&self) -> &Arc<ActiveTables> {
        &self.active
    }

    /// The active L1 table.
    pub(super) fn l1(&self) -> Vec<u64> {
        self.active.l1()
    }

    // ---- looking up -------------------------------------------------------------------------

    /// An L1 entry of a table that is about to change.
    fn l1_entry(&self, index: usize) -> Result<Option<L1Entry>> {
        let entry = self.active.l1_entry(index)?;
        if let Some(entry) = entry {
            let overlap = &self.space.overlap;
            overlap.check_is(entry.table, Kind::ActiveL2, &self.geometry)?;
        }
        Ok(entry)
    }

    /// What `cluster` is made of.
    pub(super) fn mapping(&self, cluster: GuestCluster) -> Result<Mapping> {
        self.active.mapping(cluster)
    }

    /// How many clusters from `cluster` on have no L2 table, at most `limit`.
    pub(super) fn clusters_without_table(&self, cluster: GuestCluster, limit: u64) -> u64 {
        self.active.clusters_without_table(cluster, limit)
    }

    // ---- changing ---------------------------------------------------------------------------

    /// Fails if nothing may be written any more; before the first change, clears the features
    /// that a change would make wrong.
    pub(super) fn begin_change(&mut self) -> Result<()> {
        self.host.doubt()?;
        if let Some(why) = &self.failed {
            return Err(ImageError::new(
                ErrorKind::ReadOnly,
                format!("no more writes to an image found corrupt ({why}); check it"),
            ));
        }
        let dirty = self.lazy && self.incompatible & DIRTY == 0;
        let kept = RAW_EXTERNAL_DATA | if self.bitmaps_kept { BITMAPS } else { 0 };
        let stale = self.autoclear & !kept != 0;
        let marks = self.bitmaps.wants_marks();
        if !dirty && !stale && !marks {
            self.active.set_writable(true);
            return Ok(());
        }
        if dirty {
            self.write_incompatible(self.incompatible | DIRTY)?;
        }
        if stale {
            let left = (self.autoclear & kept).to_be_bytes();
            self.host
                .write(&left, HostOffset(AT_AUTOCLEAR), "the header")?;
        }
        if marks {
            self.bitmaps.write_marks(&self.host)?;
        }
        self.host.barrier(Barrier::FlagBeforeChange)?;
        self.autoclear &= kept;
        self.active.set_writable(true);
        Ok(())
    }

    fn write_incompatible(&mut self, bits: u64) -> Result<()> {
        let at = HostOffset(AT_INCOMPATIBLE);
        self.host.write(&bits.to_be_bytes(), at, "the header")?;
        self.incompatible = bits;
        Ok(())
    }

    /// Writes everything, also what waits for the end, and then says on disk that the bitmaps and
    /// the refcounts are right.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.active.set_writable(false);
        self.write_back()?;
        if self.failed.is_some() {
            return Ok(());
        }
        self.store_bitmaps()?;
        self.write_counts()?;
        self.host.barrier(Barrier::ChangesBeforeFlag)?;
        self.clear_bitmap_marks()?;
        if self.lazy && self.incompatible & DIRTY != 0 {
            self.write_incompatible(self.incompatible & !DIRTY)?;
        }
        Ok(())
    }

    /// Passes `result` on. A contradiction between the tables ends all writing and marks the
    /// image as corrupt; what the host's failures do is kept by [`Host::doubt`].
    pub(super) fn sealing<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && error.kind() == ErrorKind::Corrupt
            && self.failed.is_none()
        {
            self.mark_corrupt();
            self.fail(error);
        }
        result
    }

    /// Sets the corrupt bit, as far as that works: the error being reported matters more.
    fn mark_corrupt(&mut self) {
        if self.geometry.has_zero_clusters() {
            let _ = self.write_incompatible(self.incompatible | CORRUPT);
            let _ = self.host.barrier(Barrier::FlagBeforeChange);
        }
    }

    /// Ends all writing.
    pub(super) fn fail(&mut self, why: &ImageError) {
        self.active.set_writable(false);
        self.failed.get_or_insert_with(|| why.to_string());
    }

    /// Sees to it that `cluster` has an L2 table of its own, and gives the table's place.
    pub(super) fn own_table(&mut self, cluster: GuestCluster) -> Result<HostOffset> {
        let index = self.active.l1_index(cluster);
        match self.l1_entry(index)? {
            Some(entry) if entry.copied => Ok(entry.table),
            Some(shared) => {
                let table = self.new_table(index, Some(shared.table))?;
                let old = shared.table.cluster(&self.geometry);
                let size = self.geometry.cluster_size();
                self.active.l2().forget(shared.table, size);
                self.space
                    .overlap
                    .remove(shared.table, 1, Kind::ActiveL2, &self.geometry);
                self.space.release(old, 1, Reason::Replaced);
                Ok(table)
            }
            None => self.new_table(index, None),
        }
    }

    /// Writes a new L2 table, empty or a copy of the one at `from`, and enters it in L1.
    fn new_table(&mut self, index: usize, from: Option<HostOffset>) -> Result<HostOffset> {
        let run = self.space.allocate(1)?;
        let table = run.first.offset(&self.geometry);
        let size = self.geometry.cluster_size();
        match from {
            None => self.host.zero(table, size, "an L2 table")?,
            Some(from) => {
                let bytes = self.read_table(from)?;
                self.host.write(&bytes, table, "an L2 table")?;
            }
        }
        self.active.l2().forget(table, size);
        self.space
            .overlap
            .add(table, 1, Kind::ActiveL2, &self.geometry);
        let copied = true;
        self.set_l1(index, L1Entry { table, copied }.encode());
        Ok(table)
    }

    fn set_l1(&mut self, index: usize, raw: u64) {
        self.active.set_l1(index, raw);
        self.l1_dirty.insert(index);
    }

    /// The bytes of the L2 table at `table`, through the cache.
    fn read_table(&self, table: HostOffset) -> Result<Vec<u8>> {
        let mut bytes = zeroed(self.geometry.cluster_size());
        let slice_size = self.geometry.slice_size();
        for (slice, at) in bytes.chunks_mut(buffer_len(slice_size)).zip(0..) {
            let offset = table.plus(at * slice_size);
            self.active
                .look(offset, |bytes| slice.copy_from_slice(bytes))?;
        }
        Ok(bytes)
    }

    /// Maps `cluster`, which has a table of its own, to `mapping`, and notes what it was mapped
    /// to before as released, unless the new mapping keeps it.
    pub(super) fn map(
        &mut self,
        cluster: GuestCluster,
        mapping: Mapping,
        reason: Reason,
    ) -> Result<()> {
        if self.active.l2().is_crowded() {
            self.write_back()?;
        }
        let table = self.own_table(cluster)?;
        let (slice, index) = self.active.entry_place(table, cluster);
        let old = self.active.mapping(cluster)?;
        self.active.change(slice, |bytes| {
            mapping.write(bytes, index, &self.geometry);
        })?;
        if let Some((first, count)) = old.clusters(&self.geometry)
            && mapping.clusters(&self.geometry) != Some((first, count))
        {
            self.space.release(first, count, reason);
        }
        Ok(())
    }

    /// Gives up the L2 tables of the L1 entries from `index` on, which map nothing any more.
    pub(super) fn drop_tables(&mut self, index: usize) -> Result<()> {
        for index in index..self.active.l1_len() {
            let Some(entry) = self.l1_entry(index)? else {
                continue;
            };
            self.set_l1(index, 0);
            self.active
                .l2()
                .forget(entry.table, self.geometry.cluster_size());
            self.space
                .overlap
                .remove(entry.table, 1, Kind::ActiveL2, &self.geometry);
            let cluster = entry.table.cluster(&self.geometry);
            self.space.release(cluster, 1, Reason::Discarded);
        }
        Ok(())
    }

    // ---- writing back -----------------------------------------------------------------------

    /// Whether anything waits to be written or released.
    pub(super) fn is_dirty(&self) -> bool {
        self.active.l2().is_dirty()
            || !self.l1_dirty.is_empty()
            || self.space.refcounts.blocks_dirty()
            || self.space.refcounts.table_dirty()
            || self.waiting() > 0
    }

    /// How many notes of what is to be given back wait for a flush.
    pub(super) fn waiting(&self) -> usize {
        self.space.pending_releases() + self.emptied.len()
    }

    /// Stages 1 to 3. Everything that was changed is written, not yet durable.
    pub(super) fn write_back(&mut self) -> Result<()> {
        let written = self.write_stages();
        self.sealing(written)
    }

    fn write_stages(&mut self) -> Result<()> {
        if !self.lazy {
            self.write_counts()?;
        }
        if self.active.l2().is_dirty() || !self.l1_dirty.is_empty() {
            self.host.barrier(Barrier::ClusterBeforeReference)?;
            self.active.l2().write_dirty(&self.host)?;
            self.write_l1()?;
        }
        Ok(())
    }

    /// Writes the refcounts, also where they may wait.
    pub(super) fn write_counts(&mut self) -> Result<()> {
        let counts = &mut self.space.refcounts;
        counts.write_blocks()?;
        if counts.table_dirty() {
            self.host.barrier(Barrier::BlockBeforeTable)?;
            counts.write_table()?;
        }
        Ok(())
    }

    fn write_l1(&mut self) -> Result<()> {
        for &index in &self.l1_dirty {
            let raw = self.active.raw_l1(index);
            let at = self.l1_offset.plus(index as u64 * 8);
            self.host.write(&raw.to_be_bytes(), at, "the L1 table")?;
        }
        self.l1_dirty.clear();
        Ok(())
    }

    /// Stage 4, after [`Self::write_back`], a barrier and [`Space::note_cleared`], when the
    /// requests that were under way then have ended.
    pub(super) fn apply_releases(&mut self, until: Cleared) -> Result<()> {
        let applied = self.space.apply_releases(until);
        self.sealing(applied)
    }
}
