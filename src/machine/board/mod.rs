//! The board: every device as a plain field, the address tables, and the wires between them.
//!
//! ```text
//!   CPU --port, address--> Tables --match--> device --Cx--> wires, messages, requests
//!                                                              |
//!        8259s, IOAPIC, local APIC <--- after each access -----+
//! ```
//!
//! An access runs in three steps: what is due by now acts first, the device answers, and then
//! the board *settles*: it carries moved wires to the interrupt controllers, delivers messages
//! to the local APIC, carries out what devices asked for, and works out the CPU's pins.

mod access;
mod config;
mod devices;
mod memory_map;
mod tables;
#[cfg(test)]
mod tests;
mod wiring;

use serde::{Deserialize, Serialize};

use super::DrivePlace;
use crate::bus::{IsaIrq, Size, Tick, Wire};
use crate::cpu::{Bus, Signals};
use crate::devices::apic::Accepted;
use crate::devices::fw_cfg;
use crate::devices::pci::{IsaBridge, PciFunction};
use crate::devices::ps2::Key;
use crate::devices::vga::Vga;
use crate::devices::{BoardRequest, Outlet, Remap};
use crate::disk::{Disk, Disks, DisksState};
use crate::firmware::RamLayout;
use crate::memory::{Memory, MemoryError, PhysAddr};
pub use config::{BoardConfig, BootKind, Drives, Roms};
use devices::{Devices, DriveIds};
pub use devices::{FIRST_VIRTIO_SLOT, MOST_VIRTIO_DISKS};
pub use memory_map::{ArenaLayout, BIOS_BYTES, VGA_BIOS_BYTES, VGA_RAM_BYTES};
use tables::{PortDevice, Tables};
use wiring::{Due, Slot, Wiring};

/// How many lines about misuse wait for their reader at most: a guest can make any number.
const MOST_MISUSE_LINES: usize = 1000;
/// So many bytes of the debug console are kept for their reader, and at most twice as many wait.
const DEBUG_BYTES: usize = 1 << 16;

/// The levels that the interrupt controllers have seen: ISA 0 to 15, IOAPIC pins 16 to 23.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Carried(u32);

/// A PC's board without its CPU and memory.
#[derive(Debug)]
pub struct Board {
    config: BoardConfig,
    layout: ArenaLayout,
    drives: DriveIds,
    devices: Devices,
    wiring: Wiring,
    tables: Tables,
    carried: Carried,
    a20: bool,
    remapped: bool,
    /// What the machine has to do before the next instruction.
    stops: Vec<BoardRequest>,
    signals: Signals,
}

impl Board {
    /// A board at power-on, and its memory with the ROM images in place.
    pub fn new(
        config: BoardConfig,
        roms: Roms<'_>,
        drives: Drives,
    ) -> Result<(Self, Memory), MemoryError> {
        let layout = ArenaLayout::new(config.ram, roms);
        let mut memory = layout.allocate()?;
        layout.load_roms(&mut memory, roms);
        let mut wiring = Wiring::new();
        let drives = DriveIds {
            ide: drives
                .ide
                .map(|disk| disk.map(|disk| wiring.disks.add(disk))),
            virtio: drives
                .virtio
                .into_iter()
                .map(|disk| wiring.disks.add(disk))
                .collect(),
        };
        let mut board = Self {
            devices: Devices::new(&config, &layout, &drives, &wiring.disks),
            tables: Tables::new(config.debug_exit_port),
            config,
            layout,
            drives,
            wiring,
            carried: Carried::default(),
            a20: true,
            remapped: true,
            stops: Vec::new(),
            signals: Signals {
                interrupt: false,
                nmi: false,
                deadline: crate::bus::NEVER,
                stop: false,
            },
        };
        board.lay_out(&mut memory);
        Ok((board, memory))
    }

    /// Where RAM lies in the physical address space.
    pub fn ram(&self) -> &RamLayout {
        &self.config.ram
    }

