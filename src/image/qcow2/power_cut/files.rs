//! The files of an image under test, as parts of one recorded storage, so that their writes and
//! flushes stand in one log.

use std::io;
use std::sync::Arc;

use crate::storage::{
    Access, Allocation, Durability, LockError, Occupancy, RecordingStorage, Storage,
};

/// A mark in the log: the external data file was flushed.
pub(super) const DATA_FLUSHED: u64 = u64::MAX;

/// The files of an image, which may be parts of one recorded storage.
pub(super) struct Files {
    pub(super) image: Arc<dyn Storage>,
    pub(super) data: Option<Arc<dyn Storage>>,
}

impl Files {
    /// The image file starts at byte `start` of `all`; what is before that is its external data
    /// file, whose flushes are marked in `log`.
    pub(super) fn new(
        all: Arc<dyn Storage>,
        start: u64,
        log: Option<Arc<RecordingStorage>>,
    ) -> Self {
        if start == 0 {
            let (image, data) = (all, None);
            return Self { image, data };
        }
        let part = |start, end, flushed| -> Arc<dyn Storage> {
            let all = Arc::clone(&all);
            Arc::new(PartOf {
                all,
                start,
                end,
                flushed,
            })
        };
        Self {
            image: part(start, u64::MAX, None),
            data: Some(part(0, start, log)),
        }
    }
}

/// A part of a storage that is a file by itself.
#[derive(Debug)]
struct PartOf {
    all: Arc<dyn Storage>,
    start: u64,
    end: u64,
    /// Where flushes are marked, instead of flushing everything.
    flushed: Option<Arc<RecordingStorage>>,
}

impl Storage for PartOf {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.all.read_at(buf, self.start + offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        assert!(offset + buf.len() as u64 <= self.end);
        self.all.write_at(buf, self.start + offset)
    }

    fn zero(&self, offset: u64, len: u64, how: Allocation) -> io::Result<()> {
        assert!(offset + len <= self.end);
        self.all.zero(self.start + offset, len, how)
    }

    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        self.all.discard(self.start + offset, len)
    }

    fn flush(&self, what: Durability) -> io::Result<()> {
        match &self.flushed {
            Some(log) => log.mark(DATA_FLUSHED),
            None => self.all.flush(what)?,
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.all.len()?.min(self.end).saturating_sub(self.start))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        assert_eq!(self.end, u64::MAX);
        self.all.set_len(self.start + len)
    }

    fn lock(&self, _: Access) -> Result<(), LockError> {
        Ok(())
    }

    fn extent(&self, _: u64, len: u64) -> io::Result<(Occupancy, u64)> {
        Ok((Occupancy::Data, len))
    }
}
