//! What SSE does with one number, or two, beyond the arithmetic that it shares with the x87: minimum
//! and maximum, predicates, and rounding under an immediate byte.
//! Intel SDM volume 1, sections 11.4.1 and 12.8.4; volume 2, CMPPD and ROUNDPD.

use crate::cpu::fpu::soft::arith::denormal_stops;
use crate::cpu::fpu::soft::compare::{compare, compare_quiet};
use crate::cpu::fpu::soft::integral::round_quiet;
use crate::cpu::fpu::soft::{Env, Format, Rounding, Unpacked, exception};
use std::cmp::Ordering;

/// MINSS and its kin: the second operand unless the first is less.
#[inline]
pub fn min<F: Format>(env: &mut Env, a: F, b: F) -> F {
    match compare(env, a.unpack(env), b.unpack(env)) {
        Some(Ordering::Less) => flush_denormal(env, a),
        _ => flush_denormal(env, b),
    }
}

/// MAXSS and its kin: the second operand unless the first is greater.
#[inline]
pub fn max<F: Format>(env: &mut Env, a: F, b: F) -> F {
    match compare(env, a.unpack(env), b.unpack(env)) {
        Some(Ordering::Greater) => flush_denormal(env, a),
        _ => flush_denormal(env, b),
    }
}

/// Under DAZ a denormal operand that is returned is returned as zero.
#[inline]
fn flush_denormal<F: Format>(env: &Env, value: F) -> F {
    let unpacked = value.unpack(env);
    if env.daz && unpacked.is_zero() {
        F::zero(unpacked.sign)
    } else {
        value
    }
}

/// For each predicate the relations for which it holds: bit 0 less, 1 equal, 2 greater, 3
/// unordered (Intel SDM volume 2, table 3-1). The last eight are those that only AVX has.
const PREDICATES: [u8; 16] = [
    0b0010, 0b0001, 0b0011, 0b1000, 0b1101, 0b1110, 0b1100, 0b0111, //
    0b1010, 0b1001, 0b1011, 0b0000, 0b0101, 0b0110, 0b0100, 0b1111,
];

/// Whether predicate `code` (imm8 of CMPxx, 0 to 7, or of VCMPxx, 0 to 31) holds for `a` and `b`.
#[inline]
pub fn holds<F: Format>(env: &mut Env, code: u8, a: F, b: F) -> bool {
    let (a, b) = (a.unpack(env), b.unpack(env));
    // Less, less or equal and their negations signal for quiet NaNs too; bit 4 turns that about.
    let signals = matches!(code & 3, 1 | 2) ^ (code & 16 != 0);
    let relation = match signals {
        true => compare(env, a, b),
        false => compare_quiet(env, a, b),
    };
    let bit = match relation {
        Some(Ordering::Less) => 0,
        Some(Ordering::Equal) => 1,
        Some(Ordering::Greater) => 2,
        None => 3,
    };
    PREDICATES[usize::from(code & 15)] >> bit & 1 != 0
}

/// ROUNDSS and its kin under immediate byte `control`: bits 1:0 rounding, bit 2 take it from MXCSR
/// instead, bit 3 do not raise PE.
pub fn round<F: Format>(env: &mut Env, a: F, control: u8) -> F {
    let mut own = Env { flags: 0, ..*env };
    if control & 4 == 0 {
        own.rounding = Rounding::from_bits(u32::from(control));
    }
    let value = round_quiet(&mut own, a.unpack(env));
    let hidden = if control & 8 != 0 {
        exception::PRECISION
    } else {
        0
    };
    env.raise(own.flags & !hidden);
    value
}

/// The square root, and the two-operand arithmetic, on bit patterns.
macro_rules! lift {
    ($($(#[$doc:meta])* $name:ident($($operand:ident),+);)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<F: Format>(env: &mut Env, $($operand: F),+) -> F {
            $(let $operand = $operand.unpack(env);)+
            crate::cpu::fpu::soft::arith::$name(env, $($operand),+)
        }
    )*};
}

lift! {
    /// `a + b`.
    add(a, b);
    /// `a - b`.
    sub(a, b);
    /// `a * b`.
    mul(a, b);
    /// `a / b`.
    div(a, b);
    /// The square root of `a`.
    sqrt(a);
}

/// CVTSS2SD and CVTSD2SS.
#[inline]
pub fn convert<A: Format, F: Format>(env: &mut Env, a: A) -> F {
    let a = a.unpack(env);
    if a.is_nan() {
        return crate::cpu::fpu::soft::arith::convert(env, a);
    }
    if denormal_stops(env, a.denormal) {
        return F::indefinite();
    }
    crate::cpu::fpu::soft::arith::convert(env, a)
}

/// CVTSI2SS and CVTSI2SD.
#[inline]
pub fn from_integer<F: Format>(env: &mut Env, value: i64) -> F {
    crate::cpu::fpu::soft::arith::convert(env, Unpacked::from_integer(value))
}
