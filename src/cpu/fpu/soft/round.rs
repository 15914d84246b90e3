//! Rounding a result into its format: the only place where OE, UE and PE arise.
//!
//! A result arrives as sign, exponent and a normalised 128-bit significand whose lowest bit is
//! sticky. Tininess is detected after rounding, as x86 does.
//! Intel SDM volume 1, sections 4.9.1.4 to 4.9.1.6 and 8.5.4 to 8.5.6.

use super::env::{Env, Rounding, exception};
use super::format::Format;

/// A finite result before rounding: `sig * 2^(exp - 127)`, bit 127 of `sig` set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exact {
    pub(crate) sign: bool,
    pub(crate) exp: i32,
    pub(crate) sig: u128,
}

/// A significand cut to some precision, still left-aligned.
struct Cut {
    sig: u64,
    /// The increment carried out of bit 63; `sig` is then the next power of two.
    carry: bool,
    up: bool,
    inexact: bool,
}

#[inline(always)]
fn cut(rounding: Rounding, sign: bool, sig: u128, precision: u32) -> Cut {
    let (high, low) = ((sig >> 64) as u64, sig as u64);
    let dropped = 64 - precision;
    let (kept, fraction) = if dropped == 0 {
        (high, low)
    } else {
        (
            high >> dropped << dropped,
            high << precision | u64::from(low != 0),
        )
    };
    let up = rounding.increments(sign, kept >> dropped & 1 != 0, fraction);
    let (sig, carry) = kept.overflowing_add(u64::from(up) << dropped);
    Cut {
        sig: if carry { 1 << 63 } else { sig },
        carry,
        up,
        inexact: fraction != 0,
    }
}

/// Shifts right; a lost one stays visible in the lowest bit.
#[inline(always)]
pub(crate) fn shift_right_sticky(sig: u128, count: u32) -> u128 {
    match count {
        0 => sig,
        1..=127 => sig >> count | u128::from(sig << (128 - count) != 0),
        _ => u128::from(sig != 0),
    }
}

/// Rounds to the precision that the format and the environment ask of arithmetic results.
#[inline(always)]
pub(crate) fn round<F: Format>(env: &mut Env, value: Exact) -> F {
    round_to(env, value, F::precision(env))
}

/// Rounds to `precision` bits, whatever the environment says.
#[inline(always)]
pub(crate) fn round_to<F: Format>(env: &mut Env, value: Exact, precision: u32) -> F {
    let rounded = cut(env.rounding, value.sign, value.sig, precision);
    let exponent = value.exp + F::BIAS + i32::from(rounded.carry);
    if exponent <= 0 || exponent >= F::TOP {
        // All by value: in the frequent case the compiler keeps the environment in registers.
        let Exact { sign, exp, sig } = value;
        let (result, after) = round_far(*env, sign, exp, sig, precision);
        *env = after;
        return result;
    }
    env.flags |= u8::from(rounded.inexact) << 5;
    env.rounded_up = rounded.up;
    F::assemble(value.sign, exponent, rounded.sig)
}

/// Rounds what does not fit between the smallest and the largest exponent.
#[cold]
#[inline(never)]
fn round_far<F: Format>(mut env: Env, sign: bool, exp: i32, sig: u128, precision: u32) -> (F, Env) {
    let value = Exact { sign, exp, sig };
    let result = if exp + F::BIAS <= 0 {
        underflow(&mut env, value, precision)
    } else {
        overflow(&mut env, value, precision)
    };
    (result, env)
}

fn underflow<F: Format>(env: &mut Env, value: Exact, precision: u32) -> F {
    let unbounded = cut(env.rounding, value.sign, value.sig, precision);
    let exponent = value.exp + F::BIAS;
    if !env.masks(exception::UNDERFLOW) {
        env.raise(exception::UNDERFLOW);
        let wrapped = exponent + i32::from(unbounded.carry) + F::WRAP;
        if wrapped <= 0 {
            // Too small even for the wrapped exponent: FSCALE, or a conversion without a result.
            env.raise(u8::from(F::IS_X87 || unbounded.inexact) << 5);
            env.rounded_up = false;
            return F::zero(value.sign);
        }
        env.raise(u8::from(unbounded.inexact) << 5);
        env.rounded_up = unbounded.up;
        return F::assemble(value.sign, wrapped, unbounded.sig);
    }
    if env.ftz {
        env.raise(exception::UNDERFLOW | exception::PRECISION);
        env.rounded_up = false;
        return F::zero(value.sign);
    }
    let shift = (1 - exponent).cast_unsigned();
    let sig = shift_right_sticky(value.sig, shift);
    let rounded = cut(env.rounding, value.sign, sig, precision);
    if rounded.inexact {
        env.raise(exception::UNDERFLOW | exception::PRECISION);
    }
    env.rounded_up = rounded.up;
    F::assemble(value.sign, i32::from(rounded.sig >> 63 != 0), rounded.sig)
}

fn overflow<F: Format>(env: &mut Env, value: Exact, precision: u32) -> F {
    let unbounded = cut(env.rounding, value.sign, value.sig, precision);
    let sign = value.sign;
    if !env.masks(exception::OVERFLOW) {
        env.raise(exception::OVERFLOW);
        let wrapped = value.exp + F::BIAS + i32::from(unbounded.carry) - F::WRAP;
        if wrapped >= F::TOP {
            // Too large even for the wrapped exponent: FSCALE, or a conversion without a result.
            env.raise(u8::from(F::IS_X87 || unbounded.inexact) << 5);
            env.rounded_up = true;
            return F::infinity(sign);
        }
        env.raise(u8::from(unbounded.inexact) << 5);
        env.rounded_up = unbounded.up;
        return F::assemble(sign, wrapped, unbounded.sig);
    }
    env.raise(exception::OVERFLOW | exception::PRECISION);
    env.rounded_up = match env.rounding {
        Rounding::Nearest => true,
        Rounding::Down => sign,
        Rounding::Up => !sign,
        Rounding::Zero => false,
    };
    if env.rounded_up {
        F::infinity(sign)
    } else {
        F::assemble(sign, F::TOP - 1, u64::MAX << (64 - precision))
    }
}
