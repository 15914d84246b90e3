//! What a board is built with.

use crate::devices::cmos::{CmosSetup, UnixSeconds};
use crate::disk::Disk;
use crate::firmware::RamLayout;

/// The parts that can be chosen.
#[derive(Clone, Debug)]
pub struct BoardConfig {
    /// How much RAM, and where.
    pub ram: RamLayout,
    /// The date at power-on.
    pub date: UnixSeconds,
    /// The port that ends the machine, if there is one.
    pub debug_exit_port: Option<u16>,
    /// First, second and third boot device, as [`CmosSetup::boot_order`] numbers them.
    pub boot_order: [u8; 3],
}

impl BoardConfig {
    /// The debug exit port that QEMU's users know.
    pub const DEBUG_EXIT_PORT: u16 = 0xf4;

    /// A board with `bytes` of RAM, started on `date`, that boots from disk.
    pub fn new(bytes: u64, date: UnixSeconds) -> Self {
        Self {
            ram: RamLayout::new(bytes),
            date,
            debug_exit_port: Some(Self::DEBUG_EXIT_PORT),
            boot_order: [2, 0, 0],
        }
    }

    pub(super) fn cmos(&self) -> CmosSetup {
        CmosSetup {
            date: self.date,
            ram_below_4g: self.ram.below_4g,
            ram_above_4g: self.ram.above_4g,
            boot_order: self.boot_order,
        }
    }
}

/// The ROM images.
#[derive(Clone, Copy, Debug, Default)]
pub struct Roms<'a> {
    /// The system BIOS, at most [`super::BIOS_BYTES`]; it ends at 4 GiB. Empty for none.
    pub bios: &'a [u8],
    /// The VGA BIOS, at most [`super::VGA_BIOS_BYTES`]. Empty for none.
    pub vga_bios: &'a [u8],
}

/// The disks, by the controller that they hang on.
#[derive(Debug, Default)]
pub struct Drives {
    /// Primary 0 and 1, secondary 0 and 1.
    pub ide: [Option<Disk>; 4],
}
