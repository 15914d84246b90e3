//! A [`Storage`] that holds chosen operations up until it is told to let them go: for tests of
//! what else goes on meanwhile.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::{Access, Allocation, Durability, FileId, LockError, Occupancy, Storage};

/// Passes everything to another storage, and holds up the operations that a [`Stall`] is for.
#[derive(Debug)]
pub struct StalledStorage {
    inner: Arc<dyn Storage>,
    stalls: Mutex<Vec<(Stall, Progress)>>,
    changed: Condvar,
}

/// The operation that is held up: the first of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stall {
    /// A read that touches these bytes.
    Read(Range<u64>),
    /// A write that touches these bytes.
    Write(Range<u64>),
    /// A flush.
    Flush,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Expected,
    HeldUp,
}

impl StalledStorage {
    /// Wraps `inner`; nothing is held up yet.
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self {
            inner,
            stalls: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Holds up the next operation that fits.
    pub fn stall(&self, what: Stall) {
        self.stalls().push((what, Progress::Expected));
    }

    /// Returns once every operation that is to be held up is.
    pub fn wait_until_stalled(&self) {
        let mut stalls = self.stalls();
        while stalls.iter().any(|(_, now)| *now == Progress::Expected) {
            stalls = self.wait(stalls);
        }
    }

    /// Lets everything go on.
    pub fn release(&self) {
        self.stalls().clear();
        self.changed.notify_all();
    }

    fn stalls(&self) -> MutexGuard<'_, Vec<(Stall, Progress)>> {
        self.stalls.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn wait<'a>(
        &self,
        stalls: MutexGuard<'a, Vec<(Stall, Progress)>>,
    ) -> MutexGuard<'a, Vec<(Stall, Progress)>> {
        self.changed.wait(stalls).unwrap_or_else(|e| e.into_inner())
    }

    /// Holds an operation up where it is the first that fits a stall.
    fn pass(&self, fits: impl Fn(&Stall) -> bool) {
        let mut stalls = self.stalls();
        let expected =
            |(stall, now): &&mut (Stall, Progress)| *now == Progress::Expected && fits(stall);
        let Some((_, now)) = stalls.iter_mut().find(expected) else {
            return;
        };
        *now = Progress::HeldUp;
        self.changed.notify_all();
        while !stalls.is_empty() {
            stalls = self.wait(stalls);
        }
    }
}

fn touch(range: &Range<u64>, offset: u64, len: usize) -> bool {
    range.start < offset.saturating_add(len as u64) && offset < range.end
}

impl Storage for StalledStorage {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let len = buf.len();
        self.pass(|stall| matches!(stall, Stall::Read(range) if touch(range, offset, len)));
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let len = buf.len();
        self.pass(|stall| matches!(stall, Stall::Write(range) if touch(range, offset, len)));
        self.inner.write_at(buf, offset)
    }

    fn zero(&self, offset: u64, len: u64, allocation: Allocation) -> io::Result<()> {
        self.inner.zero(offset, len, allocation)
    }

    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.discard(offset, len)
    }

    fn flush(&self, what: Durability) -> io::Result<()> {
        self.pass(|stall| *stall == Stall::Flush);
        self.inner.flush(what)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn lock(&self, access: Access) -> Result<(), LockError> {
        self.inner.lock(access)
    }

    fn extent(&self, offset: u64, len: u64) -> io::Result<(Occupancy, u64)> {
        self.inner.extent(offset, len)
    }

    fn occupied(&self) -> io::Result<u64> {
        self.inner.occupied()
    }

    fn identity(&self) -> Option<FileId> {
        self.inner.identity()
    }

    fn grows(&self) -> bool {
        self.inner.grows()
    }
}
