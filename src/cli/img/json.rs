//! JSON as QEMU's programs print it, four blanks a level, in the order of insertion; and as they
//! read it, with strings in single quotes too.

use std::io::{Result, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// The text of `value`.
pub(super) fn text(value: &serde_json::Value) -> String {
    let mut bytes = Vec::new();
    let lines = Lines { depth: 0 };
    let written = value.serialize(&mut Serializer::with_formatter(&mut bytes, lines));
    match written {
        Ok(()) => String::from_utf8(bytes).unwrap_or_default(),
        Err(_) => value.to_string(),
    }
}

/// One value a line; arrays and objects take several also where they are empty.
struct Lines {
    depth: usize,
}

impl Lines {
    fn new_line<W: ?Sized + Write>(&self, out: &mut W) -> Result<()> {
        write!(out, "\n{:width$}", "", width = self.depth * 4)
    }

    fn open<W: ?Sized + Write>(&mut self, out: &mut W, bracket: &[u8]) -> Result<()> {
        self.depth += 1;
        out.write_all(bracket)
    }

    fn close<W: ?Sized + Write>(&mut self, out: &mut W, bracket: &[u8]) -> Result<()> {
        self.depth -= 1;
        self.new_line(out)?;
        out.write_all(bracket)
    }

    fn next<W: ?Sized + Write>(&self, out: &mut W, first: bool) -> Result<()> {
        if !first {
            out.write_all(b",")?;
        }
        self.new_line(out)
    }
}

impl Formatter for Lines {
    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        self.open(out, b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        self.close(out, b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> Result<()> {
        self.next(out, first)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        self.open(out, b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        self.close(out, b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> Result<()> {
        self.next(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> Result<()> {
        out.write_all(b": ")
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
    fn empty_arrays_take_two_lines() {
        let value = serde_json::json!({ "a": [1, {}], "b": [] });
        let lines =
            "{\n    \"a\": [\n        1,\n        {\n        }\n    ],\n    \"b\": [\n    ]\n}";
        assert_eq!(super::text(&value), lines);
    }

    #[test]
    fn strings_may_stand_in_single_quotes() {
        let text = r#"{'a"b': 'it\'s', "c'd": "\"'"}"#;
        let value: serde_json::Value = serde_json::from_str(&double_quoted(text)).unwrap();
        assert_eq!(value["a\"b"], "it's");
        assert_eq!(value["c'd"], "\"'");
    }
}
