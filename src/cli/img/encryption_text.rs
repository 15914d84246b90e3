//! What `info` says about encryption, as text and as JSON.

use serde_json::{Map, Value, json};

use crate::image::Escaped;
use crate::image::crypt::luks::{KeySlot, Luks, STRIPES};
use crate::image::crypt::sector::IvKind;
use crate::image::info::EncryptionFacts;

/// The format of the image that the encryption belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// The luks format.
    Luks,
    /// qcow2, which has other methods too and names the one it has.
    Qcow2,
}

/// The fields in the order in which qemu-img prints them; `None` without encryption.
pub(super) fn json(encryption: &EncryptionFacts, owner: Owner) -> Option<Value> {
    match encryption {
        EncryptionFacts::None => None,
        EncryptionFacts::Aes => Some(json!({ "format": "aes" })),
        EncryptionFacts::Luks(luks) => Some(luks_json(luks, owner)),
    }
}

fn luks_json(luks: &Luks, owner: Owner) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    let spec = luks.spec();
    let essiv = spec.iv == IvKind::EssivSha256;
    let iv = if essiv { "essiv" } else { &spec.iv.to_string() };
    put("ivgen-alg", json!(iv));
    put("detached-header", json!(false));
    put("hash-alg", json!(luks.hash().to_string()));
    put("cipher-alg", json!(spec.algorithm()));
    put("uuid", json!(Escaped(luks.uuid()).to_string()));
    if essiv {
        put("ivgen-hash-alg", json!("sha256"));
    }
    if owner == Owner::Qcow2 {
        put("format", json!("luks"));
    }
    put("cipher-mode", json!(spec.mode.to_string()));
    put("slots", luks.slots().iter().map(slot_json).collect());
    put("payload-offset", json!(luks.payload_offset()));
    put("master-key-iters", json!(luks.iterations()));
    Value::Object(object)
}

fn slot_json(slot: &KeySlot) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put("active", json!(slot.iterations().is_some()));
    if let Some(iterations) = slot.iterations() {
        put("iters", json!(iterations));
    }
    put("key-offset", json!(slot.offset()));
    if slot.iterations().is_some() {
        put("stripes", json!(STRIPES));
    }
    Value::Object(object)
}

/// The lines for people about the fields in `value`, `depth` levels of four blanks in.
pub(super) fn text(value: &Value, depth: usize) -> String {
    let Value::Object(fields) = value else {
        return String::new();
    };
    let indent = "    ".repeat(depth);
    let mut lines = String::new();
    for (key, field) in fields {
        let key = key.replace('-', " ");
        match field {
            Value::Array(items) => {
                lines += &format!("{indent}{key}:\n");
                for (item, index) in items.iter().zip(0..) {
                    lines += &format!("{indent}    [{index}]:\n{}", text(item, depth + 2));
                }
            }
            Value::String(word) => lines += &format!("{indent}{key}: {word}\n"),
            other => lines += &format!("{indent}{key}: {other}\n"),
        }
    }
    lines
}