    /// Where RAM, device RAM and ROM lie in the arena.
    pub fn layout(&self) -> &ArenaLayout {
        &self.layout
    }

    /// Lets every device act that is due by `now`.
    pub fn advance(&mut self, memory: &mut Memory, now: Tick) {
        while let Some(due) = self.wiring.take_due(now) {
            match due {
                Due::Device(slot) => {
                    let mut cx = self.wiring.cx(memory, now, slot);
                    self.devices.expire(slot, &mut cx);
                }
                Due::Disk(disk, completion) => {
                    let mut cx = self.wiring.cx(memory, now, Slot::Untimed);
                    self.devices.complete(&mut cx, disk, completion);
                }
            }
        }
        self.settle(memory, now);
    }

    /// Takes what the machine has to do: resets, power-off, debug exit.
    pub fn take_stops(&mut self) -> Vec<BoardRequest> {
        self.signals.stop = false;
        std::mem::take(&mut self.stops)
    }

    /// The VGA, for whoever shows its screen.
    pub fn vga(&self) -> &Vga {
        &self.devices.vga
    }

    /// Whether address line 20 passes.
    pub fn a20_is_open(&self) -> bool {
        self.a20
    }

    /// The disks and where they hang, IDE first.
    pub fn drives(&self) -> Vec<(DrivePlace, &Disk)> {
        let ide = self.drives.ide.iter().enumerate();
        let ide = ide.filter_map(|(n, id)| {
            let (channel, unit) = (n / 2, n % 2);
            Some((DrivePlace::Ide { channel, unit }, (*id)?))
        });
        let virtio = self.drives.virtio.iter().enumerate();
        let virtio = virtio.map(|(index, id)| (DrivePlace::Virtio { index }, *id));
        let disk = |id| self.wiring.disks.get(id);
        ide.chain(virtio)
            .filter_map(|(place, id)| Some((place, disk(id)?)))
            .collect()
    }

    /// The disks, for saving and for what the user has to hear of them.
    pub fn disks(&mut self) -> &mut Disks {
        &mut self.wiring.disks
    }

    /// What left the machine since its reader emptied it.
    pub fn outlet(&mut self) -> &mut Outlet {
        &mut self.wiring.outlet
    }

    /// The reset line. RAM, the date and the CMOS memory stay.
    pub fn reset(&mut self, memory: &mut Memory, now: Tick) {
        self.wiring.reset();
        let disks = &self.wiring.disks;
        let fresh = Devices::new(&self.config, &self.layout, &self.drives, disks);
        self.devices.reset(fresh);
        let mut cx = self.wiring.cx(memory, now, Slot::Cmos);
        self.devices.cmos.reset(&mut cx);
        self.carried = Carried::default();
        self.a20 = true;
        self.stops.clear();
        self.lay_out(memory);
        self.settle(memory, now);
    }

    /// The CPU alone was reset: its APIC follows it.
    pub fn reset_cpu(&mut self, memory: &mut Memory, now: Tick) {
        let mut cx = self.wiring.cx(memory, now, Slot::LocalApic);
        self.devices.local_apic.reset(&mut cx);
        self.settle(memory, now);
    }

    /// A byte arrives on the first serial port.
    pub fn receive_serial(&mut self, memory: &mut Memory, now: Tick, byte: u8) {
        self.catch_up(memory, now);
        let mut cx = self.wiring.cx(memory, now, Slot::Uart);
        self.devices.uart.receive(&mut cx, byte);
        self.settle(memory, now);
    }

    /// A key goes down.
    pub fn press_key(&mut self, memory: &mut Memory, now: Tick, key: Key) {
        self.catch_up(memory, now);
        let mut cx = self.wiring.cx(memory, now, Slot::Ps2);
        self.devices.ps2.press(&mut cx, key);
        self.settle(memory, now);
    }

