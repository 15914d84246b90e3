//! User-mode instructions, one at a time, on the host's own CPU and on ours: every register,
//! flag, XMM and MMX register and memory byte has to agree.
//!
//! Encodings are made from random bytes behind each opcode of the families below; what iced-x86
//! cannot decode, what branches and what touches the stack pointer is passed over. The native
//! side runs in a forked child (`native.rs`), the other side calls the instruction's handler on
//! a `Core` whose memory lies at the same addresses (`ours.rs`). Flags that the manual leaves
//! undefined are not compared.

#[path = "../isa/empty_board.rs"]
mod empty_board;
#[expect(unsafe_code, reason = "runs machine code and catches its signals")]
mod native;
mod ours;
mod random;
mod state;

use std::fmt::Write as _;

use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind, Register};

use random::Random;
use state::{MEMORY_BYTES, Outcome, State};

/// Opcodes to put in front of random bytes: prefixes and opcode bytes.
type Family = &'static [&'static [u8]];

const ALU: Family = &[
    &[0x00],
    &[0x01],
    &[0x02],
    &[0x03],
    &[0x04],
    &[0x05],
    &[0x08],
    &[0x09],
    &[0x0a],
    &[0x0b],
    &[0x10],
    &[0x11],
    &[0x12],
    &[0x13],
    &[0x18],
    &[0x19],
    &[0x1a],
    &[0x1b],
    &[0x20],
    &[0x21],
    &[0x23],
    &[0x28],
    &[0x29],
    &[0x2b],
    &[0x30],
    &[0x31],
    &[0x33],
    &[0x38],
    &[0x39],
    &[0x3b],
    &[0x63],
    &[0x69],
    &[0x6b],
    &[0x80],
    &[0x81],
    &[0x83],
    &[0x84],
    &[0x85],
    &[0x86],
    &[0x87],
    &[0x88],
    &[0x89],
    &[0x8a],
    &[0x8b],
    &[0x8d],
    &[0x90],
    &[0x98],
    &[0x99],
    &[0x9e],
    &[0x9f],
    &[0xa8],
    &[0xa9],
    &[0xb0],
    &[0xb8],
    &[0xc0],
    &[0xc1],
    &[0xc6],
    &[0xc7],
    &[0xd0],
    &[0xd1],
    &[0xd2],
    &[0xd3],
    &[0xf5],
    &[0xf6],
    &[0xf7],
    &[0xf8],
    &[0xf9],
    &[0xfe],
    &[0xff],
    &[0x0f, 0xa3],
    &[0x0f, 0xa4],
    &[0x0f, 0xa5],
    &[0x0f, 0xab],
    &[0x0f, 0xac],
    &[0x0f, 0xad],
    &[0x0f, 0xaf],
    &[0x0f, 0xb0],
    &[0x0f, 0xb1],
    &[0x0f, 0xb3],
    &[0x0f, 0xb6],
    &[0x0f, 0xb7],
    &[0x0f, 0xba],
    &[0x0f, 0xbb],
    &[0x0f, 0xbc],
    &[0x0f, 0xbd],
    &[0x0f, 0xbe],
    &[0x0f, 0xbf],
    &[0x0f, 0xc0],
    &[0x0f, 0xc1],
    &[0x0f, 0xc8],
    &[0xf3, 0x0f, 0xb8],
    &[0x0f, 0x40],
    &[0x0f, 0x42],
    &[0x0f, 0x44],
    &[0x0f, 0x46],
    &[0x0f, 0x48],
    &[0x0f, 0x4a],
    &[0x0f, 0x4c],
    &[0x0f, 0x4e],
    &[0x0f, 0x90],
    &[0x0f, 0x93],
    &[0x0f, 0x95],
    &[0x0f, 0x97],
    &[0x0f, 0x99],
    &[0x0f, 0x9b],
    &[0x0f, 0x9d],
    &[0x0f, 0x9f],
    &[0x0f, 0xc3],
    &[0x0f, 0xc7],
];

