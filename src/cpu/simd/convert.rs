//! CVTxx2xx: between integers, halves, singles and doubles.
//! Intel SDM volume 1, sections 11.4.4.1, 11.6.5 and 14.4; figure 11-8.

use super::binary::each;
use super::float;
use super::lanes::{build, get, low, map};
use super::operand::Vector;
use super::operand::{
    Memory, Mmx, Place, Register, Sse, Unit, by_form, by_unit, has_memory, set_low,
};
use super::state::{Bytes, ZERO};
use crate::cpu::decode::Op;
use crate::cpu::exec::Way;
use crate::cpu::exec::{one_way, run};
use crate::cpu::fpu::soft::arith::{convert, convert_checked};
use crate::cpu::fpu::soft::integral::to_integer;
use crate::cpu::fpu::soft::{Env, Float16, Float32, Float64, Format, Ieee, Rounding};
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec, Handler};
use iced_x86::{Instruction, Mnemonic as M};

/// How a number becomes an integer.
trait Rule {
    fn rounding(env: &Env) -> Rounding;
}

/// As MXCSR says: CVTxx2.
struct Rounded;
/// Toward zero: CVTTxx2.
struct Truncated;

impl Rule for Rounded {
    #[inline(always)]
    fn rounding(env: &Env) -> Rounding {
        env.rounding
    }
}

impl Rule for Truncated {
    #[inline(always)]
    fn rounding(_: &Env) -> Rounding {
        Rounding::Zero
    }
}

/// The environment for conversions to integers.
#[inline(always)]
fn integer_env<R: Rule>(core: &Core<'_>) -> Env {
    let env = core.sse_env();
    Env {
        rounding: R::rounding(&env),
        ..env
    }
}

#[inline(always)]
fn to_dword<N: Ieee>(env: &mut Env, value: N) -> u32 {
    let value = value.unpack(env);
    to_integer(env, value, 32) as u32
}

/// Scalar to general register: CVT(T)SS2SI, CVT(T)SD2SI.
fn scalar_to_integer<'m, M: Way<'m>, R: Rule, N: Ieee, W: Width, U: Unit, P: Place>(
    core: &mut M,
    op: &Op,
) -> Exec {
    U::enter(core)?;
    let value: N = P::number(core, op)?;
    let mut env = integer_env::<R>(core);
    let value = value.unpack(&env);
    let integer = to_integer(&mut env, value, W::BITS);
    core.settle_sse(&env)?;
    core.cpu
        .regs
        .write(op.dst, W::truncate(integer.cast_unsigned()));
    Ok(())
}

/// General register or memory to scalar: CVTSI2SS, CVTSI2SD.
fn scalar_from_integer<'m, M: Way<'m>, N: Ieee, W: Width, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let integer: W = if op.has_memory() {
        core.load(op)?
    } else {
        core.cpu.regs.read(op.src)
    };
    let mut env = core.sse_env();
    let value: N = float::from_integer(&mut env, integer.sign_extend().cast_signed());
    core.settle_sse(&env)?;
    set_low::<U, N>(core, op, value);
    Ok(())
}

/// CVTSS2SD and CVTSD2SS.
fn scalar_to_scalar<'m, M: Way<'m>, A: Ieee, N: Ieee, U: Unit, P: Place>(
    core: &mut M,
    op: &Op,
) -> Exec {
    U::enter(core)?;
    let value: A = P::number(core, op)?;
    let mut env = core.sse_env();
    let value: N = float::convert(&mut env, value);
    core.settle_sse(&env)?;
    set_low::<U, N>(core, op, value);
    Ok(())
}

/// Two dwords of a quadword.
#[inline(always)]
fn dwords(value: u64) -> [i64; 2] {
    [i64::from(value as i32), i64::from((value >> 32) as i32)]
}

/// A quadword of two dwords.
#[inline(always)]
fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// The source of what widens: half as many bytes as the result.
#[inline(always)]
fn narrow_source<'m, U: Unit, P: Place>(core: &mut impl Way<'m>, op: &Op) -> Exec<Bytes> {
    match U::LANES {
        1 => Ok(low(P::low::<u64>(core, op)?)),
        _ => P::lane(core, op),
    }
}

