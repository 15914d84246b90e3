//! ADD SUB MUL DIV MIN MAX SQRT CMP ADDSUB HADD HSUB DP ROUND RCP RSQRT (U)COMI on packed and
//! scalar numbers. Intel SDM volume 1, sections 10.4.1, 11.4.1, 12.3, 12.8 and 14.1.

use super::approximate;
use super::binary::each;
use super::float;
use super::float_fast::{Fast, is_right, is_suitable};
use super::lanes::{Lane, build, get, horizontal, map, map2, map3};
use super::operand::{Place, Unit, Vector, by_form, set_low};
use super::state::Bytes;
use crate::cpu::decode::Op;
use crate::cpu::exec::Way;
use crate::cpu::fpu::eflags;
use crate::cpu::fpu::soft::compare::{Ordered, Relation, Rule, Unordered};
use crate::cpu::fpu::soft::{Env, Float32, Float64, Format, Ieee};
use crate::cpu::{Core, Exec, Handler, Raised, flags};
use iced_x86::{EncodingKind, Instruction, Mnemonic as M};
use std::cmp::Ordering;

/// An operation on a lane of the destination and one of the source.
trait Operation {
    /// Only the source counts.
    const IS_UNARY: bool = false;
    /// The result is one of the operands.
    const CHOOSES: bool = false;

    fn apply<N: Ieee>(env: &mut Env, a: N, b: N) -> N;

    /// What the host makes of it, to be judged before it counts.
    fn on_host<N: Fast>(a: N, b: N) -> N;

    /// Whether a few comparisons show that the host's `result` is the guest's and raises nothing but
    /// PE. An operand that is infinite or NaN shows in the result of a computation.
    #[inline(always)]
    fn is_plainly_right<N: Fast>(a: N, b: N, result: N) -> bool {
        match Self::CHOOSES {
            true => a.is_ordinary() && b.is_ordinary(),
            false => !(a.is_small() && !Self::IS_UNARY || b.is_small()) && result.is_ordinary(),
        }
    }

    /// [`Operation::is_plainly_right`] as the sign bit, which is clear if it holds: doubts about the
    /// numbers of a vector are looked at together.
    #[inline(always)]
    fn doubt<N: Fast>(a: N, b: N, result: N) -> u64 {
        match (Self::CHOOSES, Self::IS_UNARY) {
            (true, _) => a.oddity() | b.oddity(),
            (false, true) => b.smallness() | result.oddity(),
            (false, false) => a.smallness() | b.smallness() | result.oddity(),
        }
    }
}

macro_rules! operations {
    ($($name:ident: $soft:path, $host:ident;)*) => {$(
        struct $name;

        impl Operation for $name {
            #[inline(always)]
            fn apply<N: Ieee>(env: &mut Env, a: N, b: N) -> N {
                $soft(env, a, b)
            }

            #[inline(always)]
            fn on_host<N: Fast>(a: N, b: N) -> N {
                N::$host(a, b)
            }
        }
    )*};
}

operations! {
    Add: float::add, host_add;
    Sub: float::sub, host_sub;
    Mul: float::mul, host_mul;
    Div: float::div, host_div;
}

struct Min;
struct Max;
struct Sqrt;

impl Operation for Min {
    const CHOOSES: bool = true;

    #[inline(always)]
    fn apply<N: Ieee>(env: &mut Env, a: N, b: N) -> N {
        float::min(env, a, b)
    }

    #[inline(always)]
    fn on_host<N: Fast>(a: N, b: N) -> N {
        match N::host_compare(a, b) {
            Some(Ordering::Less) => a,
            _ => b,
        }
    }
}

impl Operation for Max {
    const CHOOSES: bool = true;

    #[inline(always)]
    fn apply<N: Ieee>(env: &mut Env, a: N, b: N) -> N {
        float::max(env, a, b)
    }

    #[inline(always)]
    fn on_host<N: Fast>(a: N, b: N) -> N {
        match N::host_compare(a, b) {
            Some(Ordering::Greater) => a,
            _ => b,
        }
    }
}

