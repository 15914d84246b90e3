//! The raw format: the bytes of the disk are the bytes of the file.
//!
//! The disk is as long as the file, rounded up to whole sectors; the part of the last sector that
//! the file does not have reads as zeros.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check_range;
use super::{ErrorKind, Extent, ExtentKind, Format, Image, ImageError, Result, SECTOR, ZeroMode};
use crate::storage::{Allocation, Durability, Occupancy, Storage};

/// A raw disk image.
#[derive(Debug)]
pub struct RawImage {
    storage: Arc<dyn Storage>,
    size: u64,
    access: RawAccess,
    path: Option<PathBuf>,
}

/// What may be done with a raw image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RawAccess {
    /// Reading only.
    ReadOnly,
    /// Reading and writing.
    ReadWrite,
}

impl RawImage {
    /// The disk in `storage`.
    pub fn new(storage: Arc<dyn Storage>, access: RawAccess, path: Option<&Path>) -> Result<Self> {
        let len = storage
            .len()
            .map_err(|e| ImageError::io("find the length of the file", e))?;
        let size = len
            .checked_next_multiple_of(SECTOR)
            .unwrap_or(len - len % SECTOR);
        Ok(Self {
            storage,
            size,
            access,
            path: path.map(Path::to_path_buf),
        })
    }

    fn check_write(&self, offset: u64, len: u64) -> Result<()> {
        check_range(offset, len, self.size)?;
        match self.access {
            RawAccess::ReadWrite => Ok(()),
            RawAccess::ReadOnly => Err(ImageError::new(
                ErrorKind::ReadOnly,
                "the image is open for reading only",
            )),
        }
    }
}

impl Image for RawImage {
    fn size(&self) -> u64 {
        self.size
    }

    fn format(&self) -> Format {
        Format::Raw
    }

    fn read_only(&self) -> bool {
        self.access == RawAccess::ReadOnly
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(offset, buf.len() as u64, self.size)?;
        self.storage
            .read_at(buf, offset)
            .map_err(|e| ImageError::io("read", e).at(offset))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.check_write(offset, buf.len() as u64)?;
        self.storage
            .write_at(buf, offset)
            .map_err(|e| ImageError::io("write", e).at(offset))
    }

    fn write_zeroes(&self, offset: u64, len: u64, mode: ZeroMode) -> Result<()> {
        self.check_write(offset, len)?;
        let allocation = match mode {
            ZeroMode::KeepAllocated => Allocation::Keep,
            ZeroMode::MayUnmap => Allocation::MayFree,
        };
        let done = self.storage.zero(offset, len, allocation);
        done.map_err(|e| ImageError::io("write zeros", e).at(offset))
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.check_write(offset, len)?;
        self.storage
            .discard(offset, len)
            .map_err(|e| ImageError::io("discard", e).at(offset))
    }

    fn flush(&self) -> Result<()> {
        match self.access {
            RawAccess::ReadOnly => Ok(()),
            RawAccess::ReadWrite => self
                .storage
                .flush(Durability::Data)
                .map_err(|e| ImageError::io("flush", e)),
        }
    }

    fn extent(&self, offset: u64, len: u64) -> Result<Extent> {
        check_range(offset, 1, self.size)?;
        let len = len.min(self.size - offset);
        let found = self.storage.extent(offset, len);
        let (occupancy, length) =
            found.map_err(|e| ImageError::io("look for holes", e).at(offset))?;
        let kind = match occupancy {
            Occupancy::Data => ExtentKind::Data { host: offset },
            Occupancy::Hole => ExtentKind::Zero { host: Some(offset) },
        };
        Ok(Extent {
            offset,
            length,
            kind,
            depth: 0,
        })
    }

    fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}
