//! The Bochs display interface: linear modes of any size, set by eleven words behind ports
//! 1CEh and 1CFh. (Bochs VBE_DISPI interface, version B0C5h.)

use serde::{Deserialize, Serialize};

const ID: u16 = 0;
const WIDTH: u16 = 1;
const HEIGHT: u16 = 2;
const DEPTH: u16 = 3;
const ENABLE: u16 = 4;
const BANK: u16 = 5;
const VIRTUAL_WIDTH: u16 = 6;
const VIRTUAL_HEIGHT: u16 = 7;
const X_OFFSET: u16 = 8;
const Y_OFFSET: u16 = 9;
const MEMORY: u16 = 10;

/// The newest version, and what is common to the ones a guest may write.
const VERSION: u16 = 0xb0c5;
const VERSION_FAMILY: u16 = 0xb0c0;

const ENABLED: u16 = 0x01;
const GET_CAPABILITIES: u16 = 0x02;
const WIDE_DAC: u16 = 0x20;
const LINEAR: u16 = 0x40;
const NO_CLEAR: u16 = 0x80;

const MAX_WIDTH: u16 = 2560;
const MAX_HEIGHT: u16 = 1600;
const MAX_DEPTH: u16 = 32;

const BANK_BYTES: u32 = 1 << 16;

/// The registers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Dispi {
    pub(super) index: u16,
    version: u16,
    width: u16,
    height: u16,
    depth: u16,
    enable: u16,
    bank: u16,
    virtual_width: u16,
    x_offset: u16,
    y_offset: u16,
    memory_bytes: u32,
}

/// What a write asks of the VGA around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    /// Windows or the DAC's width may have changed.
    Changed,
    /// The same, and the shown memory is to be zeroed.
    ChangedAndClear,
}

/// A linear mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinearMode {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Bits a dot: 8, 15, 16, 24 or 32; 4 is planar.
    pub(super) depth: u16,
    /// From one line to the next, in bytes; of 4-bit modes, in bytes of a plane.
    pub(super) stride: usize,
    /// The first byte shown.
    pub(super) start: usize,
}

impl Dispi {
    pub(super) fn new(memory_bytes: u32) -> Self {
        Self {
            index: 0,
            version: VERSION,
            width: 0,
            height: 0,
            depth: 8,
            enable: 0,
            bank: 0,
            virtual_width: 0,
            x_offset: 0,
            y_offset: 0,
            memory_bytes,
        }
    }

    /// Reads the register at `index`.
    pub(super) fn read(&self, index: u16) -> u16 {
        let limits = self.enable & GET_CAPABILITIES != 0;
        match index {
            ID => self.version,
            WIDTH if limits => MAX_WIDTH,
            HEIGHT if limits => MAX_HEIGHT,
            DEPTH if limits => MAX_DEPTH,
            WIDTH => self.width,
            HEIGHT => self.height,
            DEPTH => self.depth,
            ENABLE => self.enable,
            BANK => self.bank,
            VIRTUAL_WIDTH => self.virtual_width,
            VIRTUAL_HEIGHT => self.virtual_height(),
            X_OFFSET => self.x_offset,
            Y_OFFSET => self.y_offset,
            MEMORY => u16::try_from(self.memory_bytes / BANK_BYTES).unwrap_or(u16::MAX),
            _ => 0,
        }
    }

    /// Writes the register at `index`. Values out of range change nothing.
    pub(super) fn write(&mut self, index: u16, value: u16) -> Effect {
        match index {
            ID if value & 0xfff0 == VERSION_FAMILY && value <= VERSION => self.version = value,
            WIDTH if value <= MAX_WIDTH => self.width = value & !7,
            HEIGHT if value <= MAX_HEIGHT => self.height = value,
            DEPTH if matches!(value, 0 | 4 | 8 | 15 | 16 | 24 | 32) => {
                self.depth = if value == 0 { 8 } else { value };
            }
            ENABLE => return self.set_enable(value),
            BANK => {
                let banks = self.memory_bytes / BANK_BYTES;
                if u32::from(value & 0x3fff) < banks {
                    self.bank = value & 0x3fff;
                }
            }
            VIRTUAL_WIDTH => self.set_virtual_width(value),
            X_OFFSET => self.set_offset(value, self.y_offset),
            Y_OFFSET => self.set_offset(self.x_offset, value),
            _ => return Effect::None,
        }
        Effect::Changed
    }

    fn set_enable(&mut self, value: u16) -> Effect {
        let enabling = value & ENABLED != 0 && self.enable & ENABLED == 0;
        if enabling {
            self.virtual_width = self.width;
            (self.x_offset, self.y_offset) = (0, 0);
            if self.virtual_height() < self.height || self.width == 0 || self.height == 0 {
                return Effect::None;
            }
        }
        self.enable = value & (ENABLED | GET_CAPABILITIES | WIDE_DAC | LINEAR | NO_CLEAR);
        self.bank = 0;
        if enabling && value & NO_CLEAR == 0 {
            Effect::ChangedAndClear
        } else {
            Effect::Changed
        }
    }

