//! Near transfers of control: JMP Jcc CALL RET LOOP JCXZ (Intel SDM volume 1, section 7.3.8).
//!
//! When one of these runs, `rip` already names what comes behind the block: behind the branch,
//! which ends it, but for Jcc. A branch that is taken replaces it. The target is cut to the operand
//! size and checked against the code segment before anything changes.

use iced_x86::{Code, Instruction, Mnemonic};

use super::backend::{Backend, Condition, holds};
use super::chain::instance;
use super::form::{Dst, Kind, Mem, Source, kind};
use super::{Handler, run};
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
    /// Continues at the target of a relative branch. A target outside the code segment is
    /// found when the next block is looked for (`Core::check_branch`).
    #[inline(always)]
    pub(super) fn jump_relative<W: Width>(&mut self, op: &Op) {
        let target = self.cpu.regs.block_ip().wrapping_add(op.immediate);
        self.cpu.rip = W::truncate(target).zero_extend();
    }

    /// #GP(0) if `target` is outside the code segment's limit or not canonical.
    pub(in crate::cpu) fn check_target(&mut self, target: u64) -> Exec {
        if self.is_target(target) {
            return Ok(());
        }
        Err(self.fault_with(GP, 0))
    }

    /// Whether `target` is inside the code segment's limit or canonical.
    #[inline(always)]
    pub(in crate::cpu) fn is_target(&self, target: u64) -> bool {
        if self.cpu.is_64_bit() {
            ((target << 16) as i64 >> 16) as u64 == target
        } else {
            target <= u64::from(self.cpu.segment(CS).limit)
        }
    }
}

/// Jcc: leaves the block for its target, or goes on with what is `behind`.
#[inline(always)]
pub(super) fn jcc<C: Condition, W: Width>(core: &mut Core<'_>, op: &Op, behind: &[Op]) -> Exec {
    if holds::<C>(&core.cpu.flags) {
        core.jump_relative::<W>(op);
        core.cpu.flow.leave(behind.len());
        return Ok(());
    }
    core.go_on(behind)
}

fn jmp<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.jump_relative::<W>(op);
    Ok(())
}

fn jmp_indirect<B: Backend, W: Width, S: Source>(b: &mut B, op: &Op) -> Exec {
    let target = S::read::<B, W>(b, op)?;
    b.check_target(target)?;
    b.branch_to(target);
    Ok(())
}

fn call<B: Backend, W: Width>(b: &mut B, op: &Op) -> Exec {
    let target = b.relative_target::<W>(op);
    b.check_target(target)?;
    let behind = b.next_ip::<W>();
    b.push(behind)?;
    b.branch_to(target);
    Ok(())
}

fn call_indirect<B: Backend, W: Width, S: Source>(b: &mut B, op: &Op) -> Exec {
    let target = S::read::<B, W>(b, op)?;
    b.check_target(target)?;
    let behind = b.next_ip::<W>();
    b.push(behind)?;
    b.branch_to(target);
    Ok(())
}

/// RET, which may discard parameters.
fn ret<B: Backend, W: Width>(b: &mut B, op: &Op) -> Exec {
    let target = b.top::<W>()?;
    b.check_target(target)?;
    b.branch_to(target);
    b.discard(W::BYTES + (op.immediate & 0xffff));
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
        let target: W = core.relative_target(op);
        core.check_target(target.zero_extend())?;
        core.jump_relative::<W>(op);
    }
    core.cpu.regs.write(RCX, left);
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
                iced_x86::OpKind::NearBranch16 => jcc::<$condition, u16>,
                iced_x86::OpKind::NearBranch32 => jcc::<$condition, u32>,
                _ => jcc::<$condition, u64>,
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
                iced_x86::OpKind::NearBranch16 => run!($family::<$counter, u16>),
                iced_x86::OpKind::NearBranch32 => run!($family::<$counter, u32>),
                _ => run!($family::<$counter, u64>),
            }
        };
    }
    use Code::{
        Loop_rel8_16_CX, Loop_rel8_16_RCX, Loop_rel8_32_CX, Loop_rel8_64_RCX, Loope_rel8_16_CX,
        Loope_rel8_16_RCX, Loope_rel8_32_CX, Loope_rel8_64_RCX, Loopne_rel8_16_CX,
        Loopne_rel8_16_RCX, Loopne_rel8_32_CX, Loopne_rel8_64_RCX,
    };
    let counter = match instruction.code() {
        Loop_rel8_16_CX | Loop_rel8_32_CX | Loope_rel8_16_CX | Loope_rel8_32_CX
        | Loopne_rel8_16_CX | Loopne_rel8_32_CX => 16,
        Loop_rel8_64_RCX | Loop_rel8_16_RCX | Loope_rel8_64_RCX | Loope_rel8_16_RCX
        | Loopne_rel8_64_RCX | Loopne_rel8_16_RCX => 64,
        _ => 32,
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
        Code::Jmp_rel8_16 | Code::Jmp_rel16 => run!(jmp::<u16>),
        Code::Jmp_rel8_32 | Code::Jmp_rel32_32 => run!(jmp::<u32>),
        Code::Jmp_rel8_64 | Code::Jmp_rel32_64 => run!(jmp::<u64>),
        Code::Jmp_rm16 if register => instance!(jmp_indirect, u16, Dst),
        Code::Jmp_rm32 if register => instance!(jmp_indirect, u32, Dst),
        Code::Jmp_rm64 if register => instance!(jmp_indirect, u64, Dst),
        Code::Jmp_rm16 => instance!(jmp_indirect, u16, Mem),
        Code::Jmp_rm32 => instance!(jmp_indirect, u32, Mem),
        Code::Jmp_rm64 => instance!(jmp_indirect, u64, Mem),
        Code::Call_rel16 => instance!(call, u16),
        Code::Call_rel32_32 => instance!(call, u32),
        Code::Call_rel32_64 => instance!(call, u64),
        Code::Call_rm16 if register => instance!(call_indirect, u16, Dst),
        Code::Call_rm32 if register => instance!(call_indirect, u32, Dst),
        Code::Call_rm64 if register => instance!(call_indirect, u64, Dst),
        Code::Call_rm16 => instance!(call_indirect, u16, Mem),
        Code::Call_rm32 => instance!(call_indirect, u32, Mem),
        Code::Call_rm64 => instance!(call_indirect, u64, Mem),
        Code::Retnw | Code::Retnw_imm16 => instance!(ret, u16),
        Code::Retnd | Code::Retnd_imm16 => instance!(ret, u32),
        Code::Retnq | Code::Retnq_imm16 => instance!(ret, u64),
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
