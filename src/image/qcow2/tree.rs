//! What the tables of a disk or of a snapshot refer to: raising and lowering the refcounts of all
//! of it, and the COPIED flags that go with them.
//!
//! A flag may be missing, never wrong: it is cleared, and that is durable, before a count leaves 1,
//! and set again only when the count is durably back at 1. Tables are read from the file one at a
//! time, so the caller has written back what the caches hold. Format description, "Snapshots" and
//! "Cluster mapping".

use std::collections::HashSet;
use std::sync::Arc;

use super::super::fields::zeroed;
use super::super::{ImageError, Result};
use super::Qcow2;
use super::address::{GuestCluster, HostCluster, HostOffset};
use super::entry::{COPIED, L1Entry, Mapping, RawEntry};
use super::geometry::Geometry;
use super::ordinary::OrdinaryRun;
use super::references::Ones;
use super::space::Reason;

/// The notes of released clusters that may wait at a time.
const MAX_NOTES: usize = 1 << 20;

/// An L1 table in memory: the root of what one disk, or one snapshot, consists of.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    /// The entries as they stand on disk.
    pub(super) l1: Vec<u64>,
}

impl Tree {
    /// The bytes of the L1 table.
    pub(super) fn encode(&self) -> Vec<u8> {
        self.l1.iter().flat_map(|raw| raw.to_be_bytes()).collect()
    }

    /// The bytes of the L1 table with no flag set, as a second reference to the tree.
    pub(super) fn encode_shared(&self) -> Vec<u8> {
        let words = self.l1.iter().map(|raw| raw & !COPIED);
        words.flat_map(u64::to_be_bytes).collect()
    }
}

impl Qcow2 {
    /// The tree of the L1 table of `entries` entries at `at`.
    pub(super) fn read_tree(&self, at: HostOffset, entries: u32) -> Result<Tree> {
        let mut bytes = zeroed(u64::from(entries) * 8);
        self.host.read(&mut bytes, at, "an L1 table")?;
        let words = bytes.as_chunks::<8>().0.iter();
        Ok(Tree {
            l1: words.map(|&word| u64::from_be_bytes(word)).collect(),
        })
    }

