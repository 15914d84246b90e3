//! The one internal form of a floating-point operand, whatever its format in memory.

/// What kind of number an operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Plus or minus zero.
    Zero,
    /// A normal or denormal number; the significand is normalised.
    Finite,
    /// Plus or minus infinity.
    Infinity,
    /// A quiet NaN; the significand holds its payload.
    Quiet,
    /// A signaling NaN; the significand holds its payload.
    Signaling,
    /// An 80-bit encoding that the 80387 and later refuse: unnormal, pseudo-infinity, pseudo-NaN.
    Unsupported,
}

/// An operand taken apart. A finite one is `sig * 2^(exp - 63)` with bit 63 of `sig` set.
/// A NaN's `sig` is left-aligned: bit 63 is the integer bit, bit 62 the quiet bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// Kind of number.
    pub class: Class,
    /// Set: negative.
    pub sign: bool,
    /// The encoding was denormal (or pseudo-denormal): the operation raises DE.
    pub denormal: bool,
    /// Unbiased exponent of a finite number.
    pub exp: i32,
    /// Significand.
    pub sig: u64,
}

/// The quiet bit of a left-aligned significand.
pub(crate) const QUIET: u64 = 1 << 62;

/// The integer bit of a left-aligned significand.
pub(crate) const INTEGER: u64 = 1 << 63;

impl Unpacked {
    /// A number that is not finite, or zero.
    #[inline(always)]
    pub(crate) fn special(class: Class, sign: bool, sig: u64) -> Self {
        Self {
            class,
            sign,
            denormal: false,
            exp: 0,
            sig,
        }
    }

    /// A normal number; `sig` has bit 63 set.
    #[inline(always)]
    pub(crate) fn normal(sign: bool, exp: i32, sig: u64) -> Self {
        Self {
            class: Class::Finite,
            sign,
            denormal: false,
            exp,
            sig,
        }
    }

    /// The denormal number `sig * 2^(exp - 63)`, `sig` not 0 and not yet normalised.
    #[inline(always)]
    pub(crate) fn denormal(sign: bool, exp: i32, sig: u64) -> Self {
        let shift = sig.leading_zeros();
        let exp = exp - shift.cast_signed();
        Self {
            class: Class::Finite,
            sign,
            denormal: true,
            exp,
            sig: sig << shift,
        }
    }

    /// A signed integer; it is always exact.
    #[must_use]
    #[inline(always)]
    pub fn from_integer(value: i64) -> Self {
        let sign = value < 0;
        Self::from_magnitude(sign, value.unsigned_abs())
    }

    /// The integer `magnitude` with a sign; it is always exact.
    #[inline(always)]
    pub(crate) fn from_magnitude(sign: bool, magnitude: u64) -> Self {
        if magnitude == 0 {
            return Self::special(Class::Zero, sign, 0);
        }
        let shift = magnitude.leading_zeros();
        Self::normal(sign, 63 - shift.cast_signed(), magnitude << shift)
    }

    /// Whether it is a NaN of either kind.
    #[must_use]
    #[inline(always)]
    pub fn is_nan(&self) -> bool {
        matches!(self.class, Class::Quiet | Class::Signaling)
    }

    /// The same magnitude with the other sign; a NaN keeps its own.
    #[must_use]
    #[inline(always)]
    pub fn negated(mut self) -> Self {
        self.sign ^= !self.is_nan();
        self
    }

    #[inline(always)]
    pub(crate) fn is_finite(&self) -> bool {
        self.class == Class::Finite
    }

    #[inline(always)]
    pub(crate) fn is_zero(&self) -> bool {
        self.class == Class::Zero
    }

    #[inline(always)]
    pub(crate) fn is_infinite(&self) -> bool {
        self.class == Class::Infinity
    }
}
