//! A CPU with flat RAM and hardly any board: what the tests of modes, interrupts and system
//! instructions run on.
//!
//! ```text
//!   0800 GDT   0a00 TSS   1000 IDT   2000 handlers, 16 bytes each: HLT
//!   4000 the code under test   8000 stack of level 0   9000 stack of level 3
//!   10000 page tables for long mode: the first GiB onto itself, open to level 3
//! ```

use cowbox::bus::{NEVER, Size, Tick};
use cowbox::cpu::regs::RSP;
use cowbox::cpu::segment::{Attributes, CS, DS, ES, FS, GS, SS};
use cowbox::cpu::{BlockCache, Bus, Core, Cpu, Model, Segment, Signals, Stop, TableRegister};
use cowbox::cpu::{cr0, cr4, efer};
use cowbox::memory::{Memory, PhysAddr};

pub(crate) const CODE: u64 = 0x4000;
pub(crate) const STACK: u64 = 0x8000;
pub(crate) const USER_STACK: u64 = 0x9000;
pub(crate) const TSS: u64 = 0xa00;
const GDT: u64 = 0x800;
pub(crate) const IDT: u64 = 0x1000;
const HANDLERS: u64 = 0x2000;
const TABLES: u64 = 0x1_0000;
const RAM: u64 = 16 << 20;

/// Selectors of the bench's GDT.
pub(crate) const CODE_0: u16 = 0x08;
pub(crate) const DATA_0: u16 = 0x10;
pub(crate) const CODE_3: u16 = 0x1b;
pub(crate) const DATA_3: u16 = 0x23;
const TASK: u16 = 0x28;

/// No devices: ports remember what they were written.
#[derive(Debug, Default)]
pub(crate) struct Board {
    pub(crate) written: Vec<(u16, u32)>,
    pub(crate) interrupt: Option<u8>,
}

impl Bus for Board {
    fn read_port(&mut self, _: &mut Memory, _: Tick, port: u16, _: Size) -> u32 {
        u32::from(port)
    }

    fn write_port(&mut self, _: &mut Memory, _: Tick, port: u16, _: Size, value: u32) {
        self.written.push((port, value));
    }

    fn read_port_block(&mut self, _: &mut Memory, _: Tick, _: u16, _: Size, _: &mut [u8]) -> usize {
        0
    }

    fn write_port_block(&mut self, _: &mut Memory, _: Tick, _: u16, _: Size, _: &[u8]) -> usize {
        0
    }

    fn read_memory(&mut self, _: &mut Memory, _: Tick, _: PhysAddr, size: Size) -> u64 {
        size.mask()
    }

    fn write_memory(&mut self, _: &mut Memory, _: Tick, _: PhysAddr, _: Size, _: u64) {}

    fn acknowledge_interrupt(&mut self, _: &mut Memory, _: Tick) -> Option<u8> {
        self.interrupt.take()
    }

    fn acknowledge_nmi(&mut self) {}

    fn signals(&self) -> Signals {
        Signals {
            interrupt: self.interrupt.is_some(),
            nmi: false,
            deadline: NEVER,
            stop: false,
        }
    }

    fn take_remapped(&mut self) -> bool {
        false
    }

    fn apic_base(&self) -> u64 {
        0xfee0_0900
    }

    fn set_apic_base(&mut self, _: &mut Memory, _: Tick, _: u64) {}

    fn task_priority(&self) -> u8 {
        0
    }

    fn set_task_priority(&mut self, _: &mut Memory, _: Tick, _: u8) {}

    fn set_ferr(&mut self, _: &mut Memory, _: Tick, _: bool) {}
}

/// The CPU on its bench.
pub(crate) struct Bench {
    pub(crate) cpu: Cpu,
    pub(crate) memory: Memory,
    pub(crate) board: Board,
    blocks: BlockCache,
}

impl Bench {
    /// In real mode, about to run `code`; the interrupt vectors lead to the handlers.
    pub(crate) fn real(code: &[u8]) -> Self {
        let mut bench = Self::empty(code);
        for vector in 0..256 {
            let handler = (HANDLERS + vector * 16) as u32;
            bench.memory.write(vector * 4, &handler.to_le_bytes());
        }
        for index in [CS, DS, ES, SS, FS, GS] {
            bench.cpu.segments[usize::from(index)] = Segment::real(0);
        }
        bench.cpu.idtr.base = 0;
        bench
    }

