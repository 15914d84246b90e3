//! A vector as lanes of one type: 16 bytes, 8 words, 4 doublewords or 2 quadwords.
//!
//! MMX operands are vectors whose upper half is zero; what lane operations leave there is cut
//! off when the result is written. Lanes are read from bytes and written to bytes, which an optimising
//! compiler makes into vectors of the host.

use super::operand::Vector;
use super::state::{Bytes, ZERO};
use crate::cpu::fpu::soft::Ieee;

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
pub(super) fn get<L: Lane>(vector: Bytes, n: usize) -> L {
    let mut bits = [0; 8];
    bits[..L::BYTES].copy_from_slice(&vector[n * L::BYTES % 16..][..L::BYTES]);
    L::cut(u64::from_le_bytes(bits))
}

/// Number `n` of a vector of two such lanes.
#[inline(always)]
pub(super) fn across<L: Lane>(vector: Vector, n: usize) -> L {
    let half = 16 / L::BYTES;
    get(vector[(n / half) & 1], n % half)
}

/// The vector with `value` in lane `n`.
#[inline(always)]
pub(super) fn replace<L: Lane>(mut vector: Bytes, value: L, n: usize) -> Bytes {
    let bits = value.bits().to_le_bytes();
    vector[n * L::BYTES % 16..][..L::BYTES].copy_from_slice(&bits[..L::BYTES]);
    vector
}

/// The vector with `value` in its lowest lane and zeros elsewhere.
#[inline(always)]
pub(super) fn low<L: Lane>(value: L) -> Bytes {
    replace(ZERO, value, 0)
}

/// The vector whose lane `n` is `f(n)`.
#[inline(always)]
pub(super) fn build<L: Lane>(mut f: impl FnMut(usize) -> L) -> Bytes {
    (0..16 / L::BYTES).fold(ZERO, |vector, n| replace(vector, f(n), n))
}

/// `f` of the vector as one number.
#[inline(always)]
pub(super) fn whole(vector: Bytes, f: impl FnOnce(u128) -> u128) -> Bytes {
    f(u128::from_le_bytes(vector)).to_le_bytes()
}

/// Lane by lane.
#[inline(always)]
pub(super) fn map2<L: Lane, R: Lane>(a: Bytes, b: Bytes, mut f: impl FnMut(L, L) -> R) -> Bytes {
    build(|n| f(get(a, n), get(b, n)))
}

/// Lane by lane.
#[inline(always)]
pub(super) fn map3<L: Lane, R: Lane>(
    a: Bytes,
    b: Bytes,
    c: Bytes,
    mut f: impl FnMut(L, L, L) -> R,
) -> Bytes {
    build(|n| f(get(a, n), get(b, n), get(c, n)))
}

/// Lane by lane.
#[inline(always)]
pub(super) fn map<L: Lane, R: Lane>(a: Bytes, mut f: impl FnMut(L) -> R) -> Bytes {
    build(|n| f(get(a, n)))
}

/// The horizontal operations: neighbours of `a`, then neighbours of `b`.
#[inline(always)]
pub(super) fn horizontal<L: Lane>(
    a: Bytes,
    b: Bytes,
    bytes: usize,
    mut f: impl FnMut(L, L) -> L,
) -> Bytes {
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
