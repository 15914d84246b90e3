//! FSIN, FCOS, FSINCOS and FPTAN.
//!
//! The argument is reduced by the 66-bit pi that the processor's manual documents, exactly;
//! what remains is below pi/4 and goes through a Taylor series in 128-bit fixed point.
//! Intel SDM volume 1, section 8.3.8 and 8.3.10.

use super::arith::{denormal_stops, invalid, nan_result};
use super::env::Env;
use super::format::{Float80, Format};
use super::round::{Exact, round_to};
use super::unpacked::Unpacked;
use super::wide::{alternating_sum, one_minus};

/// The processor's pi in units of 2^-64: 66 bits.
const PI_66: u128 = 0x3_243f_6a88_85a3_08d3;

/// Coefficients of the sine's series after `x`: 1/3!, 1/5!, … in units of 2^-128.
const SINE: [u128; 12] = reciprocal_factorials(3);

/// Coefficients of the cosine's series after 1: 1/2!, 1/4!, …
const COSINE: [u128; 12] = reciprocal_factorials(2);

/// 1/n!, 1/(n+2)!, …
const fn reciprocal_factorials(mut n: u128) -> [u128; 12] {
    let mut table = [0; 12];
    let mut value = u128::MAX / if n == 3 { 6 } else { 2 };
    let mut index = 0;
    while index < table.len() {
        table[index] = value;
        value = value / (n + 1) / (n + 2);
        n += 2;
        index += 1;
    }
    table
}

/// An argument reduced: `quadrant * pi/2 + rest`.
struct Reduced {
    quadrant: u8,
    rest: Exact,
}

/// Arguments from 2^63 on are out of range.
fn reduce(a: &Unpacked) -> Option<Reduced> {
    if a.exp >= 63 {
        return None;
    }
    if a.exp < -1 {
        return Some(Reduced {
            quadrant: 0,
            rest: Exact::from_operand(a),
        });
    }
    let scaled = u128::from(a.sig) << (a.exp + 2);
    let (mut quadrant, mut rest) = (scaled / PI_66, scaled % PI_66);
    let mut sign = a.sign;
    if rest > PI_66 / 2 {
        quadrant += 1;
        rest = PI_66 - rest;
        sign = !sign;
    }
    let quadrant = (quadrant & 3) as u8;
    // The quadrants of a negative argument count down.
    let quadrant = if a.sign {
        quadrant.wrapping_neg() & 3
    } else {
        quadrant
    };
    Some(Reduced {
        quadrant,
        rest: Exact::from_fixed(sign, rest, 65),
    })
}

/// The sine of a number of at most pi/4.
fn sine(x: Exact) -> Exact {
    let square = x.square();
    let tail = super::wide::mul_high(alternating_sum(&SINE, square), square);
    x.times_fraction(one_minus(tail)).inexact()
}

/// The cosine of a number of at most pi/4.
fn cosine(x: Exact) -> Exact {
    let square = x.square();
    let tail = super::wide::mul_high(alternating_sum(&COSINE, square), square);
    Exact::normalised(false, -1, one_minus(tail)).inexact()
}

impl Reduced {
    fn sine(&self) -> Exact {
        let value = if self.quadrant & 1 == 0 {
            sine(self.rest)
        } else {
            cosine(self.rest)
        };
        Exact {
            sign: value.sign ^ (self.quadrant >= 2),
            ..value
        }
    }

    fn cosine(&self) -> Exact {
        Self {
            quadrant: (self.quadrant + 1) & 3,
            rest: self.rest,
        }
        .sine()
    }
}

/// The result for operands that need no computing, given the function's value at zero.
fn special(env: &mut Env, a: &Unpacked, at_zero: Float80) -> Option<Float80> {
    if let Some(nan) = nan_result(env, a, a) {
        return Some(nan);
    }
    if a.is_infinite() {
        return Some(invalid(env));
    }
    if a.is_zero() {
        return Some(at_zero);
    }
    denormal_stops(env, a.denormal).then_some(Float80::indefinite())
}

const ONE: Float80 = Float80::new(0x3fff, 1 << 63);

/// The sine; `None` (C2) if the argument is out of range.
pub fn sin(env: &mut Env, a: Unpacked) -> Option<Float80> {
    if let Some(value) = special(env, &a, Float80::zero(a.sign)) {
        return Some(value);
    }
    let value = reduce(&a)?.sine();
    Some(round_to(env, value, 64))
}

/// The cosine; `None` (C2) if the argument is out of range.
pub fn cos(env: &mut Env, a: Unpacked) -> Option<Float80> {
    if let Some(value) = special(env, &a, ONE) {
        return Some(value);
    }
    let value = reduce(&a)?.cosine();
    Some(round_to(env, value, 64))
}

/// Sine and cosine; `None` (C2) if the argument is out of range.
pub fn sin_cos(env: &mut Env, a: Unpacked) -> Option<(Float80, Float80)> {
    if let Some(value) = special(env, &a, Float80::zero(a.sign)) {
        let cosine = if a.is_zero() { ONE } else { value };
        return Some((value, cosine));
    }
    let reduced = reduce(&a)?;
    let cosine = round_to(env, reduced.cosine(), 64);
    Some((round_to(env, reduced.sine(), 64), cosine))
}

/// The tangent; `None` (C2) if the argument is out of range.
pub fn tan(env: &mut Env, a: Unpacked) -> Option<Float80> {
    if let Some(value) = special(env, &a, Float80::zero(a.sign)) {
        return Some(value);
    }
    let reduced = reduce(&a)?;
    let value = if a.exp < -60 {
        // x + x^3/3 differs from x by less than what any rounding sees.
        Exact::from_operand(&a)
    } else {
        reduced.sine().times(reduced.cosine().reciprocal())
    };
    Some(round_to(env, value.inexact(), 64))
}