    /// Whether any entry of `tree` is a zero cluster.
    pub(super) fn has_zeros(&self, tree: &Tree) -> Result<bool> {
        let geometry = self.geometry;
        let mut table = zeroed(geometry.cluster_size());
        for (index, &raw) in tree.l1.iter().enumerate() {
            let Some(entry) = L1Entry::decode(raw, index, &geometry)? else {
                continue;
            };
            self.host.read(&mut table, entry.table, "an L2 table")?;
            for at in 0..geometry.l2_entries() {
                let mapping = Mapping::read(&table, at, GuestCluster(0), &geometry)?;
                if matches!(mapping, Mapping::Zero { .. }) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Raises the refcount of everything in `tree` by 1. Where one does not fit, those raised
    /// before are lowered again.
    pub(super) fn raise_tree(&mut self, tree: &Tree) -> Result<()> {
        let mut done: u64 = 0;
        let raised = self.walk_tree(tree, &mut |image, first, count| {
            let space = &mut image.tables().space;
            space.raise(first, count)?;
            done += 1;
            Ok(())
        });
        let Err(error) = raised else { return Ok(()) };
        let mut left = done;
        self.walk_tree(tree, &mut |image, first, count| {
            if left > 0 {
                left -= 1;
                image.tables().space.release(first, count, Reason::Replaced);
                image.settle_releases(MAX_NOTES)?;
            }
            Ok(())
        })?;
        self.settle_releases(0)?;
        self.tables().space.refcounts.write_blocks()?;
        Err(error)
    }

    /// Lowers the refcount of everything in `tree` by 1. Nothing on disk refers to it any more.
    pub(super) fn lower_tree(&mut self, tree: &Tree) -> Result<()> {
        self.walk_tree(tree, &mut |image, first, count| {
            image
                .tables()
                .space
                .release(first, count, Reason::Discarded);
            image.settle_releases(MAX_NOTES)
        })?;
        self.settle_releases(0)
    }

    /// Gives released clusters back where more than `limit` notes about them wait.
    pub(super) fn settle_releases(&mut self, limit: usize) -> Result<()> {
        if self.tables().space.pending_releases() > limit {
            let cleared = self.tables().space.note_cleared();
            self.tables().apply_releases(cleared)?;
            self.tables().space.refcounts.write_blocks()?;
        }
        Ok(())
    }

    /// Calls `visit` with each run of host clusters that `tree` refers to: L2 tables and data.
    fn walk_tree(
        &mut self,
        tree: &Tree,
        visit: &mut dyn FnMut(&mut Self, HostCluster, u64) -> Result<()>,
    ) -> Result<()> {
        let geometry = self.geometry;
        let mut table = zeroed(geometry.cluster_size());
        let mut seen = HashSet::new();
        for (index, &raw) in tree.l1.iter().enumerate() {
            let Some(entry) = L1Entry::decode(raw, index, &geometry)? else {
                continue;
            };
            // Also what bounds the work by the size of the file.
            if !seen.insert(entry.table) {
                return Err(twice(entry.table));
            }
            self.host.read(&mut table, entry.table, "an L2 table")?;
            visit(self, entry.table.cluster(&geometry), 1)?;
            let first = (index as u64) << geometry.l2_bits();
            let mut run = (HostCluster(0), 0);
            let mut at = 0;
            while at < geometry.l2_entries() {
                let (found, entries) = match OrdinaryRun::at(&table, at, &geometry) {
                    Some(run) => (Some((run.start.cluster(&geometry), run.count)), run.count),
                    None => {
                        let mapping =
                            Mapping::read(&table, at, GuestCluster(first + at), &geometry)?;
                        (mapping.clusters(&geometry), 1)
                    }
                };
                at += entries;
                match found {
                    Some((host, count)) if run.0.plus(run.1) == host => run.1 += count,
                    Some(next) => {
                        if run.1 > 0 {
                            visit(self, run.0, run.1)?;
                        }
                        run = next;
                    }
                    None => {}
                }
            }
            if run.1 > 0 {
                visit(self, run.0, run.1)?;
            }
        }
        Ok(())
    }

    /// Clears every COPIED flag in the L2 tables of `tree`.
    pub(super) fn clear_copied(&mut self, tree: &Tree) -> Result<()> {
        let geometry = self.geometry;
        let mut table = zeroed(geometry.cluster_size());
        let mut seen = HashSet::new();
        for (index, &raw) in tree.l1.iter().enumerate() {
            let Some(entry) = L1Entry::decode(raw, index, &geometry)? else {
                continue;
            };
            if !seen.insert(entry.table) {
                return Err(twice(entry.table));
            }
            self.host.read(&mut table, entry.table, "an L2 table")?;
            if flag_table(&mut table, &geometry, &|_, _| Some(false)) {
                self.host.write(&table, entry.table, "an L2 table")?;
            }
        }
        Ok(())
    }

    /// Writes the active L1 table with every COPIED flag cleared.
    pub(super) fn clear_copied_l1(&mut self, tree: &Tree) -> Result<()> {
        let at = self.header.l1_offset;
        self.host.write(&tree.encode_shared(), at, "the L1 table")
    }

    /// Sets COPIED in the active tables wherever the refcount, which is durable, is 1.
    pub(super) fn set_copied(&mut self) -> Result<()> {
        let geometry = self.geometry;
        let (at, entries) = (self.header.l1_offset, self.header.l1_size);
        let mut tree = self.read_tree(at, entries)?;
        let host = Arc::clone(&self.host);
        let ones = Ones::read(&host, &geometry, &self.tables().space.refcounts)?;
        let mut table = zeroed(geometry.cluster_size());
        for (raw, index) in tree.l1.iter_mut().zip(0..) {
            let Some(entry) = L1Entry::decode(*raw, index, &geometry)? else {
                continue;
            };
            if !ones.has(entry.table.cluster(&geometry)) {
                continue;
            }
            *raw |= COPIED;
            self.host.read(&mut table, entry.table, "an L2 table")?;
            let alone = |first: HostCluster, count: u64| {
                let all = |one| ones.all_are(first, count, one);
                if all(true) {
                    Some(true)
                } else {
                    all(false).then_some(false)
                }
            };
            if flag_table(&mut table, &geometry, &alone) {
                self.host.write(&table, entry.table, "an L2 table")?;
            }
        }
        self.host.write(&tree.encode(), at, "the L1 table")
    }
}

fn twice(table: HostOffset) -> ImageError {
    ImageError::corrupt("two L1 entries point to one L2 table; run `cowbox img check`").at(table.0)
}

/// Sets COPIED in the entries of an L2 table whose cluster is alone, and clears it in the others;
/// true if any changed. `alone` says whether there is one reference to each of so many clusters
/// from this one on; `None` if to some, which cannot be of a single one.
pub(super) fn flag_table(
    table: &mut [u8],
    geometry: &Geometry,
    alone: &dyn Fn(HostCluster, u64) -> Option<bool>,
) -> bool {
    let mut changed = false;
    if geometry.has_external_data() {
        // There the flag says that the cluster is there, and nothing of refcounts.
        return changed;
    }
    let mut index = 0;
    while index < geometry.l2_entries() {
        let run = OrdinaryRun::at(table, index, geometry);
        let count = run.map_or(1, |run| run.count);
        let known = run.and_then(|run| Some((run, alone(run.start.cluster(geometry), count)?)));
        match known {
            Some((run, copied)) if copied != run.copied => {
                run.flip(table, index);
                changed = true;
            }
            Some(_) => {}
            None => {
                for index in index..index + count {
                    changed |= flag_entry(table, index, geometry, alone);
                }
            }
        }
        index += count;
    }
    changed
}

/// The same for one entry of any kind.
fn flag_entry(
    table: &mut [u8],
    index: u64,
    geometry: &Geometry,
    alone: &dyn Fn(HostCluster, u64) -> Option<bool>,
) -> bool {
    let raw = RawEntry::read(table, index, geometry);
    let Ok(mapping) = Mapping::decode(raw, GuestCluster(0), geometry) else {
        return false;
    };
    let copied = match (mapping.place(), mapping) {
        (Some((host, _)), _) => alone(host.cluster(geometry), 1) == Some(true),
        (None, Mapping::Compressed { .. }) => false,
        (None, _) => return false,
    };
    let flag = if copied { COPIED } else { 0 };
    let word = raw.word & !COPIED | flag;
    if word != raw.word {
        // The rest of the entry stays, also bits that are unknown.
        RawEntry { word, ..raw }.write(table, index, geometry);
    }
    word != raw.word
}
