//! Requests that are not whole sectors, to encrypted images, as a wrapper: such images are read and
//! written in whole sectors.
//!
//! A write of parts of sectors reads them, changes them and writes them back, with the image to
//! itself meanwhile, so that it takes nothing back that another request writes beside it.

use std::path::Path;
use std::sync::{Arc, RwLock};

use super::fields::{buffer_len, zeroed};
use super::qcow2::Qcow2;
use super::{Extent, Format, Image, Result, SECTOR, ZeroMode, check_range};

/// An image that is reached in whole sectors only.
#[derive(Debug)]
pub(super) struct SectorWise {
    image: Arc<dyn Image>,
    /// Held for reading by requests for whole sectors, for writing by others that write.
    whole: RwLock<()>,
}

impl SectorWise {
    /// `image` for requests of any place and length.
    pub(super) fn wrap(image: Arc<dyn Image>) -> Arc<dyn Image> {
        Arc::new(Self {
            image,
            whole: RwLock::default(),
        })
    }

    /// Does `whole` if the request is for whole sectors. Otherwise reads the sectors that it
    /// touches, lets `change` change the bytes of the request, and writes them back.
    fn write(
        &self,
        (offset, len): (u64, u64),
        whole: impl FnOnce() -> Result<()>,
        change: impl FnOnce(&mut [u8]),
    ) -> Result<()> {
        if is_whole(offset, len) {
            let _others_too = self.whole.read().unwrap_or_else(|e| e.into_inner());
            return whole();
        }
        check_range(offset, len, self.image.size())?;
        let _alone = self.whole.write().unwrap_or_else(|e| e.into_inner());
        let (mut sectors, before) = self.sectors(offset, len)?;
        let (_, bytes) = sectors.split_at_mut(before);
        change(bytes.split_at_mut(buffer_len(len)).0);
        self.image.write_at(&sectors, offset - before as u64)
    }

    /// The sectors that `len` bytes at `offset` touch, and how far in they start.
    fn sectors(&self, offset: u64, len: u64) -> Result<(Vec<u8>, usize)> {
        let before = offset % SECTOR;
        let mut sectors = zeroed((before + len).next_multiple_of(SECTOR));
        self.image.read_at(&mut sectors, offset - before)?;
        Ok((sectors, buffer_len(before)))
    }
}

fn is_whole(offset: u64, len: u64) -> bool {
    offset.is_multiple_of(SECTOR) && len.is_multiple_of(SECTOR)
}

impl Image for SectorWise {
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
        let len = buf.len() as u64;
        if is_whole(offset, len) {
            return self.image.read_at(buf, offset);
        }
        check_range(offset, len, self.image.size())?;
        let (sectors, before) = self.sectors(offset, len)?;
        let (_, bytes) = sectors.split_at(before);
        buf.copy_from_slice(bytes.split_at(buf.len()).0);
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let whole = || self.image.write_at(buf, offset);
        self.write((offset, buf.len() as u64), whole, |bytes| {
            bytes.copy_from_slice(buf);
        })
    }

    fn write_zeroes(&self, offset: u64, len: u64, mode: ZeroMode) -> Result<()> {
        if is_whole(offset, len) {
            return self.write(
                (offset, len),
                || self.image.write_zeroes(offset, len, mode),
                |_| {},
            );
        }
        check_range(offset, len, self.image.size())?;
        // The edges by themselves: what lies between may be long.
        let end = offset + len;
        let first = offset.next_multiple_of(SECTOR).min(end);
        let last = (end - end % SECTOR).max(first);
        for (start, end) in [(offset, first), (last, end)] {
            self.write((start, end - start), || Ok(()), |bytes| bytes.fill(0))?;
        }
        self.write(
            (first, last - first),
            || self.image.write_zeroes(first, last - first, mode),
            |bytes| bytes.fill(0),
        )
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.image.discard(offset, len)
    }

    fn flush(&self) -> Result<()> {
        self.image.flush()
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
