//! Subclusters: the 32 parts of a cluster that extended L2 entries tell apart.
//!
//! The second word of such an entry has a bit for each part that has data (0 to 31) and one for
//! each that reads as zeros (32 to 63); a part with neither shows what lies below. In an image
//! without extended entries the parts of a cluster are always all alike. Format description,
//! "Extended L2 Entries".

use std::ops::Range;

use super::geometry::Geometry;

/// Parts of a cluster.
pub(super) const COUNT: u32 = 32;

/// A set of a cluster's parts: bit n stands for part n.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartSet(pub(super) u32);

impl PartSet {
    /// No part.
    pub(super) const NONE: Self = Self(0);
    /// The whole cluster.
    pub(super) const ALL: Self = Self(u32::MAX);

    /// The parts that a range of bytes of a cluster touches.
    pub(super) fn touched(bytes: Range<u64>, geometry: &Geometry) -> Self {
        if !geometry.has_extended_l2() {
            return Self::ALL;
        }
        let size = geometry.subcluster_size();
        Self::between(bytes.start / size, bytes.end.div_ceil(size))
    }

    fn between(first: u64, end: u64) -> Self {
        let below = |n: u64| match u32::try_from(n) {
            Ok(n) if n < COUNT => (1u32 << n) - 1,
            _ => u32::MAX,
        };
        Self(below(end) & !below(first))
    }

    /// The bytes of a cluster from the first to the last part of the set.
    pub(super) fn hull(self, geometry: &Geometry) -> Range<u64> {
        let size = geometry.cluster_size() / u64::from(COUNT);
        let first = u64::from(self.0.trailing_zeros());
        let end = u64::from(COUNT - self.0.leading_zeros());
        first.min(end) * size..end * size
    }

    /// The runs of bytes of a cluster that the set consists of, in order.
    pub(super) fn runs(self, geometry: &Geometry) -> impl Iterator<Item = Range<u64>> {
        let size = geometry.subcluster_size();
        let mut left = self.0;
        std::iter::from_fn(move || {
            let start = left.trailing_zeros();
            let from_start = left.checked_shr(start)?;
            let len = from_start.trailing_ones();
            left &= !Self::between(start.into(), (start + len).into()).0;
            Some(u64::from(start) * size..u64::from(start + len) * size)
        })
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn contains(self, part: u32) -> bool {
        self.0 >> part & 1 != 0
    }

    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// What one part of a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Bytes of the host cluster.
    Data,
    /// Zeros.
    Zero,
    /// Nothing in this image.
    Unallocated,
}

/// What each part of a cluster is. No part has data and reads as zeros at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    data: PartSet,
    zero: PartSet,
}

impl Parts {
    /// Nothing in any part.
    pub(super) const UNALLOCATED: Self = Self {
        data: PartSet::NONE,
        zero: PartSet::NONE,
    };
    /// Zeros in every part.
    pub(super) const ZERO: Self = Self {
        data: PartSet::NONE,
        zero: PartSet::ALL,
    };
    /// Data in every part.
    pub(super) const DATA: Self = Self {
        data: PartSet::ALL,
        zero: PartSet::NONE,
    };

    /// What the bitmap of an extended L2 entry says; `None` if it contradicts itself.
    pub(super) fn decode(bitmap: u64) -> Option<Self> {
        let [data, zero] = [bitmap & u64::from(u32::MAX), bitmap >> 32]
            .map(|half| PartSet(u32::try_from(half).unwrap_or(u32::MAX)));
        (data.0 & zero.0 == 0).then_some(Self { data, zero })
    }

    /// The bitmap on disk.
    pub(super) fn encode(self) -> u64 {
        u64::from(self.zero.0) << 32 | u64::from(self.data.0)
    }

    /// The parts that read as zeros.
    pub(super) fn zero(self) -> PartSet {
        self.zero
    }

    /// The parts that have data.
    pub(super) fn data(self) -> PartSet {
        self.data
    }

    /// The same with other contents in the parts of `set`.
    pub(super) fn with(self, set: PartSet, part: Part) -> Self {
        let (mut data, mut zero) = (self.data.without(set), self.zero.without(set));
        match part {
            Part::Data => data = data.with(set),
            Part::Zero => zero = zero.with(set),
            Part::Unallocated => {}
        }
        Self { data, zero }
    }

    /// The same without data: those parts show what lies below.
    pub(super) fn without_data(self) -> Self {
        self.with(self.data, Part::Unallocated)
    }

    fn at(self, part: u32) -> Part {
        if self.data.contains(part) {
            Part::Data
        } else if self.zero.contains(part) {
            Part::Zero
        } else {
            Part::Unallocated
        }
    }

    /// What byte `within` of the cluster is, and the byte where the run of that kind ends.
    pub(super) fn run(self, within: u64, geometry: &Geometry) -> (Part, u64) {
        let size = geometry.cluster_size() / u64::from(COUNT);
        let first = u32::try_from(within / size).unwrap_or(COUNT - 1);
        let part = self.at(first);
        let end = (first..COUNT).find(|&next| self.at(next) != part);
        (part, u64::from(end.unwrap_or(COUNT)) * size)
    }
}

#[cfg(test)]
mod tests {
    use super::super::geometry::Version;
    use super::*;

    fn geometry() -> Geometry {
        let plain = Geometry::new(Version::V3, 16, 4).unwrap();
        plain.with_extended_l2().unwrap()
    }

    #[test]
    fn a_bitmap_survives_encoding_unless_it_contradicts_itself() {
        for bitmap in [0, 1, 0xffff_ffff, 0xffff_ffff << 32, 0x8000_0001_0000_0002] {
            assert_eq!(Parts::decode(bitmap).unwrap().encode(), bitmap);
        }
        assert_eq!(Parts::decode(1 << 40 | 1 << 8), None);
    }

    #[test]
    fn runs_end_where_the_kind_changes() {
        let parts = Parts::UNALLOCATED
            .with(PartSet(0b0110), Part::Data)
            .with(PartSet(0b1000), Part::Zero);
        let g = geometry();
        assert_eq!(parts.run(0, &g), (Part::Unallocated, 2048));
        assert_eq!(parts.run(2049, &g), (Part::Data, 3 * 2048));
        assert_eq!(parts.run(3 * 2048, &g), (Part::Zero, 4 * 2048));
        assert_eq!(parts.run(65535, &g), (Part::Unallocated, 65536));
        assert_eq!(parts.data().hull(&g), 2048..3 * 2048);
    }

    #[test]
    fn a_range_touches_the_parts_at_its_edges() {
        let g = geometry();
        assert_eq!(PartSet::touched(2047..2049, &g), PartSet(0b11));
        assert_eq!(PartSet::touched(2048..4096, &g), PartSet(0b10));
        assert_eq!(PartSet::touched(0..65536, &g), PartSet::ALL);
        assert_eq!(PartSet::touched(63488..65536, &g), PartSet(1 << 31));
        let plain = Geometry::new(Version::V3, 9, 4).unwrap();
        assert_eq!(PartSet::touched(1..2, &plain), PartSet::ALL);
    }
}
