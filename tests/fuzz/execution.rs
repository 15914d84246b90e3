//! Bytes executed as guest code on a whole board, with tables and registers drawn from a seed:
//! whatever they are, the CPU and the devices go on, stop for a reason, or raise what the guest
//! has to handle. Nothing panics, everything ends, and what the guest may not write stays.
//!
//! ```text
//!   00000  interrupt vectors of real mode      05000  page tables, root first
//!   01000  GDT   02000  IDT                    10000  the code
//!   03000  TSS   04000  LDT                    20000  data, and the stack below 30000
//! ```
//!
//! A table is what a system would have there, with some of its words changed, or nothing but
//! random words. Page tables map every address somewhere into the first 2 MiB.

use std::time::{Duration, Instant};

use cowbox::cpu::segment::{Attributes, CS, SS};
use cowbox::cpu::{BlockCache, Core, Cpu, Segment, Stop, cr0, cr4, efer, flags};
use cowbox::machine::board::{Board, BoardConfig, Drives, Roms};
use cowbox::memory::{Memory, PAGE_SIZE, PhysAddr};

const RAM_BYTES: u64 = 2 << 20;
const GDT: u64 = 0x1000;
const IDT: u64 = 0x2000;
const TSS: u64 = 0x3000;
const LDT: u64 = 0x4000;
const PAGE_TABLES: u64 = 0x5000;
const CODE: u64 = 0x1_0000;
/// So much of a program is executed.
pub(crate) const MAX_CODE: usize = 0x1000;
const STACK_TOP: u64 = 0x3_0000;
/// What nobody may write.
const ROM: [u8; PAGE_SIZE as usize] = [0x5a; PAGE_SIZE as usize];
const ROM_AT: PhysAddr = 0x1_0000_0000 - PAGE_SIZE;

/// Ticks between two looks at whether enough was executed; shorter than one port access, so that
/// a slice that ends in time has executed as many instructions and iterations as ticks.
const SLICE: u64 = 256;
/// One in so many programs finds the devices reset, the others as the one before left them.
const RESETS: u64 = 16;
/// Slices of a program that does nothing but port accesses.
const SLICES: usize = 50;
/// Nothing takes this long, on the busiest host.
const PATIENCE: Duration = Duration::from_secs(10);

/// The modes of operation (Intel SDM volume 3, section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Real,
    Virtual8086,
    Protected { big: bool, paging: Paging },
    Compatibility,
    Long,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Paging {
    Off,
    Bits32,
    Pae,
}

const MODES: [Mode; 10] = [
    Mode::Real,
    Mode::Virtual8086,
    protected(false, Paging::Off),
    protected(false, Paging::Bits32),
    protected(false, Paging::Pae),
    protected(true, Paging::Off),
    protected(true, Paging::Bits32),
    protected(true, Paging::Pae),
    Mode::Compatibility,
    Mode::Long,
];

const fn protected(big: bool, paging: Paging) -> Mode {
    Mode::Protected { big, paging }
}

/// Code, and what it finds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program<'a> {
    mode: Mode,
    privileged: bool,
    seed: u64,
    code: &'a [u8],
}

impl<'a> Program<'a> {
    /// A program as bytes: the mode, a seed, code. `None`: too short.
    pub(crate) fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        let (&mode, rest) = bytes.split_first()?;
        let (seed, code) = rest.split_first_chunk()?;
        Some(Self {
            mode: MODES[usize::from(mode >> 1) % MODES.len()],
            privileged: mode & 1 == 0,
            seed: u64::from_le_bytes(*seed),
            code: &code[..code.len().min(MAX_CODE)],
        })
    }

    /// The default operand size of the code, in bits.
    pub(crate) fn bits(&self) -> u32 {
        match self.mode {
            Mode::Real | Mode::Virtual8086 | Mode::Protected { big: false, .. } => 16,
            Mode::Protected { big: true, .. } | Mode::Compatibility => 32,
            Mode::Long => 64,
        }
    }
}

/// A small generator (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 32) % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Small, near the code or the data, or anything.
    fn register(&mut self) -> u64 {
        match self.below(8) {
            0 => self.next(),
            1 => self.next() as u32 as u64,
            2 | 3 => self.below(0x40).wrapping_sub(8),
            _ => CODE + self.below(STACK_TOP - CODE),
        }
    }
}

