//! Rounding to an integer: FIST and FISTTP, CVT(T)xx2SI, FRNDINT, ROUNDxx, and FBSTP's digits.
//! Intel SDM volume 1, sections 4.8.3.7 and 8.3.4, table 8-10.

use super::arith::{denormal_stops, invalid, nan_result};
use super::env::{Env, Rounding, exception};
use super::format::Format;
use super::unpacked::{Class, Unpacked};

/// A magnitude rounded to an integer. Magnitudes of 2^64 and more have no `value`.
struct Integral {
    value: Option<u64>,
    inexact: bool,
    up: bool,
}

const NO_INTEGER: Integral = Integral {
    value: None,
    inexact: false,
    up: false,
};

#[inline]
fn integral(rounding: Rounding, a: &Unpacked) -> Integral {
    let (whole, fraction) = match 63 - a.exp {
        ..=-1 => return NO_INTEGER,
        0 => (a.sig, 0),
        shift @ 1..=63 => (a.sig >> shift, a.sig << (64 - shift)),
        64 => (0, a.sig),
        _ => (0, 1),
    };
    let up = rounding.increments(a.sign, whole & 1 != 0, fraction);
    Integral {
        value: Some(whole + u64::from(up)),
        inexact: fraction != 0,
        up,
    }
}

/// Rounds to a two's-complement integer of `bits` bits (16, 32 or 64), returned sign-extended.
/// Out of range, infinities and NaNs raise IE and give the integer indefinite, the most negative
/// value.
#[inline]
pub fn to_integer(env: &mut Env, a: Unpacked, bits: u32) -> i64 {
    let limit = 1u64 << (bits - 1);
    let magnitude = match a.class {
        Class::Zero => return 0,
        Class::Finite => integral(env.rounding, &a),
        _ => NO_INTEGER,
    };
    match magnitude.value {
        Some(value) if value < limit || (value == limit && a.sign) => {
            env.flags |= u8::from(magnitude.inexact) << 5;
            env.rounded_up = magnitude.up;
            let value = value.cast_signed();
            if a.sign { value.wrapping_neg() } else { value }
        }
        _ => {
            env.raise(exception::INVALID);
            i64::MIN >> (64 - bits)
        }
    }
}

/// Rounds to a magnitude of at most `limit`, for the digits of FBSTP; `None` after raising IE.
pub(crate) fn to_magnitude(env: &mut Env, a: &Unpacked, limit: u64) -> Option<u64> {
    let magnitude = match a.class {
        Class::Zero => return Some(0),
        Class::Finite => integral(env.rounding, a),
        _ => NO_INTEGER,
    };
    match magnitude.value {
        Some(value) if value <= limit => {
            env.flags |= u8::from(magnitude.inexact) << 5;
            env.rounded_up = magnitude.up;
            Some(value)
        }
        _ => {
            env.raise(exception::INVALID);
            None
        }
    }
}

/// Rounds to an integral number in the same format: FRNDINT. The SSE4.1 form is [`round_quiet`].
#[inline]
pub fn round_integral<F: Format>(env: &mut Env, a: Unpacked) -> F {
    if a.is_finite() && denormal_stops(env, a.denormal) {
        return F::indefinite();
    }
    round_quiet(env, a)
}

/// [`round_integral`] without DE, which ROUNDPS and its kin do not raise.
#[inline]
pub fn round_quiet<F: Format>(env: &mut Env, a: Unpacked) -> F {
    match a.class {
        Class::Finite => {}
        Class::Zero => return F::zero(a.sign),
        Class::Infinity => return F::infinity(a.sign),
        _ => return nan_result(env, &a, &a).unwrap_or_else(|| invalid(env)),
    }
    let rounded = integral(env.rounding, &a);
    env.flags |= u8::from(rounded.inexact) << 5;
    env.rounded_up = rounded.up;
    match rounded.value {
        // Too large to have a fraction.
        None => F::assemble(a.sign, a.exp + F::BIAS, a.sig),
        Some(0) => F::zero(a.sign),
        Some(value) => {
            let shift = value.leading_zeros();
            F::assemble(a.sign, 63 - shift.cast_signed() + F::BIAS, value << shift)
        }
    }
}
