//! The exact x87 instructions.
#![expect(
    unsafe_code,
    reason = "runs single instructions of the host by inline assembly"
)]

use super::operands::Random;
use cowbox::cpu::fpu::soft::constant::Constant;
use cowbox::cpu::fpu::soft::remainder::{Quotient, Remainder, remainder};
use cowbox::cpu::fpu::soft::{
    Env, Float32, Float64, Float80, Format, Rounding, Unpacked, arith, bcd, compare, exception,
    integral, scale,
};
use std::cmp::Ordering;

/// The image that FNSAVE leaves, in its 32-bit protected format.
#[repr(C, align(16))]
pub(super) struct Image([u8; 112]);

impl Image {
    pub(super) fn status(&self) -> u16 {
        u16::from_le_bytes([self.0[4], self.0[5]])
    }

    pub(super) fn st(&self, index: usize) -> Float80 {
        let at = 28 + 10 * index;
        let mut bytes = [0; 10];
        bytes.copy_from_slice(&self.0[at..at + 10]);
        Float80::from_bytes(bytes)
    }

    pub(super) fn flags(&self) -> u8 {
        (self.status() & 0x3f) as u8
    }

    fn c1(&self) -> bool {
        self.status() & 0x200 != 0
    }
}

/// Runs an instruction with ST(0) = `a`, ST(1) = `b`, and `memory` behind RCX.
macro_rules! native {
    ($instruction:literal, $cw:expr, $a:expr, $b:expr) => {
        native!($instruction, $cw, $a, $b, &mut [0u8; 16])
    };
    ($instruction:literal, $cw:expr, $a:expr, $b:expr, $memory:expr) => {{
        let mut image = $crate::native_float::x87::Image::empty();
        let (a, b): ([u8; 10], [u8; 10]) = ($a.to_bytes(), $b.to_bytes());
        let cw: u16 = $cw;
        let memory: &mut [u8; 16] = $memory;
        // SAFETY: the operands are live references of the sizes that the instructions access;
        // FNSAVE reads the state without waiting for exceptions and resets the unit.
        unsafe {
            std::arch::asm!(
                "fninit",
                "fld tbyte ptr [{b}]",
                "fld tbyte ptr [{a}]",
                "fldcw word ptr [{cw}]",
                $instruction,
                "fnsave [{image}]",
                a = in(reg) a.as_ptr(),
                b = in(reg) b.as_ptr(),
                cw = in(reg) &raw const cw,
                image = in(reg) &raw mut image,
                in("rcx") memory.as_mut_ptr(),
                out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
            );
        }
        image
    }};
}
pub(super) use native;

impl Image {
    pub(super) fn empty() -> Self {
        Self([0; 112])
    }
}

const ZERO: Float80 = Float80::new(0, 0);

/// What an instruction leaves in ST(0), given its result.
fn committed(env: &Env, before: Float80, result: Float80) -> Float80 {
    if env.unmasked() & exception::BEFORE != 0 {
        before
    } else {
        result
    }
}

#[track_caller]
fn check(name: &str, cw: u16, operands: &[Float80], image: &Image, expect: (Float80, Env)) {
    let (value, env) = expect;
    let seen = (image.st(0), image.flags(), image.c1());
    assert_eq!(
        seen,
        (value, env.flags, env.rounded_up),
        "{name} cw {cw:04x} of {operands:x?}: host (left) against ours {value:x?}"
    );
}

macro_rules! binary {
    ($test:ident, $instruction:literal, $function:path) => {
        #[test]
        fn $test() {
            let mut random = Random::new(line!().into());
            for _ in 0..super::cases() {
                let (a, b, cw) = (random.float80(), random.float80(), random.control_word());
                let image = native!($instruction, cw, a, b);
                let mut env = Env::x87(cw);
                let (x, y) = (a.unpack(&env), b.unpack(&env));
                let result = $function(&mut env, x, y);
                let value = committed(&env, a, result);
                check($instruction, cw, &[a, b], &image, (value, env));
            }
        }
    };
}

