//! The registers of a virtio device on PCI, of the transitional kind: those of virtio 1 in
//! memory and those of the legacy interface in ports, over the same state.
//!
//! ```text
//!   BAR 0  ports   legacy registers, then the device's configuration
//!   BAR 1  memory  MSI-X table at 0, pending bits at 800h
//!   BAR 4  memory  common configuration 0, ISR 1000h, device configuration 2000h, notify 3000h
//! ```
//!
//! Left out on purpose: resets of single queues, notification data, shared memory regions.
//! (Virtio 1.2, sections 4.1.4 and 4.1.4.10.)

use super::queue::{MOST_ENTRIES, NO_VECTOR, Queue};
use super::transport::{Event, MSIX_PENDING, STATUS_FEATURES_OK, Transport, VECTORS};
use crate::bus::Size;
use crate::devices::Cx;
use crate::devices::pci::Region;

pub(super) const LEGACY: Region = Region::Bar(0);
pub(super) const MSIX: Region = Region::Bar(1);
pub(super) const MODERN: Region = Region::Bar(4);

/// Each kind of register has a page of the modern window.
const PAGE: u64 = 0x1000;

/// The legacy ISR register.
const ISR_PORT: u64 = 19;
/// Bytes of legacy registers while MSI-X is off: the vectors are not there.
const LEGACY_WITHOUT_VECTORS: u64 = 20;
/// Bytes of legacy registers.
const LEGACY_REGISTERS: u64 = 24;

/// What lies at an offset of a window.
#[derive(Clone, Copy, Debug)]
enum Place {
    Legacy(u64),
    Common(u64),
    Isr,
    Device(usize),
    Notify,
    MsixTable(u64),
    MsixPending(u64),
    Nothing,
}

impl Transport {
    /// Reads `size` of a window. `device` is the device's configuration.
    pub(super) fn read(
        &mut self,
        cx: &mut Cx<'_>,
        (region, offset): (Region, u64),
        size: Size,
        device: &[u8],
    ) -> u64 {
        match self.place(region, offset) {
            Place::Legacy(ISR_PORT) | Place::Isr => u64::from(self.take_isr(cx)),
            Place::Legacy(offset) => number_at(&self.legacy_bytes(), offset, size),
            Place::Common(offset) => number_at(&self.common_bytes(), offset, size),
            Place::Device(offset) => number_at(device, offset as u64, size),
            Place::MsixTable(offset) => self.msix.read_table(offset, size),
            Place::MsixPending(offset) => self.msix.read_pending(offset, size),
            Place::Notify | Place::Nothing => 0,
        }
    }

    /// Writes the low `size` of `value` in a window.
    pub(super) fn write(
        &mut self,
        cx: &mut Cx<'_>,
        (region, offset): (Region, u64),
        size: Size,
        value: u64,
    ) -> Event {
        match self.place(region, offset) {
            Place::Legacy(offset) => return self.write_legacy(cx, offset, value),
            Place::Common(offset) => return self.write_common(cx, offset, size, value),
            Place::Notify => return Event::Notify,
            Place::Device(offset) => {
                let [byte, ..] = value.to_le_bytes();
                return Event::Configure(offset, byte);
            }
            Place::MsixTable(offset) => {
                self.msix.write_table(cx, &self.config, offset, size, value);
            }
            Place::Isr | Place::MsixPending(_) | Place::Nothing => {}
        }
        Event::None
    }

    fn place(&self, region: Region, offset: u64) -> Place {
        let device = |offset: u64| usize::try_from(offset).map_or(Place::Nothing, Place::Device);
        let device_ports = match self.msix.is_enabled(&self.config) {
            true => LEGACY_REGISTERS,
            false => LEGACY_WITHOUT_VECTORS,
        };
        match region {
            LEGACY if offset < device_ports => Place::Legacy(offset),
            LEGACY => device(offset - device_ports),
            MSIX if offset < self.msix.table_bytes() => Place::MsixTable(offset),
            MSIX if offset >= u64::from(MSIX_PENDING) => {
                Place::MsixPending(offset - u64::from(MSIX_PENDING))
            }
            MODERN => match offset / PAGE {
                0 => Place::Common(offset),
                1 => Place::Isr,
                2 => device(offset % PAGE),
                _ => Place::Notify,
            },
            _ => Place::Nothing,
        }
    }

    /// The legacy registers as they read, the ISR apart.
    fn legacy_bytes(&self) -> Vec<u8> {
        let [offered, accepted] = [self.offered, self.accepted].map(low_half);
        let queue = self.selected();
        let mut bytes = Vec::new();
        bytes.extend(offered.to_le_bytes());
        bytes.extend(accepted.to_le_bytes());
        bytes.extend(queue.map_or(0, Queue::legacy_page).to_le_bytes());
        bytes.extend(queue.map_or(0, |q| q.size).to_le_bytes());
        bytes.extend(self.queue_select.to_le_bytes());
        bytes.extend([0, 0, self.status, 0]);
        bytes.extend(self.config_vector.to_le_bytes());
        bytes.extend(queue.map_or(NO_VECTOR, |q| q.vector).to_le_bytes());
        bytes
    }

