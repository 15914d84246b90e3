//! A descriptor chain: the pieces of guest memory that make one request.
//!
//! Reading one takes bounded work whatever the guest wrote: a chain has at most as many
//! descriptors as its table, and an indirect table at most [`MOST_DESCRIPTORS`].
//! (Virtio 1.2, sections 2.7.5 and 2.7.7.)

use serde::{Deserialize, Serialize};

use crate::memory::Memory;

/// The most descriptors in one table.
pub(super) const MOST_DESCRIPTORS: u16 = 1024;

/// Bytes of one descriptor.
pub(super) const DESCRIPTOR_BYTES: u64 = 16;

const FLAG_NEXT: u16 = 1;
const FLAG_WRITE: u16 = 2;
const FLAG_INDIRECT: u16 = 4;

/// What a guest got wrong about a ring or a chain. The device needs a reset then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken(pub(super) &'static str);

/// A contiguous piece of guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Segment {
    address: u64,
    len: u32,
}

/// Pieces of guest memory that count as one run of bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Buffer {
    segments: Vec<Segment>,
    len: u64,
}

impl Buffer {
    fn push(&mut self, segment: Segment) {
        self.len += u64::from(segment.len);
        self.segments.push(segment);
    }

    /// The length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Fills `bytes` from `offset` on; what the buffer does not have stays as it was.
    pub(super) fn read(&self, memory: &Memory, offset: u64, mut bytes: &mut [u8]) {
        for (address, len) in self.pieces(offset, bytes.len()) {
            let (now, rest) = bytes.split_at_mut(len);
            memory.read(address, now);
            bytes = rest;
        }
    }

    /// Stores `bytes` from `offset` on, as far as the buffer reaches.
    pub(super) fn write(&self, memory: &mut Memory, offset: u64, mut bytes: &[u8]) {
        for (address, len) in self.pieces(offset, bytes.len()) {
            let (now, rest) = bytes.split_at(len);
            memory.write(address, now);
            bytes = rest;
        }
    }

    /// The address and length of each piece of `wanted` bytes from `offset` on.
    fn pieces(&self, offset: u64, wanted: usize) -> impl Iterator<Item = (u64, usize)> {
        let mut skip = offset;
        let mut left = wanted;
        self.segments.iter().filter_map(move |segment| {
            let skipped = skip.min(u64::from(segment.len));
            skip -= skipped;
            let there = usize::try_from(u64::from(segment.len) - skipped).ok()?;
            let len = there.min(left);
            left -= len;
            (len > 0).then_some((segment.address + skipped, len))
        })
    }
}

/// One request as it lies in guest memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chain {
    /// The index of its first descriptor, which names it in the used ring.
    pub(super) head: u16,
    /// What the driver says.
    pub(super) readable: Buffer,
    /// Where the device answers.
    pub(super) writable: Buffer,
}

#[derive(Clone, Copy, Debug)]
struct Descriptor {
    segment: Segment,
    flags: u16,
    next: u16,
}

/// Where descriptors lie, and how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    pub(super) address: u64,
    pub(super) len: u16,
}

impl Table {
    fn get(self, memory: &Memory, index: u16) -> Result<Descriptor, Broken> {
        if index >= self.len {
            return Err(Broken("a descriptor index is outside its table"));
        }
        let address = self
            .address
            .wrapping_add(u64::from(index) * DESCRIPTOR_BYTES);
        let bytes: [u8; 16] = memory.read_array(address);
        let [
            a0,
            a1,
            a2,
            a3,
            a4,
            a5,
            a6,
            a7,
            l0,
            l1,
            l2,
            l3,
            f0,
            f1,
            n0,
            n1,
        ] = bytes;
        Ok(Descriptor {
            segment: Segment {
                address: u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]),
                len: u32::from_le_bytes([l0, l1, l2, l3]),
            },
            flags: u16::from_le_bytes([f0, f1]),
            next: u16::from_le_bytes([n0, n1]),
        })
    }
}

impl Chain {
    /// Follows the chain that starts at descriptor `head` of the queue's table. Its last
    /// descriptor may stand for a table of its own.
    pub(super) fn read(memory: &Memory, table: Table, head: u16) -> Result<Self, Broken> {
        let mut chain = Self {
            head,
            ..Self::default()
        };
        let Some(indirect) = chain.follow(memory, table, head)? else {
            return Ok(chain);
        };
        let table = indirect.table()?;
        match chain.follow(memory, table, 0)? {
            None => Ok(chain),
            Some(_) => Err(Broken("an indirect table holds an indirect descriptor")),
        }
    }

    /// Adds the buffers from descriptor `index` on. Stops at an indirect one and returns it.
    fn follow(
        &mut self,
        memory: &Memory,
        table: Table,
        mut index: u16,
    ) -> Result<Option<Descriptor>, Broken> {
        for _ in 0..table.len {
            let descriptor = table.get(memory, index)?;
            if descriptor.flags & FLAG_INDIRECT != 0 {
                return Ok(Some(descriptor));
            }
            self.add(descriptor)?;
            if descriptor.flags & FLAG_NEXT == 0 {
                return Ok(None);
            }
            index = descriptor.next;
        }
        Err(Broken("a descriptor chain is a loop"))
    }

    fn add(&mut self, descriptor: Descriptor) -> Result<(), Broken> {
        let Descriptor { segment, flags, .. } = descriptor;
        let end = segment.address.checked_add(u64::from(segment.len));
        end.ok_or(Broken("a buffer wraps around the address space"))?;
        match (flags & FLAG_WRITE != 0, self.writable.len) {
            (true, _) => self.writable.push(segment),
            (false, 0) => self.readable.push(segment),
            _ => return Err(Broken("a readable buffer follows a writable one")),
        }
        Ok(())
    }
}

impl Descriptor {
    /// The table that an indirect descriptor stands for.
    fn table(self) -> Result<Table, Broken> {
        let bytes = u64::from(self.segment.len);
        if self.flags & FLAG_NEXT != 0 {
            return Err(Broken("an indirect descriptor has a successor"));
        }
        let len = u16::try_from(bytes / DESCRIPTOR_BYTES).unwrap_or(u16::MAX);
        if bytes % DESCRIPTOR_BYTES != 0 || len == 0 || len > MOST_DESCRIPTORS {
            return Err(Broken("an indirect table has an impossible length"));
        }
        Ok(Table {
            address: self.segment.address,
            len,
        })
    }
}
