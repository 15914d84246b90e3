//! Addresses as types, so that a guest offset is never used as a host offset.
//!
//! Offsets are in bytes; clusters are indices, offset / cluster size.

use std::fmt;

use super::geometry::Geometry;

/// A byte of the guest's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestOffset(pub u64);

/// A cluster of the guest's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestCluster(pub u64);

/// A byte of the image file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostOffset(pub u64);

/// A cluster of the image file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostCluster(pub u64);

impl GuestOffset {
    /// The cluster that holds this byte.
    pub fn cluster(self, geometry: &Geometry) -> GuestCluster {
        GuestCluster(self.0 >> geometry.cluster_bits())
    }

    /// How far this byte is into its cluster.
    pub fn within(self, geometry: &Geometry) -> u64 {
        self.0 & (geometry.cluster_size() - 1)
    }

    /// The byte `distance` further on.
    #[must_use]
    pub fn plus(self, distance: u64) -> Self {
        Self(self.0.saturating_add(distance))
    }
}

impl GuestCluster {
    /// Its first byte.
    pub fn offset(self, geometry: &Geometry) -> GuestOffset {
        GuestOffset(self.0 << geometry.cluster_bits())
    }

    /// The cluster `distance` further on.
    #[must_use]
    pub fn plus(self, distance: u64) -> Self {
        Self(self.0.saturating_add(distance))
    }
}

impl HostOffset {
    /// The cluster that holds this byte.
    pub fn cluster(self, geometry: &Geometry) -> HostCluster {
        HostCluster(self.0 >> geometry.cluster_bits())
    }

    /// Whether a cluster starts here.
    pub fn is_aligned(self, geometry: &Geometry) -> bool {
        self.0 & (geometry.cluster_size() - 1) == 0
    }

    /// The byte `distance` further on.
    #[must_use]
    pub fn plus(self, distance: u64) -> Self {
        Self(self.0.saturating_add(distance))
    }
}

impl HostCluster {
    /// Its first byte.
    pub fn offset(self, geometry: &Geometry) -> HostOffset {
        HostOffset(self.0 << geometry.cluster_bits())
    }

    /// The cluster `distance` further on.
    #[must_use]
    pub fn plus(self, distance: u64) -> Self {
        Self(self.0.saturating_add(distance))
    }
}

impl fmt::Display for GuestOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "guest offset {:#x}", self.0)
    }
}

impl fmt::Display for HostOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host offset {:#x}", self.0)
    }
}
