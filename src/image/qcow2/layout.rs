//! What an image file consists of: every pointer in it, and what the pointer says is there.
//!
//! ```text
//!   header ──> L1 table ──> L2 tables ──> clusters, compressed bytes
//!          ──> refcount table ──> refcount blocks
//!          ──> snapshot table ──> L1 tables ──> L2 tables (often those of the disk) ──> …
//!          ──> bitmap directory ──> bitmap tables ──> bits
//! ```
//!
//! One walk serves those who draw the file, explain a place in it, or move what is in it. Damaged
//! images are walked as far as they make sense; what makes none is counted. A table is read once,
//! however often it is referred to, and no more bytes of tables are read than the file has, so the
//! work is bounded by the file whatever its header claims. What is *wrong* with an image is the
//! business of [`super::check`].

use std::collections::BTreeMap;

use super::super::fields::{buffer_len, zeroed};
use super::super::{ErrorKind, ImageError, Result};
use super::address::{GuestCluster, GuestOffset, HostOffset};
use super::bitmap::{self, Directory};
use super::entry::{L1Entry, Mapping, OFFSET};
use super::extension::{BITMAPS, LUKS_HEADER};
use super::geometry::Geometry;
use super::header::{AT_L1, AT_REFCOUNT_TABLE, AT_SNAPSHOTS, Header};
use super::refcount::BLOCK_OFFSET;
use super::snapshot;
use crate::storage::{Occupancy, Storage};

/// Whose tables lead somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tree {
    /// Those of the disk.
    Disk,
    /// Those of the snapshot with this place in the snapshot table, from 0.
    Snapshot(u32),
}

/// What lies somewhere in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The first cluster: header, extensions, backing name.
    Header,
    /// An L1 table.
    L1(Tree),
    /// The L2 table of an L1 entry; of several trees the first one is named.
    L2(Tree, u64),
    /// A cluster with data of a guest offset.
    Data(Tree, GuestOffset),
    /// A cluster kept for a guest offset that reads as zeros.
    Kept(Tree, GuestOffset),
    /// The compressed bytes of the cluster at a guest offset.
    Compressed(Tree, GuestOffset),
    /// The refcount table.
    RefcountTable,
    /// The refcount block of an entry of the refcount table.
    RefcountBlock(u64),
    /// The snapshot table.
    SnapshotTable,
    /// The bitmap directory.
    BitmapDirectory,
    /// The table of the bitmap with this place in the directory, from 0.
    BitmapTable(u32),
    /// The bits that an entry of a bitmap's table refers to: bitmap and entry.
    BitmapBits(u32, u64),
    /// The LUKS header with its key material.
    EncryptionHeader,
}

/// A pointer, and the bytes it points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// What is there.
    pub role: Role,
    /// Where it starts.
    pub at: HostOffset,
    /// How long it is in bytes, at least 1. Compressed bytes may be fewer.
    pub len: u64,
    /// The word of 8 bytes that holds the place; 0 for the header, which nothing points to.
    pub pointer: HostOffset,
    /// How often the pointer counts: an entry of an L2 table that several trees share counts
    /// for each.
    pub weight: u64,
}

/// Calls `visit` with every pointer of the image in `storage`, also with those that lead past the
/// end of the file. Gives how many pointers and tables made no sense and were passed over.
///
/// Errors: what the host says about reading.
pub fn visit(
    storage: &dyn Storage,
    header: &Header,
    visit: &mut dyn FnMut(Reference),
) -> Result<u64> {
    let file_len = storage
        .len()
        .map_err(|e| ImageError::io("find the length of the file", e))?;
    let mut walk = Walk {
        storage,
        header,
        geometry: header.geometry,
        file_len,
        budget: file_len,
        l1: BTreeMap::new(),
        l2: BTreeMap::new(),
        passed_over: 0,
        visit,
    };
    walk.fixed();
    walk.refcounts()?;
    walk.snapshots()?;
    walk.bitmaps()?;
    walk.follow_l1()?;
    walk.follow_l2()?;
    Ok(walk.passed_over)
}

struct Walk<'a> {
    storage: &'a dyn Storage,
    header: &'a Header,
    geometry: Geometry,
    file_len: u64,
    /// So many bytes of tables may still be read.
    budget: u64,
    /// The L1 tables by place and entries: whose each is first, and how many share it.
    l1: BTreeMap<(HostOffset, u32), (Tree, u64)>,
    /// The L2 tables by place: whose each is first, of which L1 entry, and how often it counts.
    l2: BTreeMap<HostOffset, (Tree, u64, u64)>,
    passed_over: u64,
    visit: &'a mut dyn FnMut(Reference),
}

