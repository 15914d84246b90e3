//! The image file as the qcow2 code sees it: reads, writes, and barriers between them; and beside
//! it, where there is one, the external data file.
//!
//! A barrier makes everything written before it durable before anything written after it. Each
//! one names the rule of crash consistency that it keeps (see [`Barrier`]); a barrier with
//! nothing written since the last one costs nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::super::fields::{buffer_len, zeroed};
use super::super::{ErrorKind, ImageError, Result};
use super::address::HostOffset;
use crate::storage::{Allocation, Durability, Storage};

/// Zeros are written in pieces of this size.
const ZERO_PIECE: u64 = 1 << 20;

/// Why two groups of host writes must not change places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Barrier {
    /// Data, new L2 tables and raised refcounts are durable before an entry refers to the
    /// clusters.
    ClusterBeforeReference,
    /// A refcount block is durable before the refcount table refers to it.
    BlockBeforeTable,
    /// A new refcount table is durable before the header refers to it.
    TableBeforeHeader,
    /// What the header now says is durable before what it referred to is given up.
    HeaderBeforeRelease,
    /// A cleared reference is durable before the refcount is lowered and the cluster reused.
    ClearedBeforeReuse,
    /// A lowered refcount is durable before the host is told to free the cluster, and before a
    /// COPIED flag says that it is 1.
    LoweredBeforeUse,
    /// Cleared COPIED flags are durable before a refcount leaves 1.
    FlagsBeforeSharing,
    /// A header flag that warns of the coming changes is durable before the first of them.
    FlagBeforeChange,
    /// Everything is durable before a header flag says that the image is clean.
    ChangesBeforeFlag,
    /// The guest asked for it.
    GuestFlush,
}

/// The storage of one image.
#[derive(Debug)]
pub(super) struct Host {
    storage: Arc<dyn Storage>,
    /// The external data file, made durable before the image file.
    data: Option<Box<Host>>,
    /// Whether anything was written since the last barrier.
    unflushed: AtomicBool,
    /// No byte from here on was ever written: a grown file reads as zeros there.
    untouched: AtomicU64,
    /// Held while flushing, so that no barrier returns before one that began earlier.
    flushing: Mutex<()>,
    doubt: OnceLock<String>,
    /// Where the power-cut test finds what each write and flush is for.
    #[cfg(test)]
    pub(super) journal: Mutex<Option<Arc<crate::storage::RecordingStorage>>>,
}

impl Host {
    pub(super) fn new(storage: Arc<dyn Storage>) -> Result<Self> {
        let len = storage
            .len()
            .map_err(|e| ImageError::io("find the length of the file", e))?;
        Ok(Self {
            untouched: AtomicU64::new(if storage.grows() { len } else { u64::MAX }),
            storage,
            data: None,
            unflushed: AtomicBool::new(false),
            flushing: Mutex::default(),
            doubt: OnceLock::new(),
            #[cfg(test)]
            journal: Mutex::default(),
        })
    }

    /// The same with guest data in another file.
    pub(super) fn with_data(mut self, data: Arc<dyn Storage>) -> Result<Self> {
        self.data = Some(Box::new(Self::new(data)?));
        Ok(self)
    }

    /// Where guest data lies: the external data file, or the image file itself.
    pub(super) fn data(&self) -> &Self {
        self.data.as_deref().unwrap_or(self)
    }

    pub(super) fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    pub(super) fn len(&self) -> Result<u64> {
        self.storage
            .len()
            .map_err(|e| ImageError::io("find the length of the file", e))
    }

    /// Fills `buf`; bytes past the end of the file are zeros.
    pub(super) fn read(&self, buf: &mut [u8], at: HostOffset, what: &str) -> Result<()> {
        let done = self.storage.read_at(buf, at.0);
        done.map_err(|e| ImageError::io(&format!("read {what}"), e).at(at.0))
    }

    /// Writes metadata. After a failure nobody knows what the disk holds: see [`Self::doubt`].
    pub(super) fn write(&self, buf: &[u8], at: HostOffset, what: &str) -> Result<()> {
        self.write_data(buf, at, what).map_err(|e| self.doubting(e))
    }

    /// Writes guest data, which may fail and be tried again.
    pub(super) fn write_data(&self, buf: &[u8], at: HostOffset, what: &str) -> Result<()> {
        self.touch(at, buf.len() as u64);
        #[cfg(test)]
        self.note(what);
        let done = self.storage.write_at(buf, at.0);
        self.unflushed.store(true, Ordering::Release);
        done.map_err(|e| ImageError::io(&format!("write {what}"), e).at(at.0))
    }

