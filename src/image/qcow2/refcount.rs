//! Refcounts: the two-level table that says how often each host cluster is referred to.
//!
//! The table (at most 8 MiB) is in memory, its blocks are cached in slices. This file reads,
//! changes and writes counts; [`super::space`] decides which clusters to take and makes new
//! blocks. Format description, "Host cluster management".

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::fields::{buffer_len, zeroed};
use super::super::{ImageError, Result};
use super::address::{HostCluster, HostOffset};
use super::geometry::Geometry;
use super::header::Header;
use super::host::Host;
use super::open::CacheSizes;
use super::width;

use super::cache::TableCache;

/// Refcount table entries: bits 9 to 63 are the offset of a block.
pub(super) const BLOCK_OFFSET: u64 = !0x1ff;

/// The refcounts of an image.
#[derive(Debug)]
pub(super) struct Refcounts {
    host: Arc<Host>,
    geometry: Geometry,
    pub(super) table_offset: HostOffset,
    table: Vec<u64>,
    dirty: BTreeSet<usize>,
    blocks: TableCache,
}

fn cache(bytes: u64, geometry: &Geometry) -> TableCache {
    TableCache::new(bytes, geometry.slice_size(), "a refcount block")
}

/// What a search for free clusters found in one piece of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scan {
    /// Clusters of refcount 0: the first, and how many follow each other.
    Free(u64, u64),
    /// None up to this cluster.
    NoneBefore(u64),
}

impl Refcounts {
    /// Reads the table of the image.
    pub(super) fn load(host: &Arc<Host>, header: &Header) -> Result<Self> {
        let geometry = header.geometry;
        let mut bytes = zeroed(header.refcount_table_bytes());
        host.read(
            &mut bytes,
            header.refcount_table_offset,
            "the refcount table",
        )?;
        let words = bytes.as_chunks::<8>().0.iter();
        Ok(Self {
            host: Arc::clone(host),
            geometry,
            table_offset: header.refcount_table_offset,
            table: words.map(|&word| u64::from_be_bytes(word)).collect(),
            dirty: BTreeSet::new(),
            blocks: cache(CacheSizes::default().refcounts, &geometry),
        })
    }

    /// The same with at most `bytes` of cached blocks.
    pub(super) fn with_cache(self, bytes: u64) -> Self {
        let blocks = cache(bytes, &self.geometry);
        Self { blocks, ..self }
    }

    /// Entries of the table.
    pub(super) fn table_len(&self) -> u64 {
        self.table.len() as u64
    }

    /// Bytes of the table.
    pub(super) fn table_bytes(&self) -> u64 {
        self.table_len() * 8
    }

