//! The active L1 table and the L2 tables that it points to, as every request reads them.
//!
//! Shared by all requests, and changed only by the holder of [`super::metadata`]. Looking a
//! cluster up takes an atomic load for L1 and shared locks for L2 (see [`super::cache`]), and reads
//! a slice from the host under no lock. A new L2 table is whole, and forgotten as whatever it was
//! before, when it is entered here. Format description, "Cluster mapping".

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::super::Result;
use super::super::fields::{buffer_len, zeroed};
use super::address::{GuestCluster, HostOffset};
use super::cache::TableCache;
use super::entry::{L1Entry, Mapping, OFFSET};
use super::geometry::Geometry;
use super::header::Header;
use super::host::Host;
use super::ordinary::OrdinaryRun;
use super::overlap::{Kind, Overlap};

/// Where the cache has room for every table of the image, so much of one is read at a time.
const LOAD_BYTES: u64 = 64 << 10;

/// The mapping from guest clusters to what they are made of.
#[derive(Debug)]
pub(super) struct ActiveTables {
    host: Arc<Host>,
    geometry: Geometry,
    overlap: Arc<Overlap>,
    l1: Box<[AtomicU64]>,
    l2: TableCache,
    /// Bytes of a table that are read from the host at a time: a power of two.
    load_size: u64,
    /// Whether guest data may be written without a look at the metadata first.
    writable: AtomicBool,
}

impl ActiveTables {
    /// Reads the L1 table. L2 tables take at most `cache_bytes`.
    pub(super) fn load(
        host: &Arc<Host>,
        header: &Header,
        overlap: &Arc<Overlap>,
        cache_bytes: u64,
    ) -> Result<Self> {
        let geometry = header.geometry;
        let mut bytes = zeroed(header.l1_bytes());
        host.read(&mut bytes, header.l1_offset, "the L1 table")?;
        let words = bytes.as_chunks::<8>().0.iter();
        let l1: Box<[_]> = words
            .map(|&word| AtomicU64::new(u64::from_be_bytes(word)))
            .collect();
        let l2 = TableCache::new(cache_bytes, geometry.slice_size(), "an L2 table");
        let tables = (l1.len() as u64) << geometry.cluster_bits();
        let load_size = match tables <= l2.size() {
            true => LOAD_BYTES.min(geometry.cluster_size()),
            false => geometry.slice_size(),
        };
        Ok(Self {
            host: Arc::clone(host),
            geometry,
            overlap: Arc::clone(overlap),
            l1,
            l2,
            load_size,
            writable: AtomicBool::new(false),
        })
    }

    /// The sizes of the image.
    pub(super) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Entries of the L1 table.
    pub(super) fn l1_len(&self) -> usize {
        self.l1.len()
    }

    /// The entries of the L1 table.
    pub(super) fn l1(&self) -> Vec<u64> {
        self.l1
            .iter()
            .map(|raw| raw.load(Ordering::Acquire))
            .collect()
    }

    /// The index of the L1 entry for `cluster`.
    pub(super) fn l1_index(&self, cluster: GuestCluster) -> usize {
        buffer_len(cluster.0 >> self.geometry.l2_bits())
    }

    /// An L1 entry as it stands in the table; 0 past its end.
    pub(super) fn raw_l1(&self, index: usize) -> u64 {
        let raw = self.l1.get(index);
        raw.map_or(0, |raw| raw.load(Ordering::Acquire))
    }

    /// Enters an L2 table, which is whole, or 0 for none.
    pub(super) fn set_l1(&self, index: usize, raw: u64) {
        if let Some(entry) = self.l1.get(index) {
            entry.store(raw, Ordering::Release);
        }
    }

    /// An L1 entry, if it points somewhere.
    pub(super) fn l1_entry(&self, index: usize) -> Result<Option<L1Entry>> {
        L1Entry::decode(self.raw_l1(index), index, &self.geometry)
    }

    /// Where metadata lies.
    pub(super) fn overlap(&self) -> &Overlap {
        &self.overlap
    }

    /// The cached L2 tables.
    pub(super) fn l2(&self) -> &TableCache {
        &self.l2
    }

