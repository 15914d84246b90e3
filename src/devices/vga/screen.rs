//! What is on the screen: text cells for a terminal, dots for a picture.
//!
//! A snapshot is read out of display memory when somebody looks; nothing is kept between two.
//! Left out: blinking (characters are shown), split screen, and panning by less than a
//! character.

use super::Vga;
use super::dac::Rgb;
use super::dispi::LinearMode;
use super::registers::DotFormat;
use crate::memory::Memory;

/// A character cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// In the character set of the font: code page 437 unless a guest loads another.
    pub character: u8,
    /// Bits 3..0 foreground, 6..4 background, 7 blink or bright background.
    pub attribute: u8,
}

/// A screen of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextScreen {
    /// Cells in a row.
    pub columns: usize,
    /// The rows, top to bottom, each of `columns` cells.
    pub cells: Vec<Cell>,
    /// Column and row of the cursor, while it is shown and on the screen.
    pub cursor: Option<(usize, usize)>,
    /// The sixteen colours of attributes.
    pub colours: [Rgb; 16],
    /// Attribute bit 7 means blinking, not a bright background.
    pub blinks: bool,
}

/// A snapshot of what is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Screen {
    /// Nothing: blanked, or no mode set yet.
    Off,
    /// Characters.
    Text(TextScreen),
    /// Dots: see [`Vga::frame`].
    Graphics {
        /// Dots in a line.
        width: usize,
        /// Lines.
        height: usize,
    },
}

/// A picture of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Dots in a line.
    pub width: usize,
    /// Lines.
    pub height: usize,
    /// Red, green and blue of each dot, line by line from the top.
    pub rgb: Vec<u8>,
}

impl Frame {
    fn black(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            rgb: vec![0; width * height * 3],
        }
    }

    /// The dots of line `y`, of three bytes each.
    fn line(&mut self, y: usize) -> impl Iterator<Item = &mut [u8]> {
        let bytes = self.width * 3;
        let line = self.rgb.get_mut(y * bytes..(y + 1) * bytes);
        line.unwrap_or_default().chunks_exact_mut(3)
    }
}

impl Vga {
    /// What is on the screen now.
    pub fn screen(&self, memory: &Memory) -> Screen {
        if let Some(mode) = self.dispi.mode() {
            let (width, height) = (mode.width, mode.height);
            return Screen::Graphics { width, height };
        }
        if !self.registers.screen_on() {
            return Screen::Off;
        }
        match self.registers.dot_format() {
            DotFormat::Text => Screen::Text(self.text(memory)),
            _ => Screen::Graphics {
                width: self.registers.columns() * 8,
                height: self.registers.lines(),
            },
        }
    }

    /// A picture of the screen now. A screen that is off is black, of VGA's usual size.
    pub fn frame(&self, memory: &Memory) -> Frame {
        if let Some(mode) = self.dispi.mode() {
            return self.linear_frame(memory, mode);
        }
        match self.screen(memory) {
            Screen::Off => Frame::black(640, 480),
            Screen::Text(text) => self.text_frame(memory, &text),
            Screen::Graphics { width, height } => self.graphics_frame(memory, width, height),
        }
    }

    fn text(&self, memory: &Memory) -> TextScreen {
        let columns = self.registers.columns();
        let rows = self.registers.lines() / self.registers.row_lines();
        let start = self.registers.start();
        let stride = self.registers.stride();
        let mut cells = Vec::with_capacity(columns * rows);
        for row in (0u32..).take(rows) {
            let line = self.plane_dwords(memory, start + row * stride, columns);
            cells.extend(line.into_iter().map(|dword| {
                let [character, attribute, ..] = dword.to_le_bytes();
                Cell {
                    character,
                    attribute,
                }
            }));
        }
        let cursor = self.cursor_place(columns, rows);
        let colours = PALETTE_INDICES.map(|i| self.dac.colour(self.registers.palette(i)));
        let blinks = self.registers.blinks();
        TextScreen {
            columns,
            cells,
            cursor,
            colours,
            blinks,
        }
    }

    fn cursor_place(&self, columns: usize, rows: usize) -> Option<(usize, usize)> {
        self.registers.cursor_lines()?;
        let distance = self
            .registers
            .cursor()
            .checked_sub(self.registers.start())?;
        let stride = self.registers.stride();
        let row = usize::try_from(distance.checked_div(stride)?).ok()?;
        let column = usize::try_from(distance % stride).ok()?;
        (column < columns && row < rows).then_some((column, row))
    }

