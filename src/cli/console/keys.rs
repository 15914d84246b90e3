//! Which keys of a US keyboard make a character.

use crate::machine::Key;

/// The keys that are typed for themselves, with what they make alone and with Shift.
const CHARACTERS: [(Key, u8, u8); 48] = [
    (Key::Grave, b'`', b'~'),
    (Key::Digit1, b'1', b'!'),
    (Key::Digit2, b'2', b'@'),
    (Key::Digit3, b'3', b'#'),
    (Key::Digit4, b'4', b'$'),
    (Key::Digit5, b'5', b'%'),
    (Key::Digit6, b'6', b'^'),
    (Key::Digit7, b'7', b'&'),
    (Key::Digit8, b'8', b'*'),
    (Key::Digit9, b'9', b'('),
    (Key::Digit0, b'0', b')'),
    (Key::Minus, b'-', b'_'),
    (Key::Equal, b'=', b'+'),
    (Key::Q, b'q', b'Q'),
    (Key::W, b'w', b'W'),
    (Key::E, b'e', b'E'),
    (Key::R, b'r', b'R'),
    (Key::T, b't', b'T'),
    (Key::Y, b'y', b'Y'),
    (Key::U, b'u', b'U'),
    (Key::I, b'i', b'I'),
    (Key::O, b'o', b'O'),
    (Key::P, b'p', b'P'),
    (Key::BracketLeft, b'[', b'{'),
    (Key::BracketRight, b']', b'}'),
    (Key::Backslash, b'\\', b'|'),
    (Key::A, b'a', b'A'),
    (Key::S, b's', b'S'),
    (Key::D, b'd', b'D'),
    (Key::F, b'f', b'F'),
    (Key::G, b'g', b'G'),
    (Key::H, b'h', b'H'),
    (Key::J, b'j', b'J'),
    (Key::K, b'k', b'K'),
    (Key::L, b'l', b'L'),
    (Key::Semicolon, b';', b':'),
    (Key::Apostrophe, b'\'', b'"'),
    (Key::Z, b'z', b'Z'),
    (Key::X, b'x', b'X'),
    (Key::C, b'c', b'C'),
    (Key::V, b'v', b'V'),
    (Key::B, b'b', b'B'),
    (Key::N, b'n', b'N'),
    (Key::M, b'm', b'M'),
    (Key::Comma, b',', b'<'),
    (Key::Dot, b'.', b'>'),
    (Key::Slash, b'/', b'?'),
    (Key::Space, b' ', b' '),
];

/// The key for a printable ASCII character, and whether it needs Shift.
pub(super) fn key_of(character: u8) -> Option<(Key, Shift)> {
    CHARACTERS
        .iter()
        .find_map(|(key, plain, shifted)| match character {
            c if c == *plain => Some((*key, Shift::Up)),
            c if c == *shifted => Some((*key, Shift::Down)),
            _ => None,
        })
}

/// Whether Shift is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shift {
    Up,
    Down,
}