    /// What `cluster` is made of.
    pub(super) fn mapping(&self, cluster: GuestCluster) -> Result<Mapping> {
        let mut found = Mapping::Unallocated;
        self.each_mapping(cluster, 1, |mapping| {
            found = mapping;
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Calls `take` with what the clusters from `first` on are made of, at most `limit` and to the
    /// end of the L2 table, until it has enough.
    pub(super) fn each_mapping(
        &self,
        first: GuestCluster,
        limit: u64,
        mut take: impl FnMut(Mapping) -> ControlFlow<()>,
    ) -> Result<()> {
        let per_table = self.geometry.l2_entries();
        let end = first.0 + limit.min(per_table - first.0 % per_table);
        let Some(l1) = self.l1_entry(self.l1_index(first))? else {
            let _ = (first.0..end).try_for_each(|_| take(Mapping::Unallocated));
            return Ok(());
        };
        let mut next = first.0;
        while next < end {
            let stop = end.min(self.slice_end(GuestCluster(next)).0);
            let (slice, start) = self.entry_place(l1.table, GuestCluster(next));
            let flow = self.look(slice, |bytes| {
                for (index, cluster) in (start..).zip(next..stop) {
                    let cluster = GuestCluster(cluster);
                    let mapping = Mapping::read(bytes, index, cluster, &self.geometry)?;
                    if take(mapping).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Ok(ControlFlow::Continue(()))
            })??;
            if flow.is_break() {
                break;
            }
            next = stop;
        }
        Ok(())
    }

    /// Where the clusters from `first` on lie that are ordinary ones, one behind the other in the
    /// file, and how many that are: at most `limit`, and to the end of the L2 table.
    pub(super) fn ordinary_run(
        &self,
        first: GuestCluster,
        limit: u64,
    ) -> Result<Option<(HostOffset, u64)>> {
        let per_table = self.geometry.l2_entries();
        let limit = limit.min(per_table - first.0 % per_table);
        let Some(l1) = self.l1_entry(self.l1_index(first))? else {
            return Ok(None);
        };
        let mut found: Option<(HostOffset, u64)> = None;
        loop {
            let done = found.map_or(0, |(_, count)| count);
            if done == limit {
                return Ok(found);
            }
            let next = first.plus(done);
            let (slice, start) = self.entry_place(l1.table, next);
            let stop = start + (self.slice_end(next).0 - next.0).min(limit - done);
            let run = self.look(slice, |bytes| {
                let entries = bytes.get(..buffer_len(stop * self.geometry.l2_entry_size()));
                entries.and_then(|entries| OrdinaryRun::at(entries, start, &self.geometry))
            })?;
            let Some(run) = run else {
                return Ok(found);
            };
            match &mut found {
                None => found = Some((run.start, run.count)),
                Some((at, count))
                    if run.start == at.plus(*count << self.geometry.cluster_bits()) =>
                {
                    *count += run.count;
                }
                Some(_) => return Ok(found),
            }
        }
    }

    /// Looks into the slice of an L2 table at `slice`.
    pub(super) fn look<T>(&self, slice: HostOffset, look: impl FnOnce(&[u8]) -> T) -> Result<T> {
        let mut look = Some(look);
        loop {
            let looked = self
                .l2
                .look(slice, |bytes| look.take().map(|look| look(bytes)));
            if let Some(Some(found)) = looked {
                return Ok(found);
            }
            self.load_slice(slice)?;
        }
    }

    /// Changes the slice of an L2 table at `slice`.
    pub(super) fn change(&self, slice: HostOffset, change: impl FnOnce(&mut [u8])) -> Result<()> {
        let mut change = Some(change);
        loop {
            let changed = self
                .l2
                .change(slice, |bytes| change.take().map(|change| change(bytes)));
            if changed.is_some() {
                return Ok(());
            }
            self.load_slice(slice)?;
        }
    }

    fn load_slice(&self, slice: HostOffset) -> Result<()> {
        self.overlap
            .check_is(slice, Kind::ActiveL2, &self.geometry)?;
        let start = slice.0 & !(self.load_size - 1);
        let range = HostOffset(start)..HostOffset(start + self.load_size);
        self.l2.load(range, &self.host)
    }

    /// Brings in the entries of `count` clusters from `first` on, and all of their table if it is
    /// shared, so that whoever changes them need not wait for the host under a lock.
    pub(super) fn warm(&self, first: GuestCluster, count: u64) -> Result<()> {
        let table_start = first.0 - first.0 % self.geometry.l2_entries();
        let range = match self.l1_entry(self.l1_index(first))? {
            None => return Ok(()),
            Some(entry) if entry.copied => first.0..first.0.saturating_add(count),
            Some(_) => table_start..u64::MAX,
        };
        let end = range.end.min(table_start + self.geometry.l2_entries());
        let mut next = range.start;
        while next < end {
            self.mapping(GuestCluster(next))?;
            next = self.slice_end(GuestCluster(next)).0;
        }
        Ok(())
    }

    /// How many clusters from `cluster` on have no L2 table, at most `limit`.
    pub(super) fn clusters_without_table(&self, cluster: GuestCluster, limit: u64) -> u64 {
        let per_table = self.geometry.l2_entries();
        let mut end = cluster.0;
        while end - cluster.0 < limit {
            let Some(entry) = self.l1.get(self.l1_index(GuestCluster(end))) else {
                // A snapshot may claim a disk that is far longer than its table.
                return limit;
            };
            if entry.load(Ordering::Acquire) & OFFSET != 0 {
                break;
            }
            end = (end / per_table + 1) * per_table;
        }
        (end - cluster.0).min(limit)
    }

    fn entries_per_slice(&self) -> u64 {
        self.geometry.slice_size() / self.geometry.l2_entry_size()
    }

    /// The first cluster behind `cluster` whose entry lies in another slice.
    pub(super) fn slice_end(&self, cluster: GuestCluster) -> GuestCluster {
        let per_slice = self.entries_per_slice();
        GuestCluster((cluster.0 / per_slice + 1) * per_slice)
    }

    /// The slice of the L2 table at `table` with the entry of `cluster`, and the index of the
    /// entry in it.
    pub(super) fn entry_place(
        &self,
        table: HostOffset,
        cluster: GuestCluster,
    ) -> (HostOffset, u64) {
        let per_slice = self.entries_per_slice();
        let index = cluster.0 % self.geometry.l2_entries();
        let slice = table.plus(index / per_slice * self.geometry.slice_size());
        (slice, index % per_slice)
    }

    /// Whether the first change has been prepared for, so that data may be written in place.
    pub(super) fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Acquire)
    }

    /// Says whether data may be written in place.
    pub(super) fn set_writable(&self, writable: bool) {
        self.writable.store(writable, Ordering::Release);
    }
}
