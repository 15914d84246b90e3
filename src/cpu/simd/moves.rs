//! Moves between XMM and MMX registers, general registers and memory, sign masks, PTEST, CRC32
//! and state control. Intel SDM volume 1, sections 9.4.1, 10.4.1, 11.4.1 and 12.

use crate::cpu::exec::run;
use iced_x86::{Code, Instruction, Mnemonic, OpKind};

use super::lanes::{Lane, get};
use crate::cpu::decode::Op;
use crate::cpu::fault::GP;
use crate::cpu::regs::RDI;
use crate::cpu::simd::MXCSR_MASK;
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec, Handler, flags};

fn move_register(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let value = core.cpu.sse.get(op.src);
    core.cpu.sse.set(op.dst, value);
    Ok(())
}

fn load_aligned(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let value = core.load_aligned(op)?;
    core.cpu.sse.set(op.dst, value);
    Ok(())
}

fn load_unaligned(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let value = core.load_unaligned(op)?;
    core.cpu.sse.set(op.dst, value);
    Ok(())
}

fn store_aligned(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    core.store_aligned(op, core.cpu.sse.get(op.src))
}

fn store_unaligned(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    core.store_unaligned(op, core.cpu.sse.get(op.src))
}

/// MOVSS, MOVSD, MOVD, MOVQ from memory: the rest of the register becomes zero.
fn load_scalar<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let value = core.load::<W>(op)?.zero_extend();
    core.cpu.sse.set(op.dst, u128::from(value));
    Ok(())
}

fn store_scalar<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    core.store(op, W::truncate(core.cpu.sse.get(op.src) as u64))
}

/// MOVSS between registers.
fn merge_low32(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let value = core.cpu.sse.get(op.src) as u32;
    core.cpu.sse.set_low32(op.dst, value);
    Ok(())
}

/// MOVSD between registers.
fn merge_low64(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let value = core.cpu.sse.get(op.src) as u64;
    core.cpu.sse.set_low64(op.dst, value);
    Ok(())
}

/// MOVQ between XMM registers: the upper half becomes zero.
fn move_low64(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let value = core.cpu.sse.get(op.src) as u64;
    core.cpu.sse.set(op.dst, u128::from(value));
    Ok(())
}

fn set_high64(core: &mut Core<'_>, register: u8, value: u64) {
    let low = core.cpu.sse.get(register) as u64;
    core.cpu
        .sse
        .set(register, u128::from(value) << 64 | u128::from(low));
}

/// MOVLPS, MOVLPD from memory.
fn load_low(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let value = core.load(op)?;
    core.cpu.sse.set_low64(op.dst, value);
    Ok(())
}

/// MOVHPS, MOVHPD from memory.
fn load_high(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let value = core.load(op)?;
    set_high64(core, op.dst, value);
    Ok(())
}

/// MOVHPS, MOVHPD to memory.
fn store_high(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    core.store(op, (core.cpu.sse.get(op.src) >> 64) as u64)
}

fn movhlps(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let high = (core.cpu.sse.get(op.src) >> 64) as u64;
    core.cpu.sse.set_low64(op.dst, high);
    Ok(())
}

fn movlhps(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let low = core.cpu.sse.get(op.src) as u64;
    set_high64(core, op.dst, low);
    Ok(())
}

/// MOVD, MOVQ from a general register.
fn from_general<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let value: W = core.cpu.regs.read(op.src);
    core.cpu.sse.set(op.dst, u128::from(value.zero_extend()));
    Ok(())
}

fn to_general<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let value = core.cpu.sse.get(op.src) as u64;
    core.cpu.regs.write(op.dst, W::truncate(value));
    Ok(())
}

fn mmx_from_general<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.check_mmx()?;
    let value: W = core.cpu.regs.read(op.src);
    core.cpu.fpu.enter_mmx();
    core.cpu.fpu.set_mmx(op.dst, value.zero_extend());
    Ok(())
}

fn mmx_to_general<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.check_mmx()?;
    core.cpu.fpu.enter_mmx();
    let value = core.cpu.fpu.mmx(op.src);
    core.cpu.regs.write(op.dst, W::truncate(value));
    Ok(())
}

fn mmx_load<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.check_mmx()?;
    let value = core.load::<W>(op)?.zero_extend();
    core.cpu.fpu.enter_mmx();
    core.cpu.fpu.set_mmx(op.dst, value);
    Ok(())
}

fn mmx_store<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.check_mmx()?;
    core.store(op, W::truncate(core.cpu.fpu.mmx(op.src)))?;
    core.cpu.fpu.enter_mmx();
    Ok(())
}

fn mmx_move(core: &mut Core<'_>, op: &Op) -> Exec {
    core.check_mmx()?;
    core.cpu.fpu.enter_mmx();
    let value = core.cpu.fpu.mmx(op.src);
    core.cpu.fpu.set_mmx(op.dst, value);
    Ok(())
}

fn movdq2q(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    core.check_mmx()?;
    let value = core.cpu.sse.get(op.src) as u64;
    core.cpu.fpu.enter_mmx();
    core.cpu.fpu.set_mmx(op.dst, value);
    Ok(())
}

