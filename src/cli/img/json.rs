//! JSON as QEMU's programs print it: four blanks a level, in the order of insertion.

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

/// The text of `value`.
pub(super) fn text(value: &serde_json::Value) -> String {
    let mut bytes = Vec::new();
    let formatter = PrettyFormatter::with_indent(b"    ");
    let written = value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter));
    match written {
        Ok(()) => String::from_utf8(bytes).unwrap_or_default(),
        Err(_) => value.to_string(),
    }
}
