//! What the host puts in front of the guest: the memory layout, firmware tables, and a kernel
//! that is entered without any firmware.
//!
//! This layer computes bytes and initial state; the machine owns the devices and the CPU that
//! they go to.

mod acpi;
mod fw_cfg;
mod linux;
mod post;
mod ram;
mod rom;
mod seed;
mod smbios;
mod text_mode;

pub use acpi::{AcpiTables, PM_BASE};
pub use fw_cfg::{BootDevice, FwCfgItem, fw_cfg_items};
pub use linux::{BootError, BootState, FlatSegment, LinuxBoot};
pub use post::{Machine, Ports, direct_boot};
pub use ram::{E820Entry, E820Kind, RamLayout};
pub use rom::{BIOS, VGA_BIOS};
pub use seed::Seed;
pub use smbios::SmbiosTables;