/// The second bytes of the MMX and SSE instructions that work on integers or only move.
const PACKED: &[u8] = &[
    0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x28, 0x29, 0x2b, 0x50, 0x54, 0x55, 0x56, 0x57,
    0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f,
    0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x7e, 0x7f, 0xc4, 0xc5, 0xc6, 0xd1, 0xd2, 0xd3, 0xd4,
    0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xe0, 0xe1, 0xe2, 0xe3, 0xe4,
    0xe5, 0xe7, 0xe8, 0xe9, 0xea, 0xeb, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5,
    0xf6, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe,
];

/// The third bytes behind 0F 38 and 0F 3A.
const PACKED_38: &[u8] = &[
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x10, 0x14, 0x15, 0x17,
    0x1c, 0x1d, 0x1e, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x28, 0x29, 0x2a, 0x2b, 0x30, 0x31, 0x32,
    0x33, 0x34, 0x35, 0x37, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x40, 0x41, 0xf0, 0xf1,
];
const PACKED_3A: &[u8] = &[
    0x0c, 0x0d, 0x0e, 0x0f, 0x14, 0x15, 0x16, 0x17, 0x20, 0x21, 0x22, 0x42, 0x60, 0x61, 0x62, 0x63,
];

/// What a family's instructions start with.
fn opcode(family: &str, random: &mut Random) -> Vec<u8> {
    let prefixes: [&[u8]; 4] = [&[], &[0x66], &[0xf2], &[0xf3]];
    let prefix = prefixes[random.below(4) as usize];
    let rex = [0x40 | random.below(16) as u8];
    let (prefix, rest): (&[u8], Vec<u8>) = match family {
        "alu" => {
            let bytes = ALU[random.below(ALU.len() as u64) as usize];
            match bytes[0] {
                0xf3 => (&[0xf3], bytes[1..].to_vec()),
                _ if random.below(3) == 0 => (&[0x66], bytes.to_vec()),
                _ => (&[], bytes.to_vec()),
            }
        }
        "packed" => (prefix, vec![0x0f, random.pick(PACKED)]),
        "packed38" => (prefix, vec![0x0f, 0x38, random.pick(PACKED_38)]),
        _ => (prefix, vec![0x0f, 0x3a, random.pick(PACKED_3A)]),
    };
    let rex: &[u8] = if random.below(2) == 0 { &rex } else { &[] };
    [prefix, rex, &rest].concat()
}

/// An instruction that both sides can run, with registers set so that its memory operand lies
/// in the scratch memory.
fn case(family: &str, random: &mut Random) -> Option<(Vec<u8>, Instruction, State)> {
    let mut bytes = opcode(family, random);
    bytes.extend((0..12).map(|_| random.next() as u8));
    let options = DecoderOptions::NO_MPFX_0FBC | DecoderOptions::NO_MPFX_0FBD;
    let instruction = Decoder::new(64, &bytes, options).decode();
    bytes.truncate(instruction.len());
    let mut state = State::random(random);
    // What only the host has is an invalid opcode here, and nothing to compare.
    let usable = !instruction.is_invalid()
        && cowbox::cpu::cpuid::claims(&instruction)
        && !instruction.is_privileged()
        && !instruction.has_lock_prefix()
        && !instruction.has_rep_prefix()
        && !instruction.has_repne_prefix()
        && instruction.flow_control() == iced_x86::FlowControl::Next
        && !instruction.is_stack_instruction()
        && !uses_stack_pointer(&instruction)
        && reach_memory(&instruction, &mut state, random);
    usable.then_some((bytes, instruction, state))
}

fn uses_stack_pointer(instruction: &Instruction) -> bool {
    let mut factory = iced_x86::InstructionInfoFactory::new();
    let info = factory.info(instruction);
    let registers = info.used_registers().iter().map(|r| r.register());
    let mut all = registers.chain(
        info.used_memory()
            .iter()
            .flat_map(|m| [m.base(), m.index()]),
    );
    all.any(|r| r.full_register() == Register::RSP)
}