    /// In flat 32-bit protected mode at level 0, with a 32-bit TSS and interrupt gates that
    /// level 3 may use.
    pub(crate) fn protected(code: &[u8]) -> Self {
        let mut bench = Self::empty(code);
        bench.cpu.cr0 = cr0::PE | cr0::ET;
        bench.write_gdt([0x00cf_9b00_0000_ffff, 0x00cf_fb00_0000_ffff]);
        for vector in 0..256 {
            let handler = HANDLERS + vector * 16;
            let gate = handler | u64::from(CODE_0) << 16 | 0xee00 << 32;
            bench.memory.write(IDT + vector * 8, &gate.to_le_bytes());
        }
        bench.write32(TSS + 4, STACK as u32);
        bench.write32(TSS + 8, u32::from(DATA_0));
        bench.enter(0);
        bench
    }

    /// In 64-bit mode at level 0, all gates 64-bit interrupt gates, the TSS likewise; the
    /// second interrupt stack is [`USER_STACK`] + 1000h.
    pub(crate) fn long(code: &[u8]) -> Self {
        let mut bench = Self::empty(code);
        bench.write64(TABLES, TABLES + 0x1000 + 7);
        bench.write64(TABLES + 0x1000, TABLES + 0x2000 + 7);
        for page in 0..512 {
            bench.write64(TABLES + 0x2000 + page * 8, (page << 21) | 0x87);
        }
        bench.cpu.cr0 = cr0::PE | cr0::PG | cr0::ET;
        bench.cpu.cr3 = TABLES;
        bench.cpu.cr4 = cr4::PAE;
        bench.cpu.msr.efer = efer::LME | efer::LMA | efer::SCE;
        bench.write_gdt([0x00af_9b00_0000_ffff, 0x00af_fb00_0000_ffff]);
        for vector in 0..256 {
            let handler = HANDLERS + vector * 16;
            let gate = handler | u64::from(CODE_0) << 16 | 0xee00 << 32;
            bench.write64(IDT + vector * 16, gate);
        }
        bench.write64(TSS + 4, STACK);
        bench.write64(TSS + 44, USER_STACK + 0x1000);
        bench.enter(0);
        bench
    }

    fn empty(code: &[u8]) -> Self {
        let mut memory = Memory::new(RAM).unwrap();
        memory.map.map_ram(0, RAM, 0);
        memory.write(CODE, code);
        for vector in 0..256 {
            memory.write(HANDLERS + vector * 16, &[0xf4]);
        }
        let mut cpu = Cpu::at_reset();
        cpu.rip = CODE;
        cpu.regs.set(RSP, STACK);
        Self {
            cpu,
            memory,
            board: Board::default(),
            blocks: BlockCache::default(),
        }
    }

    /// Makes it a CPU of another model, in the mode that it is in.
    pub(crate) fn set_model(&mut self, model: Model) {
        self.cpu.model = model;
    }

    fn write_gdt(&mut self, code: [u64; 2]) {
        let data = 0x00cf_9300_0000_ffff;
        let task = 0x0000_8b00_0000_0067 | TSS << 16;
        let user_data = data | 3 << 45;
        let entries = [0, code[0], data, code[1], user_data, task, 0];
        for (at, entry) in (GDT..).step_by(8).zip(entries) {
            self.memory.write(at, &u64::to_le_bytes(entry));
        }
        self.cpu.gdtr = TableRegister {
            base: GDT,
            limit: 0x37,
        };
        self.cpu.idtr = TableRegister {
            base: IDT,
            limit: 0xfff,
        };
        self.cpu.tr = Segment::new(TASK, TSS, 0x67, Attributes(0x8b));
    }

