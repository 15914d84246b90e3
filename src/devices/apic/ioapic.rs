//! The 82093AA IOAPIC at FEC00000h: turns the levels of 24 pins into interrupt messages.
//!
//! Pins 0 to 15 carry the ISA requests (IRQ 0 comes in at pin 2), 16 to 23 are for devices
//! that name a global system interrupt.
//!
//! Source: Intel 82093AA datasheet (290566).

use serde::{Deserialize, Serialize};

use super::super::{Cx, Mmio};
use crate::bus::{Message, Messages, Size};

const PINS: u8 = 24;
const VERSION: u32 = 0x0017_0011;
const ID: u32 = 0;

const DELIVERY_STATUS: u64 = 1 << 12;
const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;

/// The IOAPIC.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IoApic {
    select: u8,
    id: u32,
    pins: [Pin; PINS as usize],
}

/// A pin and its redirection table entry.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Pin {
    asserted: bool,
    entry: u64,
}

impl Default for IoApic {
    fn default() -> Self {
        Self::new()
    }
}

impl IoApic {
    /// Where the registers lie.
    pub const BASE: u64 = 0xfec0_0000;

    /// The IOAPIC after reset: every pin masked.
    pub fn new() -> Self {
        let pin = Pin {
            asserted: false,
            entry: MASKED,
        };
        Self {
            select: 0,
            id: ID,
            pins: [pin; PINS as usize],
        }
    }

    /// Drives a pin (active level: asserted is `true`, whatever the polarity bit says).
    pub fn set_pin(&mut self, pin: u8, asserted: bool, messages: &mut Messages) {
        let Some(pin) = self.pins.get_mut(usize::from(pin)) else {
            return;
        };
        let rises = asserted && !pin.asserted;
        pin.asserted = asserted;
        if rises && pin.entry & LEVEL == 0 {
            // An edge at a masked pin is lost (datasheet, section 3.2.4).
            if pin.entry & MASKED == 0 {
                messages.push(pin.message());
            }
        } else {
            pin.service_level(messages);
        }
    }

    /// The EOI broadcast of a local APIC for `vector`.
    pub fn end_of_interrupt(&mut self, vector: u8, messages: &mut Messages) {
        for pin in &mut self.pins {
            if pin.entry & LEVEL != 0 && pin.entry.to_le_bytes()[0] == vector {
                pin.entry &= !REMOTE_IRR;
                pin.service_level(messages);
            }
        }
    }

    fn read_register(&self) -> u32 {
        match self.select {
            0x00 | 0x02 => self.id << 24,
            0x01 => VERSION,
            index => match self.pins.get(pin_of(index)) {
                Some(pin) => {
                    let [low, high] = halves(pin.entry);
                    if index & 1 == 0 { low } else { high }
                }
                None => 0,
            },
        }
    }

    fn write_register(&mut self, value: u32, messages: &mut Messages) {
        if self.select == 0 {
            self.id = value >> 24 & 15;
            return;
        }
        let Some(pin) = self.pins.get_mut(pin_of(self.select)) else {
            return;
        };
        let [low, high] = halves(pin.entry);
        let read_only = DELIVERY_STATUS | REMOTE_IRR;
        let written = if self.select & 1 == 0 {
            joined(value & 0x0001_ffff, high)
        } else {
            joined(low, value & 0xff00_0000)
        };
        pin.entry = written & !read_only | pin.entry & read_only;
        if pin.entry & LEVEL == 0 {
            pin.entry &= !REMOTE_IRR;
        }
        pin.service_level(messages);
    }
}

impl Pin {
    /// Sends a level-triggered interrupt that waits for nothing but the pin.
    fn service_level(&mut self, messages: &mut Messages) {
        let ready = self.entry & (LEVEL | MASKED | REMOTE_IRR) == LEVEL;
        if self.asserted && ready {
            self.entry |= REMOTE_IRR;
            messages.push(self.message());
        }
    }

    /// The entry as a message: destination and its mode in the address, the rest in the data.
    fn message(&self) -> Message {
        let destination = self.entry >> 56;
        let logical = self.entry >> 11 & 1;
        let [low, _] = halves(self.entry);
        Message {
            address: 0xfee0_0000 | destination << 12 | logical << 2,
            data: low & 0x87ff,
        }
    }
}

/// The pin whose entry a register index from 10h on is half of.
fn pin_of(index: u8) -> usize {
    usize::from(index).wrapping_sub(0x10) / 2
}

fn halves(entry: u64) -> [u32; 2] {
    [(entry & 0xffff_ffff) as u32, (entry >> 32) as u32]
}

fn joined(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

impl Mmio for IoApic {
    fn read(&mut self, _cx: &mut Cx<'_>, offset: u64, _size: Size) -> u64 {
        match offset & 0xff {
            0x00 => self.select.into(),
            0x10 => self.read_register().into(),
            _ => 0,
        }
    }

    fn write(&mut self, cx: &mut Cx<'_>, offset: u64, _size: Size, value: u64) {
        match offset & 0xff {
            0x00 => self.select = value.to_le_bytes()[0],
            0x10 => {
                let [value, _] = halves(value);
                self.write_register(value, cx.messages);
            }
            _ => {}
        }
    }
}
