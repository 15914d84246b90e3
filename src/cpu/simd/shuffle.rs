//! Instructions that move lanes about: unpack, pack, shuffle, blend, insert, extract, widen.
//! Intel SDM volume 1, sections 9.4.4, 10.4.4, 11.4.2, 12.8 and 14.

use iced_x86::{Instruction, Mnemonic};

use super::binary::{Binary, Immediate, binary, each, from_half, operations, with_immediate};
use super::lanes::{Lane, build, get, low, map, replace, whole};
use super::state::{Bytes, ZERO};
use crate::cpu::decode::Op;
use crate::cpu::exec::{Way, one_way};
use crate::cpu::simd::operand::{Mmx, Place, Registers, Unit};
use crate::cpu::simd::operand::{by_form, by_unit, has_memory, registers};
use crate::cpu::width::Width;
use crate::cpu::{Exec, Handler};

/// Interleaves the lanes of the low (`high`: the high) halves.
#[inline(always)]
fn unpack<L: Lane>(a: Bytes, b: Bytes, bytes: usize, high: bool) -> Bytes {
    let start = if high { bytes / L::BYTES / 2 } else { 0 };
    build(|n| {
        let from = if n % 2 == 0 { a } else { b };
        get::<L>(from, (start + n / 2) % (16 / L::BYTES))
    })
}

/// Narrows the lanes of `a`, then those of `b`.
#[inline(always)]
fn pack<L: Lane, R: Lane>(a: Bytes, b: Bytes, bytes: usize, f: impl Fn(L) -> R) -> Bytes {
    let lanes = bytes / L::BYTES;
    build(|n| {
        let from = if n < lanes { a } else { b };
        f(get(from, n % lanes))
    })
}

