//! Modes, interrupts, system instructions and repeated string instructions, on a bare CPU.

mod bench;
mod blocks;
mod interrupts;
mod privilege;
mod strings;
