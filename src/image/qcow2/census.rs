//! What each cluster of an image file is used for: the picture that `map --visual` draws.
//!
//! From the pointers of [`super::layout`] and the refcounts. Kinds are kept in pages that exist
//! where something is used or counted, so that the work and the memory are bounded by what the
//! file holds, and an image of whatever damage has a picture.

use std::collections::{BTreeMap, HashSet};

use super::super::fields::{buffer_len, u64_at, zeroed};
use super::super::{ImageError, Result};
use super::address::HostOffset;
use super::header::Header;
use super::layout::{self, Reference, Role, Tree};
use super::refcount::BLOCK_OFFSET;
use super::width;
use crate::storage::Storage;

/// Kinds are kept in pages of this many clusters.
const PAGE: u64 = 4096;

/// What a cluster of the file is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Nothing refers to it, and its refcount is 0.
    Free,
    /// Nothing refers to it, but its refcount is not 0.
    Leaked,
    /// Data that only snapshots hold.
    SnapshotData,
    /// Data of the disk.
    Data,
    /// Compressed data.
    Compressed,
    /// Kept for a part of the disk that reads as zeros.
    Zero,
    /// An L2 table.
    L2,
    /// The refcount table, or a refcount block.
    Refcounts,
    /// An L1 table.
    L1,
    /// The snapshot table.
    Snapshots,
    /// The bitmap directory, the table of a bitmap, or bits.
    Bitmaps,
    /// The LUKS header.
    Encryption,
    /// The header.
    Header,
    /// Two uses that exclude each other.
    Conflict,
}

impl Kind {
    /// All kinds, in the order of a legend.
    pub const ALL: [Self; 14] = [
        Self::Header,
        Self::L1,
        Self::L2,
        Self::Refcounts,
        Self::Data,
        Self::SnapshotData,
        Self::Compressed,
        Self::Zero,
        Self::Snapshots,
        Self::Bitmaps,
        Self::Encryption,
        Self::Free,
        Self::Leaked,
        Self::Conflict,
    ];

    fn of(role: Role) -> Self {
        match role {
            Role::Header => Self::Header,
            Role::L1(_) => Self::L1,
            Role::L2(..) => Self::L2,
            Role::Data(Tree::Disk, _) => Self::Data,
            Role::Data(Tree::Snapshot(_), _) => Self::SnapshotData,
            Role::Kept(..) => Self::Zero,
            Role::Compressed(..) => Self::Compressed,
            Role::RefcountTable | Role::RefcountBlock(_) => Self::Refcounts,
            Role::SnapshotTable => Self::Snapshots,
            Role::BitmapDirectory | Role::BitmapTable(_) | Role::BitmapBits(..) => Self::Bitmaps,
            Role::EncryptionHeader => Self::Encryption,
        }
    }

    /// What a cluster is that is used both ways.
    fn and(self, other: Self) -> Self {
        let guest = |kind| matches!(kind, Self::Data | Self::SnapshotData | Self::Zero);
        match (self, other) {
            (Self::Free, kind) => kind,
            (one, two) if one == two => one,
            // A cluster that a snapshot shares, perhaps with the disk.
            (one, two) if guest(one) && guest(two) => match (one, two) {
                (Self::Data, _) | (_, Self::Data) => Self::Data,
                _ => Self::SnapshotData,
            },
            _ => Self::Conflict,
        }
    }
}

/// The kinds of all clusters of a file.
#[derive(Debug)]
pub struct Census {
    pages: BTreeMap<u64, Box<[Kind]>>,
    /// So many clusters of tables that take several may still be noted: no two share one, unless
    /// the image is made to do harm.
    budget: u64,
    /// Clusters of the file.
    pub clusters: u64,
    /// Pointers that lead past the end of the file.
    pub past_end: u64,
    /// Pointers and tables that make no sense.
    pub passed_over: u64,
}

/// How many clusters of each kind there are somewhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally([u64; Kind::ALL.len()]);

impl Tally {
    /// How many of `kind`.
    pub fn get(&self, kind: Kind) -> u64 {
        self.0.get(kind as usize).copied().unwrap_or(0)
    }

    fn add(&mut self, kind: Kind, count: u64) {
        if let Some(of_kind) = self.0.get_mut(kind as usize) {
            *of_kind += count;
        }
    }

    fn take(&mut self, kind: Kind) {
        if let Some(of_kind) = self.0.get_mut(kind as usize) {
            *of_kind = of_kind.saturating_sub(1);
        }
    }

    /// What stands for all of them: a leak or a conflict, if there is any; else the most frequent
    /// kind; of several, the one that comes first in a legend.
    pub fn dominant(&self) -> Kind {
        let finding = [Kind::Conflict, Kind::Leaked];
        if let Some(found) = finding.into_iter().find(|&kind| self.get(kind) > 0) {
            return found;
        }
        let by_count = Kind::ALL.into_iter().rev();
        by_count
            .max_by_key(|&kind| self.get(kind))
            .unwrap_or(Kind::Free)
    }
}

impl Census {
    /// Takes the census of the image in `storage`.
    ///
    /// Errors: what the host says about reading.
    pub fn take(storage: &dyn Storage, header: &Header) -> Result<Self> {
        let file_len = storage
            .len()
            .map_err(|e| ImageError::io("find the length of the file", e))?;
        let clusters = header.geometry.clusters(file_len);
        let mut census = Self {
            pages: BTreeMap::new(),
            budget: clusters.saturating_mul(2),
            clusters,
            past_end: 0,
            passed_over: 0,
        };
        let bits = header.geometry.cluster_bits();
        let passed_over = layout::visit(storage, header, &mut |found| census.note(&found, bits))?;
        census.passed_over += passed_over;
        census.note_leaks(storage, header)?;
        Ok(census)
    }

