//! Moves between XMM and MMX registers, general registers and memory, sign masks, PTEST, CRC32
//! and state control. Intel SDM volume 1, sections 9.4.1, 10.4.1, 11.4.1, 12 and 14.

use iced_x86::{Code, Instruction, Mnemonic as M, OpKind};

use super::lanes::{Lane, build, get, low};
use super::operand::{Mmx, Place, Unit, by_form, by_unit, require_aligned, set_low};
use super::state::{Bytes, ZERO};
use crate::cpu::decode::Op;
use crate::cpu::exec::{Way, both_ways, one_way, run};
use crate::cpu::fault::GP;
use crate::cpu::mmu::Access;
use crate::cpu::regs::RDI;
use crate::cpu::simd::MXCSR_MASK;
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec, Handler, flags};

fn move_register<'m, M: Way<'m>, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let value = U::register(core, op.src);
    U::set(core, op, value);
    Ok(())
}

/// The bytes of a whole register.
const fn bytes<U: Unit>() -> u64 {
    16 * U::LANES as u64
}

#[inline(always)]
fn load_aligned<'m, M: Way<'m>, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    require_aligned(core, op, bytes::<U>())?;
    let value = U::load(core, op)?;
    U::set(core, op, value);
    Ok(())
}

#[inline(always)]
fn load_unaligned<'m, M: Way<'m>, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let value = U::load(core, op)?;
    U::set(core, op, value);
    Ok(())
}

#[inline(always)]
fn store_aligned<'m, M: Way<'m>, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    require_aligned(core, op, bytes::<U>())?;
    U::store(core, op, U::register(core, op.src))
}

#[inline(always)]
fn store_unaligned<'m, M: Way<'m>, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    U::store(core, op, U::register(core, op.src))
}

/// MOVSS, MOVSD, MOVD, MOVQ from memory: the rest of the register becomes zero.
#[inline(always)]
fn load_scalar<'m, M: Way<'m>, W: Width, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let value = core.load::<W>(op)?;
    U::set(core, op, [low(value.zero_extend()), ZERO]);
    Ok(())
}

#[inline(always)]
fn store_scalar<'m, M: Way<'m>, W: Width, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let value = get(U::register(core, op.src)[0], 0);
    core.store(op, W::truncate(value))?;
    U::note_use(core);
    Ok(())
}

/// MOVSS and MOVSD between registers.
fn merge<'m, M: Way<'m>, L: Lane, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let value: L = get(core.cpu.sse.get(op.src), 0);
    set_low::<U, L>(core, op, value);
    Ok(())
}

/// MOVQ between XMM registers: the upper half becomes zero.
fn move_low64<'m, M: Way<'m>, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let value: u64 = get(core.cpu.sse.get(op.src), 0);
    U::set(core, op, [low(value), ZERO]);
    Ok(())
}

/// The destination gets `low` and `high`.
#[inline(always)]
fn set_halves<U: Unit>(core: &mut Core<'_>, op: &Op, low: u64, high: u64) {
    U::set(core, op, [build(|n| [low, high][n]), ZERO]);
}

/// The halves of the first source, low and high.
#[inline(always)]
fn halves<U: Unit>(core: &Core<'_>, op: &Op) -> (u64, u64) {
    let first = U::first(core, op)[0];
    (get(first, 0), get(first, 1))
}

/// MOVLPS, MOVLPD from memory.
fn load_low<'m, M: Way<'m>, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let low = core.load(op)?;
    let (_, high) = halves::<U>(core, op);
    set_halves::<U>(core, op, low, high);
    Ok(())
}

/// MOVHPS, MOVHPD from memory.
fn load_high<'m, M: Way<'m>, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let high = core.load(op)?;
    let (low, _) = halves::<U>(core, op);
    set_halves::<U>(core, op, low, high);
    Ok(())
}

/// MOVHPS, MOVHPD to memory.
fn store_high<'m, M: Way<'m>, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    core.store(op, get::<u64>(core.cpu.sse.get(op.src), 1))
}

fn movhlps<'m, M: Way<'m>, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let low = get(core.cpu.sse.get(op.src), 1);
    let (_, high) = halves::<U>(core, op);
    set_halves::<U>(core, op, low, high);
    Ok(())
}

