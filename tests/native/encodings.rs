//! All encodings of 64-bit code, found by decoding every prefix, map, opcode and ModRM form once.
//!
//! A form is an encoding (iced-x86's `Code`) with a register or a memory operand, and a list of
//! first bytes that decode to it; what those leave open is drawn anew for each case.

use std::collections::BTreeMap;

use iced_x86::{
    Code, CpuidFeature, Decoder, DecoderOptions, EncodingKind, FlowControl, Instruction, Mnemonic,
    OpKind, Register,
};

use super::random::Random;

/// How many of a form's heads are kept of each opcode with its prefixes.
const HEADS_KEPT: usize = 8;
/// What lies behind ModRM while looking for forms.
const TAIL: [u8; 12] = [0; 12];

/// The bytes of an instruction up to ModRM.
#[derive(Clone, Copy)]
struct Head {
    bytes: [u8; 8],
    length: usize,
    modrm: u8,
}

/// An encoding with a register operand, or with a memory operand.
pub(crate) struct Form {
    pub(crate) code: Code,
    pub(crate) memory: bool,
    heads: Vec<Head>,
}

impl Form {
    /// Bytes that decode to this form, mostly: registers, addressing and immediates are random.
    pub(crate) fn draw(&self, random: &mut Random) -> Vec<u8> {
        let head = self.heads[random.below(self.heads.len() as u64) as usize];
        let mut bytes = head.bytes[..head.length].to_vec();
        let modrm = self.loosen(&mut bytes, head.modrm, random);
        if random.below(8) == 0 && modrm < 0xc0 {
            bytes.insert(0, 0x67);
        }
        if random.below(16) == 0 && modrm < 0xc0 && self.code.encoding() == EncodingKind::Legacy {
            bytes.insert(0, 0xf0);
        }
        bytes.push(modrm);
        bytes.extend((0..12).map(|_| random.next() as u8));
        bytes
    }

    /// Draws what REX or VEX says of registers, and ModRM as far as the encoding may stay.
    fn loosen(&self, bytes: &mut [u8], modrm: u8, random: &mut Random) -> u8 {
        let mut modrm = modrm;
        if random.below(4) != 0 {
            modrm ^= (random.below(8) as u8) << 3;
        }
        if modrm >= 0xc0 {
            modrm ^= random.below(8) as u8;
        } else {
            modrm = modrm & 0x38 | (random.below(3) as u8) << 6 | random.below(8) as u8;
        }
        if self.code.encoding() == EncodingKind::VEX {
            bytes[1] ^= (random.below(8) as u8) << 5;
            if random.below(4) != 0 {
                bytes[2] ^= (random.below(16) as u8) << 3;
            }
        } else if let Some(rex) = bytes.iter_mut().find(|byte| **byte & 0xf0 == 0x40) {
            *rex |= random.below(8) as u8;
        }
        modrm
    }
}

/// Every form of 64-bit code that iced-x86 decodes.
pub(crate) fn all() -> Vec<Form> {
    let mut forms: BTreeMap<(usize, bool), Form> = BTreeMap::new();
    let mut note = |start: &[u8], modrm: u8| {
        let mut bytes = [start, &[modrm], &TAIL].concat();
        bytes.truncate(15);
        let instruction = Decoder::new(64, &bytes, DecoderOptions::NONE).decode();
        if instruction.is_invalid() {
            return;
        }
        let code = instruction.code();
        let memory = reaches_memory(&instruction);
        let form = forms.entry((code as usize, memory)).or_insert(Form {
            code,
            memory,
            heads: Vec::new(),
        });
        let last = form.heads.iter().rev().take(HEADS_KEPT);
        if last
            .filter(|head| head.bytes[..head.length] == *start)
            .count()
            < HEADS_KEPT
        {
            let mut head = Head {
                bytes: [0; 8],
                length: start.len(),
                modrm,
            };
            head.bytes[..start.len()].copy_from_slice(start);
            form.heads.push(head);
        }
    };
    for start in legacy_starts().chain(vex_starts()) {
        for modrm in (0xc0..=0xff).chain((0..8).map(|field| field << 3 | 3)) {
            note(&start, modrm);
        }
    }
    forms.into_values().collect()
}

/// Prefixes, REX and opcode.
fn legacy_starts() -> impl Iterator<Item = Vec<u8>> {
    const PREFIXES: [&[u8]; 6] = [&[], &[0x66], &[0xf3], &[0xf2], &[0x66, 0xf3], &[0x66, 0xf2]];
    const REX: [&[u8]; 3] = [&[], &[0x40], &[0x48]];
    const MAPS: [&[u8]; 4] = [&[], &[0x0f], &[0x0f, 0x38], &[0x0f, 0x3a]];
    let starts = PREFIXES
        .iter()
        .flat_map(|prefix| REX.iter().map(move |rex| [*prefix, rex].concat()));
    let maps = starts.flat_map(|start| MAPS.iter().map(move |map| [&start[..], map].concat()));
    let is_prefix = |byte: u8, in_first_map: bool| {
        in_first_map
            && matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x62 | 0x64..=0x67
                | 0xc4 | 0xc5 | 0xf0 | 0xf2 | 0xf3 | 0x0f)
    };
    maps.flat_map(move |start| {
        let in_first_map = !start.contains(&0x0f);
        (0..=255)
            .filter(move |&opcode| !is_prefix(opcode, in_first_map))
            .map(move |opcode| [&start[..], &[opcode]].concat())
    })
}

