//! SSE to SSE4.1 floating-point instructions in our interpreter against the host: XMM and MMX
//! registers, MXCSR, the x87's tags and TOP, general registers and EFLAGS. All exceptions are
//! masked; roundings, DAZ, FTZ and the flags raised before are random.

use crate::guest::{DATA, End, Guest};
use crate::native_code::Code;
use crate::native_float::operands::Random;
use cowbox::cpu::fpu::soft::Float80;
use cowbox::cpu::regs::{RAX, RCX, RDX};

/// What goes into an instruction and comes out of it; the host's code knows the offsets.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    /// As FXSAVE64 has it.
    image: [u8; 512],
    memory: [u8; 128],
    rax: u64,
    rdx: u64,
    rflags: u64,
    default_mxcsr: u64,
}

/// mov rcx, rdi; add rcx, 512; mov rax, [rdi+640]; mov rdx, [rdi+648]; push [rdi+656]; popfq;
/// fxrstor64 [rdi]
const BEFORE: [u8; 35] = [
    0x48, 0x89, 0xf9, 0x48, 0x81, 0xc1, 0, 2, 0, 0, 0x48, 0x8b, 0x87, 0x80, 2, 0, 0, 0x48, 0x8b,
    0x97, 0x88, 2, 0, 0, 0xff, 0xb7, 0x90, 2, 0, 0, 0x9d, 0x48, 0x0f, 0xae, 0x0f,
];

/// fxsave64 [rdi]; mov [rdi+640], rax; pushfq; pop [rdi+656]; ldmxcsr [rdi+664]; fninit; ret
const AFTER: [u8; 28] = [
    0x48, 0x0f, 0xae, 0x07, 0x48, 0x89, 0x87, 0x80, 2, 0, 0, 0x9c, 0x8f, 0x87, 0x90, 2, 0, 0, 0x0f,
    0xae, 0x97, 0x98, 2, 0, 0, 0xdb, 0xe3, 0xc3,
];

const ARITHMETIC_FLAGS: u64 = 0x8d5;

/// Sixteen bytes of numbers or small integers.
fn vector(random: &mut Random) -> [u8; 16] {
    let mut bytes = [0; 16];
    match random.below(5) {
        0 | 1 => {
            for place in bytes.chunks_exact_mut(4) {
                place.copy_from_slice(&random.float32().to_le_bytes());
            }
        }
        2 | 3 => {
            for place in bytes.chunks_exact_mut(8) {
                place.copy_from_slice(&random.float64().to_le_bytes());
            }
        }
        _ => {
            for place in bytes.chunks_exact_mut(4) {
                let integer = (random.next() as u32).cast_signed() >> random.below(32);
                place.copy_from_slice(&integer.to_le_bytes());
            }
        }
    }
    bytes
}

fn random_state(random: &mut Random) -> State {
    let mut image = [0; 512];
    image[0..2].copy_from_slice(&0x037f_u16.to_le_bytes());
    let status = (random.below(8) as u16) << 11;
    image[2..4].copy_from_slice(&status.to_le_bytes());
    image[4] = random.next() as u8;
    let modes = random.below(4) << 13 | random.below(2) << 6 | random.below(2) << 15;
    let mxcsr = (0x1f80 | modes | random.below(64)) as u32;
    image[24..28].copy_from_slice(&mxcsr.to_le_bytes());
    for place in image[32..160].chunks_exact_mut(16) {
        place[..10].copy_from_slice(&random.float80().to_bytes());
        place[..8].copy_from_slice(&vector(random)[..8]);
    }
    for place in image[160..416].chunks_exact_mut(16) {
        place.copy_from_slice(&vector(random));
    }
    let mut memory = [0; 128];
    memory[..16].copy_from_slice(&vector(random));
    State {
        image,
        memory,
        rax: random.next(),
        rdx: random.next() >> random.below(64),
        rflags: random.next() & ARITHMETIC_FLAGS | 2,
        default_mxcsr: 0x1f80,
    }
}

fn load(guest: &mut Guest, state: &State) {
    let cpu = &mut guest.cpu;
    cpu.fpu.init();
    cpu.fpu
        .set_status(u16::from_le_bytes([state.image[2], state.image[3]]));
    for (i, place) in (0..8).zip(state.image[32..160].chunks_exact(16)) {
        cpu.fpu
            .set_st(i, Float80::from_bytes(place[..10].try_into().unwrap()));
    }
    cpu.fpu.set_used(state.image[4]);
    cpu.sse.mxcsr = u32::from_le_bytes(state.image[24..28].try_into().unwrap());
    for (n, place) in (0..16).zip(state.image[160..416].chunks_exact(16)) {
        cpu.sse
            .set(n, u128::from_le_bytes(place.try_into().unwrap()));
    }
    cpu.regs.set(RAX, state.rax);
    cpu.regs.set(RDX, state.rdx);
    cpu.regs.set(RCX, DATA);
    cpu.flags.set_bits(state.rflags as u32);
    guest.set_data(&state.memory);
}

