//! Soft-float against the host's own x87 and SSE units: same operands, same control words, and
//! result bits, flags and rounding direction must agree.
//!
//! Operands come from a fixed seed, half of them from the edges of their formats. Set
//! `COWBOX_FLOAT_CASES` for the number of cases per instruction (default 200000).

pub(crate) mod operands;
mod sse;
mod transcendental;
mod x87;

/// Cases for each instruction.
pub(crate) fn cases() -> u32 {
    let wish = std::env::var("COWBOX_FLOAT_CASES").ok();
    wish.and_then(|text| text.parse().ok()).unwrap_or(200_000)
}
