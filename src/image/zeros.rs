//! What becomes of discards and of writes that turn out to be zeros, as a wrapper.
//!
//! Discards can be ignored, for images whose space is to stay theirs; then nothing gives space
//! back, zeros neither. Writes of nothing but zeros can be turned into zeroing, which takes no
//! space where the format knows zeros.

use std::path::Path;
use std::sync::Arc;

use super::qcow2::Qcow2;
use super::{Extent, Format, Image, Result, ZeroMode};

/// What becomes of discards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Discards {
    /// They give space back.
    #[default]
    Unmap,
    /// Nothing.
    Ignore,
}

/// What becomes of writes that are all zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DetectZeroes {
    /// They are written.
    #[default]
    Off,
    /// They become zeroing that keeps the space.
    On,
    /// They become zeroing that may give space back, unless discards are ignored.
    Unmap,
}

/// An image with other discards and zero writes.
#[derive(Debug)]
pub(super) struct ZeroAware {
    image: Arc<dyn Image>,
    discards: Discards,
    detect: DetectZeroes,
}

impl ZeroAware {
    /// `image`, treated like this.
    pub(super) fn wrap(
        image: Arc<dyn Image>,
        discards: Discards,
        detect: DetectZeroes,
    ) -> Arc<dyn Image> {
        match (discards, detect) {
            (Discards::Unmap, DetectZeroes::Off) => image,
            _ => Arc::new(Self {
                image,
                discards,
                detect,
            }),
        }
    }

    fn mode(&self, mode: ZeroMode) -> ZeroMode {
        match self.discards {
            Discards::Unmap => mode,
            Discards::Ignore => ZeroMode::KeepAllocated,
        }
    }
}

/// Whether all of `bytes` are zero.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    // Most data shows in its first bytes that it is none; the rest goes by blocks that the compiler
    // makes vectors of.
    let none = |block: &[u8; 256]| block.iter().fold(0, |all, byte| all | byte) == 0;
    let (blocks, rest) = bytes.as_chunks::<256>();
    bytes
        .first_chunk::<8>()
        .is_none_or(|first| *first == [0; 8])
        && blocks.iter().all(none)
        && rest.iter().all(|&byte| byte == 0)
}

impl Image for ZeroAware {
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
        let mode = match self.detect {
            DetectZeroes::Off => return self.image.write_at(buf, offset),
            DetectZeroes::On => ZeroMode::KeepAllocated,
            DetectZeroes::Unmap => ZeroMode::MayUnmap,
        };
        if !is_zero(buf) {
            return self.image.write_at(buf, offset);
        }
        self.write_zeroes(offset, buf.len() as u64, mode)
    }

    fn write_zeroes(&self, offset: u64, len: u64, mode: ZeroMode) -> Result<()> {
        self.image.write_zeroes(offset, len, self.mode(mode))
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        match self.discards {
            Discards::Unmap => self.image.discard(offset, len),
            Discards::Ignore => Ok(()),
        }
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
