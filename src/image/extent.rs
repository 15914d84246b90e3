//! What a run of a disk is made of, as `map`, `convert` and `compare` see it.

use super::{Image, Result};

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

/// The extents of a disk, for a reader that goes forward in steps of its own. Each is looked up
/// once: where the host searches far for the next hole, that takes time.
#[derive(Debug)]
pub(super) struct Extents<'a> {
    image: &'a dyn Image,
    now: Option<Extent>,
}

impl<'a> Extents<'a> {
    pub(super) fn new(image: &'a dyn Image) -> Self {
        Self { image, now: None }
    }

    /// The rest of the extent that holds byte `at` of the disk.
    pub(super) fn at(&mut self, at: u64) -> Result<Extent> {
        let known = self
            .now
            .filter(|now| at >= now.offset && at - now.offset < now.length);
        let found = match known {
            Some(found) => found,
            None => self
                .image
                .extent(at, self.image.size().saturating_sub(at))?,
        };
        self.now = Some(found);
        Ok(found.from(at))
    }
}

impl Extent {
    /// The part from byte `at` of the disk on, which lies in it.
    fn from(self, at: u64) -> Self {
        let skipped = at - self.offset;
        let kind = match self.kind {
            ExtentKind::Data { host } => ExtentKind::Data {
                host: host + skipped,
            },
            ExtentKind::Zero { host } => ExtentKind::Zero {
                host: host.map(|host| host + skipped),
            },
            kind => kind,
        };
        Self {
            offset: at,
            length: self.length - skipped,
            kind,
            depth: self.depth,
        }
    }
}
