//! JSON as QEMU's programs print it, four blanks a level, in the order of insertion; and as they
//! read it, with strings in single quotes too.

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

/// `text` with its strings in single quotes put into double ones, which alone are JSON.
pub(super) fn double_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut inside, mut escaped) = (None, false);
    for c in text.chars() {
        match (inside, c) {
            (Some('\''), '"') => out.push_str("\\\""),
            (Some('\''), '\'') if escaped => {
                out.pop();
                out.push(c);
            }
            (Some(quote), _) if c == quote && !escaped => {
                inside = None;
                out.push('"');
            }
            (None, '\'' | '"') => {
                inside = Some(c);
                out.push('"');
            }
            _ => out.push(c),
        }
        escaped = inside.is_some() && c == '\\' && !escaped;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_may_stand_in_single_quotes() {
        let text = r#"{'a"b': 'it\'s', "c'd": "\"'"}"#;
        let value: serde_json::Value = serde_json::from_str(&double_quoted(text)).unwrap();
        assert_eq!(value["a\"b"], "it's");
        assert_eq!(value["c'd"], "\"'");
    }
}
