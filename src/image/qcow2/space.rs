//! Space in the image file: taking clusters and giving them back.
//!
//! Taking raises refcounts in the cache at once; [`super::metadata`] writes them before anything
//! that refers to the clusters. Giving back is in three steps: [`Space::release`] notes the
//! clusters when the last reference to them is cleared in the cache, [`Space::note_cleared`] that
//! this is durable, and [`Space::apply_releases`] lowers the counts once no request still uses
//! them. A new refcount block lies in the first cluster it describes; a table that is too small
//! is replaced by a bigger one behind everything else.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::fields::{buffer_len, put, zeroed};
use super::super::{ErrorKind, ImageError, Result};
use super::address::{HostCluster, HostOffset};
use super::entry::compressed_limit;
use super::geometry::Geometry;
use super::header::{AT_REFCOUNT_TABLE, Header, MAX_REFCOUNT_TABLE_BYTES};
use super::host::{Barrier, Host};
use super::overlap::{Kind, Overlap};
use super::refcount::{Refcounts, Scan};
use super::width;

/// No host offset of a qcow2 image reaches this.
const HOST_LIMIT: u64 = 1 << 56;

/// Clusters that follow each other in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: HostCluster,
    pub(super) count: u64,
    /// Nobody ever wrote there: the clusters read as zeros.
    pub(super) fresh: bool,
}

/// Why clusters are given back, which decides what becomes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Something else took their place; they will be used again soon.
    Replaced,
    /// The guest discarded them: the host gets them back.
    Discarded,
}

#[derive(Debug, Clone, Copy)]
struct Release {
    first: HostCluster,
    count: u64,
    reason: Reason,
}

/// Everything that was released up to some time, counted from the first on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cleared(u64);

/// A bigger refcount table and the blocks that count its clusters, blocks first.
#[derive(Debug)]
struct Growth {
    first: HostCluster,
    /// The table entry of the first block.
    index: u64,
    blocks: u64,
    /// Clusters of the table.
    clusters: u64,
}

/// The space of one image file.
#[derive(Debug)]
pub(super) struct Space {
    host: Arc<Host>,
    geometry: Geometry,
    pub(super) refcounts: Refcounts,
    pub(super) overlap: Arc<Overlap>,
    /// No cluster before this one is free.
    hint: u64,
    /// What nothing refers to any more, in the caches.
    released: Vec<Release>,
    /// What nothing on disk refers to any more either.
    cleared: VecDeque<Release>,
    /// How many notes have been through that.
    settled: u64,
    /// The length of both, for requests that must not wait for the metadata.
    backlog: Arc<AtomicUsize>,
    /// Where the next compressed cluster may go on in a cluster that has room.
    compressed_tail: Option<HostOffset>,
}

impl Space {
    /// The space of the image. Refcount blocks take at most `cache_bytes` of memory.
    pub(super) fn new(host: &Arc<Host>, header: &Header, cache_bytes: u64) -> Result<Self> {
        let mut space = Self {
            host: Arc::clone(host),
            geometry: header.geometry,
            refcounts: Refcounts::load(host, header)?.with_cache(cache_bytes),
            overlap: Arc::default(),
            hint: 0,
            released: Vec::new(),
            cleared: VecDeque::new(),
            settled: 0,
            backlog: Arc::default(),
            compressed_tail: None,
        };
        space.note_tables(header);
        Ok(space)
    }

    fn note_tables(&mut self, header: &Header) {
        let geometry = &self.geometry;
        let cluster = geometry.cluster_size();
        let overlap = &self.overlap;
        overlap.add(HostOffset(0), cluster, Kind::Header, geometry);
        overlap.add(
            header.l1_offset,
            header.l1_bytes(),
            Kind::ActiveL1,
            geometry,
        );
        let table = self.refcounts.table_offset;
        overlap.add(
            table,
            self.refcounts.table_bytes(),
            Kind::RefcountTable,
            geometry,
        );
        for (_, block) in self.refcounts.blocks() {
            overlap.add(block, cluster, Kind::RefcountBlock, geometry);
        }
    }

