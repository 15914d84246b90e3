//! Instructions that move lanes about: unpack, pack, shuffle, blend, insert, extract, widen.
//! Intel SDM volume 1, sections 9.4.4, 10.4.4, 11.4.2 and 12.8.

use crate::cpu::exec::run;
use iced_x86::{Instruction, Mnemonic, OpKind};

use super::binary::{Binary, Immediate, binary, from_half, with_immediate};
use super::lanes::{Lane, build, get, put};
use crate::cpu::decode::Op;
use crate::cpu::simd::operand::{Mem128, Mmx, VectorSource, Xmm};
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec, Handler};

/// Interleaves the lanes of the low (`high`: the high) halves.
#[inline(always)]
fn unpack<L: Lane>(a: u128, b: u128, bytes: usize, high: bool) -> u128 {
    let start = if high { bytes / L::BYTES / 2 } else { 0 };
    build(|n| {
        let from = if n % 2 == 0 { a } else { b };
        get::<L>(from, (start + n / 2) % (16 / L::BYTES))
    })
}

/// Narrows the lanes of `a`, then those of `b`.
#[inline(always)]
fn pack<L: Lane, R: Lane>(a: u128, b: u128, bytes: usize, f: impl Fn(L) -> R) -> u128 {
    let lanes = bytes / L::BYTES;
    build(|n| {
        let from = if n < lanes { a } else { b };
        f(get(from, n % lanes))
    })
}

/// Widens the low lanes.
#[inline(always)]
fn widen<L: Lane, R: Lane>(b: u128, f: impl Fn(L) -> R) -> u128 {
    build(|n| f(get(b, n)))
}

#[inline(always)]
fn pshufb(a: u128, b: u128, bytes: usize) -> u128 {
    build(|n| {
        let index: u8 = get(b, n);
        if index & 0x80 != 0 || n >= bytes {
            return 0u8;
        }
        get(a, usize::from(index) % bytes)
    })
}

macro_rules! operations {
    ($($name:ident($a:ident, $b:ident, $n:ident) = $result:expr;)*) => {
        $(
            struct $name;
            impl Binary for $name {
                #[inline(always)]
                fn apply($a: u128, $b: u128, $n: usize) -> u128 {
                    let _ = ($a, $n);
                    $result
                }
            }
        )*
    };
}

operations! {
    Punpcklbw(a, b, n) = unpack::<u8>(a, b, n, false);
    Punpcklwd(a, b, n) = unpack::<u16>(a, b, n, false);
    Punpckldq(a, b, n) = unpack::<u32>(a, b, n, false);
    Punpcklqdq(a, b, n) = unpack::<u64>(a, b, n, false);
    Punpckhbw(a, b, n) = unpack::<u8>(a, b, n, true);
    Punpckhwd(a, b, n) = unpack::<u16>(a, b, n, true);
    Punpckhdq(a, b, n) = unpack::<u32>(a, b, n, true);
    Punpckhqdq(a, b, n) = unpack::<u64>(a, b, n, true);
    Packsswb(a, b, n) = pack(a, b, n, |x: i16| x.clamp(-0x80, 0x7f) as i8);
    Packssdw(a, b, n) = pack(a, b, n, |x: i32| x.clamp(-0x8000, 0x7fff) as i16);
    Packuswb(a, b, n) = pack(a, b, n, |x: i16| x.clamp(0, 0xff) as u8);
    Packusdw(a, b, n) = pack(a, b, n, |x: i32| x.clamp(0, 0xffff) as u16);
    Pshufb(a, b, n) = pshufb(a, b, n);
    Pmovsxbw(a, b, n) = widen(b, |x: i8| i16::from(x));
    Pmovsxbd(a, b, n) = widen(b, |x: i8| i32::from(x));
    Pmovsxbq(a, b, n) = widen(b, |x: i8| i64::from(x));
    Pmovsxwd(a, b, n) = widen(b, |x: i16| i32::from(x));
    Pmovsxwq(a, b, n) = widen(b, |x: i16| i64::from(x));
    Pmovsxdq(a, b, n) = widen(b, |x: i32| i64::from(x));
    Pmovzxbw(a, b, n) = widen(b, |x: u8| u16::from(x));
    Pmovzxbd(a, b, n) = widen(b, |x: u8| u32::from(x));
    Pmovzxbq(a, b, n) = widen(b, |x: u8| u64::from(x));
    Pmovzxwd(a, b, n) = widen(b, |x: u16| u32::from(x));
    Pmovzxwq(a, b, n) = widen(b, |x: u16| u64::from(x));
    Pmovzxdq(a, b, n) = widen(b, |x: u32| u64::from(x));
    Movshdup(a, b, n) = build(|k| get::<u32>(b, k | 1));
    Movsldup(a, b, n) = build(|k| get::<u32>(b, k & 2));
    Movddup(a, b, n) = build(|_| get::<u64>(b, 0));
}

