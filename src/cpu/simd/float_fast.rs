//! The common case of SSE arithmetic, on the host's own numbers.
//!
//! Rust's `f32` and `f64` are IEEE 754 numbers that round to the nearest on every host. Where the
//! guest does so too, has PE raised and masked already (after any inexact result, it stays), and
//! operands and result are zero or well inside the normal range, the host's result is the guest's
//! and no flag changes. Everything else returns `None` and goes through [`crate::cpu::fpu::soft`].

use crate::cpu::fpu::soft::{Float32, Float64};

/// RC, PM and PE of MXCSR, and their values where this file may be used.
const RELEVANT: u32 = 0x6000 | 0x1000 | 0x20;
const SUITABLE: u32 = 0x1000 | 0x20;

/// Whether results may come from here under `mxcsr`.
#[inline(always)]
pub(super) fn is_suitable(mxcsr: u32) -> bool {
    mxcsr & RELEVANT == SUITABLE
}

/// Arithmetic that gives a result only where it needs no flags.
pub(super) trait Fast: Sized {
    /// `a + b`.
    fn fast_add(a: Self, b: Self) -> Option<Self>;
    /// `a - b`.
    fn fast_sub(a: Self, b: Self) -> Option<Self>;
    /// `a * b`.
    fn fast_mul(a: Self, b: Self) -> Option<Self>;
    /// `a / b`.
    fn fast_div(a: Self, b: Self) -> Option<Self>;
    /// The square root of `a`.
    fn fast_sqrt(a: Self) -> Option<Self>;
}

macro_rules! fast {
    ($number:ident, $host:ty) => {
        impl $number {
            /// Neither denormal, infinite nor NaN.
            #[inline(always)]
            fn is_plain(x: $host) -> bool {
                x.is_normal() || x == 0.0
            }

            /// Far enough from both ends that rounding neither underflowed nor overflowed.
            #[inline(always)]
            fn is_safe(x: $host) -> bool {
                x.is_normal() && x.abs() != <$host>::MIN_POSITIVE
            }
        }

        impl Fast for $number {
            #[inline(always)]
            fn fast_add(a: Self, b: Self) -> Option<Self> {
                let (a, b) = (<$host>::from_bits(a.0), <$host>::from_bits(b.0));
                let sum = a + b;
                let fine = Self::is_plain(a) && Self::is_plain(b);
                (fine && (Self::is_safe(sum) || sum == 0.0)).then(|| Self(sum.to_bits()))
            }

            #[inline(always)]
            fn fast_sub(a: Self, b: Self) -> Option<Self> {
                let (a, b) = (<$host>::from_bits(a.0), <$host>::from_bits(b.0));
                let difference = a - b;
                let fine = Self::is_plain(a) && Self::is_plain(b);
                (fine && (Self::is_safe(difference) || difference == 0.0))
                    .then(|| Self(difference.to_bits()))
            }

            #[inline(always)]
            fn fast_mul(a: Self, b: Self) -> Option<Self> {
                let (a, b) = (<$host>::from_bits(a.0), <$host>::from_bits(b.0));
                let product = a * b;
                let fine = Self::is_plain(a) && Self::is_plain(b);
                let zero = a == 0.0 || b == 0.0;
                (fine && (Self::is_safe(product) || zero)).then(|| Self(product.to_bits()))
            }

            #[inline(always)]
            fn fast_div(a: Self, b: Self) -> Option<Self> {
                let (a, b) = (<$host>::from_bits(a.0), <$host>::from_bits(b.0));
                let quotient = a / b;
                let fine = Self::is_plain(a) && b.is_normal();
                (fine && (Self::is_safe(quotient) || a == 0.0)).then(|| Self(quotient.to_bits()))
            }

            #[inline(always)]
            fn fast_sqrt(a: Self) -> Option<Self> {
                let a = <$host>::from_bits(a.0);
                (a.is_normal() && a > 0.0).then(|| Self(a.sqrt().to_bits()))
            }
        }
    };
}

fast!(Float32, f32);
fast!(Float64, f64);
