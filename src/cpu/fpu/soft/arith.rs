//! Add, subtract, multiply, divide, square root and the conversion between formats.
//!
//! Operands come unpacked, so that an x87 instruction mixes formats freely; the result's format
//! decides rounding and NaN selection. Exceptions follow the priorities of Intel SDM volume 1,
//! section 4.9.2: unsupported and signaling operands, quiet NaNs, other invalid operations and
//! division by zero, denormal operands, then what rounding finds.

use super::env::{Env, exception};
use super::format::{Float80, Format};
use super::round::{Exact, round, round_to, shift_right_sticky};
use super::unpacked::{Class, Unpacked};

/// The result if an operand is unsupported or a NaN, with IE where it is due.
#[inline(always)]
pub(crate) fn nan_result<F: Format>(env: &mut Env, a: &Unpacked, b: &Unpacked) -> Option<F> {
    if a.class == Class::Unsupported || b.class == Class::Unsupported {
        return Some(invalid(env));
    }
    if !a.is_nan() && !b.is_nan() {
        return None;
    }
    if a.class == Class::Signaling || b.class == Class::Signaling {
        env.raise(exception::INVALID);
    }
    Some(F::quiet(F::choose_nan(a, b)))
}

/// Raises IE; the masked response is the default NaN.
#[cold]
#[inline(never)]
pub(crate) fn invalid<F: Format>(env: &mut Env) -> F {
    env.raise(exception::INVALID);
    F::indefinite()
}

/// Raises DE for denormal operands. Whether the instruction stops there, DE being unmasked.
#[inline(always)]
pub(crate) fn denormal_stops(env: &mut Env, denormal: bool) -> bool {
    env.flags |= u8::from(denormal) << 1;
    denormal && !env.masks(exception::DENORMAL)
}

/// `a + b`.
#[inline(always)]
pub fn add<F: Format>(env: &mut Env, a: Unpacked, b: Unpacked) -> F {
    if a.is_finite() && b.is_finite() {
        if denormal_stops(env, a.denormal | b.denormal) {
            return F::indefinite();
        }
        return add_exact(env, exact(&a), exact(&b));
    }
    add_special(env, a, b)
}

/// `a - b`.
#[inline(always)]
pub fn sub<F: Format>(env: &mut Env, a: Unpacked, b: Unpacked) -> F {
    add(env, a, b.negated())
}

/// The sum of two numbers of which neither is zero, rounded once. No bit is lost that could
/// matter: where one of them has to be shifted by more than its significand leaves room for, the
/// other one is so much larger that nothing cancels.
#[inline(always)]
fn add_exact<F: Format>(env: &mut Env, a: Exact, b: Exact) -> F {
    let (x, y) = if (a.exp, a.sig) >= (b.exp, b.sig) {
        (a, b)
    } else {
        (b, a)
    };
    let (sign, large) = (x.sign, x.sig);
    let small = shift_right_sticky(y.sig, (x.exp - y.exp).cast_unsigned());
    if sign == y.sign {
        let (sum, carry) = large.overflowing_add(small);
        let sig = if carry {
            sum >> 1 | sum & 1 | 1 << 127
        } else {
            sum
        };
        let exp = x.exp + i32::from(carry);
        return round(env, Exact { sign, exp, sig });
    }
    let difference = large - small;
    if difference == 0 {
        return F::zero(env.rounding == super::env::Rounding::Down);
    }
    let shift = difference.leading_zeros();
    let (exp, sig) = (x.exp - shift.cast_signed(), difference << shift);
    round(env, Exact { sign, exp, sig })
}

#[cold]
#[inline(never)]
fn add_special<F: Format>(env: &mut Env, a: Unpacked, b: Unpacked) -> F {
    if let Some(nan) = nan_result(env, &a, &b) {
        return nan;
    }
    if a.is_infinite() && b.is_infinite() && a.sign != b.sign {
        return invalid(env);
    }
    if denormal_stops(env, a.denormal | b.denormal) {
        return F::indefinite();
    }
    match (a.class, b.class) {
        (Class::Infinity, _) => F::infinity(a.sign),
        (_, Class::Infinity) => F::infinity(b.sign),
        (Class::Zero, Class::Zero) if a.sign == b.sign => F::zero(a.sign),
        (Class::Zero, Class::Zero) => F::zero(env.rounding == super::env::Rounding::Down),
        (Class::Zero, _) => round(env, exact(&b)),
        _ => round(env, exact(&a)),
    }
}

