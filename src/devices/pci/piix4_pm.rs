//! The power management function of the PIIX4 (82371AB), at 00:01.3: where the ACPI registers
//! lie.
//!
//! This is its configuration space only. The registers behind PMBASE (events, timer, sleep
//! control) are a device of their own that the board moves with [`PowerManagement::pm_base`].
//! SMBus is left out: its base register stores what is written, and no port answers.
//! (Intel 82371AB datasheet, 290562, section 7.1.)

use serde::{Deserialize, Serialize};

use super::{ConfigSpace, Identity, PciFunction};
use crate::bus::Size;
use crate::devices::{BoardRequest, Cx, Remap};

const STATUS: u8 = 0x06;
const INTERRUPT_LINE: u8 = 0x3c;
const PMBASE: u8 = 0x40;
const DEVACTB: u8 = 0x58;
const DEVRESC: u8 = 0x64;
const PMREGMISC: u8 = 0x80;
const SMBBA: u8 = 0x90;
const SMBHSTCFG: u8 = 0xd2;

const SCI: u8 = 9;
const APMC_ENABLED: u32 = 1 << 25;
const COM1_DECODED: u32 = 1 << 27;

/// The power management function.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PowerManagement {
    config: ConfigSpace,
}

impl Default for PowerManagement {
    fn default() -> Self {
        Self::new()
    }
}

impl PowerManagement {
    /// The function after reset: no ACPI registers decoded. Writes to port B2h are already
    /// enabled to raise an SMI, which firmware takes as "SMM is set up" and leaves alone; there
    /// is no SMM.
    pub fn new() -> Self {
        let mut config = ConfigSpace::new(
            0x0b,
            Identity {
                vendor: 0x8086,
                device: 0x7113,
                revision: 3,
                class: 0x06_8000,
                subsystem: (0x1af4, 0x1100),
            },
        );
        config.set_u16(STATUS, 0x0280);
        config.set_interrupt_pin();
        config.set_u8(INTERRUPT_LINE, SCI);
        config.set_u32(PMBASE, 1);
        config.allow_writes(PMBASE, &0xffc0u32.to_le_bytes());
        config.allow_writes(0x44, &[0xff; 0x14]);
        config.set_u32(DEVACTB, APMC_ENABLED);
        config.allow_writes(DEVACTB, &[0xff; 4]);
        config.set_u32(DEVRESC, COM1_DECODED);
        config.allow_writes(0x5c, &[0xff; 0x24]);
        config.allow_writes(PMREGMISC, &[1]);
        config.set_u32(SMBBA, 1);
        config.allow_writes(SMBBA, &0xfff0u32.to_le_bytes());
        config.allow_writes(SMBHSTCFG, &[0x0f]);
        Self { config }
    }

    /// The first of the 64 ports of the ACPI registers, while they are decoded.
    pub fn pm_base(&self) -> Option<u16> {
        let base = self.config.word(PMBASE) & 0xffc0;
        let enabled = self.config.byte(PMREGMISC) & 1 != 0;
        (enabled && base != 0).then_some(base)
    }
}

impl PciFunction for PowerManagement {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn write_config(&mut self, cx: &mut Cx<'_>, offset: u8, size: Size, value: u32) {
        let base = self.pm_base();
        self.config.write(cx, offset, size, value);
        if self.pm_base() != base {
            cx.request(BoardRequest::Remap(Remap::PowerManagement));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Workbench;

    #[test]
    fn the_acpi_registers_appear_once_placed_and_enabled() {
        let mut pm = PowerManagement::new();
        let mut bench = Workbench::new();
        pm.write_config(&mut bench.cx(), 0x40, Size::Dword, 0x0000_b03f);
        assert_eq!((pm.pm_base(), bench.requests.len()), (None, 0));
        assert_eq!(pm.config().dword(0x40), 0xb001);
        pm.write_config(&mut bench.cx(), 0x80, Size::Byte, 1);
        assert_eq!(pm.pm_base(), Some(0xb000));
        let moved = BoardRequest::Remap(Remap::PowerManagement);
        assert_eq!(bench.requests, [moved]);
    }

    #[test]
    fn firmware_finds_smi_on_apm_writes_enabled_and_sets_no_smm_up() {
        let pm = PowerManagement::new();
        assert_ne!(pm.config().dword(0x58) & 1 << 25, 0);
    }
}