    /// A key comes up.
    pub fn release_key(&mut self, memory: &mut Memory, now: Tick, key: Key) {
        self.catch_up(memory, now);
        let mut cx = self.wiring.cx(memory, now, Slot::Ps2);
        self.devices.ps2.release(&mut cx, key);
        self.settle(memory, now);
    }

    /// The power button.
    pub fn press_power_button(&mut self, memory: &mut Memory, now: Tick) {
        self.catch_up(memory, now);
        let mut cx = self.wiring.cx(memory, now, Slot::PowerManagement);
        self.devices.power.press_power_button(&mut cx);
        self.settle(memory, now);
    }

    /// The date, in seconds since 1970, as the outside knows it.
    pub fn set_date(&mut self, memory: &mut Memory, now: Tick, date: u64) {
        self.catch_up(memory, now);
        let mut cx = self.wiring.cx(memory, now, Slot::Cmos);
        self.devices.cmos.set_date(&mut cx, date);
        self.settle(memory, now);
    }

    /// The devices, the wires and what the disks are doing, as bytes.
    pub(super) fn save(&mut self) -> Vec<u8> {
        self.wiring.disks.drain();
        let disks = self.wiring.disks.state();
        let latches = (self.carried, self.a20, self.remapped);
        let state = (&self.devices, &self.wiring, latches, disks);
        postcard::to_stdvec(&state).expect("plain data of known length can be encoded")
    }

    /// Takes over what [`Board::save`] gave. [`Board::lay_out_restored`] comes after it.
    pub(super) fn restore(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        type State = (Devices, Wiring, (Carried, bool, bool), DisksState);
        let (devices, wiring, latches, disks): State = postcard::from_bytes(bytes)?;
        self.devices = devices;
        (self.carried, self.a20, self.remapped) = latches;
        self.wiring.restore(wiring, disks);
        self.stops.clear();
        Ok(())
    }

    /// Lays memory and tables out for the restored registers. The CPU's restored translations
    /// were made for that very map.
    pub(super) fn lay_out_restored(&mut self, memory: &mut Memory) {
        let remapped = self.remapped;
        self.lay_out(memory);
        self.remapped = remapped;
        self.wiring.update_next_deadline();
        self.update_signals();
    }

    /// After anything touched a device: carries wires, messages and requests where they belong.
    fn settle(&mut self, memory: &mut Memory, now: Tick) {
        loop {
            if self.wiring.irq.moved() {
                self.carry_wires();
            }
            if let Some(vector) = self.devices.local_apic.take_eoi() {
                let messages = &mut self.wiring.messages;
                self.devices.io_apic.end_of_interrupt(vector, messages);
            }
            for message in self.wiring.messages.drain(..) {
                self.devices.local_apic.receive(message);
            }
            if self.wiring.requests.is_empty() && !self.wiring.irq.moved() {
                break;
            }
            self.carry_out_requests(memory, now);
        }
        self.wiring.outlet.misuse.truncate(MOST_MISUSE_LINES);
        self.drop_old_debug_output();
        self.wiring.update_next_deadline();
        self.update_signals();
    }

    /// Nobody need read the debug console: of what waits, the newest is kept.
    fn drop_old_debug_output(&mut self) {
        let debug = &mut self.wiring.outlet.debug;
        if debug.len() > 2 * DEBUG_BYTES {
            debug.drain(..debug.len() - DEBUG_BYTES);
        }
    }

    fn update_signals(&mut self) {
        let apic = &mut self.devices.local_apic;
        let external = self.devices.pic.output();
        apic.set_lint0(external);
        self.signals = Signals {
            interrupt: apic.has_interrupt() || (external && apic.passes_external()),
            nmi: apic.has_nmi(),
            deadline: self.wiring.next_deadline(),
            stop: !self.stops.is_empty(),
        };
    }