    /// Loads flat segments of a privilege level.
    pub(crate) fn enter(&mut self, level: u8) {
        let long = self.cpu.is_long();
        let dpl = u16::from(level) << 5;
        let (code, data) = match level {
            0 => (CODE_0, DATA_0),
            _ => (CODE_3, DATA_3),
        };
        let kind = if long { 0xa09b } else { 0xc09b };
        for index in [DS, ES, SS, FS, GS] {
            self.cpu.segments[usize::from(index)] =
                Segment::new(data, 0, u32::MAX, Attributes(0xc093 | dpl));
        }
        self.cpu.segments[usize::from(CS)] =
            Segment::new(code, 0, u32::MAX, Attributes(kind | dpl));
        let stack = if level == 0 { STACK } else { USER_STACK };
        self.cpu.regs.set(RSP, stack);
        self.cpu.set_cpl(level);
    }

    /// Runs until the CPU stops, at most a million ticks.
    pub(crate) fn run(&mut self) -> Stop {
        self.run_until(1_000_000)
    }

    /// Runs until the CPU stops, or up to a tick, from whatever state the test has set.
    pub(crate) fn run_until(&mut self, until: Tick) -> Stop {
        self.cpu.refresh_mode();
        let mut core = Core {
            cpu: &mut self.cpu,
            memory: &mut self.memory,
            bus: &mut self.board,
        };
        core.run(&mut self.blocks, until)
    }

    /// Runs until a handler's HLT, and names its vector.
    pub(crate) fn vector(&mut self) -> u64 {
        assert_eq!(self.run(), Stop::Halted);
        (self.cpu.rip - 1 - HANDLERS) / 16
    }

    pub(crate) fn reg(&self, number: u8) -> u64 {
        self.cpu.regs.get(number)
    }

    pub(crate) fn read16(&self, at: u64) -> u16 {
        u16::from_le_bytes(self.memory.read_array(at))
    }

    pub(crate) fn read32(&self, at: u64) -> u32 {
        u32::from_le_bytes(self.memory.read_array(at))
    }

    pub(crate) fn read64(&self, at: u64) -> u64 {
        u64::from_le_bytes(self.memory.read_array(at))
    }

    pub(crate) fn write32(&mut self, at: u64, value: u32) {
        self.memory.write(at, &value.to_le_bytes());
    }

    pub(crate) fn write64(&mut self, at: u64, value: u64) {
        self.memory.write(at, &value.to_le_bytes());
    }

    /// Replaces the gate of a vector in the 32-bit IDT.
    pub(crate) fn set_gate(&mut self, vector: u64, gate: u64) {
        self.write64(IDT + vector * 8, gate);
    }

    /// Maps the last 2 MiB of the addresses of 64-bit mode, to where no memory is.
    pub(crate) fn map_top(&mut self) {
        self.write64(TABLES + 511 * 8, TABLES + 0x1000 + 7);
        self.write64(TABLES + 0x1000 + 511 * 8, TABLES + 0x2000 + 7);
    }

    /// Takes away 2 MiB of the addresses of 64-bit mode.
    pub(crate) fn unmap(&mut self, page: u64) {
        self.write64(TABLES + 0x2000 + page * 8, 0);
    }

    /// Gives 2 MiB of the addresses of 64-bit mode a table of small pages, the first of which lies
    /// at `first` and the others where they were.
    pub(crate) fn map_small(&mut self, page: u64, first: u64) {
        let table = TABLES + 0x3000;
        for small in 0..512 {
            self.write64(table + small * 8, (page << 21) + (small << 12) + 7);
        }
        self.write64(table, first + 7);
        self.write64(TABLES + 0x2000 + page * 8, table + 7);
        self.cpu.tlb.flush();
        self.cpu.flow.forget_fetch_page();
    }

    /// Has every instruction decoded anew.
    pub(crate) fn forget_blocks(&mut self) {
        self.blocks.clear(&mut Core {
            cpu: &mut self.cpu,
            memory: &mut self.memory,
            bus: &mut self.board,
        });
    }

    /// Sets the interrupt stack that the 64-bit gate of a vector uses.
    pub(crate) fn set_interrupt_stack(&mut self, vector: u64, stack: u8) {
        self.memory.write(IDT + vector * 16 + 4, &[stack]);
    }
}
