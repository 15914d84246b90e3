//! EFLAGS. The six arithmetic flags are lazy: instructions leave a result and a carry vector,
//! and a flag is derived when somebody asks, without knowing the operation.
//!
//! The carry vector of `x + y = r` has bit i set if bit i of the sum carried into bit i+1 (of
//! a difference: borrowed). It is kept twice in one word: shifted up, so that CF is bit 63 and
//! CF ^ OF is bit 62 at every width, and in place, so that AF is bit 3.
//! (Intel SDM volume 1, section 3.4.3.)

use serde::{Deserialize, Serialize};

use super::width::Width;

/// Carry.
pub const CF: u32 = 1 << 0;
/// Parity of the low byte.
pub const PF: u32 = 1 << 2;
/// Auxiliary (half) carry.
pub const AF: u32 = 1 << 4;
/// Zero.
pub const ZF: u32 = 1 << 6;
/// Sign.
pub const SF: u32 = 1 << 7;
/// Trap: single step.
pub const TF: u32 = 1 << 8;
/// Interrupt enable.
pub const IF: u32 = 1 << 9;
/// Direction of string instructions.
pub const DF: u32 = 1 << 10;
/// Overflow.
pub const OF: u32 = 1 << 11;
/// I/O privilege level, two bits.
pub const IOPL: u32 = 3 << 12;
/// Nested task.
pub const NT: u32 = 1 << 14;
/// Resume: no instruction breakpoint at the next instruction.
pub const RF: u32 = 1 << 16;
/// Virtual-8086 mode.
pub const VM: u32 = 1 << 17;
/// Alignment check, or access control under SMAP.
pub const AC: u32 = 1 << 18;
/// Virtual interrupt flag.
pub const VIF: u32 = 1 << 19;
/// Virtual interrupt pending.
pub const VIP: u32 = 1 << 20;
/// CPUID can be used.
pub const ID: u32 = 1 << 21;

/// The six that arithmetic sets.
pub const ARITHMETIC: u32 = CF | PF | AF | ZF | SF | OF;
const ALWAYS_ONE: u32 = 1 << 1;
const DEFINED: u32 = ARITHMETIC | TF | IF | DF | IOPL | NT | RF | VM | AC | VIF | VIP | ID;

const CARRY_BIT: u64 = 1 << 63;
const CARRY_XOR_OVERFLOW_BIT: u64 = 1 << 62;
const HALF_CARRY_BIT: u64 = 1 << 3;

/// EFLAGS, with lazy arithmetic flags.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[repr(C)]
pub struct Flags {
    /// ZF is set if this is zero.
    zero: u64,
    /// Bit 63 is SF; PF is the parity of bits 7..0.
    sign: u64,
    /// See the file's head.
    carry: u64,
    /// The other flags, in their places.
    rest: u32,
}

impl Default for Flags {
    fn default() -> Self {
        let mut flags = Self {
            zero: 0,
            sign: 0,
            carry: 0,
            rest: 0,
        };
        flags.set_bits(0);
        flags
    }
}

impl Flags {
    /// Leaves result `r` of an operation with carry vector `carries`.
    #[inline(always)]
    pub fn set_result<W: Width>(&mut self, r: W, carries: u64) {
        let r = r.sign_extend();
        self.zero = r;
        self.sign = r;
        self.carry = (carries << (64 - W::BITS)) | carries;
    }

    /// After `x + y (+ carry) = r`.
    #[inline(always)]
    pub fn set_add<W: Width>(&mut self, x: W, y: W, r: W) {
        let (a, b, c) = (x.zero_extend(), y.zero_extend(), r.zero_extend());
        self.set_result(r, (a & b) | ((a | b) & !c));
    }

    /// After `x - y (- borrow) = r`.
    #[inline(always)]
    pub fn set_sub<W: Width>(&mut self, x: W, y: W, r: W) {
        let (a, b, c) = (x.zero_extend(), y.zero_extend(), r.zero_extend());
        let borrows = (!a & b) | ((!a | b) & c);
        self.set_result(r, W::truncate(borrows).zero_extend());
    }

    /// After AND, OR, XOR or TEST with result `r`: CF, OF and AF are clear.
    #[inline(always)]
    pub fn set_logic<W: Width>(&mut self, r: W) {
        self.set_result(r, 0);
    }

