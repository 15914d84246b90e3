//! Values of options that have their own notation: sizes of memory, dates, text to send.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cpu::Model;
use crate::cpu::model::UnknownModel;

/// What `--cpu` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CpuOption {
    /// The list of models.
    Help,
    /// A model.
    Model(Model),
}

impl Default for CpuOption {
    fn default() -> Self {
        Self::Model(Model::default())
    }
}

impl fmt::Display for CpuOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Help => f.write_str("help"),
            Self::Model(model) => model.fmt(f),
        }
    }
}

/// A CPU model, or `help`.
pub(super) fn cpu(text: &str) -> Result<CpuOption, UnknownModel> {
    match text {
        "help" | "?" => Ok(CpuOption::Help),
        name => name.parse().map(CpuOption::Model),
    }
}

/// A memory size in bytes: a number of MiB, or with K, M, G, T as a factor.
pub(super) fn memory(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "K" | "k" => 10,
        "" | "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        suffix => return Err(format!("unknown unit {suffix:?}; K, M, G and T are known")),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "a number is expected, as in 512M".to_owned())?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| "more than any machine has".to_owned())
}

/// A date in seconds since 1970, UTC: `now`, `2024-02-29T12:00:00`, or a number of seconds.
pub(super) fn date(text: &str) -> Result<u64, String> {
    let time = match text {
        "now" => SystemTime::now(),
        _ if text.bytes().all(|b| b.is_ascii_digit()) => {
            return text.parse().map_err(|_| "too many seconds".to_owned());
        }
        _ => humantime::parse_rfc3339_weak(text)
            .map_err(|e| format!("{e}; give now or a date like 2024-02-29T12:00:00"))?,
    };
    let since = time.duration_since(UNIX_EPOCH);
    since
        .map(|d| d.as_secs())
        .map_err(|_| "before 1970".to_owned())
}

/// A host duration: `30s`, `2min`, or a number of seconds.
pub(super) fn duration(text: &str) -> Result<std::time::Duration, String> {
    match text.parse() {
        Ok(seconds) => Ok(std::time::Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text).map_err(|e| e.to_string()),
    }
}

/// A port number, decimal or with 0x.
pub(super) fn port(text: &str) -> Result<u16, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u16::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|e| format!("{e}; a port is a number up to 0xffff"))
}

/// Text with the escapes `\n \r \t \e \\ \xHH`.
pub(super) fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
            continue;
        }
        match rest.next() {
            Some('n') => bytes.push(b'\n'),
            Some('r') => bytes.push(b'\r'),
            Some('t') => bytes.push(b'\t'),
            Some('e') => bytes.push(0x1b),
            Some('\\') => bytes.push(b'\\'),
            Some('x') => {
                let digits: String = rest.by_ref().take(2).collect();
                let byte = u8::from_str_radix(&digits, 16).ok();
                let byte = byte.filter(|_| digits.len() == 2 && !digits.starts_with('+'));
                bytes.push(byte.ok_or(format!("\\x{digits}: two hex digits go there"))?);
            }
            other => return Err(format!("unknown escape \\{}", other.unwrap_or(' '))),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_counts_mebibytes_unless_told_otherwise() {
        assert_eq!(memory("64"), Ok(64 << 20));
        assert_eq!(memory("1G"), Ok(1 << 30));
        assert_eq!(memory("640k"), Ok(640 << 10));
        assert!(memory("1048576G").is_ok());
        assert!(memory("99999999T").is_err());
        assert!(memory("much").is_err());
        assert!(memory("1X").is_err());
    }

    #[test]
    fn dates_are_utc() {
        assert_eq!(date("1970-01-02T00:00:01"), Ok(86401));
        assert_eq!(date("86401"), Ok(86401));
        assert!(date("tomorrow").is_err());
    }

    #[test]
    fn escapes_become_bytes() {
        assert_eq!(unescape(r"a\n\x1b\\"), Ok(b"a\n\x1b\\".to_vec()));
        assert!(unescape(r"\q").is_err());
        assert!(unescape(r"\x1").is_err());
    }
}
