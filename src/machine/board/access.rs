//! One access: from the table's entry to the device.
//!
//! An access that is wider than its device is cut into bytes, as the ISA bus does; devices that
//! take wider ones (PCI, IDE, VGA, fw_cfg, ACPI registers, debug exit) get them whole.

use super::Board;
use super::tables::{MmioTarget, PciWindow, PortDevice};
use super::wiring::Slot;
use crate::bus::{Size, Tick, Wire};
use crate::devices::{Cx, Mmio, PortIo};
use crate::memory::{Memory, PhysAddr};

const CONFIG_ADDRESS: u16 = 0xcf8;
const RESET_CONTROL: u16 = 0xcf9;

impl Board {
    pub(super) fn port_read(
        &mut self,
        memory: &mut Memory,
        now: Tick,
        port: u16,
        size: Size,
    ) -> u32 {
        match self.tables.port(port) {
            PortDevice::Pci => match self.tables.port_window(port) {
                Some(window) => self.window_read(memory, now, window, port.into(), size) as u32,
                None => size.mask() as u32,
            },
            PortDevice::ConfigData => self.config_read(memory, now, port, size),
            PortDevice::ConfigAddress if port == CONFIG_ADDRESS && size == Size::Dword => {
                self.devices.pci_ports.address()
            }
            PortDevice::PowerManagement => {
                let offset = self.tables.pm_offset(port);
                let mut cx = self.wiring.cx(memory, now, Slot::PowerManagement);
                self.devices.power.read(&mut cx, offset, size)
            }
            PortDevice::Ide => {
                let mut cx = self.wiring.cx(memory, now, Slot::Untimed);
                self.devices.ide.read(&mut cx, port, size)
            }
            PortDevice::Vga => {
                let mut cx = self.wiring.cx(memory, now, Slot::Untimed);
                self.devices.vga.read(&mut cx, port, size)
            }
            PortDevice::FwCfg => {
                let mut cx = self.wiring.cx(memory, now, Slot::Untimed);
                self.devices.fw_cfg.read(&mut cx, port, size)
            }
            _ => (0..size.bytes() as u16).rev().fold(0, |value, byte| {
                let read = self.byte_read(memory, now, port.wrapping_add(byte));
                value << 8 | u32::from(read)
            }),
        }
    }

    fn byte_read(&mut self, memory: &mut Memory, now: Tick, port: u16) -> u8 {
        let Some((device, mut cx)) = self.byte_device(memory, now, port) else {
            return 0xff;
        };
        device.read(&mut cx, port, Size::Byte).to_le_bytes()[0]
    }

    pub(super) fn port_write(
        &mut self,
        memory: &mut Memory,
        now: Tick,
        port: u16,
        size: Size,
        value: u32,
    ) {
        match self.tables.port(port) {
            PortDevice::Pci => {
                if let Some(window) = self.tables.port_window(port)
                    && let Some((function, slot)) = self.devices.function(window.devfn)
                {
                    let mut cx = self.wiring.cx(memory, now, slot);
                    let offset = u64::from(port) - window.base;
                    function.write_region(&mut cx, window.region, offset, size, value.into());
                }
            }
            PortDevice::ConfigData => self.config_write(memory, now, port, size, value),
            PortDevice::ConfigAddress if port == CONFIG_ADDRESS && size == Size::Dword => {
                self.devices.pci_ports.set_address(value);
            }
            PortDevice::PowerManagement => {
                let offset = self.tables.pm_offset(port);
                let mut cx = self.wiring.cx(memory, now, Slot::PowerManagement);
                self.devices.power.write(&mut cx, offset, size, value);
            }
            PortDevice::Ide => {
                let mut cx = self.wiring.cx(memory, now, Slot::Untimed);
                self.devices.ide.write(&mut cx, port, size, value);
            }
            PortDevice::Vga => {
                let mut cx = self.wiring.cx(memory, now, Slot::Untimed);
                self.devices.vga.write(&mut cx, port, size, value);
            }
            PortDevice::FwCfg => {
                let mut cx = self.wiring.cx(memory, now, Slot::Untimed);
                self.devices.fw_cfg.write(&mut cx, port, size, value);
            }
            PortDevice::DebugExit => {
                let mut cx = self.wiring.cx(memory, now, Slot::Untimed);
                let value = value & size.mask() as u32;
                self.devices.debug_exit.write(&mut cx, port, size, value);
            }
            _ => {
                let bytes = value.to_le_bytes().into_iter().take(size.bytes() as usize);
                for (at, byte) in (0_u16..).zip(bytes) {
                    self.byte_write(memory, now, port.wrapping_add(at), byte);
                }
            }
        }
    }

    fn byte_write(&mut self, memory: &mut Memory, now: Tick, port: u16, value: u8) {
        if self.tables.port(port) == PortDevice::Coprocessor {
            self.wiring.irq.set(Wire::Isa(13), false);
        }
        if let Some((device, mut cx)) = self.byte_device(memory, now, port) {
            device.write(&mut cx, port, Size::Byte, value.into());
        }
    }