binary!(fadd_agrees_with_host, "fadd st, st(1)", arith::add);
binary!(fsub_agrees_with_host, "fsub st, st(1)", arith::sub);
binary!(fmul_agrees_with_host, "fmul st, st(1)", arith::mul);
binary!(fdiv_agrees_with_host, "fdiv st, st(1)", arith::div);
binary!(fscale_agrees_with_host, "fscale", scale::scale);

macro_rules! unary {
    ($test:ident, $instruction:literal, $function:path) => {
        #[test]
        fn $test() {
            let mut random = Random::new(line!().into());
            for _ in 0..super::cases() {
                let (a, cw) = (random.float80(), random.control_word());
                let image = native!($instruction, cw, a, ZERO);
                let mut env = Env::x87(cw);
                let x = a.unpack(&env);
                let result = $function(&mut env, x);
                let value = committed(&env, a, result);
                check($instruction, cw, &[a], &image, (value, env));
            }
        }
    };
}

unary!(fsqrt_agrees_with_host, "fsqrt", arith::sqrt);
unary!(
    frndint_agrees_with_host,
    "frndint",
    integral::round_integral
);

#[test]
fn fxtract_agrees_with_host() {
    let mut random = Random::new(2);
    for _ in 0..super::cases() {
        let (a, cw) = (random.float80(), random.control_word());
        let image = native!("fxtract", cw, a, ZERO);
        let mut env = Env::x87(cw);
        let x = a.unpack(&env);
        let (exponent, significand) = scale::extract(&mut env, x);
        if env.unmasked() & exception::BEFORE != 0 {
            check("fxtract", cw, &[a], &image, (a, env));
        } else {
            check("fxtract", cw, &[a], &image, (significand, env));
            assert_eq!(image.st(1), exponent, "fxtract cw {cw:04x} of {a:x?}");
        }
    }
}

fn check_remainder(name: &str, cw: u16, ops: [Float80; 2], image: &Image, rule: Quotient) {
    let mut env = Env::x87(cw);
    let (x, y) = (ops[0].unpack(&env), ops[1].unpack(&env));
    let Remainder {
        value,
        quotient,
        partial,
    } = remainder(&mut env, x, y, rule);
    let stopped = env.unmasked() & exception::BEFORE != 0;
    let value = if stopped { ops[0] } else { value };
    let status = image.status();
    let bit = |n: u16| u64::from(status >> n & 1);
    let bits = bit(8) << 2 | bit(14) << 1 | bit(9);
    let expected = quotient.unwrap_or(0) & 7;
    assert_eq!(
        (image.st(0), image.flags(), bit(10) != 0, bits),
        (value, env.flags, partial && !stopped, expected),
        "{name} cw {cw:04x} of {ops:x?}: host against ours"
    );
}

#[test]
fn fprem_agrees_with_host() {
    let mut random = Random::new(3);
    for _ in 0..super::cases() {
        let (a, b, cw) = (random.float80(), random.float80(), random.control_word());
        check_remainder(
            "fprem",
            cw,
            [a, b],
            &native!("fprem", cw, a, b),
            Quotient::Truncated,
        );
        check_remainder(
            "fprem1",
            cw,
            [a, b],
            &native!("fprem1", cw, a, b),
            Quotient::Nearest,
        );
    }
}

/// C3, C2 and C0 of a comparison.
fn condition(relation: compare::Relation) -> u16 {
    match relation {
        Some(Ordering::Greater) => 0,
        Some(Ordering::Less) => 0x100,
        Some(Ordering::Equal) => 0x4000,
        None => 0x4500,
    }
}