    /// Shows the interrupt controllers each wire's edges, then its level.
    fn carry_wires(&mut self) {
        let (rose, fell) = self.wiring.irq.take_edges();
        let levels = self.wiring.irq.levels();
        let pulsed = rose & fell;
        if pulsed != 0 {
            self.carry(levels ^ pulsed);
        }
        self.carry(levels);
    }

    fn carry(&mut self, levels: u64) {
        let now = self.controller_inputs(levels);
        let changed = self.carried.0 ^ now;
        self.carried = Carried(now);
        for input in (0..24_u8).filter(|input| changed & 1 << input != 0) {
            let asserted = now & 1 << input != 0;
            if input < 16 {
                self.devices.pic.set_line(input, asserted);
            }
            // The timer's interrupt comes in where the cascade would be.
            let pin = if input == 0 { 2 } else { input };
            let messages = &mut self.wiring.messages;
            self.devices.io_apic.set_pin(pin, asserted, messages);
        }
    }

    /// The levels at the controllers: ISA wires with the PCI wires routed onto them, and the
    /// IOAPIC's own pins.
    fn controller_inputs(&self, levels: u64) -> u32 {
        let mut inputs = (levels & 0xffff) as u32 | (levels >> 48 << 16) as u32 & 0xff_0000;
        let pci = (levels >> 16) as u32;
        for slot in (0..32_u8).filter(|slot| pci & 1 << slot != 0) {
            let route: Option<IsaIrq> = self.devices.isa_bridge.route(IsaBridge::pirq_of(slot));
            if let Some(irq) = route {
                inputs |= 1 << irq;
            }
        }
        inputs
    }

    fn carry_out_requests(&mut self, memory: &mut Memory, now: Tick) {
        for request in std::mem::take(&mut self.wiring.requests) {
            match request {
                BoardRequest::SetA20(open) if open == self.a20 => {}
                BoardRequest::SetA20(open) => {
                    self.a20 = open;
                    memory.map.set_a20(open);
                    self.remapped = true;
                }
                BoardRequest::Remap(Remap::Hpet) => self.connect_legacy_timers(memory, now),
                BoardRequest::Remap(Remap::InterruptRoutes) => {
                    let levels = self.wiring.irq.levels();
                    self.carry(levels);
                }
                BoardRequest::Remap(_) => self.lay_out(memory),
                stop => self.stops.push(stop),
            }
        }
    }

    /// Gives IRQ 0 and IRQ 8 to the HPET, or back to the 8254 and the clock.
    fn connect_legacy_timers(&mut self, memory: &mut Memory, now: Tick) {
        let own = !self.devices.hpet.replaces_legacy();
        let mut cx = self.wiring.cx(memory, now, Slot::Pit);
        self.devices.pit.connect_irq0(&mut cx, own);
        let mut cx = self.wiring.cx(memory, now, Slot::Cmos);
        self.devices.cmos.connect_irq8(&mut cx, own);
    }

    /// Lays out the memory map and the tables for what the registers say now.
    fn lay_out(&mut self, memory: &mut Memory) {
        self.layout.map(memory, &self.devices.host_bridge);
        let smram = self.devices.host_bridge.smram_is_open();
        let vga = self.devices.vga.window().filter(|_| !smram);
        self.layout.map_vga(memory, vga, self.devices.vga.config());
        memory.map.set_a20(self.a20);
        let mut windows = Vec::new();
        for devfn in self.devices.functions() {
            if let Some((function, _)) = self.devices.function(devfn) {
                windows.extend(function.config().windows().into_iter().map(|w| (devfn, w)));
            }
        }
        self.tables.lay_out(
            self.devices.power_function.pm_base(),
            self.devices.local_apic.window(),
            windows.into_iter(),
        );
        self.remapped = true;
    }
}

impl Bus for Board {
    fn read_port(&mut self, memory: &mut Memory, now: Tick, port: u16, size: Size) -> u32 {
        self.catch_up(memory, now);
        let value = self.port_read(memory, now, port, size);
        self.settle(memory, now);
        value
    }

