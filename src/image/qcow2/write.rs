//! Guest writes: in place where the cluster is the image's own, else copy-on-write.
//!
//! A write in place takes no lock but shared ones. An allocating write takes clusters and announces
//! the guest range with the metadata locked, writes the data and the edges of the old contents with
//! nothing locked, and locks again to enter the mapping. A second write that would allocate the
//! same clusters waits for that; one that finds data in its part of a cluster need not, because
//! nothing is copied over parts that have data. The mapping reaches the disk only behind a
//! barrier (see [`super::metadata`]), so no power cut shows a guest what a recycled cluster held.
//! With subclusters only those that are touched are filled, and those that a new cluster takes
//! over from a shared one.

use std::ops::{ControlFlow, Range};
use std::sync::MutexGuard;

use super::super::fields::{buffer_len, zeroed};
use super::super::{ImageError, Result, SECTOR};
use super::Qcow2;
use super::address::{GuestCluster, GuestOffset, HostOffset};
use super::entry::Mapping;
use super::geometry::Geometry;
use super::metadata::Metadata;
use super::read::{Piece, go_on, piece};
use super::space::{Reason, Run};
use super::subcluster::PartSet;

/// One allocating write takes at most this many bytes of clusters, and at least one cluster.
const MAX_STEP: u64 = 4 << 20;

/// What a write does next.
enum Step {
    /// Bytes that may be written where they are.
    InPlace(HostOffset, u64),
    /// Clusters that need a new place.
    Allocate(Clusters),
}

/// Where the clusters of an allocating write go.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Into clusters just taken.
    Taken(Run),
    /// Where they belong already: a cluster kept behind zeros, or the same place of an external
    /// data file.
    Kept(HostOffset),
}

/// Consecutive guest clusters and their new place.
#[derive(Debug, Clone)]
struct Clusters {
    first: GuestCluster,
    count: u64,
    place: Place,
    /// The guest bytes that have to be written there: the request and what must stay around it.
    fill: Range<GuestOffset>,
}

impl Metadata {
    /// Whether a request is allocating `cluster`.
    pub(super) fn is_allocating(&self, cluster: GuestCluster) -> bool {
        self.allocating
            .iter()
            .any(|range| range.contains(&cluster.0))
    }

    fn next_allocating(&self, cluster: GuestCluster) -> u64 {
        let starts = self.allocating.iter().map(|range| range.start);
        starts
            .filter(|&start| start > cluster.0)
            .min()
            .unwrap_or(u64::MAX)
    }
}