impl Operation for Sqrt {
    const IS_UNARY: bool = true;

    #[inline(always)]
    fn apply<N: Ieee>(env: &mut Env, _: N, b: N) -> N {
        float::sqrt(env, b)
    }

    #[inline(always)]
    fn on_host<N: Fast>(_: N, b: N) -> N {
        N::host_sqrt(b)
    }
}

/// The quick way is the host's arithmetic where it is plainly right.
#[inline(always)]
fn packed<'m, M: Way<'m>, O: Operation, N: Fast, U: Unit, P: Place>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let b = P::vector::<U>(core, op)?;
    let a = U::first(core, op);
    let suitable = is_suitable(core.cpu.sse.mxcsr);
    if !M::IS_QUICK {
        return finish_packed::<U>(core, op, |env, lane| {
            map2(a[lane], b[lane], |a, b| apply::<O, N>(env, suitable, a, b))
        });
    }
    let result = each::<U>(|lane| map2(a[lane], b[lane], O::on_host::<N>));
    let is_right = |lane: usize| {
        N::has_no_sign(map3(a[lane], b[lane], result[lane], |a: N, b, result| {
            N::from_bits(O::doubt(a, b, result))
        }))
    };
    if !suitable || !(0..U::LANES).all(is_right) {
        return Err(Raised);
    }
    U::set(core, op, result);
    Ok(())
}

/// One number of a result, from the host if that is right.
#[inline(always)]
fn apply<O: Operation, N: Fast>(env: &mut Env, suitable: bool, a: N, b: N) -> N {
    let result = O::on_host(a, b);
    let first = if O::IS_UNARY { b } else { a };
    match suitable && is_right(first, b, result) {
        true => result,
        false => O::apply(env, a, b),
    }
}

/// Computes a vector lane by lane and writes it, unless an exception prevents that.
#[inline(always)]
fn finish_packed<U: Unit>(
    core: &mut Core<'_>,
    op: &Op,
    f: impl FnMut(&mut Env, usize) -> Bytes,
) -> Exec {
    let result = step::<U>(core, f)?;
    U::set(core, op, result);
    Ok(())
}

/// Computes a vector lane by lane, unless an exception prevents that.
#[inline(always)]
fn step<U: Unit>(core: &mut Core<'_>, mut f: impl FnMut(&mut Env, usize) -> Bytes) -> Exec<Vector> {
    let mut env = core.sse_env();
    let result = each::<U>(|lane| f(&mut env, lane));
    core.settle_sse(&env)?;
    Ok(result)
}

#[inline(always)]
fn scalar<'m, M: Way<'m>, O: Operation, N: Fast, U: Unit, P: Place>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let b: N = P::number(core, op)?;
    let a = get(U::first(core, op)[0], 0);
    let suitable = is_suitable(core.cpu.sse.mxcsr);
    if !M::IS_QUICK {
        let mut env = core.sse_env();
        let value = apply::<O, N>(&mut env, suitable, a, b);
        core.settle_sse(&env)?;
        set_low::<U, N>(core, op, value);
        return Ok(());
    }
    let result = O::on_host(a, b);
    if !suitable || !O::is_plainly_right(a, b, result) {
        return Err(Raised);
    }
    set_low::<U, N>(core, op, result);
    Ok(())
}

/// An operation with an immediate byte.
trait Controlled {
    fn apply<N: Ieee>(env: &mut Env, a: N, b: N, control: u8) -> N;
}

/// CMPxx: all ones where the predicate in imm8[2:0] holds.
struct Compare;
/// VCMPxx: the predicate is imm8[4:0].
struct CompareWide;
/// ROUNDxx.
struct Round;

impl Controlled for Compare {
    #[inline(always)]
    fn apply<N: Ieee>(env: &mut Env, a: N, b: N, control: u8) -> N {
        CompareWide::apply(env, a, b, control & 7)
    }
}

