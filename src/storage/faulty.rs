//! A [`Storage`] that counts what passes through it and fails on request: the host errors that
//! tests of the layers above need.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Access, Allocation, Durability, FileId, LockError, Occupancy, Storage};

/// What a short write is cut to.
const SECTOR: usize = 512;

/// Passes everything to another storage, and fails the operation it was told to.
#[derive(Debug)]
pub struct FaultyStorage {
    inner: Arc<dyn Storage>,
    fault: Fault,
    counts: Arc<Counts>,
}

/// What was asked for, of one storage or of several that count together.
#[derive(Debug, Default)]
struct Counts {
    reads: AtomicU64,
    changes: AtomicU64,
    flushes: AtomicU64,
}

/// Which operation fails, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// None: the storage only counts.
    Never,
    /// The n-th change (write, zero or set_len, from 0) fails with this errno, once.
    Change(u64, i32),
    /// Of the n-th change, if it is a write, the first half arrives, in whole sectors; then it
    /// fails with this errno, once.
    Short(u64, i32),
    /// The n-th change and all that follow fail with this errno.
    ChangesFrom(u64, i32),
    /// The n-th flush (from 0) fails with this errno, once.
    Flush(u64, i32),
    /// The n-th read (from 0) fails with this errno, once.
    Read(u64, i32),
}

impl FaultyStorage {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn Storage>, fault: Fault) -> Self {
        Self {
            inner,
            fault,
            counts: Arc::default(),
        }
    }

    /// Wraps `inner`, which counts together with this storage: the n-th change of both fails.
    #[must_use]
    pub fn beside(&self, inner: Arc<dyn Storage>) -> Self {
        Self {
            inner,
            fault: self.fault,
            counts: Arc::clone(&self.counts),
        }
    }

    /// How many reads were asked for.
    pub fn reads(&self) -> u64 {
        self.counts.reads.load(Ordering::Relaxed)
    }

    /// How many writes, zeroings and length changes were asked for.
    pub fn changes(&self) -> u64 {
        self.counts.changes.load(Ordering::Relaxed)
    }

    /// How many flushes were asked for.
    pub fn flushes(&self) -> u64 {
        self.counts.flushes.load(Ordering::Relaxed)
    }

    fn change(&self) -> io::Result<()> {
        let n = self.counts.changes.fetch_add(1, Ordering::Relaxed);
        match self.fault {
            Fault::Change(at, errno) | Fault::Short(at, errno) if at == n => {
                Err(io::Error::from_raw_os_error(errno))
            }
            Fault::ChangesFrom(at, errno) if n >= at => Err(io::Error::from_raw_os_error(errno)),
            _ => Ok(()),
        }
    }
}

impl Storage for FaultyStorage {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let n = self.counts.reads.fetch_add(1, Ordering::Relaxed);
        match self.fault {
            Fault::Read(at, errno) if at == n => Err(io::Error::from_raw_os_error(errno)),
            _ => self.inner.read_at(buf, offset),
        }
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let allowed = self.change();
        if let (Err(_), Fault::Short(..)) = (&allowed, self.fault) {
            let half = buf.len() / 2 / SECTOR * SECTOR;
            self.inner.write_at(buf.split_at(half).0, offset)?;
        }
        allowed?;
        self.inner.write_at(buf, offset)
    }

    fn zero(&self, offset: u64, len: u64, allocation: Allocation) -> io::Result<()> {
        self.change()?;
        self.inner.zero(offset, len, allocation)
    }

    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.discard(offset, len)
    }

    fn flush(&self, what: Durability) -> io::Result<()> {
        let n = self.counts.flushes.fetch_add(1, Ordering::Relaxed);
        match self.fault {
            Fault::Flush(at, errno) if at == n => Err(io::Error::from_raw_os_error(errno)),
            _ => self.inner.flush(what),
        }
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change()?;
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
