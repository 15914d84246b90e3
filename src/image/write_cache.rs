//! Cache modes as a wrapper: writes that are durable when they return, or flushes that do nothing.

use std::path::Path;
use std::sync::Arc;

use super::qcow2::Qcow2;
use super::{Extent, Format, Image, Result, WriteCache, ZeroMode};

/// An image whose writes become durable at other times.
#[derive(Debug)]
pub(super) struct WriteCached {
    image: Arc<dyn Image>,
    mode: WriteCache,
}

impl WriteCached {
    /// `image` with cache mode `mode`.
    pub(super) fn wrap(image: Arc<dyn Image>, mode: WriteCache) -> Arc<dyn Image> {
        match mode {
            WriteCache::WriteBack | WriteCache::None => image,
            WriteCache::WriteThrough | WriteCache::DirectSync | WriteCache::Unsafe => {
                Arc::new(Self { image, mode })
            }
        }
    }

    fn written(&self, result: Result<()>) -> Result<()> {
        match self.mode {
            WriteCache::WriteThrough | WriteCache::DirectSync => {
                result.and_then(|()| self.image.flush())
            }
            WriteCache::WriteBack | WriteCache::None | WriteCache::Unsafe => result,
        }
    }
}

impl Image for WriteCached {
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
        self.image.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.written(self.image.write_at(buf, offset))
    }

    fn write_zeroes(&self, offset: u64, len: u64, mode: ZeroMode) -> Result<()> {
        self.written(self.image.write_zeroes(offset, len, mode))
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.written(self.image.discard(offset, len))
    }

    fn flush(&self) -> Result<()> {
        match self.mode {
            WriteCache::Unsafe => Ok(()),
            _ => self.image.flush(),
        }
    }

    fn extent(&self, offset: u64, len: u64) -> Result<Extent> {
        self.image.extent(offset, len)
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

    fn close(&self) -> Result<()> {
        self.image.close()
    }
}
