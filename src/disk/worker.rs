//! The thread that does a disk's host I/O, one request after the other.
//!
//! Whoever has the *turn* takes the next request: the worker when it is woken, or the machine
//! itself when it has to wait anyway and the worker has not come round yet. An idle guest's
//! request is then carried out without a change of threads, and one at a time, in the order of
//! submission, it is in any case.
//!
//! A request is cut into pieces, so that one failing sector is found by trying the sectors of
//! its piece singly: a drive has to say which sector failed. A panic inside the image code ends
//! that request with a failure, and neither the worker nor the machine.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::request::{Completion, Failure, FailureKind, Request, SECTOR_SIZE, Space, Tag};
use crate::image::{Image, ImageError, ZeroMode};

/// How much is read or written at once.
const PIECE: usize = 1 << 20;

/// A disk's requests and the thread that carries them out. On a host that gives no thread, the
/// machine carries them out when it waits for them.
pub(super) struct Worker {
    jobs: Sender<(Tag, Request)>,
    done: Receiver<Completion>,
    shared: Arc<Shared>,
    /// A word for each request; the worker ends when nobody can send one any more.
    wake: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the worker and the machine share.
struct Shared {
    performer: Performer,
    jobs: Receiver<(Tag, Request)>,
    done: Sender<Completion>,
    turn: Mutex<()>,
}

impl Worker {
    /// Starts a worker over `image`.
    pub(super) fn start(name: &str, image: Arc<dyn Image>, read_only: bool) -> Self {
        let (jobs, take_jobs) = unbounded();
        let (give_done, done) = unbounded();
        let (wake, woken) = unbounded();
        let shared = Arc::new(Shared {
            performer: Performer { image, read_only },
            jobs: take_jobs,
            done: give_done,
            turn: Mutex::new(()),
        });
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name(format!("disk {name}"))
            .spawn(move || {
                for () in woken {
                    theirs.perform_next();
                }
            });
        Self {
            jobs,
            done,
            shared,
            wake: Some(wake),
            thread: thread.ok(),
        }
    }

    /// Hands over a request.
    pub(super) fn submit(&self, tag: Tag, request: Request) {
        // The receiver of jobs is in `shared`; without a worker nobody is to be woken.
        let _ = self.jobs.send((tag, request));
        let _ = self.wake.as_ref().map(|wake| wake.send(()));
    }

    /// Waits for the next request to end. There is one under way.
    pub(super) fn wait(&self) -> Option<Completion> {
        if let Ok(done) = self.done.try_recv() {
            return Some(done);
        }
        if let Ok(turn) = self.shared.turn.try_lock() {
            self.shared.perform(turn);
        }
        self.done.recv().ok()
    }
}

impl Drop for Worker {
    /// Finishes what was submitted: a write reaches the image.
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // It catches its own panics; there is nothing to learn from the result.
            let _ = thread.join();
        }
        while !self.shared.jobs.is_empty() {
            self.shared.perform_next();
        }
    }
}

impl Shared {
    /// Waits for the turn and carries out the next request, if it is still there.
    fn perform_next(&self) {
        // Nothing panics with the turn in hand: a request catches its panics.
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.perform(turn);
    }

    fn perform(&self, _turn: MutexGuard<'_, ()>) {
        if let Ok((tag, request)) = self.jobs.try_recv() {
            // The receiver goes only when the disk goes: then nobody wants to know.
            let _ = self.done.send(self.performer.perform(tag, request));
        }
    }
}

/// Carries out requests on an image.
struct Performer {
    image: Arc<dyn Image>,
    read_only: bool,
}

impl Performer {
    fn perform(&self, tag: Tag, request: Request) -> Completion {
        let start = request.range().0;
        let mut data = Vec::new();
        let attempt = AssertUnwindSafe(|| self.attempt(request, &mut data));
        let result = catch_unwind(attempt).unwrap_or_else(|_| {
            Err(Failure {
                kind: FailureKind::Medium,
                sector: start,
                reason: "the image code panicked; this is a bug of Cowbox".to_owned(),
            })
        });
        Completion { tag, data, result }
    }

