//! L1 and L2 table entries: the 64-bit words on disk and what they mean.
//!
//! Format description, "Cluster mapping". Extended L2 entries (128 bits) are left out: images that
//! have them are refused when they are opened.

use super::super::fields::{buffer_len, put, u64_at};
use super::super::{ImageError, Result};
use super::address::{GuestCluster, HostCluster, HostOffset};
use super::geometry::Geometry;

/// Bit 63: the refcount of the cluster is exactly 1, so it may be written in place.
pub(super) const COPIED: u64 = 1 << 63;
/// Bit 62 of an L2 entry: a compressed cluster.
const COMPRESSED: u64 = 1 << 62;
/// Bit 0 of an L2 entry in version 3: reads as zeros.
const ZERO: u64 = 1;
/// Bits 9 to 55: a host offset.
pub(super) const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// The bits of an L1 entry that mean nothing.
pub(super) const L1_RESERVED: u64 = !(COPIED | OFFSET);
/// Compressed data is counted in sectors of this size.
const SECTOR: u64 = 512;

/// An L1 entry that points somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct L1Entry {
    /// Where the L2 table starts.
    pub(super) table: HostOffset,
    /// Whether this is the only reference to it.
    pub(super) copied: bool,
}

impl L1Entry {
    /// What `raw` means; `None` for an entry without a table.
    pub(super) fn decode(raw: u64, index: usize, geometry: &Geometry) -> Result<Option<Self>> {
        let table = HostOffset(raw & OFFSET);
        if table.0 == 0 {
            return Ok(None);
        }
        if !table.is_aligned(geometry) {
            return Err(ImageError::corrupt(format!(
                "L1 entry {index} points to an unaligned L2 table"
            ))
            .at(table.0));
        }
        Ok(Some(Self {
            table,
            copied: raw & COPIED != 0,
        }))
    }

    /// The word on disk.
    pub(super) fn encode(self) -> u64 {
        self.table.0 | if self.copied { COPIED } else { 0 }
    }
}

/// What a guest cluster is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// Nothing here: the backing image shows through.
    Unallocated,
    /// Reads as zeros.
    Zero {
        /// A cluster kept for a later write: where, and whether nobody else refers to it.
        kept: Option<(HostOffset, bool)>,
    },
    /// An ordinary cluster.
    Data {
        /// Where it starts.
        host: HostOffset,
        /// Whether this is the only reference to it.
        copied: bool,
    },
    /// A compressed cluster.
    Compressed {
        /// The byte where the compressed data starts.
        host: HostOffset,
        /// The most bytes it can occupy, at least 1.
        len: u64,
    },
}

impl Mapping {
    /// What entry `index` of the L2 table `table`, that of `cluster`, means.
    pub(super) fn read(
        table: &[u8],
        index: u64,
        cluster: GuestCluster,
        geometry: &Geometry,
    ) -> Result<Self> {
        let raw = u64_at(table, buffer_len(index * 8)).unwrap_or(0);
        Self::decode(raw, cluster, geometry)
    }

    /// Makes this entry `index` of the L2 table `table`.
    pub(super) fn write(self, table: &mut [u8], index: u64, geometry: &Geometry) {
        let raw = self.encode(geometry).to_be_bytes();
        put(table, buffer_len(index * 8), &raw);
    }

    /// The host clusters that the entry refers to: the first, and how many.
    pub(super) fn clusters(self, geometry: &Geometry) -> Option<(HostCluster, u64)> {
        match self {
            Self::Unallocated | Self::Zero { kept: None } => None,
            Self::Data { host, .. }
            | Self::Zero {
                kept: Some((host, _)),
            } => Some((host.cluster(geometry), 1)),
            Self::Compressed { host, len } => {
                let first = host.cluster(geometry);
                let last = host.plus(len - 1).cluster(geometry);
                Some((first, last.0 - first.0 + 1))
            }
        }
    }

