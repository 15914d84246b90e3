//! Every x87 encoding in our interpreter against the host: registers, tags, TOP, control and
//! status word, memory operand, AX and EFLAGS, from random states with empty registers,
//! unmasked exceptions and every rounding.
//!
//! Not compared: the pointers to the last instruction (addresses differ, and processors differ in
//! when they keep them), C1 and the last bit of transcendental results.

use crate::guest::{DATA, End, Guest};
use crate::native_code::Code;
use crate::native_float::operands::Random;
use cowbox::cpu::Cpu;
use cowbox::cpu::fpu::soft::Float80;
use cowbox::cpu::regs::{RAX, RCX};

/// What goes into an instruction and comes out of it; the host's code knows the offsets.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    /// As FNSAVE and FRSTOR have it, protected mode, 32 bits.
    image: [u8; 128],
    memory: [u8; 128],
    rax: u64,
    rflags: u64,
    mxcsr: u64,
}

/// mov rcx, rdi; add rcx, 128; mov rax, [rdi+256]; push [rdi+264]; popfq; frstor [rdi]
const BEFORE: [u8; 28] = [
    0x48, 0x89, 0xf9, 0x48, 0x81, 0xc1, 0x80, 0, 0, 0, 0x48, 0x8b, 0x87, 0, 1, 0, 0, 0xff, 0xb7, 8,
    1, 0, 0, 0x9d, 0xdd, 0x27, 0x90, 0x90,
];

/// fnsave [rdi]; mov [rdi+256], rax; pushfq; pop [rdi+264]; fninit; ret
const AFTER: [u8; 19] = [
    0xdd, 0x37, 0x48, 0x89, 0x87, 0, 1, 0, 0, 0x9c, 0x8f, 0x87, 8, 1, 0, 0, 0xdb, 0xe3, 0xc3,
];

const ARITHMETIC_FLAGS: u64 = 0x8d5;