/// A finite operand as a result that is still to be rounded.
#[inline(always)]
pub(crate) fn exact(a: &Unpacked) -> Exact {
    Exact {
        sign: a.sign,
        exp: a.exp,
        sig: u128::from(a.sig) << 64,
    }
}

/// `a * b`.
#[inline(always)]
pub fn mul<F: Format>(env: &mut Env, a: Unpacked, b: Unpacked) -> F {
    if !(a.is_finite() && b.is_finite()) {
        return mul_special(env, a, b);
    }
    if denormal_stops(env, a.denormal | b.denormal) {
        return F::indefinite();
    }
    round(env, product(&a, &b))
}

/// The exact product of two finite numbers.
#[inline(always)]
fn product(a: &Unpacked, b: &Unpacked) -> Exact {
    let product = u128::from(a.sig) * u128::from(b.sig);
    let shift = u32::from(product >> 127 == 0);
    Exact {
        sign: a.sign ^ b.sign,
        exp: a.exp + b.exp + 1 - shift.cast_signed(),
        sig: product << shift,
    }
}

#[cold]
#[inline(never)]
fn mul_special<F: Format>(env: &mut Env, a: Unpacked, b: Unpacked) -> F {
    if let Some(nan) = nan_result(env, &a, &b) {
        return nan;
    }
    let infinite = a.is_infinite() || b.is_infinite();
    if infinite && (a.is_zero() || b.is_zero()) {
        return invalid(env);
    }
    if denormal_stops(env, a.denormal | b.denormal) {
        return F::indefinite();
    }
    if infinite {
        F::infinity(a.sign ^ b.sign)
    } else {
        F::zero(a.sign ^ b.sign)
    }
}

/// `a * b + c`, rounded once. The first NaN of the three is the result; a quiet one in `c` hides
/// that infinity was multiplied by zero (Intel SDM volume 1, table 14-17).
pub fn mul_add<F: Format>(env: &mut Env, a: Unpacked, b: Unpacked, c: Unpacked) -> F {
    if let Some(nan) = [a, b, c].iter().find(|operand| operand.is_nan()) {
        if [a, b, c].iter().any(|x| x.class == Class::Signaling) {
            env.raise(exception::INVALID);
        }
        return F::quiet(nan);
    }
    let sign = a.sign ^ b.sign;
    let infinite = a.is_infinite() || b.is_infinite();
    let zero = a.is_zero() || b.is_zero();
    if infinite && (zero || c.is_infinite() && c.sign != sign) {
        return invalid(env);
    }
    if denormal_stops(env, a.denormal | b.denormal | c.denormal) {
        return F::indefinite();
    }
    match (zero, c.is_zero()) {
        _ if infinite => F::infinity(sign),
        _ if c.is_infinite() => F::infinity(c.sign),
        (true, true) if sign == c.sign => F::zero(sign),
        (true, true) => F::zero(env.rounding == super::env::Rounding::Down),
        (true, false) => round(env, exact(&c)),
        (false, true) => round(env, product(&a, &b)),
        (false, false) => add_exact(env, product(&a, &b), exact(&c)),
    }
}

/// `a / b`.
#[inline(always)]
pub fn div<F: Format>(env: &mut Env, a: Unpacked, b: Unpacked) -> F {
    if !(a.is_finite() && b.is_finite()) {
        return div_special(env, a, b);
    }
    if denormal_stops(env, a.denormal | b.denormal) {
        return F::indefinite();
    }
    // The quotient of the shifted dividend always has exactly 64 bits.
    let below = a.sig < b.sig;
    let dividend = u128::from(a.sig) << (63 + u32::from(below));
    let divisor = u128::from(b.sig);
    let quotient = dividend / divisor;
    let remainder = dividend - quotient * divisor;
    let sig = quotient << 64 | u128::from(fraction_code(remainder, 2 * remainder, divisor));
    let exp = a.exp - b.exp - i32::from(below);
    round(
        env,
        Exact {
            sign: a.sign ^ b.sign,
            exp,
            sig,
        },
    )
}

