//! Zeroing and discarding: whole clusters and subclusters by their mapping, the edges by writing
//! zeros.
//!
//! Version 2 has no zero clusters: there a cluster is unmapped where nothing shows through from
//! below, and else zeros are written. A discard that would uncover the backing image makes zero
//! clusters, and in version 2 does nothing.

use std::ops::Range;

use super::super::fields::zeroed;
use super::super::{Result, ZeroMode};
use super::address::{GuestCluster, GuestOffset, HostOffset};
use super::entry::Mapping;
use super::metadata::Metadata;
use super::space::Reason;
use super::subcluster::{Part, PartSet};
use super::{DiscardedPlaces, Qcow2};
use crate::storage::Allocation;

/// Zeros are written in pieces of at most this size.
const PIECE: u64 = 1 << 20;

/// Before so many clusters more are unmapped, those before may have to be given back.
const UNMAPPED_AT_A_TIME: u64 = 1 << 20;

/// What happens to a whole cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Reads as zeros afterwards; the cluster stays.
    ZeroAndKeep,
    /// Reads as zeros afterwards; the cluster goes.
    ZeroAndFree,
    /// Not needed any more.
    Discard,
    /// What lies below shows through afterwards.
    Unmap,
}

impl Qcow2 {
    /// Makes `len` bytes from `offset` zeros. The caller holds `in_flight`.
    pub(super) fn zero_guest(&self, offset: GuestOffset, len: u64, mode: ZeroMode) -> Result<()> {
        let change = match mode {
            ZeroMode::KeepAllocated => Change::ZeroAndKeep,
            ZeroMode::MayUnmap => Change::ZeroAndFree,
        };
        let end = offset.plus(len);
        let inner = self.whole_units(offset, end);
        if inner.is_empty() {
            let unit = self.geometry.subcluster_size();
            let boundary = GuestOffset(offset.0.next_multiple_of(unit)).min(end);
            self.zero_edge(offset..boundary, change)?;
            return self.zero_edge(boundary..end, change);
        }
        self.zero_edge(offset..inner.start, change)?;
        let rest = inner.end;
        self.change_range(inner, change)?;
        self.zero_edge(rest.min(end)..end, change)
    }

    /// Forgets `len` bytes from `offset`, as far as they are whole clusters or subclusters.
    pub(super) fn discard_guest(&self, offset: GuestOffset, len: u64) -> Result<()> {
        self.change_range(self.whole_units(offset, offset.plus(len)), Change::Discard)
    }

    /// Unmaps every cluster, so that the backing image shows through everywhere.
    pub fn empty(&self) -> Result<()> {
        self.check_write(0, self.header.size)?;
        self.note_change(0, self.header.size)?;
        let end = GuestCluster(self.geometry.clusters(self.header.size));
        self.unmap(GuestCluster(0), end)
    }

    /// Unmaps the clusters from `first` up to `end`, which may lie past the end of the disk.
    pub(super) fn unmap(&self, first: GuestCluster, end: GuestCluster) -> Result<()> {
        let mut next = first;
        while next < end {
            self.relieve()?;
            let _request = self.in_flight.enter();
            let stop = next.plus(UNMAPPED_AT_A_TIME).min(end);
            self.change_clusters(next, stop, Change::Unmap)?;
            next = stop;
        }
        Ok(())
    }

    /// The clusters and subclusters that lie wholly in a range. The last cluster of the disk counts
    /// as whole where the range reaches the end of the disk.
    fn whole_units(&self, start: GuestOffset, end: GuestOffset) -> Range<GuestOffset> {
        let unit = self.geometry.subcluster_size();
        let last = match end.0 == self.header.size {
            true => end.0.next_multiple_of(self.geometry.cluster_size()),
            false => end.0 - end.0 % unit,
        };
        GuestOffset(start.0.next_multiple_of(unit))..GuestOffset(last)
    }

    /// Makes a part of one unit zeros: by its mapping, if nothing is there and the rest of it reads
    /// as zeros too, else by writing them.
    fn zero_edge(&self, range: Range<GuestOffset>, change: Change) -> Result<()> {
        let Range { start, end } = range;
        let unit = self.geometry.subcluster_size();
        let first = GuestOffset(start.0 - start.0 % unit);
        if start < end
            && self.is_zero_below(first..start)?
            && self.is_zero_below(end..first.plus(unit))?
        {
            let cluster = start.cluster(&self.geometry);
            let base = cluster.offset(&self.geometry).0;
            let parts = PartSet::touched(start.0 - base..end.0 - base, &self.geometry);
            let mut metadata = self.lock();
            metadata.begin_change()?;
            let mut metadata = self.wait_for_allocation(metadata, cluster);
            let old = metadata.mapping(cluster)?;
            if old.parts().data().both(parts).is_empty() {
                let changed = self.change_cluster(&mut metadata, cluster, parts, change);
                if metadata.sealing(changed)? == Changed::Yes {
                    return Ok(());
                }
            }
        }
        self.write_zeros(start, end)
    }

