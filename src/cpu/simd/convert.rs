//! CVTxx2xx: between integers, singles and doubles.
//! Intel SDM volume 1, sections 11.4.4.1 and 11.6.5; figure 11-8.

use super::float::{self, Number};
use super::float_unit::{Memory, Register, Source, by_source, set_low};
use crate::cpu::decode::Op;
use crate::cpu::exec::run;
use crate::cpu::fpu::soft::integral::to_integer;
use crate::cpu::fpu::soft::{Env, Float32, Float64, Rounding};
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec, Handler};
use iced_x86::{Instruction, Mnemonic, OpKind};

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
fn to_dword<N: Number>(env: &mut Env, value: N) -> u32 {
    let value = value.unpack(env);
    to_integer(env, value, 32) as u32
}

/// Scalar to general register: CVT(T)SS2SI, CVT(T)SD2SI.
fn scalar_to_integer<R: Rule, N: Number, W: Width, S: Source>(
    core: &mut Core<'_>,
    op: &Op,
) -> Exec {
    core.enter_sse()?;
    let value: N = S::number(core, op)?;
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
fn scalar_from_integer<N: Number, W: Width, const MEMORY: bool>(
    core: &mut Core<'_>,
    op: &Op,
) -> Exec {
    core.enter_sse()?;
    let integer: W = if MEMORY {
        core.load(op)?
    } else {
        core.cpu.regs.read(op.src)
    };
    let mut env = core.sse_env();
    let value: N = float::from_integer(&mut env, integer.sign_extend().cast_signed());
    core.settle_sse(&env)?;
    set_low(core, op, value);
    Ok(())
}

/// CVTSS2SD and CVTSD2SS.
fn scalar_to_scalar<A: Number, N: Number, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let value: A = S::number(core, op)?;
    let mut env = core.sse_env();
    let value: N = float::convert(&mut env, value);
    core.settle_sse(&env)?;
    set_low(core, op, value);
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

fn singles_to_dwords<R: Rule, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let source = S::vector(core, op)?;
    let mut env = integer_env::<R>(core);
    let result = (0..4).fold(0, |result, n| {
        let integer = to_dword(&mut env, Float32::lane(source, n));
        result | Float32(integer).in_lane(n)
    });
    core.settle_sse(&env)?;
    core.cpu.sse.set(op.dst, result);
    Ok(())
}

fn dwords_to_singles<S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let source = S::vector(core, op)?;
    let mut env = core.sse_env();
    let result = (0..4).fold(0, |result, n| {
        let integer = i64::from(Float32::lane(source, n).0.cast_signed());
        result | float::from_integer::<Float32>(&mut env, integer).in_lane(n)
    });
    core.settle_sse(&env)?;
    core.cpu.sse.set(op.dst, result);
    Ok(())
}

/// Two doubles as dwords, in the low half.
#[inline(always)]
fn doubles_to_pair(env: &mut Env, source: u128) -> u64 {
    let low = to_dword(env, Float64::lane(source, 0));
    pair(low, to_dword(env, Float64::lane(source, 1)))
}

fn doubles_to_dwords<R: Rule, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let source = S::vector(core, op)?;
    let mut env = integer_env::<R>(core);
    let result = doubles_to_pair(&mut env, source);
    core.settle_sse(&env)?;
    core.cpu.sse.set(op.dst, u128::from(result));
    Ok(())
}

/// Two dwords as doubles; always exact.
#[inline(always)]
fn pair_to_doubles(env: &mut Env, source: u64) -> u128 {
    let [low, high] = dwords(source).map(|n| float::from_integer::<Float64>(env, n));
    low.in_lane(0) | high.in_lane(1)
}

fn dwords_to_doubles<S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let source = S::half(core, op)?;
    let result = pair_to_doubles(&mut core.sse_env(), source);
    core.cpu.sse.set(op.dst, result);
    Ok(())
}

fn singles_to_doubles<S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let source = u128::from(S::half(core, op)?);
    let mut env = core.sse_env();
    let result = (0..2).fold(0, |result, n| {
        let value: Float64 = float::convert(&mut env, Float32::lane(source, n));
        result | value.in_lane(n)
    });
    core.settle_sse(&env)?;
    core.cpu.sse.set(op.dst, result);
    Ok(())
}

fn doubles_to_singles<S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let source = S::vector(core, op)?;
    let mut env = core.sse_env();
    let result = (0..2).fold(0, |result, n| {
        let value: Float32 = float::convert(&mut env, Float64::lane(source, n));
        result | value.in_lane(n)
    });
    core.settle_sse(&env)?;
    core.cpu.sse.set(op.dst, result);
    Ok(())
}

