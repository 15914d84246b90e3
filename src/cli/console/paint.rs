//! The machine's text screen on the terminal: only what changed since the last time is sent.

use std::fmt::Write;

use super::charset::code_page_437;
use super::raw_terminal::TerminalSize;
use crate::machine::{Cell, Screen, TextScreen};

/// VGA numbers colours blue, green, red from bit 0 up; terminals red, green, blue.
const ANSI_COLOURS: [u8; 8] = [0, 4, 2, 6, 1, 5, 3, 7];

/// What a character looks like: cell and colours as shown.
type Shown = (Cell, bool);

/// Draws screens; keeps what the terminal shows.
pub struct Painter {
    charset: Vec<char>,
    size: TerminalSize,
    /// The cells on the terminal, row by row of its size; `None` where that is not known.
    shown: Vec<Option<Shown>>,
    cursor: Option<(usize, usize)>,
    last: Screen,
}

impl Default for Painter {
    fn default() -> Self {
        Self::new()
    }
}

impl Painter {
    /// A painter for a terminal that shows nothing yet.
    pub fn new() -> Self {
        Self {
            charset: code_page_437(),
            size: TerminalSize {
                columns: 0,
                rows: 0,
            },
            shown: Vec::new(),
            cursor: None,
            last: Screen::Off,
        }
    }

    /// What to send to a terminal of `size` so that it shows `screen`. Of a screen that is larger
    /// the rows around the cursor are shown.
    pub fn paint(&mut self, screen: &Screen, size: TerminalSize) -> String {
        if *screen == self.last && size == self.size {
            return String::new();
        }
        let mut out = String::new();
        let kind_changed = std::mem::discriminant(screen) != std::mem::discriminant(&self.last);
        if size != self.size || kind_changed {
            self.size = size;
            self.shown = vec![None; size.columns * size.rows];
            self.cursor = None;
            out.push_str("\x1b[0m\x1b[2J\x1b[?25l");
        }
        match screen {
            Screen::Off => {}
            Screen::Graphics { width, height } => {
                let _ = write!(
                    out,
                    "\x1b[H\x1b[KThe guest shows graphics, {width} x {height} dots: \
                     only text can be shown here."
                );
            }
            Screen::Text(text) => self.paint_text(&mut out, text),
        }
        self.last = screen.clone();
        out
    }

    /// Forgets what the terminal shows: something else was written to it.
    pub fn invalidate(&mut self) {
        *self = Self::new();
    }

    /// The last screen as lines of plain text, without what is blank at the ends.
    pub fn transcript(&self) -> String {
        let Screen::Text(text) = &self.last else {
            return String::new();
        };
        let rows = text.cells.chunks(text.columns.max(1));
        let lines = rows.map(|row| {
            let line: String = row.iter().map(|cell| self.glyph(*cell)).collect();
            line.trim_end().to_owned()
        });
        let lines: Vec<String> = lines.collect();
        lines.join("\n").trim_end().to_owned()
    }

    fn glyph(&self, cell: Cell) -> char {
        self.charset[usize::from(cell.character)]
    }

    fn paint_text(&mut self, out: &mut String, text: &TextScreen) {
        let rows = text.cells.len() / text.columns.max(1);
        let cursor_row = text.cursor.map_or(0, |(_, row)| row);
        let first = (cursor_row + 1).saturating_sub(self.size.rows);
        let visible = self.size.columns.min(text.columns);
        let mut pen = Pen::default();
        for row in 0..self.size.rows.min(rows - first.min(rows)) {
            for column in 0..visible {
                let cell = text.cells[(first + row) * text.columns + column];
                let shown = Some((cell, text.blinks));
                let place = row * self.size.columns + column;
                if self.shown[place] != shown {
                    self.shown[place] = shown;
                    pen.go_to(out, (column, row));
                    pen.colour(out, cell.attribute, text.blinks);
                    out.push(self.glyph(cell));
                    pen.advance();
                }
            }
        }
        if !out.is_empty() {
            out.push_str("\x1b[0m");
        }
        let cursor = text.cursor.map(|(column, row)| (column, row - first));
        let cursor = cursor.filter(|(column, _)| *column < visible);
        self.place_cursor(out, cursor);
    }

    fn place_cursor(&mut self, out: &mut String, cursor: Option<(usize, usize)>) {
        match cursor {
            Some((column, row)) => {
                let _ = write!(out, "\x1b[{};{}H", row + 1, column + 1);
                if self.cursor.is_none() {
                    out.push_str("\x1b[?25h");
                }
            }
            None if self.cursor.is_some() => out.push_str("\x1b[?25l"),
            None => {}
        }
        self.cursor = cursor;
    }
}

