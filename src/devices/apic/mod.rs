//! The APICs: the local one beside the CPU, and the IOAPIC that collects the wires.

mod ioapic;
mod local;
#[cfg(test)]
mod tests;
mod timer;
mod vectors;

pub use ioapic::IoApic;
pub use local::{Accepted, LocalApic};
