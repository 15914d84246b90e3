//! The x87 registers, and the MMX registers that alias them.
//!
//! ```text
//!   physical  R0 R1 R2 R3 R4 R5 R6 R7      tags: one bit each, set where a register is in use
//!                      ^ top
//!   stack              ST0 ST1 … (wraps)   MMX: MM0 is always R0, in the significand's 64 bits
//! ```
//!
//! The two-bit tags of FSTENV follow from the registers. Intel SDM volume 1, sections 8.1 and
//! 9.2.

use super::soft::{Class, Env, Float80, Format};
use serde::{Deserialize, Serialize};

/// Bits of the status word.
pub mod status {
    /// The six exception flags, as in [`super::super::soft::exception`].
    pub const EXCEPTIONS: u16 = 0x3f;
    /// Stack fault.
    pub const SF: u16 = 1 << 6;
    /// Error summary: an unmasked exception waits.
    pub const ES: u16 = 1 << 7;
    /// Condition code 0.
    pub const C0: u16 = 1 << 8;
    /// Condition code 1.
    pub const C1: u16 = 1 << 9;
    /// Condition code 2.
    pub const C2: u16 = 1 << 10;
    /// The number of the register that is ST(0), three bits.
    pub const TOP: u16 = 7 << 11;
    /// Condition code 3.
    pub const C3: u16 = 1 << 14;
    /// Busy: a copy of ES.
    pub const B: u16 = 1 << 15;
    /// What an unmasked exception sets.
    pub const PENDING: u16 = ES | B;
    /// All condition codes.
    pub const CONDITIONS: u16 = C0 | C1 | C2 | C3;
}

/// The control word after FNINIT: all exceptions masked, extended precision, to the nearest.
pub const CONTROL_INIT: u16 = 0x037f;

/// What the unit remembers of its last instruction that was not a control instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastInstruction {
    /// Offset of the instruction (FIP).
    pub ip: u64,
    /// Offset of its memory operand (FDP).
    pub data: u64,
    /// Its code segment's selector (FCS).
    pub cs: u16,
    /// Its operand's segment selector (FDS).
    pub ds: u16,
    /// Its opcode (FOP), 11 bits.
    pub opcode: u16,
}

/// The state of the x87 unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fpu {
    registers: [Float80; 8],
    control: u16,
    /// The status word without TOP.
    status: u16,
    top: u8,
    used: u8,
    /// The last instruction and its operand.
    pub last: LastInstruction,
}

impl Default for Fpu {
    /// As after RESET (Intel SDM volume 3, table 10-1).
    fn default() -> Self {
        Self {
            registers: [Float80::default(); 8],
            control: 0x0040,
            status: 0,
            top: 0,
            used: 0xff,
            last: LastInstruction::default(),
        }
    }
}

impl Fpu {
    /// FNINIT: the register contents stay, but are tagged empty.
    pub fn init(&mut self) {
        *self = Self {
            registers: self.registers,
            control: CONTROL_INIT,
            used: 0,
            ..Self::default()
        };
    }

    /// The physical register behind ST(i).
    #[inline(always)]
    fn physical(&self, i: u8) -> u8 {
        self.top.wrapping_add(i) & 7
    }

    /// ST(i), whether in use or not.
    #[inline(always)]
    pub fn st(&self, i: u8) -> Float80 {
        self.registers[usize::from(self.physical(i))]
    }

    /// Sets ST(i), which is then in use.
    #[inline(always)]
    pub fn set_st(&mut self, i: u8, value: Float80) {
        let physical = self.physical(i);
        self.registers[usize::from(physical)] = value;
        self.used |= 1 << physical;
    }

    /// Whether ST(i) is empty.
    #[inline(always)]
    pub fn is_empty(&self, i: u8) -> bool {
        self.used >> self.physical(i) & 1 == 0
    }

    /// Tags ST(i) empty.
    #[inline(always)]
    pub fn free(&mut self, i: u8) {
        self.used &= !(1 << self.physical(i));
    }

    /// Moves TOP by `step`, modulo 8: 1 after a pop, 7 before a push.
    #[inline(always)]
    pub fn rotate(&mut self, step: u8) {
        self.top = self.physical(step);
    }

    /// Pushes `value`, whatever the place held.
    #[inline(always)]
    pub fn push(&mut self, value: Float80) {
        self.rotate(7);
        self.set_st(0, value);
    }

    /// Empties ST(0) and pops.
    #[inline(always)]
    pub fn pop(&mut self) {
        self.free(0);
        self.rotate(1);
    }

