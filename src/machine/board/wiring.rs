//! What the devices are plugged into: interrupt wires, deadlines, and the trays in which they
//! leave messages and requests.

use serde::{Deserialize, Serialize};

use crate::bus::{IrqLines, Messages, NEVER, Tick};
use crate::devices::{BoardRequest, Cx, Outlet};
use crate::disk::{Completion, DiskId, Disks, DisksState};
use crate::memory::Memory;

/// A device that can be woken, and its place in the list of deadlines. Of two that are due at
/// the same tick the first in this list acts first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// Shared by all devices that never wait.
    Untimed,
    Pit,
    Cmos,
    Ps2,
    Uart,
    PowerManagement,
    Hpet,
    LocalApic,
}

impl Slot {
    pub(super) const ALL: [Self; 8] = [
        Self::Untimed,
        Self::Pit,
        Self::Cmos,
        Self::Ps2,
        Self::Uart,
        Self::PowerManagement,
        Self::Hpet,
        Self::LocalApic,
    ];
}

/// What became due.
#[derive(Debug)]
pub(super) enum Due {
    Device(Slot),
    Disk(DiskId, Completion),
}

/// The wires and the trays.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Wiring {
    pub(super) irq: IrqLines,
    pub(super) messages: Messages,
    deadlines: [Tick; Slot::ALL.len()],
    /// The earliest of the deadlines.
    next: Tick,
    /// The disks behind the controllers; their own state is saved beside this.
    #[serde(skip)]
    pub(super) disks: Disks,
    #[serde(skip)]
    pub(super) requests: Vec<BoardRequest>,
    #[serde(skip)]
    pub(super) outlet: Outlet,
}

impl Wiring {
    pub(super) fn new() -> Self {
        Self {
            irq: IrqLines::default(),
            messages: Messages::new(),
            deadlines: [NEVER; Slot::ALL.len()],
            next: NEVER,
            disks: Disks::default(),
            requests: Vec::new(),
            outlet: Outlet::default(),
        }
    }

    /// The context of one access to the device in `slot`.
    pub(super) fn cx<'a>(&'a mut self, memory: &'a mut Memory, now: Tick, slot: Slot) -> Cx<'a> {
        Cx {
            now,
            deadline: &mut self.deadlines[slot as usize],
            irq: &mut self.irq,
            messages: &mut self.messages,
            memory,
            disks: &mut self.disks,
            requests: &mut self.requests,
            outlet: &mut self.outlet,
        }
    }

    /// The tick at which the first device wants to act.
    pub(super) fn next_deadline(&self) -> Tick {
        self.next
    }

    /// Looks at the deadlines again, after a device was touched.
    pub(super) fn update_next_deadline(&mut self) {
        let devices = self.deadlines.into_iter().min().unwrap_or(NEVER);
        self.next = devices.min(self.disks.deadline());
    }

    /// Takes what is due first, if anything is by `now`.
    pub(super) fn take_due(&mut self, now: Tick) -> Option<Due> {
        let by_tick = |(tick, _): &(Tick, Slot)| *tick;
        let devices = self.deadlines.into_iter().zip(Slot::ALL);
        let (first, slot) = devices.min_by_key(by_tick)?;
        if self.disks.deadline() < first {
            let (disk, completion) = self.disks.take_due(now)?;
            return Some(Due::Disk(disk, completion));
        }
        if first > now || first == NEVER {
            return None;
        }
        self.deadlines[slot as usize] = NEVER;
        Some(Due::Device(slot))
    }

    /// Takes over saved wires and deadlines, and what the disks were doing. The outlet stays.
    pub(super) fn restore(&mut self, saved: Self, disks: DisksState) {
        let outlet = std::mem::take(&mut self.outlet);
        let here = std::mem::take(&mut self.disks);
        *self = Self {
            disks: here,
            outlet,
            ..saved
        };
        self.disks.restore(disks);
    }

    /// Pulls every wire down and forgets what is under way. The disks finish what they were
    /// asked, and nobody hears of it.
    pub(super) fn reset(&mut self) {
        while self.disks.take_due(NEVER - 1).is_some() {}
        *self = Self {
            disks: std::mem::take(&mut self.disks),
            outlet: std::mem::take(&mut self.outlet),
            ..Self::new()
        };
    }
}