/// Where the terminal's cursor is, and in which colours it writes, while a screen is painted.
#[derive(Default)]
struct Pen {
    place: Option<(usize, usize)>,
    attribute: Option<u8>,
}

impl Pen {
    fn go_to(&mut self, out: &mut String, place: (usize, usize)) {
        if self.place != Some(place) {
            let (column, row) = place;
            let _ = write!(out, "\x1b[{};{}H", row + 1, column + 1);
            self.place = Some(place);
        }
    }

    /// A character was written. At the right edge terminals differ: the next place is not
    /// adjacent to this one then, and is gone to.
    fn advance(&mut self) {
        if let Some((column, _)) = &mut self.place {
            *column += 1;
        }
    }

    fn colour(&mut self, out: &mut String, attribute: u8, blinks: bool) {
        if self.attribute == Some(attribute) {
            return;
        }
        self.attribute = Some(attribute);
        let ansi = |index: u8| ANSI_COLOURS[usize::from(index & 7)];
        let ink = ansi(attribute) + if attribute & 0x08 != 0 { 90 } else { 30 };
        let high = attribute & 0x80 != 0;
        let paper = ansi(attribute >> 4) + if high && !blinks { 100 } else { 40 };
        let blink = if high && blinks { ";5" } else { "" };
        let _ = write!(out, "\x1b[0;{ink};{paper}{blink}m");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: TerminalSize = TerminalSize {
        columns: 80,
        rows: 25,
    };

    fn screen(rows: &[&str]) -> TextScreen {
        let blank = Cell {
            character: b' ',
            attribute: 7,
        };
        let mut cells = vec![blank; 80 * 25];
        for (row, text) in rows.iter().enumerate() {
            for (column, character) in text.bytes().enumerate() {
                cells[row * 80 + column].character = character;
            }
        }
        TextScreen {
            columns: 80,
            cells,
            cursor: Some((0, rows.len())),
            colours: [[0; 3]; 16],
            blinks: true,
        }
    }

    #[test]
    fn only_changed_cells_are_sent() {
        let mut painter = Painter::new();
        let first = painter.paint(&Screen::Text(screen(&["hello"])), SIZE);
        assert!(first.contains("hello"));
        let mut next = screen(&["hello", "world"]);
        next.cells[80].attribute = 0x9e;
        let update = painter.paint(&Screen::Text(next.clone()), SIZE);
        let expected = "\x1b[2;1H\x1b[0;93;44;5mw\x1b[0;37;40morld\x1b[0m\x1b[3;1H";
        assert_eq!(update, expected);
        assert_eq!(painter.paint(&Screen::Text(next), SIZE), "");
    }

    #[test]
    fn a_hidden_cursor_is_hidden_and_comes_back() {
        let mut painter = Painter::new();
        let mut text = screen(&["x"]);
        painter.paint(&Screen::Text(text.clone()), SIZE);
        text.cursor = None;
        assert_eq!(
            painter.paint(&Screen::Text(text.clone()), SIZE),
            "\x1b[?25l"
        );
        text.cursor = Some((3, 4));
        assert_eq!(
            painter.paint(&Screen::Text(text), SIZE),
            "\x1b[5;4H\x1b[?25h"
        );
    }

    #[test]
    fn a_small_terminal_shows_the_rows_at_the_cursor() {
        let mut painter = Painter::new();
        let rows: Vec<String> = (0..20).map(|r| format!("row {r}")).collect();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let size = TerminalSize {
            columns: 6,
            rows: 10,
        };
        let sent = painter.paint(&Screen::Text(screen(&rows)), size);
        assert!(sent.contains("row 11") && sent.contains("row 19") && !sent.contains("row 10"));
    }

    #[test]
    fn a_change_of_mode_or_size_starts_from_a_clear_terminal() {
        let mut painter = Painter::new();
        let text = Screen::Text(screen(&["text"]));
        painter.paint(&text, SIZE);
        let graphics = Screen::Graphics {
            width: 640,
            height: 480,
        };
        assert!(painter.paint(&graphics, SIZE).contains("640 x 480"));
        assert!(painter.paint(&text, SIZE).contains("\x1b[2J"));
        assert_eq!(painter.transcript(), "text");
    }
}
