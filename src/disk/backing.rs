//! What a disk needs of the image behind it.

use std::fmt;

/// The result of a request to an image.
pub(super) type Result<T> = std::result::Result<T, ImageError>;

/// A disk's contents, addressed in bytes.
pub trait Image: Send + Sync + fmt::Debug {
    /// The length in bytes, a multiple of 512.
    fn size(&self) -> u64;
    /// Whether writes are refused.
    fn read_only(&self) -> bool;
    /// Fills `buf` from byte `offset`.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()>;
    /// Writes all of `buf` at byte `offset`.
    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()>;
    /// Makes `len` bytes from `offset` read as zeros.
    fn write_zeroes(&self, offset: u64, len: u64, mode: ZeroMode) -> Result<()>;
    /// Says that `len` bytes from `offset` are no longer needed.
    fn discard(&self, offset: u64, len: u64) -> Result<()>;
    /// Returns when what was written survives a power cut.
    fn flush(&self) -> Result<()>;
}

/// What [`Image::write_zeroes`] does with the space behind the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZeroMode {
    /// Space stays allocated.
    KeepAllocated,
    /// Space may be freed.
    MayUnmap,
}

/// The kinds of failure that disks tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The host failed.
    Io,
    /// The image cannot be written.
    ReadOnly,
    /// The request reaches past the end of the image.
    OutOfRange,
}

/// The failure of a request to an image.
#[derive(Debug)]
pub struct ImageError {
    kind: ErrorKind,
    detail: String,
}

impl ImageError {
    /// An error of a kind, with a line of text for the user.
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { kind, detail }
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}
