//! What a board is built with.

use crate::devices::cmos::{CmosSetup, UnixSeconds};
use crate::disk::Disk;
use crate::firmware::{BootDevice, RamLayout};

/// The parts that can be chosen.
#[derive(Clone, Debug)]
pub struct BoardConfig {
    /// How much RAM, and where.
    pub ram: RamLayout,
    /// The date at power-on.
    pub date: UnixSeconds,
    /// The port that ends the machine, if there is one.
    pub debug_exit_port: Option<u16>,
    /// The devices to boot from, first to last within their kind.
    pub boot_order: Vec<BootDevice>,
    /// The kinds of device to boot from, first to last; more than three do not fit in CMOS.
    pub boot_kinds: Vec<BootKind>,
}

/// A kind of device to boot from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootKind {
    /// Floppy drives.
    Floppy,
    /// Hard disks, on any controller.
    Disk,
    /// CD-ROM drives.
    CdRom,
    /// Network cards.
    Network,
}

impl BootKind {
    /// Its number in CMOS cells 38h and 3Dh.
    fn cmos_code(self) -> u8 {
        match self {
            Self::Floppy => 1,
            Self::Disk => 2,
            Self::CdRom => 3,
            Self::Network => 4,
        }
    }
}

impl BoardConfig {
    /// The debug exit port that QEMU's users know.
    pub const DEBUG_EXIT_PORT: u16 = 0xf4;

    /// A board with `bytes` of RAM, started on `date`, that has nothing to boot from.
    pub fn new(bytes: u64, date: UnixSeconds) -> Self {
        Self {
            ram: RamLayout::new(bytes),
            date,
            debug_exit_port: Some(Self::DEBUG_EXIT_PORT),
            boot_order: Vec::new(),
            boot_kinds: vec![BootKind::Disk],
        }
    }

    /// The kinds as CMOS cells have them; 0 fills up.
    fn cmos_boot_order(&self) -> [u8; 3] {
        let mut codes = self.boot_kinds.iter().map(|kind| kind.cmos_code());
        [(); 3].map(|()| codes.next().unwrap_or(0))
    }

    pub(super) fn cmos(&self) -> CmosSetup {
        CmosSetup {
            date: self.date,
            ram_below_4g: self.ram.below_4g,
            ram_above_4g: self.ram.above_4g,
            boot_order: self.cmos_boot_order(),
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
    /// Virtio disks in the PCI slots from [`super::FIRST_VIRTIO_SLOT`] on, at most
    /// [`super::MOST_VIRTIO_DISKS`].
    pub virtio: Vec<Disk>,
}
