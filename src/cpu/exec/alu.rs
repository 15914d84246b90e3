//! ADD ADC SUB SBB AND OR XOR CMP TEST, INC DEC NEG NOT, XADD CMPXCHG
//! (Intel SDM volume 1, sections 7.3.2 and 7.3.5).

use iced_x86::{Instruction, Mnemonic};

use super::Handler;
use super::backend::{Backend, FlagRule};
use super::form::{Source, Target, by_form, by_target};
use crate::cpu::Exec;
use crate::cpu::decode::Op;
use crate::cpu::regs::RAX;
use crate::cpu::width::Width;

fn add<B: Backend, W: Width, D: Target, S: Source>(b: &mut B, op: &Op) -> Exec {
    let (place, x) = D::open::<B, W>(b, op)?;
    let y = S::read::<B, W>(b, op)?;
    let r = b.add(x, y);
    b.set_flags(FlagRule::Add, x, y, r);
    D::commit(b, op, place, r);
    Ok(())
}

fn adc<B: Backend, W: Width, D: Target, S: Source>(b: &mut B, op: &Op) -> Exec {
    let (place, x) = D::open::<B, W>(b, op)?;
    let y = S::read::<B, W>(b, op)?;
    let carry = b.carry();
    let sum = b.add(x, y);
    let r = b.add(sum, carry);
    b.set_flags(FlagRule::Add, x, y, r);
    D::commit(b, op, place, r);
    Ok(())
}

fn sub<B: Backend, W: Width, D: Target, S: Source>(b: &mut B, op: &Op) -> Exec {
    let (place, x) = D::open::<B, W>(b, op)?;
    let y = S::read::<B, W>(b, op)?;
    let r = b.sub(x, y);
    b.set_flags(FlagRule::Sub, x, y, r);
    D::commit(b, op, place, r);
    Ok(())
}

fn sbb<B: Backend, W: Width, D: Target, S: Source>(b: &mut B, op: &Op) -> Exec {
    let (place, x) = D::open::<B, W>(b, op)?;
    let y = S::read::<B, W>(b, op)?;
    let borrow = b.carry();
    let difference = b.sub(x, y);
    let r = b.sub(difference, borrow);
    b.set_flags(FlagRule::Sub, x, y, r);
    D::commit(b, op, place, r);
    Ok(())
}

fn cmp<B: Backend, W: Width, D: Source, S: Source>(b: &mut B, op: &Op) -> Exec {
    let x = D::read::<B, W>(b, op)?;
    let y = S::read::<B, W>(b, op)?;
    let r = b.sub(x, y);
    b.set_flags(FlagRule::Sub, x, y, r);
    Ok(())
}

fn and<B: Backend, W: Width, D: Target, S: Source>(b: &mut B, op: &Op) -> Exec {
    let (place, x) = D::open::<B, W>(b, op)?;
    let y = S::read::<B, W>(b, op)?;
    let r = b.and(x, y);
    b.set_flags(FlagRule::Logic, x, y, r);
    D::commit(b, op, place, r);
    Ok(())
}

fn or<B: Backend, W: Width, D: Target, S: Source>(b: &mut B, op: &Op) -> Exec {
    let (place, x) = D::open::<B, W>(b, op)?;
    let y = S::read::<B, W>(b, op)?;
    let r = b.or(x, y);
    b.set_flags(FlagRule::Logic, x, y, r);
    D::commit(b, op, place, r);
    Ok(())
}

fn xor<B: Backend, W: Width, D: Target, S: Source>(b: &mut B, op: &Op) -> Exec {
    let (place, x) = D::open::<B, W>(b, op)?;
    let y = S::read::<B, W>(b, op)?;
    let r = b.xor(x, y);
    b.set_flags(FlagRule::Logic, x, y, r);
    D::commit(b, op, place, r);
    Ok(())
}

fn test<B: Backend, W: Width, D: Source, S: Source>(b: &mut B, op: &Op) -> Exec {
    let x = D::read::<B, W>(b, op)?;
    let y = S::read::<B, W>(b, op)?;
    let r = b.and(x, y);
    b.set_flags(FlagRule::Logic, x, y, r);
    Ok(())
}