fn movlhps<'m, M: Way<'m>, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let high = get(core.cpu.sse.get(op.src), 0);
    let (low, _) = halves::<U>(core, op);
    set_halves::<U>(core, op, low, high);
    Ok(())
}

/// MOVD, MOVQ from a general register.
fn from_general<'m, M: Way<'m>, W: Width, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let value: W = core.cpu.regs.read(op.src);
    U::set(core, op, [low(value.zero_extend()), ZERO]);
    Ok(())
}

fn to_general<'m, M: Way<'m>, W: Width, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    U::note_use(core);
    let value = get(U::register(core, op.src)[0], 0);
    core.cpu.regs.write(op.dst, W::truncate(value));
    Ok(())
}

fn movdq2q(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    core.check_mmx()?;
    let value = core.cpu.sse.get(op.src);
    Mmx::set(core, op, [value, ZERO]);
    Ok(())
}

fn movq2dq(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    core.check_mmx()?;
    core.cpu.fpu.enter_mmx();
    let value = core.cpu.fpu.mmx(op.src);
    core.cpu.sse.set(op.dst, low(value));
    Ok(())
}

fn emms(core: &mut Core<'_>, _op: &Op) -> Exec {
    core.check_mmx()?;
    core.cpu.fpu.leave_mmx();
    Ok(())
}

/// The signs of the first `lanes` lanes.
fn signs<L: Lane>(vector: Bytes, lanes: usize) -> u64 {
    let top = L::BYTES * 8 - 1;
    (0..lanes).fold(0, |m, n| m | (get::<L>(vector, n).bits() >> top & 1) << n)
}

fn sign_mask<'m, M: Way<'m>, L: Lane, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    U::note_use(core);
    let lanes = U::BYTES / L::BYTES;
    let [low, high] = U::register(core, op.src).map(|lane| signs::<L>(lane, lanes));
    core.cpu.regs.set(op.dst, low | high << lanes);
    Ok(())
}

/// MASKMOVDQU and MASKMOVQ: the bytes of `value` whose mask byte has its top bit set. All bytes have
/// to lie within the segment; pages are touched for those that are written, and before the first is.
fn store_masked<'m, M: Way<'m>>(
    core: &mut M,
    op: &Op,
    value: Bytes,
    mask: Bytes,
    bytes: u64,
) -> Exec {
    let (start, addresses) = (core.cpu.regs.get(RDI), core.cpu.regs.get(op.address_mask));
    let linear = core.linear(Access::Write, op.segment(), start & addresses, bytes)?;
    // Alignment is that of MASKMOVQ for both, as processors have it.
    core.check_alignment(linear, 8)?;
    let chosen = || (0..bytes).filter(|&n| mask[n as usize] >> 7 != 0);
    for n in chosen() {
        core.open_at::<u8>(op.segment(), start.wrapping_add(n) & addresses)?;
    }
    for n in chosen() {
        let offset = start.wrapping_add(n) & addresses;
        core.store_at(op.segment(), offset, value[n as usize])?;
    }
    Ok(())
}

fn maskmov<'m, M: Way<'m>, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    U::note_use(core);
    // The first operand is the implied address: the registers are the second and third.
    let [value, mask] = [op.src, op.extra].map(|n| U::register(core, n)[0]);
    store_masked(core, op, value, mask, U::BYTES as u64)
}

/// PTEST, and by the signs of lanes alone VTESTPS and VTESTPD. ZF: no common bit; CF: the source
/// has no bit that the destination lacks.
fn test<'m, M: Way<'m>, T: Tested, U: Unit, P: Place>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let b = P::vector::<U>(core, op)?.map(|b| u128::from_le_bytes(b) & T::BITS);
    let a = U::register(core, op.dst).map(u128::from_le_bytes);
    let mut bits = 0;
    if a[0] & b[0] | a[1] & b[1] == 0 {
        bits |= flags::ZF;
    }
    if !a[0] & b[0] | !a[1] & b[1] == 0 {
        bits |= flags::CF;
    }
    core.cpu.flags.set_arithmetic(bits, flags::ARITHMETIC);
    Ok(())
}

