//! RCPSS and RSQRTSS: reciprocals to 12 bits.
//!
//! The manual bounds the relative error by 1.5 * 2^-12 and leaves the rest to the processor. Here
//! the result is the exact one cut to 14 significant bits, from integer division: the same on
//! every host. Neither raises exceptions nor obeys MXCSR; denormal operands are zeros, and tiny
//! results are flushed to zero. Intel SDM volume 2, RCPPS and RSQRTPS.

use crate::cpu::fpu::soft::{Class, Env, Float32, Format, Unpacked};

/// MXCSR's reset value with DAZ: what both see.
const CONTROL: u32 = 0x1f80 | 1 << 6;

/// About `1 / a`.
#[must_use]
pub fn reciprocal(a: Float32) -> Float32 {
    let a = a.unpack(&Env::sse(CONTROL));
    match a.class {
        Class::Zero => return Float32::infinity(a.sign),
        Class::Infinity => return Float32::zero(a.sign),
        Class::Finite => {}
        _ => return Float32::quiet(&a),
    }
    // The significand as an integer in [2^23, 2^24); the quotient lies in (2^13, 2^14].
    let quotient = (1u64 << 37) / (a.sig >> 40);
    pack(a.sign, -1 - a.exp, quotient)
}

/// About `1 / sqrt(a)`.
#[must_use]
pub fn reciprocal_sqrt(a: Float32) -> Float32 {
    let a = a.unpack(&Env::sse(CONTROL));
    match a.class {
        Class::Zero => return Float32::infinity(a.sign),
        Class::Quiet | Class::Signaling => return Float32::quiet(&a),
        _ if a.sign => return Float32::indefinite(),
        Class::Infinity => return Float32::zero(false),
        _ => {}
    }
    // 1 / sqrt(m * 4^h) with m in [1, 4): the root of 2^28 / m lies in (2^13, 2^14].
    let odd = a.exp & 1;
    let square = (1u64 << 51) / (a.sig >> (40 - odd));
    pack(false, -1 - (a.exp - odd) / 2, square.isqrt())
}

/// `quotient * 2^(exp - 13)`, for a quotient of 14 or (at a power of two) 15 bits.
fn pack(sign: bool, exp: i32, quotient: u64) -> Float32 {
    let value = Unpacked::from_magnitude(sign, quotient);
    let exponent = value.exp - 13 + exp + Float32::BIAS;
    if exponent <= 0 {
        return Float32::zero(sign);
    }
    Float32::assemble(sign, exponent, value.sig)
}
