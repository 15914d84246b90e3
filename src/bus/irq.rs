//! Interrupt wires between devices and interrupt controllers.
//!
//! A device pulls a wire up or down; the board carries the change to the 8259s and the
//! IOAPIC after the access. Edges are recorded, so that a pulse inside one access is seen.

use serde::{Deserialize, Serialize};

/// One of the sixteen ISA interrupt requests, 0 to 15.
pub type IsaIrq = u8;

/// A device number on PCI bus 0, 0 to 31.
pub type PciSlot = u8;

/// A wire that one device drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// An ISA interrupt request line.
    Isa(IsaIrq),
    /// The INTA# pin of the device in a PCI slot (active level: asserted is `true`).
    IntA(PciSlot),
    /// A pin of the IOAPIC that no ISA interrupt shares, 16 to 23.
    Pin(u8),
}

impl Wire {
    /// The wire's bit in the masks of [`IrqLines`]: ISA 0 to 15, PCI slots from 16, IOAPIC
    /// pins from 48.
    pub const fn bit(self) -> u64 {
        match self {
            Self::Isa(irq) => 1 << (irq & 15),
            Self::IntA(slot) => 1 << (16 + (slot & 31)),
            Self::Pin(pin) => 1 << (48 + (pin & 7)),
        }
    }
}

/// The level of every wire, and which wires moved since the board last looked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct IrqLines {
    level: u64,
    rose: u64,
    fell: u64,
}

impl IrqLines {
    /// Drives `wire`. Setting the level that it has already changes nothing.
    pub fn set(&mut self, wire: Wire, asserted: bool) {
        let bit = wire.bit();
        match (self.level & bit != 0, asserted) {
            (false, true) => {
                self.level |= bit;
                self.rose |= bit;
            }
            (true, false) => {
                self.level &= !bit;
                self.fell |= bit;
            }
            _ => {}
        }
    }

    /// The levels now, a bit for each [`Wire::bit`].
    pub fn levels(&self) -> u64 {
        self.level
    }

    /// Whether any wire moved since [`IrqLines::take_edges`].
    pub fn moved(&self) -> bool {
        (self.rose | self.fell) != 0
    }

    /// The wires that rose and those that fell since the last call; both for a pulse.
    pub fn take_edges(&mut self) -> (u64, u64) {
        (
            std::mem::take(&mut self.rose),
            std::mem::take(&mut self.fell),
        )
    }
}
