//! Instructions that the 286 executes otherwise than later processors (80286 Programmer's
//! Reference Manual).
//!
//! There is no coprocessor: an escape reads its operand and does nothing else. In real mode, where
//! nobody restarts them, instructions that fault on a word at the end of a segment leave what they
//! have moved already: POP the stack pointer, string instructions their index registers and CX.

use iced_x86::{Code, Instruction, Mnemonic};

use super::form::{Cl, Dst, Imm, Kind, Mem, Source, Target, bits, kind};
use super::muldiv::{read_wide, write_halves};
use super::shift::{Rcl, Rcr, Shift};
use super::stack;
use super::string::{self, advance};
use super::{Handler, run};
use crate::cpu::decode::{Op, Repeat};
use crate::cpu::fault::{DE, NM};
use crate::cpu::mmu::Access;
use crate::cpu::mode::cr0;
use crate::cpu::regs::{HIGH_BYTE, RAX, RCX, RDI, RSI};
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec};

/// ESC with nobody to hear it: the operand is read as a word.
pub(super) fn escape(core: &mut Core<'_>, op: &Op) -> Exec {
    if core.cpu.cr0 & (cr0::EM | cr0::TS) != 0 {
        return Err(core.fault(NM));
    }
    if op.has_memory() {
        core.load::<u16>(op)?;
    }
    Ok(())
}

/// WAIT: nothing is busy.
pub(super) fn wait(core: &mut Core<'_>, _op: &Op) -> Exec {
    if core.cpu.cr0 & cr0::MP != 0 && core.cpu.cr0 & cr0::TS != 0 {
        return Err(core.fault(NM));
    }
    Ok(())
}

/// Whether an encoding is an escape to the coprocessor: all have become the same in decoding.
pub(super) fn is_escape(instruction: &Instruction) -> bool {
    let mnemonic = instruction.mnemonic();
    matches!(
        mnemonic,
        Mnemonic::Fadd
            | Mnemonic::Fmul
            | Mnemonic::Fcom
            | Mnemonic::Fcomp
            | Mnemonic::Fsub
            | Mnemonic::Fsubr
            | Mnemonic::Fdiv
            | Mnemonic::Fdivr
    )
}

/// PUSHA looks first whether the last word fits, and writes nothing if not.
fn pusha(core: &mut Core<'_>, op: &Op) -> Exec {
    let last = core.stack_pointer().wrapping_sub(16) & 0xffff;
    core.linear(Access::Write, core.cpu.mode.stack_segment, last, 2)?;
    stack::pusha::<u16>(core, op)
}

fn pop_memory(core: &mut Core<'_>, op: &Op) -> Exec {
    let value: u16 = core.pop()?;
    let stored = core.store(op, value);
    if stored.is_err() && !core.cpu.is_real() {
        core.set_stack_pointer(core.stack_pointer().wrapping_sub(2));
    }
    stored
}

/// RCL and RCR: OF changes also where the bits go all the way round.
fn rotate_through_carry<W: Width, D: Target, N: Source, S: Shift>(
    core: &mut Core<'_>,
    op: &Op,
) -> Exec {
    let (place, x) = D::open::<Core<'_>, W>(core, op)?;
    let count = u32::from(N::read::<Core<'_>, u8>(core, op)?) & 31;
    let r = if count == 0 {
        x
    } else {
        S::shift(core, x, count)
    };
    if count != 0 {
        let bit = |n: u32| r.zero_extend() >> n & 1 != 0;
        let behind = match op.code().mnemonic() {
            Mnemonic::Rcl => core.cpu.flags.cf(),
            _ => bit(W::BITS - 2),
        };
        core.cpu.flags.set_of(bit(W::BITS - 1) != behind);
    }
    D::commit(core, op, place, r);
    Ok(())
}

/// Divides magnitudes bit by bit, as the chip does: it does not look first whether the quotient
/// fits, and loses what is shifted out of the dividend. Quotient and remainder.
fn divide_by_steps<W: Width>(dividend: u64, divisor: u64) -> (u64, u64) {
    let half = (1 << W::BITS) - 1;
    let (mut high, mut low) = (dividend >> W::BITS, dividend & half);
    for _ in 0..W::BITS {
        high = (high << 1 | low >> (W::BITS - 1)) & half;
        low = low << 1 & half;
        if high >= divisor {
            high -= divisor;
            low |= 1;
        }
    }
    (low, high)
}

/// IDIV: some quotients that do not fit look as if they did.
fn idiv<W: Width, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    let divisor = S::read::<Core<'_>, W>(core, op)?.sign_extend() as i64;
    let unused = 64 - 2 * W::BITS;
    let dividend = ((read_wide::<W>(core) as u64) << unused) as i64 >> unused;
    if divisor == 0 {
        return Err(core.fault(DE));
    }
    let negative = (dividend < 0) != (divisor < 0);
    let (quotient, remainder) =
        divide_by_steps::<W>(dividend.unsigned_abs(), divisor.unsigned_abs());
    if quotient >= (1 << (W::BITS - 1)) + u64::from(negative) {
        return Err(core.fault(DE));
    }
    let signed = |value: u64, negative| match negative {
        true => W::truncate(value.wrapping_neg()),
        false => W::truncate(value),
    };
    let remainder = signed(remainder, dividend < 0);
    write_halves(core, remainder, signed(quotient, negative));
    Ok(())
}

