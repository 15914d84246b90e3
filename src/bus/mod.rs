//! The words that the CPU and the devices share: access sizes, interrupt wires, message
//! interrupts and guest time. This layer imports nothing of the crate.

mod clock;
mod irq;
mod message;
mod size;

pub use clock::{NEVER, PAUSE_TICKS, PORT_ACCESS_TICKS, TICKS_PER_SECOND, Tick, rescale};
pub use irq::{IrqLines, IsaIrq, PciSlot, Wire};
pub use message::{Message, Messages};
pub use size::Size;
