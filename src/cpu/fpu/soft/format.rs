//! The four formats: binary16, binary32, binary64 and the x87's 80-bit extended.
//!
//! Each is its bit pattern, with what the generic arithmetic has to know of it.
//! Intel SDM volume 1, section 4.2.2 and tables 4-3 and 8-3 (unsupported encodings); NaN
//! selection: table 4-7.

use super::env::Env;
use super::unpacked::{Class, INTEGER, QUIET, Unpacked};
use serde::{Deserialize, Serialize};

/// A floating-point format.
pub trait Format: Copy {
    /// Exponent bias.
    const BIAS: i32;
    /// The exponent field of infinities and NaNs: all ones.
    const TOP: i32;
    /// What the exponent is moved by when an unmasked overflow or underflow delivers a result.
    const WRAP: i32;
    /// The default NaN ("real indefinite").
    const INDEFINITE: Self;
    /// Whether it is the x87's own.
    const IS_X87: bool = false;

    /// Bits of the significand that an arithmetic result keeps.
    fn precision(env: &Env) -> u32;

    /// Takes a normal number apart; `None` for everything else.
    fn normal(self) -> Option<Unpacked>;

    /// Takes the bit pattern apart; DAZ turns denormal numbers into zeros.
    fn unpack(self, env: &Env) -> Unpacked;

    /// Puts a bit pattern together: exponent field, and left-aligned significand (bit 63 is the
    /// integer bit, clear for zeros and denormals).
    fn assemble(sign: bool, exponent: i32, sig: u64) -> Self;

    /// Which of two operands, at least one of them a NaN, becomes the (quieted) result.
    fn choose_nan<'a>(a: &'a Unpacked, b: &'a Unpacked) -> &'a Unpacked;

    /// Zero.
    #[must_use]
    fn zero(sign: bool) -> Self {
        Self::assemble(sign, 0, 0)
    }

    /// Infinity.
    #[must_use]
    fn infinity(sign: bool) -> Self {
        Self::assemble(sign, Self::TOP, INTEGER)
    }

    /// A NaN made quiet; a payload too long for the format loses its low bits.
    #[must_use]
    fn quiet(nan: &Unpacked) -> Self {
        Self::assemble(nan.sign, Self::TOP, nan.sig | INTEGER | QUIET)
    }
}

/// The bit pattern of a binary16 number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Float16(pub u16);

/// The bit pattern of a binary32 number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Float32(pub u32);

/// The bit pattern of a binary64 number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Float64(pub u64);

/// The bit pattern of an 80-bit extended number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Float80 {
    /// Sign (bit 15) and biased exponent.
    pub sign_exponent: u16,
    /// Significand with explicit integer bit (bit 63).
    pub significand: u64,
}

/// A number of exponent field `exponent` and significand `sig` (left-aligned, with its integer
/// bit), if that makes it a normal one.
#[inline(always)]
fn normal<F: Format>(sign: bool, exponent: i32, sig: u64) -> Option<Unpacked> {
    let is_normal = exponent != 0 && exponent != F::TOP && sig & INTEGER != 0;
    is_normal.then(|| Unpacked::normal(sign, exponent - F::BIAS, sig))
}

/// Fraction field `fraction` (left-aligned below the integer bit) with exponent field `exponent`.
#[inline(always)]
fn unpack_ieee<F: Format>(env: &Env, sign: bool, exponent: i32, fraction: u64) -> Unpacked {
    if let Some(number) = normal::<F>(sign, exponent, fraction | INTEGER) {
        return number;
    }
    if exponent == 0 {
        if fraction == 0 || env.daz {
            return Unpacked::special(Class::Zero, sign, 0);
        }
        return Unpacked::denormal(sign, 1 - F::BIAS, fraction);
    }
    let class = match fraction {
        0 => Class::Infinity,
        f if f & QUIET != 0 => Class::Quiet,
        _ => Class::Signaling,
    };
    Unpacked::special(class, sign, fraction | INTEGER)
}

