//! Looking at a machine from outside, between two instructions. A look changes nothing: no read
//! latch of the VGA, no register with a side effect, no TLB entry.

use std::ops::Range;

use super::{Frame, Machine};
use crate::disk::Disk;
use crate::memory::PhysAddr;

/// Where display memory can be seen below 1 MiB.
const VGA_WINDOW: Range<PhysAddr> = 0xa_0000..0xc_0000;

/// Where a disk hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrivePlace {
    /// On the IDE controller.
    Ide {
        /// Primary 0, secondary 1.
        channel: usize,
        /// Master 0, slave 1.
        unit: usize,
    },
    /// On a virtio block device.
    Virtio {
        /// Counted from 0 in the order of PCI slots.
        index: usize,
    },
}

impl Machine {
    /// A picture of the screen.
    pub fn frame(&self) -> Frame {
        self.board.vga().frame(&self.memory)
    }

    /// Whether the CPU waits in HLT.
    pub fn is_halted(&self) -> bool {
        self.cpu.flow.halted
    }

    /// Whether address line 20 passes.
    pub fn a20_is_open(&self) -> bool {
        self.board.a20_is_open()
    }

    /// The disks and where they hang, IDE first.
    pub fn drives(&self) -> Vec<(DrivePlace, &Disk)> {
        self.board.drives()
    }

    /// What the CPU would read from physical memory at `address`: RAM, ROM and display memory.
    /// Registers of devices, and addresses at which nothing answers, read as ones.
    pub fn read_physical(&self, address: PhysAddr, buffer: &mut [u8]) {
        self.memory.read(address, buffer);
        let end = address.saturating_add(buffer.len() as u64);
        for at in address.max(VGA_WINDOW.start)..end.min(VGA_WINDOW.end) {
            if self.memory.map.lookup(at).is_none()
                && let Some(byte) = self.board.vga().peek(&self.memory, at)
            {
                buffer[(at - address) as usize] = byte;
            }
        }
    }
}
