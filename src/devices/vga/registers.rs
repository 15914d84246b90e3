//! The VGA's indexed registers: sequencer, graphics controller, CRT controller and attribute
//! controller, and what their bits mean together. (IBM VGA XGA Technical Reference Manual,
//! 1992, chapter 2.)

use serde::{Deserialize, Serialize};

/// A file of registers behind an index port and a data port.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct File<const N: usize> {
    pub(super) index: u8,
    #[serde(with = "serde_bytes_array")]
    values: [u8; N],
}

/// Arrays of any length as byte sequences: serde's own impls end at 32.
mod serde_bytes_array {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer, const N: usize>(
        values: &[u8; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        values.as_slice().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        let values = Vec::<u8>::deserialize(deserializer)?;
        <[u8; N]>::try_from(values).map_err(|_| D::Error::custom("wrong number of registers"))
    }
}

impl<const N: usize> Default for File<N> {
    fn default() -> Self {
        Self {
            index: 0,
            values: [0; N],
        }
    }
}

impl<const N: usize> File<N> {
    /// Register `index`; zero if there is none.
    pub(super) fn get(&self, index: u8) -> u8 {
        self.values.get(usize::from(index)).copied().unwrap_or(0)
    }

    /// Sets the bits of `mask` of register `index`, if there is one.
    pub(super) fn set(&mut self, index: u8, value: u8, mask: u8) {
        if let Some(register) = self.values.get_mut(usize::from(index)) {
            *register = *register & !mask | value & mask;
        }
    }
}

/// Which of its bits each sequencer register has.
const SEQUENCER_MASKS: [u8; 5] = [0x03, 0x3d, 0x0f, 0x3f, 0x0e];
/// The same of the graphics controller.
const GRAPHICS_MASKS: [u8; 9] = [0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff];

const CRTC_OVERFLOW: u8 = 0x07;
const CRTC_RETRACE_END: u8 = 0x11;
const CRTC_PROTECT: u8 = 0x80;
const OVERFLOW_LINE_COMPARE: u8 = 0x10;

/// All indexed registers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Registers {
    pub(super) misc: u8,
    pub(super) feature: u8,
    pub(super) sequencer: File<5>,
    pub(super) graphics: File<9>,
    pub(super) crtc: File<25>,
    pub(super) attribute: File<21>,
    /// The next write to 3C0h is data.
    pub(super) attribute_data_next: bool,
}

/// How the CPU's addresses select planes and offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Addressing {
    /// Four consecutive bytes lie in the four planes.
    Chain4,
    /// Even addresses are plane 0 (or 2), odd ones plane 1 (or 3): text.
    OddEven,
    /// Each address is a byte of all planes.
    Planar,
}

/// How dots are made of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DotFormat {
    /// Characters and attributes.
    Text,
    /// One bit of each plane a dot: 16 colours.
    Planar16,
    /// Two bits a dot, from even and odd planes: CGA's four colours.
    Packed4,
    /// A byte a dot, two dots wide: 256 colours.
    Packed256,
}

impl Registers {
    pub(super) fn write_sequencer(&mut self, value: u8) {
        let index = self.sequencer.index;
        let mask = SEQUENCER_MASKS.get(usize::from(index)).copied();
        self.sequencer.set(index, value, mask.unwrap_or(0));
    }

    pub(super) fn write_graphics(&mut self, value: u8) {
        let index = self.graphics.index;
        let mask = GRAPHICS_MASKS.get(usize::from(index)).copied();
        self.graphics.set(index, value, mask.unwrap_or(0));
    }

    /// Registers 0 to 7 can be protected, but for the line compare bit among them.
    pub(super) fn write_crtc(&mut self, value: u8) {
        let index = self.crtc.index;
        let protected = self.crtc.get(CRTC_RETRACE_END) & CRTC_PROTECT != 0;
        let mask = match index {
            CRTC_OVERFLOW if protected => OVERFLOW_LINE_COMPARE,
            0..=CRTC_OVERFLOW if protected => 0,
            _ => 0xff,
        };
        self.crtc.set(index, value, mask);
    }

    /// Port 3C0h takes index and data in turn. The palette can be written while the screen is
    /// off only (index bit 5 clear).
    pub(super) fn write_attribute(&mut self, value: u8) {
        if self.attribute_data_next {
            let index = self.attribute.index & 0x1f;
            let mask = match index {
                0..=0x0f if self.palette_locked() => 0,
                0..=0x0f => 0x3f,
                0x10 => 0xef,
                0x12 => 0x3f,
                0x13 | 0x14 => 0x0f,
                _ => 0xff,
            };
            self.attribute.set(index, value, mask);
        } else {
            self.attribute.index = value & 0x3f;
        }
        self.attribute_data_next = !self.attribute_data_next;
    }

    fn palette_locked(&self) -> bool {
        self.attribute.index & 0x20 != 0
    }

    /// Whether the CRT controller answers at 3D4h instead of 3B4h.
    pub(super) fn is_colour(&self) -> bool {
        self.misc & 0x01 != 0
    }

    /// Whether the CPU reaches the memory at all.
    pub(super) fn memory_enabled(&self) -> bool {
        self.misc & 0x02 != 0
    }

    /// The window of the CPU: address and length.
    pub(super) fn window(&self) -> (u64, u64) {
        match self.graphics.get(6) >> 2 & 3 {
            0 => (0xa_0000, 0x2_0000),
            1 => (0xa_0000, 0x1_0000),
            2 => (0xb_0000, 0x0_8000),
            _ => (0xb_8000, 0x0_8000),
        }
    }