    /// The byte-wide device at `port` and what it may touch.
    fn byte_device<'a>(
        &'a mut self,
        memory: &'a mut Memory,
        now: Tick,
        port: u16,
    ) -> Option<(&'a mut dyn PortIo, Cx<'a>)> {
        let devices = &mut self.devices;
        let (device, slot): (&mut dyn PortIo, Slot) = match self.tables.port(port) {
            PortDevice::Dma => (&mut devices.dma, Slot::Untimed),
            PortDevice::Pic => (&mut devices.pic, Slot::Untimed),
            PortDevice::Pit => (&mut devices.pit, Slot::Pit),
            PortDevice::Ps2 => (&mut devices.ps2, Slot::Ps2),
            PortDevice::Cmos => (&mut devices.cmos, Slot::Cmos),
            PortDevice::PostCode => (&mut devices.post, Slot::Untimed),
            PortDevice::Port92 => (&mut devices.port92, Slot::Untimed),
            PortDevice::Apm => (&mut devices.power, Slot::PowerManagement),
            PortDevice::DebugConsole => (&mut devices.debug_console, Slot::Untimed),
            PortDevice::DebugExit => (&mut devices.debug_exit, Slot::Untimed),
            PortDevice::Uart => (&mut devices.uart, Slot::Uart),
            PortDevice::ConfigAddress if port == RESET_CONTROL => {
                (&mut devices.reset_control, Slot::Untimed)
            }
            _ => return None,
        };
        Some((device, self.wiring.cx(memory, now, slot)))
    }

    fn config_read(&mut self, memory: &mut Memory, now: Tick, port: u16, size: Size) -> u32 {
        let absent = size.mask() as u32;
        let Some(target) = self.devices.pci_ports.target(port) else {
            return absent;
        };
        match self.devices.function(target.devfn) {
            Some((function, slot)) => {
                let mut cx = self.wiring.cx(memory, now, slot);
                function.read_config(&mut cx, target.offset, size)
            }
            None => absent,
        }
    }

    fn config_write(&mut self, memory: &mut Memory, now: Tick, port: u16, size: Size, value: u32) {
        let Some(target) = self.devices.pci_ports.target(port) else {
            return;
        };
        if let Some((function, slot)) = self.devices.function(target.devfn) {
            let mut cx = self.wiring.cx(memory, now, slot);
            function.write_config(&mut cx, target.offset, size, value);
        }
    }

    fn window_read(
        &mut self,
        memory: &mut Memory,
        now: Tick,
        window: PciWindow,
        at: u64,
        size: Size,
    ) -> u64 {
        match self.devices.function(window.devfn) {
            Some((function, slot)) => {
                let mut cx = self.wiring.cx(memory, now, slot);
                function.read_region(&mut cx, window.region, at - window.base, size)
            }
            None => size.mask(),
        }
    }

    pub(super) fn mmio_read(
        &mut self,
        memory: &mut Memory,
        now: Tick,
        at: PhysAddr,
        size: Size,
    ) -> u64 {
        match self.tables.memory(at) {
            MmioTarget::LocalApic(offset) => {
                let mut cx = self.wiring.cx(memory, now, Slot::LocalApic);
                self.devices.local_apic.read(&mut cx, offset, size)
            }
            MmioTarget::IoApic(offset) => {
                let mut cx = self.wiring.cx(memory, now, Slot::Untimed);
                self.devices.io_apic.read(&mut cx, offset, size)
            }
            MmioTarget::Hpet(offset) => {
                let mut cx = self.wiring.cx(memory, now, Slot::Hpet);
                self.devices.hpet.read(&mut cx, offset, size)
            }
            MmioTarget::Vga => {
                let mut cx = self.wiring.cx(memory, now, Slot::Untimed);
                self.devices.vga.read_window(&mut cx, at, size)
            }
            MmioTarget::Pci(window) => self.window_read(memory, now, window, at, size),
            MmioTarget::Open => size.mask(),
        }
    }

    pub(super) fn mmio_write(
        &mut self,
        memory: &mut Memory,
        now: Tick,
        at: PhysAddr,
        size: Size,
        value: u64,
    ) {
        match self.tables.memory(at) {
            MmioTarget::LocalApic(offset) => {
                let mut cx = self.wiring.cx(memory, now, Slot::LocalApic);
                self.devices.local_apic.write(&mut cx, offset, size, value);
            }
            MmioTarget::IoApic(offset) => {
                let mut cx = self.wiring.cx(memory, now, Slot::Untimed);
                self.devices.io_apic.write(&mut cx, offset, size, value);
            }
            MmioTarget::Hpet(offset) => {
                let mut cx = self.wiring.cx(memory, now, Slot::Hpet);
                self.devices.hpet.write(&mut cx, offset, size, value);
            }
            MmioTarget::Vga => {
                let mut cx = self.wiring.cx(memory, now, Slot::Untimed);
                self.devices.vga.write_window(&mut cx, at, size, value);
            }
            MmioTarget::Pci(window) => {
                if let Some((function, slot)) = self.devices.function(window.devfn) {
                    let mut cx = self.wiring.cx(memory, now, slot);
                    function.write_region(&mut cx, window.region, at - window.base, size, value);
                }
            }
            MmioTarget::Open => {}
        }
    }
}
