//! What a check keeps about each host cluster: how often it is referred to, and whether its refcount
//! is 1. Both are kept in small pages that exist where there is something, so that an image whose
//! tables point all over a huge sparse file costs little more memory than its tables.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Result;
use super::super::fields::{buffer_len, zeroed};
use super::address::HostCluster;
use super::geometry::Geometry;
use super::host::Host;
use super::refcount::Refcounts;
use super::width;

/// References are counted in pages of this many clusters.
pub(super) const PAGE: u64 = 512;
/// log2 of the bits of the refcounts that most images have.
const ORDINARY_ORDER: u32 = 4;

/// How often each host cluster is referred to.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pages: BTreeMap<u64, Box<[u8]>>,
    /// What does not fit into the byte of a cluster, which then is [`u8::MAX`].
    more: BTreeMap<u64, u64>,
}

impl Counts {
    /// Counts a reference to each of `count` clusters from `first` on.
    pub(super) fn add(&mut self, first: HostCluster, count: u64) {
        let (mut at, end) = (first.0, first.0 + count);
        while at < end {
            let stop = end.min((at / PAGE + 1) * PAGE);
            let zeros = || zeroed(PAGE).into_boxed_slice();
            let page = self.pages.entry(at / PAGE).or_insert_with(zeros);
            let from = buffer_len(at % PAGE);
            let counts = page.get_mut(from..from + buffer_len(stop - at));
            for (count, cluster) in counts.into_iter().flatten().zip(at..) {
                if *count == u8::MAX {
                    *self.more.entry(cluster).or_default() += 1;
                } else {
                    *count += 1;
                }
            }
            at = stop;
        }
    }

    /// How often `cluster` is referred to.
    pub(super) fn get(&self, cluster: HostCluster) -> u64 {
        let page = self.pages.get(&(cluster.0 / PAGE));
        let count = page.and_then(|page| page.get(buffer_len(cluster.0 % PAGE)));
        self.full(cluster.0, count.copied().unwrap_or(0))
    }

    fn full(&self, cluster: u64, count: u8) -> u64 {
        let more = match count {
            u8::MAX => self.more.get(&cluster).copied().unwrap_or(0),
            _ => 0,
        };
        u64::from(count) + more
    }

    /// The clusters that are referred to, in order, and how often.
    pub(super) fn iter(&self) -> impl Iterator<Item = (HostCluster, u64)> {
        self.pages.iter().flat_map(|(page, counts)| {
            let counted = (page * PAGE..).zip(counts.iter());
            counted
                .filter(|(_, count)| **count > 0)
                .map(|(cluster, count)| (HostCluster(cluster), self.full(cluster, *count)))
        })
    }

    /// Those that none of the refcount blocks `covered`, of `per_block` counts each, describes.
    pub(super) fn outside(
        &self,
        covered: &BTreeSet<u64>,
        per_block: u64,
    ) -> Vec<(HostCluster, u64)> {
        let mut outside = Vec::new();
        for (page, counts) in &self.pages {
            let first = page * PAGE;
            let mut blocks = first / per_block..=(first + PAGE - 1) / per_block;
            if blocks.all(|block| covered.contains(&block)) {
                continue;
            }
            for (cluster, count) in (first..).zip(counts.iter()) {
                if *count > 0 && !covered.contains(&(cluster / per_block)) {
                    outside.push((HostCluster(cluster), self.full(cluster, *count)));
                }
            }
        }
        outside
    }

    /// Whether `count` clusters from `first` on, all of one page, are known to be referred to as
    /// often as the counts from number `index` on of `block` say. The quick look at what is right
    /// in nearly every image: false says nothing.
    pub(super) fn agree(
        &self,
        first: HostCluster,
        count: u64,
        (block, index, order): (&[u8], u64, u32),
    ) -> bool {
        let words = block.as_chunks::<2>().0;
        let stored = words.get(buffer_len(index)..buffer_len(index + count));
        let (true, Some(stored)) = (order == ORDINARY_ORDER, stored) else {
            return false;
        };
        let Some(page) = self.pages.get(&(first.0 / PAGE)) else {
            return stored.as_flattened().iter().all(|&byte| byte == 0);
        };
        let from = buffer_len(first.0 % PAGE);
        let counts = page.get(from..from + stored.len()).unwrap_or(&[]);
        // Without an early end, so that the compiler makes vectors of it.
        let same = stored
            .iter()
            .zip(counts)
            .fold(true, |same, (stored, count)| {
                same & (u16::from_be_bytes(*stored) == u16::from(*count)) & (*count != u8::MAX)
            });
        same && counts.len() == stored.len()
    }

    /// One past the last cluster that is referred to.
    pub(super) fn end(&self) -> u64 {
        let Some((page, counts)) = self.pages.last_key_value() else {
            return 0;
        };
        let last = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
        page * PAGE + last as u64 + 1
    }
}

