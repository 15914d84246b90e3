//! The refcount structure of an image that gets shorter: its blocks move, those that count nothing
//! any more go, and so does what of the table has nothing in it.

use std::collections::HashSet;

use super::super::super::Result;
use super::super::Qcow2;
use super::super::address::{HostCluster, HostOffset};
use super::super::header::AT_REFCOUNT_TABLE;
use super::super::host::Barrier;
use super::super::space::Reason;
use super::plan::{Places, Used};
use super::zeroed;

impl Qcow2 {
    /// The clusters of the file by their refcounts.
    pub(super) fn used(&mut self) -> Result<Used> {
        let per_block = self.geometry.block_entries();
        let refcounts = &mut self.tables().space.refcounts;
        let blocks: Vec<_> = refcounts.blocks().collect();
        let mut used = Used::default();
        for (index, _) in blocks {
            let first = index as u64 * per_block;
            for cluster in first..first + per_block {
                let count = refcounts.get(HostCluster(cluster))?;
                used.add(cluster, count != 0);
            }
        }
        Ok(used)
    }

    /// Moves the refcount blocks and the refcount table from behind cluster `start` in front of
    /// it, and gives up what of them is not needed. Gives how many pieces moved.
    pub(super) fn move_counts(&mut self, start: u64, places: &mut Places) -> Result<u64> {
        let mut moved = self.move_blocks(start, places)?;
        self.drop_blocks(start)?;
        self.shorten_table()?;
        moved += self.move_table(start, places)?;
        Ok(moved)
    }

    fn move_blocks(&mut self, start: u64, places: &mut Places) -> Result<u64> {
        let geometry = self.geometry;
        let refcounts = &mut self.tables().space.refcounts;
        let high = |&(index, block): &(usize, HostOffset)| {
            block.cluster(&geometry).0 >= start && (index as u64) * geometry.block_entries() < start
        };
        let mut moves = Vec::new();
        for (index, from) in refcounts.blocks().filter(high).collect::<Vec<_>>() {
            let Some(to) = places.take(1) else { break };
            refcounts.set(to, 1)?;
            moves.push((index as u64, from, to.offset(&geometry)));
        }
        if moves.is_empty() {
            return Ok(0);
        }
        refcounts.write_blocks()?;
        let mut block = zeroed(geometry.cluster_size());
        for &(_, from, to) in &moves {
            self.host.read(&mut block, from, "a refcount block")?;
            self.host.write(&block, to, "a refcount block")?;
        }
        self.host.barrier(Barrier::BlockBeforeTable)?;
        for &(index, _, to) in &moves {
            self.write_table_entry(index, to)?;
        }
        self.host.barrier(Barrier::ClearedBeforeReuse)?;
        for &(index, _, to) in &moves {
            self.tables().space.refcounts.adopt_block(index, to);
        }
        for &(_, from, _) in &moves {
            let space = &mut self.tables().space;
            space.release(from.cluster(&geometry), 1, Reason::Discarded);
        }
        self.settle_releases(0)?;
        Ok(moves.len() as u64)
    }

    fn write_table_entry(&mut self, index: u64, block: HostOffset) -> Result<()> {
        let at = self.tables().space.refcounts.table_offset.plus(index * 8);
        self.host
            .write(&block.0.to_be_bytes(), at, "the refcount table")
    }

    /// Gives up the blocks of clusters from `start` on that count only each other.
    fn drop_blocks(&mut self, start: u64) -> Result<()> {
        let geometry = self.geometry;
        let dropped = self.needless_blocks(start)?;
        if dropped.is_empty() {
            return Ok(());
        }
        for &(index, _) in &dropped {
            self.write_table_entry(index, HostOffset(0))?;
        }
        self.host.barrier(Barrier::ClearedBeforeReuse)?;
        let space = &mut self.tables().space;
        for &(index, _) in &dropped {
            space.refcounts.adopt_block(index, HostOffset(0));
        }
        for &(_, block) in &dropped {
            let block = block.cluster(&geometry);
            if space.refcounts.block(block).is_some() {
                space.release(block, 1, Reason::Discarded);
            }
        }
        self.settle_releases(0)
    }