/// AAM by 0 leaves the flags of half of AL.
fn aam(core: &mut Core<'_>, op: &Op) -> Exec {
    let base = op.immediate as u8;
    let al: u8 = core.cpu.regs.read(RAX);
    if base == 0 {
        core.cpu.flags.set_logic(al >> 1);
        return Err(core.fault(DE));
    }
    core.cpu.regs.write(RAX | HIGH_BYTE, al / base);
    core.cpu.regs.write(RAX, al % base);
    core.cpu.flags.set_logic(al % base);
    Ok(())
}

/// Ends a string instruction: if it faulted in real mode, the index registers `moved` have gone
/// on, and CX by `counted`.
fn leave_moved(core: &mut Core<'_>, op: &Op, done: Exec, moved: &[u8], counted: u16) -> Exec {
    if done.is_err() && core.cpu.is_real() {
        for &register in moved {
            advance::<u16>(core, op, register, 1);
        }
        if op.repeat() != Repeat::None {
            let left = core.cpu.regs.read::<u16>(RCX).wrapping_sub(counted);
            core.cpu.regs.write(RCX, left);
        }
    }
    done
}

/// Whether an index register stands where a word faults.
fn at_end(core: &Core<'_>, register: u8) -> bool {
    core.cpu.regs.read::<u16>(register) == 0xffff
}

fn movs(core: &mut Core<'_>, op: &Op) -> Exec {
    match string::movs::<u16>(core, op) {
        done if at_end(core, RSI) => leave_moved(core, op, done, &[RSI], 1),
        done => leave_moved(core, op, done, &[RSI, RDI], 2),
    }
}

fn cmps(core: &mut Core<'_>, op: &Op) -> Exec {
    match string::cmps::<u16>(core, op) {
        done if at_end(core, RDI) => leave_moved(core, op, done, &[RDI], 0),
        done => leave_moved(core, op, done, &[RSI, RDI], 1),
    }
}

fn lods(core: &mut Core<'_>, op: &Op) -> Exec {
    let done = string::lods::<u16>(core, op);
    leave_moved(core, op, done, &[RSI], 1)
}

fn scas(core: &mut Core<'_>, op: &Op) -> Exec {
    let done = string::scas::<u16>(core, op);
    leave_moved(core, op, done, &[RDI], 1)
}

fn stos(core: &mut Core<'_>, op: &Op) -> Exec {
    let done = string::stos::<u16>(core, op);
    leave_moved(core, op, done, &[RDI], 2)
}

fn ins(core: &mut Core<'_>, op: &Op) -> Exec {
    let done = string::ins::<u16>(core, op);
    leave_moved(core, op, done, &[RDI], 2)
}

fn outs(core: &mut Core<'_>, op: &Op) -> Exec {
    let done = string::outs::<u16>(core, op);
    leave_moved(core, op, done, &[RSI], 1)
}

fn rotate_handler<S: Shift>(instruction: &Instruction) -> Handler {
    macro_rules! by_operands {
        ($target:ty, $count:ty) => {
            match bits(instruction, 0) {
                8 => run!(rotate_through_carry::<u8, $target, $count, S>),
                _ => run!(rotate_through_carry::<u16, $target, $count, S>),
            }
        };
    }
    match (kind(instruction, 0), kind(instruction, 1)) {
        (Kind::Reg, Kind::Reg) => by_operands!(Dst, Cl),
        (Kind::Reg, _) => by_operands!(Dst, Imm),
        (_, Kind::Reg) => by_operands!(Mem, Cl),
        (_, _) => by_operands!(Mem, Imm),
    }
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    let later_segment = |n| {
        use iced_x86::Register::{FS, GS};
        kind(instruction, n) == Kind::Reg && matches!(instruction.op_register(n), FS | GS)
    };
    if (0..instruction.op_count()).any(later_segment) {
        return Some(run!(super::invalid));
    }
    if is_escape(instruction) {
        return Some(run!(escape));
    }
    let handler: Handler = match instruction.code() {
        Code::Wait => run!(wait),
        Code::Pushaw => run!(pusha),
        Code::Pop_rm16 if kind(instruction, 0) == Kind::Mem => run!(pop_memory),
        Code::Aam_imm8 => run!(aam),
        Code::Movsw_m16_m16 => run!(movs),
        Code::Cmpsw_m16_m16 => run!(cmps),
        Code::Lodsw_AX_m16 => run!(lods),
        Code::Scasw_AX_m16 => run!(scas),
        Code::Stosw_m16_AX => run!(stos),
        Code::Insw_m16_DX => run!(ins),
        Code::Outsw_DX_m16 => run!(outs),
        _ => match instruction.mnemonic() {
            Mnemonic::Idiv => match (kind(instruction, 0), bits(instruction, 0)) {
                (Kind::Reg, 8) => run!(idiv::<u8, Dst>),
                (Kind::Reg, _) => run!(idiv::<u16, Dst>),
                (_, 8) => run!(idiv::<u8, Mem>),
                (_, _) => run!(idiv::<u16, Mem>),
            },
            Mnemonic::Rcl => rotate_handler::<Rcl>(instruction),
            Mnemonic::Rcr => rotate_handler::<Rcr>(instruction),
            _ => return None,
        },
    };
    Some(handler)
}
