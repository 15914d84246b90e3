//! CPUID: what this processor says of itself (AMD64 APM volume 3, appendix E; Intel SDM
//! volume 2, CPUID).
//!
//! It is an AMD processor of family 0Fh, as the first with 64 bits were: no guest expects
//! speculation to be tamed there, nor a topology beyond one core. One table holds the claims: for
//! each model what it adds to those before it, as feature bits and the encodings that come with
//! them. An encoding without a claim raises #UD, as on a processor that does not know it.

use iced_x86::{CpuidFeature, Instruction};

use super::fpu::xsave::{COMPONENTS, YMM_HIGH, image_size};
use super::mmu::PHYSICAL_BITS;
use super::mode::cr4;
use super::{Core, Model};

const VENDOR: &[u8; 12] = b"AuthenticAMD";
const HYPERVISOR: &[u8; 12] = b"CowboxCowbox";
const BRAND: &[u8; 48] =
    b"Cowbox Virtual CPU\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

const LAST_HYPERVISOR: u32 = 0x4000_0000;

/// In leaf 1 EDX: the local APIC, shown while IA32_APIC_BASE enables it.
const APIC: u32 = 1 << 9;
/// In IA32_APIC_BASE: the local APIC is enabled.
const APIC_ENABLED: u64 = 1 << 11;

/// A register of a leaf that holds feature bits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    /// No bit stands for it.
    Implied,
    /// Leaf 1 EDX.
    Edx1,
    /// Leaf 1 EDX, and the same bit of leaf 80000001h EDX.
    Both,
    /// Leaf 1 ECX.
    Ecx1,
    /// Leaf 7 subleaf 0 EBX.
    Ebx7,
    /// Leaf 7 subleaf 0 ECX.
    Ecx7,
    /// Leaf 0Dh subleaf 1 EAX.
    XsaveEax,
    /// Leaf 80000001h EDX.
    EdxExtended,
    /// Leaf 80000001h ECX.
    EcxExtended,
}

/// A feature that is there.
struct Claim {
    word: Word,
    bit: u32,
    encodings: &'static [CpuidFeature],
}

const fn claim(word: Word, bit: u32, encodings: &'static [CpuidFeature]) -> Claim {
    Claim {
        word,
        bit,
        encodings,
    }
}

use CpuidFeature as F;

/// What each model has that those before it have not.
const CLAIMS: &[(Model, &[Claim])] = &[
    (
        Model::I8086,
        // F3h before NOP means nothing there.
        &[claim(Word::Implied, 0, &[F::INTEL8086, F::PAUSE])],
    ),
    (
        Model::I286,
        &[claim(Word::Implied, 0, &[F::INTEL186, F::INTEL286])],
    ),
    (
        Model::I386,
        &[
            claim(Word::Implied, 0, &[F::INTEL386]),
            claim(Word::Both, 0, &[F::FPU, F::FPU287, F::FPU387]),
        ],
    ),
    (Model::I486, &[claim(Word::Implied, 0, &[F::INTEL486])]),
    (
        Model::Pentium,
        &[
            claim(Word::Implied, 0, &[F::CPUID]),
            // Virtual-8086 extensions, debugging extensions, 4 MiB pages.
            claim(Word::Both, 1, &[]),
            claim(Word::Both, 2, &[]),
            claim(Word::Both, 3, &[]),
            claim(Word::Both, 4, &[F::TSC]),
            claim(Word::Both, 5, &[F::MSR]),
            // Machine check exception.
            claim(Word::Both, 7, &[]),
            claim(Word::Both, 8, &[F::CX8]),
            // The local APIC.
            claim(Word::Both, 9, &[]),
        ],
    ),
    (
        Model::Core2,
        &[
            claim(Word::Implied, 0, &[F::RDPMC, F::MULTIBYTENOP]),
            // PAE.
            claim(Word::Both, 6, &[]),
            claim(Word::Edx1, 11, &[F::SEP]),
            // MTRRs, global pages.
            claim(Word::Both, 12, &[]),
            claim(Word::Both, 13, &[]),
            claim(Word::Both, 15, &[F::CMOV]),
            // PAT, PSE-36.
            claim(Word::Both, 16, &[]),
            claim(Word::Both, 17, &[]),
            claim(Word::Edx1, 19, &[F::CLFSH]),
            claim(Word::Both, 23, &[F::MMX]),
            claim(Word::Both, 24, &[F::FXSR]),
            claim(Word::Edx1, 25, &[F::SSE]),
            claim(Word::Edx1, 26, &[F::SSE2]),
            claim(Word::Ecx1, 0, &[F::SSE3]),
            claim(Word::Ecx1, 9, &[F::SSSE3]),
            claim(Word::Ecx1, 13, &[F::CMPXCHG16B]),
            // A hypervisor is present: time and devices are not those of hardware.
            claim(Word::Ecx1, 31, &[]),
            claim(Word::EdxExtended, 11, &[F::SYSCALL]),
            // No-execute, AMD's extensions of MMX (which SSE has too).
            claim(Word::EdxExtended, 20, &[]),
            claim(Word::EdxExtended, 22, &[]),
            claim(Word::EdxExtended, 29, &[F::X64]),
            // LAHF and SAHF in 64-bit mode; PREFETCHW, which AMD's long mode implies.
            claim(Word::EcxExtended, 0, &[]),
            claim(Word::EcxExtended, 8, &[F::PREFETCHW]),
        ],
    ),
    (
        Model::X86_64V2,
        &[
            claim(Word::Ecx1, 19, &[F::SSE4_1]),
            claim(Word::Ecx1, 20, &[F::SSE4_2]),
            claim(Word::Ecx1, 23, &[F::POPCNT]),
        ],
    ),
    (
        Model::X86_64V3,
        &[
            claim(Word::Ecx1, 1, &[F::PCLMULQDQ]),
            claim(Word::Ecx1, 12, &[F::FMA]),
            // Process-context identifiers.
            claim(Word::Ecx1, 17, &[]),
            claim(Word::Ecx1, 22, &[F::MOVBE]),
            claim(Word::Ecx1, 25, &[F::AES]),
            claim(Word::Ecx1, 26, &[F::XSAVE]),
            claim(Word::Ecx1, 28, &[F::AVX]),
            claim(Word::Ecx1, 29, &[F::F16C]),
            claim(Word::Ecx1, 30, &[F::RDRAND]),
            claim(Word::Ebx7, 0, &[F::FSGSBASE]),
            claim(Word::Ebx7, 3, &[F::BMI1]),
            claim(Word::Ebx7, 5, &[F::AVX2]),
            // Supervisor-mode execution prevention.
            claim(Word::Ebx7, 7, &[]),
            claim(Word::Ebx7, 8, &[F::BMI2]),
            claim(Word::Ebx7, 10, &[F::INVPCID]),
            claim(Word::Ebx7, 18, &[F::RDSEED]),
            claim(Word::Ebx7, 19, &[F::ADX]),
            claim(Word::Ebx7, 20, &[F::SMAP]),
            claim(Word::Ebx7, 29, &[F::SHA]),
            // User-mode instruction prevention.
            claim(Word::Ecx7, 2, &[]),
            claim(Word::XsaveEax, 0, &[F::XSAVEOPT]),
            // 1 GiB pages.
            claim(Word::EdxExtended, 26, &[]),
            claim(Word::EdxExtended, 27, &[F::RDTSCP]),
            claim(Word::EcxExtended, 5, &[F::LZCNT]),
        ],
    ),
];