impl Controlled for CompareWide {
    #[inline(always)]
    fn apply<N: Ieee>(env: &mut Env, a: N, b: N, control: u8) -> N {
        N::cut(if float::holds(env, control, a, b) {
            u64::MAX
        } else {
            0
        })
    }
}

impl Controlled for Round {
    #[inline(always)]
    fn apply<N: Ieee>(env: &mut Env, _: N, b: N, control: u8) -> N {
        float::round(env, b, control)
    }
}

fn packed_controlled<'m, M: Way<'m>, O: Controlled, N: Ieee, U: Unit, P: Place>(
    core: &mut M,
    op: &Op,
) -> Exec {
    U::enter(core)?;
    let b = P::vector::<U>(core, op)?;
    let a = U::first(core, op);
    finish_packed::<U>(core, op, |env, lane| {
        map2::<N, N>(a[lane], b[lane], |a, b| {
            O::apply(env, a, b, op.immediate as u8)
        })
    })
}

fn scalar_controlled<'m, M: Way<'m>, O: Controlled, N: Ieee, U: Unit, P: Place>(
    core: &mut M,
    op: &Op,
) -> Exec {
    U::enter(core)?;
    let b: N = P::number(core, op)?;
    let a = get::<N>(U::first(core, op)[0], 0);
    let mut env = core.sse_env();
    let value = O::apply(&mut env, a, b, op.immediate as u8);
    core.settle_sse(&env)?;
    set_low::<U, N>(core, op, value);
    Ok(())
}

/// An operation whose lanes meet in other ways.
trait Crossed {
    fn apply<N: Ieee>(env: &mut Env, a: Bytes, b: Bytes) -> Bytes;
}

/// ADDSUBxx: odd lanes added, even ones subtracted.
struct AddSub;
/// HADDxx: neighbours added, those of the destination first.
struct HorizontalAdd;
/// HSUBxx.
struct HorizontalSub;

impl Crossed for AddSub {
    fn apply<N: Ieee>(env: &mut Env, a: Bytes, b: Bytes) -> Bytes {
        let mut odd = true;
        map2::<N, N>(a, b, |a, b| {
            odd = !odd;
            if odd {
                float::add(env, a, b)
            } else {
                float::sub(env, a, b)
            }
        })
    }
}

impl Crossed for HorizontalAdd {
    fn apply<N: Ieee>(env: &mut Env, a: Bytes, b: Bytes) -> Bytes {
        horizontal::<N>(a, b, 16, |x, y| float::add(env, x, y))
    }
}

impl Crossed for HorizontalSub {
    fn apply<N: Ieee>(env: &mut Env, a: Bytes, b: Bytes) -> Bytes {
        horizontal::<N>(a, b, 16, |x, y| float::sub(env, x, y))
    }
}

fn crossed<'m, M: Way<'m>, O: Crossed, N: Ieee, U: Unit, P: Place>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let b = P::vector::<U>(core, op)?;
    let a = U::first(core, op);
    finish_packed::<U>(core, op, |env, lane| O::apply::<N>(env, a[lane], b[lane]))
}

/// Each number with the one `distance` places away.
#[inline(always)]
fn with_other<N: Ieee>(a: Bytes, distance: usize, mut f: impl FnMut(N, N) -> N) -> Bytes {
    build(|n| f(get(a, n), get(a, n ^ distance)))
}

