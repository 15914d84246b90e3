//! All encodings of user code, found by decoding every prefix, map, opcode and ModRM form once.
//!
//! A form is an encoding (iced-x86's `Code`) in code of one size, with a register or a memory
//! operand, an address size and a repeat prefix, and a list of first bytes that decode to it; what
//! those leave open is drawn anew for each case.

use std::collections::BTreeMap;
use std::ops::Range;

use iced_x86::{Code, Decoder, DecoderOptions, EncodingKind, Instruction, OpKind};

use super::random::Random;

/// How many of a form's heads are kept of each opcode with its prefixes.
const HEADS_KEPT: usize = 8;
/// What lies behind ModRM while looking for forms.
const TAIL: [u8; 14] = [0; 14];

/// The bytes of an instruction up to ModRM.
#[derive(Clone, Copy)]
struct Head {
    bytes: [u8; 8],
    length: usize,
    modrm: u8,
}

/// What tells forms apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    pub(crate) code: usize,
    /// 16, 32 or 64.
    pub(crate) bits: u32,
    pub(crate) memory: bool,
    /// The address size is not that of the code.
    pub(crate) other_addresses: bool,
    pub(crate) repeat: Repeat,
}

/// A repeat prefix of a string instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Repeat {
    None,
    Equal,
    NotEqual,
}

/// An encoding in all that [`Kind`] says.
pub(crate) struct Form {
    pub(crate) kind: Kind,
    pub(crate) code: Code,
    is_gather: bool,
    heads: Vec<Head>,
}

/// Instructions of the x87 that exist only behind a WAIT of their own (Intel SDM volume 2, "9B" in
/// the opcode column): the encoding without it, and the encoding with it.
const WAITING: [(Code, Code); 12] = [
    (Code::Fnstenv_m14byte, Code::Fstenv_m14byte),
    (Code::Fnstenv_m28byte, Code::Fstenv_m28byte),
    (Code::Fnstcw_m2byte, Code::Fstcw_m2byte),
    (Code::Fneni, Code::Feni),
    (Code::Fndisi, Code::Fdisi),
    (Code::Fnsetpm, Code::Fsetpm),
    (Code::Fnclex, Code::Fclex),
    (Code::Fninit, Code::Finit),
    (Code::Fnsave_m94byte, Code::Fsave_m94byte),
    (Code::Fnsave_m108byte, Code::Fsave_m108byte),
    (Code::Fnstsw_m2byte, Code::Fstsw_m2byte),
    (Code::Fnstsw_AX, Code::Fstsw_AX),
];
const WAIT: u8 = 0x9b;

/// Decodes as our CPU does, but takes WAIT and an instruction that exists behind one as one.
pub(crate) fn decode(bits: u32, bytes: &[u8], ip: u64) -> Instruction {
    decode_with(DecoderOptions::AMD, bits, bytes, ip)
}

/// Decodes as Intel's processors do.
pub(crate) fn decode_intel(bits: u32, bytes: &[u8]) -> Instruction {
    decode_with(DecoderOptions::NONE, bits, bytes, 0)
}

fn decode_with(options: u32, bits: u32, bytes: &[u8], ip: u64) -> Instruction {
    if let Some((&WAIT, rest)) = bytes.split_first() {
        let mut behind = Decoder::with_ip(bits, rest, ip.wrapping_add(1), options).decode();
        let pair = WAITING.iter().find(|(alone, _)| *alone == behind.code());
        if let Some((_, waiting)) = pair {
            behind.set_code(*waiting);
            behind.set_len(behind.len() + 1);
            return behind;
        }
    }
    Decoder::with_ip(bits, bytes, ip, options).decode()
}

/// Where the displacement of the memory operand stands.
pub(crate) fn displacement(bits: u32, bytes: &[u8], code: Code) -> Range<usize> {
    let skipped = usize::from(is_waiting(code));
    let mut decoder = Decoder::new(bits, &bytes[skipped..], DecoderOptions::AMD);
    let instruction = decoder.decode();
    let place = decoder.get_constant_offsets(&instruction);
    let start = skipped + place.displacement_offset();
    start..start + place.displacement_size()
}

fn is_waiting(code: Code) -> bool {
    WAITING.iter().any(|(_, waiting)| *waiting == code)
}

