//! The mapping tables of an open image, and the order in which changes of them reach the disk.
//!
//! L1 is in memory, L2 tables are cached in slices, refcounts are in [`super::space`]. Changes are
//! made in memory and written back in stages; the order of the stages *is* the crash consistency:
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
use super::address::{GuestCluster, HostOffset};
use super::cache::TableCache;
use super::entry::{L1Entry, Mapping};
use super::geometry::Geometry;
use super::header::{
    AT_AUTOCLEAR, AT_INCOMPATIBLE, BITMAPS, CORRUPT, DIRTY, Header, LAZY_REFCOUNTS,
    RAW_EXTERNAL_DATA,
};
use super::host::{Barrier, Host};
use super::overlap::Kind;
use super::space::{Reason, Space};
use super::tracking::Tracking;

/// The most memory that cached L2 tables take: enough to map 256 GiB in clusters of 64 KiB.
const CACHE_BYTES: u64 = 32 << 20;

/// The metadata of one open image.
#[derive(Debug)]
pub(super) struct Metadata {
    host: Arc<Host>,
    geometry: Geometry,
    l1: Vec<u64>,
    l1_offset: HostOffset,
    l1_dirty: BTreeSet<usize>,
    l2: TableCache,
    pub(super) space: Space,
    /// The dirty bitmaps that follow changes.
    pub(super) bitmaps: Tracking,
    /// Whether the bitmaps on disk survive a change, with their marks.
    pub(super) bitmaps_kept: bool,
    /// Guest clusters for which a request is writing data that is not yet mapped.
    pub(super) allocating: Vec<Range<u64>>,
    incompatible: u64,
    /// Whether refcounts are written at the end only, with the dirty bit set meanwhile.
    lazy: bool,
    autoclear: u64,
    /// Why nothing may be written any more.
    failed: Option<String>,
}

impl Metadata {
    /// Reads the tables that stay in memory.
    pub(super) fn load(host: &Arc<Host>, header: &Header) -> Result<Self> {
        let geometry = header.geometry;
        let mut bytes = zeroed(header.l1_bytes());
        host.read(&mut bytes, header.l1_offset, "the L1 table")?;
        let words = bytes.as_chunks::<8>().0.iter();
        let mut metadata = Self {
            host: Arc::clone(host),
            geometry,
            l1: words.map(|&word| u64::from_be_bytes(word)).collect(),
            l1_offset: header.l1_offset,
            l1_dirty: BTreeSet::new(),
            l2: TableCache::new(CACHE_BYTES, geometry.slice_size()),
            space: Space::new(host, header)?,
            bitmaps: Tracking::default(),
            bitmaps_kept: false,
            allocating: Vec::new(),
            incompatible: header.incompatible,
            lazy: header.compatible & LAZY_REFCOUNTS != 0,
            autoclear: header.autoclear,
            failed: None,
        };
        metadata.note_l2_tables();
        Ok(metadata)
    }

