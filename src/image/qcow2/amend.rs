//! Changing what an existing image is: its version, its backing name, how it counts.
//!
//! The new structure is complete and durable before the header refers to it. Format description,
//! "Header".

use super::super::{ErrorKind, Image, ImageError, Result};
use super::Qcow2;
use super::address::{GuestCluster, GuestOffset};
use super::check::{self, OwnTables};
use super::create::RefcountUpdates;
use super::entry::Mapping;
use super::extension::{BACKING_FORMAT, BITMAPS as BITMAPS_EXTENSION};
use super::geometry::Version;
use super::header::{AT_COMPATIBLE, DIRTY, LAZY_REFCOUNTS};
use super::host::Barrier;
use super::repair::replace_refcounts;

impl Qcow2 {
    /// Records another backing image: its name, and its format where that is known. `None` records
    /// that there is none. What the guest sees changes with it; nothing is copied.
    ///
    /// Errors: [`ErrorKind::Unsupported`] where the first cluster has no room.
    pub fn set_backing(&mut self, backing: Option<(&[u8], Option<&[u8]>)>) -> Result<()> {
        self.check_write(0, 0)?;
        self.close()?;
        if backing.is_some_and(|(name, _)| name.len() > 1023) {
            return Err(invalid("the backing file name is longer than 1023 bytes"));
        }
        let mut first = self.first_cluster()?;
        first.set_backing(backing.map(|(name, _)| name));
        let format = backing.and_then(|(_, format)| format);
        first.set_extension(BACKING_FORMAT, format.map(<[u8]>::to_vec));
        self.rewrite(&first)
    }

    /// Makes the image one of `version`. For version 2 zero clusters become data.
    ///
    /// Errors: [`ErrorKind::Unsupported`] if version 2 lacks what the image uses.
    pub fn set_version(&mut self, version: Version) -> Result<()> {
        self.check_write(0, 0)?;
        self.settle()?;
        if version == self.geometry.version() {
            return Ok(());
        }
        if version == Version::V2 {
            self.check_downgrade()?;
            self.expand_zeros()?;
            self.close()?;
        } else {
            self.complete_snapshots()?;
        }
        let mut first = self.first_cluster()?;
        first.set_version(version);
        self.rewrite(&first)?;
        self.geometry = self.header.geometry;
        Ok(())
    }

    fn check_downgrade(&self) -> Result<()> {
        if self.geometry.refcount_order() != 4 {
            return Err(unsupported("compat=0.10 requires refcount_bits=16"));
        }
        let features = self.header.incompatible & !DIRTY;
        if features != 0 {
            return Err(unsupported(&format!(
                "Cannot downgrade an image with incompatible features {features:#x} set"
            )));
        }
        let extensions = &self.header.extensions;
        if extensions.iter().any(|e| e.kind == BITMAPS_EXTENSION) {
            return Err(unsupported("version 2 has no bitmaps; remove them first"));
        }
        let fits = |snapshot: &super::snapshot::Snapshot| {
            let same = snapshot
                .disk_size
                .is_none_or(|size| size == self.header.size);
            same && snapshot.vm_state_size <= u64::from(u32::MAX)
        };
        match self.snapshots()?.iter().all(fits) {
            true => self.check_snapshots_without_zeros(),
            false => Err(unsupported("Internal snapshots prevent downgrade of image")),
        }
    }

    /// Zero clusters of snapshots are not rewritten: nothing else of theirs ever is.
    fn check_snapshots_without_zeros(&self) -> Result<()> {
        for snapshot in self.snapshots()? {
            let tree = self.read_tree(snapshot.l1_offset, snapshot.l1_size)?;
            if self.has_zeros(&tree)? {
                return Err(unsupported("Internal snapshots prevent downgrade of image"));
            }
        }
        Ok(())
    }

    /// Writes zeros into every zero cluster.
    fn expand_zeros(&self) -> Result<()> {
        let end = GuestCluster(self.geometry.clusters(self.header.size));
        let mut cluster = GuestCluster(0);
        while cluster < end {
            let absent = self
                .lock()
                .clusters_without_table(cluster, end.0 - cluster.0);
            if absent > 0 {
                cluster = cluster.plus(absent);
                continue;
            }
            let mapping = self.lock().mapping(cluster)?;
            if let Mapping::Zero { .. } = mapping {
                let at = cluster.offset(&self.geometry);
                let len = self.geometry.cluster_size().min(self.header.size - at.0);
                self.relieve()?;
                self.write_as_data(at, len)?;
            }
            cluster = cluster.plus(1);
        }
        Ok(())
    }

    fn write_as_data(&self, at: GuestOffset, len: u64) -> Result<()> {
        let nothing_below = self.backing_size() <= at.0;
        match nothing_below {
            true => self.unmap(
                at.cluster(&self.geometry),
                at.cluster(&self.geometry).plus(1),
            ),
            false => self.write_at(&super::super::fields::zeroed(len), at.0),
        }
    }

    /// Says when refcounts are to be written.
    ///
    /// Errors: [`ErrorKind::Unsupported`] for lazy ones in version 2.
    pub fn set_refcount_updates(&mut self, updates: RefcountUpdates) -> Result<()> {
        self.check_write(0, 0)?;
        self.settle()?;
        if self.geometry.version() == Version::V2 {
            return match updates {
                RefcountUpdates::InOrder => Ok(()),
                RefcountUpdates::Lazy => Err(unsupported(
                    "Lazy refcounts only supported with compatibility level 1.1 and above (use \
                     compat=1.1 or greater)",
                )),
            };
        }
        let features = match updates {
            RefcountUpdates::Lazy => self.header.compatible | LAZY_REFCOUNTS,
            RefcountUpdates::InOrder => self.header.compatible & !LAZY_REFCOUNTS,
        };
        let mut first = self.first_cluster()?;
        first.set(AT_COMPATIBLE, &features.to_be_bytes());
        self.rewrite(&first)
    }

    /// Counts with `bits` bits from now on: a power of two up to 64.
    ///
    /// Errors: [`ErrorKind::Unsupported`] if a count does not fit, or for version 2.
    pub fn set_refcount_bits(&mut self, bits: u32) -> Result<()> {
        self.check_write(0, 0)?;
        self.settle()?;
        if !bits.is_power_of_two() || bits > 64 {
            return Err(invalid(
                "Refcount width must be a power of two and may not exceed 64 bits",
            ));
        }
        let order = bits.trailing_zeros();
        if order == self.geometry.refcount_order() {
            return Ok(());
        }
        if self.geometry.version() == Version::V2 {
            return Err(unsupported(
                "Refcount widths other than 16 bits require compatibility level 1.1 or above (use \
                 compat=1.1 or greater)",
            ));
        }
        let (_, counts) = check::count(&self.host, &self.header, OwnTables::Ignored)?;
        replace_refcounts(&counts, &self.host, &mut self.header, order)?;
        self.geometry = self.header.geometry;
        self.host.barrier(Barrier::GuestFlush)?;
        self.reload()
    }
}

fn unsupported(detail: &str) -> ImageError {
    ImageError::new(ErrorKind::Unsupported, detail)
}

fn invalid(detail: &str) -> ImageError {
    ImageError::new(ErrorKind::Invalid, detail)
}