    /// Fails if a refcount block does not lie inside the file: allocation would trust counts
    /// that are not there.
    pub(super) fn check_blocks(&self, file_len: u64) -> Result<()> {
        let bad = self
            .refcounts
            .blocks()
            .find(|(_, block)| !block.is_aligned(&self.geometry) || block.0 >= file_len);
        match bad {
            None => Ok(()),
            Some((index, block)) => Err(ImageError::corrupt(format!(
                "refcount block {index} lies outside the file; run `cowbox img check -r all`"
            ))
            .at(block.0)),
        }
    }

    /// Takes up to `want` clusters that follow each other, at least one.
    pub(super) fn allocate(&mut self, want: u64) -> Result<Run> {
        loop {
            let (first, count) = self.find_free(self.hint, want)?;
            if self.make_block(HostCluster(first))? {
                continue;
            }
            self.hint = first;
            let run = self.take(HostCluster(first), count)?;
            self.hint = first + count;
            return Ok(run);
        }
    }

    /// Takes exactly `want` clusters that follow each other.
    pub(super) fn allocate_together(&mut self, want: u64) -> Result<HostCluster> {
        let limit = self.refcounts.end_of_blocks();
        let (mut first, mut count) = (self.hint, 0);
        while count < want && first + count < limit {
            match self.refcounts.scan(first + count, want - count)? {
                Scan::Free(at, free) if at == first + count => count += free,
                Scan::Free(at, free) => (first, count) = (at, free),
                Scan::NoneBefore(next) => (first, count) = (next, 0),
            }
            if self
                .refcounts
                .block(HostCluster(first + count - 1))
                .is_none()
            {
                (first, count) = (first + count, 0);
            }
        }
        if count < want {
            return self.take_behind(want);
        }
        self.take(HostCluster(first), want)?;
        Ok(HostCluster(first))
    }

    /// Takes `want` clusters behind everything that refcount blocks describe, with the blocks
    /// that they need in front of them.
    fn take_behind(&mut self, want: u64) -> Result<HostCluster> {
        let per_block = self.geometry.block_entries();
        let mut blocks = 1;
        while blocks * per_block < blocks + want {
            blocks += 1;
        }
        let index = loop {
            let index = self.refcounts.end_of_blocks() / per_block;
            if index + blocks <= self.refcounts.table_len() {
                break index;
            }
            self.grow_table(index + blocks - 1)?;
        };
        let first = HostCluster(index * per_block);
        let used = blocks + want;
        let at = first.offset(&self.geometry);
        let len = used << self.geometry.cluster_bits();
        if at.plus(len).0 > HOST_LIMIT {
            return Err(ImageError::new(
                ErrorKind::NoSpace,
                "the image has reached its largest size",
            ));
        }
        self.overlap.check_free(at, len, &self.geometry)?;
        for i in 0..blocks {
            self.write_block(first.plus(i), used.saturating_sub(i * per_block))?;
        }
        for i in 0..blocks {
            let block = first.plus(i).offset(&self.geometry);
            self.refcounts.link_block(index + i, block);
            self.overlap
                .add(block, 1, Kind::RefcountBlock, &self.geometry);
        }
        self.host.touch(at, len);
        Ok(first.plus(blocks))
    }

