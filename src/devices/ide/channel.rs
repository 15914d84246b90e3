//! One cable: two drives behind one set of ports, one interrupt, one bus master.
//!
//! Both drives take every register write; the device register says which of them answers and
//! takes commands. A drive 1 that is not there lets drive 0 answer in its place, with a status
//! of zero; on an empty channel everything reads as zero. (ATA/ATAPI-6, 9.16.)

use serde::{Deserialize, Serialize};

use super::bus_master::BusMaster;
use super::command::EXECUTE_DIAGNOSTIC;
use super::drive::{Drive, Flow};
use super::registers::{BSY, DEV, HOB, NIEN, Register, SRST};
use crate::bus::{IsaIrq, PORT_ACCESS_TICKS, Size, Tick, Wire};
use crate::devices::Cx;
use crate::disk::{Completion, DiskId};

/// One cable.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Channel {
    irq: IsaIrq,
    first: Drive,
    second: Drive,
    second_selected: bool,
    control: u8,
    /// The level of the interrupt wire.
    asserted: bool,
    bus_master: BusMaster,
}

impl Channel {
    /// A channel with up to two drives.
    pub(super) fn new(irq: IsaIrq, disks: [Option<DiskId>; 2]) -> Self {
        let [first, second] = disks;
        Self {
            irq,
            first: Drive::new(first, false),
            second: Drive::new(second, true),
            second_selected: false,
            control: 0,
            asserted: false,
            bus_master: BusMaster::default(),
        }
    }

    /// The disks of the two drives.
    pub(super) fn disks(&self) -> [Option<DiskId>; 2] {
        [self.first.disk(), self.second.disk()]
    }

    fn selected(&mut self) -> &mut Drive {
        match self.second_selected {
            true => &mut self.second,
            false => &mut self.first,
        }
    }

    /// Reads one byte of a register, or up to four of the data register.
    pub(super) fn read(&mut self, cx: &mut Cx<'_>, register: Register, size: Size) -> u32 {
        match register {
            Register::Data => {
                let mut bytes = [0; 4];
                let (into, _) = bytes.split_at_mut(width(size));
                self.read_block(cx, size, into);
                u32::from_le_bytes(bytes)
            }
            Register::Command => {
                let status = self.status();
                self.selected().interrupt = false;
                self.drive_wire(cx);
                u32::from(status)
            }
            Register::Control => u32::from(self.status()),
            _ => u32::from(self.task_file_byte(register)),
        }
    }

    /// Writes one byte of a register, or up to four of the data register.
    pub(super) fn write(&mut self, cx: &mut Cx<'_>, register: Register, size: Size, value: u32) {
        let bytes = value.to_le_bytes();
        let [byte, ..] = bytes;
        match register {
            Register::Data => {
                let (from, _) = bytes.split_at(width(size));
                self.write_block(cx, size, from);
            }
            Register::Command => self.command(cx, byte),
            Register::Control => self.write_control(byte),
            _ => {
                self.control &= !HOB;
                if register == Register::Device {
                    self.second_selected = byte & DEV != 0;
                }
                self.first.write(register, byte);
                self.second.write(register, byte);
            }
        }
        self.drive_wire(cx);
    }

    fn status(&mut self) -> u8 {
        let in_reset = self.control & SRST != 0;
        match self.selected() {
            drive if drive.disk().is_none() => 0,
            _ if in_reset => BSY,
            drive => drive.registers.status,
        }
    }

    fn task_file_byte(&self, register: Register) -> u8 {
        let high_order = self.control & HOB != 0;
        let absent = |drive: &Drive| drive.disk().is_none();
        match (absent(&self.first), absent(&self.second)) {
            (true, true) => 0,
            (false, false) if self.second_selected => self.second.read(register, high_order),
            (true, false) => self.second.read(register, high_order),
            _ => self.first.read(register, high_order),
        }
    }

