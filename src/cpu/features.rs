//! Which instruction sets this CPU has: x86-64-v2, and little beside it.
//!
//! An encoding of any other set is an invalid opcode, as on a processor that lacks it; an
//! encoding of one of these that has no handler stops the run. CPUID reports the same sets.

use iced_x86::{CpuidFeature, Instruction};

/// Whether the CPU has all that `instruction` needs.
pub(crate) fn has(instruction: &Instruction) -> bool {
    let needed = instruction.cpuid_features();
    needed.iter().all(|&feature| is_claimed(feature))
}

fn is_claimed(feature: CpuidFeature) -> bool {
    use CpuidFeature::*;
    matches!(
        feature,
        INTEL8086
            | INTEL8086_ONLY
            | INTEL186
            | INTEL286
            | INTEL386
            | INTEL486
            | X64
            | CLFSH
            | CMOV
            | CMPXCHG16B
            | CPUID
            | CX8
            | FPU
            | FPU287
            | FPU387
            | FXSR
            | MMX
            | MOVBE
            | MSR
            | MULTIBYTENOP
            | PAUSE
            | POPCNT
            | PREFETCHW
            | RDPMC
            | RDTSCP
            | SEP
            | SMM
            | SSE
            | SSE2
            | SSE3
            | SSE4_1
            | SSE4_2
            | SSSE3
            | SYSCALL
            | TSC
    )
}