/// Which bits of a lane of 128 bits are tested.
trait Tested {
    const BITS: u128;
}

struct All;
struct SignsOfSingles;
struct SignsOfDoubles;

impl Tested for All {
    const BITS: u128 = u128::MAX;
}

impl Tested for SignsOfSingles {
    const BITS: u128 = 0x8000_0000_8000_0000_8000_0000_8000_0000;
}

impl Tested for SignsOfDoubles {
    const BITS: u128 = 0x8000_0000_0000_0000_8000_0000_0000_0000;
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

fn ldmxcsr<'m, M: Way<'m>, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let value: u32 = core.load(op)?;
    if value & !MXCSR_MASK != 0 {
        return Err(core.fault_with(GP, 0));
    }
    core.cpu.sse.mxcsr = value;
    Ok(())
}

fn stmxcsr<'m, M: Way<'m>, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    core.store(op, core.cpu.sse.mxcsr)
}

/// The handler of a whole-register move.
fn whole(i: &Instruction, load: Handler, store: Handler) -> Handler {
    match (i.op_kind(0), i.op_kind(1)) {
        (OpKind::Register, OpKind::Register) => by_unit!(quick i, move_register),
        (OpKind::Register, _) => load,
        _ => store,
    }
}

fn scalar_handler(i: &Instruction) -> Option<Handler> {
    let memory = (0..2).find(|&n| n < i.op_count() && i.op_kind(n) == OpKind::Memory);
    Some(match (i.mnemonic(), memory) {
        (M::Movss | M::Vmovss, None) => by_unit!(quick i, merge, u32),
        (M::Movss | M::Vmovss, Some(0)) => by_unit!(quick i, store_scalar, u32),
        (M::Movss | M::Vmovss, _) => by_unit!(quick i, load_scalar, u32),
        (M::Movsd | M::Vmovsd, None) => by_unit!(quick i, merge, u64),
        (M::Movsd | M::Vmovsd | M::Movq | M::Vmovq, Some(0)) => {
            by_unit!(quick i, store_scalar, u64)
        }
        (M::Movsd | M::Vmovsd | M::Movq | M::Vmovq, Some(_)) => by_unit!(quick i, load_scalar, u64),
        (M::Movd | M::Vmovd, Some(0)) => by_unit!(quick i, store_scalar, u32),
        (M::Movd | M::Vmovd, Some(_)) => by_unit!(quick i, load_scalar, u32),
        (M::Movd | M::Vmovd, None) if i.op_register(0).is_xmm() => {
            by_unit!(quick i, from_general, u32)
        }
        (M::Movd | M::Vmovd, None) => by_unit!(quick i, to_general, u32),
        (M::Movq | M::Vmovq, None) => match (i.op_register(0), i.op_register(1)) {
            (to, from) if to.is_xmm() && from.is_xmm() => by_unit!(quick i, move_low64),
            (to, _) if to.is_xmm() => by_unit!(quick i, from_general, u64),
            _ => by_unit!(quick i, to_general, u64),
        },
        _ => return None,
    })
}

fn mmx_handler(instruction: &Instruction) -> Option<Handler> {
    Some(match instruction.code() {
        Code::Movd_mm_rm32 => match instruction.op_kind(1) {
            OpKind::Register => one_way!(from_general, u32, Mmx),
            _ => both_ways!(load_scalar, u32, Mmx),
        },
        Code::Movq_mm_rm64 => match instruction.op_kind(1) {
            OpKind::Register => one_way!(from_general, u64, Mmx),
            _ => both_ways!(load_scalar, u64, Mmx),
        },
        Code::Movd_rm32_mm => match instruction.op_kind(0) {
            OpKind::Register => one_way!(to_general, u32, Mmx),
            _ => both_ways!(store_scalar, u32, Mmx),
        },
        Code::Movq_rm64_mm => match instruction.op_kind(0) {
            OpKind::Register => one_way!(to_general, u64, Mmx),
            _ => both_ways!(store_scalar, u64, Mmx),
        },
        Code::Movq_mm_mmm64 => match instruction.op_kind(1) {
            OpKind::Register => both_ways!(move_register, Mmx),
            _ => both_ways!(load_scalar, u64, Mmx),
        },
        Code::Movq_mmm64_mm => match instruction.op_kind(0) {
            OpKind::Register => both_ways!(move_register, Mmx),
            _ => both_ways!(store_scalar, u64, Mmx),
        },
        Code::Movntq_m64_mm => both_ways!(store_scalar, u64, Mmx),
        Code::Movdq2q_mm_xmm => run!(movdq2q),
        Code::Movq2dq_xmm_mm => run!(movq2dq),
        Code::Pmovmskb_r32_mm | Code::Pmovmskb_r64_mm => one_way!(sign_mask, u8, Mmx),
        Code::Emms => run!(emms),
        _ => return None,
    })
}

