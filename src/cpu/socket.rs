//! What a CPU needs of the board it is plugged into.
//!
//! The CPU reaches plain memory by itself; everything else (ports, memory-mapped registers,
//! interrupt acknowledge, the local APIC behind its MSRs and CR8) goes through [`Bus`], which
//! the board implements. Every call carries the exact tick of the instruction.

use crate::bus::{Size, Tick};
use crate::memory::{Memory, PhysAddr};

/// What the board wants of the CPU. The CPU asks after each bus access and at each deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signals {
    /// The INTR pin: an interrupt controller has a vector to deliver.
    pub interrupt: bool,
    /// The NMI pin, as an edge that [`Bus::acknowledge_nmi`] takes.
    pub nmi: bool,
    /// The CPU has to come back to the machine no later than this tick.
    pub deadline: Tick,
    /// The machine has to act before the next instruction (reset, power off, host request).
    pub stop: bool,
}

/// The board, as the CPU sees it.
pub trait Bus {
    /// Reads `size` (up to a dword) from an I/O port.
    fn read_port(&mut self, memory: &mut Memory, now: Tick, port: u16, size: Size) -> u32;

    /// Writes `size` (up to a dword) to an I/O port.
    fn write_port(&mut self, memory: &mut Memory, now: Tick, port: u16, size: Size, value: u32);

    /// Reads elements of `size` from one port in bulk, as repeated INS would one at a time
    /// with [`crate::bus::PORT_ACCESS_TICKS`] + 1 ticks between them; returns how many
    /// elements it filled. Zero: this port moves one element at a time.
    fn read_port_block(
        &mut self,
        memory: &mut Memory,
        now: Tick,
        port: u16,
        size: Size,
        into: &mut [u8],
    ) -> usize;

    /// Writes elements of `size` to one port in bulk; the counterpart of
    /// [`Bus::read_port_block`].
    fn write_port_block(
        &mut self,
        memory: &mut Memory,
        now: Tick,
        port: u16,
        size: Size,
        from: &[u8],
    ) -> usize;

    /// Reads `size` at a physical address that is not plain memory.
    fn read_memory(&mut self, memory: &mut Memory, now: Tick, at: PhysAddr, size: Size) -> u64;

    /// Writes `size` at a physical address that is not writable plain memory.
    fn write_memory(
        &mut self,
        memory: &mut Memory,
        now: Tick,
        at: PhysAddr,
        size: Size,
        value: u64,
    );

    /// The interrupt acknowledge cycle: takes the highest-priority vector. `None` if the
    /// request is gone and no spurious vector is due.
    fn acknowledge_interrupt(&mut self, memory: &mut Memory, now: Tick) -> Option<u8>;

    /// Takes the NMI edge.
    fn acknowledge_nmi(&mut self);

    /// What the board wants now.
    fn signals(&self) -> Signals;

    /// Whether the physical address map changed since the last call: TLB and decoded blocks
    /// are stale then.
    fn take_remapped(&mut self) -> bool;

    /// IA32_APIC_BASE (MSR 1Bh).
    fn apic_base(&self) -> u64;

    /// Writes IA32_APIC_BASE; the reserved bits were checked by the CPU.
    fn set_apic_base(&mut self, memory: &mut Memory, now: Tick, value: u64);

    /// The local APIC's task priority class, as CR8 shows it: bits 7..4 of the TPR.
    fn task_priority(&self) -> u8;

    /// Writes the task priority class.
    fn set_task_priority(&mut self, memory: &mut Memory, now: Tick, class: u8);

    /// Drives FERR#, which the board wires to IRQ 13 (CR0.NE = 0).
    fn set_ferr(&mut self, memory: &mut Memory, now: Tick, asserted: bool);
}
