//! Changing the length of the disk.
//!
//! Growing: a bigger L1 table if it takes one, switched by one write of the header; then whatever
//! would show up in the new part is cleared (old mappings, the rest of the last cluster, a longer
//! backing image); when that is durable, the size. Shrinking: the size first, then the mappings,
//! the refcounts and the end of the file. So no power cut and no later growing shows old data.
//! Dirty bitmaps count for nothing meanwhile, and get the new length afterwards.
//! Format description, "Header" (size, l1_size).

use super::super::fields::put;
use super::super::{ErrorKind, Image, ImageError, Result, SECTOR, ZeroMode};
use super::address::{GuestCluster, GuestOffset, HostOffset};
use super::geometry::Version;
use super::header::{AT_L1, AT_SIZE, MAX_L1_BYTES, RAW_EXTERNAL_DATA};
use super::host::Barrier;
use super::preallocate::Preallocation;
use super::{Qcow2, Releases};

impl Qcow2 {
    /// Makes the disk `size` bytes long, rounded up to whole sectors. What it gets is zeros, with
    /// space behind it as `preallocation` says; what it loses is gone.
    ///
    /// Errors: [`ErrorKind::Unsupported`] for version 2 with snapshots, which do not say how long
    /// their disk is, and for images with bitmaps that are inconsistent, or would get too big;
    /// [`ErrorKind::Invalid`] for a size that the L1 table cannot reach.
    pub fn resize(&mut self, size: u64, preallocation: Preallocation) -> Result<()> {
        self.check_write(0, 0)?;
        let size = size.checked_next_multiple_of(SECTOR).ok_or_else(too_big)?;
        self.check_resizable(size)?;
        self.close()?;
        let old = self.header.size;
        let bitmaps = self.suspend_bitmaps(size)?;
        let resized = self.resize_disk(size, preallocation);
        let resumed = bitmaps.map_or(Ok(()), |bitmaps| self.resume_bitmaps(bitmaps, old));
        resized.and(resumed)
    }

    fn resize_disk(&mut self, size: u64, preallocation: Preallocation) -> Result<()> {
        self.settle()?;
        let old = self.header.size;
        if size < old {
            return self.shrink(size);
        }
        self.grow(size)?;
        let preallocation = match self.header.autoclear & RAW_EXTERNAL_DATA {
            0 => preallocation,
            // What is written to the file by itself is to show through.
            _ if preallocation == Preallocation::Off => Preallocation::Metadata,
            _ => preallocation,
        };
        self.preallocate(GuestOffset(old), GuestOffset(size), preallocation)?;
        self.close()
    }

    fn check_resizable(&self, size: u64) -> Result<()> {
        if self.geometry.version() == Version::V2 && self.header.snapshots > 0 {
            return Err(unsupported(
                "an image of version 2 with snapshots cannot be resized; upgrade it with amend -o \
                 compat=1.1",
            ));
        }
        match self.geometry.l1_entries(size) * 8 > MAX_L1_BYTES {
            true => Err(too_big()),
            false => Ok(()),
        }
    }

    fn grow(&mut self, size: u64) -> Result<()> {
        let entries = self.geometry.l1_entries(size);
        if entries > u64::from(self.header.l1_size) {
            self.grow_l1(u32::try_from(entries).unwrap_or(u32::MAX))?;
        }
        if self.geometry.has_external_data() {
            let data = self.host.data();
            data.cut(HostOffset(self.header.size))?;
        }
        let old = std::mem::replace(&mut self.header.size, size);
        let cleared = self
            .clear_from(GuestOffset(old))
            .and_then(|()| self.close());
        if let Err(error) = cleared {
            self.header.size = old;
            return Err(error);
        }
        self.write_size(size)
    }

    /// Sees to it that everything from `old` on, the end of the disk so far, reads as zeros.
    fn clear_from(&self, old: GuestOffset) -> Result<()> {
        let size = self.header.size;
        let first = GuestCluster(self.geometry.clusters(old.0));
        self.unmap(first, self.end_of_tables())?;
        let boundary = first.offset(&self.geometry).0.min(size);
        self.write_zeros(old, GuestOffset(boundary))?;
        let exposed = self.backing_size().min(size);
        match exposed > boundary {
            true => self.write_zeroes(boundary, exposed - boundary, ZeroMode::MayUnmap),
            false => Ok(()),
        }
    }

    /// One past the last cluster that the L1 table could map.
    fn end_of_tables(&self) -> GuestCluster {
        GuestCluster(u64::from(self.header.l1_size) << self.geometry.l2_bits())
    }

    /// Gives the disk an L1 table of `entries` entries.
    pub(super) fn grow_l1(&mut self, entries: u32) -> Result<()> {
        let (at, len) = (self.header.l1_offset, self.header.l1_bytes());
        let mut bytes = self.read_tree(at, self.header.l1_size)?.encode();
        bytes.resize(super::super::fields::buffer_len(u64::from(entries) * 8), 0);
        let count = self.geometry.clusters(bytes.len() as u64);
        let first = self.tables().space.allocate_together(count)?;
        let table = first.offset(&self.geometry);
        self.host.write(&bytes, table, "the L1 table")?;
        self.make_durable(Barrier::TableBeforeHeader)?;
        let mut fields = [0; 12];
        put(&mut fields, 0, &entries.to_be_bytes());
        put(&mut fields, 4, &table.0.to_be_bytes());
        self.host.write(&fields, HostOffset(AT_L1), "the header")?;
        self.host.barrier(Barrier::HeaderBeforeRelease)?;
        self.release_range(at, len);
        self.settle_releases(0)?;
        self.reload()
    }

    fn shrink(&mut self, size: u64) -> Result<()> {
        self.write_size(size)?;
        let first = GuestCluster(self.geometry.clusters(size));
        self.unmap(first, self.end_of_tables())?;
        self.flush_all(Releases::Wait)?;
        let entries = super::super::fields::buffer_len(self.geometry.l1_entries(size));
        self.tables().drop_tables(entries)?;
        self.close()?;
        if self.geometry.has_external_data() {
            self.host.data().cut(HostOffset(size))?;
        }
        let end = self.tables().space.end()?;
        self.host.cut(end.offset(&self.geometry))
    }

    fn write_size(&mut self, size: u64) -> Result<()> {
        self.host
            .write(&size.to_be_bytes(), HostOffset(AT_SIZE), "the header")?;
        self.host.barrier(Barrier::HeaderBeforeRelease)?;
        self.header.size = size;
        Ok(())
    }
}

fn too_big() -> ImageError {
    ImageError::new(
        ErrorKind::Invalid,
        "the disk would be too big for clusters of this size",
    )
}

fn unsupported(detail: &str) -> ImageError {
    ImageError::new(ErrorKind::Unsupported, detail)
}
