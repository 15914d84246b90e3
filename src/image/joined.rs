//! Several images, one behind the other, read as one disk: what `convert` makes of several
//! sources. Where one ends need not be where a cluster of the target does.

use std::path::Path;
use std::sync::Arc;

use super::fields::buffer_len;
use super::{ErrorKind, Extent, Format, Image, ImageError, Result, ZeroMode, check_range};

/// The disk that several images make, for reading.
#[derive(Debug)]
pub struct Joined {
    parts: Vec<Part>,
    size: u64,
}

/// An image, and where on the disk it starts.
#[derive(Debug)]
struct Part {
    start: u64,
    image: Arc<dyn Image>,
}

impl Part {
    fn end(&self) -> u64 {
        self.start + self.image.size()
    }

    /// Names the image's file in what failed.
    fn failed(&self, error: ImageError) -> ImageError {
        match self.image.path() {
            Some(path) => error.in_file(path),
            None => error,
        }
    }
}

impl Joined {
    /// The disk that `images` make in their order; a single one is itself.
    ///
    /// Errors: [`ErrorKind::Invalid`] if together they are longer than 2⁶⁴ bytes.
    pub fn of(mut images: Vec<Arc<dyn Image>>) -> Result<Arc<dyn Image>> {
        if images.len() == 1
            && let Some(only) = images.pop()
        {
            return Ok(only);
        }
        let mut size = 0u64;
        let mut parts = Vec::new();
        for image in images {
            let start = size;
            size = start.checked_add(image.size()).ok_or_else(|| {
                ImageError::new(ErrorKind::Invalid, "the sources are too long together")
            })?;
            parts.push(Part { start, image });
        }
        Ok(Arc::new(Self { parts, size }))
    }

    /// The parts from the one that holds byte `offset` on.
    fn from(&self, offset: u64) -> impl Iterator<Item = &Part> {
        let before = self.parts.partition_point(|part| part.end() <= offset);
        self.parts.iter().skip(before)
    }
}

impl Image for Joined {
    fn size(&self) -> u64 {
        self.size
    }

    fn format(&self) -> Format {
        Format::Raw
    }

    fn read_only(&self) -> bool {
        true
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(offset, buf.len() as u64, self.size)?;
        let (mut rest, mut at) = (buf, offset);
        for part in self.from(offset) {
            let here = (part.end() - at).min(rest.len() as u64);
            let (own, after) = rest.split_at_mut(buffer_len(here));
            let read = part.image.read_at(own, at - part.start);
            read.map_err(|error| part.failed(error))?;
            (rest, at) = (after, at + here);
            if rest.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn write_at(&self, _: &[u8], _: u64) -> Result<()> {
        Err(read_only())
    }

    fn write_zeroes(&self, _: u64, _: u64, _: ZeroMode) -> Result<()> {
        Err(read_only())
    }

    fn discard(&self, _: u64, _: u64) -> Result<()> {
        Err(read_only())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn extent(&self, offset: u64, len: u64) -> Result<Extent> {
        check_range(offset, 1, self.size)?;
        let part = self.from(offset).next();
        let part = part.ok_or_else(|| ImageError::new(ErrorKind::OutOfRange, "no such byte"))?;
        let len = len.min(part.end() - offset);
        let extent = part.image.extent(offset - part.start, len);
        let extent = extent.map_err(|error| part.failed(error))?;
        Ok(Extent { offset, ..extent })
    }

    fn path(&self) -> Option<&Path> {
        None
    }
}

fn read_only() -> ImageError {
    ImageError::new(ErrorKind::ReadOnly, "joined images are only read")
}