/// What narrows gives a quadword a lane.
#[inline(always)]
fn narrow_result<U: Unit>(mut f: impl FnMut(usize) -> u64) -> Vector {
    [build(|n| if n < U::LANES { f(n) } else { 0 }), ZERO]
}

fn singles_to_dwords<'m, M: Way<'m>, R: Rule, U: Unit, P: Place>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let source = P::vector::<U>(core, op)?;
    let mut env = integer_env::<R>(core);
    let result = each::<U>(|lane| map(source[lane], |x: Float32| to_dword(&mut env, x)));
    core.settle_sse(&env)?;
    U::set(core, op, result);
    Ok(())
}

fn dwords_to_singles<'m, M: Way<'m>, U: Unit, P: Place>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let source = P::vector::<U>(core, op)?;
    let mut env = core.sse_env();
    let result = each::<U>(|lane| {
        map(source[lane], |integer: i32| {
            float::from_integer::<Float32>(&mut env, integer.into())
        })
    });
    core.settle_sse(&env)?;
    U::set(core, op, result);
    Ok(())
}

/// Two doubles as dwords.
#[inline(always)]
fn doubles_to_pair(env: &mut Env, source: Bytes) -> u64 {
    let low = to_dword(env, get::<Float64>(source, 0));
    pair(low, to_dword(env, get::<Float64>(source, 1)))
}

fn doubles_to_dwords<'m, M: Way<'m>, R: Rule, U: Unit, P: Place>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let source = P::vector::<U>(core, op)?;
    let mut env = integer_env::<R>(core);
    let result = narrow_result::<U>(|lane| doubles_to_pair(&mut env, source[lane]));
    core.settle_sse(&env)?;
    U::set(core, op, result);
    Ok(())
}

/// Two dwords as doubles; always exact.
#[inline(always)]
fn pair_to_doubles(env: &mut Env, source: u64) -> Bytes {
    let integers = dwords(source);
    build(|n| float::from_integer::<Float64>(env, integers[n]))
}

fn dwords_to_doubles<'m, M: Way<'m>, U: Unit, P: Place>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let source = narrow_source::<U, P>(core, op)?;
    let mut env = core.sse_env();
    let result = each::<U>(|lane| pair_to_doubles(&mut env, get(source, lane)));
    U::set(core, op, result);
    Ok(())
}

fn singles_to_doubles<'m, M: Way<'m>, U: Unit, P: Place>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let source = narrow_source::<U, P>(core, op)?;
    let mut env = core.sse_env();
    let result = each::<U>(|lane| {
        build(|n| {
            let single: Float32 = get(source, 2 * lane + n);
            float::convert::<_, Float64>(&mut env, single)
        })
    });
    core.settle_sse(&env)?;
    U::set(core, op, result);
    Ok(())
}

fn doubles_to_singles<'m, M: Way<'m>, U: Unit, P: Place>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let source = P::vector::<U>(core, op)?;
    let mut env = core.sse_env();
    let result = narrow_result::<U>(|lane| {
        let [low, high] = [0, 1].map(|n| {
            let value: Float32 = float::convert(&mut env, get::<Float64>(source[lane], n));
            value.0
        });
        pair(low, high)
    });
    core.settle_sse(&env)?;
    U::set(core, op, result);
    Ok(())
}

/// VCVTPH2PS. Denormal halves are normal singles: neither DAZ nor DE concerns them. F16C makes no
/// alignment checks (SDM volume 2, exceptions of type 11).
fn halves_to_singles<'m, M: Way<'m>, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let source = match (op.has_memory(), U::LANES) {
        (false, _) => core.cpu.sse.get(op.src),
        (true, 1) => low(u64::from_le_bytes(core.load_bytes(op)?)),
        (true, _) => core.load_bytes(op)?,
    };
    let mut env = Env {
        daz: false,
        ..core.sse_env()
    };
    let result = each::<U>(|lane| {
        build(|n| {
            let half = get::<Float16>(source, 4 * lane + n).unpack(&env);
            convert::<Float32>(&mut env, half)
        })
    });
    core.settle_sse(&env)?;
    U::set(core, op, result);
    Ok(())
}

