//! Runs one instruction on our CPU at privilege 3, in a guest whose memory, code and segments lie
//! where the host's do.
//!
//! Pages are mapped to themselves, and the IDT is empty. All code but the instruction is HLT, which
//! is privileged: every run ends in an exception that nobody takes, and the first of a run says how
//! it went.

use std::array::from_fn;

use cowbox::cpu::fpu::soft::Float80;
use cowbox::cpu::fpu::{Fpu, LastInstruction};
use cowbox::cpu::{BlockCache, Core, Cpu, Incidents, Segment, Stop, TableRegister, cr0, cr4, efer};
use cowbox::memory::Memory;

use super::empty_board::EmptyBoard;
use super::layout::{
    CODE, CODE_BYTES, LDT, MARGIN, MARGINS, PAGE_TABLES, SCRATCH, SCRATCH_BYTES, TABLES,
    TABLES_BYTES, WINDOW_START,
};
use super::segments::{self, CODE64, CS, ENTRIES, FS, GDT, GS};
use super::state::{End, FLAGS_ALWAYS, Registers, State, image};

const HLT: u8 = 0xf4;
/// More instructions than any case takes.
const PATIENCE: u64 = 1 << 20;

/// The guest.
pub(crate) struct Machine {
    cpu: Cpu,
    memory: Memory,
    blocks: BlockCache,
    /// Where the last instruction was placed.
    placed: u64,
}

/// Page tables of four levels that map pages to themselves. Intel SDM volume 3, section 4.5.
struct PageTables<'a> {
    memory: &'a mut Memory,
    /// Where the next table goes.
    free: u64,
}

const PAGE: u64 = 0x1000;
const PRESENT_WRITABLE: u64 = 3;
const USER: u64 = 4;

impl<'a> PageTables<'a> {
    fn new(memory: &'a mut Memory) -> Self {
        Self {
            memory,
            free: PAGE_TABLES + PAGE,
        }
    }

    /// Maps `bytes` bytes at `start`, for user code too if `user` is [`USER`].
    fn map(&mut self, start: u64, bytes: u64, user: u64) {
        for page in (start..start + bytes).step_by(PAGE as usize) {
            let mut table = PAGE_TABLES;
            for shift in [39, 30, 21] {
                table = self.next_table(table + (page >> shift & 0x1ff) * 8);
            }
            let entry = page | PRESENT_WRITABLE | user;
            let at = table + (page >> 12 & 0x1ff) * 8;
            self.memory.write(at, &entry.to_le_bytes());
        }
    }

    /// The table that the entry at `at` leads to, which is made if there is none.
    fn next_table(&mut self, at: u64) -> u64 {
        let entry = u64::from_le_bytes(self.memory.read_array(at));
        if entry == 0 {
            let entry = self.free | PRESENT_WRITABLE | USER;
            self.memory.write(at, &entry.to_le_bytes());
            self.free += PAGE;
            assert!(self.free <= TABLES + TABLES_BYTES);
        }
        u64::from_le_bytes(self.memory.read_array(at)) & !(PAGE - 1)
    }
}