/// A machine that executes one program after the other.
pub(crate) struct Bench {
    board: Board,
    memory: Memory,
    blocks: BlockCache,
    cpu: Cpu,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let roms = Roms {
            bios: &ROM,
            vga_bios: &[],
        };
        let config = BoardConfig::new(RAM_BYTES, 0);
        let (board, memory) = Board::new(config, roms, Drives::default()).expect("2 MiB of memory");
        Self {
            board,
            memory,
            blocks: BlockCache::default(),
            cpu: Cpu::at_reset(),
        }
    }

    /// Executes 256 instructions of `program`, or fewer if they access ports, or if something
    /// stops the CPU before: the result.
    pub(crate) fn execute(&mut self, program: &Program<'_>) -> Stop {
        let begin = Instant::now();
        self.prepare(program);
        let mut stop = Stop::Deadline;
        for _ in 0..SLICES {
            let until = self.cpu.now() + SLICE;
            stop = self.run(until);
            if stop != Stop::Deadline || self.cpu.now() == until {
                break;
            }
        }
        let ip = self.cpu.rip;
        assert_ne!(
            stop,
            Stop::Unimplemented,
            "claimed and not implemented, at {ip:#x}"
        );
        if stop == Stop::Requested {
            self.reset();
        }
        let outlet = self.board.outlet();
        outlet.serial.clear();
        outlet.debug.clear();
        outlet.misuse.clear();
        assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
        stop
    }

    fn run(&mut self, until: u64) -> Stop {
        loop {
            let now = self.cpu.now();
            self.board.advance(&mut self.memory, now);
            let mut core = Core {
                cpu: &mut self.cpu,
                memory: &mut self.memory,
                bus: &mut self.board,
            };
            let stop = core.run(&mut self.blocks, until);
            if stop != Stop::Deadline || self.cpu.now() >= until {
                return stop;
            }
        }
    }

    /// The reset line of the board.
    fn reset(&mut self) {
        let now = self.cpu.now();
        self.board.reset(&mut self.memory, now);
    }

    /// Whether what nobody may write is as it was.
    pub(crate) fn assert_intact(&mut self) {
        self.reset();
        let mut found = [0; ROM.len()];
        self.memory.read(ROM_AT, &mut found);
        assert_eq!(found, ROM, "the ROM changed");
    }

    fn prepare(&mut self, program: &Program<'_>) {
        if program.seed.is_multiple_of(RESETS) {
            self.reset();
        }
        self.cpu.reset();
        let mut random = Random(program.seed);
        self.put_words(0, 0x400 / 8, &mut random, |_| {
            CODE >> 4 << 16 | CODE >> 4 << 48
        });
        self.put_descriptors(program, &mut random);
        self.put_page_tables(program.mode, &mut random);
        self.memory.write(CODE, &[0x90; MAX_CODE]);
        self.memory.write(CODE, program.code);
        set_control(&mut self.cpu, program.mode, &mut random);
        self.cpu.pdptes = [0, 1, 2, 3].map(|n| {
            let entry = self.memory.read_array(PAGE_TABLES + n * 8);
            u64::from_le_bytes(entry)
        });
        set_segments(&mut self.cpu, program, &mut random);
        for n in 0..16 {
            self.cpu.regs.set(n, random.register());
            self.cpu.sse.set_ymm(
                n,
                std::array::from_fn(|_| u128::from(random.next()).to_le_bytes()),
            );
        }
        if !random.one_in(8) {
            let top = STACK_TOP - 0x400 + random.below(0x200);
            self.cpu.regs.set(cowbox::cpu::regs::RSP, top);
        }
        self.cpu.refresh_mode();
    }

    /// Writes `count` qwords from `at` on: what `sane` says for each, some of them changed, or
    /// random ones.
    fn put_words(
        &mut self,
        at: PhysAddr,
        count: u64,
        random: &mut Random,
        sane: impl Fn(u64) -> u64,
    ) {
        let wild = random.one_in(24);
        let mut bytes = Vec::with_capacity(count as usize * 8);
        for n in 0..count {
            let word = match random.below(128) {
                _ if wild => random.next(),
                0 => random.next(),
                1 | 2 => sane(n) ^ 1 << random.below(64),
                _ => sane(n),
            };
            bytes.extend(word.to_le_bytes());
        }
        self.memory.write(at, &bytes);
    }

    fn put_descriptors(&mut self, program: &Program<'_>, random: &mut Random) {
        let long = matches!(program.mode, Mode::Compatibility | Mode::Long);
        let salt = random.next();
        let kind = move |n: u64| Random(salt ^ n).next();
        let code = match program.bits() {
            16 => 0x0000_9b01_0000_ffff,
            32 => 0x00cf_9b01_0000_ffff,
            _ => 0x00af_9b00_0000_ffff,
        };
        for table in [GDT, LDT] {
            self.put_words(table, 64, random, |n| match n {
                1 => code,
                2 => 0x00cf_9300_0000_ffff,
                _ => descriptor(kind(n ^ table)),
            });
        }
        // A gate to the code; of the 16 bytes of a long one the second half is zero.
        let gate = |n: u64| {
            let word = kind(n ^ IDT);
            let start = if long { CODE } else { 0 };
            let offset = start + word % MAX_CODE as u64;
            let selector = 8 * [1, 1, 1, word >> 12 & 7][(word >> 24 & 3) as usize];
            let access =
                [0x8e, 0x8f, 0xee, 0xef, 0x8e, 0x86, 0x85, 0xee][(word >> 20 & 7) as usize];
            let gate = offset & 0xffff | selector << 16 | access << 40 | offset >> 16 << 48;
            if long && n % 2 == 1 { 0 } else { gate }
        };
        self.put_words(IDT, 512, random, gate);
        // The stacks of rings 0 to 2.
        self.put_words(TSS, 32, random, |n| match n {
            0 => (STACK_TOP - 0x800) << 32,
            1 if !long => 0x10 | (STACK_TOP - 0x800) << 32,
            _ => kind(n ^ TSS) & 0xf8 | (STACK_TOP - 0x800) << 32,
        });
    }

    fn put_page_tables(&mut self, mode: Mode, random: &mut Random) {
        let (levels, pae) = match mode {
            Mode::Real => return,
            Mode::Virtual8086 => (2, false),
            Mode::Protected { paging, .. } => match paging {
                Paging::Off => return,
                Paging::Bits32 => (2, false),
                Paging::Pae => (3, true),
            },
            Mode::Compatibility | Mode::Long => (4, true),
        };
        for level in (0..levels).rev() {
            let at = PAGE_TABLES + (levels - 1 - level) * PAGE_SIZE;
            let root = level == 2 && levels == 3;
            let rights: u64 = if root {
                1
            } else {
                [7, 7, 7, 7, 7, 7, 5, 3][random.below(8) as usize]
            };
            let entry = move |n: u64| match level {
                0 => (n % (RAM_BYTES / PAGE_SIZE) * PAGE_SIZE) | rights,
                _ => (at + PAGE_SIZE) | rights,
            };
            match pae {
                true if root => self.put_words(at, 4, random, entry),
                true => self.put_words(at, 512, random, entry),
                false => self.put_words(at, 512, random, |n| entry(2 * n) | entry(2 * n + 1) << 32),
            }
        }
    }
}

