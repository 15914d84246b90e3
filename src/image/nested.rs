//! An image inside an image: the disk of one holds the bytes of the other.
//!
//! It is as long as that disk and cannot grow, like a block device. Locks are those that the outer
//! image holds on its own file.

use std::io;
use std::sync::Arc;

use super::{ErrorKind, ExtentKind, Image, ImageError, ZeroMode};
use crate::storage::{Access, Allocation, Durability, LockError, Occupancy, Storage};

/// The disk of an image as a [`Storage`].
#[derive(Debug)]
pub(super) struct ImageStorage(Arc<dyn Image>);

impl ImageStorage {
    pub(super) fn new(image: Arc<dyn Image>) -> Self {
        Self(image)
    }
}

/// A failure of the outer image as one of the host.
fn host_error(error: ImageError) -> io::Error {
    let kind = match error.kind() {
        ErrorKind::NoSpace => io::ErrorKind::StorageFull,
        ErrorKind::ReadOnly => io::ErrorKind::ReadOnlyFilesystem,
        ErrorKind::OutOfRange => io::ErrorKind::StorageFull,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error.to_string())
}

impl Storage for ImageStorage {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let there = self.0.size().saturating_sub(offset);
        let there = usize::try_from(there).unwrap_or(usize::MAX).min(buf.len());
        let (inside, past) = buf.split_at_mut(there);
        past.fill(0);
        match inside {
            [] => Ok(()),
            inside => self.0.read_at(inside, offset).map_err(host_error),
        }
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(buf, offset).map_err(host_error)
    }

    fn zero(&self, offset: u64, len: u64, allocation: Allocation) -> io::Result<()> {
        let mode = match allocation {
            Allocation::Keep => ZeroMode::KeepAllocated,
            Allocation::MayFree => ZeroMode::MayUnmap,
        };
        self.0.write_zeroes(offset, len, mode).map_err(host_error)
    }

    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        self.0.discard(offset, len).map_err(host_error)
    }

    fn flush(&self, _: Durability) -> io::Result<()> {
        self.0.flush().map_err(host_error)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.size())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match len <= self.0.size() {
            true => Ok(()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn lock(&self, _: Access) -> Result<(), LockError> {
        Ok(())
    }

    fn extent(&self, offset: u64, len: u64) -> io::Result<(Occupancy, u64)> {
        let there = self.0.size().saturating_sub(offset);
        if there == 0 {
            return Ok((Occupancy::Hole, len));
        }
        let extent = self.0.extent(offset, len.min(there)).map_err(host_error)?;
        let occupancy = match extent.kind {
            ExtentKind::Data { .. } | ExtentKind::Compressed => Occupancy::Data,
            ExtentKind::Zero { .. } | ExtentKind::Unallocated => Occupancy::Hole,
        };
        Ok((occupancy, extent.length))
    }

    fn grows(&self) -> bool {
        false
    }
}