/// The bits of CR4 that a feature brings (Intel SDM volume 3, section 2.5). Those that no feature
/// of the model brings are reserved.
const CR4_BITS: &[(Word, u32, u32)] = &[
    (Word::Edx1, 1, cr4::VME | cr4::PVI),
    (Word::Edx1, 2, cr4::DE),
    (Word::Edx1, 3, cr4::PSE),
    (Word::Edx1, 4, cr4::TSD),
    (Word::Edx1, 6, cr4::PAE),
    (Word::Edx1, 7, cr4::MCE),
    (Word::Edx1, 13, cr4::PGE),
    (Word::Edx1, 24, cr4::OSFXSR),
    (Word::Edx1, 25, cr4::OSXMMEXCPT),
    (Word::Ecx1, 17, cr4::PCIDE),
    (Word::Ecx1, 26, cr4::OSXSAVE),
    (Word::Ebx7, 0, cr4::FSGSBASE),
    (Word::Ebx7, 7, cr4::SMEP),
    (Word::Ebx7, 20, cr4::SMAP),
    (Word::Ecx7, 2, cr4::UMIP),
];

impl Model {
    /// The bits of CR4 that can be set; none where there is no CR4.
    pub fn cr4_bits(self) -> u32 {
        let brought = |(word, bit, _): &&(Word, u32, u32)| self.features(*word) >> bit & 1 != 0;
        let bits = CR4_BITS.iter().filter(brought);
        let counters = if self.has_feature(F::RDPMC) {
            cr4::PCE
        } else {
            0
        };
        bits.fold(counters, |all, (_, _, bits)| all | bits)
    }

    /// What it claims.
    fn claims(self) -> impl Iterator<Item = &'static Claim> {
        let added = CLAIMS.iter().filter(move |(since, _)| *since <= self);
        added.flat_map(|(_, claims)| *claims)
    }

    /// The feature bits of `word`.
    fn features(self, word: Word) -> u32 {
        let shown = |claim: &&Claim| match (word, claim.word) {
            (_, Word::Implied) => false,
            (Word::Edx1 | Word::EdxExtended, Word::Both) => true,
            (asked, holds) => asked == holds,
        };
        let shown = self.claims().filter(shown);
        shown.fold(0, |bits, claim| bits | 1 << claim.bit)
    }

    /// Whether it has a feature.
    pub fn has_feature(self, feature: CpuidFeature) -> bool {
        let mut encodings = self.claims().flat_map(|claim| claim.encodings);
        encodings.any(|&f| f == feature)
    }

    /// Whether it has the features that an encoding needs.
    pub fn has(self, instruction: &Instruction) -> bool {
        let mut needed = instruction.cpuid_features().iter();
        needed.all(|&feature| self.has_feature(feature))
    }
}

