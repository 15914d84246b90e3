//! The XMM registers and MXCSR. Intel SDM volume 1, sections 10.2.2 and 10.2.3.

use serde::{Deserialize, Serialize};

/// The bits of MXCSR that exist (MXCSR_MASK of FXSAVE): DAZ is among them. Others raise #GP.
pub const MXCSR_MASK: u32 = 0xffff;

/// The state of the SSE unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sse {
    /// XMM0 to XMM15; bits 31..0 are the first single.
    pub xmm: [u128; 16],
    /// Control and status.
    pub mxcsr: u32,
}

impl Default for Sse {
    /// As after RESET: all exceptions masked, round to the nearest.
    fn default() -> Self {
        Self {
            xmm: [0; 16],
            mxcsr: 0x1f80,
        }
    }
}

impl Sse {
    /// Register `n`.
    #[inline(always)]
    pub fn get(&self, n: u8) -> u128 {
        self.xmm[usize::from(n & 15)]
    }

    /// Sets register `n`.
    #[inline(always)]
    pub fn set(&mut self, n: u8, value: u128) {
        self.xmm[usize::from(n & 15)] = value;
    }

    /// Sets the low 64 bits of register `n`; the others stay.
    #[inline(always)]
    pub fn set_low64(&mut self, n: u8, value: u64) {
        let register = &mut self.xmm[usize::from(n & 15)];
        *register = *register >> 64 << 64 | u128::from(value);
    }

    /// Sets the low 32 bits of register `n`; the others stay.
    #[inline(always)]
    pub fn set_low32(&mut self, n: u8, value: u32) {
        let register = &mut self.xmm[usize::from(n & 15)];
        *register = *register >> 32 << 32 | u128::from(value);
    }
}
