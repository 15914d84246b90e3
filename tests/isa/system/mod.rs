//! Modes, interrupts, system instructions, extended state and repeated string instructions, on a
//! bare CPU.

pub(crate) mod bench;
mod blocks;
mod extended;
mod interrupts;
mod memory;
mod privilege;
mod strings;