/// The kind of form that `bytes` decoded to.
pub(crate) fn kind(bits: u32, bytes: &[u8], instruction: &Instruction) -> Kind {
    let is_string = instruction.is_string_instruction();
    let memory = reaches_memory(instruction);
    // Where there is no memory operand, the prefix says how wide a counter is, or nothing.
    let addresses = memory || is_string || implies_memory(instruction);
    Kind {
        code: instruction.code() as usize,
        bits,
        memory,
        other_addresses: addresses && has_address_prefix(bits, bytes),
        repeat: match () {
            () if !is_string => Repeat::None,
            () if instruction.has_repne_prefix() => Repeat::NotEqual,
            () if instruction.has_rep_prefix() => Repeat::Equal,
            () => Repeat::None,
        },
    }
}

/// Whether 67h stands among the prefixes.
fn has_address_prefix(bits: u32, bytes: &[u8]) -> bool {
    let is_prefix = |byte: &&u8| match **byte {
        0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3 | WAIT => true,
        0x40..=0x4f => bits == 64,
        _ => false,
    };
    bytes.iter().take_while(is_prefix).any(|&byte| byte == 0x67)
}

impl Form {
    /// The form of the same instruction behind a WAIT of its own.
    fn behind_wait(&self) -> Option<Self> {
        let (_, code) = WAITING.iter().find(|(alone, _)| *alone == self.code)?;
        let mut heads = self.heads.clone();
        for head in &mut heads {
            head.bytes.rotate_right(1);
            head.bytes[0] = WAIT;
            head.length += 1;
        }
        Some(Self {
            kind: Kind {
                code: *code as usize,
                ..self.kind
            },
            code: *code,
            is_gather: false,
            heads,
        })
    }

    /// Bytes that decode to this form, one for each start of it that was found.
    pub(crate) fn starts(&self) -> impl Iterator<Item = Vec<u8>> {
        self.heads.iter().map(|head| {
            let start = &head.bytes[..head.length];
            [start, &[head.modrm], &TAIL[..14 - head.length]].concat()
        })
    }

    /// Bytes that decode to this form, mostly: registers, addressing and immediates are random.
    pub(crate) fn draw(&self, random: &mut Random) -> Vec<u8> {
        let head = random.pick(&self.heads);
        let mut bytes = head.bytes[..head.length].to_vec();
        let modrm = self.loosen(&mut bytes, head.modrm, random);
        if self.kind.memory && !is_waiting(self.code) {
            self.add_prefixes(&mut bytes, random);
        }
        bytes.push(modrm);
        bytes.extend((0..12).map(|_| random.next() as u8));
        bytes.truncate(15);
        bytes
    }

    /// LOCK and segment overrides, sometimes.
    fn add_prefixes(&self, bytes: &mut Vec<u8>, random: &mut Random) {
        if random.one_in(16) && self.code.encoding() == EncodingKind::Legacy {
            bytes.insert(0, 0xf0);
        }
        if random.one_in(8) {
            let overrides: &[u8] = match self.kind.bits {
                64 => &[0x64, 0x65],
                _ => &[0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65],
            };
            bytes.insert(0, random.pick(overrides));
        }
    }

    /// Draws what REX or VEX says of registers, and ModRM as far as the encoding may stay.
    fn loosen(&self, bytes: &mut [u8], modrm: u8, random: &mut Random) -> u8 {
        let wide = self.kind.bits == 64;
        let mut modrm = modrm;
        if !random.one_in(4) {
            modrm ^= (random.below(8) as u8) << 3;
        }
        if modrm >= 0xc0 {
            modrm ^= random.below(8) as u8;
        } else {
            // Gathers have a SIB always.
            let rm = if self.is_gather {
                4
            } else {
                random.below(8) as u8
            };
            modrm = modrm & 0x38 | (random.below(3) as u8) << 6 | rm;
        }
        if self.code.encoding() == EncodingKind::VEX {
            let start = usize::from(bytes[0] == 0x67);
            if wide {
                bytes[start + 1] ^= (random.below(8) as u8) << 5;
            }
            if !random.one_in(4) {
                let sources = if wide { 16 } else { 8 };
                bytes[start + 2] ^= (random.below(sources) as u8) << 3;
            }
        } else if wide && let Some(rex) = bytes.iter_mut().find(|byte| **byte & 0xf0 == 0x40) {
            *rex |= random.below(8) as u8;
        }
        modrm
    }
}