impl Walk<'_> {
    fn refer(&mut self, role: Role, (at, len): (HostOffset, u64), pointer: HostOffset) {
        self.refer_often(role, (at, len), pointer, 1);
    }

    fn refer_often(
        &mut self,
        role: Role,
        (at, len): (HostOffset, u64),
        pointer: HostOffset,
        weight: u64,
    ) {
        if len > 0 {
            (self.visit)(Reference {
                role,
                at,
                len,
                pointer,
                weight,
            });
        }
    }

    /// The table of `len` bytes at `at`; `None` if it does not lie in the file or has nothing but
    /// zeros, known without reading.
    fn read(&mut self, at: HostOffset, len: u64, what: &str) -> Result<Option<Vec<u8>>> {
        let inside = at.0 < self.file_len && at.0.checked_add(len).is_some();
        let end = self.file_len.next_multiple_of(self.geometry.cluster_size());
        if !inside || at.plus(len).0 > end {
            self.passed_over += 1;
            return Ok(None);
        }
        if let Ok((Occupancy::Hole, hole)) = self.storage.extent(at.0, len)
            && hole >= len
        {
            return Ok(None);
        }
        let Some(left) = self.budget.checked_sub(len.min(self.file_len - at.0)) else {
            self.passed_over += 1;
            return Ok(None);
        };
        self.budget = left;
        let mut bytes = zeroed(len);
        let done = self.storage.read_at(&mut bytes, at.0);
        done.map_err(|e| ImageError::io(&format!("read {what}"), e).at(at.0))?;
        Ok(Some(bytes))
    }

    fn fixed(&mut self) {
        let header = self.header;
        let first = (HostOffset(0), self.geometry.cluster_size());
        self.refer(Role::Header, first, HostOffset(0));
        let l1 = (header.l1_offset, header.l1_bytes());
        self.refer(Role::L1(Tree::Disk), l1, HostOffset(AT_L1 + 4));
        self.note_l1(header.l1_offset, header.l1_size, Tree::Disk);
        if let Some(keys) = header.extensions.luks_header() {
            let pointer = extension_data(header, LUKS_HEADER);
            self.refer(Role::EncryptionHeader, keys, pointer);
        }
    }

    fn note_l1(&mut self, at: HostOffset, entries: u32, tree: Tree) {
        let shared = self.l1.entry((at, entries)).or_insert((tree, 0));
        shared.1 += 1;
    }

    fn refcounts(&mut self) -> Result<()> {
        let header = self.header;
        let (at, len) = (header.refcount_table_offset, header.refcount_table_bytes());
        self.refer(
            Role::RefcountTable,
            (at, len),
            HostOffset(AT_REFCOUNT_TABLE),
        );
        let table = self.read(at, len, "the refcount table")?;
        for (index, raw) in words(table.as_deref()) {
            let block = HostOffset(raw & BLOCK_OFFSET);
            if block.0 != 0 {
                let role = Role::RefcountBlock(index);
                let whole = (block, self.geometry.cluster_size());
                self.refer(role, whole, at.plus(index * 8));
            }
        }
        Ok(())
    }

    fn snapshots(&mut self) -> Result<()> {
        let header = self.header;
        let found = snapshot::read_table(self.storage, header);
        let Some((snapshots, len)) = self.unless_corrupt(found)? else {
            return Ok(());
        };
        let table = (header.snapshots_offset, len);
        self.refer(Role::SnapshotTable, table, HostOffset(AT_SNAPSHOTS + 4));
        let mut entry = header.snapshots_offset;
        for (snapshot, number) in snapshots.iter().zip(0..) {
            let tree = Tree::Snapshot(number);
            let l1 = (snapshot.l1_offset, u64::from(snapshot.l1_size) * 8);
            self.refer(Role::L1(tree), l1, entry);
            self.note_l1(snapshot.l1_offset, snapshot.l1_size, tree);
            let next = entry.plus(snapshot.entry().len() as u64);
            entry = HostOffset(next.0.next_multiple_of(8));
        }
        Ok(())
    }

    fn bitmaps(&mut self) -> Result<()> {
        let header = self.header;
        let Some(extension) = header.extensions.bitmaps() else {
            return Ok(());
        };
        let directory = (extension.directory, extension.directory_size);
        let pointer = extension_data(header, BITMAPS).plus(16);
        self.refer(Role::BitmapDirectory, directory, pointer);
        let found = Directory::read(self.storage, header);
        let Some(directory) = self.unless_corrupt(found)? else {
            return Ok(());
        };
        let entries = directory.bitmaps.iter().zip(&directory.flags_at);
        for ((bitmap, flags_at), number) in entries.zip(0..) {
            let len = u64::from(bitmap.table_entries) * 8;
            let pointer = HostOffset(flags_at.0 - bitmap::AT_FLAGS as u64);
            self.refer(Role::BitmapTable(number), (bitmap.table, len), pointer);
            let table = match len {
                0 => None,
                _ => self.read(bitmap.table, len, "a bitmap table")?,
            };
            for (index, raw) in words(table.as_deref()) {
                let bits = HostOffset(raw & OFFSET);
                if bits.0 != 0 {
                    let role = Role::BitmapBits(number, index);
                    let whole = (bits, self.geometry.cluster_size());
                    self.refer(role, whole, bitmap.table.plus(index * 8));
                }
            }
        }
        Ok(())
    }

    fn follow_l1(&mut self) -> Result<()> {
        for ((at, entries), (tree, sharing)) in std::mem::take(&mut self.l1) {
            let len = u64::from(entries) * 8;
            let table = match len {
                0 => None,
                _ => self.read(at, len, "an L1 table")?,
            };
            for (index, raw) in words(table.as_deref()) {
                let decoded = L1Entry::decode(raw, buffer_len(index), &self.geometry);
                let Some(Some(entry)) = self.unless_corrupt(decoded)? else {
                    continue;
                };
                let whole = (entry.table, self.geometry.cluster_size());
                let pointer = at.plus(index * 8);
                self.refer_often(Role::L2(tree, index), whole, pointer, sharing);
                let owner = self.l2.entry(entry.table).or_insert((tree, index, 0));
                if tree < owner.0 {
                    (owner.0, owner.1) = (tree, index);
                }
                owner.2 += sharing;
            }
        }
        Ok(())
    }

    fn follow_l2(&mut self) -> Result<()> {
        let geometry = self.geometry;
        for (at, (tree, index, weight)) in std::mem::take(&mut self.l2) {
            let Some(table) = self.read(at, geometry.cluster_size(), "an L2 table")? else {
                continue;
            };
            let first = index << geometry.l2_bits();
            for (entry, cluster) in (0..geometry.l2_entries()).zip(first..) {
                let cluster = GuestCluster(cluster);
                match Mapping::read(&table, entry, cluster, &geometry) {
                    Ok(Mapping::Unallocated) => {}
                    Ok(mapping) => {
                        let guest = cluster.offset(&geometry);
                        if let Some((role, place)) = role_of(mapping, tree, guest, &geometry) {
                            let pointer = at.plus(entry * geometry.l2_entry_size());
                            self.refer_often(role, place, pointer, weight);
                        }
                    }
                    Err(_) => self.passed_over += 1,
                }
            }
        }
        Ok(())
    }

    /// What was found; `None`, and counted, if it contradicts itself.
    fn unless_corrupt<T>(&mut self, found: Result<T>) -> Result<Option<T>> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                self.passed_over += 1;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// What the mapping of a guest offset refers to in the image file, and its place.