#[test]
fn comparisons_agree_with_host() {
    let mut random = Random::new(4);
    for _ in 0..super::cases() {
        let (a, b) = (random.float80(), random.float80());
        let (a, b) = if random.below(4) == 0 { (a, a) } else { (a, b) };
        let cw = random.control_word() | 0x3f;
        for (image, function) in [
            (
                native!("fcom st(1)", cw, a, b),
                compare::compare as fn(&mut Env, _, _) -> _,
            ),
            (native!("fucom st(1)", cw, a, b), compare::compare_quiet),
        ] {
            let mut env = Env::x87(cw);
            let (x, y) = (a.unpack(&env), b.unpack(&env));
            let relation = function(&mut env, x, y);
            assert_eq!(
                (image.status() & 0x4700, image.flags()),
                (condition(relation), env.flags),
                "fcom of {a:x?} {b:x?}"
            );
        }
    }
}

/// Compares what a store left in memory; an unmasked exception leaves the memory alone.
fn check_store(name: &str, cw: u16, a: Float80, seen: (&Image, [u8; 16]), expect: (&[u8], Env)) {
    let (image, memory) = seen;
    let (bytes, env) = expect;
    let mut expected = [0xcc; 16];
    // All but PE keep an unmasked store from happening.
    if env.unmasked() & !exception::PRECISION == 0 {
        expected[..bytes.len()].copy_from_slice(bytes);
    }
    assert_eq!(
        (memory, image.flags(), image.c1()),
        (expected, env.flags, env.rounded_up),
        "{name} cw {cw:04x} of {a:x?}: host against ours"
    );
}

macro_rules! store {
    ($test:ident, $instruction:literal, |$env:ident, $x:ident| $result:expr) => {
        #[test]
        fn $test() {
            let mut random = Random::new(line!().into());
            for _ in 0..super::cases() {
                let (a, cw) = (random.float80(), random.control_word());
                let mut memory = [0xcc; 16];
                let image = native!($instruction, cw, a, ZERO, &mut memory);
                let mut env = Env::x87(cw);
                let $x = a.unpack(&env);
                let $env = &mut env;
                let bytes = $result;
                check_store($instruction, cw, a, (&image, memory), (&bytes, env));
            }
        }
    };
}

store!(
    fist_word_agrees_with_host,
    "fist word ptr [rcx]",
    |env, x| { (integral::to_integer(env, x, 16) as i16).to_le_bytes() }
);
store!(
    fist_dword_agrees_with_host,
    "fist dword ptr [rcx]",
    |env, x| { (integral::to_integer(env, x, 32) as i32).to_le_bytes() }
);
store!(
    fistp_qword_agrees_with_host,
    "fistp qword ptr [rcx]",
    |env, x| { integral::to_integer(env, x, 64).to_le_bytes() }
);
store!(
    fisttp_qword_agrees_with_host,
    "fisttp qword ptr [rcx]",
    |env, x| {
        let mut chopped = Env {
            rounding: Rounding::Zero,
            ..*env
        };
        let bytes = integral::to_integer(&mut chopped, x, 64).to_le_bytes();
        env.raise(chopped.flags);
        bytes
    }
);
store!(
    fst_single_agrees_with_host,
    "fst dword ptr [rcx]",
    |env, x| { arith::store::<Float32>(env, x).0.to_le_bytes() }
);
store!(
    fst_double_agrees_with_host,
    "fst qword ptr [rcx]",
    |env, x| { arith::store::<Float64>(env, x).0.to_le_bytes() }
);
store!(fbstp_agrees_with_host, "fbstp tbyte ptr [rcx]", |env, x| {
    bcd::store(env, x)
});

