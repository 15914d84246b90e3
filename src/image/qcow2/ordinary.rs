//! Runs of ordinary clusters in an L2 table: entries that point, with the same flag, to clusters one
//! behind the other in the file, as sequential writing leaves them. Whoever goes over whole tables
//! takes such a run at once; every other entry goes through [`super::entry`].

use super::super::fields::buffer_len;
use super::address::HostOffset;
use super::entry::{COPIED, OFFSET};
use super::geometry::Geometry;

/// Entries of an L2 table that follow each other, and the clusters that they point to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OrdinaryRun {
    /// The first cluster.
    pub(super) start: HostOffset,
    /// How many entries, at least one.
    pub(super) count: u64,
    /// Whether all have the COPIED flag, or none.
    pub(super) copied: bool,
}

impl OrdinaryRun {
    /// The run that starts with entry `index` of `table`, as far as the table goes. `None` if that
    /// entry is anything but ordinary, or in an image with subclusters or an external data file.
    pub(super) fn at(table: &[u8], index: u64, geometry: &Geometry) -> Option<Self> {
        if geometry.has_extended_l2() || geometry.has_external_data() {
            return None;
        }
        let words = table.as_chunks::<8>().0.get(buffer_len(index)..)?;
        let first = u64::from_be_bytes(*words.first()?);
        let start = HostOffset(first & OFFSET);
        if first & !(OFFSET | COPIED) != 0 || start.0 == 0 || !start.is_aligned(geometry) {
            return None;
        }
        let size = geometry.cluster_size();
        let room = (OFFSET - start.0) / size;
        let wanted = (0..=room).map(|distance| first + distance * size);
        let same = words.iter().zip(wanted);
        let count = same
            .take_while(|(word, wanted)| u64::from_be_bytes(**word) == *wanted)
            .count() as u64;
        Some(Self {
            start,
            count,
            copied: first & COPIED != 0,
        })
    }

    /// Gives the entries of the run, which starts with entry `index` of `table`, the other flag.
    pub(super) fn flip(self, table: &mut [u8], index: u64) {
        let first = buffer_len(index);
        let words = table.as_chunks_mut::<8>().0;
        let words = words.get_mut(first..first + buffer_len(self.count));
        let [flag, ..] = COPIED.to_be_bytes();
        for [high, ..] in words.into_iter().flatten() {
            *high ^= flag;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::geometry::Version;
    use super::*;

    fn table(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn a_run_ends_where_place_or_flag_do_not_go_on() {
        let geometry = Geometry::new(Version::V3, 16, 4).unwrap();
        let run = |words: &[u64], index| OrdinaryRun::at(&table(words), index, &geometry);
        let words = [
            0x50000 | COPIED,
            0x60000 | COPIED,
            0x70000,
            0x80000,
            0xa0000,
            0,
        ];
        let first = run(&words, 0).unwrap();
        assert_eq!(
            (first.start.0, first.count, first.copied),
            (0x50000, 2, true)
        );
        let second = run(&words, 2).unwrap();
        assert_eq!(
            (second.start.0, second.count, second.copied),
            (0x70000, 2, false)
        );
        assert_eq!(run(&words, 4).unwrap().count, 1);
        assert_eq!(run(&words, 5), None);
        for odd in [0x50001, 0x50200, 1 << 62 | 0x50000, 1 << 56 | 0x50000] {
            assert_eq!(run(&[odd], 0), None);
        }
        assert_eq!(run(&[OFFSET & !0xffff, 1 << 56], 0).unwrap().count, 1);
    }

    #[test]
    fn flipping_changes_the_flag_only() {
        let geometry = Geometry::new(Version::V3, 16, 4).unwrap();
        let mut bytes = table(&[7, 0x50000, 0x60000, 0x90000]);
        let run = OrdinaryRun::at(&bytes, 1, &geometry).unwrap();
        run.flip(&mut bytes, 1);
        assert_eq!(
            bytes,
            table(&[7, 0x50000 | COPIED, 0x60000 | COPIED, 0x90000])
        );
    }
}
