//! The thread that does a disk's host I/O, one request after the other.
//!
//! A request is cut into pieces, so that one failing sector is found by trying the sectors of
//! its piece singly: a drive has to say which sector failed. A panic inside the image code ends
//! that request with a failure, and neither the worker nor the machine.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::request::{Completion, Failure, FailureKind, Request, SECTOR_SIZE, Space, Tag};
use crate::image::{Image, ImageError, ZeroMode};

/// How much is read or written at once.
const PIECE: usize = 1 << 20;

/// A running worker, or on a host that gives no threads, its work done inline.
pub(super) struct Worker {
    jobs: Option<Sender<(Tag, Request)>>,
    done: Receiver<Completion>,
    inline: Option<(Performer, Sender<Completion>)>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a worker over `image`.
    pub(super) fn start(name: &str, image: Arc<dyn Image>, read_only: bool) -> Self {
        let (jobs, take) = unbounded::<(Tag, Request)>();
        let (give, done) = unbounded();
        let performer = Performer { image, read_only };
        let background = (performer.clone(), give.clone());
        let thread = thread::Builder::new()
            .name(format!("disk {name}"))
            .spawn(move || {
                let (performer, give) = background;
                for (tag, request) in take {
                    if give.send(performer.perform(tag, request)).is_err() {
                        return;
                    }
                }
            })
            .ok();
        Self {
            inline: thread.is_none().then_some((performer, give)),
            jobs: Some(jobs),
            done,
            thread,
        }
    }

    /// Hands over a request.
    pub(super) fn submit(&self, tag: Tag, request: Request) {
        if let Some((performer, give)) = &self.inline {
            // The receiver lives as long as `self`.
            let _ = give.send(performer.perform(tag, request));
        } else if let Some(jobs) = &self.jobs {
            // A worker that is gone shows in `wait`.
            let _ = jobs.send((tag, request));
        }
    }

    /// Waits for the next request to end; `None` if no more will.
    pub(super) fn wait(&self) -> Option<Completion> {
        self.done.recv().ok()
    }
}

impl Drop for Worker {
    /// Lets the worker finish what it was given: a submitted write reaches the image.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It catches its own panics; there is nothing to learn from the result.
            let _ = thread.join();
        }
    }
}

/// Carries out requests on an image.
#[derive(Clone)]
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
