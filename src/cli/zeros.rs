//! The options `discard` and `detect-zeroes`, which several commands take in QEMU's words.

use crate::image::{DetectZeroes, Discards};

/// `discard=ignore|unmap`
pub(super) fn discards(key: &str, value: &str) -> Result<Discards, String> {
    match value {
        "ignore" | "off" => Ok(Discards::Ignore),
        "unmap" | "on" => Ok(Discards::Unmap),
        _ => Err(format!("{key}={}: ignore or unmap", value.escape_debug())),
    }
}

/// `detect-zeroes=off|on|unmap`
pub(super) fn detect_zeroes(key: &str, value: &str) -> Result<DetectZeroes, String> {
    match value {
        "off" => Ok(DetectZeroes::Off),
        "on" => Ok(DetectZeroes::On),
        "unmap" => Ok(DetectZeroes::Unmap),
        _ => Err(format!("{key}={}: off, on or unmap", value.escape_debug())),
    }
}