    /// Whether a range is known to read as zeros in what lies below, which does not change.
    fn is_zero_below(&self, range: Range<GuestOffset>) -> Result<bool> {
        let end = range.end.0.min(self.backing_size());
        let mut at = range.start.0;
        while let Some(backing) = &self.backing
            && at < end
        {
            let extent = backing.extent(at, end - at)?;
            if !extent.kind.reads_zero() {
                return Ok(false);
            }
            at += extent.length;
        }
        Ok(true)
    }

    /// Before whole units of the disk change: keeps an external data file in step. A raw one has to
    /// hold the zeros too; in another one the space is given back, whose contents count no more.
    fn change_data_file(&self, range: &Range<GuestOffset>, change: Change) -> Result<()> {
        let raw = self.header.has_raw_data_file();
        if !self.geometry.has_external_data() || (!raw && change == Change::ZeroAndKeep) {
            return Ok(());
        }
        self.lock().begin_change()?;
        let data = self.host.data();
        let limit = if raw { self.header.size } else { data.len()? };
        let how = match change {
            Change::ZeroAndKeep => Allocation::Keep,
            _ => Allocation::MayFree,
        };
        match range.end.0.min(limit).saturating_sub(range.start.0) {
            0 => Ok(()),
            len => data.zero_data(HostOffset(range.start.0), len, how),
        }
    }

    /// Changes whole subclusters, and clusters where all of a cluster is in the range.
    fn change_range(&self, range: Range<GuestOffset>, change: Change) -> Result<()> {
        let geometry = &self.geometry;
        self.change_data_file(&range, change)?;
        let Range { mut start, end } = range;
        while start < end {
            let cluster = start.cluster(geometry);
            let whole = end.cluster(geometry);
            if start.within(geometry) == 0 && cluster < whole {
                self.change_clusters(cluster, whole, change)?;
                start = whole.offset(geometry);
                continue;
            }
            let next = cluster.plus(1).offset(geometry).min(end);
            self.change_parts(start..next, change)?;
            start = next;
        }
        Ok(())
    }

    /// Changes subclusters of one cluster.
    fn change_parts(&self, range: Range<GuestOffset>, change: Change) -> Result<()> {
        let geometry = &self.geometry;
        let cluster = range.start.cluster(geometry);
        let base = cluster.offset(geometry).0;
        let parts = PartSet::touched(range.start.0 - base..range.end.0 - base, geometry);
        self.active.warm(cluster, 1)?;
        let mut metadata = self.lock();
        metadata.begin_change()?;
        let mut metadata = self.wait_for_allocation(metadata, cluster);
        let changed = self.change_cluster(&mut metadata, cluster, parts, change);
        let changed = metadata.sealing(changed)?;
        if changed == Changed::Yes && change != Change::ZeroAndKeep {
            metadata.emptied.note(cluster, parts);
        }
        drop(metadata);
        match changed {
            Changed::Yes => Ok(()),
            Changed::MustWrite => self.write_zeros(range.start, range.end),
        }
    }

    /// Writes zeros where a range does not read as zeros already.
    pub(super) fn write_zeros(&self, mut start: GuestOffset, end: GuestOffset) -> Result<()> {
        while start < end {
            let len = (end.0 - start.0).min(PIECE);
            if !self.is_known_zero(start, len)? {
                self.write_guest(&zeroed(len), start)?;
            }
            start = start.plus(len);
        }
        Ok(())
    }

    fn change_clusters(
        &self,
        mut first: GuestCluster,
        last: GuestCluster,
        change: Change,
    ) -> Result<()> {
        while first < last {
            let done = self.change_batch(first, last, change)?;
            first = first.plus(done);
            if done == 0 {
                let end = first.plus(1).offset(&self.geometry).0.min(self.header.size);
                self.write_zeros(first.offset(&self.geometry), GuestOffset(end))?;
                first = first.plus(1);
            }
        }
        Ok(())
    }

