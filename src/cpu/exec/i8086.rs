//! Instructions that the 8086 executes otherwise than later processors (iAPX 86/88 User's
//! Manual; what that leaves open is what the chip does, see `tests/recorded`).
//!
//! ```text
//!   PUSH SP         pushes what SP becomes
//!   shifts by CL    take all of CL; extension 6 sets all bits
//!   divisions       go to interrupt 0 with the next instruction as the return address
//!   IDIV            a quotient of -128 or -32768 is out of range; REP negates the quotient
//!   IMUL            REP negates the product
//!   AAM             by 0 too goes to interrupt 0
//!   DAA, DAS        with AF set, adjust the upper digit above 9Fh instead of 99h
//!   AAA, AAS        adjust AL and AH each on its own
//!   POP CS, MOV CS  load CS, and go on at the same offset there
//! ```
//!
//! Encodings that mean nothing, such as FEh /2, do whatever the microcode does with them; here
//! they raise #UD.

use iced_x86::{Code, Instruction, Mnemonic, Register};

use super::form::{Dst, Kind, Mem, Source, Target, bits, kind};
use super::i286::{escape, is_escape, wait};
use super::muldiv::{read_wide, write_halves};
use super::shift::{self, Shift};
use super::{Handler, bcd, run};
use crate::cpu::decode::{Op, Repeat};
use crate::cpu::fault::DE;
use crate::cpu::interrupt::Delivery;
use crate::cpu::regs::{HIGH_BYTE, RAX, RCX, RSP};
use crate::cpu::segment::CS;
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec};

/// AH.
const AH: u8 = RAX | HIGH_BYTE;

fn push_sp(core: &mut Core<'_>, _op: &Op) -> Exec {
    let sp: u16 = core.cpu.regs.read(RSP);
    core.push(sp.wrapping_sub(2))
}

fn load_cs(core: &mut Core<'_>, selector: u16) {
    let segment = core.real_segment(CS, selector);
    core.set_segment(CS, segment);
}

fn pop_cs(core: &mut Core<'_>, _op: &Op) -> Exec {
    let selector = core.pop()?;
    load_cs(core, selector);
    Ok(())
}

fn mov_cs<S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    let selector = S::read::<Core<'_>, u16>(core, op)?;
    load_cs(core, selector);
    Ok(())
}

/// A shift or rotation by all of CL. Past the width nothing new happens to what is shifted;
/// rotations go round.
fn shift_by_cl<W: Width, D: Target, S: Shift>(core: &mut Core<'_>, op: &Op) -> Exec {
    let (place, x) = D::open::<Core<'_>, W>(core, op)?;
    let count = u32::from(core.cpu.regs.read::<u8>(RCX));
    let r = match count {
        0 => x,
        n if S::ROTATES => S::shift(core, x, n),
        n => S::shift(core, x, n.min(W::BITS + 1)),
    };
    D::commit(core, op, place, r);
    Ok(())
}

/// SETMO, and SETMOC if CL is not zero: all ones.
fn set_minus_one<W: Width, D: Target>(core: &mut Core<'_>, op: &Op) -> Exec {
    let (place, x) = D::open::<Core<'_>, W>(core, op)?;
    let by_cl = matches!(op.code(), Code::Sal_rm8_CL | Code::Sal_rm16_CL);
    let r = if by_cl && core.cpu.regs.read::<u8>(RCX) == 0 {
        x
    } else {
        let ones = W::truncate(u64::MAX);
        core.cpu.flags.set_logic(ones);
        ones
    };
    D::commit(core, op, place, r);
    Ok(())
}

/// Interrupt 0; the instruction pointer is at the next instruction.
fn divide_error(core: &mut Core<'_>) -> Exec {
    core.deliver(Delivery::Trap(DE))
}

fn div<W: Width, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    let divisor = u128::from(S::read::<Core<'_>, W>(core, op)?.zero_extend());
    let dividend = read_wide::<W>(core);
    if divisor == 0 || dividend >> W::BITS >= divisor {
        return divide_error(core);
    }
    let (quotient, remainder) = (dividend / divisor, dividend % divisor);
    write_halves(
        core,
        W::truncate(remainder as u64),
        W::truncate(quotient as u64),
    );
    Ok(())
}

fn idiv<W: Width, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    let divisor = i128::from(S::read::<Core<'_>, W>(core, op)?.sign_extend() as i64);
    let unused = 128 - 2 * W::BITS;
    let dividend = (read_wide::<W>(core) << unused) as i128 >> unused;
    if divisor == 0 {
        return divide_error(core);
    }
    let (quotient, remainder) = (dividend / divisor, dividend % divisor);
    if quotient.unsigned_abs() >> (W::BITS - 1) != 0 {
        return divide_error(core);
    }
    let quotient = match op.repeat() {
        Repeat::None => quotient,
        _ => -quotient,
    };
    write_halves(
        core,
        W::truncate(remainder as u64),
        W::truncate(quotient as u64),
    );
    Ok(())
}

fn imul_negated<W: Width, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    let y = S::read::<Core<'_>, W>(core, op)?;
    let x: W = core.cpu.regs.read(RAX);
    let product = -(i128::from(x.sign_extend() as i64) * i128::from(y.sign_extend() as i64));
    let low = W::truncate(product as u64);
    write_halves(core, W::truncate((product >> W::BITS) as u64), low);
    let over = i128::from(low.sign_extend() as i64) != product;
    core.cpu.flags.set_result_cf_of(low, over, over);
    Ok(())
}