    fn write_legacy(&mut self, cx: &mut Cx<'_>, offset: u64, value: u64) -> Event {
        let word = u16::try_from(value & 0xffff).unwrap_or(0);
        match offset {
            4 => self.accepted = value & self.offered & 0xffff_ffff,
            8 => {
                let page = low_half(value);
                if let Some(queue) = self.selected_mut() {
                    queue.set_legacy_page(page);
                    return Event::Reset;
                }
            }
            14 => self.queue_select = word,
            16 => return Event::Notify,
            18 => return self.write_status(cx, word.to_le_bytes()[0]),
            20 => self.config_vector = known_vector(word),
            22 => self.set_queue_vector(word),
            _ => {}
        }
        Event::None
    }

    /// The common configuration as it reads.
    fn common_bytes(&self) -> Vec<u8> {
        let half = |features: u64, select: u32| match select {
            0 => low_half(features),
            1 => low_half(features >> 32),
            _ => 0,
        };
        let absent = Queue::absent();
        let queue = self.selected().unwrap_or(&absent);
        let mut bytes = Vec::new();
        bytes.extend(self.offered_select.to_le_bytes());
        bytes.extend(half(self.offered, self.offered_select).to_le_bytes());
        bytes.extend(self.accepted_select.to_le_bytes());
        bytes.extend(half(self.accepted, self.accepted_select).to_le_bytes());
        bytes.extend(self.config_vector.to_le_bytes());
        bytes.extend([1, 0, self.status, 0]);
        bytes.extend(self.queue_select.to_le_bytes());
        for word in [queue.size, queue.vector, u16::from(queue.enabled), 0] {
            bytes.extend(word.to_le_bytes());
        }
        for address in [queue.descriptors, queue.available, queue.used] {
            bytes.extend(address.to_le_bytes());
        }
        bytes
    }

    fn write_common(&mut self, cx: &mut Cx<'_>, offset: u64, size: Size, value: u64) -> Event {
        let word = u16::try_from(value & 0xffff).unwrap_or(0);
        match offset {
            0 => self.offered_select = low_half(value),
            8 => self.accepted_select = low_half(value),
            12 => self.accept(low_half(value)),
            16 => self.config_vector = known_vector(word),
            20 => return self.write_status(cx, word.to_le_bytes()[0]),
            22 => self.queue_select = word,
            24 | 28 | 32..56 => self.write_queue(offset, size, value),
            26 => self.set_queue_vector(word),
            _ => {}
        }
        Event::None
    }

    /// Takes half of the driver's features, until it has said that they are final.
    fn accept(&mut self, half: u32) {
        let half = u64::from(half);
        if self.status & STATUS_FEATURES_OK != 0 {
            return;
        }
        self.accepted = match self.accepted_select {
            0 => self.accepted & !0xffff_ffff | half,
            1 => self.accepted & 0xffff_ffff | half << 32,
            _ => self.accepted,
        };
    }

    /// Lays the queue out, until it is enabled.
    fn write_queue(&mut self, offset: u64, size: Size, value: u64) {
        let Some(queue) = self.selected_mut().filter(|queue| !queue.enabled) else {
            return;
        };
        match offset {
            24 => {
                let entries = u16::try_from(value & 0xffff).unwrap_or(0);
                if entries.is_power_of_two() && entries <= MOST_ENTRIES {
                    queue.size = entries;
                }
            }
            28 => queue.enabled = value & 1 != 0,
            32..40 => set_part(&mut queue.descriptors, offset - 32, size, value),
            40..48 => set_part(&mut queue.available, offset - 40, size, value),
            _ => set_part(&mut queue.used, offset - 48, size, value),
        }
    }

    fn set_queue_vector(&mut self, vector: u16) {
        if let Some(queue) = self.selected_mut() {
            queue.vector = known_vector(vector);
        }
    }

    /// The queue that the registers show; there is only queue 0.
    fn selected(&self) -> Option<&Queue> {
        (self.queue_select == 0).then_some(&self.queue)
    }

    fn selected_mut(&mut self) -> Option<&mut Queue> {
        (self.queue_select == 0).then_some(&mut self.queue)
    }
}

/// The vector, or none if the MSI-X table has no such one.
fn known_vector(vector: u16) -> u16 {
    if vector < VECTORS { vector } else { NO_VECTOR }
}

fn low_half(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).unwrap_or(0)
}

/// Replaces `size` of a register from byte `at` on.
fn set_part(register: &mut u64, at: u64, size: Size, value: u64) {
    let shift = 8 * (at & 7);
    let mask = size.mask() << shift;
    *register = *register & !mask | value << shift & mask;
}

/// The number of `size` at `offset`; bytes that are not there read as zero.
fn number_at(bytes: &[u8], offset: u64, size: Size) -> u64 {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let there = bytes.iter().skip(offset);
    (0..size.bytes())
        .zip(there)
        .fold(0, |value, (i, byte)| value | u64::from(*byte) << (8 * i))
}
