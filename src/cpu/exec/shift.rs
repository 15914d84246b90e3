//! Shifts and rotates: SHL SHR SAR ROL ROR RCL RCR SHLD SHRD (Intel SDM volume 1, section
//! 7.3.6).
//!
//! Counts are cut to 5 bits, or 6 for 64-bit operands. A count of zero changes no flag. Where
//! the manual leaves OF undefined (counts above 1), it is what processors give: the value that
//! the formula for a count of 1 yields on the last step.

use iced_x86::{Instruction, Mnemonic};

use super::form::{Cl, Dst, Imm, Kind, Mem, One, Source, Target, bits, kind};
use super::{Handler, run};
use crate::cpu::decode::Op;
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec};

/// The shifts and rotates with one operand and a count.
pub(super) trait Shift {
    /// Whether the bits go round: counts past the width have an effect.
    const ROTATES: bool;
    /// Shifts `x` by `count`, which is not zero, and leaves the flags.
    fn shift<W: Width>(core: &mut Core<'_>, x: W, count: u32) -> W;
}

fn top<W: Width>(value: u64) -> bool {
    value >> (W::BITS - 1) & 1 != 0
}

pub(super) struct Shl;
pub(super) struct Shr;
pub(super) struct Sar;
pub(super) struct Rol;
pub(super) struct Ror;
pub(super) struct Rcl;
pub(super) struct Rcr;

impl Shift for Shl {
    const ROTATES: bool = false;

    #[inline(always)]
    fn shift<W: Width>(core: &mut Core<'_>, x: W, count: u32) -> W {
        // Counts past the width only happen at 8 and 16 bits, where 128 bits hold them.
        let wide = u128::from(x.zero_extend()) << count;
        let r = W::truncate(wide as u64);
        let cf = wide >> W::BITS & 1 != 0;
        let of = top::<W>(r.zero_extend()) != cf;
        core.cpu.flags.set_result_cf_of(r, cf, of);
        r
    }
}

impl Shift for Shr {
    const ROTATES: bool = false;

    #[inline(always)]
    fn shift<W: Width>(core: &mut Core<'_>, x: W, count: u32) -> W {
        let value = x.zero_extend();
        let before = value >> (count - 1);
        let r = W::truncate(before >> 1);
        let of = top::<W>(before);
        core.cpu.flags.set_result_cf_of(r, before & 1 != 0, of);
        r
    }
}

impl Shift for Sar {
    const ROTATES: bool = false;

    #[inline(always)]
    fn shift<W: Width>(core: &mut Core<'_>, x: W, count: u32) -> W {
        let before = x.sign_extend() as i64 >> (count - 1).min(63);
        let r = W::truncate((before >> 1) as u64);
        core.cpu.flags.set_result_cf_of(r, before & 1 != 0, false);
        r
    }
}

/// Rotates change CF and OF alone.
fn set_rotated(core: &mut Core<'_>, cf: bool, of: bool) {
    core.cpu.flags.set_cf(cf);
    core.cpu.flags.set_of(of);
}

fn rotate_left<W: Width>(value: u64, count: u32) -> u64 {
    let count = count % W::BITS;
    if count == 0 {
        return value;
    }
    W::truncate(value << count | value >> (W::BITS - count)).zero_extend()
}

impl Shift for Rol {
    const ROTATES: bool = true;

    #[inline(always)]
    fn shift<W: Width>(core: &mut Core<'_>, x: W, count: u32) -> W {
        let r = rotate_left::<W>(x.zero_extend(), count);
        let cf = r & 1 != 0;
        set_rotated(core, cf, top::<W>(r) != cf);
        W::truncate(r)
    }
}

impl Shift for Ror {
    const ROTATES: bool = true;

    #[inline(always)]
    fn shift<W: Width>(core: &mut Core<'_>, x: W, count: u32) -> W {
        let r = rotate_left::<W>(x.zero_extend(), W::BITS - count % W::BITS);
        let cf = top::<W>(r);
        set_rotated(core, cf, cf != top::<W>(r << 1));
        W::truncate(r)
    }
}

/// Rotates the `BITS + 1` bits of CF and `x` left by `count`; the result and the new CF.
fn rotate_through_carry<W: Width>(x: u64, carry: bool, count: u32) -> (u64, bool) {
    let bits = W::BITS + 1;
    let value = u128::from(carry) << W::BITS | u128::from(x);
    let rotated = value << count | value >> (bits - count);
    let r = W::truncate(rotated as u64).zero_extend();
    (r, rotated >> W::BITS & 1 != 0)
}

impl Shift for Rcl {
    const ROTATES: bool = true;

    fn shift<W: Width>(core: &mut Core<'_>, x: W, count: u32) -> W {
        let carry = core.cpu.flags.cf();
        let count = count % (W::BITS + 1);
        if count == 0 {
            // All the way round: as a count of zero, no flag changes.
            return x;
        }
        let (r, cf) = rotate_through_carry::<W>(x.zero_extend(), carry, count);
        set_rotated(core, cf, top::<W>(r) != cf);
        W::truncate(r)
    }
}

impl Shift for Rcr {
    const ROTATES: bool = true;