fn random_state(random: &mut Random) -> State {
    let mut image = [0; 128];
    let control = random.control_word();
    // Flags that were raised before are masked ones: nothing waits.
    let flags = random.below(64) as u16 & control & 0x3f;
    let status = flags | (random.below(32) as u16) << 10 | (random.below(2) as u16) << 8;
    let full = random.below(2) == 0;
    let tags = (0..8).fold(0u16, |tags, n| {
        let empty = !full && random.below(3) == 0;
        tags | (u16::from(empty) * 3) << (2 * n)
    });
    image[0..2].copy_from_slice(&control.to_le_bytes());
    image[4..6].copy_from_slice(&status.to_le_bytes());
    image[8..10].copy_from_slice(&tags.to_le_bytes());
    for place in image[28..108].chunks_exact_mut(10) {
        place.copy_from_slice(&random.float80().to_bytes());
    }
    let mut memory = [0; 128];
    match random.below(3) {
        0 => memory[..4].copy_from_slice(&random.float32().to_le_bytes()),
        1 => memory[..8].copy_from_slice(&random.float64().to_le_bytes()),
        _ => memory[..10].copy_from_slice(&random.float80().to_bytes()),
    }
    State {
        image,
        memory,
        rax: random.next(),
        rflags: random.next() & ARITHMETIC_FLAGS | 2,
        mxcsr: 0x1f80,
    }
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn register(state: &State, i: usize) -> Float80 {
    let mut bytes = [0; 10];
    bytes.copy_from_slice(&state.image[28 + 10 * i..38 + 10 * i]);
    Float80::from_bytes(bytes)
}

fn describe(state: &State) -> String {
    let registers: Vec<_> = (0..8)
        .map(|i| register(state, i))
        .map(|r| format!("{:04x}.{:016x}", r.sign_exponent, r.significand))
        .collect();
    format!(
        "cw {:04x} sw {:04x} tags {:04x} rax {:x} rflags {:x} memory {:02x?} st {registers:?}",
        word(&state.image, 0),
        word(&state.image, 4),
        word(&state.image, 8),
        state.rax,
        state.rflags,
        &state.memory[..16],
    )
}

fn load(guest: &mut Guest, state: &State) {
    let cpu: &mut Cpu = &mut guest.cpu;
    cpu.fpu.init();
    cpu.fpu.set_control(word(&state.image, 0));
    cpu.fpu.set_status(word(&state.image, 4));
    for i in 0..8 {
        cpu.fpu.set_st(i, register(state, usize::from(i)));
    }
    cpu.fpu.set_tag_word(word(&state.image, 8));
    cpu.regs.set(RAX, state.rax);
    cpu.regs.set(RCX, DATA);
    cpu.flags.set_bits(state.rflags as u32);
    guest.set_data(&state.memory);
}

fn save(guest: &Guest, before: &State) -> State {
    let cpu = &guest.cpu;
    let mut image = before.image;
    image[0..2].copy_from_slice(&cpu.fpu.control().to_le_bytes());
    image[4..6].copy_from_slice(&cpu.fpu.status().to_le_bytes());
    image[8..10].copy_from_slice(&cpu.fpu.tag_word().to_le_bytes());
    for (i, place) in (0..8).zip(image[28..108].chunks_exact_mut(10)) {
        place.copy_from_slice(&cpu.fpu.st(i).to_bytes());
    }
    State {
        image,
        memory: guest.data(),
        rax: cpu.regs.get(RAX),
        rflags: u64::from(cpu.flags.bits()),
        mxcsr: before.mxcsr,
    }
}

/// Makes equal what is not compared.
fn normalise(state: &mut State, bytes: [u8; 2]) {
    for at in [2, 3, 6, 7, 10, 11]
        .into_iter()
        .chain(12..28)
        .chain(108..128)
    {
        state.image[at] = 0;
    }
    state.rflags &= ARITHMETIC_FLAGS;
    if is_transcendental(bytes) {
        state.image[5] &= !2;
    }
    if is_environment_store(bytes) {
        state.memory[12..28].fill(0);
    }
}

fn is_transcendental(bytes: [u8; 2]) -> bool {
    bytes[0] == 0xd9 && matches!(bytes[1], 0xf0..=0xf3 | 0xf9 | 0xfb | 0xfe | 0xff)
}

fn is_environment_store(bytes: [u8; 2]) -> bool {
    matches!(bytes, [0xd9 | 0xdd, 0x31])
}

/// Equal, but for one unit in the last place of the registers of a transcendental function.
fn agree(host: &State, ours: &State, bytes: [u8; 2]) -> bool {
    if !is_transcendental(bytes) {
        return host == ours;
    }
    let mut patched = *ours;
    for i in 0..8 {
        let (x, y) = (register(host, i), register(ours, i));
        if x.sign_exponent.abs_diff(y.sign_exponent) > 1 {
            return false;
        }
        let place =
            |v: Float80| i128::from(v.sign_exponent) << 63 | i128::from(v.significand << 1 >> 1);
        if (place(x) - place(y)).abs() <= 1 {
            patched.image[28 + 10 * i..38 + 10 * i].copy_from_slice(&x.to_bytes());
        }
    }
    // A unit at the edge of the range decides on OE and UE, and on the tag.
    if host.image[28..108] == patched.image[28..108] {
        patched.image[4..6].copy_from_slice(&host.image[4..6]);
        patched.image[8..10].copy_from_slice(&host.image[8..10]);
    }
    *host == patched
}

/// F2XM1 and FYL2XP1 have results for a part of all numbers only.
fn is_defined(bytes: [u8; 2], state: &State) -> bool {
    let exponent = register(state, 0).sign_exponent & 0x7fff;
    match bytes {
        [0xd9, 0xf0] => !(0x3fff..0x7fff).contains(&exponent),
        [0xd9, 0xf9] => !(0x3ffd..0x7fff).contains(&exponent),
        _ => true,
    }
}

fn check(bytes: [u8; 2], code: &mut Code, guest: &mut Guest, random: &mut Random) {
    code.place(&[&BEFORE, &bytes, &AFTER]);
    guest.place(&bytes);
    for _ in 0..crate::native_float::cases() / 100 {
        let mut before = random_state(random);
        if is_transcendental(bytes) {
            // One unit decides whether an unmasked overflow or underflow wraps the exponent.
            before.image[0] |= 0x18;
        }
        if !is_defined(bytes, &before) {
            continue;
        }
        let mut host = before;
        code.call(&mut host);
        load(guest, &before);
        assert_eq!(guest.step(), End::Done, "{bytes:02x?} did not complete");
        let mut ours = save(guest, &before);
        normalise(&mut host, bytes);
        normalise(&mut ours, bytes);
        assert!(
            agree(&host, &ours, bytes),
            "{bytes:02x?} from {}\nhost {}\nours {}",
            describe(&before),
            describe(&host),
            describe(&ours)
        );
    }
}

/// Whether the encoding exists, and does not load state from a random image.
fn is_tested(bytes: [u8; 2]) -> bool {
    let mut decoder = iced_x86::Decoder::new(64, &bytes, iced_x86::DecoderOptions::NONE);
    let instruction = decoder.decode();
    let loads_state = matches!(bytes, [0xd9 | 0xdd, 0x21]);
    !instruction.is_invalid() && !loads_state
}

fn check_all(modrm: impl Iterator<Item = u8> + Clone) {
    let mut random = Random::new(87);
    let (mut code, mut guest) = (Code::new(), Guest::new());
    for escape in 0xd8..=0xdf {
        for modrm in modrm.clone() {
            let bytes = [escape, modrm];
            if is_tested(bytes) {
                check(bytes, &mut code, &mut guest, &mut random);
            }
        }
    }
}

#[test]
fn x87_register_forms_agree_with_host() {
    check_all(0xc0..=0xff);
}

#[test]
fn x87_memory_forms_agree_with_host() {
    // [rcx]
    check_all((0..8).map(|reg| reg << 3 | 1));
}