impl Qcow2 {
    /// Waits until no request is allocating `cluster`.
    pub(super) fn wait_for_allocation<'a>(
        &self,
        mut metadata: MutexGuard<'a, Metadata>,
        cluster: GuestCluster,
    ) -> MutexGuard<'a, Metadata> {
        while metadata.is_allocating(cluster) {
            metadata = self
                .allocated
                .wait(metadata)
                .unwrap_or_else(|e| e.into_inner());
        }
        metadata
    }

    /// Writes `buf` at `offset`. The caller holds `in_flight`.
    pub(super) fn write_guest(&self, mut buf: &[u8], mut offset: GuestOffset) -> Result<()> {
        while !buf.is_empty() {
            let len = match self.plan_write(offset, buf.len() as u64)? {
                Step::InPlace(host, len) => {
                    let (now, _) = buf.split_at(buffer_len(len));
                    self.write_data(now, offset, host)?;
                    len
                }
                Step::Allocate(clusters) => self.write_new(buf, offset, clusters)?,
            };
            buf = buf.split_at(buffer_len(len)).1;
            offset = offset.plus(len);
        }
        Ok(())
    }

    fn plan_write(&self, offset: GuestOffset, len: u64) -> Result<Step> {
        let cluster = offset.cluster(&self.geometry);
        if self.active.is_writable() {
            self.host.doubt()?;
            let found = self.in_place(offset, len);
            match found {
                Ok(None) => {}
                Ok(Some((host, len))) => return Ok(Step::InPlace(host, len)),
                Err(error) => return self.lock().sealing(Err(error)),
            }
        }
        self.active.warm(cluster, self.most_clusters(offset, len))?;
        let mut metadata = self.lock();
        metadata.begin_change()?;
        let mut metadata = self.wait_for_allocation(metadata, cluster);
        let planned = self.plan_step(&mut metadata, offset, len);
        metadata.sealing(planned)
    }

    /// How many clusters one allocating write takes at most.
    fn most_clusters(&self, offset: GuestOffset, len: u64) -> u64 {
        let wanted = self.geometry.clusters(offset.within(&self.geometry) + len);
        wanted.min(MAX_STEP >> self.geometry.cluster_bits()).max(1)
    }

    fn plan_step(&self, metadata: &mut Metadata, offset: GuestOffset, len: u64) -> Result<Step> {
        let geometry = &self.geometry;
        if let Some((host, len)) = self.in_place(offset, len)? {
            return Ok(Step::InPlace(host, len));
        }
        let cluster = offset.cluster(geometry);
        metadata.own_table(cluster)?;
        if let Some((host, true)) = metadata.mapping(cluster)?.place() {
            self.check_overlap(host, geometry.cluster_size())?;
            return self.announce(metadata, (offset, len), 1, Place::Kept(host));
        }
        let limit = self.most_clusters(offset, len);
        let limit = limit.min(metadata.next_allocating(cluster) - cluster.0);
        let count = self.count_placeless(metadata, cluster, limit)?;
        if geometry.has_external_data() {
            let place = Place::Kept(HostOffset(cluster.offset(geometry).0));
            return self.announce(metadata, (offset, len), count, place);
        }
        let run = metadata.space.allocate(count)?;
        self.announce(metadata, (offset, len), run.count, Place::Taken(run))
    }

    /// Fails if guest data at `host` would lie on metadata. An external data file has none.
    fn check_overlap(&self, host: HostOffset, len: u64) -> Result<()> {
        match self.geometry.has_external_data() {
            true => Ok(()),
            false => self.active.overlap().check_free(host, len, &self.geometry),
        }
    }

    /// Where a write of `len` bytes at `offset` can go as it is, and how much of it, to the end of
    /// the L2 table at most; `None` if its start needs more than that.
    fn in_place(&self, offset: GuestOffset, len: u64) -> Result<Option<(HostOffset, u64)>> {
        let geometry = &self.geometry;
        let within = offset.within(geometry);
        let mut run: Option<(HostOffset, u64)> = None;
        let clusters = geometry.clusters(within + len);
        self.active
            .each_mapping(offset.cluster(geometry), clusters, |mapping| {
                let start = if run.is_none() { within } else { 0 };
                let Some((at, end)) = writable(mapping, start, geometry) else {
                    return ControlFlow::Break(());
                };
                let (host, ready) = run.unwrap_or((at, 0));
                if at != host.plus(ready) {
                    return ControlFlow::Break(());
                }
                run = Some((host, ready + end - start));
                go_on(end == geometry.cluster_size())
            })?;
        let run = run.map(|(host, ready)| (host, ready.min(len)));
        if let Some((host, len)) = run {
            self.check_overlap(host, len)?;
        }
        Ok(run)
    }

    /// How many clusters from `first` on, to the end of its L2 table, need a new place; at most
    /// `limit`, at least the first.
    fn count_placeless(
        &self,
        metadata: &mut Metadata,
        first: GuestCluster,
        limit: u64,
    ) -> Result<u64> {
        let per_table = self.geometry.l2_entries();
        let limit = limit.min(per_table - first.0 % per_table);
        let mut count = 1;
        while count < limit {
            let next = metadata.mapping(first.plus(count))?;
            if matches!(next.place(), Some((_, true))) {
                break;
            }
            count += 1;
        }
        Ok(count)
    }

    /// Announces that `count` clusters get a new place for a write of `len` bytes at `offset`.
    fn announce(
        &self,
        metadata: &mut Metadata,
        (offset, len): (GuestOffset, u64),
        count: u64,
        place: Place,
    ) -> Result<Step> {
        let geometry = &self.geometry;
        let first = offset.cluster(geometry);
        let last = first.plus(count - 1);
        let end = offset.plus(len).min(last.plus(1).offset(geometry));
        let bytes = |cluster: GuestCluster| {
            let start = cluster.offset(geometry).0;
            let stop = start + geometry.cluster_size();
            offset.0.max(start) - start..end.0.min(stop) - start
        };
        let head = fill_of(metadata.mapping(first)?, bytes(first), &place, geometry).start;
        let tail = fill_of(metadata.mapping(last)?, bytes(last), &place, geometry).end;
        let fill = first.offset(geometry).plus(head)..last.offset(geometry).plus(tail);
        metadata.allocating.push(first.0..first.0 + count);
        Ok(Step::Allocate(Clusters {
            first,
            count,
            place,
            fill,
        }))
    }

    /// Writes the start of `buf` into new clusters, maps them, and gives how many bytes it took.
    fn write_new(&self, buf: &[u8], offset: GuestOffset, clusters: Clusters) -> Result<u64> {
        let room = clusters.count << self.geometry.cluster_bits();
        let len = (buf.len() as u64).min(room - offset.within(&self.geometry));
        let allocation = Allocation {
            image: self,
            range: range(&clusters),
            clusters,
        };
        let now = buf.split_at(buffer_len(len)).0;
        self.fill(now, offset, &allocation.clusters)?;
        allocation.map()?;
        Ok(len)
    }

    /// Writes what belongs into the new clusters: old contents, `buf`, old contents.
    fn fill(&self, buf: &[u8], offset: GuestOffset, clusters: &Clusters) -> Result<()> {
        let (host, fresh) = clusters.place.at(&self.geometry);
        let Range { start, end } = clusters.fill;
        let host = host.plus(start.0 - clusters.first.offset(&self.geometry).0);
        let data_end = offset.plus(buf.len() as u64);
        let place = |at: GuestOffset| host.plus(at.0 - start.0);
        let head = offset.0 - start.0;
        let tail = end.0 - data_end.0;
        if self.crypt.is_none() && head + tail > 0 && head + tail + (buf.len() as u64) <= MAX_STEP {
            let zero_head = self.is_known_zero(start, head)?;
            let zero_tail = self.is_known_zero(data_end, tail)?;
            if !(fresh && zero_head && zero_tail) {
                return self.fill_at_once(buf, offset, (start, end, host));
            }
            return self.write_data(buf, offset, place(offset));
        }
        self.copy_old(start, head, host)?;
        self.copy_old(data_end, tail, place(data_end))?;
        self.write_data(buf, offset, place(offset))
    }

    /// Writes the guest range from `start` to `end`, with `buf` at `offset` in it, in one piece.
    fn fill_at_once(
        &self,
        buf: &[u8],
        offset: GuestOffset,
        (start, end, host): (GuestOffset, GuestOffset, HostOffset),
    ) -> Result<()> {
        let mut whole = zeroed(end.0 - start.0);
        let (head, rest) = whole.split_at_mut(buffer_len(offset.0 - start.0));
        let (body, tail) = rest.split_at_mut(buf.len());
        self.read_guest(head, start)?;
        body.copy_from_slice(buf);
        self.read_guest(tail, offset.plus(buf.len() as u64))?;
        self.write_data(&whole, start, host)
    }

    /// Copies `len` bytes of old contents at `from` to their new place.
    fn copy_old(&self, from: GuestOffset, len: u64, to: HostOffset) -> Result<()> {
        if len == 0 {
            return Ok(());
        }
        let mut old = zeroed(len);
        self.read_guest(&mut old, from)?;
        self.write_data(&old, from, to)
    }

    /// Encrypts and writes bytes of ordinary clusters.
    fn write_data(&self, buf: &[u8], offset: GuestOffset, host: HostOffset) -> Result<()> {
        let Some(crypt) = &self.crypt else {
            return self.host.data().write_data(buf, host, "guest data");
        };
        if !offset.0.is_multiple_of(SECTOR) || !(buf.len() as u64).is_multiple_of(SECTOR) {
            return Err(ImageError::new(
                super::super::ErrorKind::Invalid,
                "an encrypted image is written in whole sectors of 512 bytes",
            )
            .at(offset.0));
        }
        let mut sectors = buf.to_vec();
        crypt.encrypt(&mut sectors, offset, host);
        self.host.data().write_data(&sectors, host, "guest data")
    }
}

