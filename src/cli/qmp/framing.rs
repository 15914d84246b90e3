//! Where one JSON value ends in a stream of them. Clients send a value a line, or values without
//! any space between them, or one over many lines.
//!
//! ```text
//!   bytes ──> depth of braces and brackets, inside or outside a string ──> Frame
//! ```
//!
//! What is no JSON ends with its line, so that the next line is understood again.

/// The longest value that is taken, in bytes.
const LONGEST: usize = 1 << 20;

/// A piece of input that belongs together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A value, if it is one.
    Text(Vec<u8>),
    /// A value that was longer than [`LONGEST`]; the rest of its line is gone.
    TooLong,
}

/// Cuts the stream.
#[derive(Debug, Default)]
pub(super) struct Framer {
    text: Vec<u8>,
    depth: usize,
    place: Place,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Outside,
    InString,
    /// Behind a backslash in a string.
    Escaped,
    /// In the rest of a line that is passed over.
    PassedOver,
}

impl Framer {
    /// Takes a chunk of input; returns what it completes.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Frame> {
        bytes.iter().filter_map(|byte| self.take(*byte)).collect()
    }

    fn take(&mut self, byte: u8) -> Option<Frame> {
        if self.place == Place::PassedOver {
            if byte == b'\n' {
                self.place = Place::Outside;
            }
            return None;
        }
        if self.text.is_empty() && byte.is_ascii_whitespace() {
            return None;
        }
        // No string goes over the end of a line, and outside all braces a line ends a value.
        if byte == b'\n' && (self.depth == 0 || self.place != Place::Outside) {
            return Some(self.complete());
        }
        self.text.push(byte);
        if self.text.len() > LONGEST {
            *self = Self {
                place: Place::PassedOver,
                ..Self::default()
            };
            return Some(Frame::TooLong);
        }
        self.follow(byte)
    }

    /// Keeps account of strings and depth.
    fn follow(&mut self, byte: u8) -> Option<Frame> {
        self.place = match (self.place, byte) {
            (Place::InString, b'\\') => Place::Escaped,
            (Place::InString, b'"') => Place::Outside,
            (Place::Escaped | Place::InString, _) => Place::InString,
            (_, b'"') => Place::InString,
            (_, b'{' | b'[') => {
                self.depth += 1;
                Place::Outside
            }
            (_, b'}' | b']') => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    return Some(self.complete());
                }
                Place::Outside
            }
            (place, _) => place,
        };
        None
    }

    fn complete(&mut self) -> Frame {
        Frame::Text(std::mem::take(self).text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(framer: &mut Framer, input: &str) -> Vec<String> {
        let text = |frame| match frame {
            Frame::Text(text) => String::from_utf8(text).unwrap(),
            Frame::TooLong => "too long".to_owned(),
        };
        let frames = framer.feed(input.as_bytes());
        frames.into_iter().map(text).collect()
    }

    #[test]
    fn values_end_where_their_braces_close_whatever_stands_between() {
        let mut framer = Framer::default();
        let input = "{\"a\": {\"b\": \"}\\\"{\"}}{}\r\n  [1]\n";
        let expected = ["{\"a\": {\"b\": \"}\\\"{\"}}", "{}", "[1]"];
        assert_eq!(texts(&mut framer, input), expected);
        let mut framer = Framer::default();
        let single: Vec<String> = input
            .chars()
            .flat_map(|c| texts(&mut framer, &c.to_string()))
            .collect();
        assert_eq!(single, expected);
        assert_eq!(texts(&mut framer, "{\n\"a\":\n1}"), ["{\n\"a\":\n1}"]);
    }

    #[test]
    fn nonsense_ends_with_its_line() {
        let mut framer = Framer::default();
        assert_eq!(texts(&mut framer, "xyz\n{}"), ["xyz", "{}"]);
        assert_eq!(texts(&mut framer, "}\n{}"), ["}", "{}"]);
        assert_eq!(texts(&mut framer, "{\"abc\n{}"), ["{\"abc", "{}"]);
    }

    #[test]
    fn a_value_without_end_is_given_up() {
        let mut framer = Framer::default();
        let long = "[".repeat(LONGEST + 10);
        assert_eq!(texts(&mut framer, &long), ["too long"]);
        assert_eq!(texts(&mut framer, "]]]\n{}"), ["{}"]);
    }
}
