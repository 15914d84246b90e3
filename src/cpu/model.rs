//! CPU models: what tells the processors apart that a program can meet on a PC.
//!
//! A model has the instructions of those before it; which feature came with which stands in the
//! claims of [`super::cpuid`]. Everything else that differs stands in the table here. Models act
//! when code is decoded and when the mode changes, so a running block knows nothing of them; the
//! few instructions that older processors execute otherwise have handlers of their own in
//! `exec/i8086.rs` and `exec/i286.rs`.
//!
//! The vendor is the same for all (see [`super::cpuid`]). Not modelled: the time that
//! instructions take, prefetch queues, errata, LOADALL, and the 386's test registers.
//! (Intel 8086 Family User's Manual; 80286 and 80386 Programmer's Reference Manuals; SDM volume
//! 3, chapter 23, "Architecture Compatibility".)

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::fault;
use super::flags;
use super::mode::cr0;

/// A CPU model, from the oldest to the newest.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Model {
    /// Intel 8086, alone.
    I8086,
    /// Intel 80286, alone.
    I286,
    /// Intel 386 DX with a 387.
    I386,
    /// Intel 486 DX as it first came: without CPUID.
    I486,
    /// Pentium without MMX.
    Pentium,
    /// Core 2: 64-bit mode, SSE to SSSE3.
    Core2,
    /// The level x86-64-v2 of the System V ABI.
    X86_64V2,
    /// The level x86-64-v3, and all else that Cowbox has.
    #[default]
    X86_64V3,
}

/// How bytes become instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcodes {
    /// Every byte is some instruction: many opcodes have more than one.
    I8086,
    /// Invalid ones raise #UD; no prefixes for operand and address size, nor FS and GS; LOCK
    /// goes with everything.
    I286,
    /// As the manual has it today.
    I386,
}

/// What a word or doubleword at the end of a segment does, and code that runs past it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentEnd {
    /// It goes on at offset 0.
    Wraps,
    /// It faults.
    Faults,
}

/// What makes a model.
#[derive(Debug)]
pub struct Traits {
    /// The name on the command line.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Family, model and stepping: DX or EDX after RESET, and EAX of CPUID leaf 1.
    pub signature: u32,
    /// The last basic and the last extended leaf of CPUID (0: none).
    pub last_leaves: (u32, u32),
    /// How it decodes.
    pub opcodes: Opcodes,
    /// The most bytes that an instruction may have; a longer one raises #GP.
    pub longest_instruction: usize,
    /// The end of a segment.
    pub segment_end: SegmentEnd,
    /// The exception of an access past the end of the stack segment in real mode.
    pub real_mode_stack_fault: u8,
    /// The linear addresses it has outside 64-bit mode.
    pub linear_mask: u64,
    /// The base of CS after RESET; the offset is FFF0h.
    pub reset_base: u64,
    /// The bits of FLAGS that always read as ones, apart from bit 1.
    pub fixed_flags: u32,
    /// The bits of EFLAGS that a program can change outside real mode...
    pub flags: u32,
    /// ...and in it.
    pub real_mode_flags: u32,
    /// The bits of CR0, on the 286 of the machine status word.
    pub cr0: u32,
}

const FLAGS_8086: u32 = flags::ARITHMETIC | flags::TF | flags::IF | flags::DF;
const FLAGS_286: u32 = FLAGS_8086 | flags::IOPL | flags::NT;
const FLAGS_386: u32 = FLAGS_286 | flags::RF | flags::VM;
const FLAGS_486: u32 = FLAGS_386 | flags::AC;

const CR0_286: u32 = cr0::PE | cr0::MP | cr0::EM | cr0::TS;
const CR0_386: u32 = CR0_286 | cr0::ET | cr0::PG;

const LINEAR_32: u64 = 0xffff_ffff;

/// The newest model, which has everything; the others say what they have otherwise.
const NEWEST: Traits = Traits {
    name: "x86-64-v3",
    about: "AVX2, BMI, FMA, MOVBE, and all else that Cowbox has (the default)",
    signature: 0x0006_0fb1,
    last_leaves: (0xd, 0x8000_0008),
    opcodes: Opcodes::I386,
    longest_instruction: 15,
    segment_end: SegmentEnd::Faults,
    real_mode_stack_fault: fault::SS,
    linear_mask: LINEAR_32,
    reset_base: 0xffff_0000,
    fixed_flags: 0,
    flags: u32::MAX,
    real_mode_flags: u32::MAX,
    cr0: u32::MAX,
};

