//! Reading what can still be read of a damaged image, as a wrapper: each sector that cannot be read
//! reads as zeros, and is reported.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::fields::buffer_len;
use super::qcow2::Qcow2;
use super::{Extent, ExtentKind, Format, Image, ImageError, Result, SECTOR, ZeroMode, check_range};

/// Where the image cannot say what a run of the disk is, so many bytes are tried to be read.
const UNKNOWN: u64 = 64 << 10;

/// Told where a sector was lost, in bytes of the disk, and why.
pub type Report = Box<dyn Fn(u64, &ImageError) + Send + Sync>;

/// A damaged image, for reading.
pub struct Salvaged {
    image: Arc<dyn Image>,
    report: Report,
}

impl Salvaged {
    /// What can be read of `image`; what is lost is told to `report`.
    pub fn wrap(image: Arc<dyn Image>, report: Report) -> Arc<dyn Image> {
        Arc::new(Self { image, report })
    }
}

impl fmt::Debug for Salvaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Salvaged").field(&self.image).finish()
    }
}

impl Image for Salvaged {
    fn size(&self) -> u64 {
        self.image.size()
    }

    fn format(&self) -> Format {
        self.image.format()
    }

    fn read_only(&self) -> bool {
        self.image.read_only()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(offset, buf.len() as u64, self.size())?;
        if self.image.read_at(buf, offset).is_ok() {
            return Ok(());
        }
        for (sector, index) in buf.chunks_mut(buffer_len(SECTOR)).zip(0..) {
            let at = offset + index * SECTOR;
            if let Err(error) = self.image.read_at(sector, at) {
                (self.report)(at, &error);
                sector.fill(0);
            }
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.image.write_at(buf, offset)
    }

    fn write_zeroes(&self, offset: u64, len: u64, mode: ZeroMode) -> Result<()> {
        self.image.write_zeroes(offset, len, mode)
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.image.discard(offset, len)
    }

    fn flush(&self) -> Result<()> {
        self.image.flush()
    }

    fn extent(&self, offset: u64, len: u64) -> Result<Extent> {
        check_range(offset, 1, self.size())?;
        self.image.extent(offset, len).or_else(|_| {
            Ok(Extent {
                offset,
                length: len.min(UNKNOWN).min(self.size() - offset),
                kind: ExtentKind::Data { host: 0 },
                depth: 0,
            })
        })
    }

    fn backing(&self) -> Option<&Arc<dyn Image>> {
        self.image.backing()
    }

    fn path(&self) -> Option<&Path> {
        self.image.path()
    }

    fn as_qcow2(&self) -> Option<&Qcow2> {
        self.image.as_qcow2()
    }
}
