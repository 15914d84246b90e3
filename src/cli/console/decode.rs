//! From the bytes that a terminal sends to the keys that were pressed: characters, control
//! characters, and the escape sequences of xterm and of the Linux console. (ECMA-48; XTerm
//! Control Sequences, "PC-Style Function Keys".)

use super::keys::{Shift, key_of};
use crate::machine::Key;

const ESCAPE: u8 = 0x1b;
const DELETE: u8 = 0x7f;

/// No sequence that means a key is longer.
const LONGEST: usize = 16;

/// Keys that are pressed together: all down in order, then all up in reverse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chord {
    /// The modifiers, then the key.
    pub keys: Vec<Key>,
}

impl Chord {
    fn new(modifiers: Modifiers, key: Key) -> Self {
        let held = [
            (modifiers.control, Key::Control),
            (modifiers.alt, Key::Alt),
            (modifiers.shift, Key::Shift),
        ];
        let held = held
            .into_iter()
            .filter_map(|(down, key)| down.then_some(key));
        Self {
            keys: held.chain([key]).collect(),
        }
    }
}

/// Which modifiers are held.
#[derive(Clone, Copy, Debug, Default)]
struct Modifiers {
    shift: bool,
    alt: bool,
    control: bool,
}

impl Modifiers {
    /// From the number in an escape sequence: one more than the sum of Shift 1, Alt 2, Control 4.
    fn from_parameter(parameter: u32) -> Self {
        let bits = parameter.saturating_sub(1);
        Self {
            shift: bits & 1 != 0,
            alt: bits & 2 != 0,
            control: bits & 4 != 0,
        }
    }

    fn with_alt(self) -> Self {
        Self { alt: true, ..self }
    }
}

/// Turns terminal input into chords. A sequence may be split between two chunks; a lone escape
/// at the end of one is the key.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: Vec<u8>,
}

impl Decoder {
    /// Takes a chunk of input; returns the chords in it.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Chord> {
        self.pending.extend(bytes);
        let mut chords = Vec::new();
        let mut rest = self.pending.as_slice();
        while let Some((taken, chord)) = first_chord(rest) {
            chords.extend(chord);
            rest = &rest[taken..];
        }
        self.pending = rest.to_vec();
        chords
    }
}

/// The first chord in `bytes` and how many bytes it takes; no chord for what means nothing here.
/// `None`: there is nothing, or a sequence has only begun.
fn first_chord(bytes: &[u8]) -> Option<(usize, Option<Chord>)> {
    match bytes {
        [] => None,
        [ESCAPE] => Some((1, Some(Chord::new(Modifiers::default(), Key::Escape)))),
        [ESCAPE, b'[', b'[', final_byte, ..] => Some((4, linux_function_key(*final_byte))),
        [ESCAPE, b'[', rest @ ..] => control_sequence(rest).map(|(n, c)| (n + 2, c)),
        [ESCAPE, b'O'] => Some((2, character(b'O', Modifiers::default().with_alt()))),
        [ESCAPE, b'O', final_byte, ..] => Some((
            3,
            final_key(*final_byte).map(|k| Chord::new(Modifiers::default(), k)),
        )),
        [ESCAPE, ESCAPE, ..] => Some((1, Some(Chord::new(Modifiers::default(), Key::Escape)))),
        [ESCAPE, byte, ..] => Some((2, character(*byte, Modifiers::default().with_alt()))),
        [byte, ..] => Some((1, character(*byte, Modifiers::default()))),
    }
}

/// A character or a control character.
fn character(byte: u8, modifiers: Modifiers) -> Option<Chord> {
    let plain = |key| Some(Chord::new(modifiers, key));
    let control = |key| {
        Some(Chord::new(
            Modifiers {
                control: true,
                ..modifiers
            },
            key,
        ))
    };
    match byte {
        0x08 | DELETE => plain(Key::Backspace),
        b'\t' => plain(Key::Tab),
        b'\r' | b'\n' => plain(Key::Return),
        0x00 => control(Key::Space),
        0x1c => control(Key::Backslash),
        0x1d => control(Key::BracketRight),
        0x1e => control(Key::Digit6),
        0x1f => control(Key::Minus),
        0x01..=0x1a => {
            let (key, _) = key_of(byte | 0x60)?;
            control(key)
        }
        _ => {
            let (key, shift) = key_of(byte)?;
            let shift = shift == Shift::Down;
            Some(Chord::new(Modifiers { shift, ..modifiers }, key))
        }
    }
}

