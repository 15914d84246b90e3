//! VGA text mode 3 for direct boot: 80 by 25 characters at B8000h, by the registers alone.
//!
//! A kernel that is entered without firmware finds the display as a VGA BIOS leaves it, but for
//! the font: glyphs are left out, since terminals bring their own. (IBM VGA XGA Technical
//! Reference Manual, section 2-112.)

use super::post::Ports;
use crate::bus::Size;

const MISC: u16 = 0x3c2;
const ATTRIBUTE: u16 = 0x3c0;
const SEQUENCER: u16 = 0x3c4;
const DAC_INDEX: u16 = 0x3c8;
const DAC_DATA: u16 = 0x3c9;
const GRAPHICS: u16 = 0x3ce;
const CRTC: u16 = 0x3d4;
const INPUT_STATUS_1: u16 = 0x3da;

/// Colour addresses, memory on, 28 MHz, 400 lines.
const MISC_VALUE: u8 = 0x67;
const SEQUENCER_VALUES: [u8; 5] = [0x03, 0x00, 0x03, 0x00, 0x02];
const GRAPHICS_VALUES: [u8; 9] = [0, 0, 0, 0, 0, 0x10, 0x0e, 0x0f, 0xff];
/// 449 lines of 100 characters, of which 400 and 80 are shown; cursor in lines 13 and 14.
const CRTC_VALUES: [u8; 25] = [
    0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c, 0x8e,
    0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
];
const CRTC_UNPROTECT: (u8, u8) = (0x11, 0x00);
/// The 16 colours among the 64 of the EGA, then mode, border, planes, panning and select.
const ATTRIBUTE_VALUES: [u8; 21] = [
    0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0, 0x0f, 8, 0,
];
const ATTRIBUTE_SHOW: u8 = 0x20;

/// Sets the mode.
pub(super) fn set_text_mode(ports: &mut dyn Ports) {
    let mut out = |port, value: u8| ports.write(port, Size::Byte, u32::from(value));
    out(MISC, MISC_VALUE);
    let mut indexed = |port: u16, index: u8, value: u8| {
        out(port, index);
        out(port + 1, value);
    };
    let (index, value) = CRTC_UNPROTECT;
    indexed(CRTC, index, value);
    let files = [
        (SEQUENCER, &SEQUENCER_VALUES[..]),
        (GRAPHICS, &GRAPHICS_VALUES),
        (CRTC, &CRTC_VALUES),
    ];
    for (port, values) in files {
        for (index, value) in (0..).zip(values) {
            indexed(port, index, *value);
        }
    }
    out(DAC_INDEX, 0);
    for component in (0..64).flat_map(ega_colour) {
        out(DAC_DATA, component);
    }
    ports.read(INPUT_STATUS_1, Size::Byte);
    let mut out = |port, value: u8| ports.write(port, Size::Byte, u32::from(value));
    for (index, value) in (0..).zip(ATTRIBUTE_VALUES) {
        out(ATTRIBUTE, index);
        out(ATTRIBUTE, value);
    }
    out(ATTRIBUTE, ATTRIBUTE_SHOW);
}

/// Red, green and blue, in six bits, of an EGA colour `rgbRGB`: two thirds for the capitals, one
/// third for the others.
fn ega_colour(index: u8) -> [u8; 3] {
    [2, 1, 0].map(|bit| 42 * (index >> bit & 1) + 21 * (index >> (bit + 3) & 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brown_is_dark_and_white_is_full() {
        assert_eq!(ega_colour(0x14), [42, 21, 0]);
        assert_eq!(ega_colour(0x3f), [63; 3]);
    }
}
