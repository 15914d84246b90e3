//! The host bridge, 82441FX, at 00:00.0: who answers between A0000h and FFFFFh.
//!
//! The PAM registers send reads and writes of the BIOS area to RAM or to ROM, each by itself;
//! SMRAM can open RAM where VGA memory lies. There is no system management mode, so SMRAM is
//! visible only while it is open. DRAM timing and row boundaries are stored and mean nothing.
//! (Intel 82441FX datasheet, 290549, sections 3.2.18 and 3.2.20.)

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{ConfigSpace, Identity, PciFunction};
use crate::bus::Size;
use crate::devices::{BoardRequest, Cx, Remap};

const STATUS: u8 = 0x06;
const PAM: u8 = 0x59;
const PAM_REGISTERS: u8 = 7;
const SMRAM: u8 = 0x72;

const PAM_READ: u8 = 1 << 0;
const PAM_WRITE: u8 = 1 << 1;

const SMRAM_RESET: u8 = 0x02;
const SMRAM_OPEN: u8 = 1 << 6;
const SMRAM_LOCKED: u8 = 1 << 4;
const SMRAM_ENABLED: u8 = 1 << 3;
const SMRAM_WRITABLE: u8 = 0x78;

/// Whether RAM or what lies under it (ROM, the bus) answers in one part of the BIOS area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShadowArea {
    /// Physical addresses.
    pub range: Range<u64>,
    /// Reads go to RAM.
    pub read_ram: bool,
    /// Writes go to RAM.
    pub write_ram: bool,
}

/// The host bridge.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostBridge {
    config: ConfigSpace,
}

impl Default for HostBridge {
    fn default() -> Self {
        Self::new()
    }
}

impl HostBridge {
    /// The bridge after reset: all of the BIOS area is ROM. The subsystem is the one that
    /// SeaBIOS takes as the sign of a virtual PC with fw_cfg.
    pub fn new() -> Self {
        let mut config = ConfigSpace::new(
            0x00,
            Identity {
                vendor: 0x8086,
                device: 0x1237,
                revision: 2,
                class: 0x06_0000,
                subsystem: (0x1af4, 0x1100),
            },
        );
        config.set_u16(STATUS, 0x0280);
        config.set_u8(SMRAM, SMRAM_RESET);
        config.allow_writes(0x50, &[0xff; 9]);
        config.allow_writes(PAM, &[0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33]);
        config.allow_writes(0x60, &[0xff; 8]);
        config.allow_writes(SMRAM, &[SMRAM_WRITABLE]);
        Self { config }
    }

    /// The thirteen areas that the PAM registers steer, C0000h to FFFFFh.
    pub fn shadow_areas(&self) -> Vec<ShadowArea> {
        let area = |start: u64, len: u64, nibble: u8| ShadowArea {
            range: start..start + len,
            read_ram: nibble & PAM_READ != 0,
            write_ram: nibble & PAM_WRITE != 0,
        };
        let pairs = (1..PAM_REGISTERS).flat_map(|i| {
            let register = self.config.byte(PAM + i);
            let start = 0xc_0000 + u64::from(i - 1) * 0x8000;
            [
                area(start, 0x4000, register),
                area(start + 0x4000, 0x4000, register >> 4),
            ]
        });
        let bios = area(0xf_0000, 0x1_0000, self.config.byte(PAM) >> 4);
        pairs.chain([bios]).collect()
    }

    /// Whether A0000h to BFFFFh is RAM instead of VGA memory.
    pub fn smram_is_open(&self) -> bool {
        let open = SMRAM_OPEN | SMRAM_ENABLED;
        self.config.byte(SMRAM) & open == open
    }

    /// Once locked, SMRAM cannot be opened until reset.
    fn keep_smram_lock(&mut self, before: u8) {
        if before & SMRAM_LOCKED != 0 {
            self.config.set_u8(SMRAM, before & !SMRAM_OPEN);
        } else if self.config.byte(SMRAM) & SMRAM_LOCKED != 0 {
            let locked = self.config.byte(SMRAM) & !SMRAM_OPEN;
            self.config.set_u8(SMRAM, locked);
        }
    }
}

impl PciFunction for HostBridge {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn write_config(&mut self, cx: &mut Cx<'_>, offset: u8, size: Size, value: u32) {
        let areas = (self.shadow_areas(), self.smram_is_open());
        let smram = self.config.byte(SMRAM);
        self.config.write(cx, offset, size, value);
        self.keep_smram_lock(smram);
        if (self.shadow_areas(), self.smram_is_open()) != areas {
            cx.request(BoardRequest::Remap(Remap::HostBridge));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Workbench;

    #[test]
    fn after_reset_the_whole_bios_area_is_rom() {
        let areas = HostBridge::new().shadow_areas();
        assert_eq!(areas.len(), 13);
        assert!(areas.iter().all(|a| !a.read_ram && !a.write_ram));
        assert_eq!(areas[0].range, 0xc_0000..0xc_4000);
        assert_eq!(areas[11].range, 0xe_c000..0xf_0000);
        assert_eq!(areas[12].range, 0xf_0000..0x10_0000);
    }

    #[test]
    fn pam_sends_reads_and_writes_of_an_area_to_ram_one_by_one() {
        let mut bridge = HostBridge::new();
        let mut bench = Workbench::new();
        bridge.write_config(&mut bench.cx(), 0x59, Size::Byte, 0xff);
        bridge.write_config(&mut bench.cx(), 0x5a, Size::Byte, 0x21);
        assert_eq!(bench.requests, [BoardRequest::Remap(Remap::HostBridge); 2]);
        let areas = bridge.shadow_areas();
        assert!(areas[12].read_ram && areas[12].write_ram);
        assert!(areas[0].read_ram && !areas[0].write_ram);
        assert!(!areas[1].read_ram && areas[1].write_ram);
        assert_eq!(bridge.config().byte(0x59), 0x30);
    }

    #[test]
    fn locked_smram_stays_closed() {
        let mut bridge = HostBridge::new();
        let mut bench = Workbench::new();
        bridge.write_config(&mut bench.cx(), 0x72, Size::Byte, 0x4a);
        assert!(bridge.smram_is_open());
        bridge.write_config(&mut bench.cx(), 0x72, Size::Byte, 0x1a);
        bridge.write_config(&mut bench.cx(), 0x72, Size::Byte, 0x4a);
        assert!(!bridge.smram_is_open());
        assert_eq!(bridge.config().byte(0x72), 0x1a);
    }
}
