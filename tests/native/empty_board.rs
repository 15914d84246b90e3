//! A board without devices, for instructions that touch none: ports and unmapped memory read as
//! ones, and nothing interrupts.

use cowbox::bus::{NEVER, Size, Tick};
use cowbox::cpu::{Bus, Signals};
use cowbox::memory::{Memory, PhysAddr};

/// The board.
pub(crate) struct EmptyBoard;

impl Bus for EmptyBoard {
    fn read_port(&mut self, _: &mut Memory, _: Tick, _: u16, _: Size) -> u32 {
        u32::MAX
    }

    fn write_port(&mut self, _: &mut Memory, _: Tick, _: u16, _: Size, _: u32) {}

    fn read_port_block(&mut self, _: &mut Memory, _: Tick, _: u16, _: Size, _: &mut [u8]) -> usize {
        0
    }

    fn write_port_block(&mut self, _: &mut Memory, _: Tick, _: u16, _: Size, _: &[u8]) -> usize {
        0
    }

    fn read_memory(&mut self, _: &mut Memory, _: Tick, _: PhysAddr, _: Size) -> u64 {
        u64::MAX
    }

    fn write_memory(&mut self, _: &mut Memory, _: Tick, _: PhysAddr, _: Size, _: u64) {}

    fn acknowledge_interrupt(&mut self, _: &mut Memory, _: Tick) -> Option<u8> {
        None
    }

    fn acknowledge_nmi(&mut self) {}

    fn signals(&self) -> Signals {
        Signals {
            interrupt: false,
            nmi: false,
            deadline: NEVER,
            stop: false,
        }
    }

    fn take_remapped(&mut self) -> bool {
        false
    }

    fn apic_base(&self) -> u64 {
        0
    }

    fn set_apic_base(&mut self, _: &mut Memory, _: Tick, _: u64) {}

    fn task_priority(&self) -> u8 {
        0
    }

    fn set_task_priority(&mut self, _: &mut Memory, _: Tick, _: u8) {}

    fn set_ferr(&mut self, _: &mut Memory, _: Tick, _: bool) {}
}