    /// The control word.
    #[inline(always)]
    pub fn control(&self) -> u16 {
        self.control
    }

    /// Loads the control word; bits 6 (always set) and 7, 13 to 15 (always clear) are fixed.
    /// ES follows the new masks.
    pub fn set_control(&mut self, value: u16) {
        self.control = value & 0x1f3f | 0x40;
        self.summarise();
    }

    /// The status word.
    #[inline(always)]
    pub fn status(&self) -> u16 {
        self.status | u16::from(self.top) << 11
    }

    /// Loads the status word; ES and B follow from flags and masks.
    pub fn set_status(&mut self, value: u16) {
        self.top = (value >> 11 & 7) as u8;
        self.status = value & !status::TOP;
        self.summarise();
    }

    /// FNCLEX: clears the exception flags, SF, ES and B.
    pub fn clear_exceptions(&mut self) {
        self.status &= status::CONDITIONS;
    }

    /// Whether an unmasked exception waits for the next waiting instruction.
    #[inline(always)]
    pub fn has_pending(&self) -> bool {
        self.status & status::ES != 0
    }

    /// Sets ES and B to what flags and masks say.
    #[inline(always)]
    pub fn summarise(&mut self) {
        self.status &= !status::PENDING;
        if self.status & !self.control & status::EXCEPTIONS != 0 {
            self.status |= status::PENDING;
        }
    }

    /// Replaces the condition codes in `mask`.
    #[inline(always)]
    pub fn set_conditions(&mut self, mask: u16, value: u16) {
        self.status = self.status & !mask | value & mask;
    }

    /// Adds what was raised to the status word, and sets C1.
    #[inline(always)]
    pub fn raise(&mut self, flags: u16, c1: bool) {
        self.status = (self.status | flags) & !status::C1 | u16::from(c1) << 9;
    }

    /// The environment for arithmetic.
    #[inline(always)]
    pub fn env(&self) -> Env {
        Env::x87(self.control)
    }

    /// The environment if it rounds as nearly always, to the nearest and to extended precision:
    /// so the compiler knows.
    #[inline(always)]
    pub fn plain_env(&self) -> Option<Env> {
        let is_plain = self.control & 0x0f00 == 0x0300;
        is_plain.then_some(Env {
            masks: (self.control & status::EXCEPTIONS) as u8,
            ..Env::PLAIN
        })
    }

    /// The abridged tag word of FXSAVE: a bit for each physical register in use.
    pub fn used(&self) -> u8 {
        self.used
    }

    /// Loads the abridged tag word.
    pub fn set_used(&mut self, used: u8) {
        self.used = used;
    }

    /// The full tag word: two bits a physical register (Intel SDM volume 1, section 8.1.7).
    pub fn tag_word(&self) -> u16 {
        (0..8u8).rev().fold(0, |word, n| {
            let register = self.registers[usize::from(n)];
            let tag = if self.used >> n & 1 == 0 {
                3
            } else {
                content_tag(register)
            };
            word << 2 | tag
        })
    }

    /// Loads the full tag word, of which only "empty" counts.
    pub fn set_tag_word(&mut self, word: u16) {
        self.used = (0..8).fold(0, |used, n| used | u8::from(word >> (2 * n) & 3 != 3) << n);
    }

    /// MMX register `n`.
    #[inline(always)]
    pub fn mmx(&self, n: u8) -> u64 {
        self.registers[usize::from(n & 7)].significand
    }

    /// Sets MMX register `n`; sign and exponent of the x87 register become all ones.
    #[inline(always)]
    pub fn set_mmx(&mut self, n: u8, value: u64) {
        self.registers[usize::from(n & 7)] = Float80::new(0xffff, value);
    }

    /// What every MMX instruction but EMMS does to the unit: TOP is 0, all registers in use.
    #[inline(always)]
    pub fn enter_mmx(&mut self) {
        self.top = 0;
        self.used = 0xff;
    }

    /// EMMS: all registers empty.
    pub fn leave_mmx(&mut self) {
        self.top = 0;
        self.used = 0;
    }
}

/// 0 valid, 1 zero, 2 special: anything that is not a normal number.
fn content_tag(value: Float80) -> u16 {
    let unpacked = value.unpack(&Env::x87(CONTROL_INIT));
    match unpacked.class {
        Class::Zero => 1,
        Class::Finite if !unpacked.denormal => 0,
        _ => 2,
    }
}
