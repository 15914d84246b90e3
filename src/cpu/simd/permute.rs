//! What AVX adds to shuffling: broadcasts, permutations within and across lanes of 128 bits, their
//! insertion and extraction, VZEROALL and VZEROUPPER. Intel SDM volume 1, sections 14.1.3 and
//! 14.6; volume 2 for each.

use iced_x86::{Instruction, Mnemonic as M, OpKind};

use super::binary::{Binary, Immediate, binary, each, with_immediate};
use super::lanes::{Lane, across, build, get};
use super::operand::{Avx256, Memory, Place, Register, Unit, by_form, has_memory};
use super::shuffle::Pshufd;
use super::state::{Bytes, ZERO};
use crate::cpu::decode::Op;
use crate::cpu::exec::Way;
use crate::cpu::exec::{one_way, run};
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec, Handler};

/// VBROADCASTSS, VBROADCASTSD, VPBROADCASTx: the low number everywhere.
fn broadcast<'m, M: Way<'m>, W: Width + Lane, U: Unit, P: Place>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let value: W = P::low(core, op)?;
    U::set(core, op, each::<U>(|_| build(|_| value)));
    Ok(())
}

/// VBROADCASTF128 and VBROADCASTI128.
fn broadcast_lane<'m, M: Way<'m>>(core: &mut M, op: &Op) -> Exec {
    core.enter_avx()?;
    let lane = core.load_bytes(op)?;
    core.cpu.sse.set_ymm(op.dst, [lane, lane]);
    Ok(())
}

/// VINSERTF128 and VINSERTI128.
fn insert_lane<'m, M: Way<'m>, P: Place>(core: &mut M, op: &Op) -> Exec {
    core.enter_avx()?;
    let lane = P::lane(core, op)?;
    let mut vector = core.cpu.sse.ymm(op.extra);
    vector[op.immediate as usize & 1] = lane;
    core.cpu.sse.set_ymm(op.dst, vector);
    Ok(())
}

/// VEXTRACTF128 and VEXTRACTI128.
fn extract_lane<'m, M: Way<'m>>(core: &mut M, op: &Op) -> Exec {
    core.enter_avx()?;
    let lane = core.cpu.sse.ymm(op.src)[op.immediate as usize & 1];
    if op.has_memory() {
        return core.store_bytes(op, lane);
    }
    core.cpu.sse.set_ymm(op.dst, [lane, ZERO]);
    Ok(())
}

/// VPERM2F128 and VPERM2I128: each lane of the result is one of the four, or zero.
fn permute_lanes<'m, M: Way<'m>, P: Place>(core: &mut M, op: &Op) -> Exec {
    core.enter_avx()?;
    let [b0, b1] = P::vector::<Avx256>(core, op)?;
    let [a0, a1] = core.cpu.sse.ymm(op.extra);
    let chosen = |control: u64| match control & 15 {
        c if c & 8 != 0 => ZERO,
        c => [a0, a1, b0, b1][c as usize & 3],
    };
    let result = [chosen(op.immediate), chosen(op.immediate >> 4)];
    core.cpu.sse.set_ymm(op.dst, result);
    Ok(())
}

/// VPERMQ and VPERMPD: four quadwords, chosen by two bits of the immediate each.
fn permute_quadwords<'m, M: Way<'m>, P: Place>(core: &mut M, op: &Op) -> Exec {
    core.enter_avx()?;
    let b = P::vector::<Avx256>(core, op)?;
    let result = each::<Avx256>(|lane| {
        build(|n| across::<u64>(b, op.immediate as usize >> (2 * (2 * lane + n)) & 3))
    });
    core.cpu.sse.set_ymm(op.dst, result);
    Ok(())
}

/// VPERMD and VPERMPS: eight doublewords, chosen by those of the first source.
fn permute_doublewords<'m, M: Way<'m>, P: Place>(core: &mut M, op: &Op) -> Exec {
    core.enter_avx()?;
    let b = P::vector::<Avx256>(core, op)?;
    let indices = core.cpu.sse.ymm(op.extra);
    let result = indices.map(|lane| build(|n| across::<u32>(b, get::<u32>(lane, n) as usize & 7)));
    core.cpu.sse.set_ymm(op.dst, result);
    Ok(())
}

/// VPERMILPD by an immediate: numbers of a lane, chosen by the immediate. VPERMILPS is PSHUFD.
struct DoublesByImmediate;

impl Immediate for DoublesByImmediate {
    const BITS_A_LANE: usize = 2;

    fn apply(_: Bytes, b: Bytes, immediate: u8, _: usize) -> Bytes {
        build(|n| get::<u64>(b, usize::from(immediate >> n & 1)))
    }
}

/// By the second source: bits 1:0 of each single, bit 1 of each double.
struct SinglesByVector;
struct DoublesByVector;

impl Binary for SinglesByVector {
    fn apply(a: Bytes, b: Bytes, _: usize) -> Bytes {
        build(|n| get::<u32>(a, get::<u32>(b, n) as usize & 3))
    }
}

impl Binary for DoublesByVector {
    fn apply(a: Bytes, b: Bytes, _: usize) -> Bytes {
        build(|n| get::<u64>(a, get::<u64>(b, n) as usize >> 1 & 1))
    }
}

/// VZEROALL and VZEROUPPER: 16 registers in 64-bit mode, else 8.
fn zero_registers(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_avx()?;
    let count = if core.cpu.is_64_bit() { 16 } else { 8 };
    core.cpu.sse.ymm_high[..count].fill(ZERO);
    if op.code().mnemonic() == M::Vzeroall {
        core.cpu.sse.xmm[..count].fill(ZERO);
    }
    Ok(())
}

/// The handlers of this file.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    let by_immediate = i.op_count() > 0 && i.op_kind(i.op_count() - 1) == OpKind::Immediate8;
    macro_rules! by_place {
        ($handler:ident) => {
            match has_memory(i) {
                true => one_way!($handler, Memory),
                false => one_way!($handler, Register),
            }
        };
    }
    Some(match i.mnemonic() {
        M::Vbroadcastss | M::Vpbroadcastd => by_form!(i, broadcast, u32),
        M::Vbroadcastsd | M::Vpbroadcastq => by_form!(i, broadcast, u64),
        M::Vpbroadcastb => by_form!(i, broadcast, u8),
        M::Vpbroadcastw => by_form!(i, broadcast, u16),
        M::Vbroadcastf128 | M::Vbroadcasti128 => one_way!(broadcast_lane),
        M::Vinsertf128 | M::Vinserti128 => by_place!(insert_lane),
        M::Vextractf128 | M::Vextracti128 => one_way!(extract_lane),
        M::Vperm2f128 | M::Vperm2i128 => by_place!(permute_lanes),
        M::Vpermq | M::Vpermpd => by_place!(permute_quadwords),
        M::Vpermd | M::Vpermps => by_place!(permute_doublewords),
        M::Vpermilps if by_immediate => return with_immediate::<Pshufd>(i),
        M::Vpermilpd if by_immediate => return with_immediate::<DoublesByImmediate>(i),
        M::Vpermilps => return binary::<SinglesByVector>(i),
        M::Vpermilpd => return binary::<DoublesByVector>(i),
        M::Vzeroall | M::Vzeroupper => run!(zero_registers),
        _ => return None,
    })
}