/// DPxx: products of the numbers in bits 7:4, added pairwise, into the numbers in bits 3:0. Each
/// step is an operation of its own: where one faults, the next does not begin. All lanes add, each
/// from where it stands, as Intel's processors do: with several NaNs it shows which comes first.
fn dot_product<'m, M: Way<'m>, N: Ieee, U: Unit, P: Place>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let b = P::vector::<U>(core, op)?;
    let a = U::first(core, op);
    let control = op.immediate as u8;
    let mut terms = step::<U>(core, |env, lane| {
        let mut chosen = control >> 3;
        map2::<N, N>(a[lane], b[lane], |a, b| {
            chosen >>= 1;
            if chosen & 1 != 0 {
                float::mul(env, a, b)
            } else {
                N::zero(false)
            }
        })
    })?;
    if N::BITS == 32 {
        terms = step::<U>(core, |env, lane| {
            with_other::<N>(terms[lane], 1, |own, other| float::add(env, other, own))
        })?;
    }
    let distance = 8 / N::BYTES;
    terms = step::<U>(core, |env, lane| {
        with_other::<N>(terms[lane], distance, |own, other| {
            float::add(env, own, other)
        })
    })?;
    let result = each::<U>(|lane| {
        build(|n| match control >> n & 1 {
            0 => N::zero(false),
            _ => get::<N>(terms[lane], n),
        })
    });
    U::set(core, op, result);
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

fn approximate_packed<'m, M: Way<'m>, O: Approximation, U: Unit, P: Place>(
    core: &mut M,
    op: &Op,
) -> Exec {
    U::enter(core)?;
    let b = P::vector::<U>(core, op)?;
    let result = each::<U>(|n| map(b[n], O::apply));
    U::set(core, op, result);
    Ok(())
}

fn approximate_scalar<'m, M: Way<'m>, O: Approximation, U: Unit, P: Place>(
    core: &mut M,
    op: &Op,
) -> Exec {
    U::enter(core)?;
    let b = P::number(core, op)?;
    set_low::<U, Float32>(core, op, O::apply(b));
    Ok(())
}

/// COMISx and UCOMISx.
fn compare_scalar<'m, M: Way<'m>, R: Rule, N: Fast, U: Unit, P: Place>(
    core: &mut M,
    op: &Op,
) -> Exec {
    U::enter(core)?;
    let b: N = P::number(core, op)?;
    let a = get::<N>(core.cpu.sse.get(op.dst), 0);
    let relation = match a.is_ordinary() && b.is_ordinary() {
        true => N::host_compare(a, b),
        false if M::IS_QUICK => return Err(Raised),
        false => relate_any::<R, N>(core, a, b)?,
    };
    core.cpu
        .flags
        .set_arithmetic(eflags(relation), flags::ARITHMETIC);
    Ok(())
}

/// What is left of [`compare_scalar`].
#[cold]
#[inline(never)]
fn relate_any<R: Rule, N: Ieee>(core: &mut Core<'_>, a: N, b: N) -> Exec<Relation> {
    let mut env = core.sse_env();
    let (a, b) = (a.unpack(&env), b.unpack(&env));
    let relation = R::relate(&mut env, a, b);
    core.settle_sse(&env)?;
    Ok(relation)
}

/// The four forms of an operation, in SSE and AVX; with a quick way, or without.
macro_rules! four_forms {
    ($instruction:expr, $operation:ident,
     $ps:ident $pd:ident $ss:ident $sd:ident / $vps:ident $vpd:ident $vss:ident $vsd:ident,
     $packed:ident $scalar:ident $($quick:ident)?) => {
        match $instruction.mnemonic() {
            M::$ps | M::$vps => Some(by_form!($($quick)? $instruction, $packed, $operation, Float32)),
            M::$pd | M::$vpd => Some(by_form!($($quick)? $instruction, $packed, $operation, Float64)),
            M::$ss | M::$vss => Some(by_form!($($quick)? $instruction, $scalar, $operation, Float32)),
            M::$sd | M::$vsd => Some(by_form!($($quick)? $instruction, $scalar, $operation, Float64)),
            _ => None,
        }
    };
}

macro_rules! arithmetic {
    ($instruction:expr, $operation:ident, $($mnemonics:tt)+) => {
        four_forms!($instruction, $operation, $($mnemonics)+, packed scalar quick)
    };
}

macro_rules! controlled {
    ($instruction:expr, $operation:ident, $($mnemonics:tt)+) => {
        four_forms!($instruction, $operation, $($mnemonics)+, packed_controlled scalar_controlled)
    };
}

