//! MOV and its kin: MOVZX MOVSX LEA XCHG CMOVcc SETcc BSWAP XLAT, sign extension within the
//! accumulator, and instructions that do nothing here (Intel SDM volume 1, section 7.3.1).

use iced_x86::{Code, Instruction, Mnemonic};

use super::backend::{Backend, Condition};
use super::chain::instance;
use super::form::{Dst, Kind, Mem, Source, Src, Target, bits, by_form, by_target, by_width, kind};
use super::{Handler, run};
use crate::bus::PAUSE_TICKS;
use crate::cpu::decode::Op;
use crate::cpu::regs::{RAX, RBX, RDX};
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec};

fn mov<B: Backend, W: Width, D: Target, S: Source>(b: &mut B, op: &Op) -> Exec {
    let value = S::read::<B, W>(b, op)?;
    D::write(b, op, value)
}

fn movzx<B: Backend, V: Width, W: Width, S: Source>(b: &mut B, op: &Op) -> Exec {
    let value = S::read::<B, V>(b, op)?;
    let wide = b.zero_extend::<V, W>(value);
    b.set_register(op.dst, wide);
    Ok(())
}

fn movsx<B: Backend, V: Width, W: Width, S: Source>(b: &mut B, op: &Op) -> Exec {
    let value = S::read::<B, V>(b, op)?;
    let wide = b.sign_extend::<V, W>(value);
    b.set_register(op.dst, wide);
    Ok(())
}

fn lea<B: Backend, W: Width>(b: &mut B, op: &Op) -> Exec {
    let address = b.address::<W>(op);
    b.set_register(op.dst, address);
    Ok(())
}

fn xchg<B: Backend, W: Width, D: Target>(b: &mut B, op: &Op) -> Exec {
    let (place, x) = D::open::<B, W>(b, op)?;
    let y = b.register::<W>(op.src);
    b.set_register(op.src, x);
    D::commit(b, op, place, y);
    Ok(())
}

/// The destination is written in any case: a 32-bit move that does not happen still clears
/// the upper half.
fn cmov<B: Backend, W: Width, S: Source, C: Condition>(b: &mut B, op: &Op) -> Exec {
    let new = S::read::<B, W>(b, op)?;
    let old = b.register::<W>(op.dst);
    let value = b.select::<C, W>(new, old);
    b.set_register(op.dst, value);
    Ok(())
}

fn set<B: Backend, W: Width, D: Target, C: Condition>(b: &mut B, op: &Op) -> Exec {
    let value = b.condition::<C, W>();
    D::write(b, op, value)
}

fn bswap<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let value: W = core.cpu.regs.read(op.dst);
    let swapped = match W::BITS {
        32 => u64::from((value.zero_extend() as u32).swap_bytes()),
        64 => value.zero_extend().swap_bytes(),
        // Undefined at 16 bits; processors give zero.
        _ => 0,
    };
    core.cpu.regs.write(op.dst, W::truncate(swapped));
    Ok(())
}

fn movbe<W: Width, D: Target, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    let value = S::read::<Core<'_>, W>(core, op)?;
    let swapped = value.zero_extend().swap_bytes() >> (64 - W::BITS);
    D::write(core, op, W::truncate(swapped))
}

/// CBW, CWDE, CDQE: from `V` to `W` within the accumulator.
fn extend_accumulator<V: Width, W: Width>(core: &mut Core<'_>, _op: &Op) -> Exec {
    let value: V = core.cpu.regs.read(RAX);
    core.cpu.regs.write(RAX, W::truncate(value.sign_extend()));
    Ok(())
}

/// CWD, CDQ, CQO: the accumulator's sign into the data register.
fn extend_into_data<W: Width>(core: &mut Core<'_>, _op: &Op) -> Exec {
    let value: W = core.cpu.regs.read(RAX);
    let sign = (value.sign_extend() as i64 >> 63) as u64;
    core.cpu.regs.write(RDX, W::truncate(sign));
    Ok(())
}

/// MOV from an absolute address to the accumulator.
fn load_absolute<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let value: W = core.load_at(op.segment(), op.immediate)?;
    core.cpu.regs.write(RAX, value);
    Ok(())
}

/// MOV from the accumulator to an absolute address.
fn store_absolute<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let value: W = core.cpu.regs.read(RAX);
    core.store_at(op.segment(), op.immediate, value)
}