/// Sign, exponent field, and fraction field left-aligned below the integer bit.
type Fields = (bool, i32, u64);

impl Float16 {
    #[inline(always)]
    fn fields(self) -> Fields {
        let exponent = i32::from(self.0 >> 10 & 0x1f);
        (self.0 >> 15 != 0, exponent, u64::from(self.0 & 0x3ff) << 53)
    }
}

impl Float32 {
    #[inline(always)]
    fn fields(self) -> Fields {
        let exponent = (self.0 >> 23 & 0xff).cast_signed();
        (self.0 >> 31 != 0, exponent, u64::from(self.0 << 9) << 31)
    }
}

impl Float64 {
    #[inline(always)]
    fn fields(self) -> Fields {
        let exponent = (self.0 >> 52 & 0x7ff) as i32;
        (self.0 >> 63 != 0, exponent, self.0 << 12 >> 1)
    }
}

impl Format for Float16 {
    const BIAS: i32 = 15;
    const TOP: i32 = 0x1f;
    const WRAP: i32 = 24;
    const INDEFINITE: Self = Self(0xfe00);

    #[inline(always)]
    fn precision(_: &Env) -> u32 {
        11
    }

    #[inline(always)]
    fn unpack(self, env: &Env) -> Unpacked {
        let (sign, exponent, fraction) = self.fields();
        unpack_ieee::<Self>(env, sign, exponent, fraction)
    }

    #[inline(always)]
    fn normal(self) -> Option<Unpacked> {
        let (sign, exponent, fraction) = self.fields();
        normal::<Self>(sign, exponent, fraction | INTEGER)
    }

    #[inline(always)]
    fn assemble(sign: bool, exponent: i32, sig: u64) -> Self {
        let fraction = (sig >> 53) as u16 & 0x3ff;
        Self(u16::from(sign) << 15 | (exponent as u16) << 10 | fraction)
    }

    #[inline(always)]
    fn choose_nan<'a>(a: &'a Unpacked, b: &'a Unpacked) -> &'a Unpacked {
        if a.is_nan() { a } else { b }
    }
}

impl Format for Float32 {
    const BIAS: i32 = 127;
    const TOP: i32 = 0xff;
    const WRAP: i32 = 192;
    const INDEFINITE: Self = Self(0xffc0_0000);

    #[inline(always)]
    fn precision(_: &Env) -> u32 {
        24
    }

    #[inline(always)]
    fn unpack(self, env: &Env) -> Unpacked {
        let (sign, exponent, fraction) = self.fields();
        unpack_ieee::<Self>(env, sign, exponent, fraction)
    }

    #[inline(always)]
    fn normal(self) -> Option<Unpacked> {
        let (sign, exponent, fraction) = self.fields();
        normal::<Self>(sign, exponent, fraction | INTEGER)
    }

    #[inline(always)]
    fn assemble(sign: bool, exponent: i32, sig: u64) -> Self {
        let fraction = (sig >> 40) as u32 & 0x7f_ffff;
        Self(u32::from(sign) << 31 | exponent.cast_unsigned() << 23 | fraction)
    }

    #[inline(always)]
    fn choose_nan<'a>(a: &'a Unpacked, b: &'a Unpacked) -> &'a Unpacked {
        if a.is_nan() { a } else { b }
    }
}

impl Format for Float64 {
    const BIAS: i32 = 1023;
    const TOP: i32 = 0x7ff;
    const WRAP: i32 = 1536;
    const INDEFINITE: Self = Self(0xfff8_0000_0000_0000);

    #[inline(always)]
    fn precision(_: &Env) -> u32 {
        53
    }

    #[inline(always)]
    fn unpack(self, env: &Env) -> Unpacked {
        let (sign, exponent, fraction) = self.fields();
        unpack_ieee::<Self>(env, sign, exponent, fraction)
    }