    /// The blocks of clusters from `start` on that count nothing but such blocks: the entry of each
    /// in the table, and its place.
    fn needless_blocks(&mut self, start: u64) -> Result<Vec<(u64, HostOffset)>> {
        let geometry = self.geometry;
        let refcounts = &mut self.tables().space.refcounts;
        let blocks: Vec<_> = refcounts.blocks().map(|(i, at)| (i as u64, at)).collect();
        let place = |block: HostOffset| block.cluster(&geometry);
        let mut needless: HashSet<HostCluster> = blocks.iter().map(|&(_, b)| place(b)).collect();
        let mut counted = Vec::new();
        for &(index, block) in &blocks {
            let first = index * geometry.block_entries();
            let mut others = Vec::new();
            for cluster in (first..first + geometry.block_entries()).map(HostCluster) {
                if refcounts.get(cluster)? != 0 {
                    others.push(cluster);
                }
                // The first that is no block decides.
                if others.last().is_some_and(|last| !needless.contains(last)) {
                    break;
                }
            }
            if first < start || others.last().is_some_and(|last| !needless.contains(last)) {
                needless.remove(&place(block));
            } else {
                counted.push((index, block, others));
            }
        }
        // A block that is needed needs the one that counts it.
        loop {
            let before = counted.len();
            counted.retain(|(_, block, others)| {
                let stays = others.iter().all(|other| needless.contains(other));
                if !stays {
                    needless.remove(&place(*block));
                }
                stays
            });
            if counted.len() == before {
                break;
            }
        }
        Ok(counted
            .into_iter()
            .map(|(index, block, _)| (index, block))
            .collect())
    }

    /// Clusters of table that the blocks there are need.
    fn needed_table(&mut self) -> u64 {
        let entries = self.tables().space.refcounts.end_of_blocks() / self.geometry.block_entries();
        self.geometry.clusters(entries * 8).max(1)
    }

    /// Gives up the clusters of the refcount table in which there is nothing.
    fn shorten_table(&mut self) -> Result<()> {
        let needed = self.needed_table();
        let refcounts = &self.tables().space.refcounts;
        let (at, bytes) = (refcounts.table_offset, refcounts.table_bytes());
        let clusters = self.geometry.clusters(bytes);
        if needed >= clusters {
            return Ok(());
        }
        self.switch_refcount_table(at, needed)?;
        let first = at.cluster(&self.geometry).plus(needed);
        let space = &mut self.tables().space;
        space.release(first, clusters - needed, Reason::Discarded);
        self.settle_releases(0)
    }

    fn move_table(&mut self, start: u64, places: &mut Places) -> Result<u64> {
        let geometry = self.geometry;
        let refcounts = &mut self.tables().space.refcounts;
        let (from, len) = (refcounts.table_offset, refcounts.table_bytes());
        let clusters = geometry.clusters(len);
        if from.cluster(&geometry).0 + clusters <= start {
            return Ok(0);
        }
        let Some(first) = places.take(clusters) else {
            return Ok(0);
        };
        for i in 0..clusters {
            refcounts.set(first.plus(i), 1)?;
        }
        let bytes = refcounts.encode_table(len / 8);
        refcounts.write_blocks()?;
        let to = first.offset(&geometry);
        self.host.write(&bytes, to, "the refcount table")?;
        self.host.barrier(Barrier::TableBeforeHeader)?;
        self.switch_refcount_table(to, clusters)?;
        self.release_range(from, len);
        self.settle_releases(0)?;
        Ok(1)
    }

    /// Makes the header refer to the refcount table at `at`, and goes on with it.
    fn switch_refcount_table(&mut self, at: HostOffset, clusters: u64) -> Result<()> {
        let count = u32::try_from(clusters).unwrap_or(u32::MAX);
        let fields = [&at.0.to_be_bytes()[..], &count.to_be_bytes()[..]].concat();
        let place = HostOffset(AT_REFCOUNT_TABLE);
        self.host.write(&fields, place, "the header")?;
        self.host.barrier(Barrier::HeaderBeforeRelease)?;
        let entries = (clusters << self.geometry.cluster_bits()) / 8;
        self.tables().space.refcounts.switch_table(at, entries);
        Ok(())
    }
}