/// VCVTPS2PH: rounding is in imm8[1:0], or with imm8[2] in MXCSR. Tiny results are never flushed.
fn singles_to_halves<'m, M: Way<'m>, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let source = U::register(core, op.src);
    let mut env = Env {
        ftz: false,
        ..core.sse_env()
    };
    if op.immediate & 4 == 0 {
        env.rounding = Rounding::from_bits(op.immediate as u32);
    }
    let [result, _] = narrow_result::<U>(|lane| {
        (0..4).fold(0, |result, n| {
            let single = get::<Float32>(source[lane], n).unpack(&env);
            let half: Float16 = convert_checked(&mut env, single);
            result | u64::from(half.0) << (16 * n)
        })
    });
    let unmasked = env.unmasked() != 0;
    match (op.has_memory(), U::LANES) {
        _ if unmasked => {}
        (false, _) => core.cpu.sse.set_ymm(op.dst, [result, ZERO]),
        (true, 1) => core.store_bytes(op, get::<u64>(result, 0).to_le_bytes())?,
        (true, _) => core.store_bytes(op, result)?,
    }
    core.settle_sse(&env)
}

/// CVT(T)PS2PI: two singles to an MMX register.
fn singles_to_mmx<'m, M: Way<'m>, R: Rule, P: Place>(core: &mut M, op: &Op) -> Exec {
    core.enter_sse()?;
    core.check_mmx()?;
    let source = low(P::low::<u64>(core, op)?);
    let mut env = integer_env::<R>(core);
    let low = to_dword(&mut env, get::<Float32>(source, 0));
    let result = pair(low, to_dword(&mut env, get::<Float32>(source, 1)));
    set_mmx(core, op, &env, result)
}

/// CVT(T)PD2PI: two doubles to an MMX register.
fn doubles_to_mmx<'m, M: Way<'m>, R: Rule, P: Place>(core: &mut M, op: &Op) -> Exec {
    core.enter_sse()?;
    core.check_mmx()?;
    let source = P::vector::<Sse>(core, op)?;
    let mut env = integer_env::<R>(core);
    let result = doubles_to_pair(&mut env, source[0]);
    set_mmx(core, op, &env, result)
}

fn set_mmx(core: &mut Core<'_>, op: &Op, env: &Env, value: u64) -> Exec {
    core.settle_sse(env)?;
    Mmx::set(core, op, [low(value), ZERO]);
    Ok(())
}

/// Two dwords to the low singles of the destination.
#[inline(always)]
fn set_singles(core: &mut Core<'_>, op: &Op, source: u64) -> Exec {
    let mut env = core.sse_env();
    let [low, high] = dwords(source).map(|n| float::from_integer::<Float32>(&mut env, n));
    core.settle_sse(&env)?;
    set_low::<Sse, u64>(core, op, pair(low.0, high.0));
    Ok(())
}

/// CVTPI2PS from an MMX register.
fn mmx_to_singles(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    core.check_mmx()?;
    set_singles(core, op, core.cpu.fpu.mmx(op.src))?;
    core.cpu.fpu.enter_mmx();
    Ok(())
}

/// CVTPI2PS from memory, which leaves the x87 alone.
fn memory_to_singles(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let source = core.load(op)?;
    set_singles(core, op, source)
}

/// CVTPI2PD; its memory form leaves the x87 alone.
fn mmx_to_doubles(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    core.check_mmx()?;
    let result = pair_to_doubles(&mut core.sse_env(), core.cpu.fpu.mmx(op.src));
    core.cpu.fpu.enter_mmx();
    core.cpu.sse.set(op.dst, result);
    Ok(())
}

