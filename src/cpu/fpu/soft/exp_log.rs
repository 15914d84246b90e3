//! F2XM1, FYL2X and FYL2XP1: powers and logarithms to base 2.
//! Intel SDM volume 1, section 8.3.9; volume 2, tables 3-20, 3-66 and 3-67.

use super::arith::{denormal_stops, exact, invalid, nan_result};
use super::env::{Env, exception};
use super::format::{Float80, Format};
use super::round::{Exact, round_to};
use super::unpacked::{Class, Unpacked};
use super::wide::{LN_2, LOG2_E, alternating_sum, mul_high, one_minus, sum};

/// 1/2!, 1/3!, … in units of 2^-128: the series of `(e^t - 1 - t) / t^2`.
const EXPONENTIAL: [u128; 24] = {
    let mut table = [u128::MAX / 2; 24];
    let mut index = 1;
    while index < table.len() {
        table[index] = table[index - 1] / (index as u128 + 2);
        index += 1;
    }
    table
};

/// 1/3, 1/5, … in units of 2^-128: the series of the inverse hyperbolic tangent after `z`.
const LOGARITHM: [u128; 18] = {
    let mut table = [0; 18];
    let mut index = 0;
    while index < table.len() {
        table[index] = u128::MAX / (2 * index as u128 + 3);
        index += 1;
    }
    table
};

/// The square root of 2, in units of 2^-127.
const SQRT_2: u128 = 0xb504_f333_f9de_6484 << 64;

/// `2^a - 1` for `a` in [-1, 1]; beyond, where the manual leaves the result open, `a` itself.
pub fn power_minus_one(env: &mut Env, a: Unpacked) -> Float80 {
    if let Some(nan) = nan_result(env, &a, &a) {
        return nan;
    }
    match a.class {
        Class::Zero => return Float80::zero(a.sign),
        Class::Infinity if a.sign => return Float80::new(0xbfff, 1 << 63),
        Class::Infinity => return Float80::infinity(false),
        _ => {}
    }
    if denormal_stops(env, a.denormal) {
        return Float80::indefinite();
    }
    if a.exp >= 0 {
        env.raise(exception::PRECISION);
        let minus_one = a.sign && a.exp == 0 && a.sig == 1 << 63;
        return if minus_one {
            Float80::new(0xbffe, 1 << 63)
        } else {
            round_to(env, exact(&a), 64)
        };
    }
    let t = Exact::from_operand(&a).times(Exact {
        sign: false,
        exp: -1,
        sig: LN_2,
    });
    let magnitude = t.to_fixed(128);
    let value = if a.sign {
        let tail = mul_high(alternating_sum(&EXPONENTIAL, magnitude), magnitude);
        t.times_fraction(one_minus(tail))
    } else {
        let tail = mul_high(sum(&EXPONENTIAL, magnitude), magnitude);
        t.times(Exact {
            sign: false,
            exp: 0,
            sig: 1 << 127 | tail >> 1,
        })
    };
    round_to(env, value.inexact(), 64)
}

/// `y * log2(x)`.
pub fn y_log2(env: &mut Env, y: Unpacked, x: Unpacked) -> Float80 {
    if let Some(nan) = nan_result(env, &y, &x) {
        return nan;
    }
    let is_one = x.is_finite() && x.exp == 0 && x.sig == 1 << 63;
    if x.sign && !x.is_zero() {
        return invalid(env);
    }
    let bad = match x.class {
        Class::Zero | Class::Infinity => y.is_zero(),
        _ => is_one && y.is_infinite(),
    };
    if bad {
        return invalid(env);
    }
    if x.is_zero() && y.is_finite() {
        env.raise(exception::ZERO_DIVIDE);
        return Float80::infinity(!y.sign);
    }
    if denormal_stops(env, y.denormal | x.denormal) {
        return Float80::indefinite();
    }
    // The sign of the logarithm.
    let below_one = x.is_zero() || (x.is_finite() && x.exp < 0);
    if y.is_infinite() || !x.is_finite() {
        return Float80::infinity(y.sign ^ below_one);
    }
    if y.is_zero() || is_one {
        return Float80::zero(y.sign ^ below_one);
    }
    let product = log2(Exact::from_operand(&x)).times(Exact::from_operand(&y));
    if x.sig != 1 << 63 {
        return round_to(env, product.inexact(), 64);
    }
    // Powers of two have exact logarithms. Processors raise PE all the same, and UE with it where
    // the result is tiny.
    let result: Float80 = round_to(env, product, 64);
    env.raise(exception::PRECISION);
    if result.sign_exponent & 0x7fff == 0 {
        env.raise(exception::UNDERFLOW);
    }
    result
}

