//! A [`Storage`] in memory that writes down every change and flush, to replay any power cut.
//!
//! Between two flushes a disk may keep any subset of the writes, in any order, and may tear one
//! at a sector: [`Event`] holds what is needed to build each such state. Several files can share
//! one log, so that the order between them is known.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Access, Allocation, Durability, LockError, MemoryStorage, Occupancy, Storage};

/// One change of the storage, in the order in which they were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Bytes written at an offset.
    Write(u64, Vec<u8>),
    /// A length of zeros at an offset.
    Zero(u64, u64),
    /// A length at an offset whose contents are no longer needed.
    Discard(u64, u64),
    /// The length was set.
    SetLen(u64),
    /// Everything before is durable.
    Flush,
    /// A mark of the test, through [`RecordingStorage::mark`].
    Mark(String),
}

/// An event, and the number of the file that it is about.
pub type Logged = (usize, Event);

/// Memory with a log of its changes.
#[derive(Debug)]
pub struct RecordingStorage {
    memory: MemoryStorage,
    /// The number of this file in the log.
    file: usize,
    log: Arc<Mutex<Vec<Logged>>>,
}

impl RecordingStorage {
    /// Starts with `bytes`, which count as durable, and an empty log, as file 0.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            memory: MemoryStorage::new(bytes),
            file: 0,
            log: Arc::default(),
        }
    }

    /// File number `file` of the same log, which starts with `bytes`.
    pub fn beside(&self, file: usize, bytes: Vec<u8>) -> Self {
        Self {
            memory: MemoryStorage::new(bytes),
            file,
            log: Arc::clone(&self.log),
        }
    }

    /// Puts a mark in the log.
    pub fn mark(&self, mark: impl Into<String>) {
        self.push(Event::Mark(mark.into()), &mut self.log());
    }

    /// A copy of the log so far, of all files that share it.
    pub fn events(&self) -> Vec<Logged> {
        self.log().clone()
    }

    /// A copy of the contents.
    pub fn to_vec(&self) -> Vec<u8> {
        self.memory.to_vec()
    }

    fn log(&self) -> MutexGuard<'_, Vec<Logged>> {
        self.log.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn push(&self, event: Event, log: &mut Vec<Logged>) {
        log.push((self.file, event));
    }
}

impl Storage for RecordingStorage {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.memory.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let mut log = self.log();
        self.memory.write_at(buf, offset)?;
        self.push(Event::Write(offset, buf.to_vec()), &mut log);
        Ok(())
    }

    fn zero(&self, offset: u64, len: u64, allocation: Allocation) -> io::Result<()> {
        let mut log = self.log();
        self.memory.zero(offset, len, allocation)?;
        self.push(Event::Zero(offset, len), &mut log);
        Ok(())
    }

    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut log = self.log();
        self.memory.discard(offset, len)?;
        self.push(Event::Discard(offset, len), &mut log);
        Ok(())
    }

    fn flush(&self, _: Durability) -> io::Result<()> {
        self.push(Event::Flush, &mut self.log());
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut log = self.log();
        self.memory.set_len(len)?;
        self.push(Event::SetLen(len), &mut log);
        Ok(())
    }

    fn lock(&self, access: Access) -> Result<(), LockError> {
        self.memory.lock(access)
    }

    fn extent(&self, offset: u64, len: u64) -> io::Result<(Occupancy, u64)> {
        self.memory.extent(offset, len)
    }
}
