//! Which pieces of a file move, and where to.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::super::Result;
use super::super::Qcow2;
use super::super::address::{HostCluster, HostOffset};
use super::super::geometry::Geometry;
use super::super::layout::{Reference, Role, Tree};

/// One pass moves so many clusters at most, which bounds its memory.
const MAX_CLUSTERS: u64 = 128 * 1024;

/// The clusters of a file by their refcounts.
#[derive(Debug, Default)]
pub(super) struct Used {
    /// Runs in use, in order.
    used: Vec<Range<u64>>,
    /// Runs that are free and have a refcount block, in order.
    free: Vec<Range<u64>>,
}

impl Used {
    /// Adds the next cluster.
    pub(super) fn add(&mut self, cluster: u64, in_use: bool) {
        let runs = match in_use {
            true => &mut self.used,
            false => &mut self.free,
        };
        match runs.last_mut() {
            Some(last) if last.end == cluster => last.end += 1,
            _ => runs.push(cluster..cluster + 1),
        }
    }

    /// How many are in use.
    pub(super) fn count(&self) -> u64 {
        self.used.iter().map(|run| run.end - run.start).sum()
    }

    /// One past the last in use.
    pub(super) fn end(&self) -> u64 {
        self.used.last().map_or(0, |run| run.end)
    }

    /// How many are in use from `start` on.
    pub(super) fn behind(&self, start: u64) -> u64 {
        let runs = self.used.iter().rev().take_while(|run| run.end > start);
        runs.map(|run| run.end - run.start.max(start)).sum()
    }

    /// The cluster from which on everything is to move: where the file would end without holes,
    /// or as far back as one pass goes.
    pub(super) fn start_of_end(&self) -> u64 {
        let target = self.count();
        let mut left = MAX_CLUSTERS;
        for run in self.used.iter().rev() {
            let len = run.end - run.start;
            if len >= left {
                return target.max(run.end - left);
            }
            left -= len;
        }
        target
    }

    /// The free places in front of `start`.
    pub(super) fn places(&self, start: u64, geometry: &Geometry) -> Places {
        let runs = self.free.iter().take_while(|run| run.start < start);
        let runs = runs.map(|run| run.start..run.end.min(start));
        Places {
            free: runs.collect(),
            first: 0,
            tail: None,
            geometry: *geometry,
        }
    }
}

/// Free places, the first in the file first.
#[derive(Debug)]
pub(super) struct Places {
    free: Vec<Range<u64>>,
    /// No run before this one has anything left.
    first: usize,
    /// The cluster that takes compressed bytes: where the next go, and what its refcount will be.
    tail: Option<(HostOffset, u64)>,
    geometry: Geometry,
}

impl Places {
    /// Takes `count` clusters that follow each other.
    pub(super) fn take(&mut self, count: u64) -> Option<HostCluster> {
        while self.free.get(self.first).is_some_and(Range::is_empty) {
            self.first += 1;
        }
        let mut rest = self.free.iter_mut().skip(self.first);
        let run = rest.find(|run| run.end - run.start >= count)?;
        let taken = HostCluster(run.start);
        run.start += count;
        Some(taken)
    }

    /// Takes room for `len` bytes that count `weight` times: behind the bytes before, where they
    /// fit, also into the next cluster; else in clusters of their own.
    fn take_bytes(&mut self, len: u64, weight: u64) -> Option<HostOffset> {
        let size = self.geometry.cluster_size();
        if let Some((at, count)) = self.tail {
            let room = size - at.0 % size;
            let counted = count + weight <= self.geometry.refcount_max();
            if counted && (len <= room || self.extend(at, len - room, weight)) {
                let end = at.plus(len);
                let spilled = len > room;
                let count = if spilled { weight } else { count + weight };
                self.tail = (!end.is_aligned(&self.geometry)).then_some((end, count));
                return Some(at);
            }
        }
        let clusters = self.geometry.clusters(len);
        let at = self.take(clusters)?.offset(&self.geometry);
        let end = at.plus(len);
        self.tail = (!end.is_aligned(&self.geometry)).then_some((end, weight));
        Some(at)
    }

    /// Takes the cluster behind that of `at`, if it is free, for `more` bytes.
    fn extend(&mut self, at: HostOffset, more: u64, weight: u64) -> bool {
        let next = at.cluster(&self.geometry).0 + 1;
        let fits = more <= self.geometry.cluster_size() && weight <= self.geometry.refcount_max();
        let run = self
            .free
            .iter_mut()
            .skip(self.first)
            .find(|run| run.start >= next);
        match run {
            Some(run) if fits && run.start == next && !run.is_empty() => {
                run.start += 1;
                true
            }
            _ => false,
        }
    }
}

/// What moves in one go; what points to it moves later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// What L2 tables and bitmap tables point to.
    Contents,
    /// What L1 tables and the bitmap directory point to.
    Tables,
    /// What the snapshot table points to.
    SnapshotL1,
    /// What the header points to.
    Roots,
}

impl Level {
    pub(super) const ALL: [Self; 4] = [Self::Contents, Self::Tables, Self::SnapshotL1, Self::Roots];