/// A descriptor of some type, made of the bits of `word` (Intel SDM volume 3, section 3.4.5).
fn descriptor(word: u64) -> u64 {
    let kind = word & 0x1f;
    let dpl = word >> 5 & 3;
    let present = u64::from(word >> 7 & 15 != 0);
    let access = kind | dpl << 5 | present << 7;
    let limit = [0xf_ffff, 0xf_ffff, 0xffff, word >> 40 & 0xfff][(word >> 12 & 3) as usize];
    // Granularity, size and the 64-bit flag.
    let flags = [0xc, 0xa, 0x4, 0x0][(word >> 14 & 3) as usize];
    let base = match kind {
        // Segments, mostly at 0; gates into the code through some selector.
        0x10.. => [0, 0, 0, CODE][(word >> 16 & 3) as usize],
        4..=7 | 0xc..=0xf => {
            let selector = 8 * (word >> 20 & 7);
            return CODE & 0xffff | selector << 16 | access << 40 | CODE >> 16 << 48;
        }
        2 => LDT,
        _ => TSS,
    };
    limit & 0xffff
        | (base & 0xff_ffff) << 16
        | access << 40
        | (limit >> 16 & 0xf) << 48
        | flags << 52
        | (base >> 24 & 0xff) << 56
}

/// The control registers of `mode`, other bits as they come.
fn set_control(cpu: &mut Cpu, mode: Mode, random: &mut Random) {
    let mut choose = |bits: u64| bits & random.next();
    let free = cr0::MP | cr0::EM | cr0::TS | cr0::NE | cr0::WP | cr0::AM;
    let mut chosen = choose(free.into()) as u32;
    if choose(3) != 0 {
        chosen &= !(cr0::EM | cr0::TS);
    }
    let (protected, paged, pae, long) = match mode {
        Mode::Real => (false, false, false, false),
        Mode::Virtual8086 => (true, true, false, false),
        Mode::Protected { paging, .. } => {
            (true, paging != Paging::Off, paging == Paging::Pae, false)
        }
        Mode::Compatibility | Mode::Long => (true, true, true, true),
    };
    let when = |on: bool, bits: u32| if on { bits } else { 0 };
    cpu.cr0 = cr0::ET | chosen | when(protected, cr0::PE) | when(paged, cr0::PG);
    let free = cr4::VME | cr4::PVI | cr4::TSD | cr4::DE | cr4::PSE | cr4::PGE | cr4::FSGSBASE;
    cpu.cr4 = choose(free.into()) as u32 | when(pae, cr4::PAE);
    if choose(3) != 0 {
        cpu.cr4 |= cr4::OSFXSR | cr4::OSXMMEXCPT | cr4::OSXSAVE;
        cpu.sse.xcr0 = 7;
    }
    cpu.sse.mxcsr = choose(0xffff) as u32;
    let long = if long { efer::LME | efer::LMA } else { 0 };
    cpu.msr.efer = long | choose(efer::SCE | efer::NXE);
    cpu.msr.lstar = CODE;
    cpu.msr.star = 0x0008_0010 << 32 | CODE;
    cpu.msr.sysenter_cs = 8;
    cpu.msr.sysenter_eip = CODE;
    cpu.msr.sysenter_esp = STACK_TOP - 0x400;
    cpu.cr3 = PAGE_TABLES;
}

