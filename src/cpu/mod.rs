//! The CPU: state, and what the parts of this layer share.
//!
//! ```text
//!   run      block heads: interrupts, deadlines, finding the next block; the inner loop
//!   decode   bytes -> iced-x86 -> Op -> basic blocks -> the block cache
//!   exec     what each instruction does, generic over back end and width
//!   mmu      segmentation and paging, the TLB, access to memory and bus
//!   interrupt, task, system   delivery of events, far transfers, control registers
//!   fpu, simd                 x87, MMX, SSE and AVX
//! ```
//!
//! [`Cpu`] is plain state that can be saved. A [`Core`] is a CPU at work: its state with the
//! memory and the board it is plugged into for the length of one run. Instructions are
//! functions on a `Core`; they never know a device.

pub mod breakpoint;
pub mod cpuid;
pub mod decode;
mod descriptor;
pub mod exec;
pub mod fault;
pub mod flags;
pub mod flow;
pub mod fpu;
mod interrupt;
#[expect(
    unsafe_code,
    reason = "the fast path reads and writes guest memory through host pointers"
)]
pub mod mmu;
mod mode;
pub mod model;
pub mod msr;
mod random;
pub mod regs;
mod run;
pub mod segment;
pub mod simd;
mod socket;
mod stack;
mod task;
pub mod width;

use serde::{Deserialize, Serialize};

use crate::bus::Tick;
use crate::memory::Memory;

pub use breakpoint::Breakpoints;
pub use decode::BlockCache;
pub use exec::Handler;
pub use fault::{Event, Exec, Raised};
pub use flags::Flags;
pub use interrupt::{Delivery, Incident, Incidents};
pub use mode::{CodeSize, DataSegments, cr0, cr4, efer};
pub use model::Model;
pub use random::RandomStream;
pub use regs::Registers;
pub use run::Stop;
pub use segment::{Segment, TableRegister};
pub use socket::{Bus, Signals};

/// The architectural state of one CPU, and where it stands between two blocks. What nearly
/// every instruction touches comes first: short offsets make short code.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[repr(C)]
pub struct Cpu {
    /// EFLAGS.
    pub flags: Flags,
    /// While a block runs: the instruction pointer after it, unless a branch says otherwise.
    /// Between blocks: the next instruction.
    pub rip: u64,
    /// What the run loop carries from block to block.
    pub flow: flow::Flow,
    /// The general registers.
    pub regs: Registers,
    /// What follows from the state below, see [`Cpu::refresh_mode`].
    pub mode: mode::Mode,
    /// Translations.
    pub tlb: mmu::Tlb,
    /// ES CS SS DS FS GS, then the two flat segments of 64-bit mode.
    pub segments: [Segment; 8],
    /// The task register.
    pub tr: Segment,
    /// The LDT register.
    pub ldtr: Segment,
    /// The global descriptor table.
    pub gdtr: TableRegister,
    /// The interrupt descriptor table.
    pub idtr: TableRegister,
    /// CR0.
    pub cr0: u32,
    /// CR2: the last page fault's linear address.
    pub cr2: u64,
    /// CR3.
    pub cr3: u64,
    /// The first level of PAE paging.
    pub pdptes: [u64; 4],
    /// CR4.
    pub cr4: u32,
    /// DR0 to DR7 (4 and 5 are unused).
    pub dr: [u64; 8],
    /// What DR7 enables, and which hits wait for their #DB.
    pub breakpoints: Breakpoints,
    /// The model-specific registers.
    pub msr: msr::Msrs,
    /// The x87 unit, and MMX in its registers.
    pub fpu: fpu::Fpu,
    /// The XMM and YMM registers, MXCSR and XCR0.
    pub sse: simd::Sse,
    /// Current privilege level, 0 to 3.
    pub cpl: u8,
    /// The event that [`Raised`] speaks of.
    pub event: Event,
    /// The last exceptions, for the report of a shutdown.
    pub incidents: Incidents,
    /// Which processor this is.
    pub model: Model,
    /// Where RDRAND and RDSEED draw from.
    pub random: RandomStream,
}