    /// `None` for what does not move, or in a way of its own.
    fn of(role: Role) -> Option<Self> {
        match role {
            Role::Data(..) | Role::Kept(..) | Role::Compressed(..) | Role::BitmapBits(..) => {
                Some(Self::Contents)
            }
            Role::L2(..) | Role::BitmapTable(_) => Some(Self::Tables),
            Role::L1(Tree::Snapshot(_)) => Some(Self::SnapshotL1),
            Role::L1(Tree::Disk) | Role::SnapshotTable | Role::BitmapDirectory => Some(Self::Roots),
            Role::Header
            | Role::EncryptionHeader
            | Role::RefcountTable
            | Role::RefcountBlock(_) => None,
        }
    }
}

/// A piece of the file that moves, with all pointers to it.
#[derive(Debug, Clone)]
pub(super) struct Move {
    pub(super) role: Role,
    pub(super) from: HostOffset,
    pub(super) to: HostOffset,
    pub(super) len: u64,
    /// How much of the refcounts it is.
    pub(super) weight: u64,
    pub(super) pointers: Vec<HostOffset>,
    level: Level,
    /// What it may take, where `len` is what it does take.
    room: u64,
}

impl Move {
    /// The clusters that it takes now.
    pub(super) fn old_clusters(&self, geometry: &Geometry) -> impl Iterator<Item = HostCluster> {
        clusters(self.from, self.room, geometry)
    }

    /// The clusters that it will take, as its pointers will say.
    pub(super) fn new_clusters(&self, geometry: &Geometry) -> impl Iterator<Item = HostCluster> {
        clusters(self.to, self.len, geometry)
    }
}

fn clusters(at: HostOffset, len: u64, geometry: &Geometry) -> impl Iterator<Item = HostCluster> {
    let (first, last) = (at.cluster(geometry).0, at.plus(len - 1).cluster(geometry).0);
    (first..=last).map(HostCluster)
}

/// The moves of a pass.
#[derive(Debug)]
pub(super) struct Plan {
    /// By level.
    moves: Vec<Move>,
}

impl Plan {
    /// Gives what `found` points to new places.
    pub(super) fn new(
        found: Vec<Reference>,
        places: &mut Places,
        image: &mut Qcow2,
    ) -> Result<Self> {
        let mut pieces: Vec<Move> = gather(found).into_values().collect();
        // What needs the most room in one run chooses first.
        pieces.sort_by_key(|piece| std::cmp::Reverse(tables_first(piece, &places.geometry)));
        let mut moves = Vec::new();
        for mut piece in pieces {
            if image.accounts_for(&piece)?
                && let Some(to) = image.place_for(&mut piece, places)?
            {
                piece.to = to;
                moves.push(piece);
            }
        }
        moves.sort_by_key(|piece| (piece.level, piece.to));
        Ok(Self { moves })
    }

    /// The moves of one level.
    pub(super) fn of_level(&self, level: Level) -> &[Move] {
        let start = self.moves.partition_point(|piece| piece.level < level);
        let end = self.moves.partition_point(|piece| piece.level <= level);
        self.moves.get(start..end).unwrap_or(&[])
    }
}

/// How many clusters a table takes; 0 for what chooses last.
fn tables_first(piece: &Move, geometry: &Geometry) -> u64 {
    match piece.role {
        Role::Compressed(..) => 0,
        _ => geometry.clusters(piece.room),
    }
}

/// One piece for all pointers to the same bytes.
fn gather(found: Vec<Reference>) -> BTreeMap<(HostOffset, u64), Move> {
    let mut pieces: BTreeMap<_, Move> = BTreeMap::new();
    for reference in found {
        let Some(level) = Level::of(reference.role) else {
            continue;
        };
        let piece = pieces
            .entry((reference.at, reference.len))
            .or_insert_with(|| Move {
                role: reference.role,
                from: reference.at,
                to: reference.at,
                len: reference.len,
                weight: 0,
                pointers: Vec::new(),
                level,
                room: reference.len,
            });
        if matches!(piece.role, Role::Kept(..)) {
            // Of a cluster shared with a snapshot that has data in it, the data counts.
            piece.role = reference.role;
        }
        piece.weight += reference.weight;
        piece.pointers.push(reference.pointer);
    }
    pieces
}

impl Qcow2 {
    /// Whether the pointers of a piece are all there are: then its refcounts say the same.
    fn accounts_for(&mut self, piece: &Move) -> Result<bool> {
        if let Role::Compressed(..) = piece.role {
            // Other streams count in the same clusters.
            return Ok(true);
        }
        let geometry = self.geometry;
        for cluster in piece.old_clusters(&geometry) {
            if self.tables().space.refcounts.get(cluster)? != piece.weight {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A place for a piece, where there is one.
    fn place_for(&mut self, piece: &mut Move, places: &mut Places) -> Result<Option<HostOffset>> {
        let geometry = self.geometry;
        let place = match piece.role {
            Role::Compressed(..) => {
                piece.len = self.length_of_stream(piece.from, piece.room)?;
                places.take_bytes(piece.len, piece.weight)
            }
            _ => {
                let taken = places.take(geometry.clusters(piece.room));
                taken.map(|first| first.offset(&geometry))
            }
        };
        if let Some(at) = place {
            let overlap = &self.tables().space.overlap;
            overlap.check_free(at, piece.len, &geometry)?;
        }
        Ok(place)
    }
}
