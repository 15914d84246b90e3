//! Memory as a [`Storage`]: for tests, for throw-away images, and for an image that is part of
//! the binary.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Access, Allocation, Durability, LockError, Occupancy, Storage};

/// Bytes in memory, either owned and growing or borrowed from the binary and read-only.
pub struct MemoryStorage {
    bytes: RwLock<Cow<'static, [u8]>>,
}

impl MemoryStorage {
    /// A storage that holds `bytes` and may be written.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes: RwLock::new(Cow::Owned(bytes)),
        }
    }

    /// A read-only storage over bytes of the binary; they are never copied.
    pub fn from_static(bytes: &'static [u8]) -> Self {
        Self {
            bytes: RwLock::new(Cow::Borrowed(bytes)),
        }
    }

    /// A copy of the contents.
    pub fn to_vec(&self) -> Vec<u8> {
        self.get().to_vec()
    }

    fn get(&self) -> RwLockReadGuard<'_, Cow<'static, [u8]>> {
        self.bytes.read().unwrap_or_else(|e| e.into_inner())
    }

    fn change(&self) -> RwLockWriteGuard<'_, Cow<'static, [u8]>> {
        self.bytes.write().unwrap_or_else(|e| e.into_inner())
    }
}

impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryStorage({} bytes)", self.get().len())
    }
}

/// The vector behind `bytes`, `end` bytes long or more.
fn owned<'a>(bytes: &'a mut Cow<'static, [u8]>, end: u64) -> io::Result<&'a mut Vec<u8>> {
    let Cow::Owned(bytes) = bytes else {
        return Err(io::ErrorKind::ReadOnlyFilesystem.into());
    };
    let end = usize::try_from(end).map_err(|_| io::ErrorKind::StorageFull)?;
    if bytes.len() < end {
        bytes
            .try_reserve(end - bytes.len())
            .map_err(|_| io::ErrorKind::StorageFull)?;
        bytes.resize(end, 0);
    }
    Ok(bytes)
}

fn end_of(offset: u64, len: u64) -> io::Result<u64> {
    offset
        .checked_add(len)
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

impl Storage for MemoryStorage {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = self.get();
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let (_, rest) = bytes.split_at(start);
        let there = rest.len().min(buf.len());
        let (copied, past) = buf.split_at_mut(there);
        copied.copy_from_slice(rest.split_at(there).0);
        past.fill(0);
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let end = end_of(offset, buf.len() as u64)?;
        let mut bytes = self.change();
        let bytes = owned(&mut bytes, end)?;
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::StorageFull)?;
        bytes
            .split_at_mut(start)
            .1
            .split_at_mut(buf.len())
            .0
            .copy_from_slice(buf);
        Ok(())
    }

    fn zero(&self, offset: u64, len: u64, _: Allocation) -> io::Result<()> {
        let end = end_of(offset, len)?;
        let mut bytes = self.change();
        let bytes = owned(&mut bytes, end)?;
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::StorageFull)?;
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::StorageFull)?;
        bytes.split_at_mut(start).1.split_at_mut(len).0.fill(0);
        Ok(())
    }

    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        let len = len.min(self.len()?.saturating_sub(offset));
        if len == 0 {
            Ok(())
        } else {
            self.zero(offset, len, Allocation::MayFree)
        }
    }

    fn flush(&self, _: Durability) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.get().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut bytes = self.change();
        let bytes = owned(&mut bytes, len)?;
        bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok(())
    }

    fn lock(&self, _: Access) -> Result<(), LockError> {
        Ok(())
    }

    fn extent(&self, offset: u64, len: u64) -> io::Result<(Occupancy, u64)> {
        match self.len()?.saturating_sub(offset) {
            0 => Ok((Occupancy::Hole, len)),
            there => Ok((Occupancy::Data, len.min(there))),
        }
    }
}
