//! The unit's environment in memory, in its four layouts (FSTENV, FSAVE).
//!
//! Intel SDM volume 1, figures 8-9 to 8-12:
//!
//! ```text
//!              32 bits                              16 bits
//!              protected          real              protected   real
//!   word 0     control            control           control     control
//!   word 1     status             status            status      status
//!   word 2     tag                tag               tag         tag
//!   word 3     FIP                FIP 15..0         FIP         FIP 15..0
//!   word 4     FOP << 16 | FCS    FIP 31..16, FOP   FCS         FIP 19..16, FOP
//!   word 5     FDP                FDP 15..0         FDP         FDP 15..0
//!   word 6     FDS                FDP 31..16        FDS         FDP 19..16
//! ```
//!
//! The unused upper halves of the 32-bit layouts read as ones, as processors leave them.

use super::state::{Fpu, LastInstruction};

/// A layout: operand size, and protected mode or real and virtual-8086 mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    Real16,
    Protected16,
    Real32,
    Protected32,
}

/// Control, status and tag words, and the last instruction.
pub(super) struct Environment {
    control: u16,
    status: u16,
    tags: u16,
    last: LastInstruction,
}

/// Ones in the upper half of a 32-bit word.
const HIGH: u32 = 0xffff_0000;

impl Environment {
    /// The environment of `fpu`.
    pub(super) fn of(fpu: &Fpu) -> Self {
        Self {
            control: fpu.control(),
            status: fpu.status(),
            tags: fpu.tag_word(),
            last: fpu.last,
        }
    }

    /// Loads it.
    pub(super) fn load_into(&self, fpu: &mut Fpu) {
        fpu.set_control(self.control);
        fpu.set_status(self.status);
        fpu.set_tag_word(self.tags);
        fpu.last = self.last;
    }

    /// Writes it to `image`: 14 or 28 bytes.
    pub(super) fn write(&self, layout: Layout, image: &mut [u8]) {
        let words = self.words(layout);
        match layout {
            Layout::Real16 | Layout::Protected16 => {
                for (place, word) in image.chunks_exact_mut(2).zip(words) {
                    place.copy_from_slice(&(word as u16).to_le_bytes());
                }
            }
            Layout::Real32 | Layout::Protected32 => {
                for (place, word) in image.chunks_exact_mut(4).zip(words) {
                    place.copy_from_slice(&word.to_le_bytes());
                }
            }
        }
    }

    fn words(&self, layout: Layout) -> [u32; 7] {
        let last = &self.last;
        // Real mode knows linear addresses.
        let ip = (u32::from(last.cs) << 4).wrapping_add(last.ip as u32);
        let data = (u32::from(last.ds) << 4).wrapping_add(last.data as u32);
        let opcode = u32::from(last.opcode & 0x7ff);
        let pointers = match layout {
            Layout::Real16 => [ip, ip >> 4 & 0xf000 | opcode, data, data >> 4 & 0xf000],
            Layout::Protected16 => [
                last.ip as u32,
                last.cs.into(),
                last.data as u32,
                last.ds.into(),
            ],
            Layout::Real32 => [
                ip | HIGH,
                (ip & HIGH) >> 4 | opcode,
                data | HIGH,
                (data & HIGH) >> 4,
            ],
            Layout::Protected32 => [
                last.ip as u32,
                opcode << 16 | u32::from(last.cs),
                last.data as u32,
                HIGH | u32::from(last.ds),
            ],
        };
        let [a, b, c, d] = pointers;
        let plain = [self.control, self.status, self.tags].map(|word| HIGH | u32::from(word));
        [plain[0], plain[1], plain[2], a, b, c, d]
    }

    /// Reads it from `image`: 14 or 28 bytes.
    pub(super) fn read(layout: Layout, image: &[u8]) -> Self {
        let mut words = [0u32; 7];
        let size = image.len() / 7;
        for (word, place) in words.iter_mut().zip(image.chunks_exact(size)) {
            let bytes = place.iter().rev();
            *word = bytes.fold(0, |value, &byte| value << 8 | u32::from(byte));
        }
        let [control, status, tags, a, b, c, d] = words;
        let last = match layout {
            Layout::Real16 | Layout::Real32 => {
                let high = if layout == Layout::Real16 {
                    0xf000
                } else {
                    HIGH >> 4
                };
                LastInstruction {
                    ip: u64::from(a & 0xffff | (b & high) << 4),
                    data: u64::from(c & 0xffff | (d & high) << 4),
                    cs: 0,
                    ds: 0,
                    opcode: (b & 0x7ff) as u16,
                }
            }
            Layout::Protected16 | Layout::Protected32 => LastInstruction {
                ip: a.into(),
                data: c.into(),
                cs: b as u16,
                ds: d as u16,
                opcode: (b >> 16 & 0x7ff) as u16,
            },
        };
        Self {
            control: control as u16,
            status: status as u16,
            tags: tags as u16,
            last,
        }
    }
}
