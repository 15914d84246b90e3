//! A small seeded generator (xorshift64*), with a taste for edge cases.

/// The generator.
pub(crate) struct Random(u64);

/// Single-precision numbers at the edges of the format, without the sign.
const SINGLES: [u32; 12] = [
    0,
    1,
    0x7f_ffff,
    0x80_0000,
    0x3f80_0000,
    0x7f7f_ffff,
    0x7f80_0000,
    0x7f80_0001,
    0x7fc0_0000,
    0x7fff_ffff,
    0x4b00_0001,
    0x4f00_0000,
];

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 16) % bound
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// A number that is an edge case half of the time.
    pub(crate) fn value(&mut self) -> u64 {
        const EDGES: [u64; 12] = [
            0,
            1,
            2,
            0x7f,
            0x80,
            0xff,
            0x7fff,
            0x8000,
            0x7fff_ffff,
            0x8000_0000,
            0x7fff_ffff_ffff_ffff,
            0x8000_0000_0000_0000,
        ];
        match self.below(4) {
            0 => self.pick(&EDGES),
            1 => self.pick(&EDGES).wrapping_neg(),
            _ => self.next(),
        }
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

    /// An exponent field of a format whose all-ones field is `top`.
    fn exponent(&mut self, top: u64) -> u64 {
        let middle = top / 2;
        match self.below(16) {
            0 => self.below(4),
            1 => top - self.below(4),
            2 => self.below(top + 1),
            3 => middle / 2 + self.below(8),
            4 => top - middle / 2 - self.below(8),
            _ => middle - 36 + self.below(72),
        }
    }

    pub(crate) fn float32(&mut self) -> u32 {
        let magnitude = match self.below(4) {
            0 => self.pick(&SINGLES),
            1 => (self.exponent(0xff) << 23 | self.pattern() >> 41) as u32,
            _ => (self.next() as u32 & 0x7fff_ffff) % 0x1000_0000 + 0x3800_0000,
        };
        magnitude & 0x7fff_ffff | (self.next() as u32) << 31
    }

    pub(crate) fn float64(&mut self) -> u64 {
        let fraction = match self.below(3) {
            0 => self.pattern(),
            _ => self.next(),
        };
        self.next() << 63 | self.exponent(0x7ff) << 52 | fraction >> 12
    }

    /// Any 80-bit encoding, unsupported ones among them, as sign and exponent, and significand.
    pub(crate) fn float80(&mut self) -> (u16, u64) {
        let exponent = self.exponent(0x7fff);
        let integer = match exponent {
            0 => self.below(2),
            _ => u64::from(!self.one_in(40)),
        };
        let sign_exponent = self.below(2) << 15 | exponent;
        (sign_exponent as u16, integer << 63 | self.pattern() >> 1)
    }

    /// A control word of the x87: all roundings and precisions; most mask everything.
    pub(crate) fn control_word(&mut self) -> u16 {
        let masks = match self.below(4) {
            0 => self.below(64),
            _ => 0x3f,
        };
        let precision = self.pick(&[0, 2, 3, 3]);
        (masks | 0x40 | precision << 8 | self.below(4) << 10) as u16
    }

    /// 128 bits: quadwords, or singles or doubles among which the special ones are frequent.
    pub(crate) fn vector(&mut self) -> [u8; 16] {
        let kind = self.below(3);
        let mut half = || match kind {
            0 => self.value(),
            1 => self.float64(),
            _ => u64::from(self.float32()) | u64::from(self.float32()) << 32,
        };
        (u128::from(half()) << 64 | u128::from(half())).to_le_bytes()
    }
}
