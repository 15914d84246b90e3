//! What surrounds an arithmetic operation: rounding, masks and flags.
//!
//! [`Env`] is the part of FCW and FSW (x87) or of MXCSR (SSE) that arithmetic reads and raises.
//! Both units number the six exceptions alike, so one byte of flags and one byte of masks serve
//! both. Delivery of an unmasked exception (#MF, #XM) is the caller's work.
//! Intel SDM volume 1, sections 8.1.3 to 8.1.5 and 10.2.3.

/// The six floating-point exceptions, as bits of FSW, FCW and MXCSR (flag half).
pub mod exception {
    /// Invalid operation.
    pub const INVALID: u8 = 1 << 0;
    /// An operand is denormal.
    pub const DENORMAL: u8 = 1 << 1;
    /// A finite number was divided by zero.
    pub const ZERO_DIVIDE: u8 = 1 << 2;
    /// The rounded result is too large for its format.
    pub const OVERFLOW: u8 = 1 << 3;
    /// The rounded result is too small for its format.
    pub const UNDERFLOW: u8 = 1 << 4;
    /// The result is not exact.
    pub const PRECISION: u8 = 1 << 5;
    /// Those found by looking at the operands, before anything is computed.
    pub const BEFORE: u8 = INVALID | DENORMAL | ZERO_DIVIDE;
    /// All six.
    pub const ALL: u8 = 0x3f;
}

/// Rounding control, in the encoding of the RC fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest, ties to even.
    Nearest,
    /// Toward minus infinity.
    Down,
    /// Toward plus infinity.
    Up,
    /// Toward zero.
    Zero,
}

impl Rounding {
    /// Decodes the low two bits of `rc`.
    #[must_use]
    #[inline(always)]
    pub fn from_bits(rc: u32) -> Self {
        match rc & 3 {
            0 => Self::Nearest,
            1 => Self::Down,
            2 => Self::Up,
            _ => Self::Zero,
        }
    }

    /// Whether a magnitude is to be incremented, given whether its last kept bit is odd and the
    /// discarded part as a fraction of that bit's weight (in units of 2^-64).
    #[inline(always)]
    pub(crate) fn increments(self, sign: bool, odd: bool, fraction: u64) -> bool {
        const HALF: u64 = 1 << 63;
        // By far the most frequent comes first, ahead of a jump table.
        if self == Self::Nearest {
            return fraction > HALF || (fraction == HALF && odd);
        }
        match self {
            Self::Down => sign && fraction != 0,
            Self::Up => !sign && fraction != 0,
            Self::Nearest | Self::Zero => false,
        }
    }
}

/// Rounding, masks and mode bits of an operation, and what it raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Env {
    /// Rounding control.
    pub rounding: Rounding,
    /// Bits of the significand that x87 add, subtract, multiply, divide and square root keep:
    /// 24, 53 or 64. SSE formats ignore it.
    pub precision: u32,
    /// Masked exceptions, bits of [`exception`].
    pub masks: u8,
    /// SSE: denormal operands are zeros.
    pub daz: bool,
    /// SSE: tiny results are flushed to zero where underflow is masked.
    pub ftz: bool,
    /// Raised exceptions, bits of [`exception`]; operations only add to it.
    pub flags: u8,
    /// The last rounding incremented the magnitude (C1 of FSW).
    pub rounded_up: bool,
}

impl Env {
    /// Everything masked, extended precision, to the nearest.
    pub(crate) const PLAIN: Self = Self {
        rounding: Rounding::Nearest,
        precision: 64,
        masks: exception::ALL,
        daz: false,
        ftz: false,
        flags: 0,
        rounded_up: false,
    };

    /// The environment of an x87 instruction under control word `fcw`.
    #[must_use]
    #[inline(always)]
    pub fn x87(fcw: u16) -> Self {
        Self {
            rounding: Rounding::from_bits(u32::from(fcw) >> 10),
            precision: match (fcw >> 8) & 3 {
                0 => 24,
                2 => 53,
                // 01b is reserved; processors treat it as extended precision.
                _ => 64,
            },
            masks: (fcw & 0x3f) as u8,
            daz: false,
            ftz: false,
            flags: 0,
            rounded_up: false,
        }
    }

    /// The environment of an SSE instruction under `mxcsr`.
    #[must_use]
    #[inline(always)]
    pub fn sse(mxcsr: u32) -> Self {
        Self {
            rounding: Rounding::from_bits(mxcsr >> 13),
            precision: 64,
            masks: ((mxcsr >> 7) & 0x3f) as u8,
            daz: mxcsr & (1 << 6) != 0,
            ftz: mxcsr & (1 << 15) != 0,
            flags: 0,
            rounded_up: false,
        }
    }

    /// Raises `exceptions` (bits of [`exception`]).
    #[inline(always)]
    pub fn raise(&mut self, exceptions: u8) {
        self.flags |= exceptions;
    }

    /// Raised exceptions that are not masked. Where it is not 0, an SSE instruction delivers #XM
    /// and changes nothing; an x87 instruction whose unmasked exceptions are among
    /// [`exception::BEFORE`] leaves its destination.
    #[must_use]
    #[inline(always)]
    pub fn unmasked(&self) -> u8 {
        self.flags & !self.masks
    }

    /// Whether `exceptions` are masked, all of them.
    #[inline(always)]
    pub(crate) fn masks(&self, exceptions: u8) -> bool {
        self.masks & exceptions == exceptions
    }
}
