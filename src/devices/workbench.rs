//! What a device is plugged into while its unit tests run: wires, memory and a clock, and no
//! board.

use super::{BoardRequest, Cx, Outlet};
use crate::bus::{IrqLines, Messages, NEVER, Tick};
use crate::disk::Disks;
use crate::memory::Memory;

/// All that a [`Cx`] borrows. Tests read it after each access.
pub(crate) struct Workbench {
    /// The tick of the next access.
    pub(crate) now: Tick,
    /// What the device asked to be woken at.
    pub(crate) deadline: Tick,
    pub(crate) irq: IrqLines,
    pub(crate) messages: Messages,
    pub(crate) memory: Memory,
    pub(crate) disks: Disks,
    pub(crate) requests: Vec<BoardRequest>,
    pub(crate) outlet: Outlet,
}

impl Workbench {
    /// A bench with 1 MiB of RAM at address 0.
    pub(crate) fn new() -> Self {
        Self::with_ram(1 << 20)
    }

    /// A bench with `bytes` of RAM at address 0.
    pub(crate) fn with_ram(bytes: u64) -> Self {
        let mut memory = Memory::new(bytes).unwrap();
        memory.map.map_ram(0, bytes, 0);
        Self {
            now: 0,
            deadline: NEVER,
            irq: IrqLines::default(),
            messages: Messages::new(),
            memory,
            disks: Disks::default(),
            requests: Vec::new(),
            outlet: Outlet::default(),
        }
    }

    /// The context of one access.
    pub(crate) fn cx(&mut self) -> Cx<'_> {
        Cx {
            now: self.now,
            deadline: &mut self.deadline,
            irq: &mut self.irq,
            messages: &mut self.messages,
            memory: &mut self.memory,
            disks: &mut self.disks,
            requests: &mut self.requests,
            outlet: &mut self.outlet,
        }
    }
}