/// The clusters whose refcount is 1.
#[derive(Debug)]
pub(super) struct Ones {
    per_block: u64,
    /// A bit for each cluster, by refcount block.
    blocks: BTreeMap<u64, Box<[u64]>>,
}

impl Ones {
    /// Reads all refcount blocks that lie in the file.
    pub(super) fn read(host: &Host, geometry: &Geometry, refcounts: &Refcounts) -> Result<Self> {
        let (per_block, order) = (geometry.block_entries(), geometry.refcount_order());
        let file_len = host.len()?;
        let mut bytes = zeroed(geometry.cluster_size());
        let mut blocks = BTreeMap::new();
        let mut known = BTreeSet::new();
        for (index, block) in refcounts.blocks() {
            if !block.is_aligned(geometry) || block.0 >= file_len || !known.insert(block) {
                continue;
            }
            host.read(&mut bytes, block, "a refcount block")?;
            let bits = match order {
                ORDINARY_ORDER => {
                    let is_one = |word: &[u8; 2]| u16::from_be_bytes(*word) == 1;
                    collect_bits(bytes.as_chunks::<2>().0.iter().map(is_one))
                }
                _ => collect_bits((0..per_block).map(|i| width::get(&bytes, i, order) == 1)),
            };
            blocks.insert(index as u64, bits);
        }
        Ok(Self { per_block, blocks })
    }

    /// Whether the refcount of `cluster` is 1.
    pub(super) fn has(&self, cluster: HostCluster) -> bool {
        self.all_are(cluster, 1, true)
    }

    /// Whether each of `count` clusters from `first` on has a refcount of 1, or, if `one` is
    /// false, another one.
    pub(super) fn all_are(&self, first: HostCluster, count: u64, one: bool) -> bool {
        let (mut at, end) = (first.0, first.0 + count);
        while at < end {
            let stop = end.min((at / self.per_block + 1) * self.per_block);
            let found = self.blocks.get(&(at / self.per_block));
            let none: &[u64] = &[];
            let block = found.map_or(none, |block| block);
            while at < stop {
                let bit = at % self.per_block;
                let len = (64 - bit % 64).min(stop - at);
                let mask = u64::MAX >> (64 - len) << (bit % 64);
                let word = block.get(buffer_len(bit / 64)).copied().unwrap_or(0);
                if word & mask != if one { mask } else { 0 } {
                    return false;
                }
                at += len;
            }
        }
        true
    }
}

fn collect_bits(bits: impl Iterator<Item = bool>) -> Box<[u64]> {
    let (mut words, mut word, mut count) = (Vec::new(), 0, 0u32);
    for bit in bits {
        word |= u64::from(bit) << (count % 64);
        count += 1;
        if count.is_multiple_of(64) {
            words.push(word);
            word = 0;
        }
    }
    if !count.is_multiple_of(64) {
        words.push(word);
    }
    words.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_beyond_a_byte_are_counted() {
        let mut counts = Counts::default();
        (0..300).for_each(|_| counts.add(HostCluster(PAGE - 1), 2));
        counts.add(HostCluster(PAGE), 1);
        assert_eq!(counts.get(HostCluster(PAGE - 1)), 300);
        assert_eq!(counts.get(HostCluster(PAGE)), 301);
        assert_eq!(counts.iter().count(), 2);
        assert_eq!(counts.end(), PAGE + 1);
        assert_eq!(
            counts.outside(&BTreeSet::from([0]), PAGE),
            [(HostCluster(PAGE), 301)]
        );
    }

    #[test]
    fn ones_are_found_in_runs_across_blocks() {
        let bits = |from: u64| collect_bits((0..128).map(|bit| bit >= from));
        let ones = Ones {
            per_block: 128,
            blocks: BTreeMap::from([(0, bits(100)), (1, bits(0)), (3, bits(128))]),
        };
        assert!(ones.all_are(HostCluster(100), 156, true));
        assert!(
            !ones.all_are(HostCluster(99), 2, true) && !ones.all_are(HostCluster(99), 2, false)
        );
        assert!(ones.all_are(HostCluster(256), 300, false) && !ones.has(HostCluster(256)));
        assert!(ones.all_are(HostCluster(0), 100, false) && ones.has(HostCluster(255)));
    }

    #[test]
    fn a_quick_look_believes_only_what_is_the_same() {
        let mut counts = Counts::default();
        counts.add(HostCluster(0), 4);
        counts.add(HostCluster(1), 1);
        let block: Vec<u8> = [1u16, 2, 1, 1, 0]
            .iter()
            .flat_map(|n| n.to_be_bytes())
            .collect();
        assert!(counts.agree(HostCluster(0), 5, (&block, 0, 4)));
        assert!(!counts.agree(HostCluster(1), 4, (&block, 0, 4)));
        assert!(!counts.agree(HostCluster(0), 5, (&block, 0, 5)));
    }
}
