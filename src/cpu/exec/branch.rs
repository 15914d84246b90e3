//! Near transfers of control: JMP Jcc CALL RET LOOP JCXZ (Intel SDM volume 1, section 7.3.8).
//!
//! When one of these runs, `rip` already names the instruction behind it; a branch replaces
//! it. The target is cut to the operand size and checked against the code segment before
//! anything changes.

use iced_x86::{Code, Instruction, Mnemonic};

use super::Handler;
use super::backend::{Backend, Condition};
use super::form::{Dst, Kind, Mem, Source, instance, kind};
use crate::cpu::decode::Op;
use crate::cpu::fault::GP;
use crate::cpu::regs::RCX;
use crate::cpu::segment::CS;
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec};

/// The conditions, by the names that the mnemonics use.
pub(super) mod condition {
    use super::Condition;

    macro_rules! conditions {
        ($($name:ident = $code:literal),*) => {
            $(
                pub(in crate::cpu::exec) struct $name;
                impl Condition for $name {
                    const CODE: u8 = $code;
                }
            )*
        };
    }

    conditions!(
        O = 0,
        No = 1,
        B = 2,
        Ae = 3,
        E = 4,
        Ne = 5,
        Be = 6,
        A = 7,
        S = 8,
        Ns = 9,
        P = 10,
        Np = 11,
        L = 12,
        Ge = 13,
        Le = 14,
        G = 15
    );
}

impl Core<'_> {
    /// Continues at the target of a relative branch. A target outside the code segment faults
    /// when the next block is fetched.
    #[inline(always)]
    pub(super) fn jump_relative<W: Width>(&mut self, op: &Op) {
        let target = self.cpu.regs.block_ip().wrapping_add(op.immediate);
        self.cpu.rip = W::truncate(target).zero_extend();
    }

    /// Continues at `target`, which must lie within the code segment.
    pub(super) fn jump_near(&mut self, target: u64) -> Exec {
        self.check_target(target)?;
        self.cpu.rip = target;
        Ok(())
    }

    /// #GP(0) if `target` is outside the code segment's limit or not canonical.
    pub(in crate::cpu) fn check_target(&mut self, target: u64) -> Exec {
        let fine = if self.cpu.is_64_bit() {
            ((target << 16) as i64 >> 16) as u64 == target
        } else {
            target <= u64::from(self.cpu.segment(CS).limit)
        };
        if fine {
            return Ok(());
        }
        Err(self.fault_with(GP, 0))
    }
}

fn jcc<B: Backend, W: Width, C: Condition>(b: &mut B, op: &Op) -> Exec {
    b.branch_if::<C, W>(op);
    Ok(())
}

fn jmp<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.jump_relative::<W>(op);
    Ok(())
}

fn jmp_indirect<W: Width, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    let target = S::read::<Core<'_>, W>(core, op)?;
    core.jump_near(target.zero_extend())
}

fn call<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let target = core.cpu.regs.block_ip().wrapping_add(op.immediate);
    let target = W::truncate(target).zero_extend();
    core.check_target(target)?;
    core.push(W::truncate(core.cpu.rip))?;
    core.jump_relative::<W>(op);
    Ok(())
}

fn call_indirect<W: Width, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    let target = S::read::<Core<'_>, W>(core, op)?.zero_extend();
    core.check_target(target)?;
    core.push(W::truncate(core.cpu.rip))?;
    core.jump_near(target)
}

fn ret<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let target = core.peek_stack::<W>(0)?.zero_extend();
    core.jump_near(target)?;
    let top = core.cpu.regs.get(crate::cpu::regs::RSP);
    let discarded = op.immediate & 0xffff;
    core.set_stack_pointer(top.wrapping_add(W::BYTES + discarded));
    Ok(())
}

/// When LOOP goes on, apart from the counter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum While {
    Always,
    Zero,
    NotZero,
}

/// LOOP, LOOPE, LOOPNE: the counter is CX, ECX or RCX by address size `A`, the target is cut
/// to operand size `W`.
fn loop_while<A: Width, W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let count: A = core.cpu.regs.read(RCX);
    let left = A::truncate(count.zero_extend().wrapping_sub(1));
    core.cpu.regs.write(RCX, left);
    let condition = match op.code().mnemonic() {
        Mnemonic::Loope => While::Zero,
        Mnemonic::Loopne => While::NotZero,
        _ => While::Always,
    };
    let holds = match condition {
        While::Always => true,
        While::Zero => core.cpu.flags.zf(),
        While::NotZero => !core.cpu.flags.zf(),
    };
    if left.zero_extend() != 0 && holds {
        core.jump_relative::<W>(op);
    }
    Ok(())
}

fn jcxz<A: Width, W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    if core.cpu.regs.read::<A>(RCX).zero_extend() == 0 {
        core.jump_relative::<W>(op);
    }
    Ok(())
}