fn save(guest: &Guest, before: &State) -> State {
    let cpu = &guest.cpu;
    let mut image = before.image;
    image[2..4].copy_from_slice(&cpu.fpu.status().to_le_bytes());
    image[4] = cpu.fpu.used();
    image[24..28].copy_from_slice(&cpu.sse.mxcsr.to_le_bytes());
    for (i, place) in (0..8).zip(image[32..160].chunks_exact_mut(16)) {
        place[..10].copy_from_slice(&cpu.fpu.st(i).to_bytes());
    }
    for (xmm, place) in cpu.sse.xmm.iter().zip(image[160..416].chunks_exact_mut(16)) {
        place.copy_from_slice(&xmm.to_le_bytes());
    }
    State {
        image,
        memory: guest.data(),
        rax: cpu.regs.get(RAX),
        rflags: u64::from(cpu.flags.bits()),
        ..*before
    }
}

/// Which of several NaNs DPPS and DPPD return is left open, lane by lane: all count as one.
fn merge_nans(state: &mut State, bytes: &[u8]) {
    match bytes[3] {
        0x40 => {
            for place in state.image[160..176].chunks_exact_mut(4) {
                if f32::from_le_bytes(place.try_into().unwrap()).is_nan() {
                    place.fill(0xff);
                }
            }
        }
        _ => {
            for place in state.image[160..176].chunks_exact_mut(8) {
                if f64::from_le_bytes(place.try_into().unwrap()).is_nan() {
                    place.fill(0xff);
                }
            }
        }
    }
}

/// Makes equal what is not compared: pointers to the last x87 instruction, MXCSR_MASK, reserved.
fn normalise(state: &mut State) {
    state.image[6..24].fill(0);
    state.image[28..32].fill(0);
    state.image[416..].fill(0);
    state.rflags &= ARITHMETIC_FLAGS;
}

fn describe(state: &State) -> String {
    let number = |at: usize| u128::from_le_bytes(state.image[at..at + 16].try_into().unwrap());
    format!(
        "mxcsr {:04x} xmm0 {:032x} xmm2 {:032x} mm0 {:032x} mm2 {:032x} sw {:02x?} rax {:x} \
         rdx {:x} rflags {:x} memory {:032x}",
        number(24) as u32,
        number(160),
        number(192),
        number(32),
        number(64),
        &state.image[2..5],
        state.rax,
        state.rdx,
        state.rflags,
        u128::from_le_bytes(state.memory[..16].try_into().unwrap()),
    )
}

fn check(bytes: &[u8], code: &mut Code, guest: &mut Guest, random: &mut Random) {
    code.place(&[&BEFORE, bytes, &AFTER]);
    guest.place(bytes);
    for _ in 0..crate::native_float::cases() / 100 {
        let before = random_state(random);
        let mut host = before;
        code.call(&mut host);
        load(guest, &before);
        assert_eq!(guest.step(), End::Done, "{bytes:02x?} did not complete");
        let mut ours = save(guest, &before);
        normalise(&mut host);
        normalise(&mut ours);
        if let [0x66, 0x0f, 0x3a, 0x40 | 0x41, ..] = bytes {
            merge_nans(&mut host, bytes);
            merge_nans(&mut ours, bytes);
        }
        assert!(
            host == ours,
            "{bytes:02x?} from {}\nhost {}\nours {}",
            describe(&before),
            describe(&host),
            describe(&ours)
        );
    }
}

/// Encodings of the floating-point opcodes with register 2 and with [rcx] as the source.
fn encodings() -> Vec<Vec<u8>> {
    let opcodes = [0x2a, 0x2c, 0x2d, 0x2e, 0x2f, 0x51, 0x7c, 0x7d, 0xd0, 0xe6];
    let plain = opcodes
        .into_iter()
        .chain(0x58..=0x5f)
        .map(|opcode| (vec![0x0f, opcode], None));
    let predicates = (0..8).map(|code| (vec![0x0f, 0xc2], Some(code)));
    let rounds = (0x08..=0x0b)
        .flat_map(|opcode| (0..16).map(move |control| (vec![0x0f, 0x3a, opcode], Some(control))));
    let products = [0x40, 0x41].into_iter().flat_map(|opcode| {
        [0xff, 0x31, 0x7f, 0xf8, 0x00, 0x93]
            .map(|control| (vec![0x0f, 0x3a, opcode], Some(control)))
    });
    let all: Vec<_> = plain
        .chain(predicates)
        .chain(rounds)
        .chain(products)
        .collect();
    let prefixes: [&[u8]; 6] = [&[], &[0x66], &[0xf3], &[0xf2], &[0xf3, 0x48], &[0xf2, 0x48]];
    let mut encodings = Vec::new();
    for (opcode, immediate) in all {
        for prefix in prefixes {
            for modrm in [0xc2, 0x01] {
                let mut bytes = [prefix, &opcode, &[modrm]].concat();
                bytes.extend(immediate);
                let mut decoder =
                    iced_x86::Decoder::new(64, &bytes, iced_x86::DecoderOptions::NONE);
                let instruction = decoder.decode();
                if !instruction.is_invalid() && instruction.len() == bytes.len() {
                    encodings.push(bytes);
                }
            }
        }
    }
    encodings
}

#[test]
fn sse_floating_point_agrees_with_host() {
    let mut random = Random::new(41);
    let (mut code, mut guest) = (Code::new(), Guest::new());
    for bytes in encodings() {
        check(&bytes, &mut code, &mut guest, &mut random);
    }
}
