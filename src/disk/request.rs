//! What a device asks of a disk, and what comes back.

use serde::{Deserialize, Serialize};

use crate::bus::Tick;

/// Bytes in a sector, the unit of every address here.
pub const SECTOR_SIZE: usize = 512;

/// How long each request takes by itself, in guest ticks (ns). A solid-state drive of no great
/// haste; long enough for the host to be done by then in the usual case.
const READ_TICKS: Tick = 20_000;
const WRITE_TICKS: Tick = 20_000;
const FLUSH_TICKS: Tick = 50_000;
const DISCARD_TICKS: Tick = 20_000;

/// The cost of each byte that moves: a gigabyte a second.
const TICKS_PER_BYTE: Tick = 1;

/// Names one submitted request; never used twice in the life of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tag(pub(super) u64);

/// One request to a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Read `count` sectors from `sector` on.
    Read {
        /// The first sector.
        sector: u64,
        /// How many sectors.
        count: u32,
    },
    /// Write whole sectors from `sector` on.
    Write {
        /// The first sector.
        sector: u64,
        /// What to write; a multiple of [`SECTOR_SIZE`].
        data: Vec<u8>,
    },
    /// Make every write that completed before survive a power cut.
    Flush,
    /// Say that the contents of `count` sectors are no longer needed.
    Discard {
        /// The first sector.
        sector: u64,
        /// How many sectors.
        count: u32,
    },
    /// Make `count` sectors read as zeros.
    WriteZeroes {
        /// The first sector.
        sector: u64,
        /// How many sectors.
        count: u32,
        /// Whether the sectors may lose their space on the host.
        space: Space,
    },
}

/// What a write of zeros does with the space of the sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// The sectors keep their space: a later write to them cannot fail for want of it.
    Keep,
    /// The sectors may give their space back.
    MayFree,
}

impl Request {
    /// What it does.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Read { .. } => Kind::Read,
            Self::Write { .. } => Kind::Write,
            Self::Flush => Kind::Flush,
            Self::Discard { .. } => Kind::Discard,
            Self::WriteZeroes { .. } => Kind::WriteZeroes,
        }
    }

    /// The sectors that it touches: the first and how many.
    pub(super) fn range(&self) -> (u64, u64) {
        match *self {
            Self::Read { sector, count }
            | Self::Discard { sector, count }
            | Self::WriteZeroes { sector, count, .. } => (sector, u64::from(count)),
            Self::Write { sector, ref data } => (sector, (data.len() / SECTOR_SIZE) as u64),
            Self::Flush => (0, 0),
        }
    }

    /// The ticks during which it keeps the disk's data path to itself.
    pub(super) fn transfer_ticks(&self) -> Tick {
        let bytes = match self {
            Self::Read { count, .. } => u64::from(*count) * SECTOR_SIZE as u64,
            Self::Write { data, .. } => data.len() as u64,
            Self::Flush | Self::Discard { .. } | Self::WriteZeroes { .. } => 0,
        };
        bytes * TICKS_PER_BYTE
    }
}

/// What a request does, without its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    Read,
    Write,
    Flush,
    Discard,
    WriteZeroes,
}

impl Kind {
    /// What messages call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Discard => "discard",
            Self::WriteZeroes => "write of zeros",
        }
    }

    /// Whether it changes the disk.
    pub(super) fn changes(self) -> bool {
        !matches!(self, Self::Read | Self::Flush)
    }

    /// The ticks that it takes besides its transfer, alongside other requests.
    pub(super) fn latency_ticks(self) -> Tick {
        match self {
            Self::Read => READ_TICKS,
            Self::Write => WRITE_TICKS,
            Self::Flush => FLUSH_TICKS,
            Self::Discard | Self::WriteZeroes => DISCARD_TICKS,
        }
    }
}

/// The end of one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// Which request ended.
    pub tag: Tag,
    /// What a read found: all of it, or on failure the sectors before the failing one.
    pub data: Vec<u8>,
    /// How it ended.
    pub result: Result<(), Failure>,
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What a drive would call it.
    pub kind: FailureKind,
    /// The first sector that was not read or written; of a flush, 0.
    pub sector: u64,
    /// The host's reason, for the user.
    pub reason: String,
}

/// The kinds of failure that devices report differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The disk has no such sector.
    OutOfRange,
    /// The disk is write-protected.
    ReadOnly,
    /// The host could not read or write its image.
    Medium,
}
