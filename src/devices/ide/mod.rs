//! The IDE controller of the PIIX3: PCI function 00:01.1 with two ATA channels.
//!
//! ```text
//!   1F0h-1F7h, 3F6h --> channel 0 (IRQ 14) --> drive 0, drive 1
//!   170h-177h, 376h --> channel 1 (IRQ 15) --> drive 0, drive 1
//!   BAR 4, 16 ports --> bus master of channel 0, of channel 1
//! ```
//!
//! The ports of both channels answer always, whatever IDETIM and the command register say, and
//! the timing registers only remember: firmware differs in whether it sets them. Transfers take
//! the ticks of [`crate::disk::Disks`]; what a drive answers by itself is there at once.
//!
//! Left out on purpose: ATAPI, SMART, security, host protected area, queued commands.
//! (ATA/ATAPI-6; Intel 82371SB datasheet, 290550, section 2.3.)

mod bus_master;
mod channel;
mod command;
mod drive;
mod execute;
mod identify;
mod registers;
#[cfg(test)]
mod tests;
mod transfer;

use serde::{Deserialize, Serialize};

use self::channel::Channel;
use self::registers::Register;
use super::pci::{Bar, ConfigSpace, Identity, PciFunction, Region};
use super::{Cx, DiskUser, PortIo};
use crate::bus::Size;
use crate::disk::{Completion, DiskId};

/// The place on the bus: slot 1, function 1.
const DEVFN: u8 = 1 << 3 | 1;

/// The base address register of the bus master.
const BUS_MASTER: Region = Region::Bar(4);

/// Bytes of bus master registers for each channel.
const BUS_MASTER_BYTES: u64 = 8;

/// IDETIM of both channels, and SIDETIM.
const TIMING: u8 = 0x40;

/// The controller with its drives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ide {
    config: ConfigSpace,
    primary: Channel,
    secondary: Channel,
}

impl Ide {
    /// A controller after power-on. The disks are those of primary 0 and 1, secondary 0 and 1.
    pub fn new(disks: [Option<DiskId>; 4]) -> Self {
        let [first, second, third, fourth] = disks;
        let identity = Identity {
            vendor: 0x8086,
            device: 0x7010,
            revision: 0,
            class: 0x01_0180,
            subsystem: (0x1af4, 0x1100),
        };
        let mut config = ConfigSpace::new(DEVFN, identity);
        config.set_bar(4, Bar::Io { size: 16 });
        config.allow_writes(TIMING, &[0xff; 5]);
        Self {
            config,
            primary: Channel::new(14, [first, second]),
            secondary: Channel::new(15, [third, fourth]),
        }
    }

    /// Reads elements of `size` from the data port of the channel at `port` (1F0h or 170h), as
    /// REP INS does; `into` is filled from its start. Returns how many elements there were; the
    /// drive may have to look before there are more.
    pub fn read_data_block(
        &mut self,
        cx: &mut Cx<'_>,
        port: u16,
        size: Size,
        into: &mut [u8],
    ) -> usize {
        match self.decode(port) {
            Some((channel, Register::Data)) => channel.read_block(cx, size, into),
            _ => 0,
        }
    }

    /// Writes elements of `size` to a data port, as REP OUTS does; the counterpart of
    /// [`Ide::read_data_block`].
    pub fn write_data_block(
        &mut self,
        cx: &mut Cx<'_>,
        port: u16,
        size: Size,
        from: &[u8],
    ) -> usize {
        match self.decode(port) {
            Some((channel, Register::Data)) => channel.write_block(cx, size, from),
            _ => 0,
        }
    }

    fn decode(&mut self, port: u16) -> Option<(&mut Channel, Register)> {
        match port {
            0x1f0..=0x1f7 => Some((&mut self.primary, Register::in_command_block(port))),
            0x170..=0x177 => Some((&mut self.secondary, Register::in_command_block(port))),
            0x3f6 => Some((&mut self.primary, Register::Control)),
            0x376 => Some((&mut self.secondary, Register::Control)),
            _ => None,
        }
    }

    /// The channel whose bus master has the register at `offset`, and the offset there.
    fn bus_master(&mut self, offset: u64) -> (&mut Channel, u64) {
        match offset / BUS_MASTER_BYTES % 2 {
            0 => (&mut self.primary, offset % BUS_MASTER_BYTES),
            _ => (&mut self.secondary, offset % BUS_MASTER_BYTES),
        }
    }
}

impl PortIo for Ide {
    /// Wide accesses to other registers than data reach one byte register after the other.
    fn read(&mut self, cx: &mut Cx<'_>, port: u16, size: Size) -> u32 {
        if let Some((channel, Register::Data)) = self.decode(port) {
            return channel.read(cx, Register::Data, size);
        }
        let bytes = (0..4_u16).take_while(|i| u64::from(*i) < size.bytes());
        bytes.fold(0, |value, i| {
            let byte = match self.decode(port.wrapping_add(i)) {
                Some((channel, register)) => channel.read(cx, register, Size::Byte),
                None => 0xff,
            };
            value | byte << (8 * i)
        })
    }

    fn write(&mut self, cx: &mut Cx<'_>, port: u16, size: Size, value: u32) {
        if let Some((channel, Register::Data)) = self.decode(port) {
            return channel.write(cx, Register::Data, size, value);
        }
        for (i, byte) in (0..).zip(value.to_le_bytes()) {
            if u64::from(i) < size.bytes()
                && let Some((channel, register)) = self.decode(port.wrapping_add(i))
            {
                channel.write(cx, register, Size::Byte, u32::from(byte));
            }
        }
    }
}

impl PciFunction for Ide {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn write_config(&mut self, cx: &mut Cx<'_>, offset: u8, size: Size, value: u32) {
        self.config.write(cx, offset, size, value);
    }

    fn read_region(&mut self, _: &mut Cx<'_>, region: Region, offset: u64, size: Size) -> u64 {
        if region != BUS_MASTER {
            return size.mask();
        }
        (0..size.bytes()).fold(0, |value, i| {
            let (channel, offset) = self.bus_master(offset + i);
            value | u64::from(channel.read_bus_master(offset)) << (8 * i)
        })
    }

    fn write_region(
        &mut self,
        cx: &mut Cx<'_>,
        region: Region,
        offset: u64,
        size: Size,
        value: u64,
    ) {
        if region != BUS_MASTER {
            return;
        }
        for (i, byte) in (0..size.bytes()).zip(value.to_le_bytes()) {
            let (channel, offset) = self.bus_master(offset + i);
            channel.write_bus_master(cx, offset, byte);
        }
    }
}

impl DiskUser for Ide {
    fn owns(&self, disk: DiskId) -> bool {
        let all = [self.primary.disks(), self.secondary.disks()];
        all.as_flattened().contains(&Some(disk))
    }

    fn complete(&mut self, cx: &mut Cx<'_>, disk: DiskId, completion: Completion) {
        match self.primary.disks().contains(&Some(disk)) {
            true => self.primary.complete(cx, disk, completion),
            false => self.secondary.complete(cx, disk, completion),
        }
    }
}