    /// The blocks that exist: table index and offset.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (usize, HostOffset)> {
        let offsets = self.table.iter().map(|raw| HostOffset(raw & BLOCK_OFFSET));
        offsets.enumerate().filter(|(_, block)| block.0 != 0)
    }

    /// One past the last cluster that a block describes.
    pub(super) fn end_of_blocks(&self) -> u64 {
        let last = self
            .blocks()
            .last()
            .map_or(0, |(index, _)| index as u64 + 1);
        last * self.geometry.block_entries()
    }

    /// The block that holds the count of `cluster`, if there is one.
    pub(super) fn block(&self, cluster: HostCluster) -> Option<HostOffset> {
        let index = buffer_len(cluster.0 / self.geometry.block_entries());
        let raw = self.table.get(index)? & BLOCK_OFFSET;
        (raw != 0).then_some(HostOffset(raw))
    }

    /// The refcount of `cluster`; 0 where there is no block for it.
    pub(super) fn get(&mut self, cluster: HostCluster) -> Result<u64> {
        let Some(slice) = self.load_slice(cluster)? else {
            return Ok(0);
        };
        let order = self.geometry.refcount_order();
        let index = cluster.0 % self.geometry.slice_refcounts();
        Ok(self
            .blocks
            .look(slice, |bytes| width::get(bytes, index, order))
            .unwrap_or(0))
    }

    /// Sets the refcount of `cluster`, whose block exists, in the cache.
    pub(super) fn set(&mut self, cluster: HostCluster, value: u64) -> Result<()> {
        if value > self.geometry.refcount_max() {
            return Err(ImageError::new(
                super::super::ErrorKind::Unsupported,
                format!("a refcount of {value} does not fit the refcount width of the image"),
            )
            .at(cluster.offset(&self.geometry).0));
        }
        let Some(slice) = self.load_slice(cluster)? else {
            return Err(
                ImageError::corrupt("a cluster in use has no refcount block")
                    .at(cluster.offset(&self.geometry).0),
            );
        };
        let order = self.geometry.refcount_order();
        let index = cluster.0 % self.geometry.slice_refcounts();
        self.blocks
            .change(slice, |bytes| width::set(bytes, index, order, value));
        match self.blocks.is_crowded() {
            true => self.write_blocks(),
            false => Ok(()),
        }
    }

    /// Changes the counts of up to `count` clusters from `first` on, to the end of their slice:
    /// each becomes what `change` makes of it. Gives how many were changed: it ends before one that
    /// `change` makes nothing of, or that has no block.
    pub(super) fn change_run(
        &mut self,
        first: HostCluster,
        count: u64,
        mut change: impl FnMut(HostCluster, u64) -> Option<u64>,
    ) -> Result<u64> {
        let Some(slice) = self.load_slice(first)? else {
            return Ok(0);
        };
        let order = self.geometry.refcount_order();
        let start = first.0 % self.geometry.slice_refcounts();
        let end = (start + count).min(self.geometry.slice_refcounts());
        let changed = self.blocks.change(slice, |bytes| {
            let mut clusters = (start..end).zip(first.0..);
            let stop = clusters.find(|&(index, cluster)| {
                let old = width::get(bytes, index, order);
                match change(HostCluster(cluster), old) {
                    Some(new) => {
                        width::set(bytes, index, order, new);
                        false
                    }
                    None => true,
                }
            });
            stop.map_or(end, |(index, _)| index) - start
        });
        if self.blocks.is_crowded() {
            self.write_blocks()?;
        }
        Ok(changed.unwrap_or(0))
    }

    /// Looks for free clusters from `from` on, at most `want`, to the end of `from`'s slice.
    pub(super) fn scan(&mut self, from: u64, want: u64) -> Result<Scan> {
        let per_block = self.geometry.block_entries();
        let Some(slice) = self.load_slice(HostCluster(from))? else {
            let end = (from / per_block + 1) * per_block;
            return Ok(Scan::Free(from, want.min(end - from)));
        };
        let per_slice = self.geometry.slice_refcounts();
        let order = self.geometry.refcount_order();
        let base = from - from % per_slice;
        let found = self.blocks.look(slice, |bytes| {
            let mut free = (from % per_slice..per_slice)
                .skip_while(|&i| width::get(bytes, i, order) != 0)
                .take_while(|&i| width::get(bytes, i, order) == 0)
                .take(buffer_len(want));
            let first = free.next()?;
            Some(Scan::Free(base + first, 1 + free.count() as u64))
        });
        Ok(found
            .flatten()
            .unwrap_or(Scan::NoneBefore(base + per_slice)))
    }

    /// Brings the slice with the count of `cluster` into the cache and gives its offset.
    fn load_slice(&mut self, cluster: HostCluster) -> Result<Option<HostOffset>> {
        let Some(block) = self.block(cluster) else {
            return Ok(None);
        };
        if !block.is_aligned(&self.geometry) {
            return Err(ImageError::corrupt("a refcount block is unaligned").at(block.0));
        }
        let in_block = cluster.0 % self.geometry.block_entries();
        let slice_size = self.geometry.slice_size();
        let slice = block.plus(in_block / self.geometry.slice_refcounts() * slice_size);
        if self.blocks.look(slice, |_| ()).is_none() {
            self.blocks
                .load(slice..slice.plus(slice_size), &self.host)?;
        }
        Ok(Some(slice))
    }

    /// Enters a block, whose contents are written, in the table.
    pub(super) fn link_block(&mut self, index: u64, block: HostOffset) {
        let index = buffer_len(index);
        if let Some(entry) = self.table.get_mut(index) {
            *entry = block.0;
            self.dirty.insert(index);
        }
    }

    /// Notes a block that the table on disk has already.
    pub(super) fn adopt_block(&mut self, index: u64, block: HostOffset) {
        if let Some(entry) = self.table.get_mut(buffer_len(index)) {
            *entry = block.0;
        }
    }

    /// The bytes of the table, `entries` entries long.
    pub(super) fn encode_table(&self, entries: u64) -> Vec<u8> {
        let mut bytes: Vec<u8> = self
            .table
            .iter()
            .flat_map(|raw| raw.to_be_bytes())
            .collect();
        bytes.resize(buffer_len(entries * 8), 0);
        bytes
    }

    /// Goes on with the table at `offset`, `entries` entries long, which is written and in force.
    pub(super) fn switch_table(&mut self, offset: HostOffset, entries: u64) {
        self.table_offset = offset;
        self.table.resize(buffer_len(entries), 0);
        self.dirty.clear();
    }

    /// Whether counts are changed and not written.
    pub(super) fn blocks_dirty(&self) -> bool {
        self.blocks.is_dirty()
    }

    /// Whether table entries are changed and not written.
    pub(super) fn table_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Writes changed counts.
    pub(super) fn write_blocks(&mut self) -> Result<()> {
        self.blocks.write_dirty(&self.host)
    }

    /// Writes changed table entries.
    pub(super) fn write_table(&mut self) -> Result<()> {
        for &index in &self.dirty {
            let raw = self.table.get(index).copied().unwrap_or(0);
            let at = self.table_offset.plus(index as u64 * 8);
            self.host
                .write(&raw.to_be_bytes(), at, "the refcount table")?;
        }
        self.dirty.clear();
        Ok(())
    }
}
