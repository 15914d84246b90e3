//! ADD SUB MUL DIV MIN MAX SQRT CMP ADDSUB HADD HSUB DP ROUND RCP RSQRT (U)COMI on packed and
//! scalar numbers. Intel SDM volume 1, sections 10.4.1, 11.4.1, 12.3 and 12.8.

use super::approximate;
use super::float::{self, Number};
use super::float_fast::{Fast, is_suitable};
use super::float_unit::{Source, by_source, set_low};
use crate::cpu::decode::Op;
use crate::cpu::fpu::eflags;
use crate::cpu::fpu::soft::compare::{Relation, compare, compare_quiet};
use crate::cpu::fpu::soft::{Env, Float32, Float64, Unpacked};
use crate::cpu::{Core, Exec, Handler, flags};
use iced_x86::{Instruction, Mnemonic};

/// An operation on a lane of the destination and one of the source.
trait Operation {
    fn apply<N: Number>(env: &mut Env, a: N, b: N) -> N;

    /// The result where it changes no flag and is to be had cheaply.
    #[inline(always)]
    fn fast<N: Fast>(_a: N, _b: N) -> Option<N> {
        None
    }
}

macro_rules! operations {
    ($($name:ident: $soft:path, $fast:ident;)*) => {$(
        struct $name;

        impl Operation for $name {
            #[inline(always)]
            fn apply<N: Number>(env: &mut Env, a: N, b: N) -> N {
                $soft(env, a, b)
            }

            #[inline(always)]
            fn fast<N: Fast>(a: N, b: N) -> Option<N> {
                N::$fast(a, b)
            }
        }
    )*};
}

operations! {
    Add: float::add, fast_add;
    Sub: float::sub, fast_sub;
    Mul: float::mul, fast_mul;
    Div: float::div, fast_div;
}

struct Min;
struct Max;
struct Sqrt;

impl Operation for Min {
    #[inline(always)]
    fn apply<N: Number>(env: &mut Env, a: N, b: N) -> N {
        float::min(env, a, b)
    }
}

impl Operation for Max {
    #[inline(always)]
    fn apply<N: Number>(env: &mut Env, a: N, b: N) -> N {
        float::max(env, a, b)
    }
}

impl Operation for Sqrt {
    #[inline(always)]
    fn apply<N: Number>(env: &mut Env, _: N, b: N) -> N {
        float::sqrt(env, b)
    }

    #[inline(always)]
    fn fast<N: Fast>(_: N, b: N) -> Option<N> {
        N::fast_sqrt(b)
    }
}

/// Lane `n` of the result is `f` of lanes `n`.
#[inline(always)]
fn map<N: Number>(a: u128, b: u128, mut f: impl FnMut(N, N) -> N) -> u128 {
    let lanes = 0..128 / N::BITS;
    lanes.fold(0, |result, n| {
        result | f(N::lane(a, n), N::lane(b, n)).in_lane(n)
    })
}

fn packed<O: Operation, N: Number + Fast, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let b = S::vector(core, op)?;
    let a = core.cpu.sse.get(op.dst);
    if is_suitable(core.cpu.sse.mxcsr) {
        let mut fine = true;
        let result = map::<N>(a, b, |a, b| match O::fast(a, b) {
            Some(value) => value,
            None => {
                fine = false;
                a
            }
        });
        if fine {
            core.cpu.sse.set(op.dst, result);
            return Ok(());
        }
    }
    let mut env = core.sse_env();
    let result = map::<N>(a, b, |a, b| O::apply(&mut env, a, b));
    core.settle_sse(&env)?;
    core.cpu.sse.set(op.dst, result);
    Ok(())
}

fn scalar<O: Operation, N: Number + Fast, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let b: N = S::number(core, op)?;
    let a = N::lane(core.cpu.sse.get(op.dst), 0);
    if is_suitable(core.cpu.sse.mxcsr)
        && let Some(value) = O::fast(a, b)
    {
        set_low(core, op, value);
        return Ok(());
    }
    let mut env = core.sse_env();
    let value = O::apply(&mut env, a, b);
    core.settle_sse(&env)?;
    set_low(core, op, value);
    Ok(())
}

/// An operation with an immediate byte.
trait Controlled {
    fn apply<N: Number>(env: &mut Env, a: N, b: N, control: u8) -> N;
}

/// CMPxx: all ones where the predicate holds.
struct Compare;
/// ROUNDxx.
struct Round;

impl Controlled for Compare {
    #[inline(always)]
    fn apply<N: Number>(env: &mut Env, a: N, b: N, control: u8) -> N {
        N::cut(if float::holds(env, control, a, b) {
            u64::MAX
        } else {
            0
        })
    }
}

