//! ADD ADC SUB SBB AND OR XOR CMP TEST, INC DEC NEG NOT, XADD CMPXCHG, ADCX ADOX
//! (Intel SDM volume 1, sections 7.3.2 and 7.3.5).

use iced_x86::{Instruction, Mnemonic};

use super::backend::{Backend, FlagRule};
use super::form::{Kind, Mem, Source, Src, Target, bits, by_form, by_target, kind};
use super::{Handler, run};
use crate::cpu::decode::Op;
use crate::cpu::regs::RAX;
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec};

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

pub(super) fn cmp<B: Backend, W: Width, D: Source, S: Source>(b: &mut B, op: &Op) -> Exec {
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

pub(super) fn test<B: Backend, W: Width, D: Source, S: Source>(b: &mut B, op: &Op) -> Exec {
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
    b.set_increment_flags(x, r);
    D::commit(b, op, place, r);
    Ok(())
}

pub(super) fn dec<B: Backend, W: Width, D: Target>(b: &mut B, op: &Op) -> Exec {
    let (place, x) = D::open::<B, W>(b, op)?;
    let one = b.constant(1);
    let r = b.sub(x, one);
    b.set_decrement_flags(x, r);
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

/// ADCX and ADOX: the carry comes from and goes to CF or OF; no other flag changes.
fn add_with_one_flag<W: Width, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    let x = core.cpu.regs.read::<W>(op.dst).zero_extend();
    let y = S::read::<Core<'_>, W>(core, op)?.zero_extend();
    let is_adcx = op.code().mnemonic() == Mnemonic::Adcx;
    let flags = &mut core.cpu.flags;
    let carry = if is_adcx { flags.cf() } else { flags.of() };
    let sum = u128::from(x) + u128::from(y) + u128::from(carry);
    let carry = sum >> W::BITS != 0;
    match is_adcx {
        true => flags.set_cf(carry),
        false => flags.set_of(carry),
    }
    core.cpu.regs.write(op.dst, W::truncate(sum as u64));
    Ok(())
}

fn adx_handler(instruction: &Instruction) -> Option<Handler> {
    let handler: Handler = match (kind(instruction, 1), bits(instruction, 0)) {
        (Kind::Reg, 32) => run!(add_with_one_flag::<u32, Src>),
        (Kind::Reg, _) => run!(add_with_one_flag::<u64, Src>),
        (_, 32) => run!(add_with_one_flag::<u32, Mem>),
        _ => run!(add_with_one_flag::<u64, Mem>),
    };
    Some(handler)
}

/// Compares the accumulator with `x`; true if they are equal. If not, `x` goes to the
/// accumulator.
fn compare_accumulator<W: Width>(core: &mut Core<'_>, x: W) -> bool {
    let accumulator: W = core.cpu.regs.read(RAX);
    let r = core.sub(accumulator, x);
    core.set_flags(FlagRule::Sub, accumulator, x, r);
    if accumulator != x {
        core.cpu.regs.write(RAX, x);
    }
    accumulator == x
}

/// A register that is not exchanged keeps its upper half, too.
fn cmpxchg_register<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let new: W = core.cpu.regs.read(op.src);
    let x = core.cpu.regs.read(op.dst);
    if compare_accumulator::<W>(core, x) {
        core.cpu.regs.write(op.dst, new);
    }
    Ok(())
}

/// Memory is written in any case, with what it held if the comparison fails.
fn cmpxchg_memory<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let new: W = core.cpu.regs.read(op.src);
    let (place, x) = core.open(op)?;
    let equal = compare_accumulator::<W>(core, x);
    core.commit(place, if equal { new } else { x });
    Ok(())
}

fn cmpxchg_handler(instruction: &Instruction) -> Option<Handler> {
    let handler: Handler = match (kind(instruction, 0), bits(instruction, 0)) {
        (Kind::Reg, 8) => run!(cmpxchg_register::<u8>),
        (Kind::Reg, 16) => run!(cmpxchg_register::<u16>),
        (Kind::Reg, 32) => run!(cmpxchg_register::<u32>),
        (Kind::Reg, _) => run!(cmpxchg_register::<u64>),
        (_, 8) => run!(cmpxchg_memory::<u8>),
        (_, 16) => run!(cmpxchg_memory::<u16>),
        (_, 32) => run!(cmpxchg_memory::<u32>),
        _ => run!(cmpxchg_memory::<u64>),
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
        Mnemonic::Adcx | Mnemonic::Adox => adx_handler(instruction),
        _ => None,
    }
}