    fn write_port(&mut self, memory: &mut Memory, now: Tick, port: u16, size: Size, value: u32) {
        self.catch_up(memory, now);
        self.port_write(memory, now, port, size, value);
        self.settle(memory, now);
    }

    fn read_port_block(
        &mut self,
        memory: &mut Memory,
        now: Tick,
        port: u16,
        size: Size,
        into: &mut [u8],
    ) -> usize {
        self.catch_up(memory, now);
        let elements = match self.tables.port(port) {
            PortDevice::Ide => {
                let mut cx = self.wiring.cx(memory, now, Slot::Untimed);
                self.devices.ide.read_data_block(&mut cx, port, size, into)
            }
            PortDevice::FwCfg if size == Size::Byte && port == fw_cfg::DATA => {
                self.devices.fw_cfg.read_data(into);
                into.len()
            }
            _ => 0,
        };
        self.settle(memory, now);
        elements
    }

    fn write_port_block(
        &mut self,
        memory: &mut Memory,
        now: Tick,
        port: u16,
        size: Size,
        from: &[u8],
    ) -> usize {
        if self.tables.port(port) != PortDevice::Ide {
            return 0;
        }
        self.catch_up(memory, now);
        let mut cx = self.wiring.cx(memory, now, Slot::Untimed);
        let elements = self.devices.ide.write_data_block(&mut cx, port, size, from);
        self.settle(memory, now);
        elements
    }

    fn read_memory(&mut self, memory: &mut Memory, now: Tick, at: PhysAddr, size: Size) -> u64 {
        self.catch_up(memory, now);
        let value = self.mmio_read(memory, now, at, size);
        self.settle(memory, now);
        value
    }

    fn write_memory(
        &mut self,
        memory: &mut Memory,
        now: Tick,
        at: PhysAddr,
        size: Size,
        value: u64,
    ) {
        self.catch_up(memory, now);
        self.mmio_write(memory, now, at, size, value);
        self.settle(memory, now);
    }

    fn acknowledge_interrupt(&mut self, memory: &mut Memory, now: Tick) -> Option<u8> {
        let vector = match self.devices.local_apic.acknowledge()? {
            Accepted::Vector(vector) => vector,
            Accepted::External => self.devices.pic.acknowledge(),
        };
        self.settle(memory, now);
        Some(vector)
    }

    fn acknowledge_nmi(&mut self) {
        self.devices.local_apic.take_nmi();
        self.signals.nmi = false;
    }

    fn signals(&self) -> Signals {
        self.signals
    }

    fn take_remapped(&mut self) -> bool {
        std::mem::take(&mut self.remapped)
    }

    fn apic_base(&self) -> u64 {
        self.devices.local_apic.base()
    }

    fn set_apic_base(&mut self, memory: &mut Memory, now: Tick, value: u64) {
        self.catch_up(memory, now);
        let mut cx = self.wiring.cx(memory, now, Slot::LocalApic);
        self.devices.local_apic.set_base(&mut cx, value);
        self.lay_out(memory);
        self.settle(memory, now);
    }

    fn task_priority(&self) -> u8 {
        self.devices.local_apic.task_priority() >> 4
    }

    fn set_task_priority(&mut self, memory: &mut Memory, now: Tick, class: u8) {
        self.devices.local_apic.set_task_priority(class << 4);
        self.settle(memory, now);
    }

    fn set_ferr(&mut self, memory: &mut Memory, now: Tick, asserted: bool) {
        self.wiring.irq.set(Wire::Isa(13), asserted);
        self.settle(memory, now);
    }
}

impl Board {
    /// Lets overdue devices act before an access can look at them.
    fn catch_up(&mut self, memory: &mut Memory, now: Tick) {
        if self.wiring.next_deadline() <= now {
            self.advance(memory, now);
        }
    }
}
