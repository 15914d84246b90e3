//! The state of a virtio device on PCI: features, status, interrupts and its one queue.
//!
//! [`super::registers`] shows it to the driver in two layouts, [`super::access`] through
//! configuration space too. (Virtio 1.2, chapters 2 and 3.)

use serde::{Deserialize, Serialize};

use super::access::add_capabilities;
use super::chain::Broken;
use super::queue::{NO_VECTOR, Queue, Suppression};
use crate::devices::Cx;
use crate::devices::pci::{Bar, ConfigSpace, DevFn, Identity, Msix, MsixPlace};

/// The windows of the function, in bytes: legacy ports, MSI-X, virtio 1.
pub(super) const LEGACY_BYTES: u32 = 128;
pub(super) const MSIX_BYTES: u32 = 4096;
pub(super) const MODERN_BYTES: u64 = 0x4000;

/// Where the pending bits lie in the MSI-X window.
pub(super) const MSIX_PENDING: u32 = 0x800;

/// One interrupt vector for configuration changes, one for the queue.
pub(super) const VECTORS: u16 = 2;

/// VIRTIO_F_ANY_LAYOUT, of the legacy interface alone.
const ANY_LAYOUT: u64 = 1 << 27;
/// VIRTIO_F_INDIRECT_DESC.
const INDIRECT_DESC: u64 = 1 << 28;
/// VIRTIO_F_EVENT_IDX.
const EVENT_IDX: u64 = 1 << 29;
/// VIRTIO_F_VERSION_1.
const VERSION_1: u64 = 1 << 32;

const STATUS_DRIVER_OK: u8 = 4;
pub(super) const STATUS_FEATURES_OK: u8 = 8;
const STATUS_NEEDS_RESET: u8 = 64;

const ISR_QUEUE: u8 = 1;
const ISR_CONFIG: u8 = 2;

/// Which virtio device this is, and what it can do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// The transitional PCI device ID.
    pub(super) pci_device: u16,
    /// The PCI class code.
    pub(super) class: u32,
    /// The virtio device ID.
    pub(super) device: u16,
}

/// What a register write asks of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Nothing.
    None,
    /// The driver made chains available.
    Notify,
    /// The driver reset the device.
    Reset,
    /// The driver wrote this byte of the device's configuration.
    Configure(usize, u8),
}

/// A virtio device on PCI, with one queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Transport {
    pub(super) config: ConfigSpace,
    pub(super) msix: Msix,
    /// Where the capability for access through configuration space lies.
    pub(super) access: u8,
    pub(super) offered: u64,
    pub(super) accepted: u64,
    pub(super) offered_select: u32,
    pub(super) accepted_select: u32,
    pub(super) status: u8,
    isr: u8,
    pub(super) config_vector: u16,
    pub(super) queue_select: u16,
    pub(super) queue: Queue,
}

impl Transport {
    /// A device after power-on at a place on the bus, offering the features of its kind.
    pub(super) fn new(devfn: DevFn, kind: Kind, features: u64) -> Self {
        let identity = Identity {
            vendor: 0x1af4,
            device: kind.pci_device,
            revision: 0,
            class: kind.class,
            subsystem: (0x1af4, kind.device),
        };
        let mut config = ConfigSpace::new(devfn, identity);
        config.set_interrupt_pin();
        config.set_bar(0, Bar::Io { size: LEGACY_BYTES });
        let msix_window = Bar::Memory32 {
            size: MSIX_BYTES,
            prefetchable: false,
        };
        config.set_bar(1, msix_window);
        let modern_window = Bar::Memory64 {
            size: MODERN_BYTES,
            prefetchable: true,
        };
        config.set_bar(4, modern_window);
        let access = add_capabilities(&mut config);
        let table = MsixPlace { bar: 1, offset: 0 };
        let pending = MsixPlace {
            bar: 1,
            offset: MSIX_PENDING,
        };
        Self {
            msix: Msix::new(&mut config, VECTORS, table, pending),
            config,
            access,
            offered: features | ANY_LAYOUT | INDIRECT_DESC | EVENT_IDX | VERSION_1,
            accepted: 0,
            offered_select: 0,
            accepted_select: 0,
            status: 0,
            isr: 0,
            config_vector: NO_VECTOR,
            queue_select: 0,
            queue: Queue::default(),
        }
    }

    /// Whether the driver accepted all of `features`.
    pub(super) fn has(&self, features: u64) -> bool {
        self.accepted & features == features
    }

    /// Whether the queue is to be served.
    pub(super) fn is_running(&self) -> bool {
        let ready = !self.has(VERSION_1) || self.status & STATUS_DRIVER_OK != 0;
        self.queue.enabled && ready && self.status & STATUS_NEEDS_RESET == 0
    }

    /// Gives a chain back to the driver, of which `len` bytes were written.
    pub(super) fn finish(&mut self, cx: &mut Cx<'_>, head: u16, len: u32) {
        let suppression = self.suppression();
        if self.queue.push(cx.memory, head, len, suppression) {
            self.interrupt(cx, self.queue.vector, ISR_QUEUE);
        }
    }

    /// Asks for a notification of the next chain.
    pub(super) fn want_notification(&self, cx: &mut Cx<'_>) {
        if self.suppression() == Suppression::EventIndex {
            self.queue.want_notification(cx.memory);
        }
    }

    /// Stops the device until the driver resets it: the queue makes no sense.
    pub(super) fn stop(&mut self, cx: &mut Cx<'_>, broken: Broken) {
        self.status |= STATUS_NEEDS_RESET;
        let Broken(what) = broken;
        cx.outlet.misuse.push(format!("virtio: {what}"));
        if self.has(VERSION_1) && self.status & STATUS_DRIVER_OK != 0 {
            self.interrupt(cx, self.config_vector, ISR_CONFIG);
        }
    }

    fn suppression(&self) -> Suppression {
        match self.has(EVENT_IDX) {
            true => Suppression::EventIndex,
            false => Suppression::Flags,
        }
    }

    fn interrupt(&mut self, cx: &mut Cx<'_>, vector: u16, cause: u8) {
        if self.msix.is_enabled(&self.config) {
            self.msix.notify(cx, &self.config, vector);
        } else {
            self.isr |= cause;
            self.config.set_intx(cx, true);
        }
    }

    /// Reads the ISR byte, which takes the interrupt back.
    pub(super) fn take_isr(&mut self, cx: &mut Cx<'_>) -> u8 {
        self.config.set_intx(cx, false);
        std::mem::take(&mut self.isr)
    }

    fn reset(&mut self, cx: &mut Cx<'_>) -> Event {
        self.take_isr(cx);
        self.accepted = 0;
        self.offered_select = 0;
        self.accepted_select = 0;
        self.status = 0;
        self.config_vector = NO_VECTOR;
        self.queue_select = 0;
        self.queue = Queue::default();
        Event::Reset
    }

    /// Writes the status register.
    pub(super) fn write_status(&mut self, cx: &mut Cx<'_>, value: u8) -> Event {
        if value == 0 {
            return self.reset(cx);
        }
        let mut value = value | self.status & STATUS_NEEDS_RESET;
        let acceptable = self.accepted & !self.offered == 0 && self.has(VERSION_1);
        if !acceptable {
            value &= !STATUS_FEATURES_OK;
        }
        self.status = value;
        Event::None
    }
}
