//! The prefix key, Ctrl-A: what the user says to Cowbox itself and not to the guest.

/// What Ctrl-A H shows.
pub const HELP: &str = "Ctrl-A X  leave Cowbox (the guest is switched off at once)\r\n\
                        Ctrl-A H  this help\r\n\
                        Ctrl-A Ctrl-A  send Ctrl-A to the guest\r\n";

const CTRL_A: u8 = 0x01;

/// What was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// For the guest.
    Bytes(Vec<u8>),
    /// Ctrl-A X.
    Leave,
    /// Ctrl-A H.
    Help,
}

/// Separates what is for Cowbox from what is for the guest.
#[derive(Debug, Default)]
pub struct Prefix {
    seen: bool,
}

impl Prefix {
    /// Takes a chunk of input; returns what it means, in order.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Typed> {
        let mut typed = Vec::new();
        for &byte in bytes {
            let seen = std::mem::replace(&mut self.seen, false);
            match byte {
                CTRL_A if !seen => self.seen = true,
                b'x' | b'X' | 0x18 if seen => typed.push(Typed::Leave),
                b'h' | b'H' | b'?' if seen => typed.push(Typed::Help),
                CTRL_A => append(&mut typed, CTRL_A),
                _ if seen => {}
                byte => append(&mut typed, byte),
            }
        }
        typed
    }
}

fn append(typed: &mut Vec<Typed>, byte: u8) {
    match typed.last_mut() {
        Some(Typed::Bytes(bytes)) => bytes.push(byte),
        _ => typed.push(Typed::Bytes(vec![byte])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_works_across_chunks_and_doubled_is_itself() {
        let mut prefix = Prefix::default();
        assert_eq!(prefix.feed(b"ab\x01"), [Typed::Bytes(b"ab".to_vec())]);
        assert_eq!(prefix.feed(b"x"), [Typed::Leave]);
        let doubled = prefix.feed(b"\x01\x01c\x01hd");
        let expected = [
            Typed::Bytes(b"\x01c".to_vec()),
            Typed::Help,
            Typed::Bytes(b"d".to_vec()),
        ];
        assert_eq!(doubled, expected);
    }

    #[test]
    fn an_unknown_key_after_the_prefix_reaches_nobody() {
        assert_eq!(Prefix::default().feed(b"\x01q"), []);
    }
}
