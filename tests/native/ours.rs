//! Runs one instruction on our CPU, in flat 64-bit mode at the host's own addresses.

use cowbox::bus::{NEVER, Size, Tick};
use cowbox::cpu::decode::lower;
use cowbox::cpu::segment::{Attributes, CS};
use cowbox::cpu::{
    Bus, CodeSize, Core, Cpu, DataSegments, Event, Segment, Signals, cr0, cr4, efer,
};
use cowbox::memory::{Memory, PAGE_SIZE, PhysAddr};
use iced_x86::{Instruction, RflagsBits};

use super::state::{MEMORY_BYTES, Outcome, State, WINDOW, memory_address};

/// A board with nothing on it.
struct EmptyBoard;

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

pub(crate) struct Machine {
    cpu: Cpu,
    memory: Memory,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let mut memory = Memory::new(PAGE_SIZE).expect("a page of memory");
        memory.map.map_ram(memory_address(), MEMORY_BYTES, 0);
        let mut cpu = Cpu::at_reset();
        cpu.cr0 = cr0::PE | cr0::NE | cr0::ET;
        cpu.cr4 = cr4::OSFXSR | cr4::OSXMMEXCPT | cr4::PAE;
        cpu.msr.efer = efer::LME | efer::LMA;
        cpu.segments[usize::from(CS)] = Segment::new(0x33, 0, u32::MAX, Attributes(0xa0fb));
        cpu.refresh_mode();
        Self { cpu, memory }
    }

    /// Runs `instruction` from `before`.
    pub(crate) fn run(&mut self, instruction: &Instruction, before: &State) -> Outcome {
        let window = memory_address() + MEMORY_BYTES / 2 - WINDOW / 2;
        self.memory.write(window, &before.memory);
        for (n, value) in (0..16).zip(before.general) {
            self.cpu.regs.set(n, value);
        }
        for (n, value) in (0..16).zip(before.xmm) {
            self.cpu.sse.set(n, value);
        }
        for (n, value) in (0..8).zip(before.mmx) {
            self.cpu.fpu.set_mmx(n, value);
        }
        self.cpu.flags.set_bits(before.flags as u32);
        let op = lower(instruction, &[], CodeSize::Bits64, DataSegments::Flat);
        let mut core = Core {
            cpu: &mut self.cpu,
            memory: &mut self.memory,
            bus: &mut EmptyBoard,
        };
        if (op.run)(&mut core, &op).is_err() {
            return match self.cpu.event {
                Event::Exception { vector, .. } => Outcome::Fault(vector),
                _ => Outcome::Fault(u8::MAX),
            };
        }
        let mut after = before.clone();
        self.memory.read(window, &mut after.memory);
        after.general = std::array::from_fn(|n| self.cpu.regs.get(n as u8));
        after.xmm = self.cpu.sse.xmm;
        after.mmx = std::array::from_fn(|n| self.cpu.fpu.mmx(n as u8));
        after.flags = u64::from(self.cpu.flags.bits());
        Outcome::Done(Box::new(after))
    }
}

/// The flags that the manual leaves undefined after an instruction.
pub(crate) fn undefined_flags(instruction: &Instruction) -> u64 {
    let undefined = instruction.rflags_undefined();
    let pairs = [
        (RflagsBits::CF, 0),
        (RflagsBits::PF, 2),
        (RflagsBits::AF, 4),
        (RflagsBits::ZF, 6),
        (RflagsBits::SF, 7),
        (RflagsBits::OF, 11),
    ];
    let set = pairs.iter().filter(|(bit, _)| undefined & bit != 0);
    set.fold(0, |mask, (_, place)| mask | 1 << place)
}