fn xlat(core: &mut Core<'_>, op: &Op) -> Exec {
    let index = u64::from(core.cpu.regs.read::<u8>(RAX));
    let sum = core.cpu.regs.get(RBX).wrapping_add(index);
    let offset = match op.address_size() {
        0 => sum & 0xffff,
        1 => sum & 0xffff_ffff,
        _ => sum,
    };
    let value: u8 = core.load_at(op.segment(), offset)?;
    core.cpu.regs.write(RAX, value);
    Ok(())
}

/// NOP, PREFETCHh, and the fences: memory is in order here.
fn nothing(_core: &mut Core<'_>, _op: &Op) -> Exec {
    Ok(())
}

/// PAUSE: a program that waits. Its time passes.
fn pause(core: &mut Core<'_>, _op: &Op) -> Exec {
    core.cpu.flow.spend(PAUSE_TICKS);
    Ok(())
}

fn extension_handler(instruction: &Instruction) -> Option<Handler> {
    macro_rules! extend {
        ($family:ident) => {{
            let source = kind(instruction, 1);
            match (bits(instruction, 1), bits(instruction, 0), source) {
                (8, 16, Kind::Reg) => instance!($family, u8, u16, Src),
                (8, 32, Kind::Reg) => instance!($family, u8, u32, Src),
                (8, 64, Kind::Reg) => instance!($family, u8, u64, Src),
                (16, 16, Kind::Reg) => instance!($family, u16, u16, Src),
                (16, 32, Kind::Reg) => instance!($family, u16, u32, Src),
                (16, 64, Kind::Reg) => instance!($family, u16, u64, Src),
                (32, 32, Kind::Reg) => instance!($family, u32, u32, Src),
                (32, 64, Kind::Reg) => instance!($family, u32, u64, Src),
                (8, 16, _) => instance!($family, u8, u16, Mem),
                (8, 32, _) => instance!($family, u8, u32, Mem),
                (8, 64, _) => instance!($family, u8, u64, Mem),
                (16, 16, _) => instance!($family, u16, u16, Mem),
                (16, 32, _) => instance!($family, u16, u32, Mem),
                (16, 64, _) => instance!($family, u16, u64, Mem),
                (32, 32, _) => instance!($family, u32, u32, Mem),
                (32, 64, _) => instance!($family, u32, u64, Mem),
                _ => return None,
            }
        }};
    }
    match instruction.mnemonic() {
        Mnemonic::Movzx => Some(extend!(movzx)),
        Mnemonic::Movsx | Mnemonic::Movsxd => Some(extend!(movsx)),
        _ => None,
    }
}

fn conditional_handler(instruction: &Instruction) -> Option<Handler> {
    use super::branch::condition::*;
    macro_rules! cmov {
        ($condition:ty) => {
            match kind(instruction, 1) {
                Kind::Reg => by_width!(instruction, cmov, Src, $condition),
                _ => by_width!(instruction, cmov, Mem, $condition),
            }
        };
    }
    macro_rules! set {
        ($condition:ty) => {
            match kind(instruction, 0) {
                Kind::Reg => Some(instance!(set, u8, Dst, $condition)),
                _ => Some(instance!(set, u8, Mem, $condition)),
            }
        };
    }
    match instruction.mnemonic() {
        Mnemonic::Cmovo => cmov!(O),
        Mnemonic::Cmovno => cmov!(No),
        Mnemonic::Cmovb => cmov!(B),
        Mnemonic::Cmovae => cmov!(Ae),
        Mnemonic::Cmove => cmov!(E),
        Mnemonic::Cmovne => cmov!(Ne),
        Mnemonic::Cmovbe => cmov!(Be),
        Mnemonic::Cmova => cmov!(A),
        Mnemonic::Cmovs => cmov!(S),
        Mnemonic::Cmovns => cmov!(Ns),
        Mnemonic::Cmovp => cmov!(P),
        Mnemonic::Cmovnp => cmov!(Np),
        Mnemonic::Cmovl => cmov!(L),
        Mnemonic::Cmovge => cmov!(Ge),
        Mnemonic::Cmovle => cmov!(Le),
        Mnemonic::Cmovg => cmov!(G),
        Mnemonic::Seto => set!(O),
        Mnemonic::Setno => set!(No),
        Mnemonic::Setb => set!(B),
        Mnemonic::Setae => set!(Ae),
        Mnemonic::Sete => set!(E),
        Mnemonic::Setne => set!(Ne),
        Mnemonic::Setbe => set!(Be),
        Mnemonic::Seta => set!(A),
        Mnemonic::Sets => set!(S),
        Mnemonic::Setns => set!(Ns),
        Mnemonic::Setp => set!(P),
        Mnemonic::Setnp => set!(Np),
        Mnemonic::Setl => set!(L),
        Mnemonic::Setge => set!(Ge),
        Mnemonic::Setle => set!(Le),
        Mnemonic::Setg => set!(G),
        _ => None,
    }
}

