//! Operating modes, and what follows from them (Intel SDM volume 3, section 2.2).

use serde::{Deserialize, Serialize};

use super::Cpu;
use super::flags;
use super::model::SegmentEnd;
use super::segment::{CS, DS, ES, FLAT_STACK, FS, GS, SS, Segment};

/// Bits of CR0.
pub mod cr0 {
    /// Protection enable.
    pub const PE: u32 = 1 << 0;
    /// Monitor coprocessor: WAIT heeds TS.
    pub const MP: u32 = 1 << 1;
    /// Emulation: no x87.
    pub const EM: u32 = 1 << 2;
    /// Task switched.
    pub const TS: u32 = 1 << 3;
    /// Extension type; always 1.
    pub const ET: u32 = 1 << 4;
    /// Native x87 error reporting.
    pub const NE: u32 = 1 << 5;
    /// Write protect, for the supervisor too.
    pub const WP: u32 = 1 << 16;
    /// Alignment mask.
    pub const AM: u32 = 1 << 18;
    /// Not write-through.
    pub const NW: u32 = 1 << 29;
    /// Cache disable.
    pub const CD: u32 = 1 << 30;
    /// Paging.
    pub const PG: u32 = 1 << 31;
}

/// Bits of CR4.
pub mod cr4 {
    /// Virtual-8086 extensions.
    pub const VME: u32 = 1 << 0;
    /// Protected-mode virtual interrupts.
    pub const PVI: u32 = 1 << 1;
    /// RDTSC is privileged.
    pub const TSD: u32 = 1 << 2;
    /// Debugging extensions.
    pub const DE: u32 = 1 << 3;
    /// 4 MiB pages.
    pub const PSE: u32 = 1 << 4;
    /// Physical address extension.
    pub const PAE: u32 = 1 << 5;
    /// Machine check enable.
    pub const MCE: u32 = 1 << 6;
    /// Global pages.
    pub const PGE: u32 = 1 << 7;
    /// RDPMC at any level.
    pub const PCE: u32 = 1 << 8;
    /// FXSAVE and SSE are in use.
    pub const OSFXSR: u32 = 1 << 9;
    /// #XM is handled.
    pub const OSXMMEXCPT: u32 = 1 << 10;
    /// SGDT, SIDT, SLDT, STR and SMSW are privileged.
    pub const UMIP: u32 = 1 << 11;
    /// User code may read and write the bases of FS and GS.
    pub const FSGSBASE: u32 = 1 << 16;
    /// Process-context identifiers.
    pub const PCIDE: u32 = 1 << 17;
    /// XSAVE is in use.
    pub const OSXSAVE: u32 = 1 << 18;
    /// The supervisor executes no user pages.
    pub const SMEP: u32 = 1 << 20;
    /// The supervisor reads and writes no user pages, unless EFLAGS.AC is set.
    pub const SMAP: u32 = 1 << 21;
}

/// Bits of EFER.
pub mod efer {
    /// SYSCALL enable.
    pub const SCE: u64 = 1 << 0;
    /// Long mode enable.
    pub const LME: u64 = 1 << 8;
    /// Long mode active.
    pub const LMA: u64 = 1 << 10;
    /// No-execute enable.
    pub const NXE: u64 = 1 << 11;
}

/// The default operand and address size of the code segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CodeSize {
    /// Real mode, virtual-8086 mode, 16-bit segments.
    #[default]
    Bits16,
    /// 32-bit segments, also in compatibility mode.
    Bits32,
    /// 64-bit mode.
    Bits64,
}

impl CodeSize {
    /// 16, 32 or 64.
    pub fn bits(self) -> u32 {
        match self {
            Self::Bits16 => 16,
            Self::Bits32 => 32,
            Self::Bits64 => 64,
        }
    }
}

/// What the data segments of the code that runs are like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DataSegments {
    /// Bases and bounds count.
    #[default]
    Bounded,
    /// DS, ES and SS begin at 0 and cover every address: offsets are linear addresses. So it
    /// is in 64-bit mode, and in most 32-bit systems.
    Flat,
}

/// What the hot paths need to know of the mode, computed when something changes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mode {
    /// The code segment's size.
    pub code: CodeSize,
    /// What the data segments are like.
    pub data: DataSegments,
    /// The base of the code segment.
    pub code_base: u64,
    /// What linear addresses are cut to: 32 bits outside 64-bit mode.
    pub linear_mask: u64,
    /// What the instruction pointer wraps at when it runs off the end of a block.
    pub ip_mask: u64,
    /// The last instruction pointer that can be fetched.
    pub ip_limit: u64,
    /// What the stack pointer is cut to.
    pub stack_mask: u64,
    /// The segment that implicit stack accesses use.
    pub stack_segment: u8,
    /// 1 at CPL 3, else 0: which set of translations applies.
    pub user: u8,
    /// The flags that the model lets programs change.
    pub writable_flags: u32,
    /// SSE instructions can be executed.
    pub sse: bool,
    /// AVX instructions can be executed.
    pub avx: bool,
}