    fn shift<W: Width>(core: &mut Core<'_>, x: W, count: u32) -> W {
        let carry = core.cpu.flags.cf();
        let count = count % (W::BITS + 1);
        if count == 0 {
            return x;
        }
        let left = W::BITS + 1 - count;
        let (r, cf) = rotate_through_carry::<W>(x.zero_extend(), carry, left);
        set_rotated(core, cf, top::<W>(r) != top::<W>(r << 1));
        W::truncate(r)
    }
}

fn shift<W: Width, D: Target, N: Source, S: Shift>(core: &mut Core<'_>, op: &Op) -> Exec {
    let (place, x) = D::open::<Core<'_>, W>(core, op)?;
    let count = u32::from(N::read::<Core<'_>, u8>(core, op)?);
    let count = count & if W::BITS == 64 { 63 } else { 31 };
    let r = if count == 0 {
        x
    } else {
        S::shift(core, x, count)
    };
    D::commit(core, op, place, r);
    Ok(())
}

/// SHLD: bits come in from the right out of `y`.
fn shift_left_double<W: Width>(core: &mut Core<'_>, x: W, y: W, count: u32) -> W {
    // Counts past 16 for 16-bit operands: processors rotate the source in once more.
    let low = u128::from(y.zero_extend());
    let high = u128::from(x.zero_extend());
    let (wide, shift) = match W::BITS {
        16 => (high << 32 | low << 16 | high, 32 - count),
        n => (high << n | low, n - count),
    };
    let r = W::truncate((wide >> shift) as u64);
    let cf = wide >> (shift + W::BITS) & 1 != 0;
    let of = top::<W>(r.zero_extend()) != cf;
    core.cpu.flags.set_result_cf_of(r, cf, of);
    r
}

/// SHRD: bits come in from the left out of `y`.
fn shift_right_double<W: Width>(core: &mut Core<'_>, x: W, y: W, count: u32) -> W {
    let low = u128::from(x.zero_extend());
    let high = u128::from(y.zero_extend());
    let wide = match W::BITS {
        16 => low << 32 | high << 16 | low,
        n => high << n | low,
    };
    let r = W::truncate((wide >> count) as u64);
    let cf = wide >> (count - 1) & 1 != 0;
    let of = top::<W>(r.zero_extend() ^ r.zero_extend() << 1);
    core.cpu.flags.set_result_cf_of(r, cf, of);
    r
}

fn double<W: Width, D: Target>(core: &mut Core<'_>, op: &Op) -> Exec {
    let (place, x) = D::open::<Core<'_>, W>(core, op)?;
    let y: W = core.cpu.regs.read(op.src);
    let by_cl = matches!(kind_of_count(op), Kind::Reg);
    let count = if by_cl {
        u32::from(core.cpu.regs.read::<u8>(crate::cpu::regs::RCX))
    } else {
        op.immediate as u32
    };
    let count = count & if W::BITS == 64 { 63 } else { 31 };
    let r = match (count, op.code().mnemonic()) {
        (0, _) => x,
        (_, Mnemonic::Shld) => shift_left_double(core, x, y, count),
        _ => shift_right_double(core, x, y, count),
    };
    D::commit(core, op, place, r);
    Ok(())
}

/// Whether SHLD or SHRD takes its count from CL.
fn kind_of_count(op: &Op) -> Kind {
    use iced_x86::Code::*;
    match op.code() {
        Shld_rm16_r16_CL | Shld_rm32_r32_CL | Shld_rm64_r64_CL | Shrd_rm16_r16_CL
        | Shrd_rm32_r32_CL | Shrd_rm64_r64_CL => Kind::Reg,
        _ => Kind::Imm,
    }
}

fn shift_handler<S: Shift>(instruction: &Instruction) -> Option<Handler> {
    use iced_x86::OpKind;
    macro_rules! by_operands {
        ($target:ty, $count:ty) => {
            match bits(instruction, 0) {
                8 => run!(shift::<u8, $target, $count, S>),
                16 => run!(shift::<u16, $target, $count, S>),
                32 => run!(shift::<u32, $target, $count, S>),
                _ => run!(shift::<u64, $target, $count, S>),
            }
        };
    }
    let by_one = instruction.op_kind(1) == OpKind::Immediate8 && instruction.immediate8() == 1;
    let handler: Handler = match (kind(instruction, 0), kind(instruction, 1)) {
        (Kind::Reg, Kind::Reg) => by_operands!(Dst, Cl),
        (Kind::Reg, _) if by_one => by_operands!(Dst, One),
        (Kind::Reg, _) => by_operands!(Dst, Imm),
        (_, Kind::Reg) => by_operands!(Mem, Cl),
        (_, _) if by_one => by_operands!(Mem, One),
        (_, _) => by_operands!(Mem, Imm),
    };
    Some(handler)
}

fn double_handler(instruction: &Instruction) -> Option<Handler> {
    let handler: Handler = match (kind(instruction, 0), bits(instruction, 0)) {
        (Kind::Reg, 16) => run!(double::<u16, Dst>),
        (Kind::Reg, 32) => run!(double::<u32, Dst>),
        (Kind::Reg, _) => run!(double::<u64, Dst>),
        (_, 16) => run!(double::<u16, Mem>),
        (_, 32) => run!(double::<u32, Mem>),
        (_, _) => run!(double::<u64, Mem>),
    };
    Some(handler)
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    match instruction.mnemonic() {
        Mnemonic::Shl | Mnemonic::Sal => shift_handler::<Shl>(instruction),
        Mnemonic::Shr => shift_handler::<Shr>(instruction),
        Mnemonic::Sar => shift_handler::<Sar>(instruction),
        Mnemonic::Rol => shift_handler::<Rol>(instruction),
        Mnemonic::Ror => shift_handler::<Ror>(instruction),
        Mnemonic::Rcl => shift_handler::<Rcl>(instruction),
        Mnemonic::Rcr => shift_handler::<Rcr>(instruction),
        Mnemonic::Shld | Mnemonic::Shrd => double_handler(instruction),
        _ => None,
    }
}