/// `y * log2(1 + x)`. The manual defines it for `x` from `-(1 - sqrt(1/2))` to `1 - sqrt(1/2)`;
/// beyond, this is still the function's value.
pub fn y_log2_plus_one(env: &mut Env, y: Unpacked, x: Unpacked) -> Float80 {
    if let Some(nan) = nan_result(env, &y, &x) {
        return nan;
    }
    let below_minus_one = x.sign && x.exp >= 0 && x.is_finite() || (x.is_infinite() && x.sign);
    if below_minus_one || (x.is_infinite() && y.is_zero()) || (x.is_zero() && y.is_infinite()) {
        return invalid(env);
    }
    if denormal_stops(env, y.denormal | x.denormal) {
        return Float80::indefinite();
    }
    let sign = x.sign ^ y.sign;
    if x.is_infinite() || y.is_infinite() {
        return Float80::infinity(sign);
    }
    if x.is_zero() || y.is_zero() {
        return Float80::zero(sign);
    }
    let x = Exact::from_operand(&x);
    let log = if x.exp < -2 {
        log2_of_ratio(x.times(plus(2, x).reciprocal()))
    } else {
        log2(plus(1, x))
    };
    round_to(env, log.times(Exact::from_operand(&y)).inexact(), 64)
}

/// `n + x`, for `x` above -1 and `n` 1 or 2; truncated.
fn plus(n: u128, x: Exact) -> Exact {
    // Above 2^60, n does not count.
    if x.exp > 60 {
        return x;
    }
    let scale = if x.exp < 1 { 125 } else { 125 - x.exp };
    let (one, x_fixed) = (n << scale, x.to_fixed(scale));
    let total = if x.sign { one - x_fixed } else { one + x_fixed };
    Exact::from_fixed(false, total, scale)
}

/// log2 of a positive number that is not 1.
fn log2(x: Exact) -> Exact {
    // x is m * 2^exp with m between sqrt(1/2) and sqrt(2), and z is (m - 1) / (m + 1).
    let large = x.sig > SQRT_2;
    let exp = x.exp + i32::from(large);
    let (difference, total) = if large {
        (
            x.sig.wrapping_neg(),
            Exact::from_fixed(false, 1 << 127 | x.sig >> 1, 127),
        )
    } else {
        (
            x.sig << 1,
            Exact::from_fixed(false, (1 << 126) + (x.sig >> 1), 126),
        )
    };
    if difference == 0 {
        return integer(exp);
    }
    let z = Exact::from_fixed(large, difference, 128).times(total.reciprocal());
    let fraction = log2_of_ratio(z);
    if exp == 0 {
        return fraction;
    }
    let magnitude = fraction.to_fixed(112).cast_signed();
    let fixed = (i128::from(exp) << 112) + if fraction.sign { -magnitude } else { magnitude };
    Exact::from_fixed(fixed < 0, fixed.unsigned_abs(), 112)
}

fn integer(value: i32) -> Exact {
    Exact::from_fixed(value < 0, u128::from(value.unsigned_abs()), 0)
}

/// `log2((1 + z) / (1 - z))`, for `z` up to 0.172.
fn log2_of_ratio(z: Exact) -> Exact {
    let square = z.square();
    let tail = mul_high(sum(&LOGARITHM, square), square);
    let factor = LOG2_E + mul_high(LOG2_E, tail);
    z.times(Exact {
        sign: false,
        exp: 1,
        sig: factor,
    })
}
