//! `--expect` and `--send`: a conversation with the serial line.
//!
//! Each step waits until the output since the last match contains its pattern, then types its
//! text. Output is looked at when a slice of guest time ends, so the same run types at the same
//! ticks.

use std::collections::VecDeque;

use regex::bytes::{Regex, RegexBuilder};

/// How much unmatched output is kept, in bytes.
const KEPT: usize = 1 << 16;

/// What a step waits for: bytes, so that `\d` and its like mean those of ASCII.
pub(super) fn pattern(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text).unicode(false).build()
}

/// The steps that are left, and the output that they look at.
#[derive(Debug, Default)]
pub(super) struct Script {
    steps: VecDeque<(Regex, Vec<u8>)>,
    output: Vec<u8>,
}

impl Script {
    /// The conversation of these steps.
    pub(super) fn new(steps: impl IntoIterator<Item = (Regex, Vec<u8>)>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            output: Vec::new(),
        }
    }

    /// Takes output of the guest; returns what to type now.
    pub(super) fn feed(&mut self, output: &[u8]) -> Vec<u8> {
        let mut typed = Vec::new();
        // Without new output nothing can match that did not before.
        if self.steps.is_empty() || output.is_empty() {
            return typed;
        }
        self.output.extend(output);
        while let Some((pattern, text)) = self.steps.front()
            && let Some(found) = pattern.find(&self.output)
        {
            typed.extend(text);
            self.output.drain(..found.end());
            self.steps.pop_front();
        }
        let excess = self.output.len().saturating_sub(KEPT);
        self.output.drain(..excess);
        typed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_taken_in_order_and_never_match_old_output() {
        let step = |p: &str, t: &str| (pattern(p).unwrap(), t.as_bytes().to_vec());
        let mut script = Script::new([step("login: ", "root\n"), step("# ", "ls\n")]);
        assert_eq!(script.feed(b"# log"), b"");
        assert_eq!(script.feed(b"in: "), b"root\n");
        assert_eq!(script.feed(b"~ # "), b"ls\n");
        assert_eq!(script.feed(b"login: # "), b"");
    }

    #[test]
    fn patterns_match_bytes_that_are_no_text() {
        let found = |text: &str, output: &[u8]| pattern(text).unwrap().is_match(output);
        assert!(found(r"(?i)^LOGIN.\d+\w", b"login\xff42x"));
        assert!(found("é", "café".as_bytes()));
        assert!(!found(r"\d", "٣".as_bytes()));
    }
}