    /// Lines longer than the screen, for panning, as far as memory reaches.
    fn set_virtual_width(&mut self, value: u16) {
        let before = self.virtual_width;
        self.virtual_width = value.max(self.width);
        if self.virtual_height() < self.height {
            self.virtual_width = before;
        }
    }

    fn set_offset(&mut self, x: u16, y: u16) {
        let fits_x = u32::from(x) + u32::from(self.width) <= u32::from(self.virtual_width);
        let fits_y = u32::from(y) + u32::from(self.height) <= u32::from(self.virtual_height());
        if fits_x && fits_y {
            (self.x_offset, self.y_offset) = (x, y);
        }
    }

    /// How many lines of the virtual width memory holds.
    fn virtual_height(&self) -> u16 {
        let lines = self.memory_bytes.checked_div(self.line_bytes());
        u16::try_from(lines.unwrap_or(0)).unwrap_or(u16::MAX)
    }

    /// Bytes of memory that one line of the virtual width takes.
    fn line_bytes(&self) -> u32 {
        let bits = match self.depth {
            15 => 16,
            depth => u32::from(depth),
        };
        u32::from(self.virtual_width) * bits / 8
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.enable & ENABLED != 0
    }

    pub(super) fn wants_wide_dac(&self) -> bool {
        self.enable & WIDE_DAC != 0
    }

    /// Where the 64 KiB window at A0000h begins in memory, in bytes.
    pub(super) fn bank_offset(&self) -> u32 {
        u32::from(self.bank) * BANK_BYTES
    }

    /// The mode, while one is enabled.
    pub(super) fn mode(&self) -> Option<LinearMode> {
        if !self.is_enabled() {
            return None;
        }
        let stride = usize::try_from(self.line_bytes()).ok()?;
        let (x, y) = (usize::from(self.x_offset), usize::from(self.y_offset));
        let dot_bits = if self.depth == 15 {
            16
        } else {
            usize::from(self.depth)
        };
        let (stride, start) = match self.depth {
            4 => (stride / 4, y * stride / 4 + x / 8),
            _ => (stride, y * stride + x * dot_bits / 8),
        };
        Some(LinearMode {
            width: usize::from(self.width),
            height: usize::from(self.height),
            depth: self.depth,
            stride,
            start,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enabled(width: u16, height: u16, depth: u16) -> (Dispi, Effect) {
        let mut dispi = Dispi::new(16 << 20);
        dispi.write(WIDTH, width);
        dispi.write(HEIGHT, height);
        dispi.write(DEPTH, depth);
        let effect = dispi.write(ENABLE, ENABLED | LINEAR);
        (dispi, effect)
    }

    #[test]
    fn enabling_a_mode_sets_its_line_length_and_asks_for_black() {
        let (dispi, effect) = enabled(1024, 768, 32);
        assert_eq!(effect, Effect::ChangedAndClear);
        let mode = dispi.mode().unwrap();
        assert_eq!((mode.width, mode.height, mode.stride), (1024, 768, 4096));
        assert_eq!(dispi.read(VIRTUAL_HEIGHT), 4096);
        assert_eq!(dispi.read(MEMORY), 256);
    }

    #[test]
    fn a_mode_without_dots_is_refused() {
        let (dispi, effect) = enabled(0, 768, 32);
        assert_eq!((effect, dispi.mode()), (Effect::None, None));
    }

    #[test]
    fn panning_stays_within_memory() {
        let (mut dispi, _) = enabled(1024, 768, 32);
        dispi.write(Y_OFFSET, 4096 - 768);
        assert_eq!(dispi.mode().unwrap().start, (4096 - 768) * 4096);
        dispi.write(Y_OFFSET, 4096 - 767);
        assert_eq!(dispi.read(Y_OFFSET), 4096 - 768);
        dispi.write(VIRTUAL_WIDTH, 0xffff);
        assert_eq!(dispi.read(VIRTUAL_WIDTH), 1024);
    }

    #[test]
    fn capabilities_show_the_limits_in_place_of_the_mode() {
        let (mut dispi, _) = enabled(640, 480, 8);
        dispi.write(ENABLE, ENABLED | GET_CAPABILITIES);
        assert_eq!(
            (dispi.read(WIDTH), dispi.read(HEIGHT)),
            (MAX_WIDTH, MAX_HEIGHT)
        );
        dispi.write(ENABLE, 0);
        assert_eq!(dispi.read(WIDTH), 640);
    }
}
