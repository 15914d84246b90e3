//! Disk images: what stands between a guest's disk and host files.
//!
//! An [`Image`] is a disk addressed in bytes. It knows its format and its backing chain, and
//! nothing of sectors, devices or threads. `disk` and `cli` stand above it, `storage` below.
//!
//! ```text
//!   open(path, &options) ──> Arc<dyn Image>      a file the user names, and its chain
//!   open_storage(..)     ──> Arc<dyn Image>      the same over any Storage (embedded image)
//!   overlay(base, dir)   ──> Arc<dyn Image>      throw-away qcow2 over an open image
//!   create, convert, compare, commit             whole images (see those modules)
//! ```
//!
//! All methods may be called from several threads at once. Requests that overlap in place and
//! time have no promised order; who wants one waits for the first. A returned write is visible to
//! every read that starts later; it survives a power cut once a later [`Image::flush`] has
//! returned. [`Image::close`] flushes and reports what dropping an image would have to swallow.
//!
//! Left out on purpose: caching of guest data (the host's page cache does that).
#![deny(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing
)]

mod chain;
pub mod commit;
pub mod compare;
pub mod convert;
mod create;
pub mod crypt;
mod data_file;
mod error;
pub mod explain;
mod extent;
mod fields;
pub mod info;
pub mod joined;
pub mod live;
mod luks;
pub mod measure;
mod nested;
mod open;
pub mod pipeline;
pub mod qcow2;
mod raw;
pub mod rebase;
mod resize;
pub mod salvage;
mod secret;
mod sector_wise;
mod write_cache;
mod zeros;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

pub use create::create;
pub use error::{ErrorKind, Escaped, ImageError, Result};
pub use extent::{Extent, ExtentKind};
pub use luks::LuksImage;
pub use open::{
    BackingPolicy, Below, Guessing, HostFiles, OpenOptions, Sharing, WriteCache, census, check,
    open, open_embedded, open_luks, open_qcow2, open_storage, overlay, probe,
};
pub use raw::{RawAccess, RawImage};
pub use resize::resize;
pub use secret::{Secret, Secrets};
pub use zeros::{DetectZeroes, Discards};

/// Sectors of this size are the unit of an image's length.
pub const SECTOR: u64 = 512;

/// A disk, addressed in bytes.
pub trait Image: Send + Sync + fmt::Debug {
    /// The length of the disk in bytes, a multiple of 512.
    fn size(&self) -> u64;

    /// The format of the file.
    fn format(&self) -> Format;

    /// Whether writes are refused.
    fn read_only(&self) -> bool;

    /// Fills `buf` from byte `offset` of the disk.
    ///
    /// Errors: [`ErrorKind::OutOfRange`], [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()>;

    /// Writes all of `buf` at byte `offset` of the disk.
    ///
    /// Errors: as for reading; [`ErrorKind::NoSpace`], after which the same write may be tried
    /// again; [`ErrorKind::ReadOnly`], also after an earlier failure that left the state of the
    /// file unknown.
    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()>;

    /// Makes `len` bytes from `offset` read as zeros.
    fn write_zeroes(&self, offset: u64, len: u64, mode: ZeroMode) -> Result<()>;

    /// Tells the image that `len` bytes from `offset` are no longer needed. What they read as
    /// afterwards is either what they were or zeros.
    fn discard(&self, offset: u64, len: u64) -> Result<()>;

    /// Returns when every write that returned before the call survives a power cut.
    fn flush(&self) -> Result<()>;

    /// What the run of bytes that starts at `offset` is, at most `len` bytes far, looking through
    /// the whole chain. `offset` lies inside the disk and `len` is not 0.
    fn extent(&self, offset: u64, len: u64) -> Result<Extent>;

    /// The image that shows through where this one has nothing.
    fn backing(&self) -> Option<&Arc<dyn Image>> {
        None
    }

    /// The file, for messages and for `info`.
    fn path(&self) -> Option<&Path>;

    /// The image as qcow2, for what only that format has.
    fn as_qcow2(&self) -> Option<&qcow2::Qcow2> {
        None
    }

    /// Flushes and leaves the file as somebody else may open it. The image may be used further.
    fn close(&self) -> Result<()> {
        self.flush()
    }
}

/// The formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The bytes of the disk, one after the other.
    Raw,
    /// QEMU's copy-on-write format, versions 2 and 3.
    Qcow2,
    /// A LUKS1 header and the encrypted disk behind it.
    Luks,
}

impl Format {
    /// The name used on command lines and inside images.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Luks => "luks",
        }
    }

    /// The format of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "raw" => Some(Self::Raw),
            "qcow2" => Some(Self::Qcow2),
            "luks" => Some(Self::Luks),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What [`Image::write_zeroes`] does with the space behind the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZeroMode {
    /// Space stays allocated, so that a later write there cannot run out of it.
    KeepAllocated,
    /// Space may be freed.
    MayUnmap,
}

/// Checks that `len` bytes at `offset` lie inside a disk of `size` bytes.
pub(crate) fn check_range(offset: u64, len: u64, size: u64) -> Result<()> {
    match offset.checked_add(len) {
        Some(end) if end <= size => Ok(()),
        _ => Err(ImageError::new(
            ErrorKind::OutOfRange,
            format!("request of {len} bytes reaches past the end of the disk ({size} bytes)"),
        )
        .at(offset)),
    }
}