impl Controlled for Round {
    #[inline(always)]
    fn apply<N: Number>(env: &mut Env, _: N, b: N, control: u8) -> N {
        float::round(env, b, control)
    }
}

fn packed_controlled<O: Controlled, N: Number, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let b = S::vector(core, op)?;
    let a = core.cpu.sse.get(op.dst);
    let mut env = core.sse_env();
    let result = map::<N>(a, b, |a, b| O::apply(&mut env, a, b, op.immediate as u8));
    core.settle_sse(&env)?;
    core.cpu.sse.set(op.dst, result);
    Ok(())
}

fn scalar_controlled<O: Controlled, N: Number, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let b: N = S::number(core, op)?;
    let a = N::lane(core.cpu.sse.get(op.dst), 0);
    let mut env = core.sse_env();
    let value = O::apply(&mut env, a, b, op.immediate as u8);
    core.settle_sse(&env)?;
    set_low(core, op, value);
    Ok(())
}

/// An operation whose lanes meet in other ways.
trait Crossed {
    fn apply<N: Number>(env: &mut Env, a: u128, b: u128, control: u8) -> u128;
}

/// ADDSUBxx: odd lanes added, even ones subtracted.
struct AddSub;
/// HADDxx: neighbours added, those of the destination first.
struct HorizontalAdd;
/// HSUBxx.
struct HorizontalSub;
/// DPxx.
struct DotProduct;

impl Crossed for AddSub {
    fn apply<N: Number>(env: &mut Env, a: u128, b: u128, _: u8) -> u128 {
        let mut odd = true;
        map::<N>(a, b, |a, b| {
            odd = !odd;
            if odd {
                float::add(env, a, b)
            } else {
                float::sub(env, a, b)
            }
        })
    }
}

#[inline(always)]
fn neighbours<N: Number>(a: u128, b: u128, mut f: impl FnMut(N, N) -> N) -> u128 {
    let half = 64 / N::BITS;
    (0..2 * half).fold(0, |result, n| {
        let (from, at) = if n < half {
            (a, 2 * n)
        } else {
            (b, 2 * (n - half))
        };
        result | f(N::lane(from, at), N::lane(from, at + 1)).in_lane(n)
    })
}

impl Crossed for HorizontalAdd {
    fn apply<N: Number>(env: &mut Env, a: u128, b: u128, _: u8) -> u128 {
        neighbours::<N>(a, b, |x, y| float::add(env, x, y))
    }
}

impl Crossed for HorizontalSub {
    fn apply<N: Number>(env: &mut Env, a: u128, b: u128, _: u8) -> u128 {
        neighbours::<N>(a, b, |x, y| float::sub(env, x, y))
    }
}

impl Crossed for DotProduct {
    /// Products of the lanes in bits 7:4, added pairwise, into the lanes in bits 3:0.
    fn apply<N: Number>(env: &mut Env, a: u128, b: u128, control: u8) -> u128 {
        let mut n = 0;
        let products = map::<N>(a, b, |a, b| {
            n += 1;
            if control >> (n + 3) & 1 != 0 {
                float::mul(env, a, b)
            } else {
                N::zero(false)
            }
        });
        let mut sums = neighbours::<N>(products, products, |x, y| float::add(env, x, y));
        if N::BITS == 32 {
            sums = neighbours::<N>(sums, sums, |x, y| float::add(env, x, y));
        }
        let sum = N::lane(sums, 0);
        let lanes = (0..128 / N::BITS).filter(|n| control >> n & 1 != 0);
        lanes.fold(0, |result, n| result | sum.in_lane(n))
    }
}

fn crossed<O: Crossed, N: Number, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let b = S::vector(core, op)?;
    let a = core.cpu.sse.get(op.dst);
    let mut env = core.sse_env();
    let result = O::apply::<N>(&mut env, a, b, op.immediate as u8);
    core.settle_sse(&env)?;
    core.cpu.sse.set(op.dst, result);
    Ok(())
}

/// RCPxx and RSQRTxx.
trait Approximation {
    fn apply(b: Float32) -> Float32;
}

struct Reciprocal;
struct ReciprocalSqrt;

impl Approximation for Reciprocal {
    fn apply(b: Float32) -> Float32 {
        approximate::reciprocal(b)
    }
}

impl Approximation for ReciprocalSqrt {
    fn apply(b: Float32) -> Float32 {
        approximate::reciprocal_sqrt(b)
    }
}

fn approximate_packed<O: Approximation, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let b = S::vector(core, op)?;
    core.cpu
        .sse
        .set(op.dst, map::<Float32>(b, b, |b, _| O::apply(b)));
    Ok(())
}

fn approximate_scalar<O: Approximation, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let b = S::number(core, op)?;
    set_low(core, op, O::apply(b));
    Ok(())
}

