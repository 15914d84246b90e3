//! One drive: its registers, its settings, and what it is doing.
//!
//! ```text
//!              command                     disk done             last byte
//!   Idle ------------------> Waiting ------------------> Data ------------> Waiting or Idle
//!                             (BSY)                   (DRQ, or BSY
//!                                                      while DMA)
//! ```
//!
//! [`super::execute`] starts commands, [`super::transfer`] moves their sectors.

use serde::{Deserialize, Serialize};

use super::command::{Path, Power};
use super::identify::{MOST_MULTIPLE, Settings, identify};
use super::registers::{ABRT, BSY, DRDY, DRQ, DSC, ERR, Register, Span, TaskFile};
use crate::devices::Cx;
use crate::disk::{Disk, DiskId, Disks, Failure, Geometry, SECTOR_SIZE, Tag};

/// The transfer mode of a drive nobody configured: multiword DMA 2.
const DEFAULT_TRANSFER_MODE: u8 = 0x22;

/// The sectors that a command has yet to move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) span: Span,
    pub(super) path: Path,
    /// The first sector that is not in the buffer yet.
    pub(super) next: u64,
    /// How many sectors are left from there on.
    pub(super) left: u32,
}

/// The ranges of a trim: first sector and count.
pub(super) type Ranges = Vec<(u64, u32)>;

/// What a drive asked of its disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Errand {
    Read(Run),
    Write(Run),
    Verify(Run),
    /// FLUSH CACHE, or the end of a write while the write cache is off.
    Flush,
    /// The ranges still to be discarded after the one under way.
    Trim(Ranges),
}

/// What becomes of a buffer when its last byte has moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Then {
    /// The host has it all.
    End,
    /// The host has the sectors before one that cannot be read.
    Fail(Span, Failure),
    /// Read the rest.
    Read(Run),
    /// Write the buffer at this sector, then go on with the run.
    Write(u64, Run),
    /// Discard the ranges in the buffer.
    Trim,
}

/// Which way a buffer moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Flow {
    ToHost,
    ToDrive,
}

/// A buffer on its way between drive and host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DataPhase {
    pub(super) path: Path,
    pub(super) flow: Flow,
    pub(super) buffer: Vec<u8>,
    /// Bytes for each data request, at least a sector.
    pub(super) block: usize,
    /// Bytes of the buffer that have moved.
    pub(super) moved: usize,
    pub(super) then: Then,
}

/// What a drive is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Activity {
    #[default]
    Idle,
    Waiting(Tag, Errand),
    Data(DataPhase),
}

/// One drive of a channel, present or not.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Drive {
    disk: Option<DiskId>,
    is_second: bool,
    pub(super) registers: TaskFile,
    pub(super) activity: Activity,
    /// INTRQ, before nIEN.
    pub(super) interrupt: bool,
    pub(super) power: Power,
    /// Sectors for each data request of the MULTIPLE commands; 0 while they are off.
    pub(super) multiple: u8,
    pub(super) transfer_mode: u8,
    pub(super) write_cache: bool,
    /// Set by INITIALIZE DEVICE PARAMETERS.
    pub(super) translation: Option<Geometry>,
}

impl Drive {
    /// A drive after power-on.
    pub(super) fn new(disk: Option<DiskId>, is_second: bool) -> Self {
        let mut drive = Self {
            disk,
            is_second,
            multiple: MOST_MULTIPLE,
            transfer_mode: DEFAULT_TRANSFER_MODE,
            write_cache: true,
            ..Self::default()
        };
        drive.reset();
        drive
    }

    /// A hardware or software reset: what was under way is forgotten, settings stay.
    pub(super) fn reset(&mut self) {
        self.activity = Activity::Idle;
        self.interrupt = false;
        self.power = Power::Active;
        self.registers.set_signature();
        self.registers.status = DRDY | DSC;
    }

    /// The disk behind the drive, if there is a drive.
    pub(super) fn disk(&self) -> Option<DiskId> {
        self.disk
    }

    /// What the disk says about itself.
    pub(super) fn described<'a>(&self, disks: &'a Disks) -> Option<&'a Disk> {
        disks.get(self.disk?)
    }

    /// The translation between sector numbers and cylinder, head, sector.
    pub(super) fn translation(&self, disks: &Disks) -> Geometry {
        let default = || self.described(disks).map(Disk::geometry);
        let current = self.translation.or_else(default);
        current.unwrap_or(Geometry::of_capacity(0))
    }

    /// Whether the drive takes no command now.
    pub(super) fn is_busy(&self) -> bool {
        self.registers.status & (BSY | DRQ) != 0
    }

    /// Writes one of the registers that both drives of a channel take.
    pub(super) fn write(&mut self, register: Register, value: u8) {
        let registers = &mut self.registers;
        match register {
            Register::Features => registers.features.push(value),
            Register::Count => registers.count.push(value),
            Register::LbaLow => registers.lba_low.push(value),
            Register::LbaMid => registers.lba_mid.push(value),
            Register::LbaHigh => registers.lba_high.push(value),
            Register::Device => registers.device = value,
            Register::Data | Register::Command | Register::Control => {}
        }
    }

    /// Reads a register other than data and status.
    pub(super) fn read(&self, register: Register, high_order: bool) -> u8 {
        let registers = &self.registers;
        match register {
            Register::Features => registers.error,
            Register::Count => registers.count.read(high_order),
            Register::LbaLow => registers.lba_low.read(high_order),
            Register::LbaMid => registers.lba_mid.read(high_order),
            Register::LbaHigh => registers.lba_high.read(high_order),
            Register::Device => registers.device | 0xa0,
            Register::Data | Register::Command | Register::Control => registers.status,
        }
    }

    /// Ends a command well.
    pub(super) fn succeed(&mut self) {
        self.end_with(0, 0);
    }

    /// Ends a command with ABRT.
    pub(super) fn abort(&mut self) {
        self.end_with(ERR, ABRT);
    }

    /// Ends a command with an error about one sector.
    pub(super) fn fail_at(&mut self, cx: &Cx<'_>, span: Span, lba: u64, error: u8) {
        let translation = self.translation(cx.disks);
        self.registers.set_address(span, translation, lba);
        self.end_with(ERR, error);
    }

    pub(super) fn end_with(&mut self, status: u8, error: u8) {
        self.activity = Activity::Idle;
        self.registers.status = DRDY | DSC | status;
        self.registers.error = error;
        self.interrupt = true;
    }

    /// The sector that IDENTIFY DEVICE sends.
    pub(super) fn identity(&self, disk: &Disk, translation: Geometry) -> Vec<u8> {
        let settings = Settings {
            translation,
            multiple: self.multiple,
            transfer_mode: self.transfer_mode,
            write_cache: self.write_cache,
            is_second: self.is_second,
        };
        identify(disk, &settings)
    }

    /// Opens a data phase. The interrupt, where one is due, is the caller's.
    pub(super) fn begin_data(&mut self, path: Path, flow: Flow, buffer: Vec<u8>, then: Then) {
        let sectors = match path {
            Path::Multiple => usize::from(self.multiple.max(1)),
            Path::Pio | Path::Dma => 1,
        };
        self.registers.status = match path {
            Path::Dma => DRDY | DSC | BSY,
            Path::Pio | Path::Multiple => DRDY | DSC | DRQ,
        };
        self.activity = Activity::Data(DataPhase {
            path,
            flow,
            block: sectors * SECTOR_SIZE,
            buffer,
            moved: 0,
            then,
        });
    }
}
