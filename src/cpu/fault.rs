//! Exceptions, as instructions raise them (Intel SDM volume 3, chapter 6).
//!
//! A handler that cannot complete leaves the event in the CPU and returns [`Raised`], which
//! has no size: the common case costs one test. The run loop then delivers the event with the
//! instruction pointer of the instruction that raised it.

use serde::{Deserialize, Serialize};

/// An instruction did not complete; the CPU holds the [`Event`] that says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raised;

/// What an instruction returns.
pub type Exec<T = ()> = Result<T, Raised>;

/// #DE, divide error.
pub const DE: u8 = 0;
/// #DB, debug exception.
pub const DB: u8 = 1;
/// Non-maskable interrupt.
pub const NMI: u8 = 2;
/// #BP, breakpoint.
pub const BP: u8 = 3;
/// #OF, overflow (INTO).
pub const OF: u8 = 4;
/// #BR, bound range exceeded.
pub const BR: u8 = 5;
/// #UD, invalid opcode.
pub const UD: u8 = 6;
/// #NM, device not available.
pub const NM: u8 = 7;
/// #DF, double fault.
pub const DF: u8 = 8;
/// #TS, invalid TSS.
pub const TS: u8 = 10;
/// #NP, segment not present.
pub const NP: u8 = 11;
/// #SS, stack fault.
pub const SS: u8 = 12;
/// #GP, general protection.
pub const GP: u8 = 13;
/// #PF, page fault.
pub const PF: u8 = 14;
/// #MF, x87 floating-point error.
pub const MF: u8 = 16;
/// #AC, alignment check.
pub const AC: u8 = 17;
/// #MC, machine check.
pub const MC: u8 = 18;
/// #XM, SIMD floating-point error.
pub const XM: u8 = 19;

/// Why an instruction did not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// An exception, with its error code where the vector has one.
    Exception {
        /// The vector, 0 to 31.
        vector: u8,
        /// The error code that goes on the stack.
        error: Option<u32>,
    },
    /// The CPU shut down: a fault while delivering a double fault.
    Shutdown,
    /// An encoding that CPUID claims and that is not implemented. The run stops here.
    Unimplemented,
}

impl Event {
    /// An exception without an error code.
    pub const fn exception(vector: u8) -> Self {
        Self::Exception {
            vector,
            error: None,
        }
    }

    /// An exception with an error code.
    pub const fn with_code(vector: u8, error: u32) -> Self {
        Self::Exception {
            vector,
            error: Some(error),
        }
    }
}
