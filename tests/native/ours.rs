//! Runs one instruction on our CPU, in flat 64-bit mode at the host's own addresses.

use cowbox::cpu::decode::lower;
use cowbox::cpu::fpu::Fpu;
use cowbox::cpu::segment::{Attributes, CS};
use cowbox::cpu::{CodeSize, Core, Cpu, DataSegments, Event, Segment, cr0, cr4, efer};
use cowbox::memory::{Memory, PAGE_SIZE};
use iced_x86::{Instruction, RflagsBits};

use super::empty_board::EmptyBoard;
use super::state::{MEMORY_BYTES, Outcome, State, memory_address, window_address};

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
        cpu.cr4 = cr4::OSFXSR | cr4::OSXMMEXCPT | cr4::OSXSAVE | cr4::PAE;
        cpu.sse.xcr0 = 7;
        cpu.msr.efer = efer::LME | efer::LMA;
        cpu.segments[usize::from(CS)] = Segment::new(0x33, 0, u32::MAX, Attributes(0xa0fb));
        cpu.refresh_mode();
        Self { cpu, memory }
    }

    /// Runs `instruction` from `before`.
    pub(crate) fn run(&mut self, instruction: &Instruction, before: &State) -> Outcome {
        let window = window_address();
        self.memory.write(window, &before.memory);
        for (n, value) in (0..16).zip(before.general) {
            self.cpu.regs.set(n, value);
        }
        for (n, value) in (0..16).zip(before.ymm) {
            self.cpu.sse.set_ymm(n, value);
        }
        self.cpu.sse.mxcsr = before.mxcsr;
        self.cpu.fpu = Fpu::default();
        self.cpu.fpu.init();
        self.cpu.fpu.enter_mmx();
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
        let fault = match (op.run)(&mut core, &op, &[]) {
            Ok(_) => None,
            Err(_) => Some(match self.cpu.event {
                Event::Exception { vector, .. } => vector,
                _ => u8::MAX,
            }),
        };
        let mut after = before.clone();
        self.memory.read(window, &mut after.memory);
        after.general = std::array::from_fn(|n| self.cpu.regs.get(n as u8));
        after.ymm = std::array::from_fn(|n| self.cpu.sse.ymm(n as u8));
        after.mxcsr = self.cpu.sse.mxcsr;
        after.mmx = std::array::from_fn(|n| self.cpu.fpu.mmx(n as u8));
        after.flags = u64::from(self.cpu.flags.bits());
        Outcome {
            fault,
            state: after,
        }
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