/// Four registers from twelve characters, in the order that EBX, EDX, ECX hold them.
fn vendor(last: u32, name: &[u8; 12]) -> [u32; 4] {
    [last, word(name, 0), word(name, 8), word(name, 4)]
}

fn word(text: &[u8], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&text[at..at + 4]);
    u32::from_le_bytes(bytes)
}

impl Core<'_> {
    /// Leaf 1 ECX bit 27: a copy of CR4.OSXSAVE.
    fn shown_osxsave(&self) -> u32 {
        match self.cpu.cr4 & cr4::OSXSAVE {
            0 => 0,
            _ => 1 << 27,
        }
    }

    /// Leaf 0Dh: the XSAVE image.
    fn xsave_leaf(&self, subleaf: u32) -> [u32; 4] {
        let largest = image_size(COMPONENTS);
        match subleaf {
            0 => [COMPONENTS as u32, image_size(self.cpu.sse.xcr0), largest, 0],
            1 => [self.cpu.model.features(Word::XsaveEax), 0, 0, 0],
            2 => [largest - YMM_HIGH, YMM_HIGH, 0, 0],
            _ => [0; 4],
        }
    }

    /// EAX, EBX, ECX and EDX of a leaf. Leaves that do not exist are zero.
    pub(super) fn cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        let model = self.cpu.model;
        let (last_basic, last_extended) = model.traits().last_leaves;
        let signature = model.traits().signature;
        let apic = if self.bus.apic_base() & APIC_ENABLED != 0 {
            u32::MAX
        } else {
            !APIC
        };
        match leaf {
            0 => vendor(last_basic, VENDOR),
            0x8000_0000.. if leaf > last_extended => [0; 4],
            _ if leaf < LAST_HYPERVISOR && leaf > last_basic => [0; 4],
            // Local APIC 0, one logical processor, CLFLUSH of 64 bytes.
            1 => [
                signature,
                0x0001_0800,
                model.features(Word::Ecx1) | self.shown_osxsave(),
                model.features(Word::Edx1) & apic,
            ],
            // The local APIC's timer runs always.
            6 => [1 << 2, 0, 0, 0],
            7 if subleaf == 0 => [0, model.features(Word::Ebx7), model.features(Word::Ecx7), 0],
            0xd => self.xsave_leaf(subleaf),
            LAST_HYPERVISOR if model >= Model::Core2 => vendor(LAST_HYPERVISOR, HYPERVISOR),
            0x8000_0000 => vendor(last_extended, VENDOR),
            0x8000_0001 => [
                signature,
                0,
                model.features(Word::EcxExtended),
                model.features(Word::EdxExtended) & apic,
            ],
            0x8000_0002..=0x8000_0004 => {
                let at = (leaf - 0x8000_0002) as usize * 16;
                [0, 4, 8, 12].map(|n| word(BRAND, at + n))
            }
            // Level 1: TLBs of 512 entries, 64 KiB each for code and data, 2-way.
            0x8000_0005 => [0x01ff_01ff, 0x01ff_01ff, 0x4002_0140, 0x4002_0140],
            // Level 2: TLBs of 512 entries, 512 KiB, 16-way.
            0x8000_0006 => [0, 0x4200_4200, 0x0200_8140, 0],
            // The TSC runs at one rate in all states.
            0x8000_0007 => [0, 0, 0, 1 << 8],
            0x8000_0008 => [PHYSICAL_BITS | 48 << 8, 0, 0, 0],
            _ => [0; 4],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_of_cr4_are_those_of_the_features_that_a_model_has() {
        let pentium = cr4::VME | cr4::PVI | cr4::TSD | cr4::DE | cr4::PSE | cr4::MCE;
        let core2 = pentium | cr4::PAE | cr4::PGE | cr4::PCE | cr4::OSFXSR | cr4::OSXMMEXCPT;
        assert_eq!(Model::I486.cr4_bits(), 0);
        assert_eq!(Model::Pentium.cr4_bits(), pentium);
        assert_eq!(Model::Core2.cr4_bits(), core2);
        assert_eq!(Model::X86_64V2.cr4_bits(), core2);
        let all = CR4_BITS
            .iter()
            .fold(cr4::PCE, |all, (_, _, bits)| all | bits);
        assert_eq!(Model::X86_64V3.cr4_bits(), all);
    }

    #[test]
    fn feature_bits_are_those_of_the_baseline_and_mirrored_where_amd_mirrors_them() {
        let model = Model::default();
        let leaf_1 = model.features(Word::Edx1);
        let extended = model.features(Word::EdxExtended);
        // What the x86-64 ABI's baseline needs: FPU, TSC, MSR, PAE, CX8, CMOV, MMX to SSE2.
        let baseline = 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 15 | 7 << 23 | 1 << 26;
        assert_eq!(leaf_1 & baseline, baseline);
        assert_eq!(extended & 0x0183_f3ff, leaf_1 & 0x0183_f3ff);
        assert_eq!(extended & (1 << 29 | 1 << 11), 1 << 29 | 1 << 11);
    }
}
