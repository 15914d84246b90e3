//! A split virtqueue: the driver makes chains available, the device gives them back used.
//!
//! ```text
//!   descriptor table   size x { address u64, length u32, flags u16, next u16 }
//!   available ring     flags u16, index u16, size x head u16, used_event u16
//!   used ring          flags u16, index u16, size x { head u32, length u32 }, avail_event u16
//! ```
//!
//! (Virtio 1.2, section 2.7; the layout of the legacy interface is that of section 2.7.2.)

use serde::{Deserialize, Serialize};

use super::chain::{Broken, Chain, DESCRIPTOR_BYTES, Table};
use crate::memory::Memory;

/// No interrupt vector.
pub(super) const NO_VECTOR: u16 = 0xffff;

/// The most descriptors of a queue.
pub(super) const MOST_ENTRIES: u16 = 256;

/// Alignment of the used ring, and the unit of the queue's address, in the legacy interface.
const LEGACY_PAGE: u64 = 4096;

/// Available ring flag: the driver wants no interrupts.
const NO_INTERRUPT: u16 = 1;

const RING_HEADER: u64 = 4;

/// How the two sides tell each other what they want to hear about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suppression {
    /// By a flag.
    Flags,
    /// By the index of the next event (VIRTIO_F_EVENT_IDX).
    EventIndex,
}

/// One split virtqueue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Queue {
    pub(super) size: u16,
    pub(super) enabled: bool,
    pub(super) vector: u16,
    /// The descriptor table.
    pub(super) descriptors: u64,
    /// The available ring (virtio 1: driver area).
    pub(super) available: u64,
    /// The used ring (virtio 1: device area).
    pub(super) used: u64,
    next_available: u16,
    next_used: u16,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            size: MOST_ENTRIES,
            enabled: false,
            vector: NO_VECTOR,
            descriptors: 0,
            available: 0,
            used: 0,
            next_available: 0,
            next_used: 0,
        }
    }
}

impl Queue {
    /// What the registers show of a queue that there is not.
    pub(super) fn absent() -> Self {
        Self {
            size: 0,
            ..Self::default()
        }
    }

    /// Lays the queue out from a page frame number, as the legacy interface does; 0 stops it.
    pub(super) fn set_legacy_page(&mut self, page: u32) {
        *self = Self {
            vector: self.vector,
            ..Self::default()
        };
        let size = u64::from(self.size);
        self.descriptors = u64::from(page) * LEGACY_PAGE;
        self.available = self.descriptors + size * DESCRIPTOR_BYTES;
        let end = self.available + RING_HEADER + 2 * size + 2;
        self.used = end.next_multiple_of(LEGACY_PAGE);
        self.enabled = page != 0;
    }

    /// The page frame number of the legacy interface.
    pub(super) fn legacy_page(&self) -> u32 {
        u32::try_from(self.descriptors / LEGACY_PAGE).unwrap_or(0)
    }

    /// Takes the next available chain, if there is one.
    pub(super) fn pop(&mut self, memory: &Memory) -> Result<Option<Chain>, Broken> {
        let index = read_u16(memory, self.available.wrapping_add(2));
        let waiting = index.wrapping_sub(self.next_available);
        if waiting == 0 {
            return Ok(None);
        }
        if waiting > self.size {
            return Err(Broken(
                "the available ring runs ahead by more than its size",
            ));
        }
        let slot = u64::from(self.next_available % self.size);
        let head = read_u16(memory, self.available.wrapping_add(RING_HEADER + 2 * slot));
        let table = Table {
            address: self.descriptors,
            len: self.size,
        };
        let chain = Chain::read(memory, table, head)?;
        self.next_available = self.next_available.wrapping_add(1);
        Ok(Some(chain))
    }

    /// Gives a chain back, of which `len` bytes were written. True if the driver wants an
    /// interrupt for it.
    pub(super) fn push(
        &mut self,
        memory: &mut Memory,
        head: u16,
        len: u32,
        suppression: Suppression,
    ) -> bool {
        let slot = u64::from(self.next_used % self.size);
        let mut element = [0; 8];
        let (id, length) = element.split_at_mut(4);
        id.copy_from_slice(&u32::from(head).to_le_bytes());
        length.copy_from_slice(&len.to_le_bytes());
        memory.write(self.used.wrapping_add(RING_HEADER + 8 * slot), &element);
        let index = self.next_used;
        self.next_used = index.wrapping_add(1);
        memory.write(self.used.wrapping_add(2), &self.next_used.to_le_bytes());
        match suppression {
            Suppression::Flags => read_u16(memory, self.available) & NO_INTERRUPT == 0,
            Suppression::EventIndex => {
                let event = self
                    .available
                    .wrapping_add(RING_HEADER + 2 * u64::from(self.size));
                read_u16(memory, event) == index
            }
        }
    }

    /// Asks the driver to notify the device of the next chain it makes available.
    pub(super) fn want_notification(&self, memory: &mut Memory) {
        let event = self
            .used
            .wrapping_add(RING_HEADER + 8 * u64::from(self.size));
        memory.write(event, &self.next_available.to_le_bytes());
    }
}

fn read_u16(memory: &Memory, address: u64) -> u16 {
    u16::from_le_bytes(memory.read_array(address))
}