/// COMISx and UCOMISx.
trait Rule {
    fn relate(env: &mut Env, a: Unpacked, b: Unpacked) -> Relation;
}

struct Ordered;
struct Unordered;

impl Rule for Ordered {
    #[inline(always)]
    fn relate(env: &mut Env, a: Unpacked, b: Unpacked) -> Relation {
        compare(env, a, b)
    }
}

impl Rule for Unordered {
    #[inline(always)]
    fn relate(env: &mut Env, a: Unpacked, b: Unpacked) -> Relation {
        compare_quiet(env, a, b)
    }
}

fn compare_scalar<R: Rule, N: Number, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_sse()?;
    let b: N = S::number(core, op)?;
    let a = N::lane(core.cpu.sse.get(op.dst), 0);
    let mut env = core.sse_env();
    let (a, b) = (a.unpack(&env), b.unpack(&env));
    let relation = R::relate(&mut env, a, b);
    core.settle_sse(&env)?;
    core.cpu
        .flags
        .set_arithmetic(eflags(relation), flags::ARITHMETIC);
    Ok(())
}

/// The four forms of an operation.
macro_rules! four_forms {
    ($instruction:expr, $operation:ident, $ps:ident $pd:ident $ss:ident $sd:ident,
     $packed:ident $scalar:ident) => {
        match $instruction.mnemonic() {
            Mnemonic::$ps => Some(by_source!($instruction, $packed, $operation, Float32)),
            Mnemonic::$pd => Some(by_source!($instruction, $packed, $operation, Float64)),
            Mnemonic::$ss => Some(by_source!($instruction, $scalar, $operation, Float32)),
            Mnemonic::$sd => Some(by_source!($instruction, $scalar, $operation, Float64)),
            _ => None,
        }
    };
}

/// The handlers of this file.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    four_forms!(i, Add, Addps Addpd Addss Addsd, packed scalar)
        .or_else(|| four_forms!(i, Sub, Subps Subpd Subss Subsd, packed scalar))
        .or_else(|| four_forms!(i, Mul, Mulps Mulpd Mulss Mulsd, packed scalar))
        .or_else(|| four_forms!(i, Div, Divps Divpd Divss Divsd, packed scalar))
        .or_else(|| four_forms!(i, Min, Minps Minpd Minss Minsd, packed scalar))
        .or_else(|| four_forms!(i, Max, Maxps Maxpd Maxss Maxsd, packed scalar))
        .or_else(|| four_forms!(i, Sqrt, Sqrtps Sqrtpd Sqrtss Sqrtsd, packed scalar))
        .or_else(|| controlled_handler(i))
        .or_else(|| other_handler(i))
}

fn controlled_handler(i: &Instruction) -> Option<Handler> {
    // CMPSD is a string instruction too.
    if i.is_string_instruction() {
        return None;
    }
    four_forms!(i, Compare, Cmpps Cmppd Cmpss Cmpsd, packed_controlled scalar_controlled).or_else(
        || {
            four_forms!(i, Round, Roundps Roundpd Roundss Roundsd,
                packed_controlled scalar_controlled)
        },
    )
}

fn other_handler(i: &Instruction) -> Option<Handler> {
    Some(match i.mnemonic() {
        Mnemonic::Addsubps => by_source!(i, crossed, AddSub, Float32),
        Mnemonic::Addsubpd => by_source!(i, crossed, AddSub, Float64),
        Mnemonic::Haddps => by_source!(i, crossed, HorizontalAdd, Float32),
        Mnemonic::Haddpd => by_source!(i, crossed, HorizontalAdd, Float64),
        Mnemonic::Hsubps => by_source!(i, crossed, HorizontalSub, Float32),
        Mnemonic::Hsubpd => by_source!(i, crossed, HorizontalSub, Float64),
        Mnemonic::Dpps => by_source!(i, crossed, DotProduct, Float32),
        Mnemonic::Dppd => by_source!(i, crossed, DotProduct, Float64),
        Mnemonic::Rcpps => by_source!(i, approximate_packed, Reciprocal),
        Mnemonic::Rsqrtps => by_source!(i, approximate_packed, ReciprocalSqrt),
        Mnemonic::Rcpss => by_source!(i, approximate_scalar, Reciprocal),
        Mnemonic::Rsqrtss => by_source!(i, approximate_scalar, ReciprocalSqrt),
        Mnemonic::Comiss => by_source!(i, compare_scalar, Ordered, Float32),
        Mnemonic::Comisd => by_source!(i, compare_scalar, Ordered, Float64),
        Mnemonic::Ucomiss => by_source!(i, compare_scalar, Unordered, Float32),
        Mnemonic::Ucomisd => by_source!(i, compare_scalar, Unordered, Float64),
        _ => return None,
    })
}