    fn note(&mut self, found: &Reference, cluster_bits: u32) {
        let first = found.at.0 >> cluster_bits;
        let last = found.at.plus(found.len - 1).0 >> cluster_bits;
        // What a compressed cluster may take at most reaches past the end of a file that ends
        // inside its last sector.
        let inside = match found.role {
            Role::Compressed(..) => first < self.clusters,
            _ => last < self.clusters,
        };
        if !inside {
            self.past_end += 1;
            return;
        }
        let kind = Kind::of(found.role);
        if last > first {
            let Some(left) = self.budget.checked_sub(last - first) else {
                self.passed_over += 1;
                return;
            };
            self.budget = left;
        }
        for cluster in first..=last.min(self.clusters - 1) {
            let slot = self.slot(cluster);
            *slot = slot.and(kind);
        }
    }

    fn slot(&mut self, cluster: u64) -> &mut Kind {
        let free = || vec![Kind::Free; buffer_len(PAGE)].into_boxed_slice();
        let page = self.pages.entry(cluster / PAGE).or_insert_with(free);
        page.get_mut(buffer_len(cluster % PAGE))
            .expect("a page has every place of its clusters")
    }

    /// Marks what nothing refers to and has a refcount all the same.
    fn note_leaks(&mut self, storage: &dyn Storage, header: &Header) -> Result<()> {
        let geometry = &header.geometry;
        let mut seen = HashSet::new();
        for (index, block) in blocks(storage, header)? {
            let first = index * geometry.block_entries();
            let inside = block.is_aligned(geometry) && block.cluster(geometry).0 < self.clusters;
            if first >= self.clusters || !inside || !seen.insert(block) {
                continue;
            }
            let mut bytes = zeroed(geometry.cluster_size());
            read(storage, &mut bytes, block, "a refcount block")?;
            let count = geometry.block_entries().min(self.clusters - first);
            for i in 0..count {
                let counted = width::get(&bytes, i, geometry.refcount_order()) != 0;
                if counted && self.kind(first + i) == Kind::Free {
                    *self.slot(first + i) = Kind::Leaked;
                }
            }
        }
        Ok(())
    }

    /// What the cluster with this index is.
    pub fn kind(&self, cluster: u64) -> Kind {
        let page = self.pages.get(&(cluster / PAGE));
        page.and_then(|page| page.get(buffer_len(cluster % PAGE)))
            .copied()
            .unwrap_or(Kind::Free)
    }

    /// The tallies of the file in pieces of `per_piece` clusters.
    pub fn tallies(&self, per_piece: u64) -> Vec<Tally> {
        let per_piece = per_piece.max(1);
        let pieces = buffer_len(self.clusters.div_ceil(per_piece));
        let mut tallies = vec![Tally::default(); pieces];
        for (tally, number) in tallies.iter_mut().zip(0..) {
            let first = number * per_piece;
            tally.add(Kind::Free, per_piece.min(self.clusters - first));
        }
        for (page, kinds) in &self.pages {
            let used = (page * PAGE..).zip(kinds.iter());
            for (cluster, &kind) in used.filter(|&(_, &kind)| kind != Kind::Free) {
                if let Some(tally) = tallies.get_mut(buffer_len(cluster / per_piece)) {
                    tally.add(kind, 1);
                    tally.take(Kind::Free);
                }
            }
        }
        tallies
    }
}

/// The entries of the refcount table that have a block: index and place.
fn blocks(storage: &dyn Storage, header: &Header) -> Result<Vec<(u64, HostOffset)>> {
    let mut table = zeroed(header.refcount_table_bytes());
    let at = header.refcount_table_offset;
    read(storage, &mut table, at, "the refcount table")?;
    let entries = (0..table.len() / 8).map(|i| u64_at(&table, i * 8).unwrap_or(0) & BLOCK_OFFSET);
    let found = (0..).zip(entries).filter(|&(_, block)| block != 0);
    Ok(found
        .map(|(index, block)| (index, HostOffset(block)))
        .collect())
}

fn read(storage: &dyn Storage, buf: &mut [u8], at: HostOffset, what: &str) -> Result<()> {
    let done = storage.read_at(buf, at.0);
    done.map_err(|e| ImageError::io(&format!("read {what}"), e).at(at.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_kind_stands_for_a_piece_but_a_leak_is_never_hidden() {
        let mut tally = Tally::default();
        tally.add(Kind::Data, 5);
        tally.add(Kind::Free, 5);
        tally.add(Kind::L2, 2);
        assert_eq!(tally.dominant(), Kind::Data);
        tally.add(Kind::Leaked, 1);
        assert_eq!(tally.dominant(), Kind::Leaked);
    }

    #[test]
    fn a_cluster_shared_with_a_snapshot_is_no_conflict() {
        assert_eq!(Kind::SnapshotData.and(Kind::Data), Kind::Data);
        assert_eq!(Kind::Compressed.and(Kind::Compressed), Kind::Compressed);
        assert_eq!(Kind::L2.and(Kind::Data), Kind::Conflict);
        assert_eq!(Kind::Header.and(Kind::L1), Kind::Conflict);
    }
}