#[test]
fn loads_agree_with_host() {
    let mut random = Random::new(5);
    for _ in 0..super::cases() {
        let cw = random.control_word() | 0x3f;
        let mut memory = [0; 16];
        memory[..8].copy_from_slice(&random.float64().to_le_bytes());
        let image = native!("fld qword ptr [rcx]", cw, ZERO, ZERO, &mut memory);
        let mut env = Env::x87(cw);
        let x = Float64(u64::from_le_bytes(memory[..8].try_into().unwrap())).unpack(&env);
        let value = arith::convert_checked(&mut env, x);
        check("fld qword", cw, &[value], &image, (value, env));

        memory[..4].copy_from_slice(&random.float32().to_le_bytes());
        let image = native!("fld dword ptr [rcx]", cw, ZERO, ZERO, &mut memory);
        let mut env = Env::x87(cw);
        let x = Float32(u32::from_le_bytes(memory[..4].try_into().unwrap())).unpack(&env);
        let value = arith::convert_checked(&mut env, x);
        check("fld dword", cw, &[value], &image, (value, env));

        let image = native!("fild qword ptr [rcx]", cw, ZERO, ZERO, &mut memory);
        let value = arith::from_integer(i64::from_le_bytes(memory[..8].try_into().unwrap()));
        check("fild qword", cw, &[value], &image, (value, Env::x87(cw)));

        for byte in &mut memory[..9] {
            *byte = (random.below(10) << 4 | random.below(10)) as u8;
        }
        memory[9] = (random.below(2) << 7) as u8;
        let image = native!("fbld tbyte ptr [rcx]", cw, ZERO, ZERO, &mut memory);
        let value = bcd::load(memory[..10].try_into().unwrap());
        check("fbld", cw, &[value], &image, (value, Env::x87(cw)));
    }
}

#[test]
fn arithmetic_with_memory_operands_agrees_with_host() {
    let mut random = Random::new(6);
    for _ in 0..super::cases() {
        let (a, cw) = (random.float80(), random.control_word());
        let mut memory = [0; 16];
        memory[..8].copy_from_slice(&random.float64().to_le_bytes());
        let wide = Float64(u64::from_le_bytes(memory[..8].try_into().unwrap()));
        let narrow = Float32(u32::from_le_bytes(memory[..4].try_into().unwrap()));
        let integer = i32::from_le_bytes(memory[..4].try_into().unwrap());
        type Function = fn(&mut Env, Unpacked, Unpacked) -> Float80;
        let env = Env::x87(cw);
        let runs: [(&str, Image, Unpacked, Function); 4] = [
            (
                "fadd qword",
                native!("fadd qword ptr [rcx]", cw, a, ZERO, &mut memory),
                wide.unpack(&env),
                arith::add,
            ),
            (
                "fmul dword",
                native!("fmul dword ptr [rcx]", cw, a, ZERO, &mut memory),
                narrow.unpack(&env),
                arith::mul,
            ),
            (
                "fisub dword",
                native!("fisub dword ptr [rcx]", cw, a, ZERO, &mut memory),
                Unpacked::from_integer(integer.into()),
                arith::sub,
            ),
            (
                "fdivr qword",
                native!("fdivr qword ptr [rcx]", cw, a, ZERO, &mut memory),
                wide.unpack(&env),
                |env, a, b| arith::div(env, b, a),
            ),
        ];
        for (name, image, operand, function) in runs {
            let mut env = Env::x87(cw);
            let x = a.unpack(&env);
            let result = function(&mut env, x, operand);
            let value = committed(&env, a, result);
            check(name, cw, &[a], &image, (value, env));
        }
    }
}

#[test]
fn constants_agree_with_host() {
    for rounding in 0..4u16 {
        let cw = 0x37f | rounding << 10;
        let env = Env::x87(cw);
        for (image, constant) in [
            (native!("fld1", cw, ZERO, ZERO), Constant::One),
            (native!("fldl2t", cw, ZERO, ZERO), Constant::Log2Of10),
            (native!("fldl2e", cw, ZERO, ZERO), Constant::Log2OfE),
            (native!("fldpi", cw, ZERO, ZERO), Constant::Pi),
            (native!("fldlg2", cw, ZERO, ZERO), Constant::Log10Of2),
            (native!("fldln2", cw, ZERO, ZERO), Constant::LnOf2),
            (native!("fldz", cw, ZERO, ZERO), Constant::Zero),
        ] {
            let value = constant.load(&env);
            check("constant", cw, &[], &image, (value, env));
        }
    }
}
