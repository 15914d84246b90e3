//! The transcendental x87 instructions: within one unit in the last place of the host's, which
//! the manual grants one unit itself.
#![expect(
    unsafe_code,
    reason = "runs single instructions of the host by inline assembly"
)]

use super::operands::Random;
use super::x87::native;
use cowbox::cpu::fpu::soft::{Env, Float80, Format, Unpacked, arctan, exception, exp_log, trig};

const ZERO: Float80 = Float80::new(0, 0);

/// A number's place in the order of all numbers of its format.
fn place(a: Float80) -> i128 {
    let magnitude =
        i128::from(a.sign_exponent & 0x7fff) << 63 | i128::from(a.significand & (u64::MAX >> 1));
    // A denormal has no integer bit, a normal always has: dropping the bit joins the two ranges.
    if a.is_negative() {
        -magnitude
    } else {
        magnitude
    }
}

#[track_caller]
fn check(name: &str, operands: &[Float80], host: (Float80, u8), ours: (Float80, u8)) {
    let close = (place(host.0) - place(ours.0)).abs() <= 1;
    // One unit decides whether a result at an edge of the normal range is tiny or too large.
    let ignored = match host.0.sign_exponent & 0x7fff {
        0x7ffe.. => exception::OVERFLOW,
        _ if operands
            .iter()
            .chain([&host.0])
            .any(|x| x.sign_exponent & 0x7ffe == 0) =>
        {
            exception::UNDERFLOW
        }
        _ => 0,
    };
    assert!(
        close && host.1 | ignored == ours.1 | ignored,
        "{name} of {operands:x?}: host {:x?} flags {:02x}, ours {:x?} flags {:02x}",
        host.0,
        host.1,
        ours.0,
        ours.1
    );
}

/// All exceptions masked, extended precision, any rounding.
fn control_word(random: &mut Random) -> u16 {
    (0x37f | random.below(4) << 10) as u16
}

macro_rules! unary {
    ($test:ident, $instruction:literal, $result:literal, $limit:path, $function:path) => {
        #[test]
        fn $test() {
            let mut random = Random::new(line!().into());
            for _ in 0..super::cases() {
                let (a, cw) = (random.float80(), control_word(&mut random));
                if $limit(a) {
                    continue;
                }
                let image = native!($instruction, cw, a, ZERO);
                let mut env = Env::x87(cw);
                let x = a.unpack(&env);
                match Option::<Float80>::from($function(&mut env, x)) {
                    None => assert!(image.status() & 0x400 != 0, "{} of {a:x?}", $instruction),
                    Some(value) => {
                        assert!(image.status() & 0x400 == 0, "{} of {a:x?}", $instruction);
                        let host = (image.st($result), image.flags());
                        check($instruction, &[a], host, (value, env.flags));
                    }
                }
            }
        }
    };
}

fn any(_: Float80) -> bool {
    false
}

/// F2XM1 is defined from -1 to 1.
fn beyond_one(a: Float80) -> bool {
    let exponent = a.sign_exponent & 0x7fff;
    (0x3fff..0x7fff).contains(&exponent) && !(exponent == 0x3fff && a.significand == 1 << 63)
}

unary!(fsin_is_close_to_host, "fsin", 0, any, trig::sin);
unary!(fcos_is_close_to_host, "fcos", 0, any, trig::cos);
unary!(
    f2xm1_is_close_to_host,
    "f2xm1",
    0,
    beyond_one,
    exp_log::power_minus_one
);

#[test]
fn fptan_and_fsincos_are_close_to_host() {
    let mut random = Random::new(8);
    for _ in 0..super::cases() {
        let (a, cw) = (random.float80(), control_word(&mut random));
        let x = a.unpack(&Env::x87(cw));
        let (tangent, both) = (
            native!("fptan", cw, a, ZERO),
            native!("fsincos", cw, a, ZERO),
        );
        let mut env = Env::x87(cw);
        let Some(value) = trig::tan(&mut env, x) else {
            assert!(
                tangent.status() & both.status() & 0x400 != 0,
                "fptan of {a:x?}"
            );
            continue;
        };
        let host = if x.is_nan() || env.flags & 1 != 0 {
            0
        } else {
            1
        };
        check(
            "fptan",
            &[a],
            (tangent.st(host), tangent.flags()),
            (value, env.flags),
        );

        let mut env = Env::x87(cw);
        let (sine, cosine) = trig::sin_cos(&mut env, x).expect("fptan took it");
        check(
            "fsincos",
            &[a],
            (both.st(1), both.flags()),
            (sine, env.flags),
        );
        check(
            "fsincos",
            &[a],
            (both.st(0), both.flags()),
            (cosine, env.flags),
        );
    }
}

/// ST(0) is x, ST(1) is y; the result is in ST(0) after the pop.
macro_rules! binary {
    ($test:ident, $instruction:literal, $limit:path, $function:path) => {
        #[test]
        fn $test() {
            let mut random = Random::new(line!().into());
            for _ in 0..super::cases() {
                let (x, y) = (random.float80(), random.float80());
                if $limit(x) {
                    continue;
                }
                let cw = control_word(&mut random);
                let image = native!($instruction, cw, x, y);
                let mut env = Env::x87(cw);
                let operands: (Unpacked, Unpacked) = (y.unpack(&env), x.unpack(&env));
                let value = $function(&mut env, operands.0, operands.1);
                check(
                    $instruction,
                    &[x, y],
                    (image.st(0), image.flags()),
                    (value, env.flags),
                );
            }
        }
    };
}

/// FYL2XP1 is defined to 1 - sqrt(1/2) on both sides of zero.
fn beyond_log(a: Float80) -> bool {
    let exponent = a.sign_exponent & 0x7fff;
    (0x3ffe..0x7fff).contains(&exponent)
        || (exponent == 0x3ffd && a.significand > 0x95f6_1998_0c43_36f7)
}

binary!(fpatan_is_close_to_host, "fpatan", any, arctan::arctan);
binary!(fyl2x_is_close_to_host, "fyl2x", any, exp_log::y_log2);
binary!(
    fyl2xp1_is_close_to_host,
    "fyl2xp1",
    beyond_log,
    exp_log::y_log2_plus_one
);
