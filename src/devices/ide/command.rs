//! Command codes, decoded once. (ATA/ATAPI-6, clause 8; the codes below 20h and from 94h to 99h
//! are those of ATA-1 to ATA-3, which old systems still send.)

use serde::{Deserialize, Serialize};

use super::registers::Span;

/// How the sectors of a command reach the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Path {
    /// Through the data register, one sector for each data request.
    Pio,
    /// Through the data register, as many sectors as SET MULTIPLE MODE said.
    Multiple,
    /// Through the bus master.
    Dma,
}

/// The states between which the power commands move a drive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Power {
    #[default]
    Active,
    Idle,
    Standby,
    /// Only a reset ends it.
    Sleep,
}

/// EXECUTE DEVICE DIAGNOSTIC, the one command that both drives of a channel carry out.
pub(super) const EXECUTE_DIAGNOSTIC: u8 = 0x90;

/// What a drive can be told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Moves nothing any more, but succeeds: RECALIBRATE, SEEK.
    Seek,
    Read(Span, Path),
    Write(Span, Path),
    Verify(Span),
    NativeMax(Span),
    Trim,
    SetTranslation,
    SetMultiple,
    SetPower(Power),
    CheckPower,
    Flush,
    Identify,
    SetFeatures,
}

impl Command {
    /// The command of a code; `None` is answered with ABRT (SMART, PACKET, NOP and the rest).
    pub(super) fn decode(code: u8) -> Option<Self> {
        use Path::{Dma, Multiple, Pio};
        use Span::{Ext, Short};
        Some(match code {
            0x06 => Self::Trim,
            0x10..=0x1f | 0x70..=0x7f => Self::Seek,
            0x20 | 0x21 => Self::Read(Short, Pio),
            0x24 => Self::Read(Ext, Pio),
            0x25 => Self::Read(Ext, Dma),
            0x27 => Self::NativeMax(Ext),
            0x29 => Self::Read(Ext, Multiple),
            0x30 | 0x31 => Self::Write(Short, Pio),
            0x34 => Self::Write(Ext, Pio),
            0x35 => Self::Write(Ext, Dma),
            0x39 => Self::Write(Ext, Multiple),
            0x40 | 0x41 => Self::Verify(Short),
            0x42 => Self::Verify(Ext),
            0x91 => Self::SetTranslation,
            0x94 | 0x96 | 0xe0 | 0xe2 => Self::SetPower(Power::Standby),
            0x95 | 0x97 | 0xe1 | 0xe3 => Self::SetPower(Power::Idle),
            0x98 | 0xe5 => Self::CheckPower,
            0x99 | 0xe6 => Self::SetPower(Power::Sleep),
            0xc4 => Self::Read(Short, Multiple),
            0xc5 => Self::Write(Short, Multiple),
            0xc6 => Self::SetMultiple,
            0xc8 | 0xc9 => Self::Read(Short, Dma),
            0xca | 0xcb => Self::Write(Short, Dma),
            0xe7 | 0xea => Self::Flush,
            0xec => Self::Identify,
            0xef => Self::SetFeatures,
            0xf8 => Self::NativeMax(Short),
            _ => return None,
        })
    }
}
