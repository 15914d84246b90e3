//! L1 and L2 table entries: the words on disk and what they mean.
//!
//! An L2 entry is one word of 64 bits, or with extended entries two: the second says what each
//! subcluster is. With an external data file, an entry's offset lies in that file and is the guest
//! offset itself. Format description, "Cluster mapping" and "Extended L2 Entries".

use super::super::fields::{buffer_len, put, u64_at};
use super::super::{ImageError, Result};
use super::address::{GuestCluster, HostCluster, HostOffset};
use super::geometry::Geometry;
use super::subcluster::{Part, PartSet, Parts};

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

/// An L2 entry as it stands in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawEntry {
    /// Offset and flags.
    pub(super) word: u64,
    /// What the subclusters are; 0 where entries have one word.
    pub(super) bitmap: u64,
}

impl RawEntry {
    /// Entry `index` of `table`, which is a whole table or a piece of one.
    pub(super) fn read(table: &[u8], index: u64, geometry: &Geometry) -> Self {
        let at = buffer_len(index * geometry.l2_entry_size());
        let bitmap = if geometry.has_extended_l2() {
            u64_at(table, at + 8).unwrap_or(0)
        } else {
            0
        };
        Self {
            word: u64_at(table, at).unwrap_or(0),
            bitmap,
        }
    }

    /// Makes this entry `index` of `table`.
    pub(super) fn write(self, table: &mut [u8], index: u64, geometry: &Geometry) {
        let at = buffer_len(index * geometry.l2_entry_size());
        put(table, at, &self.word.to_be_bytes());
        if geometry.has_extended_l2() {
            put(table, at + 8, &self.bitmap.to_be_bytes());
        }
    }

    /// Whether it is the entry of a compressed cluster.
    pub(super) fn is_compressed(self) -> bool {
        self.word & COMPRESSED != 0
    }

    /// Whether bits are set that mean nothing in this kind of entry and image.
    pub(super) fn has_reserved_bits(self, geometry: &Geometry) -> bool {
        if self.word & COMPRESSED != 0 {
            return self.word & COPIED != 0 || self.bitmap != 0;
        }
        let zero = if geometry.has_zero_clusters() && !geometry.has_extended_l2() {
            ZERO
        } else {
            0
        };
        self.word & !(OFFSET | COPIED | zero) != 0
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
    /// A cluster whose parts are not all alike, or that is kept with nothing in it. Only with
    /// extended L2 entries.
    Mixed {
        /// Where it starts.
        host: HostOffset,
        /// Whether this is the only reference to it.
        copied: bool,
        /// What its parts are.
        parts: Parts,
    },
    /// No cluster: these parts read as zeros, and not all; the others show what lies below. Only
    /// with extended L2 entries.
    PartlyZero(PartSet),
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
        Self::decode(RawEntry::read(table, index, geometry), cluster, geometry)
    }

    /// Makes this entry `index` of the L2 table `table`.
    pub(super) fn write(self, table: &mut [u8], index: u64, geometry: &Geometry) {
        self.encode(geometry).write(table, index, geometry);
    }

