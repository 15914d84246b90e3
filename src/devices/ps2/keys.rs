//! The keys of a PC keyboard, and their scan codes in sets 1 and 2.
//!
//! The table holds set 1, by the names that QEMU's monitor gives the keys (`QKeyCode`). Set 2
//! follows from it by the table with which an i8042 turns set 2 into set 1.
//!
//! Source: IBM PS/2 Technical Reference, "Keyboard Scan Codes".

use serde::{Deserialize, Serialize};

/// The prefix of a released key in set 2.
pub(super) const RELEASE: u8 = 0xf0;

/// Declares [`Key`] with each key's name and its code in set 1; the high byte is the prefix.
macro_rules! keys {
    ($($name:literal $key:ident $code:literal,)*) => {
        /// A key by its place on a US keyboard.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Key {
            $(#[doc = concat!("The key `", $name, "`.")] $key,)*
        }

        impl Key {
            /// The key of that name, as in `sendkey` (`ret`, `spc`, `kp_1` …).
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$key),)*
                    _ => None,
                }
            }

            /// The key with that code in set 1; the high byte is the prefix (E0h) or 0.
            pub fn from_set1(code: u16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$key),)*
                    _ => None,
                }
            }

            fn set1(self) -> u16 {
                match self {
                    $(Self::$key => $code,)*
                }
            }
        }
    };
}

keys! {
    "esc" Escape 0x0001,
    "1" Digit1 0x0002,
    "2" Digit2 0x0003,
    "3" Digit3 0x0004,
    "4" Digit4 0x0005,
    "5" Digit5 0x0006,
    "6" Digit6 0x0007,
    "7" Digit7 0x0008,
    "8" Digit8 0x0009,
    "9" Digit9 0x000a,
    "0" Digit0 0x000b,
    "minus" Minus 0x000c,
    "equal" Equal 0x000d,
    "backspace" Backspace 0x000e,
    "tab" Tab 0x000f,
    "q" Q 0x0010,
    "w" W 0x0011,
    "e" E 0x0012,
    "r" R 0x0013,
    "t" T 0x0014,
    "y" Y 0x0015,
    "u" U 0x0016,
    "i" I 0x0017,
    "o" O 0x0018,
    "p" P 0x0019,
    "bracket_left" BracketLeft 0x001a,
    "bracket_right" BracketRight 0x001b,
    "ret" Return 0x001c,
    "ctrl" Control 0x001d,
    "a" A 0x001e,
    "s" S 0x001f,
    "d" D 0x0020,
    "f" F 0x0021,
    "g" G 0x0022,
    "h" H 0x0023,
    "j" J 0x0024,
    "k" K 0x0025,
    "l" L 0x0026,
    "semicolon" Semicolon 0x0027,
    "apostrophe" Apostrophe 0x0028,
    "grave_accent" Grave 0x0029,
    "shift" Shift 0x002a,
    "backslash" Backslash 0x002b,
    "z" Z 0x002c,
    "x" X 0x002d,
    "c" C 0x002e,
    "v" V 0x002f,
    "b" B 0x0030,
    "n" N 0x0031,
    "m" M 0x0032,
    "comma" Comma 0x0033,
    "dot" Dot 0x0034,
    "slash" Slash 0x0035,
    "shift_r" ShiftRight 0x0036,
    "kp_multiply" KeypadMultiply 0x0037,
    "alt" Alt 0x0038,
    "spc" Space 0x0039,
    "caps_lock" CapsLock 0x003a,
    "f1" F1 0x003b,
    "f2" F2 0x003c,
    "f3" F3 0x003d,
    "f4" F4 0x003e,
    "f5" F5 0x003f,
    "f6" F6 0x0040,
    "f7" F7 0x0041,
    "f8" F8 0x0042,
    "f9" F9 0x0043,
    "f10" F10 0x0044,
    "num_lock" NumLock 0x0045,
    "scroll_lock" ScrollLock 0x0046,
    "kp_7" Keypad7 0x0047,
    "kp_8" Keypad8 0x0048,
    "kp_9" Keypad9 0x0049,
    "kp_subtract" KeypadSubtract 0x004a,
    "kp_4" Keypad4 0x004b,
    "kp_5" Keypad5 0x004c,
    "kp_6" Keypad6 0x004d,
    "kp_add" KeypadAdd 0x004e,
    "kp_1" Keypad1 0x004f,
    "kp_2" Keypad2 0x0050,
    "kp_3" Keypad3 0x0051,
    "kp_0" Keypad0 0x0052,
    "kp_decimal" KeypadDecimal 0x0053,
    "less" Less 0x0056,
    "f11" F11 0x0057,
    "f12" F12 0x0058,
    "kp_enter" KeypadEnter 0xe01c,
    "ctrl_r" ControlRight 0xe01d,
    "kp_divide" KeypadDivide 0xe035,
    "print" Print 0xe037,
    "alt_r" AltRight 0xe038,
    "home" Home 0xe047,
    "up" Up 0xe048,
    "pgup" PageUp 0xe049,
    "left" Left 0xe04b,
    "right" Right 0xe04d,
    "end" End 0xe04f,
    "down" Down 0xe050,
    "pgdn" PageDown 0xe051,
    "insert" Insert 0xe052,
    "delete" Delete 0xe053,
    "meta_l" MetaLeft 0xe05b,
    "meta_r" MetaRight 0xe05c,
    "menu" Menu 0xe05d,
    "pause" Pause 0xe046,
}

