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

    /// The default NaN ("real indefinite").
    #[must_use]
    #[inline(always)]
    fn indefinite() -> Self {
        Self::assemble(true, Self::TOP, INTEGER | QUIET)
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

/// A binary interchange format of IEEE 754: sign, exponent field and fraction field, with the integer
/// bit implied.
pub trait Ieee: Copy {
    /// Its size in bits.
    const BITS: u32;
    /// Bits of the fraction field.
    const FRACTION: u32;

    /// From the low bits.
    fn from_bits(bits: u64) -> Self;

    /// Zero-extended.
    fn bits(self) -> u64;
}

macro_rules! ieee {
    ($($number:ident($bits:ty), $fraction:literal;)*) => {$(
        impl Ieee for $number {
            const BITS: u32 = <$bits>::BITS;
            const FRACTION: u32 = $fraction;

            #[inline(always)]
            fn from_bits(bits: u64) -> Self {
                Self(bits as $bits)
            }

            #[inline(always)]
            fn bits(self) -> u64 {
                self.0.into()
            }
        }
    )*};
}

ieee! {
    Float16(u16), 10;
    Float32(u32), 23;
    Float64(u64), 52;
}

/// Sign, exponent field, and fraction field left-aligned below the integer bit.
#[inline(always)]
fn fields<F: Ieee + Format>(number: F) -> (bool, i32, u64) {
    let bits = number.bits();
    let exponent = (bits >> F::FRACTION) as i32 & F::TOP;
    let fraction = bits << (64 - F::FRACTION) >> 1;
    (bits >> (F::BITS - 1) != 0, exponent, fraction)
}

/// A number of exponent field `exponent` and significand `sig` (left-aligned, with its integer
/// bit), if that makes it a normal one.
#[inline(always)]
fn normal<F: Format>(sign: bool, exponent: i32, sig: u64) -> Option<Unpacked> {
    let is_normal = exponent != 0 && exponent != F::TOP && sig & INTEGER != 0;
    is_normal.then(|| Unpacked::normal(sign, exponent - F::BIAS, sig))
}

impl<F: Ieee> Format for F {
    const BIAS: i32 = Self::TOP >> 1;
    const TOP: i32 = (1 << (Self::BITS - 1 - Self::FRACTION)) - 1;
    const WRAP: i32 = 3 << (Self::BITS - 3 - Self::FRACTION);

    #[inline(always)]
    fn precision(_: &Env) -> u32 {
        Self::FRACTION + 1
    }

    #[inline(always)]
    fn normal(self) -> Option<Unpacked> {
        let (sign, exponent, fraction) = fields(self);
        normal::<Self>(sign, exponent, fraction | INTEGER)
    }

    #[inline(always)]
    fn unpack(self, env: &Env) -> Unpacked {
        if let Some(number) = self.normal() {
            return number;
        }
        let (sign, exponent, fraction) = fields(self);
        let class = match (exponent, fraction) {
            (0, f) if f == 0 || env.daz => return Unpacked::special(Class::Zero, sign, 0),
            (0, _) => return Unpacked::denormal(sign, 1 - Self::BIAS, fraction),
            (_, 0) => Class::Infinity,
            _ if fraction & QUIET != 0 => Class::Quiet,
            _ => Class::Signaling,
        };
        Unpacked::special(class, sign, fraction | INTEGER)
    }

    #[inline(always)]
    fn assemble(sign: bool, exponent: i32, sig: u64) -> Self {
        let sign = u64::from(sign) << (Self::BITS - 1);
        let exponent = u64::from(exponent.cast_unsigned()) << Self::FRACTION;
        let fraction = sig << 1 >> (64 - Self::FRACTION);
        Self::from_bits(sign | exponent | fraction)
    }

    /// The first operand that is one.
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
