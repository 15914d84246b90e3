//! What the host puts in front of the guest: the memory layout, firmware tables, and a kernel
//! that is entered without any firmware.
//!
//! This layer computes bytes and initial state; the machine owns the devices and the CPU that
//! they go to.

mod linux;
mod ram;
mod rom;

pub use linux::{BootError, BootState, FlatSegment, LinuxBoot};
pub use ram::{E820Entry, E820Kind, RamLayout};
pub use rom::BIOS;
