//! The disks of a machine, and the requests that are under way.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::drive::Disk;
use super::request::{Completion, Failure, FailureKind, Kind, Request, Tag};
use crate::bus::{NEVER, Tick};

/// Names one disk of the machine, in the order in which they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DiskId(usize);

/// The disks of a machine, and the requests that are under way.
#[derive(Debug, Default)]
pub struct Disks {
    disks: Vec<Disk>,
    state: DisksState,
    notices: Vec<String>,
    told: Vec<(DiskId, Kind)>,
}

/// The part of [`Disks`] that belongs to the machine's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisksState {
    next: u64,
    /// When the data path of each disk is free again.
    free_at: Vec<Tick>,
    /// What was submitted and not yet taken, by the tick at which it is due, ties in the order
    /// of submission.
    in_flight: BTreeMap<(Tick, Tag), InFlight>,
    /// What the host has done of it already.
    done: BTreeMap<Tag, Completion>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct InFlight {
    disk: DiskId,
    kind: Kind,
    first: u64,
    count: u64,
}

impl Disks {
    /// Adds a disk.
    pub fn add(&mut self, disk: Disk) -> DiskId {
        let id = DiskId(self.disks.len());
        self.disks.push(disk);
        self.state.free_at.push(0);
        id
    }

    /// One of the disks.
    pub fn get(&self, id: DiskId) -> Option<&Disk> {
        self.disks.get(id.0)
    }

    /// All disks, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (DiskId, &Disk)> {
        let disks = self.disks.iter().enumerate();
        disks.map(|(id, disk)| (DiskId(id), disk))
    }

    /// Starts a request at tick `now`.
    ///
    /// Its bytes pass the disk's data path, one request at a time and a byte a tick, and
    /// 20,000 ticks later it is due. A flush is due 50,000 ticks after `now`, but not before
    /// what was submitted to the disk earlier; nor is a request due before an earlier one that
    /// it overlaps.
    pub fn submit(&mut self, disk: DiskId, now: Tick, request: Request) -> Tag {
        let tag = Tag(self.state.next);
        self.state.next += 1;
        let due = self.state.due(disk, now, &request);
        let (first, count) = request.range();
        let in_flight = InFlight {
            disk,
            kind: request.kind(),
            first,
            count,
        };
        self.state.in_flight.insert((due, tag), in_flight);
        if let Some(disk) = self.disks.get_mut(disk.0) {
            disk.start(tag, request);
        }
        tag
    }

    /// When the next completion is due; [`NEVER`] if nothing is under way.
    pub fn deadline(&self) -> Tick {
        let first = self.state.in_flight.first_key_value();
        first.map_or(NEVER, |((due, _), _)| *due)
    }

    /// Takes the next completion that is due by tick `now`, waiting for the host if it is late.
    pub fn take_due(&mut self, now: Tick) -> Option<(DiskId, Completion)> {
        if self.deadline() > now {
            return None;
        }
        let ((_, tag), in_flight) = self.state.in_flight.pop_first()?;
        self.wait_for(in_flight.disk, tag);
        let completion = self.state.done.remove(&tag)?;
        if let Err(failure) = &completion.result {
            self.tell(in_flight, failure);
        }
        Some((in_flight.disk, completion))
    }

    /// Waits until the host has done everything submitted so far. The completions stay due when
    /// they were: afterwards [`Disks::state`] is all there is to save.
    pub fn drain(&mut self) {
        let in_flight = self.state.in_flight.iter();
        let waiting: Vec<_> = in_flight.map(|((_, tag), f)| (f.disk, *tag)).collect();
        for (disk, tag) in waiting {
            self.wait_for(disk, tag);
        }
    }

    /// The state to save; [`Disks::drain`] comes first.
    pub fn state(&self) -> &DisksState {
        &self.state
    }

    /// Takes over a saved state. The disks are those that were there when it was saved.
    pub fn restore(&mut self, state: DisksState) {
        self.drain();
        self.state = state;
        self.state.free_at.resize(self.disks.len(), 0);
    }

    /// One line for the user about each disk and kind of request that the host failed; each is
    /// told once.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Ends the disks: everything submitted reaches the images, and they are closed. Returns a
    /// line for the user about each that could not be.
    pub fn close(self) -> Vec<String> {
        let closed = self.disks.into_iter().map(|disk| {
            let name = disk.name().to_owned();
            let failed = disk.close().err()?;
            Some(format!(
                "disk {name}: the image was not closed cleanly: {failed}"
            ))
        });
        closed.flatten().collect()
    }

    /// Collects what the worker of `disk` has done until `tag` is among it.
    fn wait_for(&mut self, disk: DiskId, tag: Tag) {
        while !self.state.done.contains_key(&tag) {
            let next = self.get(disk).and_then(Disk::wait);
            let next = next.unwrap_or_else(|| lost(tag));
            self.state.done.insert(next.tag, next);
        }
    }

    fn tell(&mut self, in_flight: InFlight, failure: &Failure) {
        let InFlight { disk, kind, .. } = in_flight;
        let guest_mistake = failure.kind != FailureKind::Medium;
        if guest_mistake || self.told.contains(&(disk, kind)) {
            return;
        }
        self.told.push((disk, kind));
        self.notices.push(format!(
            "disk {}: {} failed at sector {}: {}; the guest sees a drive error",
            self.get(disk).map_or("", Disk::name),
            kind.name(),
            failure.sector,
            failure.reason
        ));
    }
}

impl DisksState {
    /// The tick at which a request submitted at `now` is due.
    fn due(&mut self, disk: DiskId, now: Tick, request: &Request) -> Tick {
        let transfer = request.transfer_ticks();
        let mut moved = now;
        if let Some(free_at) = self.free_at.get_mut(disk.0)
            && transfer > 0
        {
            *free_at = now.max(*free_at).saturating_add(transfer);
            moved = *free_at;
        }
        let due = moved.saturating_add(request.kind().latency_ticks());
        let (first, count) = request.range();
        let follows = |f: &InFlight| {
            let overlaps =
                f.first < first.saturating_add(count) && first < f.first.saturating_add(f.count);
            f.disk == disk && (request.kind() == Kind::Flush || overlaps)
        };
        let in_flight = self.in_flight.iter();
        let earlier = in_flight.filter(|(_, f)| follows(f));
        let last = earlier.map(|((due, _), _)| *due).max();
        due.max(last.unwrap_or(0))
    }
}

/// The completion of a request that no worker is left to carry out.
fn lost(tag: Tag) -> Completion {
    Completion {
        tag,
        data: Vec::new(),
        result: Err(Failure {
            kind: FailureKind::Medium,
            sector: 0,
            reason: "the disk's worker thread is gone".to_owned(),
        }),
    }
}