fn aam(core: &mut Core<'_>, op: &Op) -> Exec {
    let base = op.immediate as u8;
    let al: u8 = core.cpu.regs.read(RAX);
    if base == 0 {
        core.cpu.flags.set_logic(0u8);
        return divide_error(core);
    }
    core.cpu.regs.write(AH, al / base);
    core.cpu.regs.write(RAX, al % base);
    core.cpu.flags.set_logic(al % base);
    Ok(())
}

/// DAA and DAS.
fn adjust_decimal(core: &mut Core<'_>, change: fn(u8, u8) -> u8) -> Exec {
    let al: u8 = core.cpu.regs.read(RAX);
    let (cf, af) = (core.cpu.flags.cf(), core.cpu.flags.af());
    let low = al & 15 > 9 || af;
    let high = al > if af { 0x9f } else { 0x99 } || cf;
    let by = if low { 6 } else { 0 } + if high { 0x60 } else { 0 };
    let al = change(al, by);
    core.cpu.regs.write(RAX, al);
    bcd::set_flags(core, al, low, high);
    Ok(())
}

fn daa(core: &mut Core<'_>, _op: &Op) -> Exec {
    adjust_decimal(core, u8::wrapping_add)
}

fn das(core: &mut Core<'_>, _op: &Op) -> Exec {
    adjust_decimal(core, u8::wrapping_sub)
}

/// AAA and AAS.
fn adjust_ascii(core: &mut Core<'_>, change: fn(u8, u8) -> u8) -> Exec {
    let (al, ah): (u8, u8) = (core.cpu.regs.read(RAX), core.cpu.regs.read(AH));
    let adjust = al & 15 > 9 || core.cpu.flags.af();
    let (al, ah) = match adjust {
        true => (change(al, 6), change(ah, 1)),
        false => (al, ah),
    };
    core.cpu.regs.write(RAX, al & 15);
    core.cpu.regs.write(AH, ah);
    bcd::set_flags(core, al, adjust, adjust);
    Ok(())
}

fn aaa(core: &mut Core<'_>, _op: &Op) -> Exec {
    adjust_ascii(core, u8::wrapping_add)
}

fn aas(core: &mut Core<'_>, _op: &Op) -> Exec {
    adjust_ascii(core, u8::wrapping_sub)
}

/// The instances of a family that is generic over width and source.
macro_rules! by_source {
    ($instruction:expr, $family:ident) => {
        match (kind($instruction, 0), bits($instruction, 0)) {
            (Kind::Reg, 8) => run!($family::<u8, Dst>),
            (Kind::Reg, _) => run!($family::<u16, Dst>),
            (_, 8) => run!($family::<u8, Mem>),
            (_, _) => run!($family::<u16, Mem>),
        }
    };
}

fn by_cl<S: Shift>(instruction: &Instruction) -> Handler {
    match (kind(instruction, 0), bits(instruction, 0)) {
        (Kind::Reg, 8) => run!(shift_by_cl::<u8, Dst, S>),
        (Kind::Reg, _) => run!(shift_by_cl::<u16, Dst, S>),
        (_, 8) => run!(shift_by_cl::<u8, Mem, S>),
        (_, _) => run!(shift_by_cl::<u16, Mem, S>),
    }
}

fn shift_handler(instruction: &Instruction) -> Option<Handler> {
    if instruction.mnemonic() == Mnemonic::Sal {
        return Some(by_source!(instruction, set_minus_one));
    }
    if instruction.op1_register() != Register::CL {
        return None;
    }
    Some(match instruction.mnemonic() {
        Mnemonic::Shl => by_cl::<shift::Shl>(instruction),
        Mnemonic::Shr => by_cl::<shift::Shr>(instruction),
        Mnemonic::Sar => by_cl::<shift::Sar>(instruction),
        Mnemonic::Rol => by_cl::<shift::Rol>(instruction),
        Mnemonic::Ror => by_cl::<shift::Ror>(instruction),
        Mnemonic::Rcl => by_cl::<shift::Rcl>(instruction),
        Mnemonic::Rcr => by_cl::<shift::Rcr>(instruction),
        _ => return None,
    })
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    if is_escape(instruction) {
        return Some(run!(escape));
    }
    let repeats = instruction.has_rep_prefix() || instruction.has_repne_prefix();
    let to = instruction.op0_register();
    let handler: Handler = match instruction.mnemonic() {
        Mnemonic::Push if to == Register::SP => run!(push_sp),
        Mnemonic::Pop if to == Register::CS => run!(pop_cs),
        Mnemonic::Mov if to == Register::CS => match kind(instruction, 1) {
            Kind::Reg => run!(mov_cs::<super::form::Src>),
            _ => run!(mov_cs::<Mem>),
        },
        Mnemonic::Div => by_source!(instruction, div),
        Mnemonic::Idiv => by_source!(instruction, idiv),
        Mnemonic::Imul if repeats => by_source!(instruction, imul_negated),
        Mnemonic::Aam => run!(aam),
        Mnemonic::Daa => run!(daa),
        Mnemonic::Das => run!(das),
        Mnemonic::Aaa => run!(aaa),
        Mnemonic::Aas => run!(aas),
        Mnemonic::Wait => run!(wait),
        _ => return shift_handler(instruction),
    };
    Some(handler)
}

/// Whether an encoding ends its block on the 8086 alone.
pub(super) fn ends_block(instruction: &Instruction) -> bool {
    match instruction.mnemonic() {
        Mnemonic::Div | Mnemonic::Idiv | Mnemonic::Aam => true,
        _ => instruction.op0_register() == Register::CS,
    }
}
