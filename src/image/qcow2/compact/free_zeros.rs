//! Giving up the places of clusters that hold nothing but zeros.

use super::super::super::zeros::is_zero;
use super::super::super::{Result, ZeroMode};
use super::super::Qcow2;
use super::super::address::GuestCluster;
use super::super::entry::Mapping;
use super::zeroed;

impl Qcow2 {
    /// Frees every cluster of zeros that is the disk's own, and gives how many those were. What
    /// the disk holds stays the same, so bitmaps that follow its changes are told nothing.
    pub(super) fn free_zeros(&mut self) -> Result<u64> {
        if self.geometry.has_external_data() {
            return Ok(0);
        }
        let end = self.geometry.clusters(self.header.size);
        let (mut cluster, mut freed) = (GuestCluster(0), 0);
        while cluster.0 < end {
            let absent = self.lock().clusters_without_table(cluster, end - cluster.0);
            if absent > 0 {
                cluster = cluster.plus(absent);
                continue;
            }
            if self.is_own_zero(cluster)? {
                self.relieve()?;
                let _request = self.in_flight.enter();
                let start = cluster.offset(&self.geometry);
                let len = self.geometry.cluster_size().min(self.header.size - start.0);
                self.zero_guest(start, len, ZeroMode::MayUnmap)?;
                freed += 1;
            }
            cluster = cluster.plus(1);
        }
        Ok(freed)
    }

    /// Whether `cluster` has a place of its own, could do without, and holds zeros.
    fn is_own_zero(&self, cluster: GuestCluster) -> Result<bool> {
        let start = cluster.offset(&self.geometry);
        if !self.geometry.has_zero_clusters() && self.backing_size() > start.0 {
            return Ok(false);
        }
        let mapping = self.lock().mapping(cluster)?;
        match mapping {
            Mapping::Zero { kept } => Ok(kept.is_some_and(|(_, own)| own)),
            Mapping::Data { copied: true, .. } => {
                let len = self.geometry.cluster_size().min(self.header.size - start.0);
                let mut bytes = zeroed(len);
                self.read_guest(&mut bytes, start)?;
                Ok(is_zero(&bytes))
            }
            _ => Ok(false),
        }
    }
}
