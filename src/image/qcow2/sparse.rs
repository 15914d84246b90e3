//! Where an image is emptier than its tables say, for `map`.
//!
//! A cluster may be mapped and have nothing behind it yet: preallocated metadata leaves holes in
//! the file, and with subclusters a cluster has its place before all of it is written. QEMU looks
//! for holes only where the file is clearly shorter of blocks than its refcounts promise
//! (`qcow2_detect_metadata_preallocation`), and so does this, so that both tell the same.

use super::super::{ImageError, Result};
use super::Qcow2;
use super::address::{GuestOffset, HostCluster, HostOffset};
use crate::storage::Occupancy;

/// So many clusters without references are looked at before the file counts as full.
const MAX_EMPTY: u64 = 1 << 20;

impl Qcow2 {
    /// Whether the file occupies clearly less of the host than the refcounts promise.
    pub fn is_preallocated(&self) -> Result<bool> {
        let occupied = self.host.storage().occupied();
        let occupied = occupied.map_err(|e| ImageError::io("look at the file", e))?;
        let real = occupied >> self.geometry.cluster_bits();
        let threshold = (real.saturating_mul(10) / 9).max(real + 2);
        // Where there are no blocks behind a long file, nothing is promised either.
        let end = self.geometry.clusters(self.host.len()?);
        let end = end.min(threshold.saturating_mul(16).saturating_add(MAX_EMPTY));
        let mut metadata = self.lock();
        let mut promised = 0;
        for cluster in 0..end {
            if promised >= threshold {
                break;
            }
            promised += u64::from(metadata.space.refcounts.get(HostCluster(cluster))? > 0);
        }
        Ok(promised >= threshold)
    }

    /// Whether the guest data at `host` is a hole, and for how many of `len` bytes that holds.
    pub fn is_hole(&self, host: HostOffset, len: u64) -> (bool, u64) {
        // Only a hint: a host that cannot tell has data.
        match self.host.data().storage().extent(host.0, len) {
            Ok((Occupancy::Hole, len)) => (true, len),
            Ok((Occupancy::Data, len)) => (false, len),
            Err(_) => (false, len),
        }
    }

    /// The place that is kept for `offset`, which this image does not hold, and how many of `len`
    /// bytes that is true for.
    pub fn kept_place(&self, offset: GuestOffset, len: u64) -> Result<(Option<HostOffset>, u64)> {
        if !self.geometry.has_extended_l2() {
            return Ok((None, len));
        }
        let cluster = offset.cluster(&self.geometry);
        let within = offset.within(&self.geometry);
        let absent = self
            .active
            .clusters_without_table(cluster, self.geometry.clusters(len));
        if absent > 0 {
            let run = absent.saturating_mul(self.geometry.cluster_size()) - within;
            return Ok((None, run.min(len)));
        }
        let place = self.active.mapping(cluster)?.place();
        let run = self.geometry.cluster_size() - within;
        Ok((place.map(|(host, _)| host.plus(within)), run.min(len)))
    }
}
