//! The words of a command, its letters, and the numbers among them.

use super::super::size;
use super::{Done, Failed};

/// The most bytes of one request.
pub(super) const MAX_REQUEST: u64 = (i32::MAX as u64 / 512) * 512;

/// The words of a line: runs of characters without blanks. Quotes keep blanks together.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// A command's letters with their values, and the words that are left.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Letters {
    given: Vec<(char, String)>,
    /// The words that are no options.
    pub(super) rest: Vec<String>,
}

impl Letters {
    /// Reads `words` by `known`, in the form of getopt: a colon behind a letter that takes a
    /// value. `None` for a letter that is not known or has no value.
    pub(super) fn parse(words: &[String], known: &str) -> Option<Self> {
        let (mut given, mut rest) = (Vec::new(), Vec::new());
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.strip_prefix('-') {
                Some("-") => {
                    rest.extend(words.by_ref().cloned());
                }
                Some(letters) if !letters.is_empty() => {
                    let mut letters = letters.chars();
                    while let Some(letter) = letters.next() {
                        let at = known.find(letter).filter(|_| letter != ':')?;
                        if !known[at + letter.len_utf8()..].starts_with(':') {
                            given.push((letter, String::new()));
                            continue;
                        }
                        let attached = letters.as_str();
                        let value = match attached {
                            "" => words.next()?.clone(),
                            _ => attached.to_owned(),
                        };
                        given.push((letter, value));
                        break;
                    }
                }
                _ => rest.push(word.clone()),
            }
        }
        Some(Self { given, rest })
    }

    /// Whether a letter was given.
    pub(super) fn has(&self, letter: char) -> bool {
        self.given.iter().any(|(given, _)| *given == letter)
    }

    /// The value of a letter, the last one if it was given several times.
    pub(super) fn value(&self, letter: char) -> Option<&str> {
        let found = self.given.iter().rfind(|(given, _)| *given == letter);
        found.map(|(_, value)| &**value)
    }
}

/// A number of bytes: decimal, hexadecimal, or with a suffix. Says what is wrong with another.
pub(super) fn number(text: &str) -> Result<u64, Failed> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let parsed = match hex {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => size::parse(text).ok(),
    };
    if let Some(number) = parsed.filter(|&number| number <= i64::MAX as u64) {
        return Ok(number);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    match !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && parsed.is_none() {
        true if digits.parse::<u64>().is_err() || size::parse(digits).is_err() => {
            println!("Parsing error: argument too large -- {text}");
        }
        _ => println!(
            "Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- {text}"
        ),
    }
    Err(Failed)
}

/// The byte that `-P` repeats: 0 to 255, also hexadecimal or octal.
pub(super) fn pattern(text: &str) -> Result<u8, Failed> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u8::from_str_radix(digits, 16),
        None if text.len() > 1 && text.starts_with('0') => u8::from_str_radix(text, 8),
        None => text.parse(),
    };
    parsed.map_err(|_| {
        println!("{text} is not a valid pattern byte");
        Failed
    })
}

/// Fails, and says so, if `value` is not a whole number of sectors.
pub(super) fn check_sectors(value: u64, what: &str) -> Done {
    if value.is_multiple_of(512) {
        return Ok(());
    }
    println!("{value} is not a sector-aligned value for '{what}'");
    Err(Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_separate_words_and_quotes_join_them() {
        assert_eq!(
            words("  read  -P 1 0 64k "),
            ["read", "-P", "1", "0", "64k"]
        );
        assert_eq!(words("open 'a b' \"\""), ["open", "a b", ""]);
    }

    #[test]
    fn letters_are_read_as_getopt_does() {
        let words = words("-qP7 -s 1k 0 512");
        let letters = Letters::parse(&words, "qP:s:v").unwrap();
        assert!(letters.has('q') && !letters.has('v'));
        assert_eq!(letters.value('P'), Some("7"));
        assert_eq!(letters.value('s'), Some("1k"));
        assert_eq!(letters.rest, ["0", "512"]);
        assert_eq!(Letters::parse(&super::words("-x"), "q"), None);
        assert_eq!(Letters::parse(&super::words("-P"), "P:"), None);
    }

    #[test]
    fn numbers_and_patterns_may_be_hexadecimal() {
        assert_eq!(number("0x200"), Ok(512));
        assert_eq!(number("64k"), Ok(65536));
        assert_eq!(number("x"), Err(Failed));
        assert_eq!(pattern("0xff"), Ok(255));
        assert_eq!(pattern("256"), Err(Failed));
    }
}
