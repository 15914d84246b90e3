//! What a machine is assembled from, in the user's terms.

use std::fmt;
use std::sync::Arc;

use super::board::{
    BIOS_BYTES, BoardConfig, BootKind, Drives, FIRST_VIRTIO_SLOT, MOST_VIRTIO_DISKS, Roms,
    VGA_BIOS_BYTES,
};
use super::{Event, Machine};
use crate::cpu::Model;
use crate::devices::cmos::UnixSeconds;
use crate::disk::Disk;
use crate::firmware::{BIOS, BootDevice, Seed, VGA_BIOS};
use crate::image::Image;
use crate::memory::MemoryError;

/// The least memory that firmware and its tables fit in, in bytes.
const LEAST_MEMORY: u64 = 2 << 20;
/// The most memory: the physical address space of the CPU has 40 bits, and some of it is for
/// devices.
const MOST_MEMORY: u64 = 512 << 30;

/// Disks on the two channels of the IDE controller.
const IDE_PLACES: usize = 4;

/// Which controller a disk hangs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskBus {
    /// The PIIX3's IDE controller.
    #[default]
    Ide,
    /// A virtio block device on PCI.
    Virtio,
}

/// A disk and where it goes.
pub struct DiskConfig {
    /// What the user calls it, for messages.
    pub name: String,
    /// Its contents.
    pub image: Arc<dyn Image>,
    /// Its controller.
    pub bus: DiskBus,
    /// Whether the guest may not write it.
    pub read_only: bool,
}

/// A machine to be.
pub struct MachineConfig {
    /// The CPU.
    pub cpu: Model,
    /// What the CPU's random numbers follow from.
    pub seed: Seed,
    /// Bytes of RAM, from 2 MiB to 512 GiB.
    pub memory: u64,
    /// The system BIOS in place of ours.
    pub bios: Option<Vec<u8>>,
    /// The VGA BIOS in place of ours.
    pub vga_bios: Option<Vec<u8>>,
    /// The disks; they boot in this order.
    pub disks: Vec<DiskConfig>,
    /// The kinds of device to boot from, first to last, at most three.
    pub boot: Vec<BootKind>,
    /// The date at power-on.
    pub date: UnixSeconds,
    /// The port that ends the machine, if there is one.
    pub debug_exit_port: Option<u16>,
}

/// Why a machine cannot be assembled.
#[derive(Debug)]
pub enum ConfigError {
    /// Less or more memory than a machine can have, in bytes.
    MemorySize(u64),
    /// Our BIOS needs a 386, and this is less.
    OldCpu(Model),
    /// The host has no such memory.
    Memory(MemoryError),
    /// A ROM image is larger than its place.
    RomSize {
        /// The option that names it.
        option: &'static str,
        /// Its size in bytes.
        bytes: u64,
        /// The largest in bytes.
        most: u64,
    },
    /// More disks than their controller has places for.
    DiskCount {
        /// The controller.
        bus: &'static str,
        /// Its places.
        most: usize,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MemorySize(bytes) => write!(
                f,
                "{} MiB of memory cannot be had: give -m a size from {} MiB to {} GiB",
                bytes >> 20,
                LEAST_MEMORY >> 20,
                MOST_MEMORY >> 30
            ),
            Self::OldCpu(model) => write!(
                f,
                "the built-in BIOS needs a 386 or newer: with --cpu {model} give one with --bios"
            ),
            Self::Memory(error) => error.fmt(f),
            Self::RomSize {
                option,
                bytes,
                most,
            } => write!(
                f,
                "the image given with {option} has {bytes} bytes; from 1 to {most} fit"
            ),
            Self::DiskCount { bus, most } => {
                write!(
                    f,
                    "there are places for {most} disks on {bus}, not for more"
                )
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl MachineConfig {
    /// A machine with `memory` bytes, our firmware, and no disk.
    pub fn new(memory: u64, date: UnixSeconds) -> Self {
        Self {
            cpu: Model::default(),
            seed: Seed::default(),
            memory,
            bios: None,
            vga_bios: None,
            disks: Vec::new(),
            boot: vec![BootKind::Disk],
            date,
            debug_exit_port: Some(BoardConfig::DEBUG_EXIT_PORT),
        }
    }

    /// Puts the machine together, switched on and not started.
    pub fn assemble(self) -> Result<Machine, ConfigError> {
        if !(LEAST_MEMORY..=MOST_MEMORY).contains(&self.memory) {
            return Err(ConfigError::MemorySize(self.memory));
        }
        let runs_ours = self.cpu >= Model::I386;
        if !runs_ours && self.bios.is_none() {
            return Err(ConfigError::OldCpu(self.cpu));
        }
        let vga_bios = self.vga_bios.as_deref();
        let roms = Roms {
            bios: rom("--bios", self.bios.as_deref(), BIOS, BIOS_BYTES)?,
            vga_bios: match runs_ours || vga_bios.is_some() {
                true => rom("--vga-bios", vga_bios, VGA_BIOS, VGA_BIOS_BYTES)?,
                false => &[],
            },
        };
        let (drives, boot_order) = place(self.disks)?;
        let board = BoardConfig {
            debug_exit_port: self.debug_exit_port,
            boot_order,
            boot_kinds: self.boot,
            ..BoardConfig::new(self.memory, self.date)
        };
        let mut machine = Machine::new(board, roms, drives).map_err(ConfigError::Memory)?;
        machine.plug_in(self.cpu, self.seed);
        machine.feed(Event::Date(self.date));
        Ok(machine)
    }
}

/// The ROM image that the user gave, if it fits, or ours.
fn rom<'a>(
    option: &'static str,
    given: Option<&'a [u8]>,
    ours: &'a [u8],
    most: u64,
) -> Result<&'a [u8], ConfigError> {
    let image = given.unwrap_or(ours);
    let bytes = image.len() as u64;
    if bytes == 0 || bytes > most {
        return Err(ConfigError::RomSize {
            option,
            bytes,
            most,
        });
    }
    Ok(image)
}

/// Hangs the disks on their controllers, in order.
fn place(disks: Vec<DiskConfig>) -> Result<(Drives, Vec<BootDevice>), ConfigError> {
    let mut drives = Drives::default();
    let mut order = Vec::new();
    let mut ide = 0;
    for config in disks {
        let mut disk = Disk::new(&config.name, config.image);
        if config.read_only {
            disk = disk.write_protected();
        }
        match config.bus {
            DiskBus::Ide => {
                let Some(place) = drives.ide.get_mut(ide) else {
                    return Err(too_many("IDE", IDE_PLACES));
                };
                *place = Some(disk);
                order.push(BootDevice::Ide {
                    channel: (ide / 2) as u8,
                    unit: (ide % 2) as u8,
                });
                ide += 1;
            }
            DiskBus::Virtio => {
                if drives.virtio.len() == MOST_VIRTIO_DISKS {
                    return Err(too_many("virtio", MOST_VIRTIO_DISKS));
                }
                let slot = FIRST_VIRTIO_SLOT + drives.virtio.len() as u8;
                order.push(BootDevice::Virtio { slot });
                drives.virtio.push(disk);
            }
        }
    }
    Ok((drives, order))
}

fn too_many(bus: &'static str, most: usize) -> ConfigError {
    ConfigError::DiskCount { bus, most }
}
