//! The devices of the board, and what they may touch.
//!
//! A device is plain owned state. It names no other device and no CPU: what it may reach
//! arrives with each access as a [`Cx`], and what it wants of the board (a moved address
//! range, a reset, power off) it leaves there as a [`BoardRequest`]. Hardware cannot fail, so
//! nothing here returns a `Result`.

#![deny(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing
)]

pub mod acpi_pm;
pub mod apic;
pub mod cmos;
pub mod debug_exit;
pub mod debugcon;
pub mod dma;
pub mod fw_cfg;
pub mod hpet;
pub mod ide;
pub mod pci;
pub mod pic;
pub mod pit;
pub mod port92;
pub mod post;
pub mod ps2;
pub mod reset_control;
pub mod uart;
pub mod vga;
pub mod virtio;
#[cfg(test)]
mod workbench;

use crate::bus::{IrqLines, Messages, NEVER, Size, Tick, Wire};
use crate::disk::{Completion, DiskId, Disks};
use crate::memory::Memory;
#[cfg(test)]
pub(crate) use workbench::Workbench;

/// What a device can touch during one access or event.
pub struct Cx<'a> {
    /// Guest time at this very access.
    pub now: Tick,
    /// When this device wants [`Timed::expire`] next; [`NEVER`] if it waits for nothing.
    pub deadline: &'a mut Tick,
    /// The interrupt wires.
    pub irq: &'a mut IrqLines,
    /// Message-signalled interrupts sent by this access.
    pub messages: &'a mut Messages,
    /// Physical memory, as a bus master sees it.
    pub memory: &'a mut Memory,
    /// The disks behind the disk controllers.
    pub disks: &'a mut Disks,
    /// What the board shall do once the access is over.
    pub requests: &'a mut Vec<BoardRequest>,
    /// What leaves the machine.
    pub outlet: &'a mut Outlet,
}

impl Cx<'_> {
    /// Drives one of the device's interrupt wires.
    pub fn set_irq(&mut self, wire: Wire, asserted: bool) {
        self.irq.set(wire, asserted);
    }

    /// Asks for [`Timed::expire`] at `tick`.
    pub fn wake_at(&mut self, tick: Tick) {
        *self.deadline = tick;
    }

    /// Takes back what [`Cx::wake_at`] asked.
    pub fn sleep(&mut self) {
        *self.deadline = NEVER;
    }

    /// Leaves a request for the board.
    pub fn request(&mut self, request: BoardRequest) {
        self.requests.push(request);
    }
}

/// What a device asks of the board; carried out after the access, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoardRequest {
    /// Open or close the A20 gate (8042 output port, port 92h); the last one to ask decides.
    SetA20(bool),
    /// Address ranges moved: look at the device's registers again.
    Remap(Remap),
    /// Reset the whole machine (port CF9h, the ACPI reset register, a guest's triple fault).
    Reset,
    /// Reset the CPU alone (keyboard controller, port 92h); devices keep their state.
    ResetCpu,
    /// ACPI soft-off: the guest is done.
    PowerOff,
    /// The debug exit port was written: leave with status `(value << 1) | 1`.
    DebugExit(u32),
}

/// Whose registers moved an address range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remap {
    /// PAM or SMRAM registers of the host bridge.
    HostBridge,
    /// A BAR, an expansion ROM base or the command register of the PCI device in this slot
    /// and function (`slot << 3 | function`).
    Pci(u8),
    /// The ISA bridge's PCI interrupt routes: drive the ISA interrupts anew.
    InterruptRoutes,
    /// PMBASE of the power management function.
    PowerManagement,
    /// The VGA memory window (graphics register 6) or its mode.
    Vga,
    /// The local APIC's base address or enable.
    LocalApic,
    /// The HPET's legacy replacement, which takes the wires of the 8254 and the clock.
    Hpet,
}

/// What the machine gives to the outside; the machine empties it after each slice.
#[derive(Clone, Debug, Default)]
pub struct Outlet {
    /// Bytes that left the first serial port.
    pub serial: Vec<u8>,
    /// Bytes written to a debug console port (E9h, 402h).
    pub debug: Vec<u8>,
    /// One line each: what a guest did that its device cannot mean. For `--trace` and tests.
    pub misuse: Vec<String>,
}

/// A device with I/O ports.
pub trait PortIo {
    /// Reads `size` from `port`. Bits above the size are ignored.
    fn read(&mut self, cx: &mut Cx<'_>, port: u16, size: Size) -> u32;
    /// Writes the low `size` of `value` to `port`.
    fn write(&mut self, cx: &mut Cx<'_>, port: u16, size: Size, value: u32);
}

/// A device with memory-mapped registers.
pub trait Mmio {
    /// Reads `size` at `offset` from the start of the device's window.
    fn read(&mut self, cx: &mut Cx<'_>, offset: u64, size: Size) -> u64;
    /// Writes the low `size` of `value` at `offset` from the start of the device's window.
    fn write(&mut self, cx: &mut Cx<'_>, offset: u64, size: Size, value: u64);
}

/// A device with disks behind it.
pub trait DiskUser {
    /// Whether `disk` is behind this device: its completions belong here.
    fn owns(&self, disk: DiskId) -> bool;
    /// Takes the completion of a request, at the tick at which it is due.
    fn complete(&mut self, cx: &mut Cx<'_>, disk: DiskId, completion: Completion);
}

/// A device that acts at a time of its own.
pub trait Timed {
    /// Called once at the tick given to [`Cx::wake_at`]; the deadline is [`NEVER`] again by then.
    fn expire(&mut self, cx: &mut Cx<'_>);
}
