//! FPREM and FPREM1: the partial remainder, exact, with the quotient's low bits.
//! Intel SDM volume 2, FPREM and FPREM1.

use super::arith::{denormal_stops, exact, invalid, nan_result};
use super::env::{Env, exception};
use super::format::{Float80, Format};
use super::round::{Exact, round_to};
use super::unpacked::Unpacked;

/// How the quotient is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quotient {
    /// Toward zero: FPREM.
    Truncated,
    /// To the nearest, ties to even: FPREM1 (the remainder of IEEE 754).
    Nearest,
}

/// A remainder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remainder {
    /// The new ST(0).
    pub value: Float80,
    /// Low bits of the quotient, of which C0, C3, C1 show bits 2, 1, 0; zero if partial. `None`
    /// where there is none: NaNs and invalid operations leave C0 and C3.
    pub quotient: Option<u64>,
    /// The reduction is not complete (C2): repeat the instruction.
    pub partial: bool,
}

impl Remainder {
    fn complete(value: Float80, quotient: u64) -> Self {
        Self {
            value,
            quotient: Some(quotient),
            partial: false,
        }
    }

    fn without_quotient(value: Float80) -> Self {
        Self {
            value,
            quotient: None,
            partial: false,
        }
    }
}

/// The remainder of `a / b`.
pub fn remainder(env: &mut Env, a: Unpacked, b: Unpacked, rule: Quotient) -> Remainder {
    if let Some(nan) = nan_result(env, &a, &b) {
        return Remainder::without_quotient(nan);
    }
    if a.is_infinite() || b.is_zero() {
        return Remainder::without_quotient(invalid(env));
    }
    if denormal_stops(env, a.denormal | b.denormal) {
        return Remainder::without_quotient(Float80::indefinite());
    }
    if a.is_zero() {
        return Remainder::complete(Float80::zero(a.sign), 0);
    }
    if b.is_infinite() {
        // The dividend as it is, without a look at its size.
        let mut masked = Env {
            masks: exception::ALL,
            ..*env
        };
        return Remainder::complete(round_to(&mut masked, exact(&a), 64), 0);
    }
    reduce(env, &a, &b, rule)
}

fn reduce(env: &mut Env, a: &Unpacked, b: &Unpacked, rule: Quotient) -> Remainder {
    let distance = a.exp - b.exp;
    if distance < -1 || (distance < 0 && rule == Quotient::Truncated) {
        return Remainder::complete(round_to(env, exact(a), 64), 0);
    }
    let divisor = u128::from(b.sig);
    if distance >= 64 {
        // Of the 32 to 63 bits that one step may reduce, processors choose this number.
        let step = distance & 31 | 32;
        let rest = (u128::from(a.sig) << step) % divisor;
        let value = pack(env, a.sign, a.exp - step, rest);
        return Remainder {
            value,
            quotient: Some(0),
            partial: true,
        };
    }
    // In units of the last place of the smaller exponent.
    let (dividend, divisor, exp) = if distance < 0 {
        (u128::from(a.sig), divisor << 1, a.exp)
    } else {
        (u128::from(a.sig) << distance, divisor, b.exp)
    };
    let (mut quotient, mut rest) = ((dividend / divisor) as u64, dividend % divisor);
    let mut sign = a.sign;
    if rule == Quotient::Nearest {
        let twice = rest << 1;
        if twice > divisor || (twice == divisor && quotient & 1 != 0) {
            rest = divisor - rest;
            sign = !sign;
            quotient = quotient.wrapping_add(1);
        }
    }
    if rest == 0 {
        return Remainder::complete(Float80::zero(a.sign), quotient);
    }
    Remainder::complete(pack(env, sign, exp, rest), quotient)
}

/// `rest * 2^(exp - 63)`; always exact.
fn pack(env: &mut Env, sign: bool, exp: i32, rest: u128) -> Float80 {
    if rest == 0 {
        return Float80::zero(sign);
    }
    let shift = rest.leading_zeros();
    let exp = exp + 64 - shift.cast_signed();
    round_to(
        env,
        Exact {
            sign,
            exp,
            sig: rest << shift,
        },
        64,
    )
}