/// The segments of the program's mode, the tables, and the flags.
fn set_segments(cpu: &mut Cpu, program: &Program<'_>, random: &mut Random) {
    let privilege: u8 = match program.mode {
        Mode::Real => 0,
        Mode::Virtual8086 => 3,
        _ if program.privileged => 0,
        _ => 1 + random.below(3) as u8,
    };
    let dpl = u16::from(privilege) << 5;
    let (code, data) = match program.mode {
        Mode::Real => (Segment::real(0x1000), Segment::real(0x2000)),
        Mode::Virtual8086 => (Segment::virtual_8086(0x1000), Segment::virtual_8086(0x2000)),
        Mode::Protected { .. } if program.bits() == 16 => (
            Segment::new(8, CODE, 0xffff, Attributes(0x009b | dpl)),
            Segment::new(0x10, 0x2_0000, 0xffff, Attributes(0x0093 | dpl)),
        ),
        Mode::Protected { .. } | Mode::Compatibility => (
            Segment::new(8, 0, u32::MAX, Attributes(0xc09b | dpl)),
            Segment::new(0x10, 0, u32::MAX, Attributes(0xc093 | dpl)),
        ),
        Mode::Long => (
            Segment::new(8, 0, u32::MAX, Attributes(0xa09b | dpl)),
            Segment::flat(0x10, 0),
        ),
    };
    cpu.cpl = privilege;
    for n in (0..6).filter(|&n| n != CS) {
        cpu.segments[usize::from(n)] = match random.below(16) {
            0 if n != SS && program.mode != Mode::Real => Segment::null(0),
            _ => data,
        };
    }
    cpu.segments[usize::from(CS)] = code;
    if cpu.cr0 & cr0::PE != 0 && program.mode != Mode::Virtual8086 {
        for n in [CS, SS] {
            cpu.segments[usize::from(n)].selector |= u16::from(privilege);
        }
    }
    cpu.rip = CODE - code.base;
    cpu.gdtr.base = GDT;
    cpu.gdtr.limit = 0x1ff;
    let vectors = if program.mode == Mode::Real {
        (0, 0x3ff)
    } else {
        (IDT, 0xfff)
    };
    (cpu.idtr.base, cpu.idtr.limit) = vectors;
    cpu.tr = Segment::new(0x18, TSS, 0x1ff, Attributes(0x8b));
    cpu.ldtr = Segment::new(0x20, LDT, 0x1ff, Attributes(0x82));
    let free = flags::IF | flags::DF | flags::IOPL | flags::NT | flags::AC | 0x8d5;
    let mut bits = 2 | free & random.next() as u32;
    if random.one_in(16) {
        bits |= flags::TF;
    }
    if program.mode == Mode::Virtual8086 {
        bits |= flags::VM;
    }
    cpu.flags.set_bits(bits);
}