    /// What `raw`, the L2 entry of `cluster`, means.
    pub(super) fn decode(
        raw: RawEntry,
        cluster: GuestCluster,
        geometry: &Geometry,
    ) -> Result<Self> {
        let host = HostOffset(raw.word & OFFSET);
        let guest = cluster.offset(geometry);
        let corrupt = |what: &str| {
            let text = format!("the L2 entry of {guest} {what}");
            Err(ImageError::corrupt(text).at(host.0))
        };
        let external = geometry.has_external_data();
        if raw.word & COMPRESSED != 0 {
            if external {
                return corrupt("is compressed, which an external data file cannot hold");
            }
            return Self::decode_compressed(raw.word, cluster, geometry);
        }
        if !host.is_aligned(geometry) {
            return corrupt("points to an unaligned cluster");
        }
        let copied = raw.word & COPIED != 0;
        // Offset 0 is a place like any other in an external data file, marked by COPIED alone.
        let there = host.0 != 0 || (external && copied);
        if external && there && host.0 != guest.0 {
            return corrupt("points to another place of the external data file");
        }
        let place = there.then_some((host, copied || external));
        if geometry.has_extended_l2() {
            return match (place, Parts::decode(raw.bitmap)) {
                (_, None) => corrupt("has a subcluster that is both allocated and zero"),
                (None, Some(parts)) if !parts.data().is_empty() => {
                    corrupt("has data in subclusters of no cluster")
                }
                (_, Some(parts)) => Ok(Self::of_parts(place, parts)),
            };
        }
        match (raw.word & ZERO != 0, place) {
            (true, _) if !geometry.has_zero_clusters() => {
                corrupt("is a zero cluster, which version 2 does not have")
            }
            (true, kept) => Ok(Self::Zero {
                kept: kept.filter(|(host, _)| host.0 != 0),
            }),
            (false, None) => Ok(Self::Unallocated),
            (false, Some((host, copied))) => Ok(Self::Data { host, copied }),
        }
    }

    fn decode_compressed(raw: u64, cluster: GuestCluster, geometry: &Geometry) -> Result<Self> {
        let (_, host, more) = compressed_fields(raw, geometry);
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

    /// The entry on disk.
    pub(super) fn encode(self, geometry: &Geometry) -> RawEntry {
        if let Self::Compressed { host, len } = self {
            let more = (host.0 + len - 1) / SECTOR - host.0 / SECTOR;
            return RawEntry {
                word: COMPRESSED | host.0 | (more << compressed_shift(geometry)),
                bitmap: 0,
            };
        }
        let word = match self.place() {
            Some((host, true)) => host.0 | COPIED,
            Some((host, false)) => host.0,
            None => 0,
        };
        match (geometry.has_extended_l2(), self) {
            (true, _) => RawEntry {
                word,
                bitmap: self.parts().encode(),
            },
            (false, Self::Zero { .. }) => RawEntry {
                word: word | ZERO,
                bitmap: 0,
            },
            (false, _) => RawEntry { word, bitmap: 0 },
        }
    }

    /// The mapping with a host cluster (or none) and these parts, of which none has data without
    /// a host cluster.
    pub(super) fn of_parts(place: Option<(HostOffset, bool)>, parts: Parts) -> Self {
        let Some((host, copied)) = place else {
            let zeros = parts.without_data();
            return match zeros {
                Parts::ZERO => Self::Zero { kept: None },
                Parts::UNALLOCATED => Self::Unallocated,
                _ => Self::PartlyZero(zeros.zero()),
            };
        };
        match parts {
            Parts::DATA => Self::Data { host, copied },
            Parts::ZERO => Self::Zero { kept: place },
            parts => Self::Mixed {
                host,
                copied,
                parts,
            },
        }
    }

    /// The host cluster behind this mapping (one of its own, not compressed bytes), and whether
    /// this is the only reference to it.
    pub(super) fn place(self) -> Option<(HostOffset, bool)> {
        match self {
            Self::Data { host, copied } | Self::Mixed { host, copied, .. } => Some((host, copied)),
            Self::Zero { kept } => kept,
            Self::Unallocated | Self::PartlyZero(_) | Self::Compressed { .. } => None,
        }
    }

    /// What the parts of the cluster are.
    pub(super) fn parts(self) -> Parts {
        match self {
            Self::Unallocated => Parts::UNALLOCATED,
            Self::Zero { .. } => Parts::ZERO,
            Self::Data { .. } | Self::Compressed { .. } => Parts::DATA,
            Self::Mixed { parts, .. } => parts,
            Self::PartlyZero(zeros) => Parts::UNALLOCATED.with(zeros, Part::Zero),
        }
    }

    /// The mapping once `filled` of the cluster's parts hold data at `host`, which is the cluster
    /// that was there before or a new one. What a new one does not take over must be filled.
    pub(super) fn written(self, host: HostOffset, filled: PartSet) -> Self {
        let before = match self.place() {
            Some((old, true)) if old == host => self.parts(),
            _ => self.parts().without_data(),
        };
        Self::of_parts(Some((host, true)), before.with(filled, Part::Data))
    }

    /// The clusters of the image file that the entry refers to: the first, and how many.
    pub(super) fn clusters(self, geometry: &Geometry) -> Option<(HostCluster, u64)> {
        if geometry.has_external_data() {
            return None;
        }
        if let Self::Compressed { host, len } = self {
            let first = host.cluster(geometry);
            let last = host.plus(len - 1).cluster(geometry);
            return Some((first, last.0 - first.0 + 1));
        }
        self.place().map(|(host, _)| (host.cluster(geometry), 1))
    }
}

/// Where the count of additional sectors starts in a compressed entry.
fn compressed_shift(geometry: &Geometry) -> u32 {
    62 - (geometry.cluster_bits() - 8)
}

/// The fields of a compressed entry: where the second one starts, the byte offset, and the count
/// of sectors after the first.
pub(super) fn compressed_fields(raw: u64, geometry: &Geometry) -> (u32, u64, u64) {
    let shift = compressed_shift(geometry);
    let host = raw & ((1 << shift) - 1);
    (shift, host, (raw & !(COPIED | COMPRESSED)) >> shift)
}

/// The first host byte past what compressed entries of this geometry can point to.
pub(super) fn compressed_limit(geometry: &Geometry) -> u64 {
    1 << compressed_shift(geometry).min(56)
}

#[cfg(test)]
mod tests {
    use super::super::geometry::Version;
    use super::*;