impl Cpu {
    /// CR0.PE is set, and not in virtual-8086 mode.
    pub fn is_protected(&self) -> bool {
        self.cr0 & cr0::PE != 0 && !self.is_v86()
    }

    /// In virtual-8086 mode.
    pub fn is_v86(&self) -> bool {
        self.flags.has(flags::VM)
    }

    /// CR0.PE is clear.
    pub fn is_real(&self) -> bool {
        self.cr0 & cr0::PE == 0
    }

    /// EFER.LMA: 64-bit or compatibility mode.
    pub fn is_long(&self) -> bool {
        self.msr.efer & efer::LMA != 0
    }

    /// 64-bit mode.
    pub fn is_64_bit(&self) -> bool {
        self.mode.code == CodeSize::Bits64
    }

    /// Recomputes [`Mode`]. Whoever changes CR0, CR4, XCR0, EFER.LMA, EFLAGS.VM, the CPL or a segment
    /// register calls this afterwards.
    pub fn refresh_mode(&mut self) {
        let cs = self.segment(CS).attributes;
        let code = if self.is_long() && cs.long() {
            CodeSize::Bits64
        } else if cs.big() && !self.is_real() && !self.is_v86() || self.is_unreal_code() {
            CodeSize::Bits32
        } else {
            CodeSize::Bits16
        };
        let wide = code == CodeSize::Bits64;
        let big_stack = self.segment(SS).attributes.big();
        let data = self.data_segments(code);
        let traits = self.model.traits();
        let mode = Mode {
            code,
            data,
            code_base: self.segment(CS).base,
            linear_mask: if wide { u64::MAX } else { traits.linear_mask },
            ip_mask: match (wide, traits.segment_end) {
                (true, _) => u64::MAX,
                (false, SegmentEnd::Wraps) => 0xffff,
                (false, SegmentEnd::Faults) => 0xffff_ffff,
            },
            ip_limit: if wide {
                u64::MAX
            } else {
                u64::from(self.segment(CS).limit)
            },
            stack_mask: match (wide, big_stack) {
                (true, _) => u64::MAX,
                (false, true) => 0xffff_ffff,
                (false, false) => 0xffff,
            },
            stack_segment: match data {
                DataSegments::Flat => FLAT_STACK,
                DataSegments::Bounded => SS,
            },
            user: u8::from(self.cpl == 3),
            writable_flags: if self.is_real() {
                traits.real_mode_flags
            } else {
                traits.flags
            },
            sse: self.cr4 & cr4::OSFXSR != 0 && self.cr0 & (cr0::EM | cr0::TS) == 0,
            avx: self.is_protected()
                && self.cr4 & cr4::OSXSAVE != 0
                && self.sse.has_avx()
                && self.cr0 & cr0::TS == 0,
        };
        let bounds_change = wide || self.is_64_bit();
        self.tlb.set_user(mode.user);
        if mode != self.mode {
            self.mode = mode;
            self.flow.forget_fetch_page();
        }
        if bounds_change {
            self.refresh_bounds();
        }
    }

    /// FS and GS have bounds, but for 64-bit mode.
    fn refresh_bounds(&mut self) {
        let wide = self.is_64_bit();
        for index in [FS, GS] {
            let s = self.segments[usize::from(index)];
            self.segments[usize::from(index)] = if wide {
                s.unbounded()
            } else {
                Segment::new(s.selector, s.base, s.limit, s.attributes)
            };
        }
    }

    /// What the data segments are like for code of this size. The base of CS is 0 in 64-bit
    /// mode as well.
    fn data_segments(&self, code: CodeSize) -> DataSegments {
        let everything = |index: u8| {
            let s = self.segment(index);
            s.base == 0 && s.read_end() == 1 << 32 && s.write_end() == 1 << 32
        };
        let flat = match code {
            CodeSize::Bits16 => false,
            CodeSize::Bits32 => everything(DS) && everything(ES) && everything(SS),
            CodeSize::Bits64 => true,
        };
        if flat {
            DataSegments::Flat
        } else {
            DataSegments::Bounded
        }
    }

    /// Real mode entered with a 32-bit CS still cached: until CS is loaded, code stays 32-bit.
    fn is_unreal_code(&self) -> bool {
        self.is_real() && self.segment(CS).attributes.big()
    }

    /// Sets the privilege level.
    pub fn set_cpl(&mut self, cpl: u8) {
        self.cpl = cpl;
        self.refresh_mode();
    }
}
