//! One instruction at a time in a bare 64-bit guest: flat memory, no paging, no devices.

use cowbox::cpu::segment::{Attributes, CS};
use cowbox::cpu::{BlockCache, Core, Cpu, Segment, Stop, cr0, cr4, efer};
use cowbox::memory::Memory;

use crate::empty_board::EmptyBoard;

/// Where the instruction goes.
const CODE: u64 = 0x1000;

/// Where [`Guest::data`] lies; a page on its own.
pub(crate) const DATA: u64 = 0x3000;

/// A CPU with a little memory.
pub(crate) struct Guest {
    pub(crate) cpu: Cpu,
    memory: Memory,
    blocks: BlockCache,
}

/// How an instruction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It retired.
    Done,
    /// It raised something, or nobody implements it.
    Stopped,
}

impl Guest {
    pub(crate) fn new() -> Self {
        let mut memory = Memory::new(0x8000).expect("32 KiB of memory");
        memory.map.map_ram(0, 0x8000, 0);
        let mut cpu = Cpu::at_reset();
        for segment in &mut cpu.segments {
            *segment = Segment::flat(0x10, 0);
        }
        cpu.segments[usize::from(CS)] = Segment::new(8, 0, u32::MAX, Attributes(0xa09b));
        cpu.cr0 = cr0::PE | cr0::ET | cr0::NE;
        cpu.cr4 = cr4::OSFXSR | cr4::OSXMMEXCPT;
        cpu.msr.efer = efer::LME | efer::LMA;
        cpu.refresh_mode();
        Self {
            cpu,
            memory,
            blocks: BlockCache::default(),
        }
    }

    /// Places `instruction` where [`Guest::step`] runs it.
    pub(crate) fn place(&mut self, instruction: &[u8]) {
        self.memory.write(CODE, instruction);
    }

    /// Runs the placed instruction once.
    pub(crate) fn step(&mut self) -> End {
        self.cpu.rip = CODE;
        let until = self.cpu.flow.end + 1;
        let mut core = Core {
            cpu: &mut self.cpu,
            memory: &mut self.memory,
            bus: &mut EmptyBoard,
        };
        match core.run(&mut self.blocks, until) {
            Stop::Deadline => End::Done,
            _ => End::Stopped,
        }
    }

    /// Bytes of guest memory at [`DATA`].
    pub(crate) fn data<const N: usize>(&self) -> [u8; N] {
        self.memory.read_array(DATA)
    }

    pub(crate) fn set_data(&mut self, bytes: &[u8]) {
        self.memory.write(DATA, bytes);
    }
}
