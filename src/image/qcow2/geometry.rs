//! The sizes that follow from an image's header: how large clusters, tables and counts are.
//!
//! Format description, "Header" (cluster_bits, refcount_order), "Host cluster management" and
//! "Extended L2 Entries".

use super::super::{ImageError, Result};
use super::subcluster;

/// The smallest and largest cluster_bits.
pub(super) const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;

/// The smallest cluster_bits with extended L2 entries.
const EXTENDED_CLUSTER_BITS: u32 = 14;

/// Tables are read, cached and written in pieces of at most this size.
const SLICE_BITS: u32 = 12;

/// The sizes of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    version: Version,
    cluster_bits: u32,
    refcount_order: u32,
    extended_l2: bool,
    external_data: bool,
}

/// The versions of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// QEMU's `compat=0.10`: 72-byte header, 16-bit refcounts, no zero clusters.
    V2,
    /// QEMU's `compat=1.1`.
    V3,
}

impl Geometry {
    /// Checks and keeps the sizes from a header.
    pub fn new(version: Version, cluster_bits: u32, refcount_order: u32) -> Result<Self> {
        if !CLUSTER_BITS.contains(&cluster_bits) {
            return Err(ImageError::corrupt(format!(
                "cluster_bits is {cluster_bits}; qcow2 has 9 to 21 (512 bytes to 2 MiB)"
            )));
        }
        if refcount_order > 6 {
            return Err(ImageError::corrupt(format!(
                "refcount_order is {refcount_order}; qcow2 has 0 to 6 (1 to 64 bits)"
            )));
        }
        Ok(Self {
            version,
            cluster_bits,
            refcount_order,
            extended_l2: false,
            external_data: false,
        })
    }

    /// The same with extended L2 entries.
    pub fn with_extended_l2(self) -> Result<Self> {
        if self.cluster_bits < EXTENDED_CLUSTER_BITS || self.version == Version::V2 {
            return Err(ImageError::corrupt(
                "extended L2 entries need version 3 and clusters of 16 KiB or more",
            ));
        }
        Ok(Self {
            extended_l2: true,
            ..self
        })
    }

    /// The same with guest data in another file.
    #[must_use]
    pub fn with_external_data(self) -> Self {
        Self {
            external_data: true,
            ..self
        }
    }

    /// The same with counts of 1 << `order` bits; at most 64.
    pub(super) fn with_refcount_order(self, order: u32) -> Self {
        Self {
            refcount_order: order.min(6),
            ..self
        }
    }

    /// Whether guest data lies in another file, at its guest offset and without refcounts.
    pub fn has_external_data(&self) -> bool {
        self.external_data
    }

    /// Whether L2 entries tell subclusters apart.
    pub fn has_extended_l2(&self) -> bool {
        self.extended_l2
    }

    /// Bytes in the smallest unit that can be allocated or zero by itself: a subcluster, or a
    /// cluster where there are none.
    pub fn subcluster_size(&self) -> u64 {
        if self.extended_l2 {
            self.cluster_size() / u64::from(subcluster::COUNT)
        } else {
            self.cluster_size()
        }
    }

    /// Bytes in an L2 entry.
    pub fn l2_entry_size(&self) -> u64 {
        if self.extended_l2 { 16 } else { 8 }
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// log2 of the cluster size.
    pub fn cluster_bits(&self) -> u32 {
        self.cluster_bits
    }

    /// Bytes in a cluster.
    pub fn cluster_size(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// log2 of the bits of a refcount.
    pub fn refcount_order(&self) -> u32 {
        self.refcount_order
    }

    /// The largest refcount.
    pub fn refcount_max(&self) -> u64 {
        u64::MAX >> (64 - (1u32 << self.refcount_order))
    }

    /// log2 of the entries of an L2 table.
    pub fn l2_bits(&self) -> u32 {
        self.cluster_bits - self.l2_entry_size().trailing_zeros()
    }

    /// Entries of an L2 table.
    pub fn l2_entries(&self) -> u64 {
        1 << self.l2_bits()
    }

    /// Guest bytes that one L2 table maps.
    pub fn l2_reach(&self) -> u64 {
        1 << (self.l2_bits() + self.cluster_bits)
    }

    /// Bytes in a slice, the unit in which tables are cached.
    pub fn slice_size(&self) -> u64 {
        1 << self.cluster_bits.min(SLICE_BITS)
    }

    /// Host clusters whose refcounts one refcount block holds.
    pub fn block_entries(&self) -> u64 {
        1 << (self.cluster_bits + 3 - self.refcount_order)
    }

    /// Host clusters whose refcounts one slice of a refcount block holds.
    pub fn slice_refcounts(&self) -> u64 {
        (self.slice_size() * 8) >> self.refcount_order
    }

    /// Clusters that `bytes` need.
    pub fn clusters(&self, bytes: u64) -> u64 {
        bytes.div_ceil(self.cluster_size())
    }

    /// L1 entries that a disk of `size` bytes needs.
    pub fn l1_entries(&self, size: u64) -> u64 {
        size.div_ceil(self.l2_reach())
    }

    /// Whether the version has zero clusters.
    pub fn has_zero_clusters(&self) -> bool {
        self.version == Version::V3
    }
}