/// The handlers of this file.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    arithmetic!(i, Add, Addps Addpd Addss Addsd / Vaddps Vaddpd Vaddss Vaddsd)
        .or_else(|| arithmetic!(i, Sub, Subps Subpd Subss Subsd / Vsubps Vsubpd Vsubss Vsubsd))
        .or_else(|| arithmetic!(i, Mul, Mulps Mulpd Mulss Mulsd / Vmulps Vmulpd Vmulss Vmulsd))
        .or_else(|| arithmetic!(i, Div, Divps Divpd Divss Divsd / Vdivps Vdivpd Vdivss Vdivsd))
        .or_else(|| arithmetic!(i, Min, Minps Minpd Minss Minsd / Vminps Vminpd Vminss Vminsd))
        .or_else(|| arithmetic!(i, Max, Maxps Maxpd Maxss Maxsd / Vmaxps Vmaxpd Vmaxss Vmaxsd))
        .or_else(
            || arithmetic!(i, Sqrt, Sqrtps Sqrtpd Sqrtss Sqrtsd / Vsqrtps Vsqrtpd Vsqrtss Vsqrtsd),
        )
        .or_else(|| controlled_handler(i))
        .or_else(|| crossed_handler(i))
        .or_else(|| other_handler(i))
}

fn controlled_handler(i: &Instruction) -> Option<Handler> {
    // CMPSD is a string instruction too.
    if i.is_string_instruction() {
        return None;
    }
    let compare = match i.encoding() {
        EncodingKind::VEX => {
            controlled!(i, CompareWide, Cmpps Cmppd Cmpss Cmpsd / Vcmpps Vcmppd Vcmpss Vcmpsd)
        }
        _ => controlled!(i, Compare, Cmpps Cmppd Cmpss Cmpsd / Vcmpps Vcmppd Vcmpss Vcmpsd),
    };
    compare.or_else(|| {
        controlled!(i, Round,
            Roundps Roundpd Roundss Roundsd / Vroundps Vroundpd Vroundss Vroundsd)
    })
}

fn crossed_handler(i: &Instruction) -> Option<Handler> {
    Some(match i.mnemonic() {
        M::Addsubps | M::Vaddsubps => by_form!(i, crossed, AddSub, Float32),
        M::Addsubpd | M::Vaddsubpd => by_form!(i, crossed, AddSub, Float64),
        M::Haddps | M::Vhaddps => by_form!(i, crossed, HorizontalAdd, Float32),
        M::Haddpd | M::Vhaddpd => by_form!(i, crossed, HorizontalAdd, Float64),
        M::Hsubps | M::Vhsubps => by_form!(i, crossed, HorizontalSub, Float32),
        M::Hsubpd | M::Vhsubpd => by_form!(i, crossed, HorizontalSub, Float64),
        M::Dpps | M::Vdpps => by_form!(i, dot_product, Float32),
        M::Dppd | M::Vdppd => by_form!(i, dot_product, Float64),
        _ => return None,
    })
}

fn other_handler(i: &Instruction) -> Option<Handler> {
    Some(match i.mnemonic() {
        M::Rcpps | M::Vrcpps => by_form!(i, approximate_packed, Reciprocal),
        M::Rsqrtps | M::Vrsqrtps => by_form!(i, approximate_packed, ReciprocalSqrt),
        M::Rcpss | M::Vrcpss => by_form!(i, approximate_scalar, Reciprocal),
        M::Rsqrtss | M::Vrsqrtss => by_form!(i, approximate_scalar, ReciprocalSqrt),
        M::Comiss | M::Vcomiss => by_form!(quick i, compare_scalar, Ordered, Float32),
        M::Comisd | M::Vcomisd => by_form!(quick i, compare_scalar, Ordered, Float64),
        M::Ucomiss | M::Vucomiss => by_form!(quick i, compare_scalar, Unordered, Float32),
        M::Ucomisd | M::Vucomisd => by_form!(quick i, compare_scalar, Unordered, Float64),
        _ => return None,
    })
}