    #[inline(always)]
    fn normal(self) -> Option<Unpacked> {
        let (sign, exponent, fraction) = self.fields();
        normal::<Self>(sign, exponent, fraction | INTEGER)
    }

    #[inline(always)]
    fn assemble(sign: bool, exponent: i32, sig: u64) -> Self {
        let fraction = sig << 1 >> 12;
        Self(u64::from(sign) << 63 | u64::from(exponent.cast_unsigned()) << 52 | fraction)
    }

    #[inline(always)]
    fn choose_nan<'a>(a: &'a Unpacked, b: &'a Unpacked) -> &'a Unpacked {
        if a.is_nan() { a } else { b }
    }
}

impl Float80 {
    /// From sign and exponent, and significand.
    #[must_use]
    #[inline(always)]
    pub const fn new(sign_exponent: u16, significand: u64) -> Self {
        Self {
            sign_exponent,
            significand,
        }
    }

    /// From the ten bytes of its memory image.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 10]) -> Self {
        let [s0, s1, s2, s3, s4, s5, s6, s7, e0, e1] = bytes;
        Self {
            sign_exponent: u16::from_le_bytes([e0, e1]),
            significand: u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
        }
    }

    /// Its memory image.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&self.significand.to_le_bytes());
        bytes[8..].copy_from_slice(&self.sign_exponent.to_le_bytes());
        bytes
    }

    /// Whether the sign bit is set.
    #[must_use]
    #[inline(always)]
    pub fn is_negative(self) -> bool {
        self.sign_exponent >> 15 != 0
    }

    /// The classes that a normal number is not.
    #[cold]
    #[inline(never)]
    fn unpack_special(self) -> Unpacked {
        let sign = self.is_negative();
        let exponent = i32::from(self.sign_exponent & 0x7fff);
        let sig = self.significand;
        let class = match (exponent, sig) {
            (0, 0) => Class::Zero,
            // A pseudo-denormal has its integer bit set and the value that this gives.
            (0, _) => return Unpacked::denormal(sign, 1 - Self::BIAS, sig),
            _ if sig & INTEGER == 0 => Class::Unsupported,
            (_, INTEGER) => Class::Infinity,
            _ if sig & QUIET != 0 => Class::Quiet,
            _ => Class::Signaling,
        };
        Unpacked::special(class, sign, sig)
    }
}

impl Format for Float80 {
    const BIAS: i32 = 16383;
    const IS_X87: bool = true;
    const TOP: i32 = 0x7fff;
    const WRAP: i32 = 24576;
    const INDEFINITE: Self = Self::new(0xffff, 0xc000_0000_0000_0000);

    #[inline(always)]
    fn precision(env: &Env) -> u32 {
        env.precision
    }

    #[inline(always)]
    fn unpack(self, _: &Env) -> Unpacked {
        match self.normal() {
            Some(number) => number,
            None => self.unpack_special(),
        }
    }

    #[inline(always)]
    fn normal(self) -> Option<Unpacked> {
        let exponent = i32::from(self.sign_exponent & 0x7fff);
        normal::<Self>(self.is_negative(), exponent, self.significand)
    }

    #[inline(always)]
    fn assemble(sign: bool, exponent: i32, sig: u64) -> Self {
        Self::new(u16::from(sign) << 15 | (exponent & 0x7fff) as u16, sig)
    }

    /// The quiet one beats the signaling one; among equals the larger significand, then plus.
    fn choose_nan<'a>(a: &'a Unpacked, b: &'a Unpacked) -> &'a Unpacked {
        match (a.class, b.class) {
            (Class::Quiet, Class::Signaling) => a,
            (Class::Signaling, Class::Quiet) => b,
            _ if !b.is_nan() => a,
            _ if !a.is_nan() => b,
            _ if a.sig != b.sig => {
                if a.sig > b.sig {
                    a
                } else {
                    b
                }
            }
            _ if a.sign => b,
            _ => a,
        }
    }
}
