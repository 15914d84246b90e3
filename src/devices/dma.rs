//! The two 8237A DMA controllers with their page registers (81h to 8Fh; 80h is the POST code).
//!
//! Registers read back as a probe expects them; no device of this board requests ISA DMA, so
//! nothing is transferred and terminal count never comes.
//!
//! Source: Intel 8237A datasheet (231466); 82371SB datasheet, section 2.4.1.

use serde::{Deserialize, Serialize};

use super::{Cx, PortIo};
use crate::bus::Size;

/// A channel's registers.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Channel {
    base_address: u16,
    base_count: u16,
    address: u16,
    count: u16,
    mode: u8,
}

/// One 8237A.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Controller {
    channels: [Channel; 4],
    command: u8,
    requests: u8,
    mask: u8,
    high_byte_next: bool,
}

impl Controller {
    fn new() -> Self {
        Self {
            channels: [Channel::default(); 4],
            command: 0,
            requests: 0,
            mask: 0x0f,
            high_byte_next: false,
        }
    }

    /// Whether this access is the high byte; the next one is the other.
    fn flip_flop(&mut self) -> bool {
        let high = self.high_byte_next;
        self.high_byte_next = !high;
        high
    }

    fn read(&mut self, register: u8) -> u8 {
        match register {
            0..=7 => {
                let high = self.flip_flop();
                let channel = self.channels.get(usize::from(register / 2));
                let value = channel.map_or(0, |c| match register & 1 {
                    0 => c.address,
                    _ => c.count,
                });
                let [low_byte, high_byte] = value.to_le_bytes();
                if high { high_byte } else { low_byte }
            }
            // Requests show in the high half of the status; terminal counts never occur.
            8 => self.requests << 4,
            0x0f => self.mask | 0xf0,
            _ => 0,
        }
    }

    fn write(&mut self, register: u8, value: u8) {
        let bit = 1 << (value & 3);
        match register {
            0..=7 => self.write_channel(register, value),
            8 => self.command = value,
            9 if value & 4 != 0 => self.requests |= bit,
            9 => self.requests &= !bit,
            0x0a if value & 4 != 0 => self.mask |= bit,
            0x0a => self.mask &= !bit,
            0x0b => {
                if let Some(channel) = self.channels.get_mut(usize::from(value & 3)) {
                    channel.mode = value & 0xfc;
                }
            }
            0x0c => self.high_byte_next = false,
            0x0d => {
                *self = Self {
                    channels: self.channels,
                    ..Self::new()
                }
            }
            0x0e => self.mask = 0,
            _ => self.mask = value & 0x0f,
        }
    }

    fn write_channel(&mut self, register: u8, value: u8) {
        let high = self.flip_flop();
        let Some(channel) = self.channels.get_mut(usize::from(register / 2)) else {
            return;
        };
        let base = match register & 1 {
            0 => &mut channel.base_address,
            _ => &mut channel.base_count,
        };
        let [low_byte, high_byte] = base.to_le_bytes();
        *base = u16::from_le_bytes(if high {
            [low_byte, value]
        } else {
            [value, high_byte]
        });
        channel.address = channel.base_address;
        channel.count = channel.base_count;
    }
}

/// Both controllers: channels 0 to 3 at 00h-0Fh, 4 to 7 at C0h-DEh, pages at 81h-8Fh.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dma {
    first: Controller,
    second: Controller,
    pages: [u8; 16],
}

impl Default for Dma {
    fn default() -> Self {
        Self::new()
    }
}

impl Dma {
    /// Both controllers after a master clear.
    pub fn new() -> Self {
        Self {
            first: Controller::new(),
            second: Controller::new(),
            pages: [0; 16],
        }
    }
}

impl PortIo for Dma {
    fn read(&mut self, _cx: &mut Cx<'_>, port: u16, _size: Size) -> u32 {
        let [low, _] = port.to_le_bytes();
        let value = match low {
            0x00..=0x0f => self.first.read(low),
            0x80..=0x8f => self.pages.get(usize::from(low & 15)).copied().unwrap_or(0),
            _ => self.second.read(low >> 1 & 15),
        };
        value.into()
    }

    fn write(&mut self, _cx: &mut Cx<'_>, port: u16, _size: Size, value: u32) {
        let [low, _] = port.to_le_bytes();
        let value = value.to_le_bytes()[0];
        match low {
            0x00..=0x0f => self.first.write(low, value),
            0x80..=0x8f => {
                if let Some(page) = self.pages.get_mut(usize::from(low & 15)) {
                    *page = value;
                }
            }
            _ => self.second.write(low >> 1 & 15, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Workbench;

    fn out(dma: &mut Dma, port: u16, value: u32) {
        dma.write(&mut Workbench::new().cx(), port, Size::Byte, value);
    }

    fn read(dma: &mut Dma, port: u16) -> u32 {
        dma.read(&mut Workbench::new().cx(), port, Size::Byte)
    }

    #[test]
    fn address_and_count_read_back_byte_by_byte() {
        let mut dma = Dma::new();
        out(&mut dma, 0x0c, 0);
        for (port, byte) in [(0x04, 0x34), (0x04, 0x12), (0xc6, 0xff), (0xc6, 0x01)] {
            out(&mut dma, port, byte);
        }
        assert_eq!([read(&mut dma, 4), read(&mut dma, 4)], [0x34, 0x12]);
        assert_eq!([read(&mut dma, 0xc6), read(&mut dma, 0xc6)], [0xff, 0x01]);
    }

    #[test]
    fn pages_and_masks_are_kept_and_a_master_clear_masks_all() {
        let mut dma = Dma::new();
        out(&mut dma, 0x81, 0x5a);
        assert_eq!(read(&mut dma, 0x81), 0x5a);
        out(&mut dma, 0x0a, 2);
        assert_eq!(read(&mut dma, 0x0f), 0xfb);
        out(&mut dma, 0x0d, 0);
        assert_eq!(read(&mut dma, 0x0f), 0xff);
        assert_eq!(read(&mut dma, 0x08), 0);
    }
}
