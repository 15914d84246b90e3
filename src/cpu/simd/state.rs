//! The vector registers, MXCSR and XCR0. Intel SDM volume 1, sections 10.2.2, 10.2.3, 13.3 and
//! 14.1.1.

use serde::{Deserialize, Serialize};

/// The bits of MXCSR that exist (MXCSR_MASK of FXSAVE): DAZ is among them. Others raise #GP.
pub const MXCSR_MASK: u32 = 0xffff;

/// In XCR0: the operating system saves XMM and the high halves of YMM registers.
const SSE_AND_AVX: u64 = 6;

/// 128 bits of a vector register, the least significant byte first.
pub type Bytes = [u8; 16];

/// A clear register.
pub(super) const ZERO: Bytes = [0; 16];

/// The state of the SSE and AVX units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(C, align(16))]
pub struct Sse {
    /// XMM0 to XMM15, the low halves of YMM0 to YMM15.
    pub xmm: [Bytes; 16],
    /// The high halves of YMM0 to YMM15.
    pub ymm_high: [Bytes; 16],
    /// Control and status.
    pub mxcsr: u32,
    /// What XSAVE saves: bit 0 x87, 1 XMM, 2 the high halves of YMM.
    pub xcr0: u64,
}

impl Default for Sse {
    /// As after RESET: all exceptions masked, round to the nearest.
    fn default() -> Self {
        Self {
            xmm: [ZERO; 16],
            ymm_high: [ZERO; 16],
            mxcsr: 0x1f80,
            xcr0: 1,
        }
    }
}

impl Sse {
    /// XMM register `n`.
    #[inline(always)]
    pub fn get(&self, n: u8) -> Bytes {
        self.xmm[usize::from(n & 15)]
    }

    /// Sets XMM register `n`; the rest of the YMM register stays.
    #[inline(always)]
    pub fn set(&mut self, n: u8, value: Bytes) {
        self.xmm[usize::from(n & 15)] = value;
    }

    /// YMM register `n`, low half first.
    #[inline(always)]
    pub fn ymm(&self, n: u8) -> [Bytes; 2] {
        let n = usize::from(n & 15);
        [self.xmm[n], self.ymm_high[n]]
    }

    /// Sets YMM register `n`.
    #[inline(always)]
    pub fn set_ymm(&mut self, n: u8, [low, high]: [Bytes; 2]) {
        let n = usize::from(n & 15);
        self.xmm[n] = low;
        self.ymm_high[n] = high;
    }

    /// Whether XCR0 enables AVX.
    #[inline(always)]
    pub fn has_avx(&self) -> bool {
        self.xcr0 & SSE_AND_AVX == SSE_AND_AVX
    }
}