/// Where an instruction stands and may end, as instruction pointers.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) start: u64,
    pub(crate) behind: u64,
    pub(crate) target: Option<u64>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        // As the host: a page on both sides of the scratch memory.
        let scratch = (SCRATCH - 0x1000, SCRATCH_BYTES + 0x2000);
        let bytes = CODE_BYTES + scratch.1 + TABLES_BYTES;
        let mut memory = Memory::new(bytes).expect("some memory");
        memory.map.map_ram(CODE, CODE_BYTES, 0);
        memory.map.map_ram(scratch.0, scratch.1, CODE_BYTES);
        memory
            .map
            .map_ram(TABLES, TABLES_BYTES, CODE_BYTES + scratch.1);
        memory.write(CODE, &[HLT; CODE_BYTES as usize]);
        for (n, descriptor) in (0..).zip(GDT) {
            memory.write(TABLES + 8 * n, &descriptor.to_le_bytes());
        }
        for (n, entry) in (0..).zip(&ENTRIES) {
            memory.write(LDT + 8 * n, &entry.descriptor().to_le_bytes());
        }
        let mut pages = PageTables::new(&mut memory);
        for (start, bytes) in [(CODE, CODE_BYTES), scratch] {
            pages.map(start, bytes, USER);
        }
        pages.map(TABLES, TABLES_BYTES, 0);
        let mut cpu = Cpu::at_reset();
        cpu.cr0 = cr0::PG | cr0::PE | cr0::MP | cr0::NE | cr0::ET | cr0::AM;
        cpu.cr3 = PAGE_TABLES;
        cpu.cr4 = cr4::OSFXSR | cr4::OSXMMEXCPT | cr4::OSXSAVE | cr4::PAE | cr4::FSGSBASE;
        cpu.sse.xcr0 = 7;
        cpu.msr.efer = efer::LME | efer::LMA | efer::SCE;
        cpu.gdtr = TableRegister {
            base: TABLES,
            limit: 0x7f,
        };
        cpu.idtr = TableRegister::default();
        cpu.ldtr.base = LDT;
        cpu.ldtr.limit = 8 * ENTRIES.len() as u32 - 1;
        cpu.tr.limit = 0;
        Self {
            cpu,
            memory,
            blocks: BlockCache::default(),
            placed: CODE,
        }
    }

    /// Places an instruction at a linear address, instead of the one before.
    pub(crate) fn place(&mut self, at: u64, instruction: &[u8]) {
        self.memory.write(self.placed, &[HLT; 15]);
        self.memory.write(at, instruction);
        self.placed = at;
    }

    /// Runs the placed instruction from `before`; `after` is what came of it.
    pub(crate) fn run(&mut self, ends: Ends, before: &State, after: &mut State) -> End {
        self.memory.write(WINDOW_START, &before.memory);
        self.load(&before.registers);
        let cpu = &mut self.cpu;
        cpu.rip = ends.start;
        cpu.incidents = Incidents::default();
        let until = cpu.flow.end + PATIENCE;
        let mut core = Core {
            cpu,
            memory: &mut self.memory,
            bus: &mut EmptyBoard,
        };
        let stop = core.run(&mut self.blocks, until);
        self.memory.read(WINDOW_START, &mut after.memory);
        self.save(&mut after.registers);
        self.end(stop, ends)
    }

    /// The memory below and above the window.
    pub(crate) fn margins(&self) -> [[u8; MARGIN as usize]; 2] {
        MARGINS.map(|start| self.memory.read_array(start))
    }

    /// Makes the memory below and above the window the host's again.
    pub(crate) fn set_margins(&mut self, margins: &[[u8; MARGIN as usize]; 2]) {
        for (start, bytes) in MARGINS.iter().zip(margins) {
            self.memory.write(*start, bytes);
        }
    }

    fn load(&mut self, registers: &Registers) {
        let cpu = &mut self.cpu;
        cpu.cpl = 3;
        let is_wide = registers.selectors[CS] == CODE64;
        for (segment, &selector) in cpu.segments.iter_mut().zip(&registers.selectors) {
            *segment = segments::segment(selector);
        }
        if is_wide {
            cpu.segments[FS] = Segment::flat(0, registers.bases[0]);
            cpu.segments[GS] = Segment::flat(0, registers.bases[1]);
        }
        cpu.refresh_mode();
        for (n, value) in (0..).zip(registers.general) {
            cpu.regs.set(n, value);
        }
        cpu.flags.set_bits(registers.flags as u32);
        load_x87(&mut cpu.fpu, registers);
        cpu.sse.mxcsr = registers.mxcsr();
        cpu.sse.xmm = from_fn(|n| registers.lane(n, 0));
        cpu.sse.ymm_high = from_fn(|n| registers.lane(n, 1));
    }

    fn save(&self, registers: &mut Registers) {
        let cpu = &self.cpu;
        registers.general = from_fn(|n| cpu.regs.get(n as u8));
        registers.flags = u64::from(cpu.flags.bits()) | FLAGS_ALWAYS & 2;
        registers.bases = [FS, GS].map(|n| cpu.segments[n].base);
        registers.selectors = from_fn(|n| cpu.segments[n].selector);
        let last = &cpu.fpu.last;
        registers.set_part(image::CONTROL, cpu.fpu.control().to_le_bytes());
        registers.set_part(image::STATUS, cpu.fpu.status().to_le_bytes());
        registers.set_part(image::TAGS, [cpu.fpu.used(), 0]);
        registers.set_part(image::OPCODE, last.opcode.to_le_bytes());
        registers.set_part(image::IP, last.ip.to_le_bytes());
        registers.set_part(image::DATA, last.data.to_le_bytes());
        registers.set_part(image::MXCSR, cpu.sse.mxcsr.to_le_bytes());
        for i in 0..8 {
            let value = cpu.fpu.st(i as u8);
            registers.set_st(i, (value.sign_exponent, value.significand));
        }
        for n in 0..16 {
            registers.set_lane(n, 0, cpu.sse.xmm[n]);
            registers.set_lane(n, 1, cpu.sse.ymm_high[n]);
        }
    }

    /// What the first exception says.
    fn end(&self, stop: Stop, ends: Ends) -> End {
        let ip = self.cpu.rip;
        let Some(first) = self.cpu.incidents.iter().next() else {
            return End::Elsewhere { ip };
        };
        match first.rip {
            _ if stop != Stop::Shutdown => End::Elsewhere { ip },
            ip if ip == ends.behind => End::Behind,
            ip if Some(ip) == ends.target => End::Target,
            ip => End::fault(ends, ip, (first.vector, first.error), first.cr2),
        }
    }
}

fn load_x87(fpu: &mut Fpu, registers: &Registers) {
    let [control, status, opcode] =
        [image::CONTROL, image::STATUS, image::OPCODE].map(|at| registers.word(at));
    let [ip, data] = [image::IP, image::DATA].map(|at| u64::from_le_bytes(registers.part(at)));
    fpu.set_control(control);
    fpu.set_status(status);
    for i in 0..8 {
        let (sign_exponent, significand) = registers.st(i);
        fpu.set_st(i as u8, Float80::new(sign_exponent, significand));
    }
    fpu.set_used(registers.part::<1>(image::TAGS)[0]);
    fpu.last = LastInstruction {
        ip,
        data,
        opcode,
        ..LastInstruction::default()
    };
}