    /// Makes `len` bytes of metadata zeros, with or without blocks behind them.
    pub(super) fn zero(&self, at: HostOffset, len: u64, what: &str) -> Result<()> {
        self.touch(at, len);
        #[cfg(test)]
        self.note(what);
        let done = self.storage.zero(at.0, len, Allocation::MayFree);
        self.unflushed.store(true, Ordering::Release);
        done.map_err(|e| self.doubting(ImageError::io(&format!("clear {what}"), e).at(at.0)))
    }

    /// Makes guest data zeros.
    pub(super) fn zero_data(&self, at: HostOffset, len: u64, how: Allocation) -> Result<()> {
        self.touch(at, len);
        let done = self.storage.zero(at.0, len, how);
        self.unflushed.store(true, Ordering::Release);
        done.map_err(|e| ImageError::io("clear guest data", e).at(at.0))
    }

    /// Writes `len` bytes of zeros, so that the host has blocks that were written.
    pub(super) fn write_zeros(&self, at: HostOffset, len: u64) -> Result<()> {
        let zeros = zeroed(len.min(ZERO_PIECE));
        let mut done = 0;
        while done < len {
            let piece = zeros.split_at(buffer_len((len - done).min(ZERO_PIECE))).0;
            self.write_data(piece, at.plus(done), "zeros")?;
            done += piece.len() as u64;
        }
        Ok(())
    }

    #[cfg(test)]
    fn note(&self, what: &str) {
        if let Some(journal) = &*self.journal.lock().unwrap() {
            journal.mark(what);
        }
    }

    /// Makes the file reach to `end`, where it is shorter.
    pub(super) fn reach(&self, end: HostOffset) -> Result<()> {
        if self.len()? >= end.0 || !self.storage.grows() {
            return Ok(());
        }
        self.unflushed.store(true, Ordering::Release);
        let done = self.storage.set_len(end.0);
        done.map_err(|e| ImageError::io("make the file longer", e).at(end.0))
    }

    /// Cuts the file at `end`, behind which nothing is in use any more, and that is durable.
    pub(super) fn cut(&self, end: HostOffset) -> Result<()> {
        if self.len()? <= end.0 || !self.storage.grows() {
            return Ok(());
        }
        self.unflushed.store(true, Ordering::Release);
        let done = self.storage.set_len(end.0);
        done.map_err(|e| ImageError::io("cut the file", e).at(end.0))
    }

    fn doubting(&self, error: ImageError) -> ImageError {
        self.doubt.get_or_init(|| error.to_string());
        error
    }

    /// Why the state of the file is unknown: a failed flush or metadata write, after which
    /// nothing may be written until the image is opened again.
    pub(super) fn doubt(&self) -> Result<()> {
        match self.doubt.get() {
            None => Ok(()),
            Some(why) => Err(ImageError::new(
                ErrorKind::ReadOnly,
                format!("no more writes after an earlier failure ({why}); open the image again"),
            )),
        }
    }

    /// Gives space back to the host. What is lost by a failure is only the space.
    pub(super) fn discard(&self, at: HostOffset, len: u64) {
        let _ = self.storage.discard(at.0, len);
    }

    /// Claims `len` bytes for writing; true if nobody ever wrote there, so that they read as
    /// zeros until then.
    pub(super) fn touch(&self, at: HostOffset, len: u64) -> bool {
        at.0 >= self
            .untouched
            .fetch_max(at.0.saturating_add(len), Ordering::AcqRel)
    }

    /// Returns once everything written before survives a power cut.
    pub(super) fn barrier(&self, why: Barrier) -> Result<()> {
        if let Some(data) = &self.data {
            data.barrier(why).map_err(|e| self.doubting(e))?;
        }
        let _one_at_a_time = self.flushing.lock().unwrap_or_else(|e| e.into_inner());
        self.doubt()?;
        if !self.unflushed.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        #[cfg(test)]
        self.note(&format!("{why:?}"));
        self.storage.flush(Durability::Data).map_err(|e| {
            self.doubting(ImageError::io(
                &format!("flush the image ({})", why.text()),
                e,
            ))
        })
    }
}

impl Barrier {
    fn text(self) -> &'static str {
        match self {
            Self::ClusterBeforeReference => "data before its mapping",
            Self::BlockBeforeTable => "refcount block before its table entry",
            Self::TableBeforeHeader => "refcount table before the header",
            Self::HeaderBeforeRelease => "header before freed tables",
            Self::ClearedBeforeReuse => "cleared entries before freed clusters",
            Self::LoweredBeforeUse => "refcounts before freed host blocks",
            Self::FlagsBeforeSharing => "COPIED flags before refcounts",
            Self::FlagBeforeChange => "header flag before changes",
            Self::ChangesBeforeFlag => "changes before the header flag",
            Self::GuestFlush => "guest flush",
        }
    }
}