    /// `count` dwords of the four planes from plane offset `first` on.
    fn plane_dwords(&self, memory: &Memory, first: u32, count: usize) -> Vec<u32> {
        let first = usize::try_from(first & 0xffff).unwrap_or(0);
        let bytes = self.display_bytes(memory, first * 4, count * 4);
        let dwords = bytes.chunks_exact(4);
        dwords
            .map(|b| b.iter().rev().fold(0, |v, b| v << 8 | u32::from(*b)))
            .collect()
    }

    /// `count` bytes of display memory; zeroes past its end.
    fn display_bytes(&self, memory: &Memory, first: usize, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let rest = self.memory_len.saturating_sub(first as u64);
        let inside = usize::try_from(rest).unwrap_or(count).min(count);
        if let Some(part) = bytes.get_mut(..inside) {
            memory.arena.read(self.memory_start + first as u64, part);
        }
        bytes
    }

    fn text_frame(&self, memory: &Memory, text: &TextScreen) -> Frame {
        let (cell_width, row_lines) = (self.registers.cell_width(), self.registers.row_lines());
        let rows = text.cells.len() / text.columns;
        let mut frame = Frame::black(text.columns * cell_width, rows * row_lines);
        let (plain, bold) = self.registers.fonts();
        let fonts = [plain, bold].map(|start| self.font(memory, start));
        for (row, cells) in text.cells.chunks(text.columns).enumerate() {
            for line in 0..row_lines {
                let mut dots = frame.line(row * row_lines + line);
                for (column, cell) in cells.iter().enumerate() {
                    let under_cursor = text.cursor == Some((column, row));
                    let bits = self.cell_bits(&fonts, *cell, line, under_cursor);
                    let (ink, paper) = cell_colours(*cell, text);
                    for dot in 0..cell_width {
                        let on = bits & 0x100 >> dot != 0;
                        if let Some(place) = dots.next() {
                            place.copy_from_slice(if on { &ink } else { &paper });
                        }
                    }
                }
            }
        }
        frame
    }

    /// The 256 glyphs of a font: 32 bytes each in plane 2.
    fn font(&self, memory: &Memory, start: u32) -> Vec<u8> {
        let dwords = self.plane_dwords(memory, start, 256 * 32);
        dwords
            .into_iter()
            .map(|d| d.to_le_bytes())
            .map(|[_, _, font, _]| font)
            .collect()
    }

    /// Nine dots of one line of a cell, the leftmost in bit 8.
    fn cell_bits(&self, fonts: &[Vec<u8>; 2], cell: Cell, line: usize, cursor: bool) -> u16 {
        let [plain, bold] = fonts;
        let font = if cell.attribute & 0x08 != 0 {
            bold
        } else {
            plain
        };
        let glyph = usize::from(cell.character) * 32;
        let bits = u16::from(font.get(glyph + line).copied().unwrap_or(0)) << 1;
        let joins = matches!(cell.character, 0xc0..=0xdf);
        let mut bits = match joins && self.registers.extends_line_drawing() {
            true => bits | bits >> 1 & 1,
            false => bits,
        };
        if cursor
            && let Some((first, last)) = self.registers.cursor_lines()
            && (first..=last).contains(&line)
        {
            bits = 0x1ff;
        }
        bits
    }

    /// Modes with a byte or a few bits a dot, through the four planes.
    fn graphics_frame(&self, memory: &Memory, width: usize, height: usize) -> Frame {
        let mut frame = Frame::black(width, height);
        let format = self.registers.dot_format();
        for (y, line) in (0u32..).zip(0..height) {
            let first = self.line_offset(y);
            let dwords = self.plane_dwords(memory, first, width.div_ceil(8).max(width / 4));
            let mut dots = frame.line(line);
            for dword in dwords {
                for colour in self.dots_of(format, dword) {
                    if let Some(place) = dots.next() {
                        place.copy_from_slice(&self.dac.colour(colour));
                    }
                }
            }
        }
        frame
    }

    /// The plane offset where line `y` of dots begins. Bits of the line number can take the
    /// place of address bits, as on the CGA.
    fn line_offset(&self, y: u32) -> u32 {
        let repeat = if self.registers.double_scan() { 2 } else { 1 };
        let row_lines = u32::try_from(self.registers.row_lines()).unwrap_or(1);
        let (row, in_row) = (y / repeat / row_lines, y / repeat % row_lines);
        let mut offset = self.registers.start() + row * self.registers.stride();
        let mode = self.registers.crtc.get(0x17);
        let bank = 12 + u32::from(mode >> 6 & 1);
        if mode & 1 == 0 {
            offset = offset & !(1 << bank) | (in_row & 1) << bank;
        }
        if mode & 2 == 0 {
            offset = offset & !(2 << bank) | (in_row >> 1 & 1) << (bank + 1);
        }
        offset
    }