    /// Changes clusters until the end of a slice of their table, or one that has to be written;
    /// gives how many.
    fn change_batch(&self, first: GuestCluster, last: GuestCluster, change: Change) -> Result<u64> {
        self.active.warm(first, 1)?;
        let mut metadata = self.lock();
        metadata.begin_change()?;
        let limit = self.active.slice_end(first).min(last).0 - first.0;
        let mut done = 0;
        while done < limit {
            let cluster = first.plus(done);
            let absent = metadata.clusters_without_table(cluster, last.0 - cluster.0);
            if absent > 0 && (change == Change::Unmap || self.shows_nothing(cluster)) {
                done += absent;
                continue;
            }
            metadata = self.wait_for_allocation(metadata, cluster);
            let changed = self.change_cluster(&mut metadata, cluster, PartSet::ALL, change);
            match metadata.sealing(changed)? {
                Changed::Yes => done += 1,
                Changed::MustWrite => break,
            }
        }
        Ok(done)
    }

    /// Whether nothing shows through from below from `cluster` on.
    pub(super) fn shows_nothing(&self, cluster: GuestCluster) -> bool {
        self.backing_size() <= cluster.offset(&self.geometry).0
    }

    fn change_cluster(
        &self,
        metadata: &mut Metadata,
        cluster: GuestCluster,
        parts: PartSet,
        change: Change,
    ) -> Result<Changed> {
        let old = metadata.mapping(cluster)?;
        let nothing_below = self.shows_nothing(cluster);
        let hole = self.hole_of(old, parts, change);
        let change = hole.map_or(change, |_| Change::ZeroAndKeep);
        let new = match parts {
            PartSet::ALL => self.changed(old, nothing_below, change),
            parts => changed_parts(old, parts, nothing_below, change),
        };
        let Some(new) = new else {
            return Ok(Changed::MustWrite);
        };
        if new != old {
            let reason = match change {
                Change::Discard | Change::Unmap => Reason::Discarded,
                Change::ZeroAndFree | Change::ZeroAndKeep => Reason::Replaced,
            };
            metadata.map(cluster, new, reason)?;
        }
        if let Some(host) = hole {
            let size = self.geometry.cluster_size();
            self.host.data().discard(host, size);
        }
        Ok(Changed::Yes)
    }

    /// The place of a cluster that is given back to the host only, and stays with the cluster.
    fn hole_of(&self, old: Mapping, parts: PartSet, change: Change) -> Option<HostOffset> {
        let kept = self.discarded_places == DiscardedPlaces::Kept
            && self.geometry.has_zero_clusters()
            && parts == PartSet::ALL
            && matches!(change, Change::Discard | Change::ZeroAndFree);
        match old.place() {
            Some((host, true)) if kept => Some(host),
            _ => None,
        }
    }

    /// What a mapping becomes; `None` if zeros have to be written.
    fn changed(&self, old: Mapping, nothing_below: bool, change: Change) -> Option<Mapping> {
        let zero = Mapping::Zero { kept: None };
        match (old, change) {
            (_, Change::Unmap) => Some(Mapping::Unallocated),
            (Mapping::Unallocated, Change::Discard) => Some(old),
            (Mapping::Unallocated, _) if nothing_below => Some(old),
            (Mapping::Zero { .. }, Change::ZeroAndKeep) => Some(old),
            (_, Change::Discard) if !self.geometry.has_zero_clusters() => Some(if nothing_below {
                Mapping::Unallocated
            } else {
                old
            }),
            (Mapping::Data { .. } | Mapping::Mixed { .. }, Change::ZeroAndKeep) => {
                let kept = old.place();
                self.geometry
                    .has_zero_clusters()
                    .then_some(Mapping::Zero { kept })
            }
            _ if nothing_below && change != Change::ZeroAndKeep => Some(Mapping::Unallocated),
            _ => self.geometry.has_zero_clusters().then_some(zero),
        }
    }
}

/// What a mapping becomes when only `parts` of it change; `None` if zeros have to be written. A
/// cluster without data left in it is kept only if that is asked for.
fn changed_parts(
    old: Mapping,
    parts: PartSet,
    nothing_below: bool,
    change: Change,
) -> Option<Mapping> {
    if let Mapping::Compressed { .. } = old {
        return (change == Change::Discard).then_some(old);
    }
    let parts = match change {
        Change::Discard => parts.both(old.parts().data()),
        _ => parts,
    };
    let becomes = match change {
        Change::Unmap => Part::Unallocated,
        Change::Discard | Change::ZeroAndFree if nothing_below => Part::Unallocated,
        Change::Discard | Change::ZeroAndFree | Change::ZeroAndKeep => Part::Zero,
    };
    let new = old.parts().with(parts, becomes);
    let empty = new.data().is_empty() && change != Change::ZeroAndKeep;
    Some(Mapping::of_parts(old.place().filter(|_| !empty), new))
}

/// What came of one cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Changed {
    Yes,
    MustWrite,
}