fn movq2dq(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    core.check_mmx()?;
    core.cpu.fpu.enter_mmx();
    let value = core.cpu.fpu.mmx(op.src);
    core.cpu.sse.set(op.dst, u128::from(value));
    Ok(())
}

fn emms(core: &mut Core<'_>, _op: &Op) -> Exec {
    core.check_mmx()?;
    core.cpu.fpu.leave_mmx();
    Ok(())
}

/// The signs of the first `lanes` lanes.
fn signs<L: Lane>(vector: u128, lanes: usize) -> u64 {
    let top = L::BYTES * 8 - 1;
    (0..lanes).fold(0, |m, n| m | (get::<L>(vector, n).bits() >> top & 1) << n)
}

fn sign_mask<L: Lane>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let mask = signs::<L>(core.cpu.sse.get(op.src), 16 / L::BYTES);
    core.cpu.regs.set(op.dst, mask);
    Ok(())
}

fn mmx_sign_mask(core: &mut Core<'_>, op: &Op) -> Exec {
    core.check_mmx()?;
    core.cpu.fpu.enter_mmx();
    let mask = signs::<u8>(u128::from(core.cpu.fpu.mmx(op.src)), 8);
    core.cpu.regs.set(op.dst, mask);
    Ok(())
}

/// MASKMOVDQU and MASKMOVQ: the bytes of `value` whose mask byte has its top bit set.
fn store_masked(core: &mut Core<'_>, op: &Op, value: u128, mask: u128, bytes: u64) -> Exec {
    let base = core.cpu.regs.get(RDI);
    let offset = match op.address_size() {
        0 => base & 0xffff,
        1 => base & 0xffff_ffff,
        _ => base,
    };
    for n in 0..bytes {
        if mask >> (8 * n + 7) & 1 != 0 {
            let byte = (value >> (8 * n)) as u8;
            core.store_at(op.segment(), offset.wrapping_add(n), byte)?;
        }
    }
    Ok(())
}

fn maskmovdqu(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    // The first operand is the implied address: the registers are the second and third.
    let (value, mask) = (core.cpu.sse.get(op.src), core.cpu.sse.get(op.extra));
    store_masked(core, op, value, mask, 16)
}

fn maskmovq(core: &mut Core<'_>, op: &Op) -> Exec {
    core.check_mmx()?;
    let (value, mask) = (core.cpu.fpu.mmx(op.src), core.cpu.fpu.mmx(op.extra));
    core.cpu.fpu.enter_mmx();
    store_masked(core, op, u128::from(value), u128::from(mask), 8)
}

/// ZF: no common bit; CF: the source has no bit that the destination lacks.
fn ptest(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let b = match op.has_memory() {
        true => core.load_aligned(op)?,
        false => core.cpu.sse.get(op.src),
    };
    let a = core.cpu.sse.get(op.dst);
    let mut bits = 0;
    if a & b == 0 {
        bits |= flags::ZF;
    }
    if !a & b == 0 {
        bits |= flags::CF;
    }
    core.cpu.flags.set_arithmetic(bits, flags::ARITHMETIC);
    Ok(())
}

/// CRC32: the Castagnoli polynomial, bits reflected.
fn crc32<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let value: W = match op.has_memory() {
        true => core.load(op)?,
        false => core.cpu.regs.read(op.src),
    };
    let mut crc = core.cpu.regs.read::<u32>(op.dst);
    let bytes = value.zero_extend().to_le_bytes();
    for byte in &bytes[..W::BYTES as usize] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 != 0 { POLYNOMIAL } else { 0 };
        }
    }
    core.cpu.regs.write(op.dst, crc);
    Ok(())
}

fn ldmxcsr(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let value: u32 = core.load(op)?;
    if value & !MXCSR_MASK != 0 {
        return Err(core.fault_with(GP, 0));
    }
    core.cpu.sse.mxcsr = value;
    Ok(())
}

fn stmxcsr(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    core.store(op, core.cpu.sse.mxcsr)
}

/// The handler of a whole-register move.
fn whole(instruction: &Instruction, load: Handler, store: Handler) -> Handler {
    match (instruction.op_kind(0), instruction.op_kind(1)) {
        (OpKind::Register, OpKind::Register) => run!(move_register),
        (OpKind::Register, _) => load,
        _ => store,
    }
}

