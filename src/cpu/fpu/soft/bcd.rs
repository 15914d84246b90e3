//! Packed decimal: 18 digits, two a byte, and a sign byte (FBLD, FBSTP).
//! Intel SDM volume 1, section 4.7; volume 2, FBSTP.

use super::arith::pack_magnitude;
use super::env::Env;
use super::format::Float80;
use super::integral::to_magnitude;
use super::unpacked::Unpacked;

/// The packed decimal indefinite.
const INDEFINITE: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff];

/// The largest number of 18 digits.
const LIMIT: u64 = 999_999_999_999_999_999;

/// The number that ten bytes of packed decimal stand for. Digits above 9, which the manual leaves
/// undefined, count with their value.
#[must_use]
pub fn load(bytes: [u8; 10]) -> Float80 {
    let magnitude = bytes[..9].iter().rev().fold(0u64, |value, &byte| {
        value * 100 + u64::from(byte >> 4) * 10 + u64::from(byte & 15)
    });
    pack_magnitude(bytes[9] >> 7 != 0, magnitude)
}

/// Rounds to 18 digits; a number that does not fit raises IE and gives the indefinite.
pub fn store(env: &mut Env, a: Unpacked) -> [u8; 10] {
    let Some(mut rest) = to_magnitude(env, &a, LIMIT) else {
        return INDEFINITE;
    };
    let mut bytes = [0; 10];
    for byte in &mut bytes[..9] {
        let pair = (rest % 100) as u8;
        *byte = ((pair / 10) << 4) | (pair % 10);
        rest /= 100;
    }
    bytes[9] = u8::from(a.sign) << 7;
    bytes
}
