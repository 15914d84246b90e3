//! The PC's address tables: which device answers at a port, and which at a physical address
//! that is not plain memory.

use std::ops::Range;

use crate::devices::acpi_pm::PM_PORTS;
use crate::devices::apic::IoApic;
use crate::devices::hpet::Hpet;
use crate::devices::pci::{DevFn, Region, Space, Window};
use crate::memory::PhysAddr;

/// What answers at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum PortDevice {
    /// Nothing: reads give ones.
    Open,
    Dma,
    Pic,
    Pit,
    Ps2,
    Cmos,
    PostCode,
    Port92,
    /// Port B2h-B3h.
    Apm,
    DebugConsole,
    DebugExit,
    /// Port F0h, which ends IRQ 13.
    Coprocessor,
    Uart,
    Ide,
    FwCfg,
    Vga,
    ConfigAddress,
    ConfigData,
    /// The ACPI registers, wherever PMBASE put them.
    PowerManagement,
    /// A port window of a PCI function.
    Pci,
}

/// The fixed ports. Ranges are first and last port.
const FIXED_PORTS: [(u16, u16, PortDevice); 27] = [
    (0x000, 0x00f, PortDevice::Dma),
    (0x020, 0x021, PortDevice::Pic),
    (0x040, 0x043, PortDevice::Pit),
    (0x060, 0x060, PortDevice::Ps2),
    (0x061, 0x061, PortDevice::Pit),
    (0x064, 0x064, PortDevice::Ps2),
    (0x070, 0x073, PortDevice::Cmos),
    (0x080, 0x080, PortDevice::PostCode),
    (0x081, 0x08f, PortDevice::Dma),
    (0x092, 0x092, PortDevice::Port92),
    (0x0a0, 0x0a1, PortDevice::Pic),
    (0x0b2, 0x0b3, PortDevice::Apm),
    (0x0c0, 0x0df, PortDevice::Dma),
    (0x0f0, 0x0f0, PortDevice::Coprocessor),
    (0x170, 0x177, PortDevice::Ide),
    (0x1ce, 0x1cf, PortDevice::Vga),
    (0x1f0, 0x1f7, PortDevice::Ide),
    (0x376, 0x376, PortDevice::Ide),
    (0x3b0, 0x3bb, PortDevice::Vga),
    (0x3c0, 0x3df, PortDevice::Vga),
    (0x3f6, 0x3f6, PortDevice::Ide),
    (0x3f8, 0x3ff, PortDevice::Uart),
    (0x4d0, 0x4d1, PortDevice::Pic),
    (0x510, 0x511, PortDevice::FwCfg),
    (0x514, 0x51b, PortDevice::FwCfg),
    (0xcf8, 0xcfb, PortDevice::ConfigAddress),
    (0xcfc, 0xcff, PortDevice::ConfigData),
];

/// Where the CPU looks for display memory.
const VGA_WINDOW: Range<PhysAddr> = 0xa_0000..0xc_0000;

/// The debug console's ports.
const DEBUG_CONSOLE_PORTS: [u16; 2] = [0xe9, 0x402];

/// A window of a PCI function, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PciWindow {
    pub(super) devfn: DevFn,
    pub(super) region: Region,
    pub(super) base: u64,
    size: u64,
}

impl PciWindow {
    pub(super) fn new(devfn: DevFn, window: Window) -> Self {
        Self {
            devfn,
            region: window.region,
            base: window.base,
            size: window.size,
        }
    }

    fn contains(&self, at: u64) -> bool {
        at.wrapping_sub(self.base) < self.size
    }
}

/// What answers at a physical address outside plain memory, and the offset in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MmioTarget {
    LocalApic(u64),
    IoApic(u64),
    Hpet(u64),
    Vga,
    Pci(PciWindow),
    Open,
}

/// The tables.
#[derive(Debug)]
pub(super) struct Tables {
    ports: Vec<PortDevice>,
    debug_exit_port: Option<u16>,
    pm_base: Option<u16>,
    local_apic: Option<PhysAddr>,
    port_windows: Vec<PciWindow>,
    memory_windows: Vec<PciWindow>,
}

impl Tables {
    pub(super) fn new(debug_exit_port: Option<u16>) -> Self {
        Self {
            ports: vec![PortDevice::Open; 1 << 16],
            debug_exit_port,
            pm_base: None,
            local_apic: None,
            port_windows: Vec::new(),
            memory_windows: Vec::new(),
        }
    }

    /// Lays the tables out for where PMBASE, the local APIC and the PCI windows are now. A
    /// fixed port wins over a window that was moved onto it.
    pub(super) fn lay_out(
        &mut self,
        pm_base: Option<u16>,
        local_apic: Option<PhysAddr>,
        windows: impl Iterator<Item = (DevFn, Window)>,
    ) {
        self.ports.fill(PortDevice::Open);
        (self.pm_base, self.local_apic) = (pm_base, local_apic);
        self.port_windows.clear();
        self.memory_windows.clear();
        for (devfn, window) in windows {
            let placed = PciWindow::new(devfn, window);
            match window.space {
                Space::Memory => self.memory_windows.push(placed),
                Space::Io => {
                    let last = window.base + window.size - 1;
                    self.claim(window.base, last, PortDevice::Pci);
                    self.port_windows.push(placed);
                }
            }
        }
        if let Some(base) = pm_base.map(u64::from) {
            let last = base + u64::from(PM_PORTS) - 1;
            self.claim(base, last, PortDevice::PowerManagement);
        }
        for (first, last, device) in FIXED_PORTS {
            self.claim(first.into(), last.into(), device);
        }
        for port in DEBUG_CONSOLE_PORTS {
            self.claim(port.into(), port.into(), PortDevice::DebugConsole);
        }
        if let Some(port) = self.debug_exit_port.map(u64::from) {
            self.claim(port, port + 3, PortDevice::DebugExit);
        }
    }

    fn claim(&mut self, first: u64, last: u64, device: PortDevice) {
        let last = last.min(0xffff) as usize;
        if let Some(ports) = self.ports.get_mut(first as usize..=last) {
            ports.fill(device);
        }
    }

    pub(super) fn port(&self, port: u16) -> PortDevice {
        self.ports[usize::from(port)]
    }

    /// The PCI window that holds `port`.
    pub(super) fn port_window(&self, port: u16) -> Option<PciWindow> {
        let mut windows = self.port_windows.iter();
        windows.find(|w| w.contains(port.into())).copied()
    }

    /// The offset of `port` from PMBASE.
    pub(super) fn pm_offset(&self, port: u16) -> u16 {
        port.wrapping_sub(self.pm_base.unwrap_or(0))
    }

    /// What answers at `at`.
    pub(super) fn memory(&self, at: PhysAddr) -> MmioTarget {
        const APIC_WINDOW: u64 = 0x1000;
        if let Some(base) = self.local_apic
            && at.wrapping_sub(base) < APIC_WINDOW
        {
            return MmioTarget::LocalApic(at - base);
        }
        if at.wrapping_sub(Hpet::BASE) < Hpet::WINDOW {
            return MmioTarget::Hpet(at - Hpet::BASE);
        }
        if at.wrapping_sub(IoApic::BASE) < APIC_WINDOW {
            return MmioTarget::IoApic(at - IoApic::BASE);
        }
        if VGA_WINDOW.contains(&at) {
            return MmioTarget::Vga;
        }
        match self.memory_windows.iter().find(|w| w.contains(at)) {
            Some(window) => MmioTarget::Pci(*window),
            None => MmioTarget::Open,
        }
    }
}