/// The handlers of this file.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    // MOVSD is a string instruction too.
    if i.is_string_instruction() {
        return None;
    }
    let special = mmx_handler(i).or_else(|| scalar_handler(i));
    special
        .or_else(|| whole_handler(i))
        .or_else(|| other_handler(i))
}

fn whole_handler(i: &Instruction) -> Option<Handler> {
    let to_memory = i.op_kind(0) == OpKind::Memory;
    Some(match i.mnemonic() {
        M::Movaps | M::Movapd | M::Movdqa | M::Vmovaps | M::Vmovapd | M::Vmovdqa => whole(
            i,
            by_unit!(quick i, load_aligned),
            by_unit!(quick i, store_aligned),
        ),
        M::Movups | M::Movupd | M::Movdqu | M::Vmovups | M::Vmovupd | M::Vmovdqu => whole(
            i,
            by_unit!(quick i, load_unaligned),
            by_unit!(quick i, store_unaligned),
        ),
        M::Lddqu | M::Vlddqu => by_unit!(quick i, load_unaligned),
        M::Movntps | M::Movntpd | M::Movntdq | M::Vmovntps | M::Vmovntpd | M::Vmovntdq => {
            by_unit!(quick i, store_aligned)
        }
        M::Movntdqa | M::Vmovntdqa => by_unit!(quick i, load_aligned),
        M::Movlps | M::Movlpd | M::Vmovlps | M::Vmovlpd if to_memory => {
            by_unit!(quick i, store_scalar, u64)
        }
        M::Movlps | M::Movlpd | M::Vmovlps | M::Vmovlpd => by_unit!(quick i, load_low),
        M::Movhps | M::Movhpd | M::Vmovhps | M::Vmovhpd if to_memory => {
            by_unit!(quick i, store_high)
        }
        M::Movhps | M::Movhpd | M::Vmovhps | M::Vmovhpd => by_unit!(quick i, load_high),
        M::Movhlps | M::Vmovhlps => by_unit!(quick i, movhlps),
        M::Movlhps | M::Vmovlhps => by_unit!(quick i, movlhps),
        _ => return None,
    })
}

fn other_handler(i: &Instruction) -> Option<Handler> {
    Some(match i.mnemonic() {
        M::Movmskps | M::Vmovmskps => by_unit!(i, sign_mask, u32),
        M::Movmskpd | M::Vmovmskpd => by_unit!(i, sign_mask, u64),
        M::Pmovmskb | M::Vpmovmskb => by_unit!(i, sign_mask, u8),
        M::Maskmovdqu | M::Vmaskmovdqu => by_unit!(i, maskmov),
        M::Maskmovq => one_way!(maskmov, Mmx),
        M::Ptest | M::Vptest => by_form!(i, test, All),
        M::Vtestps => by_form!(i, test, SignsOfSingles),
        M::Vtestpd => by_form!(i, test, SignsOfDoubles),
        M::Ldmxcsr | M::Vldmxcsr => by_unit!(i, ldmxcsr),
        M::Stmxcsr | M::Vstmxcsr => by_unit!(i, stmxcsr),
        M::Crc32 => match i.code() {
            Code::Crc32_r32_rm8 | Code::Crc32_r64_rm8 => run!(crc32::<u8>),
            Code::Crc32_r32_rm16 => run!(crc32::<u16>),
            Code::Crc32_r32_rm32 => run!(crc32::<u32>),
            _ => run!(crc32::<u64>),
        },
        _ => return None,
    })
}