    /// The colour numbers of the dots that one dword of memory makes.
    fn dots_of(&self, format: DotFormat, dword: u32) -> Vec<u8> {
        let [p0, p1, p2, p3] = dword.to_le_bytes();
        let palette = |value: u8| self.registers.palette(value);
        match format {
            DotFormat::Packed256 => {
                let wide = self.registers.attribute.get(0x10) & 0x40 != 0;
                let times = if wide { 2 } else { 1 };
                [p0, p1, p2, p3]
                    .into_iter()
                    .flat_map(|c| vec![c; times])
                    .collect()
            }
            DotFormat::Packed4 => {
                let pair = |low: u8, high: u8| {
                    [6, 4, 2, 0].map(|s| palette(low >> s & 3 | (high >> s & 3) << 2))
                };
                pair(p0, p2).into_iter().chain(pair(p1, p3)).collect()
            }
            DotFormat::Planar16 | DotFormat::Text => (0..8)
                .rev()
                .map(|b| {
                    let bit = |plane: u8| plane >> b & 1;
                    palette(bit(p0) | bit(p1) << 1 | bit(p2) << 2 | bit(p3) << 3)
                })
                .collect(),
        }
    }

    fn linear_frame(&self, memory: &Memory, mode: LinearMode) -> Frame {
        let mut frame = Frame::black(mode.width, mode.height);
        for y in 0..mode.height {
            let first = mode.start + y * mode.stride;
            let colours = match mode.depth {
                4 => self.planar_line(memory, first, mode.width),
                depth => self.packed_line(memory, first, mode.width, depth),
            };
            for (place, colour) in frame.line(y).zip(colours) {
                place.copy_from_slice(&colour);
            }
        }
        frame
    }

    fn planar_line(&self, memory: &Memory, first: usize, width: usize) -> Vec<Rgb> {
        let bytes = self.display_bytes(memory, first * 4, width.div_ceil(8) * 4);
        let dwords = bytes.chunks_exact(4);
        let dwords = dwords.map(|b| b.iter().rev().fold(0, |v, b| v << 8 | u32::from(*b)));
        let dots = dwords.flat_map(|d| self.dots_of(DotFormat::Planar16, d));
        dots.map(|index| self.dac.colour(index)).collect()
    }

    fn packed_line(&self, memory: &Memory, first: usize, width: usize, depth: u16) -> Vec<Rgb> {
        let dot_bytes = usize::from(depth.div_ceil(8));
        let bytes = self.display_bytes(memory, first, width * dot_bytes);
        let dots = bytes.chunks_exact(dot_bytes);
        dots.map(|dot| match (depth, dot) {
            (8, [index]) => self.dac.colour(*index),
            (15, [low, high]) => rgb555(u16::from_le_bytes([*low, *high])),
            (16, [low, high]) => rgb565(u16::from_le_bytes([*low, *high])),
            (_, [blue, green, red, ..]) => [*red, *green, *blue],
            _ => [0; 3],
        })
        .collect()
    }
}

const PALETTE_INDICES: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Foreground and background of a cell.
fn cell_colours(cell: Cell, text: &TextScreen) -> (Rgb, Rgb) {
    let background = match text.blinks {
        true => cell.attribute >> 4 & 7,
        false => cell.attribute >> 4,
    };
    let colour = |index: u8| {
        text.colours
            .get(usize::from(index))
            .copied()
            .unwrap_or([0; 3])
    };
    (colour(cell.attribute & 15), colour(background))
}

fn rgb555(dot: u16) -> Rgb {
    [dot >> 10, dot >> 5, dot].map(|c| widen(c & 0x1f, 5))
}

fn rgb565(dot: u16) -> Rgb {
    [
        widen(dot >> 11, 5),
        widen(dot >> 5 & 0x3f, 6),
        widen(dot & 0x1f, 5),
    ]
}

/// A colour component of `bits` bits in eight, its highest bits repeated below.
fn widen(value: u16, bits: u16) -> u8 {
    let wide = value << (8 - bits) | value >> (2 * bits - 8);
    let [low, _] = wide.to_le_bytes();
    low
}
