//! Which host clusters hold metadata, so that no write of data or of another table lands there.

use std::collections::HashMap;
use std::fmt;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::super::{ImageError, Result};
use super::address::{HostCluster, HostOffset};
use super::geometry::Geometry;

/// The kinds of metadata that are looked out for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Header,
    ActiveL1,
    ActiveL2,
    RefcountTable,
    RefcountBlock,
    SnapshotTable,
    InactiveL1,
    BitmapDirectory,
    EncryptionHeader,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "the header",
            Self::ActiveL1 => "the active L1 table",
            Self::ActiveL2 => "an active L2 table",
            Self::RefcountTable => "the refcount table",
            Self::RefcountBlock => "a refcount block",
            Self::SnapshotTable => "the snapshot table",
            Self::InactiveL1 => "the L1 table of a snapshot",
            Self::BitmapDirectory => "the bitmap directory",
            Self::EncryptionHeader => "the encryption header",
        })
    }
}

/// The clusters of an image that hold metadata. Every request looks here before it writes.
#[derive(Debug, Default)]
pub(super) struct Overlap {
    tables: RwLock<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    clusters: HashMap<HostCluster, Kind>,
    /// Tables that stay where they are while the image is open, as host byte ranges, sorted and
    /// disjoint: a snapshot may claim a table of 32 MiB, and there may be 65,536 snapshots.
    fixed: Vec<(u64, u64, Kind)>,
}

impl Overlap {
    fn tables(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(|e| e.into_inner())
    }

    fn change(&self) -> RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(|e| e.into_inner())
    }

    /// Adds the clusters that `len` bytes at `at` touch.
    pub(super) fn add(&self, at: HostOffset, len: u64, kind: Kind, geometry: &Geometry) {
        let mut tables = self.change();
        for cluster in span(at, len, geometry) {
            tables.clusters.entry(cluster).or_insert(kind);
        }
    }

    /// Adds tables that stay where they are: start and length in bytes, and kind.
    pub(super) fn add_fixed(&self, tables: impl IntoIterator<Item = (HostOffset, u64, Kind)>) {
        let all = tables
            .into_iter()
            .map(|(at, len, kind)| (at.0, at.plus(len).0, kind));
        let fixed = &mut self.change().fixed;
        fixed.extend(all.filter(|(start, end, _)| start < end));
        fixed.sort_unstable_by_key(|&(start, ..)| start);
        fixed.dedup_by(|next, first| {
            let joined = next.0 <= first.1;
            if joined {
                first.1 = first.1.max(next.1);
            }
            joined
        });
    }

    /// Takes them away again.
    pub(super) fn remove(&self, at: HostOffset, len: u64, kind: Kind, geometry: &Geometry) {
        let mut tables = self.change();
        for cluster in span(at, len, geometry) {
            if tables.clusters.get(&cluster) == Some(&kind) {
                tables.clusters.remove(&cluster);
            }
        }
    }

    /// Fails if `len` bytes at `at` touch metadata.
    pub(super) fn check_free(&self, at: HostOffset, len: u64, geometry: &Geometry) -> Result<()> {
        let tables = self.tables();
        if let Some(kind) = span(at, len, geometry).find_map(|c| tables.clusters.get(&c)) {
            return Err(overlap(at, *kind));
        }
        tables.check_fixed(at, len)
    }

    /// Fails if the area of the encryption header, `len` bytes at `at`, holds other tables too.
    pub(super) fn check_keys(&self, at: HostOffset, len: u64, geometry: &Geometry) -> Result<()> {
        let tables = self.tables();
        match span(at, len, geometry).find_map(|c| tables.clusters.get(&c)) {
            Some(&kind) => Err(overlap(at, kind)),
            None => Ok(()),
        }
    }

    /// Fails if the cluster at `at` is metadata of another kind than `kind`.
    pub(super) fn check_is(&self, at: HostOffset, kind: Kind, geometry: &Geometry) -> Result<()> {
        let tables = self.tables();
        match tables.clusters.get(&at.cluster(geometry)) {
            Some(&found) if found != kind => Err(overlap(at, found)),
            _ => tables.check_fixed(at, 1),
        }
    }
}

impl Tables {
    fn check_fixed(&self, at: HostOffset, len: u64) -> Result<()> {
        let next = self.fixed.partition_point(|&(_, end, _)| end <= at.0);
        match self.fixed.get(next) {
            Some(&(start, _, kind)) if start < at.plus(len).0 => Err(overlap(at, kind)),
            _ => Ok(()),
        }
    }
}

fn overlap(at: HostOffset, kind: Kind) -> ImageError {
    ImageError::corrupt(format!(
        "a write would overwrite {kind}; run `cowbox img check`"
    ))
    .at(at.0)
}

fn span(at: HostOffset, len: u64, geometry: &Geometry) -> impl Iterator<Item = HostCluster> {
    let first = at.cluster(geometry).0;
    let last = at.plus(len.saturating_sub(1)).cluster(geometry).0;
    (first..=last).map(HostCluster)
}
