//! Our CPU as the chip under test: memory all around, no devices.

use cowbox::cpu::regs::{RAX, RBP, RBX, RCX, RDI, RDX, RSI, RSP};
use cowbox::cpu::segment::{CS, DS, ES, SS};
use cowbox::cpu::{BlockCache, Core, Cpu, Event, Model, Segment, Stop};
use cowbox::memory::{Memory, PAGE_SIZE};

use super::empty_board::EmptyBoard;
use super::moo::{self, REGISTERS, Test};

/// The most ticks that a repeated instruction takes here.
const MOST_TICKS: u64 = 0x1_0000;

pub(crate) struct Chip {
    model: Model,
    cpu: Cpu,
    blocks: BlockCache,
    memory: Memory,
}

impl Chip {
    /// A chip with as much memory as it can address.
    pub(crate) fn new(model: Model) -> Self {
        let bytes = model.traits().linear_mask + 1;
        let mut memory = Memory::new(bytes).expect("at most 16 MiB of memory");
        memory.map.map_ram(0, bytes, 0);
        Self {
            model,
            cpu: Cpu::new(model),
            blocks: BlockCache::default(),
            memory,
        }
    }

    /// Runs the instruction of `test`, from its state before to ours after.
    pub(crate) fn run(&mut self, test: &Test) -> Result<[u16; 14], String> {
        for &(address, byte) in &test.before.memory {
            self.memory.write(address.into(), &[byte]);
        }
        let now = self.cpu.flow.end;
        self.cpu = Cpu::new(self.model);
        self.cpu.flow.end = now;
        self.set_registers(test);
        let from = self.registers();
        let deadline = now + MOST_TICKS;
        while self.cpu.flow.end < deadline {
            let until = self.cpu.flow.end + 1;
            let mut core = Core {
                cpu: &mut self.cpu,
                memory: &mut self.memory,
                bus: &mut EmptyBoard,
            };
            match core.run(&mut self.blocks, until) {
                Stop::Deadline | Stop::Halted => {}
                Stop::Shutdown if self.cpu.event == Event::Shutdown => {
                    return Err("shut down".into());
                }
                stop => return Err(format!("{stop:?}")),
            }
            let now = self.registers();
            if !is_repeated(test) || now[moo::IP] != from[moo::IP] {
                return Ok(now);
            }
        }
        Err("does not end".into())
    }

    /// A byte of memory.
    pub(crate) fn byte(&self, address: u32) -> u8 {
        let [byte] = self.memory.read_array(address.into());
        byte
    }

    /// Clears what `test` and the instruction wrote.
    pub(crate) fn clear(&mut self, test: &Test) {
        for &(address, _) in test.before.memory.iter().chain(&test.after.memory) {
            self.memory.write(address.into(), &[0]);
        }
    }

    /// An address of memory that is not zero.
    pub(crate) fn stray(&self) -> Option<u64> {
        let mut pages = self.memory.pages.written_pages();
        pages.find_map(|page| {
            let bytes: [u8; PAGE_SIZE as usize] = self.memory.read_array(page);
            let at = bytes.iter().position(|&byte| byte != 0)?;
            Some(page + at as u64)
        })
    }

    fn set_registers(&mut self, test: &Test) {
        let [ax, bx, cx, dx, cs, ss, ds, es, sp, bp, si, di, ip, flags] =
            test.before.registers.map(Option::unwrap_or_default);
        let general = [
            (RAX, ax),
            (RBX, bx),
            (RCX, cx),
            (RDX, dx),
            (RSP, sp),
            (RBP, bp),
            (RSI, si),
            (RDI, di),
        ];
        for (register, value) in general {
            self.cpu.regs.write(register, value);
        }
        for (index, selector) in [(CS, cs), (SS, ss), (DS, ds), (ES, es)] {
            self.cpu.segments[usize::from(index)] = Segment::real(selector);
        }
        self.cpu.rip = ip.into();
        // What the chip was loaded with; some of it does not stick.
        let writable = self.model.traits().real_mode_flags;
        self.cpu.flags.set_bits(u32::from(flags) & writable);
        self.cpu.refresh_mode();
    }

    fn registers(&self) -> [u16; REGISTERS.len()] {
        let general = |n| self.cpu.regs.read::<u16>(n);
        let selector = |index| self.cpu.segment(index).selector;
        let flags = self.cpu.flags.bits() | self.model.traits().fixed_flags;
        [
            general(RAX),
            general(RBX),
            general(RCX),
            general(RDX),
            selector(CS),
            selector(SS),
            selector(DS),
            selector(ES),
            general(RSP),
            general(RBP),
            general(RSI),
            general(RDI),
            self.cpu.rip as u16,
            flags as u16,
        ]
    }
}

/// Whether the instruction is a repeated one, which may need more than one turn.
fn is_repeated(test: &Test) -> bool {
    let mut bytes = test.bytes.iter();
    let mut repeats = false;
    let opcode = bytes.find(|&&byte| {
        repeats |= matches!(byte, 0xf2 | 0xf3);
        !matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0xf0..=0xf3)
    });
    repeats && matches!(opcode, Some(0x6c..=0x6f | 0xa4..=0xa7 | 0xaa..=0xaf))
}