    fn note_l2_tables(&mut self) {
        for (index, &raw) in self.l1.iter().enumerate() {
            if let Ok(Some(entry)) = L1Entry::decode(raw, index, &self.geometry) {
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

    /// The active L1 table.
    pub(super) fn l1(&self) -> &[u64] {
        &self.l1
    }

    // ---- looking up -------------------------------------------------------------------------

    fn l1_index(&self, cluster: GuestCluster) -> usize {
        buffer_len(cluster.0 >> self.geometry.l2_bits())
    }

    fn l1_entry(&self, index: usize) -> Result<Option<L1Entry>> {
        let raw = self.l1.get(index).copied().unwrap_or(0);
        let Some(entry) = L1Entry::decode(raw, index, &self.geometry)? else {
            return Ok(None);
        };
        self.space
            .overlap
            .check_is(entry.table, Kind::ActiveL2, &self.geometry)?;
        Ok(Some(entry))
    }

    /// What `cluster` is made of.
    pub(super) fn mapping(&mut self, cluster: GuestCluster) -> Result<Mapping> {
        let Some(l1) = self.l1_entry(self.l1_index(cluster))? else {
            return Ok(Mapping::Unallocated);
        };
        let (slice, index) = self.entry_place(l1.table, cluster);
        self.load_slice(slice)?;
        let bytes = self.l2.get(slice).unwrap_or(&[]);
        Mapping::read(bytes, index, cluster, &self.geometry)
    }

    /// How many clusters from `cluster` on have no L2 table, at most `limit`.
    pub(super) fn clusters_without_table(&self, cluster: GuestCluster, limit: u64) -> u64 {
        let per_table = self.geometry.l2_entries();
        let mut end = cluster.0;
        while end - cluster.0 < limit {
            let index = buffer_len(end >> self.geometry.l2_bits());
            if self
                .l1
                .get(index)
                .is_none_or(|raw| raw & super::entry::OFFSET != 0)
            {
                break;
            }
            end = (end / per_table + 1) * per_table;
        }
        (end - cluster.0).min(limit)
    }

    /// The slice of the L2 table at `table` with the entry of `cluster`, and the index of the
    /// entry in it.
    fn entry_place(&self, table: HostOffset, cluster: GuestCluster) -> (HostOffset, u64) {
        let slice_size = self.geometry.slice_size();
        let per_slice = slice_size / self.geometry.l2_entry_size();
        let index = cluster.0 % self.geometry.l2_entries();
        let slice = table.plus(index / per_slice * slice_size);
        (slice, index % per_slice)
    }

    fn load_slice(&mut self, slice: HostOffset) -> Result<()> {
        if self.l2.get(slice).is_some() {
            return Ok(());
        }
        if !self.l2.has_room() {
            self.write_back()?;
        }
        let mut bytes = zeroed(self.geometry.slice_size()).into_boxed_slice();
        self.host.read(&mut bytes, slice, "an L2 table")?;
        self.l2.insert(slice, bytes);
        Ok(())
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
            self.failed = Some(error.to_string());
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
        self.failed.get_or_insert_with(|| why.to_string());
    }

    /// Sees to it that `cluster` has an L2 table of its own, and gives the table's place.
    pub(super) fn own_table(&mut self, cluster: GuestCluster) -> Result<HostOffset> {
        let index = self.l1_index(cluster);
        match self.l1_entry(index)? {
            Some(entry) if entry.copied => Ok(entry.table),
            Some(shared) => {
                let table = self.new_table(index, Some(shared.table))?;
                let old = shared.table.cluster(&self.geometry);
                let size = self.geometry.cluster_size();
                self.l2.forget(shared.table, size);
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
        self.l2.forget(table, size);
        if let Some(raw) = self.l1.get_mut(index) {
            *raw = L1Entry {
                table,
                copied: true,
            }
            .encode();
            self.l1_dirty.insert(index);
        }
        self.space
            .overlap
            .add(table, 1, Kind::ActiveL2, &self.geometry);
        Ok(table)
    }

    /// The bytes of the L2 table at `table`, through the cache.
    fn read_table(&mut self, table: HostOffset) -> Result<Vec<u8>> {
        let mut bytes = zeroed(self.geometry.cluster_size());
        let slice_size = self.geometry.slice_size();
        for (slice, at) in bytes.chunks_mut(buffer_len(slice_size)).zip(0..) {
            let offset = table.plus(at * slice_size);
            self.load_slice(offset)?;
            slice.copy_from_slice(self.l2.get(offset).unwrap_or(&[]));
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
        let table = self.own_table(cluster)?;
        let (slice, index) = self.entry_place(table, cluster);
        self.load_slice(slice)?;
        let bytes = self.l2.get(slice).unwrap_or(&[]);
        let old = Mapping::read(bytes, index, cluster, &self.geometry)?;
        if let Some(bytes) = self.l2.get_mut(slice) {
            mapping.write(bytes, index, &self.geometry);
        }
        if let Some((first, count)) = old.clusters(&self.geometry)
            && mapping.clusters(&self.geometry) != Some((first, count))
        {
            self.space.release(first, count, reason);
        }
        Ok(())
    }

    /// Gives up the L2 tables of the L1 entries from `index` on, which map nothing any more.
    pub(super) fn drop_tables(&mut self, index: usize) -> Result<()> {
        for index in index..self.l1.len() {
            let Some(entry) = self.l1_entry(index)? else {
                continue;
            };
            if let Some(raw) = self.l1.get_mut(index) {
                *raw = 0;
                self.l1_dirty.insert(index);
            }
            self.l2.forget(entry.table, self.geometry.cluster_size());
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
        self.l2.is_dirty()
            || !self.l1_dirty.is_empty()
            || self.space.refcounts.blocks_dirty()
            || self.space.refcounts.table_dirty()
            || self.space.pending_releases() > 0
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
        if self.l2.is_dirty() || !self.l1_dirty.is_empty() {
            self.host.barrier(Barrier::ClusterBeforeReference)?;
            self.l2.write_dirty(&self.host, "an L2 table")?;
            self.write_l1()?;
        }
        Ok(())
    }

    fn write_counts(&mut self) -> Result<()> {
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
            let raw = self.l1.get(index).copied().unwrap_or(0);
            let at = self.l1_offset.plus(index as u64 * 8);
            self.host.write(&raw.to_be_bytes(), at, "the L1 table")?;
        }
        self.l1_dirty.clear();
        Ok(())
    }

    /// Stage 4, after [`Self::write_back`] and a barrier, with no request under way.
    pub(super) fn apply_releases(&mut self) -> Result<()> {
        let applied = self.space.apply_releases();
        self.sealing(applied)
    }
}
