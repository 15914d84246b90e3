//! The common case of SSE arithmetic, on the host's own numbers.
//!
//! Rust's `f32` and `f64` are IEEE 754 numbers that round to the nearest on every host. Where the
//! guest does so too, has PE raised and masked already (after any inexact result, it stays), and
//! operands and result are zero or normal, and the result not next to the denormal ones, the host's
//! result is the guest's and no flag changes. Everything else goes through [`crate::cpu::fpu::soft`].

use super::state::Bytes;
use crate::cpu::fpu::soft::compare::Relation;
use crate::cpu::fpu::soft::{Float32, Float64, Format, Ieee};

/// RC, PM and PE of MXCSR, and their values where this file may be used.
const RELEVANT: u32 = 0x6000 | 0x1000 | 0x20;
const SUITABLE: u32 = 0x1000 | 0x20;

/// Whether results may come from the host under `mxcsr`.
#[inline(always)]
pub(super) fn is_suitable(mxcsr: u32) -> bool {
    mxcsr & RELEVANT == SUITABLE
}

/// A number that the host computes with.
pub(super) trait Fast: Ieee {
    /// `a + b`.
    fn host_add(a: Self, b: Self) -> Self;
    /// `a - b`.
    fn host_sub(a: Self, b: Self) -> Self;
    /// `a * b`.
    fn host_mul(a: Self, b: Self) -> Self;
    /// `a / b`.
    fn host_div(a: Self, b: Self) -> Self;
    /// The square root of `a`.
    fn host_sqrt(a: Self) -> Self;
    /// How `a` and `b` relate.
    fn host_compare(a: Self, b: Self) -> Relation;

    /// Neither zero nor denormal, infinite or NaN, nor of the smallest exponent: a result that
    /// looks so did not underflow before it was rounded.
    #[inline(always)]
    fn is_ordinary(self) -> bool {
        let exponent = (self.bits() >> Self::FRACTION) as i32 & Self::TOP;
        (2..Self::TOP).contains(&exponent)
    }

    /// The biased exponent, in its place.
    #[inline(always)]
    fn exponent_in_place(self) -> u64 {
        self.bits() & (Self::TOP as u64) << Self::FRACTION
    }

    /// The sign bit is clear if the number [is ordinary](Fast::is_ordinary), so that several can
    /// be joined by OR. The other bits mean nothing.
    #[inline(always)]
    fn oddity(self) -> u64 {
        let exponent = self.exponent_in_place();
        // The one borrows where it is 0 or 1, the other carries where it is all ones.
        exponent.wrapping_sub(2 << Self::FRACTION) | exponent.wrapping_add(1 << Self::FRACTION)
    }

    /// Zero or denormal.
    #[inline(always)]
    fn is_small(self) -> bool {
        self.exponent_in_place() == 0
    }

    /// The sign bit is clear unless the number [is small](Fast::is_small).
    #[inline(always)]
    fn smallness(self) -> u64 {
        let exponent = self.exponent_in_place();
        exponent.wrapping_sub(1 << Self::FRACTION)
    }

    /// Whether no number of a vector has its sign bit set.
    #[inline(always)]
    fn has_no_sign(vector: Bytes) -> bool {
        let lowest_bits = u128::MAX / ((1 << Self::BITS) - 1);
        let signs = lowest_bits << (Self::BITS - 1);
        u128::from_le_bytes(vector) & signs == 0
    }

    /// Of either sign.
    #[inline(always)]
    fn is_zero(self) -> bool {
        Ieee::bits(self) << (64 - Self::BITS) << 1 == 0
    }
}

/// Whether `result`, which the host has computed from `a` and `b`, is the guest's too and raises
/// nothing but PE. Zero as a result is right if an operand is one too.
#[inline(always)]
pub(super) fn is_right<N: Fast>(a: N, b: N, result: N) -> bool {
    let is_plain = |x: N| x.is_ordinary() || x.is_zero();
    let exact_zero = result.is_zero() && (a.is_zero() || b.is_zero());
    is_plain(a) && is_plain(b) && (result.is_ordinary() || exact_zero)
}

macro_rules! fast {
    ($number:ident, $host:ty) => {
        impl $number {
            #[inline(always)]
            fn host(self) -> $host {
                <$host>::from_bits(self.0)
            }
        }

        impl Fast for $number {
            #[inline(always)]
            fn host_add(a: Self, b: Self) -> Self {
                Self((a.host() + b.host()).to_bits())
            }

            #[inline(always)]
            fn host_sub(a: Self, b: Self) -> Self {
                Self((a.host() - b.host()).to_bits())
            }

            #[inline(always)]
            fn host_mul(a: Self, b: Self) -> Self {
                Self((a.host() * b.host()).to_bits())
            }

            #[inline(always)]
            fn host_div(a: Self, b: Self) -> Self {
                Self((a.host() / b.host()).to_bits())
            }

            #[inline(always)]
            fn host_sqrt(a: Self) -> Self {
                Self(a.host().sqrt().to_bits())
            }

            #[inline(always)]
            fn host_compare(a: Self, b: Self) -> Relation {
                a.host().partial_cmp(&b.host())
            }
        }
    };
}

fast!(Float32, f32);
fast!(Float64, f64);