/// A VEX prefix of three bytes and the opcode.
fn vex_starts() -> impl Iterator<Item = Vec<u8>> {
    // W, then vvvv as none or as register 0, then L and the prefix.
    let last = (0..2u8).flat_map(|w| {
        [0x78, 0x70]
            .into_iter()
            .flat_map(move |source| (0..8).map(move |low| w << 7 | source | low))
    });
    last.flat_map(|last| (1..=3u8).map(move |map| (map, last)))
        .flat_map(|(map, last)| (0..=255).map(move |opcode| vec![0xc4, 0xe0 | map, last, opcode]))
}

/// Whether an operand is memory.
pub(crate) fn reaches_memory(instruction: &Instruction) -> bool {
    (0..instruction.op_count()).any(|n| instruction.op_kind(n) == OpKind::Memory)
}

/// Why an encoding is not run here, if it is not.
pub(crate) fn passed_over(code: Code) -> Option<&'static str> {
    use CpuidFeature as F;
    use Mnemonic as M;
    let has = |features: &[F]| code.cpuid_features().iter().any(|f| features.contains(f));
    Some(match code.mnemonic() {
        M::Rcpps | M::Rcpss | M::Rsqrtps | M::Rsqrtss => "bounded, not exact: tests/isa",
        M::Vrcpps | M::Vrcpss | M::Vrsqrtps | M::Vrsqrtss => "bounded, not exact",
        _ if has(&[F::FPU, F::FPU287, F::FPU387]) => "x87: tests/isa",
        M::Fisttp => "x87: tests/isa",
        M::Cpuid | M::Rdtsc | M::Rdtscp | M::Rdpmc | M::Rdrand | M::Rdseed => "differs by design",
        M::Xgetbv | M::Sgdt | M::Sidt | M::Sldt | M::Str | M::Smsw => "shows the system's state",
        M::Lar | M::Lsl | M::Verr | M::Verw => "shows the system's descriptors",
        M::Pushf | M::Pushfq | M::Popf | M::Popfq => "shows IF, sets TF",
        M::Lss | M::Lfs | M::Lgs => "loads a segment register",
        M::Rdfsbase | M::Rdgsbase | M::Wrfsbase | M::Wrgsbase => "moves the test's own base",
        _ if code.flow_control() != FlowControl::Next => "branches",
        _ if code.is_privileged() => "privileged",
        _ if names_segment(code) => "shows or loads a segment register",
        _ => return None,
    })
}

fn names_segment(code: Code) -> bool {
    use Code as C;
    matches!(
        code,
        C::Mov_rm16_Sreg
            | C::Mov_r32m16_Sreg
            | C::Mov_r64m16_Sreg
            | C::Mov_Sreg_rm16
            | C::Mov_Sreg_r32m16
            | C::Mov_Sreg_r64m16
            | C::Pushw_FS
            | C::Pushq_FS
            | C::Pushw_GS
            | C::Pushq_GS
            | C::Popw_FS
            | C::Popq_FS
            | C::Popw_GS
            | C::Popq_GS
    )
}

/// Whether the instruction moves its stack pointer or its frame by itself.
pub(crate) fn implies_stack(instruction: &Instruction) -> bool {
    instruction.is_stack_instruction()
        || matches!(instruction.mnemonic(), Mnemonic::Enter | Mnemonic::Leave)
}

/// Whether the memory operand is an image that FXSAVE or XSAVE writes.
pub(crate) fn takes_image(code: Code) -> bool {
    use CpuidFeature as F;
    let of_images = |f: &CpuidFeature| matches!(f, F::FXSR | F::XSAVE | F::XSAVEOPT);
    code.cpuid_features().iter().any(of_images)
}

/// The bits of a number in a vector where it is up to the processor which of several NaNs comes
/// out: dot products add three times, and no manual says in which order their NaNs meet.
pub(crate) fn numbers_with_any_nan(code: Code) -> Option<u32> {
    match code.mnemonic() {
        Mnemonic::Dpps | Mnemonic::Vdpps => Some(32),
        Mnemonic::Dppd | Mnemonic::Vdppd => Some(64),
        _ => None,
    }
}

/// The general registers that a string instruction takes as addresses.
pub(crate) fn string_registers(instruction: &Instruction) -> Vec<Register> {
    let of_kind = |kind| match kind {
        OpKind::MemorySegSI | OpKind::MemorySegESI | OpKind::MemorySegRSI => Some(Register::RSI),
        OpKind::MemorySegDI
        | OpKind::MemorySegEDI
        | OpKind::MemorySegRDI
        | OpKind::MemoryESDI
        | OpKind::MemoryESEDI
        | OpKind::MemoryESRDI => Some(Register::RDI),
        _ => None,
    };
    (0..instruction.op_count())
        .filter_map(|n| of_kind(instruction.op_kind(n)))
        .collect()
}