/// CVT(T)PS2PI: two singles to an MMX register.
fn singles_to_mmx<R: Rule, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    core.check_mmx()?;
    let source = u128::from(S::half(core, op)?);
    let mut env = integer_env::<R>(core);
    let low = to_dword(&mut env, Float32::lane(source, 0));
    let result = pair(low, to_dword(&mut env, Float32::lane(source, 1)));
    set_mmx(core, op, &env, result)
}

/// CVT(T)PD2PI: two doubles to an MMX register.
fn doubles_to_mmx<R: Rule, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    core.check_mmx()?;
    let source = S::vector(core, op)?;
    let mut env = integer_env::<R>(core);
    let result = doubles_to_pair(&mut env, source);
    set_mmx(core, op, &env, result)
}

fn set_mmx(core: &mut Core<'_>, op: &Op, env: &Env, value: u64) -> Exec {
    core.settle_sse(env)?;
    core.cpu.fpu.enter_mmx();
    core.cpu.fpu.set_mmx(op.dst, value);
    Ok(())
}

/// Two dwords to the low singles of the destination.
#[inline(always)]
fn set_singles(core: &mut Core<'_>, op: &Op, source: u64) -> Exec {
    let mut env = core.sse_env();
    let [low, high] = dwords(source).map(|n| float::from_integer::<Float32>(&mut env, n));
    core.settle_sse(&env)?;
    core.cpu.sse.set_low64(op.dst, pair(low.0, high.0));
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
fn integer_handler<R: Rule, N: Number>(i: &Instruction) -> Handler {
    match (i.op_register(0).size(), i.op_kind(1)) {
        (8, OpKind::Memory) => run!(scalar_to_integer::<R, N, u64, Memory>),
        (8, _) => run!(scalar_to_integer::<R, N, u64, Register>),
        (_, OpKind::Memory) => run!(scalar_to_integer::<R, N, u32, Memory>),
        _ => run!(scalar_to_integer::<R, N, u32, Register>),
    }
}

/// Integer to scalar, for the width of the source.
fn from_integer_handler<N: Number>(i: &Instruction) -> Handler {
    if i.op_kind(1) == OpKind::Memory {
        return match i.memory_size().size() {
            8 => run!(scalar_from_integer::<N, u64, true>),
            _ => run!(scalar_from_integer::<N, u32, true>),
        };
    }
    match i.op_register(1).size() {
        8 => run!(scalar_from_integer::<N, u64, false>),
        _ => run!(scalar_from_integer::<N, u32, false>),
    }
}

/// The handlers of this file.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    let memory = i.op_count() > 1 && i.op_kind(1) == OpKind::Memory;
    Some(match i.mnemonic() {
        Mnemonic::Cvtss2si => integer_handler::<Rounded, Float32>(i),
        Mnemonic::Cvtsd2si => integer_handler::<Rounded, Float64>(i),
        Mnemonic::Cvttss2si => integer_handler::<Truncated, Float32>(i),
        Mnemonic::Cvttsd2si => integer_handler::<Truncated, Float64>(i),
        Mnemonic::Cvtsi2ss => from_integer_handler::<Float32>(i),
        Mnemonic::Cvtsi2sd => from_integer_handler::<Float64>(i),
        Mnemonic::Cvtss2sd => by_source!(i, scalar_to_scalar, Float32, Float64),
        Mnemonic::Cvtsd2ss => by_source!(i, scalar_to_scalar, Float64, Float32),
        Mnemonic::Cvtps2dq => by_source!(i, singles_to_dwords, Rounded),
        Mnemonic::Cvttps2dq => by_source!(i, singles_to_dwords, Truncated),
        Mnemonic::Cvtdq2ps => by_source!(i, dwords_to_singles),
        Mnemonic::Cvtpd2dq => by_source!(i, doubles_to_dwords, Rounded),
        Mnemonic::Cvttpd2dq => by_source!(i, doubles_to_dwords, Truncated),
        Mnemonic::Cvtdq2pd => by_source!(i, dwords_to_doubles),
        Mnemonic::Cvtps2pd => by_source!(i, singles_to_doubles),
        Mnemonic::Cvtpd2ps => by_source!(i, doubles_to_singles),
        Mnemonic::Cvtps2pi => by_source!(i, singles_to_mmx, Rounded),
        Mnemonic::Cvttps2pi => by_source!(i, singles_to_mmx, Truncated),
        Mnemonic::Cvtpd2pi => by_source!(i, doubles_to_mmx, Rounded),
        Mnemonic::Cvttpd2pi => by_source!(i, doubles_to_mmx, Truncated),
        Mnemonic::Cvtpi2ps if memory => run!(memory_to_singles),
        Mnemonic::Cvtpi2ps => run!(mmx_to_singles),
        Mnemonic::Cvtpi2pd if memory => run!(dwords_to_doubles::<Memory>),
        Mnemonic::Cvtpi2pd => run!(mmx_to_doubles),
        _ => return None,
    })
}
