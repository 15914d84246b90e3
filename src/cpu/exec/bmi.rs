//! BMI1 and BMI2: ANDN BEXTR BLSI BLSMSK BLSR BZHI MULX PDEP PEXT RORX SARX SHLX SHRX (Intel SDM
//! volume 1, sections 7.3.16 and 7.3.17; volume 2 for each).
//!
//! All but TZCNT (with BSF, in `bits.rs`) have a VEX prefix: they do not exist in real and
//! virtual-8086 mode, and take a third operand, which stands in the prefix. Of the flags that are
//! undefined PF follows the result and AF is clear.

use iced_x86::{Instruction, Mnemonic};

use super::form::{Extra, Imm, Kind, Mem, Source, Src, bits, kind};
use super::{Handler, run};
use crate::cpu::decode::Op;
use crate::cpu::regs::RDX;
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec};

/// ANDN: `S` and the complement of the register before it.
fn andn<W: Width, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_protected()?;
    let y = S::read::<Core<'_>, W>(core, op)?;
    let x: W = core.cpu.regs.read(op.extra);
    let result = W::truncate(!x.zero_extend() & y.zero_extend());
    core.cpu.regs.write(op.dst, result);
    core.cpu.flags.set_logic(result);
    Ok(())
}

/// BEXTR: as many bits as bits 15..8 of the register say, from the one that bits 7..0 name.
fn bextr<W: Width, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_protected()?;
    let value = S::read::<Core<'_>, W>(core, op)?.zero_extend();
    let control = core.cpu.regs.get(op.extra);
    let (start, count) = (control as u8, (control >> 8) as u8);
    let from_start = value.checked_shr(start.into()).unwrap_or(0);
    let result = W::truncate(low_bits(from_start, count));
    core.cpu.regs.write(op.dst, result);
    core.cpu.flags.set_logic(result);
    Ok(())
}

/// The lowest `count` bits of `value`.
fn low_bits(value: u64, count: u8) -> u64 {
    match 1u64.checked_shl(count.into()) {
        Some(end) => value & (end - 1),
        None => value,
    }
}

/// BZHI: the bits below the one that bits 7..0 of the register name; CF says that there is none such.
fn bzhi<W: Width, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_protected()?;
    let value = S::read::<Core<'_>, W>(core, op)?.zero_extend();
    let count = core.cpu.regs.get(op.extra) as u8;
    let result = W::truncate(low_bits(value, count));
    core.cpu.regs.write(op.dst, result);
    let past = u32::from(count) >= W::BITS;
    core.cpu.flags.set_result_cf_of(result, past, false);
    Ok(())
}

/// BLSI, BLSMSK and BLSR: the lowest set bit, all up to it, all but it.
fn lowest_set<W: Width, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_protected()?;
    let value = S::read::<Core<'_>, W>(core, op)?.zero_extend();
    let (result, cf) = match op.code().mnemonic() {
        Mnemonic::Blsi => (value & value.wrapping_neg(), value != 0),
        Mnemonic::Blsmsk => (value ^ value.wrapping_sub(1), value == 0),
        _ => (value & value.wrapping_sub(1), value == 0),
    };
    let result = W::truncate(result);
    core.cpu.regs.write(op.dst, result);
    core.cpu.flags.set_result_cf_of(result, cf, false);
    Ok(())
}

/// MULX: RDX times `S`; the low half goes to the second register, then the high half to the
/// first.
fn mulx<W: Width, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_protected()?;
    let y = S::read::<Core<'_>, W>(core, op)?.zero_extend();
    let x = core.cpu.regs.read::<W>(RDX).zero_extend();
    let product = u128::from(x) * u128::from(y);
    core.cpu.regs.write(op.extra, W::truncate(product as u64));
    let high = (product >> W::BITS) as u64;
    core.cpu.regs.write(op.dst, W::truncate(high));
    Ok(())
}

/// PDEP: the low bits of the register, one after the other, to where the mask `S` has bits.
fn pdep<W: Width, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_protected()?;
    let mut mask = S::read::<Core<'_>, W>(core, op)?.zero_extend();
    let mut value = core.cpu.regs.read::<W>(op.extra).zero_extend();
    let mut result = 0;
    while mask != 0 {
        let bit = mask & mask.wrapping_neg();
        if value & 1 != 0 {
            result |= bit;
        }
        value >>= 1;
        mask ^= bit;
    }
    core.cpu.regs.write(op.dst, W::truncate(result));
    Ok(())
}

/// PEXT: the bits of the register where the mask `S` has bits, side by side.
fn pext<W: Width, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_protected()?;
    let mut mask = S::read::<Core<'_>, W>(core, op)?.zero_extend();
    let value = core.cpu.regs.read::<W>(op.extra).zero_extend();
    let (mut result, mut place) = (0, 0);
    while mask != 0 {
        let bit = mask & mask.wrapping_neg();
        result |= u64::from(value & bit != 0) << place;
        place += 1;
        mask ^= bit;
    }
    core.cpu.regs.write(op.dst, W::truncate(result));
    Ok(())
}

/// RORX, SARX, SHLX and SHRX: the count `C` is taken modulo the width.
fn shift<W: Width, S: Source, C: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.require_protected()?;
    let x = S::read::<Core<'_>, W>(core, op)?;
    let count = C::read::<Core<'_>, W>(core, op)?.zero_extend() as u32 % W::BITS;
    let value = x.zero_extend();
    let result = match op.code().mnemonic() {
        Mnemonic::Rorx if count == 0 => value,
        Mnemonic::Rorx => value >> count | value << (W::BITS - count),
        Mnemonic::Sarx => (x.sign_extend() as i64 >> count) as u64,
        Mnemonic::Shlx => value << count,
        _ => value >> count,
    };
    core.cpu.regs.write(op.dst, W::truncate(result));
    Ok(())
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    let wide = bits(instruction, 0) == 64;
    let memory = (0..instruction.op_count()).any(|n| kind(instruction, n) == Kind::Mem);
    macro_rules! by_form {
        ($family:ident $(, $count:ty)?) => {
            match (wide, memory) {
                (true, false) => run!($family::<u64, Src $(, $count)?>),
                (true, true) => run!($family::<u64, Mem $(, $count)?>),
                (false, false) => run!($family::<u32, Src $(, $count)?>),
                (false, true) => run!($family::<u32, Mem $(, $count)?>),
            }
        };
    }
    let handler: Handler = match instruction.mnemonic() {
        Mnemonic::Andn => by_form!(andn),
        Mnemonic::Mulx => by_form!(mulx),
        Mnemonic::Pdep => by_form!(pdep),
        Mnemonic::Pext => by_form!(pext),
        Mnemonic::Bextr => by_form!(bextr),
        Mnemonic::Bzhi => by_form!(bzhi),
        Mnemonic::Blsi | Mnemonic::Blsmsk | Mnemonic::Blsr => by_form!(lowest_set),
        Mnemonic::Sarx | Mnemonic::Shlx | Mnemonic::Shrx => by_form!(shift, Extra),
        Mnemonic::Rorx => by_form!(shift, Imm),
        _ => return None,
    };
    Some(handler)
}