    fn word(word: u64) -> RawEntry {
        RawEntry { word, bitmap: 0 }
    }

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
        assert!(Mapping::decode(word(0x10200), GuestCluster(0), &geometry(16)).is_err());
    }

    #[test]
    fn every_mapping_of_subclusters_survives_encoding() {
        for bits in 14..=21 {
            let g = geometry(bits).with_extended_l2().unwrap();
            let place = Some((HostOffset(5 << bits), true));
            let some = Parts::UNALLOCATED.with(PartSet(6), Part::Data);
            for mapping in [
                Mapping::Unallocated,
                Mapping::Zero { kept: None },
                Mapping::Zero { kept: place },
                Mapping::PartlyZero(PartSet(5)),
                Mapping::of_parts(place, Parts::UNALLOCATED),
                Mapping::of_parts(place, Parts::DATA),
                Mapping::of_parts(place, some.with(PartSet(8), Part::Zero)),
            ] {
                let raw = mapping.encode(&g);
                assert_eq!(Mapping::decode(raw, GuestCluster(1), &g).unwrap(), mapping);
                assert!(!raw.has_reserved_bits(&g));
            }
        }
    }

    #[test]
    fn an_external_data_file_holds_data_at_its_guest_offset_only() {
        let g = geometry(16).with_external_data();
        let first = Mapping::decode(word(COPIED), GuestCluster(0), &g).unwrap();
        let (host, copied) = (HostOffset(0), true);
        assert_eq!(first, Mapping::Data { host, copied });
        assert_eq!(first.encode(&g), word(COPIED));
        assert_eq!(first.clusters(&g), None);
        assert!(Mapping::decode(word(0x20000), GuestCluster(1), &g).is_err());
        assert!(Mapping::decode(word(COMPRESSED | 0x10000), GuestCluster(1), &g).is_err());
    }

    #[test]
    fn a_bitmap_that_contradicts_the_entry_is_corruption() {
        let g = geometry(16).with_extended_l2().unwrap();
        for (word, bitmap) in [(0x10000, 1 << 32 | 1), (0, 1)] {
            let raw = RawEntry { word, bitmap };
            assert!(Mapping::decode(raw, GuestCluster(0), &g).is_err());
        }
    }
}