fn scalar_handler(instruction: &Instruction) -> Option<Handler> {
    Some(match instruction.code() {
        Code::Movss_xmm_xmmm32 | Code::Movss_xmmm32_xmm => {
            match (instruction.op_kind(0), instruction.op_kind(1)) {
                (OpKind::Register, OpKind::Register) => run!(merge_low32),
                (OpKind::Register, _) => run!(load_scalar::<u32>),
                _ => run!(store_scalar::<u32>),
            }
        }
        Code::Movsd_xmm_xmmm64 | Code::Movsd_xmmm64_xmm => {
            match (instruction.op_kind(0), instruction.op_kind(1)) {
                (OpKind::Register, OpKind::Register) => run!(merge_low64),
                (OpKind::Register, _) => run!(load_scalar::<u64>),
                _ => run!(store_scalar::<u64>),
            }
        }
        Code::Movq_xmm_xmmm64 | Code::Movq_xmmm64_xmm => {
            match (instruction.op_kind(0), instruction.op_kind(1)) {
                (OpKind::Register, OpKind::Register) => run!(move_low64),
                (OpKind::Register, _) => run!(load_scalar::<u64>),
                _ => run!(store_scalar::<u64>),
            }
        }
        Code::Movd_xmm_rm32 => match instruction.op_kind(1) {
            OpKind::Register => run!(from_general::<u32>),
            _ => run!(load_scalar::<u32>),
        },
        Code::Movq_xmm_rm64 => match instruction.op_kind(1) {
            OpKind::Register => run!(from_general::<u64>),
            _ => run!(load_scalar::<u64>),
        },
        Code::Movd_rm32_xmm => match instruction.op_kind(0) {
            OpKind::Register => run!(to_general::<u32>),
            _ => run!(store_scalar::<u32>),
        },
        Code::Movq_rm64_xmm => match instruction.op_kind(0) {
            OpKind::Register => run!(to_general::<u64>),
            _ => run!(store_scalar::<u64>),
        },
        _ => return None,
    })
}

fn mmx_handler(instruction: &Instruction) -> Option<Handler> {
    Some(match instruction.code() {
        Code::Movd_mm_rm32 => match instruction.op_kind(1) {
            OpKind::Register => run!(mmx_from_general::<u32>),
            _ => run!(mmx_load::<u32>),
        },
        Code::Movq_mm_rm64 => match instruction.op_kind(1) {
            OpKind::Register => run!(mmx_from_general::<u64>),
            _ => run!(mmx_load::<u64>),
        },
        Code::Movd_rm32_mm => match instruction.op_kind(0) {
            OpKind::Register => run!(mmx_to_general::<u32>),
            _ => run!(mmx_store::<u32>),
        },
        Code::Movq_rm64_mm => match instruction.op_kind(0) {
            OpKind::Register => run!(mmx_to_general::<u64>),
            _ => run!(mmx_store::<u64>),
        },
        Code::Movq_mm_mmm64 => match instruction.op_kind(1) {
            OpKind::Register => run!(mmx_move),
            _ => run!(mmx_load::<u64>),
        },
        Code::Movq_mmm64_mm => match instruction.op_kind(0) {
            OpKind::Register => run!(mmx_move),
            _ => run!(mmx_store::<u64>),
        },
        Code::Movntq_m64_mm => run!(mmx_store::<u64>),
        Code::Movdq2q_mm_xmm => run!(movdq2q),
        Code::Movq2dq_xmm_mm => run!(movq2dq),
        Code::Pmovmskb_r32_mm | Code::Pmovmskb_r64_mm => run!(mmx_sign_mask),
        Code::Emms => run!(emms),
        _ => return None,
    })
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    let special = scalar_handler(instruction).or_else(|| mmx_handler(instruction));
    if special.is_some() {
        return special;
    }
    let to_memory = instruction.op_kind(0) == OpKind::Memory;
    Some(match instruction.mnemonic() {
        Mnemonic::Movaps | Mnemonic::Movapd | Mnemonic::Movdqa => {
            whole(instruction, run!(load_aligned), run!(store_aligned))
        }
        Mnemonic::Movups | Mnemonic::Movupd | Mnemonic::Movdqu => {
            whole(instruction, run!(load_unaligned), run!(store_unaligned))
        }
        Mnemonic::Lddqu => run!(load_unaligned),
        Mnemonic::Movntps | Mnemonic::Movntpd | Mnemonic::Movntdq => run!(store_aligned),
        Mnemonic::Movntdqa => run!(load_aligned),
        Mnemonic::Movlps | Mnemonic::Movlpd if to_memory => run!(store_scalar::<u64>),
        Mnemonic::Movlps | Mnemonic::Movlpd => run!(load_low),
        Mnemonic::Movhps | Mnemonic::Movhpd if to_memory => run!(store_high),
        Mnemonic::Movhps | Mnemonic::Movhpd => run!(load_high),
        Mnemonic::Movhlps => run!(movhlps),
        Mnemonic::Movlhps => run!(movlhps),
        Mnemonic::Movmskps => run!(sign_mask::<u32>),
        Mnemonic::Movmskpd => run!(sign_mask::<u64>),
        Mnemonic::Pmovmskb => run!(sign_mask::<u8>),
        Mnemonic::Maskmovdqu => run!(maskmovdqu),
        Mnemonic::Maskmovq => run!(maskmovq),
        Mnemonic::Ptest => run!(ptest),
        Mnemonic::Ldmxcsr => run!(ldmxcsr),
        Mnemonic::Stmxcsr => run!(stmxcsr),
        Mnemonic::Crc32 => match instruction.code() {
            Code::Crc32_r32_rm8 | Code::Crc32_r64_rm8 => run!(crc32::<u8>),
            Code::Crc32_r32_rm16 => run!(crc32::<u16>),
            Code::Crc32_r32_rm32 => run!(crc32::<u32>),
            _ => run!(crc32::<u64>),
        },
        _ => return None,
    })
}