    /// SF, ZF and PF from `r`, with CF and OF given and AF clear.
    #[inline(always)]
    pub fn set_result_cf_of<W: Width>(&mut self, r: W, cf: bool, of: bool) {
        let r = r.sign_extend();
        self.zero = r;
        self.sign = r;
        self.carry = carry_word(cf, of, false);
    }

    /// Carry.
    #[inline(always)]
    pub fn cf(&self) -> bool {
        self.carry & CARRY_BIT != 0
    }

    /// Overflow.
    #[inline(always)]
    pub fn of(&self) -> bool {
        (self.carry ^ (self.carry << 1)) & CARRY_BIT != 0
    }

    /// Auxiliary carry.
    #[inline(always)]
    pub fn af(&self) -> bool {
        self.carry & HALF_CARRY_BIT != 0
    }

    /// Zero.
    #[inline(always)]
    pub fn zf(&self) -> bool {
        self.zero == 0
    }

    /// Sign.
    #[inline(always)]
    pub fn sf(&self) -> bool {
        self.sign >> 63 != 0
    }

    /// Parity: set if the low byte of the result has an even number of ones.
    #[inline(always)]
    pub fn pf(&self) -> bool {
        (self.sign as u8).count_ones() & 1 == 0
    }

    /// SF differs from OF: "less" of signed comparison.
    #[inline(always)]
    pub fn less(&self) -> bool {
        (self.sign ^ self.carry ^ (self.carry << 1)) >> 63 != 0
    }

    /// After `x + 1 = r`, CF as it was.
    #[inline(always)]
    pub fn set_increment<W: Width>(&mut self, x: W, r: W) {
        let carry = self.cf();
        self.set_result(r, x.zero_extend() & !r.zero_extend());
        self.set_cf(carry);
    }

    /// After `x - 1 = r`, CF as it was.
    #[inline(always)]
    pub fn set_decrement<W: Width>(&mut self, x: W, r: W) {
        let carry = self.cf();
        self.set_result(r, !x.zero_extend() & r.zero_extend());
        self.set_cf(carry);
    }

    /// Replaces CF, keeping the other five: for OF both bits flip together.
    #[inline(always)]
    pub fn set_cf(&mut self, cf: bool) {
        let flip = (self.carry ^ u64::from(cf) << 63) & CARRY_BIT;
        self.carry ^= flip | flip >> 1;
    }

    /// Replaces OF, keeping the other five.
    pub fn set_of(&mut self, of: bool) {
        let cf = self.cf();
        let half = self.carry & !(CARRY_BIT | CARRY_XOR_OVERFLOW_BIT);
        self.carry = half | carry_word(cf, of, false);
    }

    /// Replaces those arithmetic flags that `mask` names by the bits of `value`.
    pub fn set_arithmetic(&mut self, value: u32, mask: u32) {
        let bits = (self.arithmetic() & !mask) | (value & mask);
        self.zero = u64::from(bits & ZF == 0);
        self.sign = (u64::from(bits & SF) << 56) | u64::from(bits & PF == 0);
        self.carry = carry_word(bits & CF != 0, bits & OF != 0, bits & AF != 0);
    }

    /// The six arithmetic flags, in their places.
    pub fn arithmetic(&self) -> u32 {
        let bit = |set: bool, mask: u32| if set { mask } else { 0 };
        bit(self.cf(), CF)
            | bit(self.pf(), PF)
            | bit(self.af(), AF)
            | bit(self.zf(), ZF)
            | bit(self.sf(), SF)
            | bit(self.of(), OF)
    }

    /// All of EFLAGS.
    pub fn bits(&self) -> u32 {
        self.arithmetic() | self.rest | ALWAYS_ONE
    }

    /// Replaces all of EFLAGS; undefined bits are ignored.
    pub fn set_bits(&mut self, value: u32) {
        self.set_arithmetic(value, ARITHMETIC);
        self.rest = value & DEFINED & !ARITHMETIC;
    }

    /// Whether one of the non-arithmetic flags in `mask` is set.
    #[inline(always)]
    pub fn has(&self, mask: u32) -> bool {
        self.rest & mask != 0
    }