#[inline(always)]
fn pshufb(a: Bytes, b: Bytes, bytes: usize) -> Bytes {
    build(|n| {
        let index: u8 = get(b, n);
        if index & 0x80 != 0 || n >= bytes {
            return 0u8;
        }
        get(a, usize::from(index) % bytes)
    })
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
    Pmovsxbw(a, b, n) = map(b, |x: i8| i16::from(x));
    Pmovsxbd(a, b, n) = map(b, |x: i8| i32::from(x));
    Pmovsxbq(a, b, n) = map(b, |x: i8| i64::from(x));
    Pmovsxwd(a, b, n) = map(b, |x: i16| i32::from(x));
    Pmovsxwq(a, b, n) = map(b, |x: i16| i64::from(x));
    Pmovsxdq(a, b, n) = map(b, |x: i32| i64::from(x));
    Pmovzxbw(a, b, n) = map(b, |x: u8| u16::from(x));
    Pmovzxbd(a, b, n) = map(b, |x: u8| u32::from(x));
    Pmovzxbq(a, b, n) = map(b, |x: u8| u64::from(x));
    Pmovzxwd(a, b, n) = map(b, |x: u16| u32::from(x));
    Pmovzxwq(a, b, n) = map(b, |x: u16| u64::from(x));
    Pmovzxdq(a, b, n) = map(b, |x: u32| u64::from(x));
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
fn blend<L: Lane>(a: Bytes, b: Bytes, immediate: u8) -> Bytes {
    build(|n| get::<L>(if immediate >> n & 1 != 0 { b } else { a }, n))
}

/// MPSADBW: eight sums of absolute differences of four bytes.
fn mpsadbw(a: Bytes, b: Bytes, immediate: u8) -> Bytes {
    let block = usize::from(immediate & 3) * 4;
    let start = usize::from(immediate >> 2 & 1) * 4;
    build(|n| {
        let difference = |k| u16::from(get::<u8>(a, start + n + k).abs_diff(get(b, block + k)));
        (0..4).map(difference).sum::<u16>()
    })
}

/// INSERTPS between registers: one single of `b`, into one place of `a`, some cleared.
fn insertps(a: Bytes, b: Bytes, immediate: u8) -> Bytes {
    let value: u32 = get(b, usize::from(immediate >> 6));
    let place = usize::from(immediate >> 4 & 3);
    build(|n| match n {
        _ if immediate >> n & 1 != 0 => 0u32,
        _ if n == place => value,
        _ => get(a, n),
    })
}

macro_rules! immediates {
    ($($name:ident$([$bits:expr])?($a:ident, $b:ident, $i:ident) = $result:expr;)*) => {
        $(
            pub(super) struct $name;

            impl Immediate for $name {
                $(const BITS_A_LANE: usize = $bits;)?

                #[inline(always)]
                fn apply($a: Bytes, $b: Bytes, $i: u8, _bytes: usize) -> Bytes {
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
    Shufpd[2](a, b, i) = build(|n| get::<u64>(if n < 1 { a } else { b }, usize::from(i >> n & 1)));
    Blendps[4](a, b, i) = blend::<u32>(a, b, i);
    Blendpd[2](a, b, i) = blend::<u64>(a, b, i);
    Pblendw(a, b, i) = blend::<u16>(a, b, i);
    Mpsadbw[3](a, b, i) = mpsadbw(a, b, i);
    Insertps(a, b, i) = insertps(a, b, i);
}

/// BLENDVPS, BLENDVPD, PBLENDVB: the sign of each lane chooses, of XMM0 or in AVX of a fourth
/// register, whose number is the immediate.
fn blend_variable<'m, M: Way<'m>, L: Lane, U: Unit, P: Place>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let b = P::vector::<U>(core, op)?;
    let a = U::first(core, op);
    let chooser = U::register(core, op.immediate as u8);
    let top = L::BYTES * 8 - 1;
    let chosen = each::<U>(|lane| {
        build(|n| {
            let from_b = get::<L>(chooser[lane], n).bits() >> top & 1 != 0;
            get::<L>(if from_b { b[lane] } else { a[lane] }, n)
        })
    });
    U::set(core, op, chosen);
    Ok(())
}

/// PINSRB to PINSRQ: a number of width `W` into a lane.
fn insert<'m, M: Way<'m>, W: Width + Lane, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let value: W = if op.has_memory() {
        core.load(op)?
    } else {
        W::truncate(core.cpu.regs.get(op.src))
    };
    let lane = op.immediate as usize % (U::BYTES / <W as Lane>::BYTES);
    let a = U::first(core, op)[0];
    U::set(core, op, [replace(a, value, lane), ZERO]);
    Ok(())
}

/// INSERTPS from memory: the source is the single itself.
fn insertps_memory<'m, M: Way<'m>, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let value: u32 = core.load(op)?;
    let a = U::first(core, op)[0];
    let immediate = op.immediate as u8 & 0x3f;
    U::set(core, op, [insertps(a, low(value), immediate), ZERO]);
    Ok(())
}

/// PEXTRB to PEXTRQ and EXTRACTPS: a lane, zero-extended, to a register or memory.
fn extract<'m, M: Way<'m>, W: Width + Lane, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    U::note_use(core);
    let lane = op.immediate as usize % (U::BYTES / <W as Lane>::BYTES);
    let value: W = get(U::register(core, op.src)[0], lane);
    if op.has_memory() {
        return core.store(op, value);
    }
    core.cpu.regs.set(op.dst, value.zero_extend());
    Ok(())
}

fn insert_handler(i: &Instruction) -> Option<Handler> {
    use Mnemonic as M;
    let mmx = registers(i) == Registers::Mmx;
    Some(match i.mnemonic() {
        M::Insertps | M::Vinsertps if has_memory(i) => by_unit!(i, insertps_memory),
        M::Insertps | M::Vinsertps => return with_immediate::<Insertps>(i),
        M::Pinsrb | M::Vpinsrb => by_unit!(i, insert, u8),
        M::Pinsrw if mmx => one_way!(insert, u16, Mmx),
        M::Pinsrw | M::Vpinsrw => by_unit!(i, insert, u16),
        M::Pinsrd | M::Vpinsrd => by_unit!(i, insert, u32),
        M::Pinsrq | M::Vpinsrq => by_unit!(i, insert, u64),
        M::Pextrb | M::Vpextrb => by_unit!(i, extract, u8),
        M::Pextrw if mmx => one_way!(extract, u16, Mmx),
        M::Pextrw | M::Vpextrw => by_unit!(i, extract, u16),
        M::Pextrd | M::Extractps | M::Vpextrd | M::Vextractps => by_unit!(i, extract, u32),
        M::Pextrq | M::Vpextrq => by_unit!(i, extract, u64),
        _ => return None,
    })
}

/// MMX sources of the low unpack instructions are 4 bytes in memory; reading 8 would fault
/// where the processor does not.
fn unpack_low<O: Binary>(instruction: &Instruction) -> Option<Handler> {
    fn from_dword<'m, M: Way<'m>, O: Binary>(core: &mut M, op: &Op) -> Exec {
        Mmx::enter(core)?;
        let b = low(core.load::<u32>(op)?);
        let a = Mmx::first(core, op)[0];
        Mmx::set(core, op, [O::apply(a, b, 8), ZERO]);
        Ok(())
    }
    match (registers(instruction), has_memory(instruction)) {
        (Registers::Mmx, true) => Some(one_way!(from_dword, O)),
        _ => binary::<O>(instruction),
    }
}

/// PMOVSX and PMOVZX: `W` is what a lane of the result widens.
fn widening<O: Binary, W: Width>(instruction: &Instruction) -> Option<Handler> {
    fn widen<'m, M: Way<'m>, O: Binary, W: Width, U: Unit, P: Place>(
        core: &mut M,
        op: &Op,
    ) -> Exec {
        U::enter(core)?;
        let b = match U::LANES as u32 * W::BITS {
            16 => low(P::low::<u16>(core, op)?),
            32 => low(P::low::<u32>(core, op)?),
            64 => low(P::low::<u64>(core, op)?),
            _ => P::lane(core, op)?,
        };
        let lane = |n| O::apply(ZERO, whole(b, |b| b >> (n as u32 * W::BITS)), 16);
        U::set(core, op, each::<U>(lane));
        Ok(())
    }
    Some(by_form!(instruction, widen, O, W))
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    use Mnemonic as M;
    match instruction.mnemonic() {
        M::Punpcklbw | M::Vpunpcklbw => unpack_low::<Punpcklbw>(instruction),
        M::Punpcklwd | M::Vpunpcklwd => unpack_low::<Punpcklwd>(instruction),
        M::Punpckldq | M::Vpunpckldq => unpack_low::<Punpckldq>(instruction),
        M::Unpcklps | M::Vunpcklps => binary::<Punpckldq>(instruction),
        M::Punpcklqdq | M::Vpunpcklqdq | M::Unpcklpd | M::Vunpcklpd => {
            binary::<Punpcklqdq>(instruction)
        }
        M::Punpckhbw | M::Vpunpckhbw => binary::<Punpckhbw>(instruction),
        M::Punpckhwd | M::Vpunpckhwd => binary::<Punpckhwd>(instruction),
        M::Punpckhdq | M::Vpunpckhdq | M::Unpckhps | M::Vunpckhps => {
            binary::<Punpckhdq>(instruction)
        }
        M::Punpckhqdq | M::Vpunpckhqdq | M::Unpckhpd | M::Vunpckhpd => {
            binary::<Punpckhqdq>(instruction)
        }
        M::Packsswb | M::Vpacksswb => binary::<Packsswb>(instruction),
        M::Packssdw | M::Vpackssdw => binary::<Packssdw>(instruction),
        M::Packuswb | M::Vpackuswb => binary::<Packuswb>(instruction),
        M::Packusdw | M::Vpackusdw => binary::<Packusdw>(instruction),
        M::Pshufb | M::Vpshufb => binary::<Pshufb>(instruction),
        M::Pmovsxbw | M::Vpmovsxbw => widening::<Pmovsxbw, u64>(instruction),
        M::Pmovsxbd | M::Vpmovsxbd => widening::<Pmovsxbd, u32>(instruction),
        M::Pmovsxbq | M::Vpmovsxbq => widening::<Pmovsxbq, u16>(instruction),
        M::Pmovsxwd | M::Vpmovsxwd => widening::<Pmovsxwd, u64>(instruction),
        M::Pmovsxwq | M::Vpmovsxwq => widening::<Pmovsxwq, u32>(instruction),
        M::Pmovsxdq | M::Vpmovsxdq => widening::<Pmovsxdq, u64>(instruction),
        M::Pmovzxbw | M::Vpmovzxbw => widening::<Pmovzxbw, u64>(instruction),
        M::Pmovzxbd | M::Vpmovzxbd => widening::<Pmovzxbd, u32>(instruction),
        M::Pmovzxbq | M::Vpmovzxbq => widening::<Pmovzxbq, u16>(instruction),
        M::Pmovzxwd | M::Vpmovzxwd => widening::<Pmovzxwd, u64>(instruction),
        M::Pmovzxwq | M::Vpmovzxwq => widening::<Pmovzxwq, u32>(instruction),
        M::Pmovzxdq | M::Vpmovzxdq => widening::<Pmovzxdq, u64>(instruction),
        M::Movshdup | M::Vmovshdup => binary::<Movshdup>(instruction),
        M::Movsldup | M::Vmovsldup => binary::<Movsldup>(instruction),
        M::Movddup | M::Vmovddup => from_half::<Movddup>(instruction),
        M::Pshufd | M::Vpshufd => with_immediate::<Pshufd>(instruction),
        M::Pshuflw | M::Vpshuflw => with_immediate::<Pshuflw>(instruction),
        M::Pshufhw | M::Vpshufhw => with_immediate::<Pshufhw>(instruction),
        M::Pshufw => with_immediate::<Pshufw>(instruction),
        M::Shufps | M::Vshufps => with_immediate::<Shufps>(instruction),
        M::Shufpd | M::Vshufpd => with_immediate::<Shufpd>(instruction),
        M::Blendps | M::Vblendps | M::Vpblendd => with_immediate::<Blendps>(instruction),
        M::Blendpd | M::Vblendpd => with_immediate::<Blendpd>(instruction),
        M::Pblendw | M::Vpblendw => with_immediate::<Pblendw>(instruction),
        M::Mpsadbw | M::Vmpsadbw => with_immediate::<Mpsadbw>(instruction),
        M::Blendvps | M::Vblendvps => Some(by_form!(instruction, blend_variable, u32)),
        M::Blendvpd | M::Vblendvpd => Some(by_form!(instruction, blend_variable, u64)),
        M::Pblendvb | M::Vpblendvb => Some(by_form!(instruction, blend_variable, u8)),
        _ => insert_handler(instruction),
    }
}