impl Place {
    /// Where the first cluster starts, and whether nobody ever wrote there.
    fn at(self, geometry: &Geometry) -> (HostOffset, bool) {
        match self {
            Self::Taken(run) => (run.first.offset(geometry), run.fresh),
            Self::Kept(host) => (host, false),
        }
    }
}

/// Where byte `within` of a cluster may be written as it is, and the byte of the cluster up to
/// which that holds.
fn writable(mapping: Mapping, within: u64, geometry: &Geometry) -> Option<(HostOffset, u64)> {
    match (mapping.place(), piece(mapping, within, geometry)) {
        (Some((_, true)), (Piece::Data(host), end)) => Some((host, end)),
        _ => None,
    }
}

/// The bytes of a cluster to be written for a request for `bytes` of it: up to the edges of
/// subclusters that have no data yet, and whatever a new place must take over.
fn fill_of(old: Mapping, bytes: Range<u64>, place: &Place, geometry: &Geometry) -> Range<u64> {
    let held = old.parts().data();
    let needed = match place {
        Place::Taken(_) => PartSet::touched(bytes.clone(), geometry).with(held),
        Place::Kept(_) => PartSet::touched(bytes.clone(), geometry).without(held),
    };
    if needed.is_empty() {
        return bytes;
    }
    let needed = needed.hull(geometry);
    needed.start.min(bytes.start)..needed.end.max(bytes.end)
}