/// The codes of sets 1 and 2 that stand for the same place, ordered by set 1.
const PLACES: [(u8, u8); 90] = [
    (0x01, 0x76),
    (0x02, 0x16),
    (0x03, 0x1e),
    (0x04, 0x26),
    (0x05, 0x25),
    (0x06, 0x2e),
    (0x07, 0x36),
    (0x08, 0x3d),
    (0x09, 0x3e),
    (0x0a, 0x46),
    (0x0b, 0x45),
    (0x0c, 0x4e),
    (0x0d, 0x55),
    (0x0e, 0x66),
    (0x0f, 0x0d),
    (0x10, 0x15),
    (0x11, 0x1d),
    (0x12, 0x24),
    (0x13, 0x2d),
    (0x14, 0x2c),
    (0x15, 0x35),
    (0x16, 0x3c),
    (0x17, 0x43),
    (0x18, 0x44),
    (0x19, 0x4d),
    (0x1a, 0x54),
    (0x1b, 0x5b),
    (0x1c, 0x5a),
    (0x1d, 0x14),
    (0x1e, 0x1c),
    (0x1f, 0x1b),
    (0x20, 0x23),
    (0x21, 0x2b),
    (0x22, 0x34),
    (0x23, 0x33),
    (0x24, 0x3b),
    (0x25, 0x42),
    (0x26, 0x4b),
    (0x27, 0x4c),
    (0x28, 0x52),
    (0x29, 0x0e),
    (0x2a, 0x12),
    (0x2b, 0x5d),
    (0x2c, 0x1a),
    (0x2d, 0x22),
    (0x2e, 0x21),
    (0x2f, 0x2a),
    (0x30, 0x32),
    (0x31, 0x31),
    (0x32, 0x3a),
    (0x33, 0x41),
    (0x34, 0x49),
    (0x35, 0x4a),
    (0x36, 0x59),
    (0x37, 0x7c),
    (0x38, 0x11),
    (0x39, 0x29),
    (0x3a, 0x58),
    (0x3b, 0x05),
    (0x3c, 0x06),
    (0x3d, 0x04),
    (0x3e, 0x0c),
    (0x3f, 0x03),
    (0x40, 0x0b),
    (0x41, 0x83),
    (0x42, 0x0a),
    (0x43, 0x01),
    (0x44, 0x09),
    (0x45, 0x77),
    (0x46, 0x7e),
    (0x47, 0x6c),
    (0x48, 0x75),
    (0x49, 0x7d),
    (0x4a, 0x7b),
    (0x4b, 0x6b),
    (0x4c, 0x73),
    (0x4d, 0x74),
    (0x4e, 0x79),
    (0x4f, 0x69),
    (0x50, 0x72),
    (0x51, 0x7a),
    (0x52, 0x70),
    (0x53, 0x71),
    (0x54, 0x84),
    (0x56, 0x61),
    (0x57, 0x78),
    (0x58, 0x07),
    (0x5b, 0x1f),
    (0x5c, 0x27),
    (0x5d, 0x2f),
];

/// A byte of set 2 as the controller passes it on in set 1. Bytes that are no scan code
/// (answers, prefixes) pass as they are.
pub(super) fn translate(byte: u8) -> u8 {
    let place = PLACES.iter().find(|(_, set2)| *set2 == byte);
    place.map_or(byte, |(set1, _)| *set1)
}

fn set2_of(set1: u8) -> u8 {
    let place = PLACES.iter().find(|(code, _)| *code == set1);
    place.map_or(set1, |(_, set2)| *set2)
}

/// The bytes that the keyboard sends when `key` goes down.
pub(super) fn make_codes(key: Key, set: u8) -> Vec<u8> {
    match key {
        // Pause sends its make and its break at once and nothing when it comes up.
        Key::Pause if set == 1 => return vec![0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5],
        Key::Pause => return vec![0xe1, 0x14, 0x77, 0xe1, RELEASE, 0x14, RELEASE, 0x77],
        _ => {}
    }
    let mut bytes = Vec::with_capacity(4);
    for place in places(key) {
        let [prefix, code] = place.to_be_bytes();
        if prefix != 0 {
            bytes.push(prefix);
        }
        bytes.push(if set == 1 { code } else { set2_of(code) });
    }
    bytes
}

/// The bytes that the keyboard sends when `key` comes up.
pub(super) fn break_codes(key: Key, set: u8) -> Vec<u8> {
    if key == Key::Pause {
        return Vec::new();
    }
    let mut bytes = Vec::with_capacity(6);
    for place in places(key).into_iter().rev() {
        let [prefix, code] = place.to_be_bytes();
        if prefix != 0 {
            bytes.push(prefix);
        }
        match set {
            1 => bytes.push(code | 0x80),
            _ => bytes.extend([RELEASE, set2_of(code)]),
        }
    }
    bytes
}

/// The places that a key presses: Print is a shifted keypad star.
fn places(key: Key) -> Vec<u16> {
    match key {
        Key::Print => vec![0xe02a, 0xe037],
        key => vec![key.set1()],
    }
}