/// Two bits of the immediate for each of four lanes.
#[inline(always)]
fn choice(immediate: u8, n: usize) -> usize {
    usize::from(immediate >> (2 * (n & 3)) & 3)
}

/// Takes lane `n` of `b` where bit `n` of the immediate is set.
#[inline(always)]
fn blend<L: Lane>(a: u128, b: u128, immediate: u8) -> u128 {
    build(|n| get::<L>(if immediate >> n & 1 != 0 { b } else { a }, n))
}

/// MPSADBW: eight sums of absolute differences of four bytes.
fn mpsadbw(a: u128, b: u128, immediate: u8) -> u128 {
    let block = usize::from(immediate & 3) * 4;
    let start = usize::from(immediate >> 2 & 1) * 4;
    build(|n| {
        let difference = |k| u16::from(get::<u8>(a, start + n + k).abs_diff(get(b, block + k)));
        (0..4).map(difference).sum::<u16>()
    })
}

/// INSERTPS between registers: one single of `b`, into one place of `a`, some cleared.
fn insertps(a: u128, b: u128, immediate: u8) -> u128 {
    let value: u32 = get(b, usize::from(immediate >> 6));
    let place = usize::from(immediate >> 4 & 3);
    build(|n| match n {
        _ if immediate >> n & 1 != 0 => 0u32,
        _ if n == place => value,
        _ => get(a, n),
    })
}

macro_rules! immediates {
    ($($name:ident($a:ident, $b:ident, $i:ident) = $result:expr;)*) => {
        $(
            struct $name;
            impl Immediate for $name {
                #[inline(always)]
                fn apply($a: u128, $b: u128, $i: u8, _bytes: usize) -> u128 {
                    let _ = $a;
                    $result
                }
            }
        )*
    };
}

immediates! {
    Pshufd(a, b, i) = build(|n| get::<u32>(b, choice(i, n)));
    Pshuflw(a, b, i) = build(|n| get::<u16>(b, if n < 4 { choice(i, n) } else { n }));
    Pshufhw(a, b, i) = build(|n| get::<u16>(b, if n < 4 { n } else { 4 + choice(i, n) }));
    Pshufw(a, b, i) = build(|n| get::<u16>(b, choice(i, n)));
    Shufps(a, b, i) = build(|n| get::<u32>(if n < 2 { a } else { b }, choice(i, n)));
    Shufpd(a, b, i) = build(|n| get::<u64>(if n < 1 { a } else { b }, usize::from(i >> n & 1)));
    Blendps(a, b, i) = blend::<u32>(a, b, i);
    Blendpd(a, b, i) = blend::<u64>(a, b, i);
    Pblendw(a, b, i) = blend::<u16>(a, b, i);
    Mpsadbw(a, b, i) = mpsadbw(a, b, i);
    Insertps(a, b, i) = insertps(a, b, i);
}

/// BLENDVPS, BLENDVPD, PBLENDVB: the sign of each lane of XMM0 chooses.
fn blend_variable<L: Lane, S: VectorSource>(core: &mut Core<'_>, op: &Op) -> Exec {
    S::enter(core)?;
    let b = S::source(core, op)?;
    let a = S::destination(core, op);
    let chooser = core.cpu.sse.get(0);
    let top = L::BYTES * 8 - 1;
    let chosen = build(|n| {
        let from_b = get::<L>(chooser, n).bits() >> top & 1 != 0;
        get::<L>(if from_b { b } else { a }, n)
    });
    S::set(core, op, chosen);
    Ok(())
}

fn blend_handler<L: Lane>(instruction: &Instruction) -> Option<Handler> {
    Some(match instruction.op_kind(1) {
        OpKind::Memory => run!(blend_variable::<L, Mem128>),
        _ => run!(blend_variable::<L, Xmm>),
    })
}

