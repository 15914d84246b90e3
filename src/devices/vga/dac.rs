//! The DAC: 256 colours of three 6-bit components (8-bit on request of the DISPI registers),
//! behind ports 3C6h to 3C9h. (IBM VGA XGA Technical Reference Manual, section 2-103.)

use serde::{Deserialize, Serialize};

/// Red, green and blue, 0 to 255 each.
pub type Rgb = [u8; 3];

/// What port 3C7h reads as after a write to 3C8h and to 3C7h.
const STATE_WRITE: u8 = 0;
const STATE_READ: u8 = 3;

/// The colour table and its access ports.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Dac {
    colours: Vec<Rgb>,
    mask: u8,
    state: u8,
    read_index: u8,
    write_index: u8,
    component: u8,
    latch: Rgb,
    /// Components have eight bits.
    wide: bool,
}

impl Default for Dac {
    fn default() -> Self {
        Self {
            colours: vec![[0; 3]; 256],
            mask: 0xff,
            state: STATE_WRITE,
            read_index: 0,
            write_index: 0,
            component: 0,
            latch: [0; 3],
            wide: false,
        }
    }
}

impl Dac {
    /// Reads port 3C6h to 3C9h.
    pub(super) fn read(&mut self, port: u16) -> u8 {
        match port {
            0x3c6 => self.mask,
            0x3c7 => self.state,
            0x3c8 => self.write_index,
            _ => self.read_component(),
        }
    }

    /// Writes port 3C6h to 3C9h.
    pub(super) fn write(&mut self, port: u16, value: u8) {
        match port {
            0x3c6 => self.mask = value,
            0x3c7 => {
                self.read_index = value;
                self.component = 0;
                self.state = STATE_READ;
            }
            0x3c8 => {
                self.write_index = value;
                self.component = 0;
                self.state = STATE_WRITE;
            }
            _ => self.write_component(value),
        }
    }

    /// Chooses between 6 and 8 bits a component; the colours that are stored stay as numbers.
    pub(super) fn set_wide(&mut self, wide: bool) {
        self.wide = wide;
    }

    fn read_component(&mut self) -> u8 {
        let colour = self.colours.get(usize::from(self.read_index));
        let component = usize::from(self.component);
        let value = colour.and_then(|c| c.get(component)).copied().unwrap_or(0);
        self.component += 1;
        if self.component == 3 {
            self.component = 0;
            self.read_index = self.read_index.wrapping_add(1);
        }
        value
    }

    fn write_component(&mut self, value: u8) {
        let value = if self.wide { value } else { value & 0x3f };
        if let Some(place) = self.latch.get_mut(usize::from(self.component)) {
            *place = value;
        }
        self.component += 1;
        if self.component == 3 {
            self.component = 0;
            if let Some(colour) = self.colours.get_mut(usize::from(self.write_index)) {
                *colour = self.latch;
            }
            self.write_index = self.write_index.wrapping_add(1);
        }
    }

    /// What the monitor shows of colour number `index`.
    pub(super) fn colour(&self, index: u8) -> Rgb {
        let stored = self.colours.get(usize::from(index & self.mask));
        let stored = stored.copied().unwrap_or([0; 3]);
        if self.wide {
            stored
        } else {
            stored.map(|c| c << 2 | c >> 4)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_writes_set_a_colour_and_the_index_moves_on() {
        let mut dac = Dac::default();
        dac.write(0x3c8, 7);
        for component in [63, 32, 0x40, 1, 2, 3] {
            dac.write(0x3c9, component);
        }
        assert_eq!(dac.colour(7), [255, 130, 0]);
        dac.write(0x3c7, 8);
        assert_eq!(
            (dac.read(0x3c9), dac.read(0x3c9), dac.read(0x3c9)),
            (1, 2, 3)
        );
        assert_eq!((dac.read(0x3c7), dac.read(0x3c8)), (STATE_READ, 9));
    }

    #[test]
    fn the_mask_selects_bits_of_the_colour_number() {
        let mut dac = Dac::default();
        dac.write(0x3c8, 1);
        for _ in 0..3 {
            dac.write(0x3c9, 63);
        }
        dac.write(0x3c6, 0x01);
        assert_eq!(dac.colour(0xff), [255; 3]);
    }
}