    pub(super) fn addressing(&self) -> Addressing {
        let memory_mode = self.sequencer.get(4);
        if memory_mode & 0x08 != 0 {
            Addressing::Chain4
        } else if memory_mode & 0x04 == 0 || self.graphics.get(5) & 0x10 != 0 {
            Addressing::OddEven
        } else {
            Addressing::Planar
        }
    }

    pub(super) fn dot_format(&self) -> DotFormat {
        if self.graphics.get(6) & 1 == 0 {
            return DotFormat::Text;
        }
        match self.graphics.get(5) >> 5 & 3 {
            0 => DotFormat::Planar16,
            1 => DotFormat::Packed4,
            _ => DotFormat::Packed256,
        }
    }

    /// Whether a plain CPU write changes exactly the byte that it addresses.
    pub(super) fn writes_are_plain(&self) -> bool {
        let graphics = |index| self.graphics.get(index);
        self.sequencer.get(2) == 0x0f
            && graphics(1) == 0
            && graphics(3) == 0
            && graphics(5) & 0x0b == 0
            && graphics(8) == 0xff
    }

    /// Whether anything is to be seen.
    pub(super) fn screen_on(&self) -> bool {
        self.attribute.index & 0x20 != 0 && self.sequencer.get(1) & 0x20 == 0
    }

    /// Characters (of 8 or 9 dots) in a line.
    pub(super) fn columns(&self) -> usize {
        usize::from(self.crtc.get(0x01)) + 1
    }

    /// Lines of dots that are shown.
    pub(super) fn lines(&self) -> usize {
        usize::from(self.with_overflow(0x12, 1, 6)) + 1
    }

    /// Lines of dots in a frame, shown or not.
    pub(super) fn total_lines(&self) -> u64 {
        u64::from(self.with_overflow(0x06, 0, 5)) + 2
    }

    /// The first line of vertical retrace.
    pub(super) fn retrace_start(&self) -> u64 {
        u64::from(self.with_overflow(0x10, 2, 7))
    }

    /// How many lines vertical retrace takes: the end register has its low four bits.
    pub(super) fn retrace_lines(&self) -> u64 {
        let end = u64::from(self.crtc.get(CRTC_RETRACE_END) & 15);
        (end.wrapping_sub(self.retrace_start()) & 15).max(1)
    }

    /// A ten-bit line number: eight bits in a register of its own, two in the overflow register.
    fn with_overflow(&self, index: u8, bit8: u8, bit9: u8) -> u16 {
        let overflow = u16::from(self.crtc.get(CRTC_OVERFLOW));
        let high = (overflow >> bit8 & 1) << 8 | (overflow >> bit9 & 1) << 9;
        u16::from(self.crtc.get(index)) | high
    }

    /// Lines of dots of one row of characters, or how often a line of dots is repeated.
    pub(super) fn row_lines(&self) -> usize {
        usize::from(self.crtc.get(0x09) & 0x1f) + 1
    }

    /// Whether each line is shown twice.
    pub(super) fn double_scan(&self) -> bool {
        self.crtc.get(0x09) & 0x80 != 0
    }

    /// The first offset shown, in bytes of a plane.
    pub(super) fn start(&self) -> u32 {
        u32::from(self.crtc.get(0x0c)) << 8 | u32::from(self.crtc.get(0x0d))
    }

    /// From one row to the next, in bytes of a plane.
    pub(super) fn stride(&self) -> u32 {
        u32::from(self.crtc.get(0x13)) * 2
    }

    /// The cursor's place, in characters from offset 0.
    pub(super) fn cursor(&self) -> u32 {
        u32::from(self.crtc.get(0x0e)) << 8 | u32::from(self.crtc.get(0x0f))
    }

    /// The first and last line of the cursor in its character; `None` while it is off.
    pub(super) fn cursor_lines(&self) -> Option<(usize, usize)> {
        let (start, end) = (self.crtc.get(0x0a), self.crtc.get(0x0b) & 0x1f);
        let shown = start & 0x20 == 0 && start & 0x1f <= end;
        shown.then_some((usize::from(start & 0x1f), usize::from(end)))
    }

    /// Dots in a character cell: 8 or 9.
    pub(super) fn cell_width(&self) -> usize {
        if self.sequencer.get(1) & 1 != 0 { 8 } else { 9 }
    }

    /// The colour number that the attribute controller makes of four bits, for the DAC.
    pub(super) fn palette(&self, value: u8) -> u8 {
        let colour = self.attribute.get(value & self.attribute.get(0x12) & 15);
        let select = self.attribute.get(0x14);
        if self.attribute.get(0x10) & 0x80 != 0 {
            colour & 0x0f | (select & 0x0f) << 4
        } else {
            colour & 0x3f | (select & 0x0c) << 4
        }
    }

    /// Whether attribute bit 7 makes characters blink instead of the background bright.
    pub(super) fn blinks(&self) -> bool {
        self.attribute.get(0x10) & 0x08 != 0
    }

    /// Whether the ninth dot of line-drawing characters repeats the eighth.
    pub(super) fn extends_line_drawing(&self) -> bool {
        self.attribute.get(0x10) & 0x04 != 0
    }

    /// The offsets in plane 2 of the fonts of attributes with bit 3 clear and set.
    pub(super) fn fonts(&self) -> (u32, u32) {
        let select = self.sequencer.get(3);
        let map = |low: u8, high: u8| u32::from(low & 3) * 0x4000 + u32::from(high & 1) * 0x2000;
        (map(select, select >> 4), map(select >> 2, select >> 5))
    }
}