    fn attempt(&self, request: Request, data: &mut Vec<u8>) -> Result<(), Failure> {
        self.check(&request)?;
        let (sector, count) = request.range();
        let (offset, len) = (to_bytes(sector), to_bytes(count));
        let whole = |outcome: Result<(), ImageError>| outcome.map_err(|e| failure(&e, sector));
        match request {
            Request::Read { count, .. } => self.read(sector, count, data),
            Request::Write { data, .. } => self.write(sector, &data),
            Request::Flush => whole(self.image.flush()),
            Request::Discard { .. } => whole(self.image.discard(offset, len)),
            Request::WriteZeroes { space, .. } => {
                whole(self.image.write_zeroes(offset, len, zero_mode(space)))
            }
        }
    }

    /// Refuses what the disk cannot do, before anything of it is done.
    fn check(&self, request: &Request) -> Result<(), Failure> {
        let refuse = |kind, sector, reason: &str| {
            Err(Failure {
                kind,
                sector,
                reason: reason.to_owned(),
            })
        };
        let (sector, count) = request.range();
        let capacity = self.image.size() / SECTOR_SIZE as u64;
        if sector.checked_add(count).is_none_or(|end| end > capacity) {
            let first = sector.max(capacity);
            return refuse(FailureKind::OutOfRange, first, "past the end of the disk");
        }
        if request.kind().changes() && self.read_only {
            return refuse(FailureKind::ReadOnly, sector, "the disk is read-only");
        }
        Ok(())
    }

    fn read(&self, sector: u64, count: u32, data: &mut Vec<u8>) -> Result<(), Failure> {
        let bytes = usize::try_from(to_bytes(u64::from(count))).unwrap_or(usize::MAX);
        let room = data.try_reserve_exact(bytes);
        room.map_err(|_| out_of_memory(sector))?;
        data.resize(bytes, 0);
        let mut done = 0;
        for piece in data.chunks_mut(PIECE) {
            let at = to_bytes(sector) + done as u64;
            let sectors = || piece_sectors(at);
            if self.image.read_at(piece, at).is_err() {
                let singly = piece.chunks_mut(SECTOR_SIZE).zip(sectors());
                for (buffer, sector) in singly {
                    if let Err(error) = self.image.read_at(buffer, to_bytes(sector)) {
                        data.truncate(done);
                        return Err(failure(&error, sector));
                    }
                    done += SECTOR_SIZE;
                }
            } else {
                done += piece.len();
            }
        }
        Ok(())
    }

    fn write(&self, sector: u64, data: &[u8]) -> Result<(), Failure> {
        for (piece, done) in data.chunks(PIECE).zip((0_u64..).step_by(PIECE)) {
            let at = to_bytes(sector) + done;
            if self.image.write_at(piece, at).is_err() {
                for (buffer, sector) in piece.chunks(SECTOR_SIZE).zip(piece_sectors(at)) {
                    let singly = self.image.write_at(buffer, to_bytes(sector));
                    singly.map_err(|e| failure(&e, sector))?;
                }
            }
        }
        Ok(())
    }
}

/// The numbers of the sectors from byte `offset` on.
fn piece_sectors(offset: u64) -> impl Iterator<Item = u64> {
    offset / SECTOR_SIZE as u64..
}

fn to_bytes(sectors: u64) -> u64 {
    sectors.saturating_mul(SECTOR_SIZE as u64)
}

fn zero_mode(space: Space) -> ZeroMode {
    match space {
        Space::Keep => ZeroMode::KeepAllocated,
        Space::MayFree => ZeroMode::MayUnmap,
    }
}

/// A failure of the image: what a drive would refuse by itself was refused before.
fn failure(error: &ImageError, sector: u64) -> Failure {
    Failure {
        kind: FailureKind::Medium,
        sector,
        reason: error.to_string(),
    }
}

fn out_of_memory(sector: u64) -> Failure {
    Failure {
        kind: FailureKind::Medium,
        sector,
        reason: "the host has no memory for the sectors".to_owned(),
    }
}