fn absolute_handler(instruction: &Instruction) -> Option<Handler> {
    let handler: Handler = match instruction.code() {
        Code::Mov_AL_moffs8 => run!(load_absolute::<u8>),
        Code::Mov_AX_moffs16 => run!(load_absolute::<u16>),
        Code::Mov_EAX_moffs32 => run!(load_absolute::<u32>),
        Code::Mov_RAX_moffs64 => run!(load_absolute::<u64>),
        Code::Mov_moffs8_AL => run!(store_absolute::<u8>),
        Code::Mov_moffs16_AX => run!(store_absolute::<u16>),
        Code::Mov_moffs32_EAX => run!(store_absolute::<u32>),
        Code::Mov_moffs64_RAX => run!(store_absolute::<u64>),
        _ => return None,
    };
    Some(handler)
}

/// Whether MOV moves between general registers, memory and immediates.
fn is_general_move(instruction: &Instruction) -> bool {
    let special = |n| {
        let r = instruction.op_register(n);
        r.is_segment_register() || r.is_cr() || r.is_dr() || r.is_tr()
    };
    instruction.mnemonic() == Mnemonic::Mov && !special(0) && !special(1)
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    if let Some(handler) = absolute_handler(instruction) {
        return Some(handler);
    }
    if is_general_move(instruction) {
        return by_form!(instruction, mov);
    }
    let handler: Handler = match instruction.mnemonic() {
        Mnemonic::Movzx | Mnemonic::Movsx | Mnemonic::Movsxd => {
            return extension_handler(instruction);
        }
        Mnemonic::Lea => return by_width!(instruction, lea),
        Mnemonic::Xchg => return by_target!(instruction, xchg),
        Mnemonic::Movnti => return by_width!(instruction, mov, Mem, Src),
        Mnemonic::Bswap => match bits(instruction, 0) {
            16 => run!(bswap::<u16>),
            32 => run!(bswap::<u32>),
            _ => run!(bswap::<u64>),
        },
        Mnemonic::Movbe => match (kind(instruction, 0), bits(instruction, 0)) {
            (Kind::Reg, 16) => run!(movbe::<u16, Dst, Mem>),
            (Kind::Reg, 32) => run!(movbe::<u32, Dst, Mem>),
            (Kind::Reg, _) => run!(movbe::<u64, Dst, Mem>),
            (_, 16) => run!(movbe::<u16, Mem, Src>),
            (_, 32) => run!(movbe::<u32, Mem, Src>),
            _ => run!(movbe::<u64, Mem, Src>),
        },
        Mnemonic::Cbw => run!(extend_accumulator::<u8, u16>),
        Mnemonic::Cwde => run!(extend_accumulator::<u16, u32>),
        Mnemonic::Cdqe => run!(extend_accumulator::<u32, u64>),
        Mnemonic::Cwd => run!(extend_into_data::<u16>),
        Mnemonic::Cdq => run!(extend_into_data::<u32>),
        Mnemonic::Cqo => run!(extend_into_data::<u64>),
        Mnemonic::Xlatb => run!(xlat),
        Mnemonic::Pause => run!(pause),
        Mnemonic::Nop
        | Mnemonic::Endbr32
        | Mnemonic::Endbr64
        | Mnemonic::Prefetch
        | Mnemonic::Prefetchw
        | Mnemonic::Prefetchwt1
        | Mnemonic::Prefetchnta
        | Mnemonic::Prefetcht0
        | Mnemonic::Prefetcht1
        | Mnemonic::Prefetcht2
        | Mnemonic::Lfence
        | Mnemonic::Mfence
        | Mnemonic::Sfence => run!(nothing),
        _ => return conditional_handler(instruction),
    };
    Some(handler)
}