/// What follows `ESC [`: numbers, then a final byte.
fn control_sequence(bytes: &[u8]) -> Option<(usize, Option<Chord>)> {
    let Some(end) = bytes.iter().position(|b| matches!(b, 0x40..=0x7e)) else {
        return (bytes.len() > LONGEST).then_some((bytes.len(), None));
    };
    let mut numbers = bytes[..end].split(|b| *b == b';').map(number);
    let first = numbers.next().unwrap_or(0);
    let modifiers = Modifiers::from_parameter(numbers.next().unwrap_or(0));
    let chord = match bytes[end] {
        b'~' => numbered_key(first).map(|key| Chord::new(modifiers, key)),
        b'Z' => Some(Chord::new(
            Modifiers {
                shift: true,
                ..modifiers
            },
            Key::Tab,
        )),
        final_byte => final_key(final_byte).map(|key| Chord::new(modifiers, key)),
    };
    Some((end + 1, chord))
}

fn number(digits: &[u8]) -> u32 {
    let text = std::str::from_utf8(digits).unwrap_or("");
    text.parse().unwrap_or(0)
}

/// The keys that a letter at the end of a sequence names.
fn final_key(byte: u8) -> Option<Key> {
    Some(match byte {
        b'A' => Key::Up,
        b'B' => Key::Down,
        b'C' => Key::Right,
        b'D' => Key::Left,
        b'E' => Key::Keypad5,
        b'F' => Key::End,
        b'H' => Key::Home,
        b'M' => Key::KeypadEnter,
        b'P' => Key::F1,
        b'Q' => Key::F2,
        b'R' => Key::F3,
        b'S' => Key::F4,
        _ => return None,
    })
}

/// The keys that a number before `~` names.
fn numbered_key(number: u32) -> Option<Key> {
    Some(match number {
        1 | 7 => Key::Home,
        2 => Key::Insert,
        3 => Key::Delete,
        4 | 8 => Key::End,
        5 => Key::PageUp,
        6 => Key::PageDown,
        11 => Key::F1,
        12 => Key::F2,
        13 => Key::F3,
        14 => Key::F4,
        15 => Key::F5,
        17 => Key::F6,
        18 => Key::F7,
        19 => Key::F8,
        20 => Key::F9,
        21 => Key::F10,
        23 => Key::F11,
        24 => Key::F12,
        _ => return None,
    })
}

/// The Linux console has sequences of its own for F1 to F5.
fn linux_function_key(byte: u8) -> Option<Chord> {
    let key = match byte {
        b'A' => Key::F1,
        b'B' => Key::F2,
        b'C' => Key::F3,
        b'D' => Key::F4,
        b'E' => Key::F5,
        _ => return None,
    };
    Some(Chord::new(Modifiers::default(), key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Vec<Key>> {
        Decoder::default()
            .feed(bytes)
            .into_iter()
            .map(|c| c.keys)
            .collect()
    }

    #[test]
    fn characters_press_their_key_with_shift_where_needed() {
        assert_eq!(keys(b"a"), [[Key::A]]);
        assert_eq!(
            keys(b"A|"),
            [[Key::Shift, Key::A], [Key::Shift, Key::Backslash]]
        );
        let printable: Vec<u8> = (0x20..0x7f).collect();
        assert_eq!(keys(&printable).len(), printable.len());
    }

    #[test]
    fn control_and_alt_are_held_with_their_key() {
        assert_eq!(keys(b"\x03"), [[Key::Control, Key::C]]);
        assert_eq!(keys(b"\x1bx"), [[Key::Alt, Key::X]]);
        assert_eq!(
            keys(b"\r\x7f\t"),
            [[Key::Return], [Key::Backspace], [Key::Tab]]
        );
    }

    #[test]
    fn escape_sequences_of_xterm_and_linux_name_the_same_keys() {
        assert_eq!(keys(b"\x1b[A\x1bOA"), [[Key::Up], [Key::Up]]);
        assert_eq!(
            keys(b"\x1bOP\x1b[[A\x1b[11~"),
            [[Key::F1], [Key::F1], [Key::F1]]
        );
        assert_eq!(keys(b"\x1b[24~\x1b[3~"), [[Key::F12], [Key::Delete]]);
        let held = vec![Key::Control, Key::Alt, Key::Left];
        assert_eq!(keys(b"\x1b[1;7D"), [held]);
        assert_eq!(keys(b"\x1b[Z"), [[Key::Shift, Key::Tab]]);
    }

    #[test]
    fn a_lone_escape_is_the_key_and_a_split_sequence_waits_for_its_end() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.feed(b"\x1b")[0].keys, [Key::Escape]);
        assert_eq!(decoder.feed(b"\x1b[1"), []);
        assert_eq!(decoder.feed(b"5~")[0].keys, [Key::F5]);
    }

    #[test]
    fn bytes_that_mean_no_key_are_dropped_and_never_pile_up() {
        assert_eq!(keys("é\u{1b}[99~".as_bytes()), Vec::<Vec<Key>>::new());
        let mut decoder = Decoder::default();
        decoder.feed(b"\x1b[");
        for _ in 0..100 {
            decoder.feed(b"0");
        }
        assert!(decoder.pending.len() <= LONGEST + 2);
    }
}
