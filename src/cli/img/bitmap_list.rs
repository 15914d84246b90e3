//! How `info` shows dirty bitmaps.

use serde_json::{Value, json};

use crate::image::Escaped;
use crate::image::qcow2::bitmap::{AUTO, Bitmap, IN_USE};

/// The flags of a bitmap, as QEMU calls them.
fn flags(bitmap: &Bitmap) -> Vec<&'static str> {
    let all = [(IN_USE, "in-use"), (AUTO, "auto")];
    let set = all.into_iter().filter(|(bit, _)| bitmap.flags & bit != 0);
    set.map(|(_, name)| name).collect()
}

/// Bytes of the disk that a bit stands for; 0 if no disk is so long.
fn granularity(bitmap: &Bitmap) -> u64 {
    1u64.checked_shl(bitmap.granularity_bits.into())
        .unwrap_or(0)
}

/// The list in the human form, one level of four spaces in.
pub(super) fn text(bitmaps: &[Bitmap]) -> String {
    if bitmaps.is_empty() {
        return String::new();
    }
    let mut text = "    bitmaps:\n".to_owned();
    for (number, bitmap) in bitmaps.iter().enumerate() {
        text += &format!("        [{number}]:\n            flags:\n");
        for (number, flag) in flags(bitmap).iter().enumerate() {
            text += &format!("                [{number}]: {flag}\n");
        }
        text += &format!("            name: {}\n", Escaped(&bitmap.name));
        text += &format!("            granularity: {}\n", granularity(bitmap));
    }
    text
}

/// The list in JSON.
pub(super) fn json(bitmaps: &[Bitmap]) -> Value {
    let one = |bitmap: &Bitmap| {
        json!({
            "flags": flags(bitmap),
            "name": Escaped(&bitmap.name).to_string(),
            "granularity": granularity(bitmap),
        })
    };
    Value::Array(bitmaps.iter().map(one).collect())
}
