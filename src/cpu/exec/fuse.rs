//! Pairs: a comparison, or a counter's step, and the conditional branch behind it run as one.
//!
//! Both stay where they are in their block; only the first one's handler changes. It has no
//! memory operand, so nothing can come between the two. Where a block is run up to the middle
//! of a pair, the first finds nothing behind it and runs alone.

use iced_x86::{Code, Mnemonic};

use super::Handler;
use super::alu::{cmp, dec, test};
use super::branch::condition::*;
use super::branch::jcc;
use super::form::{Dst, Imm, Src};
use crate::cpu::decode::Op;
use crate::cpu::{Core, Exec};

/// The handler of one pair: an instance of an ALU family, then the branch.
macro_rules! pair {
    ($branch:ty, $condition:ty, $family:ident $(, $parameter:ty)*) => {{
        fn run(core: &mut Core<'_>, op: &Op, rest: &[Op]) -> Exec {
            $family::<Core<'_> $(, $parameter)*>(core, op)?;
            match rest.split_first() {
                Some((branch, behind)) => jcc::<$condition, $branch>(core, branch, behind),
                None => Ok(()),
            }
        }
        run as Handler
    }};
}

/// The pair with the condition of a branch.
macro_rules! by_condition {
    ($mnemonic:expr, $branch:ty $(, $first:tt)*) => {
        match $mnemonic {
            Mnemonic::Jb => pair!($branch, B $(, $first)*),
            Mnemonic::Jae => pair!($branch, Ae $(, $first)*),
            Mnemonic::Je => pair!($branch, E $(, $first)*),
            Mnemonic::Jne => pair!($branch, Ne $(, $first)*),
            Mnemonic::Jbe => pair!($branch, Be $(, $first)*),
            Mnemonic::Ja => pair!($branch, A $(, $first)*),
            Mnemonic::Js => pair!($branch, S $(, $first)*),
            Mnemonic::Jns => pair!($branch, Ns $(, $first)*),
            Mnemonic::Jl => pair!($branch, L $(, $first)*),
            Mnemonic::Jge => pair!($branch, Ge $(, $first)*),
            Mnemonic::Jle => pair!($branch, Le $(, $first)*),
            Mnemonic::Jg => pair!($branch, G $(, $first)*),
            _ => return None,
        }
    };
}

/// The pair of an instruction that 32-bit and 64-bit code have, with a branch of `$branch`.
macro_rules! by_first {
    ($first:expr, $mnemonic:expr, $branch:ty) => {
        match $first {
            Code::Cmp_rm32_r32 | Code::Cmp_r32_rm32 => {
                by_condition!($mnemonic, $branch, cmp, u32, Dst, Src)
            }
            Code::Cmp_rm32_imm8 | Code::Cmp_rm32_imm32 | Code::Cmp_EAX_imm32 => {
                by_condition!($mnemonic, $branch, cmp, u32, Dst, Imm)
            }
            Code::Test_rm32_r32 => by_condition!($mnemonic, $branch, test, u32, Dst, Src),
            Code::Dec_rm32 | Code::Dec_r32 => by_condition!($mnemonic, $branch, dec, u32, Dst),
            Code::Cmp_rm8_imm8 | Code::Cmp_AL_imm8 => {
                by_condition!($mnemonic, $branch, cmp, u8, Dst, Imm)
            }
            Code::Test_rm8_imm8 | Code::Test_AL_imm8 => {
                by_condition!($mnemonic, $branch, test, u8, Dst, Imm)
            }
            Code::Test_rm8_r8 => by_condition!($mnemonic, $branch, test, u8, Dst, Src),
            _ => return None,
        }
    };
}

/// The handler for `first` with the `branch` behind it, if the two are a pair.
pub(in crate::cpu) fn pair(first: &Op, branch: &Op) -> Option<Handler> {
    if first.has_memory() {
        return None;
    }
    let mnemonic = branch.code().mnemonic();
    let handler = match (branch.extra, first.code()) {
        (64, Code::Cmp_rm64_r64 | Code::Cmp_r64_rm64) => {
            by_condition!(mnemonic, u64, cmp, u64, Dst, Src)
        }
        (64, Code::Cmp_rm64_imm8 | Code::Cmp_rm64_imm32 | Code::Cmp_RAX_imm32) => {
            by_condition!(mnemonic, u64, cmp, u64, Dst, Imm)
        }
        (64, Code::Test_rm64_r64) => by_condition!(mnemonic, u64, test, u64, Dst, Src),
        (64, Code::Dec_rm64) => by_condition!(mnemonic, u64, dec, u64, Dst),
        (64, code) => by_first!(code, mnemonic, u64),
        (32, code) => by_first!(code, mnemonic, u32),
        _ => return None,
    };
    Some(handler)
}