const I486: Traits = Traits {
    name: "486",
    about: "Intel 486 DX without CPUID",
    signature: 0x0402,
    last_leaves: (0, 0),
    flags: FLAGS_486,
    real_mode_flags: FLAGS_486,
    ..NEWEST
};

const I386: Traits = Traits {
    name: "386",
    about: "Intel 386 DX with a 387",
    signature: 0x0308,
    flags: FLAGS_386,
    real_mode_flags: FLAGS_386,
    cr0: CR0_386,
    ..I486
};

const I286: Traits = Traits {
    name: "286",
    about: "Intel 80286: 16-bit protected mode, no coprocessor",
    signature: 0,
    opcodes: Opcodes::I286,
    longest_instruction: 10,
    real_mode_stack_fault: fault::GP,
    linear_mask: 0xff_ffff,
    // FF0000h on the chip; the board shows the ROM there at F0000h.
    reset_base: 0xf_0000,
    flags: FLAGS_286,
    real_mode_flags: FLAGS_8086,
    cr0: CR0_286,
    ..I386
};

/// The models, in the order of [`Model`].
static TABLE: [Traits; 8] = [
    Traits {
        name: "8086",
        about: "Intel 8086: real mode alone, no coprocessor",
        opcodes: Opcodes::I8086,
        longest_instruction: usize::MAX,
        segment_end: SegmentEnd::Wraps,
        linear_mask: 0xf_ffff,
        fixed_flags: 0xf000,
        flags: FLAGS_8086,
        cr0: 0,
        ..I286
    },
    I286,
    I386,
    I486,
    Traits {
        name: "pentium",
        about: "Pentium: CPUID, TSC, MSRs, CMPXCHG8B",
        signature: 0x0521,
        last_leaves: (1, 0),
        flags: u32::MAX,
        real_mode_flags: u32::MAX,
        ..I486
    },
    Traits {
        name: "core2",
        about: "64-bit mode, SSE to SSSE3, CMPXCHG16B",
        last_leaves: (6, 0x8000_0008),
        ..NEWEST
    },
    Traits {
        name: "x86-64-v2",
        about: "SSE4.1, SSE4.2, POPCNT",
        last_leaves: (6, 0x8000_0008),
        ..NEWEST
    },
    NEWEST,
];

impl Model {
    /// All, from the oldest to the newest.
    pub const ALL: [Self; 8] = [
        Self::I8086,
        Self::I286,
        Self::I386,
        Self::I486,
        Self::Pentium,
        Self::Core2,
        Self::X86_64V2,
        Self::X86_64V3,
    ];

    /// What makes it.
    pub fn traits(self) -> &'static Traits {
        &TABLE[self as usize]
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.traits().name)
    }
}

/// A name that no model has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownModel;

impl fmt::Display for UnknownModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no such CPU model; there are ")?;
        let (last, others) = Model::ALL.split_last().ok_or(fmt::Error)?;
        for model in others {
            write!(f, "{model}, ")?;
        }
        write!(f, "and {last}")
    }
}

impl std::error::Error for UnknownModel {}

impl FromStr for Model {
    type Err = UnknownModel;

    fn from_str(name: &str) -> Result<Self, UnknownModel> {
        let found = Self::ALL.into_iter().find(|m| m.traits().name == name);
        found.ok_or(UnknownModel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_is_found_by_its_name() {
        for model in Model::ALL {
            assert_eq!(model.to_string().parse(), Ok(model));
        }
        assert_eq!("i586".parse::<Model>(), Err(UnknownModel));
    }

    #[test]
    fn later_models_have_what_earlier_ones_have() {
        for pair in Model::ALL.windows(2) {
            let (old, new) = (pair[0].traits(), pair[1].traits());
            assert_eq!(old.flags & !new.flags, 0, "{}", new.name);
            assert_eq!(old.cr0 & !new.cr0, 0, "{}", new.name);
            assert_eq!(pair[0].cr4_bits() & !pair[1].cr4_bits(), 0, "{}", new.name);
            assert!(old.linear_mask <= new.linear_mask, "{}", new.name);
        }
    }
}