    fn command(&mut self, cx: &mut Cx<'_>, code: u8) {
        self.control &= !HOB;
        if self.control & SRST != 0 {
            return;
        }
        if code == EXECUTE_DIAGNOSTIC {
            return self.diagnose();
        }
        self.selected().execute(cx, code);
        self.move_by_dma(cx);
    }

    /// Both drives run their diagnostic; drive 0 reports and interrupts for both.
    fn diagnose(&mut self) {
        if !self.selected().is_busy() {
            self.second_selected = false;
            self.first.reset();
            self.second.reset();
            self.first.interrupt = true;
        }
    }

    fn write_control(&mut self, value: u8) {
        let was = self.control & SRST != 0;
        self.control = value & (SRST | NIEN | HOB);
        if was && value & SRST == 0 {
            self.second_selected = false;
        }
        if !was && value & SRST != 0 {
            self.first.reset();
            self.second.reset();
        }
    }

    /// Reads elements of the data register; returns how many the drive had.
    pub(super) fn read_block(&mut self, cx: &mut Cx<'_>, size: Size, into: &mut [u8]) -> usize {
        let rest = self.selected().rest_of_request(Flow::ToHost);
        let elements = rest.div_ceil(width(size)).min(into.len() / width(size));
        let (into, _) = into.split_at_mut(elements * width(size));
        cx.now += ticks_to_last(elements);
        self.selected().read_data(cx, into);
        self.drive_wire(cx);
        elements
    }

    /// Writes elements of the data register; returns how many the drive took.
    pub(super) fn write_block(&mut self, cx: &mut Cx<'_>, size: Size, from: &[u8]) -> usize {
        let rest = self.selected().rest_of_request(Flow::ToDrive);
        let elements = rest.div_ceil(width(size)).min(from.len() / width(size));
        let (from, _) = from.split_at(elements * width(size));
        cx.now += ticks_to_last(elements);
        self.selected().write_data(cx, from);
        self.drive_wire(cx);
        elements
    }

    /// Hands a completion to the drive of its disk.
    pub(super) fn complete(&mut self, cx: &mut Cx<'_>, disk: DiskId, completion: Completion) {
        let drive = match self.first.disk() == Some(disk) {
            true => &mut self.first,
            false => &mut self.second,
        };
        drive.complete(cx, completion);
        self.move_by_dma(cx);
        self.drive_wire(cx);
    }

    /// Reads the byte at `offset` of the bus master's eight registers.
    pub(super) fn read_bus_master(&self, offset: u64) -> u8 {
        self.bus_master.read(offset)
    }

    /// Writes the byte at `offset` of the bus master's eight registers.
    pub(super) fn write_bus_master(&mut self, cx: &mut Cx<'_>, offset: u64, value: u8) {
        self.bus_master.write(offset, value);
        self.move_by_dma(cx);
        self.drive_wire(cx);
    }

    fn move_by_dma(&mut self, cx: &mut Cx<'_>) {
        for drive in [&mut self.first, &mut self.second] {
            drive.move_by_dma(cx, &mut self.bus_master);
        }
    }

    /// Brings the interrupt wire to what the selected drive wants.
    fn drive_wire(&mut self, cx: &mut Cx<'_>) {
        let enabled = self.control & NIEN == 0;
        let drive = self.selected();
        let asserted = enabled && drive.disk().is_some() && drive.interrupt;
        if asserted && !self.asserted {
            self.bus_master.note_interrupt();
        }
        self.asserted = asserted;
        cx.set_irq(Wire::Isa(self.irq), asserted);
    }
}

fn width(size: Size) -> usize {
    match size {
        Size::Byte => 1,
        Size::Word => 2,
        Size::Dword | Size::Qword => 4,
    }
}

/// From the first to the last of `elements` that one REP INS or OUTS moves.
fn ticks_to_last(elements: usize) -> Tick {
    elements.saturating_sub(1) as Tick * (PORT_ACCESS_TICKS + 1)
}
