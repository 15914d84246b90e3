//! A vector as lanes of one type: 16 bytes, 8 words, 4 doublewords or 2 quadwords.
//!
//! MMX operands are vectors whose upper half is zero; what lane operations leave there is cut
//! off when the result is written.

use crate::cpu::fpu::soft::Ieee;
use crate::cpu::simd::operand::Vector;

/// An element type of a vector.
pub(super) trait Lane: Copy {
    /// Its size in bytes.
    const BYTES: usize;
    /// From the low bits.
    fn cut(bits: u64) -> Self;
    /// Zero-extended.
    fn bits(self) -> u64;
}

macro_rules! lane {
    ($($lane:ty => $unsigned:ty),*) => {
        $(
            impl Lane for $lane {
                const BYTES: usize = size_of::<$lane>();

                #[inline(always)]
                fn cut(bits: u64) -> Self {
                    bits as $lane
                }

                #[inline(always)]
                fn bits(self) -> u64 {
                    self as $unsigned as u64
                }
            }
        )*
    };
}

impl<F: Ieee> Lane for F {
    const BYTES: usize = F::BITS as usize / 8;

    #[inline(always)]
    fn cut(bits: u64) -> Self {
        F::from_bits(bits)
    }

    #[inline(always)]
    fn bits(self) -> u64 {
        Ieee::bits(self)
    }
}

lane!(u8 => u8, i8 => u8, u16 => u16, i16 => u16, u32 => u32, i32 => u32, u64 => u64, i64 => u64);

/// Lane `n`.
#[inline(always)]
pub(super) fn get<L: Lane>(vector: u128, n: usize) -> L {
    L::cut((vector >> (n * L::BYTES * 8)) as u64)
}

/// Number `n` of a vector of two such lanes.
#[inline(always)]
pub(super) fn across<L: Lane>(vector: Vector, n: usize) -> L {
    let half = 16 / L::BYTES;
    get(vector[(n / half) & 1], n % half)
}

/// The vector with `value` in lane `n` and zeros elsewhere.
#[inline(always)]
pub(super) fn put<L: Lane>(value: L, n: usize) -> u128 {
    u128::from(value.bits()) << (n * L::BYTES * 8)
}

/// The vector with `value` in lane `n`.
#[inline(always)]
pub(super) fn replace<L: Lane>(vector: u128, value: L, n: usize) -> u128 {
    vector & !put(L::cut(u64::MAX), n) | put(value, n)
}

/// The vector whose lane `n` is `f(n)`.
#[inline(always)]
pub(super) fn build<L: Lane>(mut f: impl FnMut(usize) -> L) -> u128 {
    let mut vector = 0;
    for n in 0..16 / L::BYTES {
        vector |= put(f(n), n);
    }
    vector
}

/// Lane by lane.
#[inline(always)]
pub(super) fn map2<L: Lane, R: Lane>(a: u128, b: u128, mut f: impl FnMut(L, L) -> R) -> u128 {
    build(|n| f(get(a, n), get(b, n)))
}

/// Lane by lane.
#[inline(always)]
pub(super) fn map<L: Lane, R: Lane>(a: u128, mut f: impl FnMut(L) -> R) -> u128 {
    build(|n| f(get(a, n)))
}

/// The horizontal operations: neighbours of `a`, then neighbours of `b`.
#[inline(always)]
pub(super) fn horizontal<L: Lane>(
    a: u128,
    b: u128,
    bytes: usize,
    mut f: impl FnMut(L, L) -> L,
) -> u128 {
    let lanes = bytes / L::BYTES;
    build(|n| {
        let (from, k) = if n < lanes / 2 {
            (a, n)
        } else {
            (b, n - lanes / 2)
        };
        if n < lanes {
            f(get(from, 2 * k), get(from, 2 * k + 1))
        } else {
            L::cut(0)
        }
    })
}