fn role_of(
    mapping: Mapping,
    tree: Tree,
    guest: GuestOffset,
    geometry: &Geometry,
) -> Option<(Role, (HostOffset, u64))> {
    if let Mapping::Compressed { host, len } = mapping {
        return Some((Role::Compressed(tree, guest), (host, len)));
    }
    let (host, _) = mapping.place().filter(|_| !geometry.has_external_data())?;
    let role = match mapping.parts().data().is_empty() {
        true => Role::Kept(tree, guest),
        false => Role::Data(tree, guest),
    };
    Some((role, (host, geometry.cluster_size())))
}

/// The words of a table with their indices; none without a table.
fn words(table: Option<&[u8]>) -> impl Iterator<Item = (u64, u64)> {
    let words = table.unwrap_or(&[]).as_chunks::<8>().0.iter();
    (0..).zip(words.map(|&word| u64::from_be_bytes(word)))
}

/// Where the data of a header extension starts, which is there.
pub(super) fn extension_data(header: &Header, kind: u32) -> HostOffset {
    let before = header.extensions.iter().take_while(|e| e.kind != kind);
    let len: u64 = before
        .map(|e| 8 + (e.data.len() as u64).next_multiple_of(8))
        .sum();
    HostOffset(u64::from(header.header_length) + len + 8)
}
