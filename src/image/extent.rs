//! What a run of a disk is made of, as `map`, `convert` and `compare` see it.

/// A run of bytes of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where the run starts on the disk, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub length: u64,
    /// What it is.
    pub kind: ExtentKind,
    /// Which image of the chain says so: 0 the image asked, 1 its backing image, and so on.
    pub depth: usize,
}

/// What a run of bytes is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtentKind {
    /// Data at this byte of the file of its image.
    Data {
        /// Byte offset in the host file.
        host: u64,
    },
    /// Data inside a compressed cluster.
    Compressed,
    /// Zeros, because the image says so or its file has a hole there.
    Zero {
        /// Byte offset in the host file, where space is kept for it.
        host: Option<u64>,
    },
    /// Nothing in any image of the chain; reads as zeros.
    Unallocated,
}

impl ExtentKind {
    /// Whether the run is known to read as zeros.
    pub fn reads_zero(self) -> bool {
        matches!(self, Self::Zero { .. } | Self::Unallocated)
    }
}
