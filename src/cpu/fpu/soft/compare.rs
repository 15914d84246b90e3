//! Comparison: FCOM and FUCOM, COMISS and UCOMISS, CMPxx, MIN and MAX.
//! Intel SDM volume 1, sections 8.3.6.1 and 11.4.4, tables 8-6 and 8-7.

use super::arith::denormal_stops;
use super::env::{Env, exception};
use super::unpacked::{Class, Unpacked};
use std::cmp::Ordering;

/// How two numbers relate; `None` is unordered.
pub type Relation = Option<Ordering>;

/// Which NaNs raise IE.
pub(crate) trait Rule {
    /// Compares.
    fn relate(env: &mut Env, a: Unpacked, b: Unpacked) -> Relation;
}

/// All of them: FCOM, COMISS.
pub(crate) struct Ordered;
/// Only signaling ones: FUCOM, UCOMISS.
pub(crate) struct Unordered;

impl Rule for Ordered {
    #[inline(always)]
    fn relate(env: &mut Env, a: Unpacked, b: Unpacked) -> Relation {
        compare(env, a, b)
    }
}

impl Rule for Unordered {
    #[inline(always)]
    fn relate(env: &mut Env, a: Unpacked, b: Unpacked) -> Relation {
        compare_quiet(env, a, b)
    }
}

/// Compares; any NaN raises IE (FCOM, COMISS, CMPLTSS).
#[inline]
pub fn compare(env: &mut Env, a: Unpacked, b: Unpacked) -> Relation {
    if is_unordered(&a, &b) {
        env.raise(exception::INVALID);
        return None;
    }
    relate(env, &a, &b)
}

/// Compares; only signaling NaNs and unsupported encodings raise IE (FUCOM, UCOMISS, CMPEQSS).
#[inline]
pub fn compare_quiet(env: &mut Env, a: Unpacked, b: Unpacked) -> Relation {
    if is_unordered(&a, &b) {
        if a.class != Class::Quiet && b.class != Class::Quiet
            || [a.class, b.class].contains(&Class::Signaling)
            || [a.class, b.class].contains(&Class::Unsupported)
        {
            env.raise(exception::INVALID);
        }
        return None;
    }
    relate(env, &a, &b)
}

#[inline]
fn is_unordered(a: &Unpacked, b: &Unpacked) -> bool {
    let unordered = |x: &Unpacked| {
        matches!(
            x.class,
            Class::Quiet | Class::Signaling | Class::Unsupported
        )
    };
    unordered(a) || unordered(b)
}

#[inline]
fn relate(env: &mut Env, a: &Unpacked, b: &Unpacked) -> Relation {
    denormal_stops(env, a.denormal | b.denormal);
    if a.is_zero() && b.is_zero() {
        return Some(Ordering::Equal);
    }
    Some(signed_key(a).cmp(&signed_key(b)))
}

/// Orders numbers that are not NaNs: sign, then class and magnitude.
#[inline]
fn signed_key(a: &Unpacked) -> (i32, i64) {
    // Above every exponent, so that ranks are positive and a negated key mirrors the order.
    const LIMIT: i32 = 1 << 16;
    let (rank, sig) = match a.class {
        Class::Zero => (0, 0),
        Class::Infinity => (2 * LIMIT, 0),
        // Bit 63 is always set and can go.
        _ => (a.exp + LIMIT, (a.sig & (u64::MAX >> 1)).cast_signed()),
    };
    if a.sign { (-rank, -sig) } else { (rank, sig) }
}