fn inc<B: Backend, W: Width, D: Target>(b: &mut B, op: &Op) -> Exec {
    let (place, x) = D::open::<B, W>(b, op)?;
    let one = b.constant(1);
    let r = b.add(x, one);
    b.set_flags_but_carry(FlagRule::Add, x, one, r);
    D::commit(b, op, place, r);
    Ok(())
}

fn dec<B: Backend, W: Width, D: Target>(b: &mut B, op: &Op) -> Exec {
    let (place, x) = D::open::<B, W>(b, op)?;
    let one = b.constant(1);
    let r = b.sub(x, one);
    b.set_flags_but_carry(FlagRule::Sub, x, one, r);
    D::commit(b, op, place, r);
    Ok(())
}

fn neg<B: Backend, W: Width, D: Target>(b: &mut B, op: &Op) -> Exec {
    let (place, y) = D::open::<B, W>(b, op)?;
    let zero = b.constant(0);
    let r = b.sub(zero, y);
    b.set_flags(FlagRule::Sub, zero, y, r);
    D::commit(b, op, place, r);
    Ok(())
}

fn not<B: Backend, W: Width, D: Target>(b: &mut B, op: &Op) -> Exec {
    let (place, x) = D::open::<B, W>(b, op)?;
    let ones = b.constant(u64::MAX);
    let r = b.xor(x, ones);
    D::commit(b, op, place, r);
    Ok(())
}

fn xadd<B: Backend, W: Width, D: Target>(b: &mut B, op: &Op) -> Exec {
    let (place, x) = D::open::<B, W>(b, op)?;
    let y = b.register::<W>(op.src);
    let r = b.add(x, y);
    b.set_flags(FlagRule::Add, x, y, r);
    b.set_register(op.src, x);
    D::commit(b, op, place, r);
    Ok(())
}

/// The destination is written in any case, with what it held if the comparison fails.
fn cmpxchg<D: Target, W: Width>(core: &mut crate::cpu::Core<'_>, op: &Op) -> Exec {
    let (place, x) = D::open::<crate::cpu::Core<'_>, W>(core, op)?;
    let accumulator: W = core.cpu.regs.read(RAX);
    let r = core.sub(accumulator, x);
    core.set_flags(FlagRule::Sub, accumulator, x, r);
    if accumulator == x {
        let new = core.cpu.regs.read(op.src);
        D::commit(core, op, place, new);
    } else {
        D::commit(core, op, place, x);
        core.cpu.regs.write(RAX, x);
    }
    Ok(())
}

fn cmpxchg_handler(instruction: &Instruction) -> Option<Handler> {
    use super::form::{Dst, Kind, Mem, bits, kind};
    let handler: Handler = match (kind(instruction, 0), bits(instruction, 0)) {
        (Kind::Reg, 8) => cmpxchg::<Dst, u8>,
        (Kind::Reg, 16) => cmpxchg::<Dst, u16>,
        (Kind::Reg, 32) => cmpxchg::<Dst, u32>,
        (Kind::Reg, _) => cmpxchg::<Dst, u64>,
        (_, 8) => cmpxchg::<Mem, u8>,
        (_, 16) => cmpxchg::<Mem, u16>,
        (_, 32) => cmpxchg::<Mem, u32>,
        _ => cmpxchg::<Mem, u64>,
    };
    Some(handler)
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    match instruction.mnemonic() {
        Mnemonic::Add => by_form!(instruction, add),
        Mnemonic::Adc => by_form!(instruction, adc),
        Mnemonic::Sub => by_form!(instruction, sub),
        Mnemonic::Sbb => by_form!(instruction, sbb),
        Mnemonic::Cmp => by_form!(instruction, cmp),
        Mnemonic::And => by_form!(instruction, and),
        Mnemonic::Or => by_form!(instruction, or),
        Mnemonic::Xor => by_form!(instruction, xor),
        Mnemonic::Test => by_form!(instruction, test),
        Mnemonic::Inc => by_target!(instruction, inc),
        Mnemonic::Dec => by_target!(instruction, dec),
        Mnemonic::Neg => by_target!(instruction, neg),
        Mnemonic::Not => by_target!(instruction, not),
        Mnemonic::Xadd => by_target!(instruction, xadd),
        Mnemonic::Cmpxchg => cmpxchg_handler(instruction),
        _ => None,
    }
}
