//! Arithmetic with 128-bit significands, for the transcendental functions.
//!
//! Products and reciprocals are truncated: each operation errs by less than 2^-118 of its result,
//! which leaves some fifty guard bits under the 64 that a result keeps. Constants are truncated
//! to 128 bits.

use super::round::Exact;
use super::unpacked::Unpacked;

/// Pi, as a significand with exponent 1.
pub(crate) const PI: u128 = 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1;

/// log2(e), as a significand with exponent 0.
pub(crate) const LOG2_E: u128 = 0xb8aa_3b29_5c17_f0bb_be87_fed0_691d_3e88;

/// ln(2), as a significand with exponent -1.
pub(crate) const LN_2: u128 = 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6af;

/// The high half of a 256-bit product.
#[inline]
pub(crate) fn mul_high(a: u128, b: u128) -> u128 {
    const LOW: u128 = u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let middle = a1 * b0 + ((a0 * b0) >> 64);
    let other = a0 * b1 + (middle & LOW);
    a1 * b1 + (middle >> 64) + (other >> 64)
}

/// A polynomial with positive coefficients below 1 (units of 2^-128), lowest first, at `x` in
/// [0, 1): `c0 + x*(c1 + x*(...))`. The value must stay below 1.
#[inline]
pub(crate) fn sum(coefficients: &[u128], x: u128) -> u128 {
    coefficients
        .iter()
        .rev()
        .fold(0, |value, &c| c + mul_high(value, x))
}

/// The same with alternating signs: `c0 - x*(c1 - x*(...))`; coefficients decrease.
#[inline]
pub(crate) fn alternating_sum(coefficients: &[u128], x: u128) -> u128 {
    coefficients
        .iter()
        .rev()
        .fold(0, |value, &c| c - mul_high(value, x))
}

/// `1 - x` in units of 2^-128; where that would be 1, the largest number below it.
#[inline]
pub(crate) fn one_minus(x: u128) -> u128 {
    if x == 0 { u128::MAX } else { x.wrapping_neg() }
}

impl Exact {
    /// A finite operand.
    pub(crate) fn from_operand(a: &Unpacked) -> Self {
        Self {
            sign: a.sign,
            exp: a.exp,
            sig: u128::from(a.sig) << 64,
        }
    }

    /// `sig * 2^(exp - 127)` brought to normal form; `sig` is not 0.
    pub(crate) fn normalised(sign: bool, exp: i32, sig: u128) -> Self {
        let shift = sig.leading_zeros();
        Self {
            sign,
            exp: exp - shift.cast_signed(),
            sig: sig << shift,
        }
    }

    /// The product, truncated.
    pub(crate) fn times(self, other: Self) -> Self {
        let sig = mul_high(self.sig, other.sig);
        Self::normalised(self.sign ^ other.sign, self.exp + other.exp + 1, sig)
    }

    /// The product with a factor in [1/2, 1), in units of 2^-128.
    pub(crate) fn times_fraction(self, factor: u128) -> Self {
        Self::normalised(self.sign, self.exp, mul_high(self.sig, factor))
    }

    /// `1 / self`: a 64-bit reciprocal and one step of Newton's iteration.
    pub(crate) fn reciprocal(self) -> Self {
        if self.sig == 1 << 127 {
            return Self {
                exp: -self.exp,
                ..self
            };
        }
        // self is b * 2^(exp + 1) with b in (1/2, 1); r approximates 1/b in units of 2^-63.
        let (high, low) = (self.sig >> 64, self.sig & u128::from(u64::MAX));
        let r = (u128::MAX >> 1) / high;
        // b * r is 1 - error; the error in units of 2^-128, where 1 wraps to 0.
        let error = ((high * r) << 1)
            .wrapping_add((low * r) >> 63)
            .wrapping_neg()
            .cast_signed();
        let correction = ((r >> 1).cast_signed() * (error >> 4)) >> 59;
        let sig = (r << 64).saturating_add_signed(correction);
        Self {
            sign: self.sign,
            exp: -self.exp - 1,
            sig,
        }
    }

    /// The magnitude in units of 2^-`scale`, truncated; it must be below `2^(128 - scale)`.
    pub(crate) fn to_fixed(self, scale: i32) -> u128 {
        let shift = (127 - self.exp - scale).cast_unsigned();
        self.sig.checked_shr(shift).unwrap_or(0)
    }

    /// `magnitude * 2^-scale`; `magnitude` is not 0.
    pub(crate) fn from_fixed(sign: bool, magnitude: u128, scale: i32) -> Self {
        Self::normalised(sign, 127 - scale, magnitude)
    }

    /// The square of a number below 1, in units of 2^-128.
    pub(crate) fn square(self) -> u128 {
        let shift = (-2 * (self.exp + 1)).cast_unsigned();
        mul_high(self.sig, self.sig).checked_shr(shift).unwrap_or(0)
    }

    /// Marked as not exact, for the rounding.
    pub(crate) fn inexact(self) -> Self {
        Self {
            sig: self.sig | 1,
            ..self
        }
    }
}