    /// Sets or clears the non-arithmetic flags in `mask`.
    #[inline(always)]
    pub fn assign(&mut self, mask: u32, set: bool) {
        if set {
            self.rest |= mask & !ARITHMETIC;
        } else {
            self.rest &= !mask;
        }
    }

    /// The I/O privilege level, 0 to 3.
    pub fn iopl(&self) -> u8 {
        ((self.rest & IOPL) >> 12) as u8
    }

    /// The same flags in the one representation that [`Flags::set_bits`] leaves.
    pub fn canonical(&self) -> Self {
        let mut flags = self.clone();
        flags.set_bits(self.bits());
        flags
    }
}

#[inline(always)]
fn carry_word(cf: bool, of: bool, af: bool) -> u64 {
    (u64::from(cf) << 63) | (u64::from(cf ^ of) << 62) | (u64::from(af) << 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(x: u8, y: u8, carry: u8, add: bool) -> (u8, u32) {
        let wide = if add {
            i32::from(x) + i32::from(y) + i32::from(carry)
        } else {
            i32::from(x) - i32::from(y) - i32::from(carry)
        };
        let signed = if add {
            i32::from(x as i8) + i32::from(y as i8) + i32::from(carry)
        } else {
            i32::from(x as i8) - i32::from(y as i8) - i32::from(carry)
        };
        let low = if add {
            (x & 15) + (y & 15) + carry > 15
        } else {
            i32::from(x & 15) - i32::from(y & 15) - i32::from(carry) < 0
        };
        let r = wide as u8;
        let mut flags = 0;
        for (set, bit) in [
            (!(0..=255).contains(&wide), CF),
            (r.count_ones().is_multiple_of(2), PF),
            (low, AF),
            (r == 0, ZF),
            (r >= 128, SF),
            (!(-128..=127).contains(&signed), OF),
        ] {
            if set {
                flags |= bit;
            }
        }
        (r, flags)
    }

    #[test]
    fn every_byte_sum_and_difference_has_the_flags_of_the_manual() {
        for x in 0..=255u8 {
            for y in 0..=255u8 {
                for carry in 0..2 {
                    let mut flags = Flags::default();
                    let (r, expected) = reference(x, y, carry, true);
                    flags.set_add(x, y, r);
                    assert_eq!(flags.arithmetic(), expected, "{x} + {y} + {carry}");
                    let (r, expected) = reference(x, y, carry, false);
                    flags.set_sub(x, y, r);
                    assert_eq!(flags.arithmetic(), expected, "{x} - {y} - {carry}");
                    assert_eq!(flags.less(), flags.sf() != flags.of());
                }
            }
        }
    }

    #[test]
    fn steps_by_one_have_the_flags_of_the_manual_but_for_carry() {
        for x in 0..=255u8 {
            for carry in [0, CF] {
                let mut flags = Flags::default();
                flags.set_arithmetic(carry, CF);
                let (r, expected) = reference(x, 1, 0, true);
                flags.set_increment(x, r);
                assert_eq!(flags.arithmetic(), expected & !CF | carry, "{x} + 1");
                let (r, expected) = reference(x, 1, 0, false);
                flags.set_decrement(x, r);
                assert_eq!(flags.arithmetic(), expected & !CF | carry, "{x} - 1");
            }
        }
    }

    #[test]
    fn any_combination_of_flags_can_be_written_and_read_back() {
        for value in 0..1u32 << 22 {
            let value = value & DEFINED;
            if value & (TF | IF | DF | IOPL | NT) != 0 {
                continue;
            }
            let mut flags = Flags::default();
            flags.set_bits(value);
            assert_eq!(flags.bits(), value | ALWAYS_ONE);
        }
    }

    #[test]
    fn replacing_one_flag_keeps_the_others() {
        let mut flags = Flags::default();
        flags.set_bits(ARITHMETIC);
        flags.set_cf(false);
        assert_eq!(flags.arithmetic(), ARITHMETIC & !CF);
        flags.set_of(false);
        assert_eq!(flags.arithmetic(), ARITHMETIC & !CF & !OF);
        flags.set_arithmetic(CF, CF | ZF);
        assert_eq!(flags.arithmetic(), PF | AF | SF | CF);
    }
}
