//! Delivery of interrupts and exceptions (Intel SDM volume 3, chapter 6).

use super::fault::Event;
use super::{Core, Exec};

/// What is delivered through the interrupt table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// An exception of the running instruction.
    Exception {
        /// The vector.
        vector: u8,
        /// The error code, where the vector has one.
        error: Option<u32>,
    },
    /// INT n, INTO or INT3: the gate's privilege is checked.
    Software(u8),
    /// A maskable interrupt.
    External(u8),
    /// A non-maskable interrupt.
    Nmi,
}

impl Core<'_> {
    /// Transfers control to the handler of `delivery`.
    pub(crate) fn deliver(&mut self, _delivery: Delivery) -> Exec {
        Err(self.raise(Event::Shutdown))
    }
}