/// Scalar to integer, for the width of the general register.
fn integer_handler<R: Rule, N: Ieee>(i: &Instruction) -> Handler {
    match i.op_register(0).size() {
        8 => by_form!(i, scalar_to_integer, R, N, u64),
        _ => by_form!(i, scalar_to_integer, R, N, u32),
    }
}

/// Integer to scalar, for the width of the source.
fn from_integer_handler<N: Ieee>(i: &Instruction) -> Handler {
    let bytes = match has_memory(i) {
        true => i.memory_size().size(),
        false => i.op_register(i.op_count() - 1).size(),
    };
    match bytes {
        8 => by_unit!(i, scalar_from_integer, N, u64),
        _ => by_unit!(i, scalar_from_integer, N, u32),
    }
}

/// The handlers of this file.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    Some(match i.mnemonic() {
        M::Cvtss2si | M::Vcvtss2si => integer_handler::<Rounded, Float32>(i),
        M::Cvtsd2si | M::Vcvtsd2si => integer_handler::<Rounded, Float64>(i),
        M::Cvttss2si | M::Vcvttss2si => integer_handler::<Truncated, Float32>(i),
        M::Cvttsd2si | M::Vcvttsd2si => integer_handler::<Truncated, Float64>(i),
        M::Cvtsi2ss | M::Vcvtsi2ss => from_integer_handler::<Float32>(i),
        M::Cvtsi2sd | M::Vcvtsi2sd => from_integer_handler::<Float64>(i),
        M::Cvtss2sd | M::Vcvtss2sd => by_form!(i, scalar_to_scalar, Float32, Float64),
        M::Cvtsd2ss | M::Vcvtsd2ss => by_form!(i, scalar_to_scalar, Float64, Float32),
        M::Cvtps2dq | M::Vcvtps2dq => by_form!(i, singles_to_dwords, Rounded),
        M::Cvttps2dq | M::Vcvttps2dq => by_form!(i, singles_to_dwords, Truncated),
        M::Cvtdq2ps | M::Vcvtdq2ps => by_form!(i, dwords_to_singles),
        M::Cvtpd2dq | M::Vcvtpd2dq => by_form!(i, doubles_to_dwords, Rounded),
        M::Cvttpd2dq | M::Vcvttpd2dq => by_form!(i, doubles_to_dwords, Truncated),
        M::Cvtdq2pd | M::Vcvtdq2pd => by_form!(i, dwords_to_doubles),
        M::Cvtps2pd | M::Vcvtps2pd => by_form!(i, singles_to_doubles),
        M::Cvtpd2ps | M::Vcvtpd2ps => by_form!(i, doubles_to_singles),
        M::Vcvtph2ps => by_unit!(i, halves_to_singles),
        M::Vcvtps2ph => by_unit!(i, singles_to_halves),
        _ => return mmx_handler(i),
    })
}

fn mmx_handler(i: &Instruction) -> Option<Handler> {
    Some(match (i.mnemonic(), has_memory(i)) {
        (M::Cvtps2pi, true) => one_way!(singles_to_mmx, Rounded, Memory),
        (M::Cvtps2pi, false) => one_way!(singles_to_mmx, Rounded, Register),
        (M::Cvttps2pi, true) => one_way!(singles_to_mmx, Truncated, Memory),
        (M::Cvttps2pi, false) => one_way!(singles_to_mmx, Truncated, Register),
        (M::Cvtpd2pi, true) => one_way!(doubles_to_mmx, Rounded, Memory),
        (M::Cvtpd2pi, false) => one_way!(doubles_to_mmx, Rounded, Register),
        (M::Cvttpd2pi, true) => one_way!(doubles_to_mmx, Truncated, Memory),
        (M::Cvttpd2pi, false) => one_way!(doubles_to_mmx, Truncated, Register),
        (M::Cvtpi2ps, true) => run!(memory_to_singles),
        (M::Cvtpi2ps, false) => run!(mmx_to_singles),
        (M::Cvtpi2pd, true) => one_way!(dwords_to_doubles, Sse, Memory),
        (M::Cvtpi2pd, false) => run!(mmx_to_doubles),
        _ => return None,
    })
}
