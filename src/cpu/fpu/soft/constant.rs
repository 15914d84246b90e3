//! The constants of FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2 and FLDZ.
//!
//! Each irrational one is kept with 128 bits and rounded as the control word says, without
//! raising PE. Intel SDM volume 1, section 8.3.8.

use super::env::Env;
use super::format::Float80;
use super::round::{Exact, round_to};

/// A constant that the x87 can load, in the order of opcodes D9 E8 to D9 EE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constant {
    /// 1.
    One,
    /// log2(10).
    Log2Of10,
    /// log2(e).
    Log2OfE,
    /// Pi.
    Pi,
    /// log10(2).
    Log10Of2,
    /// ln(2).
    LnOf2,
    /// Plus zero.
    Zero,
}

impl Constant {
    /// Its value under the rounding of `env`.
    #[must_use]
    pub fn load(self, env: &Env) -> Float80 {
        let (exp, sig) = match self {
            Self::One => return Float80::new(0x3fff, 1 << 63),
            Self::Zero => return Float80::new(0, 0),
            Self::Log2Of10 => (1, 0xd49a_784b_cd1b_8afe_492b_f6ff_4daf_db4c),
            Self::Log2OfE => (0, super::wide::LOG2_E),
            Self::Pi => (1, super::wide::PI),
            Self::Log10Of2 => (-2, 0x9a20_9a84_fbcf_f798_8f89_59ac_0b7c_9178),
            Self::LnOf2 => (-1, super::wide::LN_2),
        };
        round_to(
            &mut env.clone(),
            Exact {
                sign: false,
                exp,
                sig,
            },
            64,
        )
    }
}