fn jcc_handler(instruction: &Instruction) -> Option<Handler> {
    use condition::*;
    macro_rules! jcc {
        ($condition:ty) => {
            match instruction.op_kind(0) {
                iced_x86::OpKind::NearBranch16 => instance!(jcc, u16, $condition),
                iced_x86::OpKind::NearBranch32 => instance!(jcc, u32, $condition),
                _ => instance!(jcc, u64, $condition),
            }
        };
    }
    Some(match instruction.mnemonic() {
        Mnemonic::Jo => jcc!(O),
        Mnemonic::Jno => jcc!(No),
        Mnemonic::Jb => jcc!(B),
        Mnemonic::Jae => jcc!(Ae),
        Mnemonic::Je => jcc!(E),
        Mnemonic::Jne => jcc!(Ne),
        Mnemonic::Jbe => jcc!(Be),
        Mnemonic::Ja => jcc!(A),
        Mnemonic::Js => jcc!(S),
        Mnemonic::Jns => jcc!(Ns),
        Mnemonic::Jp => jcc!(P),
        Mnemonic::Jnp => jcc!(Np),
        Mnemonic::Jl => jcc!(L),
        Mnemonic::Jge => jcc!(Ge),
        Mnemonic::Jle => jcc!(Le),
        Mnemonic::Jg => jcc!(G),
        _ => return None,
    })
}

fn loop_handler(instruction: &Instruction) -> Option<Handler> {
    macro_rules! by_sizes {
        ($family:ident, $counter:ty) => {
            match instruction.op_kind(0) {
                iced_x86::OpKind::NearBranch16 => $family::<$counter, u16>,
                iced_x86::OpKind::NearBranch32 => $family::<$counter, u32>,
                _ => $family::<$counter, u64>,
            }
        };
    }
    let name = format!("{:?}", instruction.code());
    let counter = if name.ends_with("_RCX") {
        64
    } else if name.ends_with("_ECX") {
        32
    } else {
        16
    };
    let handler: Handler = match (instruction.mnemonic(), counter) {
        (Mnemonic::Loop | Mnemonic::Loope | Mnemonic::Loopne, 16) => by_sizes!(loop_while, u16),
        (Mnemonic::Loop | Mnemonic::Loope | Mnemonic::Loopne, 32) => by_sizes!(loop_while, u32),
        (Mnemonic::Loop | Mnemonic::Loope | Mnemonic::Loopne, _) => by_sizes!(loop_while, u64),
        (Mnemonic::Jcxz, _) => by_sizes!(jcxz, u16),
        (Mnemonic::Jecxz, _) => by_sizes!(jcxz, u32),
        (Mnemonic::Jrcxz, _) => by_sizes!(jcxz, u64),
        _ => return None,
    };
    Some(handler)
}

fn jmp_call_handler(instruction: &Instruction) -> Option<Handler> {
    let register = kind(instruction, 0) == Kind::Reg;
    let handler: Handler = match instruction.code() {
        Code::Jmp_rel8_16 | Code::Jmp_rel16 => jmp::<u16>,
        Code::Jmp_rel8_32 | Code::Jmp_rel32_32 => jmp::<u32>,
        Code::Jmp_rel8_64 | Code::Jmp_rel32_64 => jmp::<u64>,
        Code::Jmp_rm16 if register => jmp_indirect::<u16, Dst>,
        Code::Jmp_rm32 if register => jmp_indirect::<u32, Dst>,
        Code::Jmp_rm64 if register => jmp_indirect::<u64, Dst>,
        Code::Jmp_rm16 => jmp_indirect::<u16, Mem>,
        Code::Jmp_rm32 => jmp_indirect::<u32, Mem>,
        Code::Jmp_rm64 => jmp_indirect::<u64, Mem>,
        Code::Call_rel16 => call::<u16>,
        Code::Call_rel32_32 => call::<u32>,
        Code::Call_rel32_64 => call::<u64>,
        Code::Call_rm16 if register => call_indirect::<u16, Dst>,
        Code::Call_rm32 if register => call_indirect::<u32, Dst>,
        Code::Call_rm64 if register => call_indirect::<u64, Dst>,
        Code::Call_rm16 => call_indirect::<u16, Mem>,
        Code::Call_rm32 => call_indirect::<u32, Mem>,
        Code::Call_rm64 => call_indirect::<u64, Mem>,
        Code::Retnw | Code::Retnw_imm16 => ret::<u16>,
        Code::Retnd | Code::Retnd_imm16 => ret::<u32>,
        Code::Retnq | Code::Retnq_imm16 => ret::<u64>,
        _ => return None,
    };
    Some(handler)
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    match instruction.mnemonic() {
        Mnemonic::Jmp | Mnemonic::Call | Mnemonic::Ret => jmp_call_handler(instruction),
        Mnemonic::Loop
        | Mnemonic::Loope
        | Mnemonic::Loopne
        | Mnemonic::Jcxz
        | Mnemonic::Jecxz
        | Mnemonic::Jrcxz => loop_handler(instruction),
        _ => jcc_handler(instruction),
    }
}