    /// Raises the counts of `count` clusters in use from `first` on by 1: all of them, or none.
    pub(super) fn raise(&mut self, first: HostCluster, count: u64) -> Result<()> {
        let in_use = 1..self.geometry.refcount_max();
        let mut done = 0;
        while done < count {
            let raise = |_, n: u64| in_use.contains(&n).then_some(n.saturating_add(1));
            let raised = self
                .refcounts
                .change_run(first.plus(done), count - done, raise);
            // One that cannot be raised says why.
            let raised = raised.and_then(|more| match more {
                0 => self.raise_one(first.plus(done)).map(|()| 1),
                more => Ok(more),
            });
            match raised {
                Ok(more) => done += more,
                Err(error) => {
                    self.lower_run(first, done)?;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn raise_one(&mut self, cluster: HostCluster) -> Result<()> {
        let count = self.refcounts.get(cluster)?;
        if count == 0 {
            return Err(self.unreferenced(cluster));
        }
        self.refcounts.set(cluster, count.saturating_add(1))
    }

    /// Raises the counts of free clusters to 1.
    fn take(&mut self, first: HostCluster, count: u64) -> Result<Run> {
        let at = first.offset(&self.geometry);
        let len = count << self.geometry.cluster_bits();
        self.overlap.check_free(at, len, &self.geometry)?;
        for i in 0..count {
            self.refcounts.set(first.plus(i), 1)?;
        }
        Ok(Run {
            first,
            count,
            fresh: self.host.touch(at, len),
        })
    }

    /// The cluster behind the last one in use.
    pub(super) fn end(&mut self) -> Result<HostCluster> {
        let mut end = self.refcounts.end_of_blocks();
        while end > 0 && self.refcounts.get(HostCluster(end - 1))? == 0 {
            end -= 1;
            if self.refcounts.block(HostCluster(end)).is_none() {
                end -= end % self.geometry.block_entries();
            }
        }
        Ok(HostCluster(end))
    }

    fn find_free(&mut self, mut from: u64, want: u64) -> Result<(u64, u64)> {
        let limit = HOST_LIMIT >> self.geometry.cluster_bits();
        while from < limit {
            match self.refcounts.scan(from, want)? {
                Scan::Free(first, count) => return Ok((first, count)),
                Scan::NoneBefore(next) => from = next,
            }
        }
        Err(ImageError::new(
            ErrorKind::NoSpace,
            "the image has reached its largest size",
        ))
    }

    /// Sees to it that `cluster`, which is free, has a refcount block. True if that took
    /// clusters, so that the search must begin again.
    fn make_block(&mut self, cluster: HostCluster) -> Result<bool> {
        if self.refcounts.block(cluster).is_some() {
            return Ok(false);
        }
        let index = cluster.0 / self.geometry.block_entries();
        if index >= self.refcounts.table_len() {
            self.grow_table(index)?;
            return Ok(true);
        }
        let first = HostCluster(index * self.geometry.block_entries());
        let at = first.offset(&self.geometry);
        self.overlap
            .check_free(at, self.geometry.cluster_size(), &self.geometry)?;
        self.write_block(first, 1)?;
        self.refcounts.link_block(index, at);
        self.overlap.add(at, 1, Kind::RefcountBlock, &self.geometry);
        Ok(true)
    }

    /// Writes a new block at `at` in which its first `used` clusters have refcount 1.
    fn write_block(&self, at: HostCluster, used: u64) -> Result<()> {
        let mut bytes = zeroed(self.geometry.cluster_size());
        for i in 0..used.min(self.geometry.block_entries()) {
            width::set(&mut bytes, i, self.geometry.refcount_order(), 1);
        }
        self.host
            .write(&bytes, at.offset(&self.geometry), "a refcount block")
    }

    /// Replaces the refcount table by one with room for block `index` and more.
    fn grow_table(&mut self, index: u64) -> Result<()> {
        let growth = self.plan_growth(index)?;
        let at = growth.first.offset(&self.geometry);
        let len = (growth.blocks + growth.clusters) << self.geometry.cluster_bits();
        self.overlap.check_free(at, len, &self.geometry)?;
        let table = self.write_growth(&growth)?;
        self.adopt_growth(&growth, table)
    }

    /// The smallest place for a bigger table that describes itself: the table and the blocks that
    /// count its clusters depend on each other.
    fn plan_growth(&self, index: u64) -> Result<Growth> {
        let per_block = self.geometry.block_entries();
        let per_cluster = self.geometry.cluster_size() / 8;
        let max = MAX_REFCOUNT_TABLE_BYTES >> self.geometry.cluster_bits();
        let first = HostCluster(index * per_block);
        let mut blocks = 1;
        loop {
            let entries = (index + blocks + 1).max(self.refcounts.table_len() * 3 / 2);
            let clusters = entries.div_ceil(per_cluster).min(max);
            if clusters * per_cluster < index + blocks {
                return Err(ImageError::new(
                    ErrorKind::NoSpace,
                    "the refcount table is full",
                ));
            }
            if blocks * per_block >= blocks + clusters {
                return Ok(Growth {
                    first,
                    index,
                    blocks,
                    clusters,
                });
            }
            blocks += 1;
        }
    }

    /// Writes the blocks and the table, switches the header over, and gives the table's place.
    fn write_growth(&self, growth: &Growth) -> Result<HostOffset> {
        let geometry = &self.geometry;
        let used = growth.blocks + growth.clusters;
        let entries = (growth.clusters << geometry.cluster_bits()) / 8;
        let mut bytes = self.refcounts.encode_table(entries);
        for i in 0..growth.blocks {
            let block = growth.first.plus(i);
            self.write_block(block, used.saturating_sub(i * geometry.block_entries()))?;
            let entry = block.offset(geometry).0.to_be_bytes();
            put(&mut bytes, buffer_len((growth.index + i) * 8), &entry);
        }
        let table = growth.first.plus(growth.blocks).offset(geometry);
        self.host.write(&bytes, table, "the refcount table")?;
        self.host.barrier(Barrier::TableBeforeHeader)?;
        let clusters = u32::try_from(growth.clusters).unwrap_or(u32::MAX);
        let fields = [&table.0.to_be_bytes()[..], &clusters.to_be_bytes()[..]].concat();
        self.host
            .write(&fields, HostOffset(AT_REFCOUNT_TABLE), "the header")?;
        self.host.barrier(Barrier::HeaderBeforeRelease)?;
        Ok(table)
    }

    /// Goes on with the table that the header now refers to, and frees the old one.
    fn adopt_growth(&mut self, growth: &Growth, table: HostOffset) -> Result<()> {
        let (old, old_bytes) = (self.refcounts.table_offset, self.refcounts.table_bytes());
        let bytes = growth.clusters << self.geometry.cluster_bits();
        self.refcounts.switch_table(table, bytes / 8);
        self.overlap
            .remove(old, old_bytes, Kind::RefcountTable, &self.geometry);
        self.overlap
            .add(table, bytes, Kind::RefcountTable, &self.geometry);
        for i in 0..growth.blocks {
            let block = growth.first.plus(i).offset(&self.geometry);
            self.refcounts.adopt_block(growth.index + i, block);
            self.overlap
                .add(block, 1, Kind::RefcountBlock, &self.geometry);
        }
        let old = old.cluster(&self.geometry);
        for i in 0..self.geometry.clusters(old_bytes) {
            self.lower(old.plus(i))?;
        }
        Ok(())
    }

    /// Takes room for `len` bytes of compressed data, less than a cluster, behind earlier
    /// compressed data where that fits.
    pub(super) fn allocate_bytes(&mut self, len: u64) -> Result<HostOffset> {
        let tail = self.compressed_tail;
        let at = match tail {
            Some(tail) if self.extend_tail(tail, len)? => tail,
            _ => self.allocate(1)?.first.offset(&self.geometry),
        };
        let end = at.plus(len);
        if end.0 > compressed_limit(&self.geometry) {
            return Err(ImageError::new(
                ErrorKind::NoSpace,
                "compressed clusters cannot lie that far into the file",
            )
            .at(at.0));
        }
        self.compressed_tail = (!end.is_aligned(&self.geometry)).then_some(end);
        Ok(at)
    }

    /// Takes `len` bytes from `tail` on, if the count of its cluster can be raised and the data
    /// fits there or into the next cluster too.
    fn extend_tail(&mut self, tail: HostOffset, len: u64) -> Result<bool> {
        let cluster = tail.cluster(&self.geometry);
        let count = self.refcounts.get(cluster)?;
        if count == 0 || count == self.geometry.refcount_max() {
            return Ok(false);
        }
        if tail.plus(len - 1).cluster(&self.geometry) != cluster {
            let next = cluster.plus(1);
            let free = self.refcounts.block(next).is_some() && self.refcounts.get(next)? == 0;
            if !free {
                return Ok(false);
            }
            self.take(next, 1)?;
            if self.hint == next.0 {
                self.hint += 1;
            }
        }
        self.refcounts.set(cluster, count + 1)?;
        Ok(true)
    }

    /// Gives back clusters that nothing ever referred to.
    pub(super) fn undo(&mut self, run: Run) -> Result<()> {
        self.lower_run(run.first, run.count).map(|_| ())
    }

    /// Notes that one reference to each of `count` clusters from `first` on is gone.
    pub(super) fn release(&mut self, first: HostCluster, count: u64, reason: Reason) {
        if let Some(last) = self.released.last_mut()
            && last.reason == reason
            && last.first.plus(last.count) == first
        {
            last.count += count;
            return;
        }
        self.released.push(Release {
            first,
            count,
            reason,
        });
        self.backlog.fetch_add(1, Ordering::Relaxed);
    }

    /// How many notes of [`Self::release`] wait.
    pub(super) fn pending_releases(&self) -> usize {
        self.released.len() + self.cleared.len()
    }

    /// The same, to be looked at without the metadata.
    pub(super) fn backlog(&self) -> &Arc<AtomicUsize> {
        &self.backlog
    }

    /// Notes that nothing on disk refers any more to what has been released so far.
    pub(super) fn note_cleared(&mut self) -> Cleared {
        self.cleared.extend(self.released.drain(..));
        Cleared(self.settled + self.cleared.len() as u64)
    }

    /// Lowers the refcounts of what was released before a [`Self::note_cleared`]. No request that
    /// began before that is still under way.
    pub(super) fn apply_releases(&mut self, until: Cleared) -> Result<()> {
        let ready = until.0.saturating_sub(self.settled);
        let ready = buffer_len(ready).min(self.cleared.len());
        let cleared: Vec<Release> = self.cleared.drain(..ready).collect();
        self.settled += cleared.len() as u64;
        self.backlog.fetch_sub(cleared.len(), Ordering::Relaxed);
        let mut empty = Vec::new();
        for release in cleared {
            let mut free = self.lower_run(release.first, release.count)?;
            if release.reason == Reason::Discarded {
                empty.append(&mut free);
            }
        }
        if !empty.is_empty() {
            self.refcounts.write_blocks()?;
            self.host.barrier(Barrier::LoweredBeforeUse)?;
            self.give_to_host(&empty);
        }
        Ok(())
    }

    fn give_to_host(&self, clusters: &[HostCluster]) {
        for run in clusters.chunk_by(|a, b| a.plus(1) == *b) {
            if let Some(first) = run.first() {
                let len = (run.len() as u64) << self.geometry.cluster_bits();
                self.host.discard(first.offset(&self.geometry), len);
            }
        }
    }

    fn unreferenced(&self, cluster: HostCluster) -> ImageError {
        ImageError::corrupt("a cluster in use has refcount 0; run `cowbox img check -r all`")
            .at(cluster.offset(&self.geometry).0)
    }

    /// Lowers one refcount by 1.
    fn lower(&mut self, cluster: HostCluster) -> Result<()> {
        self.lower_run(cluster, 1).map(|_| ())
    }

    /// Lowers the refcounts of `count` clusters from `first` on by 1 and gives those that are free
    /// now.
    fn lower_run(&mut self, first: HostCluster, count: u64) -> Result<Vec<HostCluster>> {
        let (mut free, mut done) = (Vec::new(), 0);
        while done < count {
            let lower = |cluster, n: u64| {
                let lowered = n.checked_sub(1)?;
                if lowered == 0 {
                    free.push(cluster);
                }
                Some(lowered)
            };
            let at = first.plus(done);
            match self.refcounts.change_run(at, count - done, lower)? {
                0 => return Err(self.unreferenced(at)),
                more => done += more,
            }
        }
        for cluster in &free {
            self.hint = self.hint.min(cluster.0);
        }
        let tail = self
            .compressed_tail
            .map(|tail| tail.cluster(&self.geometry));
        self.compressed_tail = self
            .compressed_tail
            .filter(|_| tail.is_none_or(|tail| !free.contains(&tail)));
        Ok(free)
    }
}
