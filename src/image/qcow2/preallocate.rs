//! Preallocation of metadata: every cluster gets its place before anybody writes there.
//!
//! An image with a raw external data file is made this way, so that whatever is written to the
//! file by itself shows through the image.

use super::super::{ErrorKind, ImageError, Result};
use super::Qcow2;
use super::address::{GuestCluster, HostOffset};
use super::entry::Mapping;
use super::metadata::Metadata;
use super::space::Reason;
use crate::storage::Allocation;

/// The lock is given up after so many clusters.
const BATCH: u64 = 4096;

impl Qcow2 {
    /// Gives each cluster that has nothing a place of its own, which reads as zeros. An image with
    /// a backing image is refused: there, nothing is not zeros.
    pub fn preallocate(&self) -> Result<()> {
        self.check_write(0, self.header.size)?;
        if self.backing.is_some() {
            return Err(ImageError::new(
                ErrorKind::Invalid,
                "an image with a backing image cannot be preallocated",
            ));
        }
        let _request = self.in_flight.read().unwrap_or_else(|e| e.into_inner());
        let end = self.geometry.clusters(self.header.size);
        for first in (0..end).step_by(usize::try_from(BATCH).unwrap_or(1)) {
            let mut metadata = self.lock();
            metadata.begin_change()?;
            for cluster in (first..end.min(first + BATCH)).map(GuestCluster) {
                let placed = self.place(&mut metadata, cluster);
                metadata.sealing(placed)?;
            }
        }
        Ok(())
    }

    fn place(&self, metadata: &mut Metadata, cluster: GuestCluster) -> Result<()> {
        let geometry = &self.geometry;
        if metadata.is_allocating(cluster) || metadata.mapping(cluster)? != Mapping::Unallocated {
            return Ok(());
        }
        let mut host = HostOffset(cluster.offset(geometry).0);
        if !geometry.has_external_data() {
            let run = metadata.space.allocate(1)?;
            host = run.first.offset(geometry);
            if !run.fresh {
                let size = geometry.cluster_size();
                self.host.zero_data(host, size, Allocation::Keep)?;
            }
        }
        let mapping = Mapping::Data { host, copied: true };
        metadata.map(cluster, mapping, Reason::Replaced)
    }
}
