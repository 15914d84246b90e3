//! Making, applying and deleting internal snapshots.
//!
//! Each is switched by one write of the header, between barriers:
//!
//! ```text
//!   create  COPIED cleared │ counts of the tree +1, copy of L1, new table │ header │ old table freed
//!   delete  new table │ header │ counts of the tree -1, L1 and old table freed │ COPIED set
//!   apply   COPIED cleared │ counts of the snapshot's tree +1, copy of its L1 │ header │
//!           counts of the old tree -1, its L1 freed │ COPIED set
//! ```
//!
//! At any power cut the image shows what it showed before, or what it shows afterwards, and at
//! worst leaks clusters. Saved machine state is kept with its snapshot and comes back with the disk
//! when that is applied. Format description, "Snapshots".

use super::super::{ErrorKind, ImageError, Result};
use super::Qcow2;
use super::address::{GuestOffset, HostOffset};
use super::geometry::Version;
use super::header::{AT_SIZE, AT_SNAPSHOTS, EXTERNAL_DATA, MAX_SNAPSHOTS};
use super::host::Barrier;
use super::snapshot::{self, NewEntry, Snapshot, encode_table, find_or_fail};
use super::tree::Tree;

impl Qcow2 {
    /// The snapshots of the image, in the order of the table.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>> {
        snapshot::read_all(self.host.storage(), &self.header)
    }

    /// Makes a snapshot of the disk as it is now. `date` is in seconds since 1970 and
    /// nanoseconds. Gives the identifier of the new snapshot.
    ///
    /// Errors: [`ErrorKind::Unsupported`] for images with an external data file, for counts that
    /// do not fit the refcount width, and for too many snapshots.
    pub fn create_snapshot(&mut self, name: &[u8], date: (u32, u32)) -> Result<Vec<u8>> {
        let snapshots = self.prepare_snapshots()?;
        if self.header.snapshots >= MAX_SNAPSHOTS {
            return Err(unsupported("the image has 65536 snapshots already"));
        }
        if name.len() > usize::from(u16::MAX) {
            return Err(unsupported("the name of the snapshot is too long"));
        }
        let id = new_id(&snapshots);
        let (l1_offset, entries) = (self.header.l1_offset, self.header.l1_size);
        let tree = self.read_tree(l1_offset, entries)?;
        if let Err(error) = self.share(&tree) {
            self.restore_flags()?;
            return Err(error);
        }
        let copy = self.write_l1_copy(&tree)?;
        let entry = NewEntry {
            l1_offset: copy,
            l1_size: entries,
            id: &id,
            name,
            date,
            disk_size: self.header.size,
        };
        let old = snapshots.iter().map(|old| old.completed(self.header.size));
        let table = encode_table(old.chain([entry.encode()]));
        self.switch_table(table, snapshots.len() + 1)?;
        self.reload()?;
        Ok(id)
    }

    /// Makes the disk what it was when the snapshot called `wanted` (identifier or name) was
    /// made.
    pub fn apply_snapshot(&mut self, wanted: &[u8]) -> Result<()> {
        let snapshots = self.prepare_snapshots()?;
        let snapshot = find_or_fail(&snapshots, wanted)?;
        let size = snapshot.disk_size.unwrap_or(self.header.size);
        let entries = self.geometry.l1_entries(size);
        if entries > u64::from(snapshot.l1_size) || !size.is_multiple_of(super::super::SECTOR) {
            return Err(ImageError::corrupt(
                "the L1 table of the snapshot does not fit its disk size",
            ));
        }
        self.note_change(0, self.header.size)?;
        let old = self.read_tree(self.header.l1_offset, self.header.l1_size)?;
        let entries = snapshot.l1_size;
        let tree = self.read_tree(snapshot.l1_offset, entries)?;
        self.share(&tree)?;
        let copy = self.write_l1_copy(&tree)?;
        self.make_durable(Barrier::TableBeforeHeader)?;
        let method = (self.header.encryption as u32).to_be_bytes();
        let fields = [
            &size.to_be_bytes()[..],
            &method[..],
            &entries.to_be_bytes()[..],
            &copy.0.to_be_bytes()[..],
        ];
        self.host
            .write(&fields.concat(), HostOffset(AT_SIZE), "the header")?;
        self.host.barrier(Barrier::HeaderBeforeRelease)?;
        let (old_at, old_len) = (self.header.l1_offset, self.header.l1_bytes());
        self.note_all(size);
        self.release_range(old_at, old_len);
        self.lower_tree(&old)?;
        self.reload()?;
        self.restore_flags()
    }

    /// Deletes the snapshot called `wanted` (identifier or name).
    pub fn delete_snapshot(&mut self, wanted: &[u8]) -> Result<()> {
        let snapshots = self.prepare_snapshots()?;
        let gone = find_or_fail(&snapshots, wanted)?;
        let tree = self.read_tree(gone.l1_offset, gone.l1_size)?;
        // Another one may be the same in every field.
        let left = snapshots.iter().filter(|left| !std::ptr::eq(*left, gone));
        let table = encode_table(left.map(|left| left.completed(self.header.size)));
        self.switch_table(table, snapshots.len() - 1)?;
        self.release_range(gone.l1_offset, u64::from(gone.l1_size) * 8);
        self.lower_tree(&tree)?;
        self.restore_flags()
    }

    /// Gives every entry of the table what version 3 demands.
    pub(super) fn complete_snapshots(&mut self) -> Result<()> {
        let snapshots = self.snapshots()?;
        if !snapshots.iter().any(|old| old.is_incomplete(Version::V3)) {
            return Ok(());
        }
        let entries = snapshots.iter().map(|old| old.completed(self.header.size));
        self.switch_table(encode_table(entries), snapshots.len())?;
        self.reload()
    }

    /// The disk becomes another one, of `size` bytes, which dirty bitmaps have to know.
    fn note_all(&mut self, size: u64) {
        let (geometry, old) = (self.geometry, self.header.size);
        let bitmaps = &mut self.tables().bitmaps;
        if size == old {
            bitmaps.note(GuestOffset(0), size, &geometry);
        } else {
            bitmaps.give_up();
        }
    }

    /// Everything written back, nothing waiting, and the snapshots that there are.
    fn prepare_snapshots(&mut self) -> Result<Vec<Snapshot>> {
        self.check_write(0, 0)?;
        if self.header.incompatible & EXTERNAL_DATA != 0 {
            return Err(unsupported(
                "an image with an external data file has no internal snapshots",
            ));
        }
        self.settle()?;
        self.snapshots()
    }

    /// Makes a second reference to everything in `tree` possible: no COPIED flag stays, then the
    /// counts are raised.
    fn share(&mut self, tree: &Tree) -> Result<()> {
        self.clear_copied(tree)?;
        if tree.l1 == self.tables().l1() {
            self.clear_copied_l1(tree)?;
        }
        self.host.barrier(Barrier::FlagsBeforeSharing)?;
        self.raise_tree(tree)
    }

    /// Sets the COPIED flags of the active tables right, and goes on with them.
    fn restore_flags(&mut self) -> Result<()> {
        self.make_durable(Barrier::LoweredBeforeUse)?;
        self.set_copied()?;
        self.host.barrier(Barrier::GuestFlush)?;
        self.reload()
    }

    fn write_l1_copy(&mut self, tree: &Tree) -> Result<HostOffset> {
        let bytes = tree.encode_shared();
        let count = self.geometry.clusters(bytes.len() as u64);
        if count == 0 {
            return Ok(HostOffset(0));
        }
        let at = self.tables().space.allocate_together(count)?;
        let at = at.offset(&self.geometry);
        self.host.write(&bytes, at, "an L1 table")?;
        Ok(at)
    }

    /// Writes a new snapshot table with `count` entries, switches the header over, and frees the
    /// old table.
    fn switch_table(&mut self, table: Vec<u8>, count: usize) -> Result<()> {
        let old = self.header.snapshots_offset;
        let (_, old_len) = snapshot::read_table(self.host.storage(), &self.header)?;
        let mut at = HostOffset(0);
        if count > 0 {
            let clusters = self.geometry.clusters(table.len() as u64);
            let first = self.tables().space.allocate_together(clusters)?;
            at = first.offset(&self.geometry);
            self.host.write(&table, at, "the snapshot table")?;
        }
        self.make_durable(Barrier::TableBeforeHeader)?;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let fields = [&count.to_be_bytes()[..], &at.0.to_be_bytes()[..]].concat();
        self.host
            .write(&fields, HostOffset(AT_SNAPSHOTS), "the header")?;
        // Also if what follows fails: the refcounts are switched over together with the table.
        self.header.snapshots = count;
        self.header.snapshots_offset = at;
        self.host.barrier(Barrier::HeaderBeforeRelease)?;
        self.release_range(old, old_len);
        self.settle_releases(0)
    }

    /// Writes back all counts and makes everything written durable.
    pub(super) fn make_durable(&mut self, why: Barrier) -> Result<()> {
        self.tables().write_back()?;
        self.host.barrier(why)
    }
}

/// The number after the highest among the identifiers.
fn new_id(snapshots: &[Snapshot]) -> Vec<u8> {
    let number = |snapshot: &Snapshot| std::str::from_utf8(&snapshot.id).ok()?.parse().ok();
    let highest: u64 = snapshots.iter().filter_map(number).max().unwrap_or(0);
    highest.saturating_add(1).to_string().into_bytes()
}

fn unsupported(detail: &str) -> ImageError {
    ImageError::new(ErrorKind::Unsupported, detail)
}