fn range(clusters: &Clusters) -> Range<u64> {
    clusters.first.0..clusters.first.0 + clusters.count
}

/// Clusters taken and announced, not yet mapped. Dropped before [`Allocation::map`], it gives
/// them back.
pub(super) struct Allocation<'a> {
    image: &'a Qcow2,
    clusters: Clusters,
    range: Range<u64>,
}

impl<'a> Allocation<'a> {
    /// The bytes taken at `host` for the compressed data of `cluster`.
    pub(super) fn of_bytes(
        image: &'a Qcow2,
        cluster: GuestCluster,
        (host, len): (HostOffset, u64),
    ) -> Self {
        let first = host.cluster(&image.geometry);
        let last = host.plus(len.saturating_sub(1)).cluster(&image.geometry);
        let count = last.0 - first.0 + 1;
        let at = cluster.offset(&image.geometry);
        Self {
            image,
            clusters: Clusters {
                first: cluster,
                count: 1,
                place: Place::Taken(Run {
                    first,
                    count,
                    fresh: false,
                }),
                fill: at..at,
            },
            range: cluster.0..cluster.0 + 1,
        }
    }

    /// Enters a compressed cluster, whose data is written.
    pub(super) fn map_compressed(mut self, mapping: Mapping) -> Result<()> {
        let mut metadata = self.image.lock();
        let mapped = metadata.map(self.clusters.first, mapping, Reason::Replaced);
        metadata.sealing(mapped)?;
        self.clusters.place = Place::Kept(HostOffset(0));
        Ok(())
    }

    /// The parts of `cluster` that were written.
    fn filled(&self, cluster: GuestCluster) -> PartSet {
        let geometry = &self.image.geometry;
        let start = cluster.offset(geometry).0;
        let Range { start: from, end } = self.clusters.fill;
        let end = end.0.min(start + geometry.cluster_size());
        PartSet::touched(from.0.max(start) - start..end - start, geometry)
    }

    /// Enters the mapping. What was there before is released.
    fn map(mut self) -> Result<()> {
        let geometry = &self.image.geometry;
        let (host, _) = self.clusters.place.at(geometry);
        let mut metadata = self.image.lock();
        for i in 0..self.clusters.count {
            let host = host.plus(i << geometry.cluster_bits());
            let cluster = self.clusters.first.plus(i);
            let filled = self.filled(cluster);
            let old = metadata.mapping(cluster);
            let mapped = old
                .and_then(|old| metadata.map(cluster, old.written(host, filled), Reason::Replaced));
            metadata.sealing(mapped)?;
            self.clusters.place = Place::Kept(host);
        }
        Ok(())
    }
}

impl Drop for Allocation<'_> {
    fn drop(&mut self) {
        let mut metadata = self.image.lock();
        metadata.allocating.retain(|range| *range != self.range);
        if let Place::Taken(run) = self.clusters.place {
            let undone = metadata.space.undo(run);
            // A failure here is a leak at worst; the error that led here is the one to report.
            let _: Result<(), ImageError> = metadata.sealing(undone);
        }
        drop(metadata);
        self.image.allocated.notify_all();
    }
}
