//! Random operands that favour the edges of their formats.

use cowbox::cpu::fpu::soft::Float80;

/// A xorshift generator.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }

    /// 64 bits in which long runs, few ones and few zeros are as likely as noise.
    fn pattern(&mut self) -> u64 {
        match self.below(7) {
            0 => self.next(),
            1 => 1 << self.below(64),
            2 => u64::MAX << self.below(64),
            3 => u64::MAX >> self.below(64),
            4 => (1 << self.below(64)) | (1 << self.below(64)),
            5 => self.next() << self.below(64),
            _ => 0,
        }
    }

    /// An exponent field for a format whose all-ones field is `top`.
    fn exponent(&mut self, top: u64) -> u64 {
        let middle = top / 2;
        match self.below(8) {
            0 => self.below(4),
            1 => top - self.below(4),
            2 => self.below(top + 1),
            3 => middle / 2 + self.below(8),
            4 => top - middle / 2 - self.below(8),
            _ => middle - 36 + self.below(72),
        }
    }

    pub(crate) fn float32(&mut self) -> u32 {
        let exponent = match self.below(3) {
            0 => self.below(256),
            _ => self.exponent(0xff),
        };
        let sign = self.below(2) << 31;
        (sign | exponent << 23 | self.pattern() >> 41) as u32
    }

    pub(crate) fn float64(&mut self) -> u64 {
        self.below(2) << 63 | self.exponent(0x7ff) << 52 | self.pattern() >> 12
    }

    /// Any 80-bit encoding, unsupported ones among them.
    pub(crate) fn float80(&mut self) -> Float80 {
        let exponent = self.exponent(0x7fff);
        let integer = match exponent {
            0 => self.below(2),
            _ => u64::from(self.below(40) != 0),
        };
        let significand = integer << 63 | self.pattern() >> 1;
        Float80::new((self.below(2) << 15 | exponent) as u16, significand)
    }

    /// A control word: all roundings and precisions; half of them mask everything.
    pub(crate) fn control_word(&mut self) -> u16 {
        let masks = if self.below(2) == 0 {
            0x3f
        } else {
            self.below(64)
        };
        let precision = [0, 2, 3][self.below(3) as usize];
        (masks | 0x40 | precision << 8 | self.below(4) << 10) as u16
    }
}
