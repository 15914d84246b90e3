//! FPATAN: the angle of the point (x, y).
//!
//! The smaller coordinate over the larger is below 1; subtracting the nearest of nine tabulated
//! angles leaves at most 1/16 for the series. Intel SDM volume 2, FPATAN, table 3-30.

use super::arith::{denormal_stops, nan_result};
use super::env::Env;
use super::format::{Float80, Format};
use super::round::{Exact, round_to};
use super::unpacked::{Class, Unpacked};
use super::wide::{PI, alternating_sum, mul_high, one_minus};

/// The arctangents of 0, 1/8, … 1, in units of 2^-127.
const ANGLES: [u128; 9] = [
    0,
    0x0fea_dd4d_5617_b6e3_2c89_7989_f3e8_88ef,
    0x1f5b_75f9_2c80_dd62_adb8_f3de_bef4_42fc,
    0x2dec_3283_c9bd_e11c_e2a8_c848_b73f_9120,
    0x3b58_ce0a_c376_9ed1_5bf9_117b_2f0e_a340,
    0x4780_2eaf_7bfa_cfcd_ae41_af0b_32e2_1ba3,
    0x525e_3e8c_9a7b_8492_0cd4_3f95_22be_d64f,
    0x5c02_9f15_e118_cf39_e596_d2a9_0852_221e,
    0x6487_ed51_10b4_611a_6263_3145_c06e_0e68,
];

/// Coefficients of the series after `x`: 1/3, 1/5, … in units of 2^-128.
const SERIES: [u128; 14] = {
    let mut table = [0; 14];
    let mut index = 0;
    while index < table.len() {
        table[index] = u128::MAX / (2 * index as u128 + 3);
        index += 1;
    }
    table
};

/// An angle that is a multiple of pi/4.
fn quarter_turns(env: &mut Env, sign: bool, quarters: u32) -> Float80 {
    let value = match quarters {
        1 => Exact {
            sign,
            exp: -1,
            sig: PI,
        },
        2 => Exact {
            sign,
            exp: 0,
            sig: PI,
        },
        3 => Exact {
            sign,
            exp: 1,
            sig: PI / 4 * 3,
        },
        _ => Exact {
            sign,
            exp: 1,
            sig: PI,
        },
    };
    round_to(env, value.inexact(), 64)
}

/// `arctan(y / x)`, in the quadrant of the point.
pub fn arctan(env: &mut Env, y: Unpacked, x: Unpacked) -> Float80 {
    if let Some(nan) = nan_result(env, &y, &x) {
        return nan;
    }
    if denormal_stops(env, y.denormal | x.denormal) {
        return Float80::indefinite();
    }
    let sign = y.sign;
    match (y.class, x.class) {
        (Class::Infinity, Class::Infinity) => quarter_turns(env, sign, if x.sign { 3 } else { 1 }),
        (Class::Zero, _) | (_, Class::Infinity) if x.sign => quarter_turns(env, sign, 4),
        (Class::Zero, _) | (_, Class::Infinity) => Float80::zero(sign),
        (Class::Infinity, _) | (_, Class::Zero) => quarter_turns(env, sign, 2),
        _ => finite(env, &y, &x),
    }
}

fn finite(env: &mut Env, y: &Unpacked, x: &Unpacked) -> Float80 {
    let steep = (y.exp, y.sig) > (x.exp, x.sig);
    let (small, large) = if steep { (x, y) } else { (y, x) };
    let ratio = Exact {
        sign: false,
        ..Exact::from_operand(small)
    }
    .times(
        Exact {
            sign: false,
            ..Exact::from_operand(large)
        }
        .reciprocal(),
    );
    let angle = if steep || x.sign {
        // The sum is not small, and fixed point holds it: units of 2^-126.
        let angle = first_octant(ratio).to_fixed(126);
        let total = match (steep, x.sign) {
            (true, false) => PI / 2 - angle,
            (true, true) => PI / 2 + angle,
            _ => PI - angle,
        };
        Exact::from_fixed(y.sign, total, 126)
    } else {
        Exact {
            sign: y.sign,
            ..first_octant(ratio)
        }
    };
    round_to(env, angle.inexact(), 64)
}

/// The arctangent of a positive number up to 1.
fn first_octant(t: Exact) -> Exact {
    if t.exp < -4 {
        return series(t);
    }
    // Fixed point in units of 2^-126; the nearest eighth.
    let t = t.to_fixed(126);
    let index = ((t >> 122) + 1) >> 1;
    let centre = index << 123;
    let base = ANGLES[index as usize] >> 1;
    if t == centre {
        return Exact::from_fixed(false, base, 126);
    }
    let denominator = (1 << 126) + (t >> 3) * index;
    let step = Exact::from_fixed(false, t.abs_diff(centre), 126)
        .times(Exact::from_fixed(false, denominator, 126).reciprocal());
    let step = series(step).to_fixed(126);
    let total = if t > centre { base + step } else { base - step };
    Exact::from_fixed(false, total, 126)
}

/// `t - t^3/3 + t^5/5 - …`, for `t` up to 1/16.
fn series(t: Exact) -> Exact {
    let square = t.square();
    t.times_fraction(one_minus(mul_high(
        alternating_sum(&SERIES, square),
        square,
    )))
}