/// PINSRB to PINSRQ and INSERTPS from memory: a number of width `W` into a lane.
fn insert<W: Width + Lane, V: VectorSource>(core: &mut Core<'_>, op: &Op) -> Exec {
    V::enter(core)?;
    let value: W = if is_register_form(op) {
        W::truncate(core.cpu.regs.get(op.src))
    } else {
        core.load(op)?
    };
    let lane = op.immediate as usize % (V::BYTES / <W as Lane>::BYTES);
    let a = V::destination(core, op);
    let hole = put(W::truncate(u64::MAX), lane);
    V::set(core, op, a & !hole | put(value, lane));
    Ok(())
}

/// INSERTPS from memory: the source is the single itself.
fn insertps_memory(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let value: u32 = core.load(op)?;
    let a = core.cpu.sse.get(op.dst);
    let immediate = op.immediate as u8 & 0x3f;
    core.cpu
        .sse
        .set(op.dst, insertps(a, u128::from(value), immediate));
    Ok(())
}

/// Whether the operand that can be a register or memory is a register.
fn is_register_form(op: &Op) -> bool {
    !op.has_memory()
}

/// PEXTRB to PEXTRQ and EXTRACTPS: a lane, zero-extended, to a register or memory.
fn extract<W: Width + Lane>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let lane = op.immediate as usize % (16 / <W as Lane>::BYTES);
    let value: W = get(core.cpu.sse.get(op.src), lane);
    if !is_register_form(op) {
        return core.store(op, value);
    }
    core.cpu.regs.set(op.dst, value.zero_extend());
    Ok(())
}

/// PEXTRW from an MMX register.
fn extract_mmx(core: &mut Core<'_>, op: &Op) -> Exec {
    core.check_mmx()?;
    core.cpu.fpu.enter_mmx();
    let vector = u128::from(core.cpu.fpu.mmx(op.src));
    let value: u16 = get(vector, op.immediate as usize & 3);
    core.cpu.regs.set(op.dst, u64::from(value));
    Ok(())
}

fn insert_handler(instruction: &Instruction) -> Option<Handler> {
    let memory = instruction.op_kind(1) == OpKind::Memory;
    Some(match instruction.mnemonic() {
        Mnemonic::Insertps if memory => run!(insertps_memory),
        Mnemonic::Insertps => return with_immediate::<Insertps>(instruction),
        Mnemonic::Pinsrb => run!(insert::<u8, Xmm>),
        Mnemonic::Pinsrw if instruction.op_register(0).is_mm() => run!(insert::<u16, Mmx>),
        Mnemonic::Pinsrw => run!(insert::<u16, Xmm>),
        Mnemonic::Pinsrd => run!(insert::<u32, Xmm>),
        Mnemonic::Pinsrq => run!(insert::<u64, Xmm>),
        Mnemonic::Pextrb => run!(extract::<u8>),
        Mnemonic::Pextrw if instruction.op_register(1).is_mm() => run!(extract_mmx),
        Mnemonic::Pextrw => run!(extract::<u16>),
        Mnemonic::Pextrd | Mnemonic::Extractps => run!(extract::<u32>),
        Mnemonic::Pextrq => run!(extract::<u64>),
        _ => return None,
    })
}

/// MMX sources of the low unpack instructions are 4 bytes in memory; reading 8 would fault
/// where the processor does not.
struct Mem32;

impl VectorSource for Mem32 {
    const BYTES: usize = 8;

    fn enter(core: &mut Core<'_>) -> Exec {
        core.check_mmx()
    }

    fn source(core: &mut Core<'_>, op: &Op) -> Exec<u128> {
        Ok(u128::from(core.load::<u32>(op)?))
    }

    fn destination(core: &Core<'_>, op: &Op) -> u128 {
        Mmx::destination(core, op)
    }

    fn set(core: &mut Core<'_>, op: &Op, value: u128) {
        Mmx::set(core, op, value);
    }
}

fn unpack_low<O: Binary>(instruction: &Instruction) -> Option<Handler> {
    fn run<O: Binary>(core: &mut Core<'_>, op: &Op) -> Exec {
        Mem32::enter(core)?;
        let b = Mem32::source(core, op)?;
        let a = Mem32::destination(core, op);
        Mem32::set(core, op, O::apply(a, b, 8));
        Ok(())
    }
    match super::binary::shape(instruction) {
        (true, true) => Some(run!(run::<O>)),
        _ => binary::<O>(instruction),
    }
}