/// What follows the last quotient bit, as far as rounding must know: zero, less than, exactly or
/// more than a half.
#[inline(always)]
fn fraction_code(remainder: u128, twice: u128, divisor: u128) -> u64 {
    if remainder == 0 {
        return 0;
    }
    match twice.cmp(&divisor) {
        std::cmp::Ordering::Less => 1,
        std::cmp::Ordering::Equal => 1 << 63,
        std::cmp::Ordering::Greater => 1 << 63 | 1,
    }
}

#[cold]
#[inline(never)]
fn div_special<F: Format>(env: &mut Env, a: Unpacked, b: Unpacked) -> F {
    if let Some(nan) = nan_result(env, &a, &b) {
        return nan;
    }
    let sign = a.sign ^ b.sign;
    match (a.class, b.class) {
        (Class::Infinity, Class::Infinity) | (Class::Zero, Class::Zero) => return invalid(env),
        (Class::Finite, Class::Zero) => {
            env.raise(exception::ZERO_DIVIDE);
            return F::infinity(sign);
        }
        _ => {}
    }
    if denormal_stops(env, a.denormal | b.denormal) {
        return F::indefinite();
    }
    if a.is_infinite() || b.is_zero() {
        F::infinity(sign)
    } else {
        F::zero(sign)
    }
}

/// The square root of `a`.
pub fn sqrt<F: Format>(env: &mut Env, a: Unpacked) -> F {
    if let Some(nan) = nan_result(env, &a, &a) {
        return nan;
    }
    if a.is_zero() {
        return F::zero(a.sign);
    }
    if a.sign {
        return invalid(env);
    }
    if denormal_stops(env, a.denormal) {
        return F::indefinite();
    }
    if a.is_infinite() {
        return F::infinity(false);
    }
    // An even exponent, and a radicand whose root has exactly 64 bits.
    let odd = a.exp & 1;
    let radicand = u128::from(a.sig) << (63 + odd.cast_unsigned());
    let root = radicand.isqrt();
    let remainder = radicand - root * root;
    let fraction = match remainder {
        0 => 0,
        r if r > root => 1 << 63 | 1,
        _ => 1,
    };
    let exp = (a.exp - odd) / 2;
    round(
        env,
        Exact {
            sign: false,
            exp,
            sig: root << 64 | fraction,
        },
    )
}

/// Loads a number into another format; no DE, and a signaling NaN raises IE.
/// Precision control does not take part.
#[inline(always)]
pub fn convert<F: Format>(env: &mut Env, a: Unpacked) -> F {
    let precision = F::precision(&Env {
        precision: 64,
        ..*env
    });
    match a.class {
        Class::Finite => round_to(env, exact(&a), precision),
        Class::Zero => F::zero(a.sign),
        Class::Infinity => F::infinity(a.sign),
        Class::Unsupported => invalid(env),
        Class::Quiet | Class::Signaling => {
            if a.class == Class::Signaling {
                env.raise(exception::INVALID);
            }
            F::quiet(&a)
        }
    }
}

/// [`convert`], raising DE as FLD m32/m64, CVTSS2SD and CVTSD2SS do.
#[inline(always)]
pub fn convert_checked<F: Format>(env: &mut Env, a: Unpacked) -> F {
    if denormal_stops(env, a.denormal) {
        return F::indefinite();
    }
    convert(env, a)
}

/// FST to memory. An unmasked overflow or underflow delivers no result and is alone reported.
#[inline(always)]
pub fn store<F: Format>(env: &mut Env, a: Unpacked) -> F {
    let value = convert(env, a);
    if env.unmasked() & (exception::OVERFLOW | exception::UNDERFLOW) != 0 {
        env.flags &= !exception::PRECISION;
        env.rounded_up = false;
    }
    value
}

/// A normal number of another format, or an integer, in 80-bit format; always exact.
#[must_use]
#[inline(always)]
pub(crate) fn extended(a: &Unpacked) -> Float80 {
    Float80::assemble(a.sign, a.exp + Float80::BIAS, a.sig)
}

/// An integer in 80-bit format; always exact.
#[must_use]
pub fn from_integer(value: i64) -> Float80 {
    pack_magnitude(value < 0, value.unsigned_abs())
}

/// An integer magnitude with a sign in 80-bit format; always exact.
pub(crate) fn pack_magnitude(sign: bool, magnitude: u64) -> Float80 {
    let a = Unpacked::from_magnitude(sign, magnitude);
    if a.is_zero() {
        return Float80::zero(sign);
    }
    extended(&a)
}