/// Sets the base register so that the operand starts in the middle of the scratch memory.
fn reach_memory(instruction: &Instruction, state: &mut State, random: &mut Random) -> bool {
    let kinds = (0..instruction.op_count()).map(|n| instruction.op_kind(n));
    let implied = |kind| !matches!(kind, OpKind::Memory | OpKind::Register) && is_string(kind);
    if kinds.clone().any(implied) || instruction.segment_prefix() != Register::None {
        return false;
    }
    if !kinds.clone().any(|kind| kind == OpKind::Memory) {
        return true;
    }
    let base = instruction.memory_base();
    let plain = base.is_gpr64() && instruction.memory_index() == Register::None;
    // LEA does not read: any address will do, but the base has to be a register all the same.
    if !plain {
        return false;
    }
    let aligned = if random.below(4) == 0 {
        random.below(16)
    } else {
        0
    };
    let target = state::memory_address() + MEMORY_BYTES / 2 + aligned;
    let displacement = instruction.memory_displacement64();
    state.general[base.number()] = target.wrapping_sub(displacement);
    // The register of a bit-string instruction selects a word far away: keep it near.
    if instruction.op_count() > 1 && instruction.op_kind(1) == OpKind::Register {
        use iced_x86::Mnemonic::{Bt, Btc, Btr, Bts};
        if matches!(instruction.mnemonic(), Bt | Bts | Btr | Btc) {
            let register = instruction.op_register(1).full_register();
            if register == base {
                return false;
            }
            state.general[register.number()] = random.below(512).wrapping_sub(256);
        }
    }
    true
}

fn is_string(kind: OpKind) -> bool {
    matches!(
        kind,
        OpKind::MemorySegSI
            | OpKind::MemorySegESI
            | OpKind::MemorySegRSI
            | OpKind::MemorySegDI
            | OpKind::MemorySegEDI
            | OpKind::MemorySegRDI
            | OpKind::MemoryESDI
            | OpKind::MemoryESEDI
            | OpKind::MemoryESRDI
    )
}

/// Compares `count` cases of a family; the differences as text, and how many were compared.
fn compare(family: &str, seed: u64, count: u64) -> (String, u64) {
    let mut random = Random::new(seed);
    let mut machine = ours::Machine::new();
    let native = native::Native::new();
    let (mut report, mut compared, mut differences) = (String::new(), 0, 0);
    for _ in 0..count {
        let Some((bytes, instruction, before)) = case(family, &mut random) else {
            continue;
        };
        let theirs = native.run(&bytes, &before);
        let ours = machine.run(&instruction, &before);
        compared += 1;
        let undefined = ours::undefined_flags(&instruction);
        if let Some(difference) = state::difference(&theirs, &ours, undefined) {
            differences += 1;
            if differences <= 20 {
                let _ = writeln!(
                    report,
                    "{instruction} {bytes:02x?}: {difference}\n  {before}"
                );
            }
        }
    }
    if differences > 20 {
        let _ = writeln!(report, "… {differences} differences in all");
    }
    (report, compared)
}

/// Runs a family in a child, which may die of what it runs.
fn check(family: &'static str) {
    let count = match std::env::var("COWBOX_NATIVE_CASES") {
        Ok(count) => count.parse().expect("COWBOX_NATIVE_CASES is a number"),
        Err(_) => 60_000,
    };
    let report = native::in_child(move || {
        let (report, compared) = compare(family, 1, count);
        format!("{compared}\n{report}")
    });
    let (compared, differences) = report.split_once('\n').expect("the child wrote its count");
    println!("{family}: {compared} cases compared with the host");
    assert!(compared.parse::<u64>().expect("a number") > count / 20);
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn integer_instructions_do_what_the_host_does() {
    check("alu");
}

#[test]
fn packed_instructions_do_what_the_host_does() {
    check("packed");
}

#[test]
fn packed_instructions_of_the_second_map_do_what_the_host_does() {
    check("packed38");
}

#[test]
fn packed_instructions_of_the_third_map_do_what_the_host_does() {
    check("packed3a");
}

#[test]
fn an_outcome_that_differs_in_one_bit_is_a_difference() {
    let state = State::random(&mut Random::new(7));
    let mut other = state.clone();
    other.general[3] ^= 1;
    let (a, b) = (
        Outcome::Done(Box::new(state)),
        Outcome::Done(Box::new(other)),
    );
    assert!(state::difference(&a, &a, 0).is_none());
    assert!(state::difference(&a, &b, 0).is_some());
    assert!(state::difference(&a, &Outcome::Fault(11), 0).is_some());
}