/// Every form of code of all three sizes that iced-x86 decodes.
pub(crate) fn all() -> Vec<Form> {
    let mut forms = BTreeMap::new();
    for bits in [64, 32, 16] {
        for start in legacy_starts(bits).chain(vex_starts()) {
            for prefix in [&[][..], &[0x67]] {
                let start = [prefix, &start].concat();
                let memory = |rm: u8| (0..8).map(move |field| field << 3 | rm);
                // With and without SIB, which gathers need.
                for modrm in (0xc0..=0xff).chain(memory(3)).chain(memory(4)) {
                    note(&mut forms, bits, &start, modrm);
                }
            }
        }
    }
    let waiting: Vec<_> = forms.values().filter_map(Form::behind_wait).collect();
    forms.into_values().chain(waiting).collect()
}

/// Adds what `start` and `modrm` decode to.
fn note(forms: &mut BTreeMap<Kind, Form>, bits: u32, start: &[u8], modrm: u8) {
    let mut bytes = [0; 15];
    bytes[..start.len()].copy_from_slice(start);
    bytes[start.len()] = modrm;
    bytes[start.len() + 1..].copy_from_slice(&TAIL[..14 - start.len()]);
    let instruction = decode(bits, &bytes, 0);
    if instruction.is_invalid() {
        return;
    }
    let kind = kind(bits, &bytes, &instruction);
    let form = forms.entry(kind).or_insert(Form {
        kind,
        code: instruction.code(),
        is_gather: instruction.memory_index().is_vector_register(),
        heads: Vec::new(),
    });
    let last = form.heads.iter().rev().take(HEADS_KEPT);
    let alike = last.filter(|head| head.bytes[..head.length] == *start);
    if alike.count() < HEADS_KEPT {
        let mut head = Head {
            bytes: [0; 8],
            length: start.len(),
            modrm,
        };
        head.bytes[..start.len()].copy_from_slice(start);
        form.heads.push(head);
    }
}

/// Prefixes, REX in 64-bit code, and opcode.
fn legacy_starts(bits: u32) -> impl Iterator<Item = Vec<u8>> {
    const PREFIXES: [&[u8]; 6] = [&[], &[0x66], &[0xf3], &[0xf2], &[0x66, 0xf3], &[0x66, 0xf2]];
    const REX: [&[u8]; 3] = [&[], &[0x40], &[0x48]];
    const MAPS: [&[u8]; 4] = [&[], &[0x0f], &[0x0f, 0x38], &[0x0f, 0x3a]];
    let wide = bits == 64;
    let rex = if wide { &REX[..] } else { &REX[..1] };
    let starts = PREFIXES
        .iter()
        .flat_map(move |prefix| rex.iter().map(move |rex| [*prefix, rex].concat()));
    let maps = starts.flat_map(|start| MAPS.iter().map(move |map| [&start[..], map].concat()));
    maps.flat_map(move |start| {
        let in_first_map = !start.contains(&0x0f);
        (0..=255)
            .filter(move |&opcode| !(in_first_map && is_prefix(opcode, wide)))
            .map(move |opcode| [&start[..], &[opcode]].concat())
    })
}

/// Whether a byte of the first map begins something else than an instruction of that map. C4h, C5h
/// and 62h do so in 64-bit code; elsewhere it depends on what follows.
fn is_prefix(byte: u8, wide: bool) -> bool {
    match byte {
        0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3 | 0x0f => true,
        0x40..=0x4f | 0x62 | 0xc4 | 0xc5 => wide,
        _ => false,
    }
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

/// Whether an operand is memory, where an instruction says with ModRM or with an offset.
pub(crate) fn reaches_memory(instruction: &Instruction) -> bool {
    (0..instruction.op_count()).any(|n| instruction.op_kind(n) == OpKind::Memory)
}

/// Whether an operand is memory at RSI or RDI.
fn implies_memory(instruction: &Instruction) -> bool {
    let mut kinds = (0..instruction.op_count()).map(|n| instruction.op_kind(n));
    kinds.any(|kind| (OpKind::MemorySegSI..=OpKind::MemoryESRDI).contains(&kind))
}
