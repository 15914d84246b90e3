//! FSCALE and FXTRACT: exponents as numbers.
//! Intel SDM volume 2, FSCALE and FXTRACT.

use super::arith::{denormal_stops, exact, from_integer, invalid, nan_result};
use super::env::{Env, Rounding, exception};
use super::format::{Float80, Format};
use super::integral::to_integer;
use super::round::round_to;
use super::unpacked::{Class, Unpacked};

/// `a * 2^trunc(b)`. Precision control does not take part.
pub fn scale(env: &mut Env, a: Unpacked, b: Unpacked) -> Float80 {
    if let Some(nan) = nan_result(env, &a, &b) {
        return nan;
    }
    if b.is_infinite() && (if b.sign { a.is_infinite() } else { a.is_zero() }) {
        return invalid(env);
    }
    if denormal_stops(env, a.denormal | b.denormal) {
        return Float80::indefinite();
    }
    match (a.class, b.class) {
        (Class::Infinity, _) => Float80::infinity(a.sign),
        (Class::Zero, _) => Float80::zero(a.sign),
        (_, Class::Infinity) if b.sign => Float80::zero(a.sign),
        (_, Class::Infinity) => Float80::infinity(a.sign),
        // The operand as it is, without a look at its size.
        (_, Class::Zero) => round_to(
            &mut Env {
                masks: exception::ALL,
                ..*env
            },
            exact(&a),
            64,
        ),
        _ => {
            let exp = a.exp + truncated(&b);
            round_to(env, exact(&Unpacked { exp, ..a }), 64)
        }
    }
}

/// `b` toward zero, limited to where every finite number overflows or underflows anyway.
fn truncated(b: &Unpacked) -> i32 {
    let mut quiet = Env {
        rounding: Rounding::Zero,
        ..Env::x87(0x37f)
    };
    match to_integer(&mut quiet, *b, 32) {
        _ if b.exp > 20 && b.sign => -(1 << 20),
        _ if b.exp > 20 => 1 << 20,
        n => n as i32,
    }
}

/// Exponent and significand of `a`, each as a number.
pub fn extract(env: &mut Env, a: Unpacked) -> (Float80, Float80) {
    if let Some(nan) = nan_result::<Float80>(env, &a, &a) {
        return (nan, nan);
    }
    if denormal_stops(env, a.denormal) {
        return (Float80::indefinite(), Float80::indefinite());
    }
    match a.class {
        Class::Zero => {
            env.raise(exception::ZERO_DIVIDE);
            (Float80::infinity(true), Float80::zero(a.sign))
        }
        Class::Infinity => (Float80::infinity(false), Float80::infinity(a.sign)),
        _ => (
            from_integer(i64::from(a.exp)),
            Float80::assemble(a.sign, Float80::BIAS, a.sig),
        ),
    }
}
