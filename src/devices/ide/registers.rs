//! The task file: the registers through which a host talks to one drive, and how sector
//! addresses lie in them. (ATA/ATAPI-6, clauses 6 and 7.)

use serde::{Deserialize, Serialize};

use crate::disk::Geometry;

/// Status: the drive works on a command; the other bits mean nothing.
pub(super) const BSY: u8 = 0x80;
/// Status: ready for a command.
pub(super) const DRDY: u8 = 0x40;
/// Status: device fault.
pub(super) const DF: u8 = 0x20;
/// Status: seek complete (obsolete since ATA-4; old drivers still wait for it).
pub(super) const DSC: u8 = 0x10;
/// Status: data request.
pub(super) const DRQ: u8 = 0x08;
/// Status: the error register says why.
pub(super) const ERR: u8 = 0x01;

/// Error: uncorrectable data.
pub(super) const UNC: u8 = 0x40;
/// Error: no such sector.
pub(super) const IDNF: u8 = 0x10;
/// Error: the command was aborted or is not known.
pub(super) const ABRT: u8 = 0x04;
/// Error register after a reset: the drive passed its diagnostic.
pub(super) const DIAGNOSTIC_PASSED: u8 = 0x01;

/// Device register: addresses are sector numbers, not cylinder, head, sector.
const LBA: u8 = 0x40;
/// Device register: drive 1 is selected.
pub(super) const DEV: u8 = 0x10;

/// Device control: reset both drives for as long as it is set.
pub(super) const SRST: u8 = 0x04;
/// Device control: INTRQ is not driven.
pub(super) const NIEN: u8 = 0x02;
/// Device control: registers that are written twice show their first value.
pub(super) const HOB: u8 = 0x80;

/// One port of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Register {
    Data,
    /// Error when read, features when written.
    Features,
    Count,
    LbaLow,
    LbaMid,
    LbaHigh,
    Device,
    /// Status when read, command when written.
    Command,
    /// Alternate status when read, device control when written.
    Control,
}

impl Register {
    /// The register at `offset` in the command block.
    pub(super) fn in_command_block(offset: u16) -> Self {
        match offset & 7 {
            0 => Self::Data,
            1 => Self::Features,
            2 => Self::Count,
            3 => Self::LbaLow,
            4 => Self::LbaMid,
            5 => Self::LbaHigh,
            6 => Self::Device,
            _ => Self::Command,
        }
    }
}

/// A register two bytes deep: 48-bit commands write it twice, the high byte first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Latch {
    now: u8,
    before: u8,
}

impl Latch {
    pub(super) fn push(&mut self, value: u8) {
        self.before = self.now;
        self.now = value;
    }

    pub(super) fn read(self, high_order: bool) -> u8 {
        if high_order { self.before } else { self.now }
    }

    /// The latest byte.
    pub(super) fn byte(self) -> u8 {
        self.now
    }

    fn word(self) -> u16 {
        u16::from_be_bytes([self.before, self.now])
    }
}

/// How many bits of count and address a command takes from the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Span {
    /// 8 bits of count; a 28-bit address, or cylinder, head and sector.
    Short,
    /// 16 bits of count, a 48-bit address.
    Ext,
}

/// The registers of one drive, except data.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct TaskFile {
    pub(super) features: Latch,
    pub(super) count: Latch,
    pub(super) lba_low: Latch,
    pub(super) lba_mid: Latch,
    pub(super) lba_high: Latch,
    pub(super) device: u8,
    pub(super) error: u8,
    pub(super) status: u8,
}

impl TaskFile {
    /// What a drive shows after a reset: the signature of a disk.
    pub(super) fn set_signature(&mut self) {
        self.error = DIAGNOSTIC_PASSED;
        for (latch, value) in [
            (&mut self.count, 1),
            (&mut self.lba_low, 1),
            (&mut self.lba_mid, 0),
            (&mut self.lba_high, 0),
        ] {
            latch.push(value);
        }
        self.device = 0;
    }

    /// How many sectors the command is about; a count of zero is the most there can be.
    pub(super) fn sectors(&self, span: Span) -> u32 {
        match span {
            Span::Short => match self.count.byte() {
                0 => 1 << 8,
                count => u32::from(count),
            },
            Span::Ext => match self.count.word() {
                0 => 1 << 16,
                count => u32::from(count),
            },
        }
    }

    /// The first sector of the command; `None` if the translation has no such place.
    pub(super) fn address(&self, span: Span, translation: Geometry) -> Option<u64> {
        let head = self.device & 0x0f;
        let [low, mid, high] = [self.lba_low, self.lba_mid, self.lba_high];
        match span {
            Span::Ext => Some(u64::from_le_bytes([
                low.now,
                mid.now,
                high.now,
                low.before,
                mid.before,
                high.before,
                0,
                0,
            ])),
            Span::Short if self.device & LBA != 0 => Some(u64::from(u32::from_le_bytes([
                low.now, mid.now, high.now, head,
            ]))),
            Span::Short => {
                let cylinder = u16::from_le_bytes([mid.now, high.now]);
                translation.to_lba(cylinder, head, low.now)
            }
        }
    }

    /// Puts the address of a sector into the registers, in the form that the command used.
    pub(super) fn set_address(&mut self, span: Span, translation: Geometry, lba: u64) {
        let [b0, b1, b2, b3, b4, b5, ..] = lba.to_le_bytes();
        match span {
            Span::Ext => {
                let [low, mid, high] =
                    [(b0, b3), (b1, b4), (b2, b5)].map(|(now, before)| Latch { now, before });
                (self.lba_low, self.lba_mid, self.lba_high) = (low, mid, high);
            }
            Span::Short if self.device & LBA != 0 => self.set_short(b0, b1, b2, b3),
            Span::Short => {
                if let Some((cylinder, head, sector)) = translation.to_chs(lba) {
                    let [low, high] = cylinder.to_le_bytes();
                    self.set_short(sector, low, high, head);
                }
            }
        }
    }

    fn set_short(&mut self, low: u8, mid: u8, high: u8, head: u8) {
        self.lba_low.now = low;
        self.lba_mid.now = mid;
        self.lba_high.now = high;
        self.device = self.device & 0xf0 | head & 0x0f;
    }
}
