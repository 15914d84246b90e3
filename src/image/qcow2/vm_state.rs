//! Saved machine state: bytes behind the end of the disk, which only whoever loads a snapshot
//! reads.
//!
//! It starts at the first guest offset after the disk that has an L2 table of its own, is mapped
//! like the disk, and takes L1 entries that the disk does not need. A snapshot keeps it with the
//! disk, and applying the snapshot brings it back. Format description, "Snapshots".

use super::super::{ErrorKind, ImageError, Result};
use super::Qcow2;
use super::address::GuestOffset;
use super::header::MAX_L1_BYTES;

impl Qcow2 {
    /// Where the machine state starts, as a guest offset.
    pub fn vm_state_start(&self) -> u64 {
        self.header.size.next_multiple_of(self.geometry.l2_reach())
    }

    /// Fills `buf` from byte `offset` of the machine state. What was never written is zeros.
    pub fn read_vm_state(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        let (at, _) = self.vm_state_range(offset, buf.len() as u64)?;
        let _request = self.in_flight.enter();
        self.read_guest(buf, at)
    }

    /// Writes all of `buf` at byte `offset` of the machine state, in an L1 table that is made
    /// longer for it.
    ///
    /// Errors: [`ErrorKind::OutOfRange`] past what an L1 table may map.
    pub fn write_vm_state(&mut self, buf: &[u8], offset: u64) -> Result<()> {
        self.check_write(0, 0)?;
        let (at, end) = self.vm_state_range(offset, buf.len() as u64)?;
        let entries = self.geometry.l1_entries(end);
        if entries > u64::from(self.header.l1_size) {
            self.settle()?;
            self.grow_l1(u32::try_from(entries).unwrap_or(u32::MAX))?;
        }
        self.relieve()?;
        let _request = self.in_flight.enter();
        self.write_guest(buf, at)
    }

    /// Where `len` bytes at `offset` of the machine state start and end, as guest offsets.
    fn vm_state_range(&self, offset: u64, len: u64) -> Result<(GuestOffset, u64)> {
        let start = self.vm_state_start().checked_add(offset);
        let end = start.and_then(|start| start.checked_add(len));
        match (start, end) {
            (Some(start), Some(end)) if self.geometry.l1_entries(end) * 8 <= MAX_L1_BYTES => {
                Ok((GuestOffset(start), end))
            }
            _ => Err(ImageError::new(
                ErrorKind::OutOfRange,
                "the L1 table cannot map machine state there",
            )
            .at(offset)),
        }
    }
}
