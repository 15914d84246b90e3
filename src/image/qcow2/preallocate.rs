//! Space for guest data before it is written.
//!
//! An image with a raw external data file is made this way, so that whatever is written to the
//! file by itself shows through the image.

use super::super::Result;
use super::super::fields::zeroed;
use super::Qcow2;
use super::address::{GuestCluster, GuestOffset, HostCluster};
use super::entry::Mapping;
use super::geometry::Version;
use super::space::{Reason, Run};
use super::subcluster::Parts;
use crate::storage::Allocation;

/// The lock is given up after so many bytes.
const STEP: u64 = 64 << 20;

/// What stands behind the new part of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preallocation {
    /// Nothing.
    #[default]
    Off,
    /// Clusters of the image.
    Metadata,
    /// Clusters with blocks of the host behind them.
    Falloc,
    /// Clusters that zeros have been written to.
    Full,
}

impl Preallocation {
    /// The name on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Metadata => "metadata",
            Self::Falloc => "falloc",
            Self::Full => "full",
        }
    }

    /// What a name means.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Off, Self::Metadata, Self::Falloc, Self::Full];
        all.into_iter().find(|mode| mode.name() == name)
    }
}

impl Qcow2 {
    /// Gives every cluster from `start` to `end` that has no place one of its own, and changes
    /// nothing that the guest sees: what shows through from below is copied, or goes on showing
    /// through the subclusters of the new place.
    pub fn preallocate(
        &self,
        start: GuestOffset,
        end: GuestOffset,
        how: Preallocation,
    ) -> Result<()> {
        if how == Preallocation::Off {
            return Ok(());
        }
        let mut cluster = start.cluster(&self.geometry);
        let end = GuestCluster(self.geometry.clusters(end.0));
        while cluster < end {
            self.relieve()?;
            cluster = self.preallocate_step(cluster, end, how)?;
        }
        Ok(())
    }

    /// Does the next clusters and gives the one to go on with.
    fn preallocate_step(
        &self,
        first: GuestCluster,
        end: GuestCluster,
        how: Preallocation,
    ) -> Result<GuestCluster> {
        let geometry = &self.geometry;
        let mut metadata = self.lock();
        metadata.begin_change()?;
        let old = metadata.mapping(first)?;
        if !matches!(old, Mapping::Unallocated | Mapping::Zero { kept: None }) {
            return Ok(first.plus(1));
        }
        let shows = old == Mapping::Unallocated && !self.shows_nothing(first);
        if shows && !geometry.has_extended_l2() {
            drop(metadata);
            return self.copy_up(first);
        }
        let to_table_end = geometry.l2_entries() - first.0 % geometry.l2_entries();
        let limit = (STEP >> geometry.cluster_bits()).max(1);
        let limit = limit.min(to_table_end).min(end.0 - first.0);
        let mut want = 1;
        while want < limit && metadata.mapping(first.plus(want))? == old {
            want += 1;
        }
        metadata.own_table(first)?;
        let run = match geometry.has_external_data() {
            true => Run {
                first: HostCluster(first.0),
                count: want,
                fresh: true,
            },
            false => metadata.space.allocate(want)?,
        };
        self.fill_with_zeros(run, how)?;
        let parts = if shows {
            Parts::UNALLOCATED
        } else {
            self.parts_of_zeros()
        };
        for i in 0..run.count {
            let place = Some((run.first.plus(i).offset(geometry), true));
            let mapping = Mapping::of_parts(place, parts);
            let mapped = metadata.map(first.plus(i), mapping, Reason::Replaced);
            metadata.sealing(mapped)?;
        }
        Ok(first.plus(run.count))
    }

    /// Copies what shows through at `cluster` into this image, and gives the cluster behind it.
    fn copy_up(&self, cluster: GuestCluster) -> Result<GuestCluster> {
        let at = cluster.offset(&self.geometry);
        let len = self.geometry.cluster_size().min(self.header.size - at.0);
        let mut data = zeroed(len);
        let _request = self.in_flight.enter();
        self.read_guest(&mut data, at)?;
        self.write_guest(&data, at)?;
        Ok(cluster.plus(1))
    }

    /// What a new cluster of zeros is made of. Zeros in the file are none where guest data is
    /// encrypted; version 2 cannot say so, and there the cluster holds whatever comes out.
    fn parts_of_zeros(&self) -> Parts {
        match (&self.crypt, self.geometry.version()) {
            (Some(_), Version::V3) => Parts::ZERO,
            (_, _) => Parts::DATA,
        }
    }

    fn fill_with_zeros(&self, run: Run, how: Preallocation) -> Result<()> {
        let at = run.first.offset(&self.geometry);
        let len = run.count << self.geometry.cluster_bits();
        let host = self.host.data();
        match how {
            Preallocation::Full => host.write_zeros(at, len),
            Preallocation::Falloc => host.zero_data(at, len, Allocation::Keep),
            Preallocation::Metadata if run.fresh => host.reach(at.plus(len)),
            Preallocation::Metadata => host.zero_data(at, len, Allocation::MayFree),
            Preallocation::Off => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::{Image, RawAccess, RawImage};
    use super::super::create::{CreateOptions, L2Entries, create};
    use super::super::header::Header;
    use super::super::{Parameters, Purpose, Writing};
    use super::*;
    use crate::storage::{MemoryStorage, Storage};

    /// An overlay of `size` bytes over `below` bytes of ones.
    fn overlay(entries: L2Entries, size: u64, below: usize) -> Qcow2 {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new(Vec::new()));
        let options = CreateOptions {
            size,
            entries,
            ..CreateOptions::default()
        };
        create(&*storage, &options).unwrap();
        let ones: Arc<dyn Storage> = Arc::new(MemoryStorage::new(vec![1; below]));
        let base = RawImage::new(ones, RawAccess::ReadOnly, None).unwrap();
        let header = Header::read(&*storage, Purpose::Contents).unwrap();
        let with = Parameters {
            backing: Some(Arc::new(base)),
            ..Parameters::new(Writing::Allowed)
        };
        Qcow2::open(storage, header, with).unwrap()
    }

    fn contents(image: &Qcow2) -> Vec<u8> {
        let mut all = zeroed(image.size());
        image.read_at(&mut all, 0).unwrap();
        all
    }

    #[test]
    fn preallocation_keeps_what_the_backing_image_shows() {
        for entries in [L2Entries::Standard, L2Entries::Extended] {
            let image = overlay(entries, 128 << 10, 128 << 10);
            let end = GuestOffset(image.size());
            let done = image.preallocate(GuestOffset(0), end, Preallocation::Metadata);
            done.unwrap();
            assert_eq!(contents(&image), vec![1; 128 << 10]);
            assert_eq!(
                image.extent(0, 1).unwrap().depth,
                match entries {
                    L2Entries::Standard => 0,
                    L2Entries::Extended => 1,
                }
            );
        }
    }

    #[test]
    fn a_disk_that_grows_with_preallocation_keeps_its_last_cluster() {
        for below in [31 << 10, 128 << 10] {
            let mut image = overlay(L2Entries::Standard, 31 << 10, below);
            image.resize(96 << 10, Preallocation::Metadata).unwrap();
            let mut expected = vec![1; 31 << 10];
            expected.resize(96 << 10, 0);
            assert_eq!(contents(&image), expected);
            assert_eq!(image.extent(0, 96 << 10).unwrap().depth, 0);
        }
    }
}