    /// What `raw`, the L2 entry of `cluster`, means.
    pub(super) fn decode(raw: u64, cluster: GuestCluster, geometry: &Geometry) -> Result<Self> {
        if raw & COMPRESSED != 0 {
            return Self::decode_compressed(raw, cluster, geometry);
        }
        let host = HostOffset(raw & OFFSET);
        let guest = cluster.offset(geometry);
        if !host.is_aligned(geometry) {
            return Err(ImageError::corrupt(format!(
                "the L2 entry of {guest} points to an unaligned cluster"
            ))
            .at(host.0));
        }
        let copied = raw & COPIED != 0;
        match (raw & ZERO != 0, host.0) {
            (true, _) if !geometry.has_zero_clusters() => Err(ImageError::corrupt(format!(
                "the L2 entry of {guest} is a zero cluster, which version 2 does not have"
            ))),
            (true, 0) => Ok(Self::Zero { kept: None }),
            (true, _) => Ok(Self::Zero {
                kept: Some((host, copied)),
            }),
            (false, 0) => Ok(Self::Unallocated),
            (false, _) => Ok(Self::Data { host, copied }),
        }
    }

    fn decode_compressed(raw: u64, cluster: GuestCluster, geometry: &Geometry) -> Result<Self> {
        let shift = compressed_shift(geometry);
        let host = raw & ((1 << shift) - 1);
        let more = (raw & !(COPIED | COMPRESSED)) >> shift;
        if host >= 1 << 56 || host == 0 {
            return Err(ImageError::corrupt(format!(
                "the compressed cluster of {} lies at an impossible place",
                cluster.offset(geometry)
            ))
            .at(host));
        }
        let len = (more + 1) * SECTOR - host % SECTOR;
        Ok(Self::Compressed {
            host: HostOffset(host),
            len,
        })
    }

    /// The word on disk.
    pub(super) fn encode(self, geometry: &Geometry) -> u64 {
        let flag = |copied| if copied { COPIED } else { 0 };
        match self {
            Self::Unallocated => 0,
            Self::Zero { kept: None } => ZERO,
            Self::Zero {
                kept: Some((host, copied)),
            } => ZERO | host.0 | flag(copied),
            Self::Data { host, copied } => host.0 | flag(copied),
            Self::Compressed { host, len } => {
                let last = (host.0 + len - 1) / SECTOR;
                let more = last - host.0 / SECTOR;
                COMPRESSED | host.0 | (more << compressed_shift(geometry))
            }
        }
    }
}

/// Where the count of additional sectors starts in a compressed entry.
fn compressed_shift(geometry: &Geometry) -> u32 {
    62 - (geometry.cluster_bits() - 8)
}

/// The first host byte past what compressed entries of this geometry can point to.
pub(super) fn compressed_limit(geometry: &Geometry) -> u64 {
    1 << compressed_shift(geometry).min(56)
}

/// Whether bits are set in an L2 entry that mean nothing in its kind and version.
pub(super) fn has_reserved_bits(raw: u64, geometry: &Geometry) -> bool {
    if raw & COMPRESSED != 0 {
        return raw & COPIED != 0;
    }
    let known = OFFSET
        | COPIED
        | if geometry.has_zero_clusters() {
            ZERO
        } else {
            0
        };
    raw & !known != 0
}

#[cfg(test)]
mod tests {
    use super::super::geometry::Version;
    use super::*;

    fn geometry(bits: u32) -> Geometry {
        Geometry::new(Version::V3, bits, 4).unwrap()
    }

    #[test]
    fn every_mapping_survives_encoding() {
        for bits in 9..=21 {
            let g = geometry(bits);
            let host = HostOffset(5 << bits);
            for mapping in [
                Mapping::Unallocated,
                Mapping::Zero { kept: None },
                Mapping::Zero {
                    kept: Some((host, true)),
                },
                Mapping::Data {
                    host,
                    copied: false,
                },
                Mapping::Data { host, copied: true },
            ] {
                let raw = mapping.encode(&g);
                assert_eq!(Mapping::decode(raw, GuestCluster(1), &g).unwrap(), mapping);
            }
        }
    }

    #[test]
    fn a_compressed_entry_covers_whole_sectors() {
        for bits in 9..=21 {
            let g = geometry(bits);
            let start = HostOffset((3 << bits) + 77);
            let raw = Mapping::Compressed {
                host: start,
                len: 500,
            }
            .encode(&g);
            let found = Mapping::decode(raw, GuestCluster(0), &g).unwrap();
            assert_eq!(
                found,
                Mapping::Compressed {
                    host: start,
                    len: 1024 - 77
                }
            );
        }
    }

    #[test]
    fn an_unaligned_cluster_is_corruption() {
        assert!(Mapping::decode(0x10200, GuestCluster(0), &geometry(16)).is_err());
    }
}