/// A CPU at work.
pub struct Core<'m> {
    /// The CPU's state.
    pub cpu: &'m mut Cpu,
    /// Physical memory.
    pub memory: &'m mut Memory,
    /// The board.
    pub bus: &'m mut dyn Bus,
}

impl Default for Cpu {
    fn default() -> Self {
        Self::at_reset()
    }
}

impl Cpu {
    /// The newest model after power-up or RESET.
    pub fn at_reset() -> Self {
        Self::new(Model::default())
    }

    /// The state after power-up or RESET (Intel SDM volume 3, table 10-1): real mode, the
    /// first instruction 16 bytes below the end of the address space.
    pub fn new(model: Model) -> Self {
        let traits = model.traits();
        let mut segments = [Segment::real(0); 8];
        segments[usize::from(segment::CS)] =
            Segment::new(0xf000, traits.reset_base, 0xffff, segment::Attributes(0x9b));
        segments[usize::from(segment::FLAT)] = Segment::flat(0, 0);
        segments[usize::from(segment::FLAT_STACK)] = Segment::flat(0, 0);
        let mut cpu = Self {
            regs: Registers::default(),
            rip: 0xfff0,
            flags: Flags::default(),
            segments,
            tr: Segment::new(0, 0, 0xffff, segment::Attributes(0x8b)),
            ldtr: Segment::new(0, 0, 0xffff, segment::Attributes(0x82)),
            gdtr: TableRegister {
                base: 0,
                limit: 0xffff,
            },
            idtr: TableRegister {
                base: 0,
                limit: 0xffff,
            },
            cr0: (cr0::CD | cr0::NW | cr0::ET) & traits.cr0,
            cr2: 0,
            cr3: 0,
            pdptes: [0; 4],
            cr4: 0,
            dr: [0, 0, 0, 0, 0, 0, 0xffff_0ff0, 0x400],
            breakpoints: Breakpoints::default(),
            msr: msr::Msrs::default(),
            fpu: fpu::Fpu::default(),
            sse: simd::Sse::default(),
            cpl: 0,
            tlb: mmu::Tlb::default(),
            mode: mode::Mode::default(),
            flow: flow::Flow::default(),
            event: Event::Shutdown,
            incidents: Incidents::default(),
            model,
            random: RandomStream::default(),
        };
        cpu.regs.set(regs::RDX, u64::from(traits.signature));
        cpu.refresh_mode();
        cpu
    }

    /// RESET: everything as after power-up, but time and randomness go on.
    pub fn reset(&mut self) {
        let (now, random) = (self.flow.end, std::mem::take(&mut self.random));
        *self = Self::new(self.model);
        self.flow.end = now;
        self.random = random;
    }

    /// A segment register by its index.
    #[inline(always)]
    pub fn segment(&self, index: u8) -> &Segment {
        &self.segments[usize::from(index & 7)]
    }

    /// Guest time at the instruction that is running, or between blocks at the next one.
    #[inline(always)]
    pub fn now(&self) -> Tick {
        self.flow.end - Tick::from(self.flow.left)
    }
}

impl Core<'_> {
    /// Leaves `event` for delivery; the caller returns what this returns.
    #[cold]
    pub fn raise(&mut self, event: Event) -> Raised {
        self.cpu.event = event;
        Raised
    }

    /// Raises an exception without an error code.
    #[cold]
    pub fn fault(&mut self, vector: u8) -> Raised {
        self.raise(Event::exception(vector))
    }

    /// Raises an exception with an error code, often a selector.
    #[cold]
    pub fn fault_with(&mut self, vector: u8, error: u32) -> Raised {
        self.raise(Event::with_code(vector, error))
    }
}
