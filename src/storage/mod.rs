//! Host storage: the one door through which the disk stack reaches host files.
//!
//! Everything above (`image`, `disk`) reads and writes through [`Storage`], so that faults, power
//! cuts, counting and tracing are wrappers ([`faulty`], [`record`], [`stalled`]) and not edits. A storage is
//! a flat run of bytes; it knows nothing of formats, clusters or sectors. It is shared between
//! threads: all methods take `&self` and may run at the same time.
//!
//! Left out on purpose: asynchronous submission, which would stand in [`file`].
#![deny(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing
)]

pub mod faulty;
pub mod file;
pub mod memory;
pub mod record;
pub mod stalled;

use std::fmt;
use std::io;

pub use faulty::FaultyStorage;
pub use file::FileStorage;
pub use memory::MemoryStorage;
pub use record::RecordingStorage;
pub use stalled::StalledStorage;

/// A flat, shared run of bytes on the host.
pub trait Storage: Send + Sync + fmt::Debug {
    /// Fills `buf` from byte `offset`. Bytes past the end of the storage read as zeros.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `buf` at byte `offset`, growing the storage where it can grow.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;

    /// Makes `len` bytes from `offset` read as zeros, growing the storage where it can grow.
    fn zero(&self, offset: u64, len: u64, allocation: Allocation) -> io::Result<()>;

    /// Tells the host that `len` bytes from `offset` are no longer needed. Their contents become
    /// undefined; a host that cannot free them does nothing.
    fn discard(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Returns when everything written before the call survives a power cut.
    fn flush(&self, what: Durability) -> io::Result<()>;

    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// True if the length is 0.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts or extends to `len` bytes; an extension reads as zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Announces to other processes what this one does with the storage and what it lets others
    /// do, replacing what was announced before.
    fn lock(&self, access: Access) -> Result<(), LockError>;

    /// Whether the bytes at `offset` are known to be a hole, and for how many bytes that holds.
    /// `len` bounds the answer; it is never 0 for a `len` that is not.
    fn extent(&self, offset: u64, len: u64) -> io::Result<(Occupancy, u64)>;

    /// Bytes that the storage occupies on the host, where known.
    fn occupied(&self) -> io::Result<u64> {
        self.len()
    }

    /// What identifies the storage on this host, to find one file reached by two names.
    fn identity(&self) -> Option<FileId> {
        None
    }

    /// Whether a write past the end makes the storage longer, with zeros in between.
    fn grows(&self) -> bool {
        true
    }
}

/// Device and inode of a host file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileId {
    /// `st_dev`
    pub device: u64,
    /// `st_ino`
    pub inode: u64,
}

/// What [`Storage::zero`] does with the host's blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocation {
    /// The range keeps (or gets) blocks of its own.
    Keep,
    /// The range may become a hole.
    MayFree,
}

/// What [`Storage::flush`] must make durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The contents, and what is needed to find them (`fdatasync`).
    Data,
    /// Every attribute of the file too (`fsync`).
    All,
}

/// Whether the host keeps blocks for a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occupancy {
    /// There are blocks; what they hold is not known without reading.
    Data,
    /// A hole, which reads as zeros.
    Hole,
}

/// What an opener does with a file, in the four permissions of QEMU's image locking that matter
/// between processes, and what it lets others do at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads, and needs the file to stay as it is.
    Read,
    /// Reads, writes and resizes; nobody else may write.
    Write,
    /// Reads whatever is there while others may write (`-U`).
    ShareAll,
    /// Holds nothing.
    None,
}

/// Why a lock was not had.
#[derive(Debug)]
pub enum LockError {
    /// Somebody else uses the storage in a way that excludes this use.
    Held {
        /// Who, where that is visible: `qemu-nbd (process 4711)`.
        holder: Option<String>,
        /// What the other does: "writes to it" or "needs it unchanged".
        conflict: &'static str,
    },
    /// The host failed.
    Io(io::Error),
}
