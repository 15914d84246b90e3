//! MUL IMUL DIV IDIV (Intel SDM volume 1, section 7.3.2.4).
//!
//! The double-width operand is RDX:RAX, EDX:EAX, DX:AX or AX. Of the flags that are undefined
//! after a multiplication SF, ZF and PF follow the low half and AF is clear; a division
//! changes none.

use iced_x86::{Instruction, Mnemonic};

use super::form::{Dst, Imm, Kind, Mem, Source, Src, bits, kind};
use super::{Handler, run};
use crate::cpu::decode::Op;
use crate::cpu::fault::DE;
use crate::cpu::regs::{RAX, RDX};
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec};

/// The double-width accumulator.
pub(super) fn read_wide<W: Width>(core: &Core<'_>) -> u128 {
    let low: W = core.cpu.regs.read(RAX);
    if W::BITS == 8 {
        return u128::from(core.cpu.regs.read::<u16>(RAX));
    }
    let high: W = core.cpu.regs.read(RDX);
    u128::from(high.zero_extend()) << W::BITS | u128::from(low.zero_extend())
}

/// Writes the two halves: of a product high and low, of a division remainder and quotient.
pub(super) fn write_halves<W: Width>(core: &mut Core<'_>, high: W, low: W) {
    if W::BITS == 8 {
        let wide = high.zero_extend() << 8 | low.zero_extend();
        core.cpu.regs.write::<u16>(RAX, Width::truncate(wide));
        return;
    }
    core.cpu.regs.write(RAX, low);
    core.cpu.regs.write(RDX, high);
}

fn mul<W: Width, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    let y = S::read::<Core<'_>, W>(core, op)?;
    let x: W = core.cpu.regs.read(RAX);
    let product = u128::from(x.zero_extend()) * u128::from(y.zero_extend());
    let low = W::truncate(product as u64);
    let high = W::truncate((product >> W::BITS) as u64);
    write_halves(core, high, low);
    let over = high.zero_extend() != 0;
    core.cpu.flags.set_result_cf_of(low, over, over);
    Ok(())
}

/// The signed product, its low half, and whether it does not fit there.
fn signed_product<W: Width>(x: W, y: W) -> (i128, W, bool) {
    let product = i128::from(x.sign_extend() as i64) * i128::from(y.sign_extend() as i64);
    let low = W::truncate(product as u64);
    (
        product,
        low,
        i128::from(low.sign_extend() as i64) != product,
    )
}

fn imul<W: Width, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    let y = S::read::<Core<'_>, W>(core, op)?;
    let (product, low, over) = signed_product(core.cpu.regs.read(RAX), y);
    write_halves(core, W::truncate((product >> W::BITS) as u64), low);
    core.cpu.flags.set_result_cf_of(low, over, over);
    Ok(())
}

/// IMUL with two operands: `X` is the destination, or with three the second one.
fn imul_register<W: Width, X: Source, Y: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    let x = X::read::<Core<'_>, W>(core, op)?;
    let y = Y::read::<Core<'_>, W>(core, op)?;
    let (_, low, over) = signed_product(x, y);
    core.cpu.regs.write(op.dst, low);
    core.cpu.flags.set_result_cf_of(low, over, over);
    Ok(())
}

fn div<W: Width, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    let divisor = u128::from(S::read::<Core<'_>, W>(core, op)?.zero_extend());
    let dividend = read_wide::<W>(core);
    if divisor == 0 || dividend >> W::BITS >= divisor {
        return Err(core.fault(DE));
    }
    let (quotient, remainder) = match (u64::try_from(dividend), divisor as u64) {
        (Ok(small), divisor) => (small / divisor, small % divisor),
        _ => ((dividend / divisor) as u64, (dividend % divisor) as u64),
    };
    write_halves(core, W::truncate(remainder), W::truncate(quotient));
    Ok(())
}

fn idiv<W: Width, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    let divisor = i128::from(S::read::<Core<'_>, W>(core, op)?.sign_extend() as i64);
    let unused = 128 - 2 * W::BITS;
    let dividend = (read_wide::<W>(core) << unused) as i128 >> unused;
    if divisor == 0 {
        return Err(core.fault(DE));
    }
    // i128::MIN / -1 does not fit; it is out of range for every width anyway.
    let Some(quotient) = dividend.checked_div(divisor) else {
        return Err(core.fault(DE));
    };
    let low = W::truncate(quotient as u64);
    if i128::from(low.sign_extend() as i64) != quotient {
        return Err(core.fault(DE));
    }
    let remainder = dividend.wrapping_rem(divisor);
    write_halves(core, W::truncate(remainder as u64), low);
    Ok(())
}

/// The instances of a one-operand family.
macro_rules! one_operand {
    ($instruction:expr, $family:ident) => {
        match (kind($instruction, 0), bits($instruction, 0)) {
            (Kind::Reg, 8) => run!($family::<u8, Dst>),
            (Kind::Reg, 16) => run!($family::<u16, Dst>),
            (Kind::Reg, 32) => run!($family::<u32, Dst>),
            (Kind::Reg, _) => run!($family::<u64, Dst>),
            (_, 8) => run!($family::<u8, Mem>),
            (_, 16) => run!($family::<u16, Mem>),
            (_, 32) => run!($family::<u32, Mem>),
            (_, _) => run!($family::<u64, Mem>),
        }
    };
}

fn imul_handler(instruction: &Instruction) -> Option<Handler> {
    macro_rules! by_width {
        ($x:ty, $y:ty) => {
            match bits(instruction, 0) {
                16 => run!(imul_register::<u16, $x, $y>),
                32 => run!(imul_register::<u32, $x, $y>),
                _ => run!(imul_register::<u64, $x, $y>),
            }
        };
    }
    let handler: Handler = match (instruction.op_count(), kind(instruction, 1)) {
        (1, _) => one_operand!(instruction, imul),
        (2, Kind::Reg) => by_width!(Dst, Src),
        (2, _) => by_width!(Dst, Mem),
        (_, Kind::Reg) => by_width!(Src, Imm),
        (_, _) => by_width!(Mem, Imm),
    };
    Some(handler)
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    let handler: Handler = match instruction.mnemonic() {
        Mnemonic::Mul => one_operand!(instruction, mul),
        Mnemonic::Imul => return imul_handler(instruction),
        Mnemonic::Div => one_operand!(instruction, div),
        Mnemonic::Idiv => one_operand!(instruction, idiv),
        _ => return None,
    };
    Some(handler)
}