/// PMOVSX and PMOVZX read as many bytes from memory as they widen.
fn widening<O: Binary, W: Width>(instruction: &Instruction) -> Option<Handler> {
    fn run<O: Binary, W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
        core.enter_sse()?;
        let b = core.load::<W>(op)?.zero_extend();
        core.cpu.sse.set(op.dst, O::apply(0, u128::from(b), 16));
        Ok(())
    }
    match instruction.op_kind(1) {
        OpKind::Memory => Some(run!(run::<O, W>)),
        _ => binary::<O>(instruction),
    }
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    match instruction.mnemonic() {
        Mnemonic::Punpcklbw => unpack_low::<Punpcklbw>(instruction),
        Mnemonic::Punpcklwd => unpack_low::<Punpcklwd>(instruction),
        Mnemonic::Punpckldq => unpack_low::<Punpckldq>(instruction),
        Mnemonic::Unpcklps => binary::<Punpckldq>(instruction),
        Mnemonic::Punpcklqdq | Mnemonic::Unpcklpd => binary::<Punpcklqdq>(instruction),
        Mnemonic::Punpckhbw => binary::<Punpckhbw>(instruction),
        Mnemonic::Punpckhwd => binary::<Punpckhwd>(instruction),
        Mnemonic::Punpckhdq | Mnemonic::Unpckhps => binary::<Punpckhdq>(instruction),
        Mnemonic::Punpckhqdq | Mnemonic::Unpckhpd => binary::<Punpckhqdq>(instruction),
        Mnemonic::Packsswb => binary::<Packsswb>(instruction),
        Mnemonic::Packssdw => binary::<Packssdw>(instruction),
        Mnemonic::Packuswb => binary::<Packuswb>(instruction),
        Mnemonic::Packusdw => binary::<Packusdw>(instruction),
        Mnemonic::Pshufb => binary::<Pshufb>(instruction),
        Mnemonic::Pmovsxbw => widening::<Pmovsxbw, u64>(instruction),
        Mnemonic::Pmovsxbd => widening::<Pmovsxbd, u32>(instruction),
        Mnemonic::Pmovsxbq => widening::<Pmovsxbq, u16>(instruction),
        Mnemonic::Pmovsxwd => widening::<Pmovsxwd, u64>(instruction),
        Mnemonic::Pmovsxwq => widening::<Pmovsxwq, u32>(instruction),
        Mnemonic::Pmovsxdq => widening::<Pmovsxdq, u64>(instruction),
        Mnemonic::Pmovzxbw => widening::<Pmovzxbw, u64>(instruction),
        Mnemonic::Pmovzxbd => widening::<Pmovzxbd, u32>(instruction),
        Mnemonic::Pmovzxbq => widening::<Pmovzxbq, u16>(instruction),
        Mnemonic::Pmovzxwd => widening::<Pmovzxwd, u64>(instruction),
        Mnemonic::Pmovzxwq => widening::<Pmovzxwq, u32>(instruction),
        Mnemonic::Pmovzxdq => widening::<Pmovzxdq, u64>(instruction),
        Mnemonic::Movshdup => binary::<Movshdup>(instruction),
        Mnemonic::Movsldup => binary::<Movsldup>(instruction),
        Mnemonic::Movddup => from_half::<Movddup>(instruction),
        Mnemonic::Pshufd => with_immediate::<Pshufd>(instruction),
        Mnemonic::Pshuflw => with_immediate::<Pshuflw>(instruction),
        Mnemonic::Pshufhw => with_immediate::<Pshufhw>(instruction),
        Mnemonic::Pshufw => with_immediate::<Pshufw>(instruction),
        Mnemonic::Shufps => with_immediate::<Shufps>(instruction),
        Mnemonic::Shufpd => with_immediate::<Shufpd>(instruction),
        Mnemonic::Blendps => with_immediate::<Blendps>(instruction),
        Mnemonic::Blendpd => with_immediate::<Blendpd>(instruction),
        Mnemonic::Pblendw => with_immediate::<Pblendw>(instruction),
        Mnemonic::Mpsadbw => with_immediate::<Mpsadbw>(instruction),
        Mnemonic::Blendvps => blend_handler::<u32>(instruction),
        Mnemonic::Blendvpd => blend_handler::<u64>(instruction),
        Mnemonic::Pblendvb => blend_handler::<u8>(instruction),
        _ => insert_handler(instruction),
    }
}
