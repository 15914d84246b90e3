//! SSE and SSE2 arithmetic on single numbers.
#![expect(
    unsafe_code,
    reason = "runs single instructions of the host by inline assembly"
)]

use super::operands::Random;
use cowbox::cpu::fpu::soft::{Env, Float32, Float64, Format, Rounding, compare, integral};
use cowbox::cpu::simd::{approximate, float};
use std::cmp::Ordering;

/// Runs an instruction on XMM0 (both source and destination), XMM1 and RAX under an MXCSR that
/// masks everything; gives XMM0, RAX, the flags raised and RFLAGS.
macro_rules! native {
    ($instruction:literal, $mxcsr:expr, $a:expr, $b:expr, $rax:expr) => {{
        let (mxcsr, mut after, default): (u32, u32, u32) = ($mxcsr, 0, 0x1f80);
        let (mut result, mut rax, rflags): (u64, i64, u64) = ($a, $rax, 0);
        let mut rflags = rflags;
        // SAFETY: every exception is masked, and MXCSR is back at its default at the end.
        unsafe {
            std::arch::asm!(
                "movq xmm0, {result}",
                "movq xmm1, {b}",
                "ldmxcsr dword ptr [{mxcsr}]",
                $instruction,
                "pushfq",
                "pop {rflags}",
                "stmxcsr dword ptr [{after}]",
                "ldmxcsr dword ptr [{default}]",
                "movq {result}, xmm0",
                result = inout(reg) result,
                b = in(reg) $b,
                mxcsr = in(reg) &raw const mxcsr,
                after = in(reg) &raw mut after,
                default = in(reg) &raw const default,
                rflags = inout(reg) rflags,
                inout("rax") rax,
                out("xmm0") _, out("xmm1") _,
            );
        }
        Native { xmm: result, rax, flags: (after & 0x3f) as u8, rflags }
    }};
    ($instruction:literal, $mxcsr:expr, $a:expr, $b:expr) => {
        native!($instruction, $mxcsr, $a, $b, 0)
    };
}

struct Native {
    xmm: u64,
    rax: i64,
    flags: u8,
    rflags: u64,
}

/// All masked; any rounding, DAZ and FTZ; no flag raised yet.
fn mxcsr(random: &mut Random) -> u32 {
    let modes = random.below(4) << 13 | random.below(2) << 6 | random.below(2) << 15;
    0x1f80 | modes as u32
}

macro_rules! binary {
    ($test:ident, $random:ident, $wrap:path, $($instruction:literal $function:expr),+) => {
        #[test]
        fn $test() {
            let mut random = Random::new(line!().into());
            for _ in 0..super::cases() {
                let (a, b) = (random.$random(), random.$random());
                let mxcsr = mxcsr(&mut random);
                $({
                    let host = native!($instruction, mxcsr, a.into(), u64::from(b));
                    let mut env = Env::sse(mxcsr);
                    let value = $function(&mut env, $wrap(a), $wrap(b)).0;
                    assert_eq!(
                        (host.xmm, host.flags), (value.into(), env.flags),
                        "{} of {a:x} {b:x} mxcsr {mxcsr:x}: host against ours", $instruction
                    );
                })+
            }
        }
    };
}

binary!(single_arithmetic_agrees_with_host, float32, Float32,
    "addss xmm0, xmm1" float::add, "subss xmm0, xmm1" float::sub,
    "mulss xmm0, xmm1" float::mul, "divss xmm0, xmm1" float::div,
    "minss xmm0, xmm1" float::min, "maxss xmm0, xmm1" float::max,
    "sqrtss xmm0, xmm1" |env: &mut Env, _, b| float::sqrt(env, b));

binary!(double_arithmetic_agrees_with_host, float64, Float64,
    "addsd xmm0, xmm1" float::add, "subsd xmm0, xmm1" float::sub,
    "mulsd xmm0, xmm1" float::mul, "divsd xmm0, xmm1" float::div,
    "minsd xmm0, xmm1" float::min, "maxsd xmm0, xmm1" float::max,
    "sqrtsd xmm0, xmm1" |env: &mut Env, _, b| float::sqrt(env, b));

fn mask32(holds: bool) -> Float32 {
    Float32(if holds { u32::MAX } else { 0 })
}

fn mask64(holds: bool) -> Float64 {
    Float64(if holds { u64::MAX } else { 0 })
}

binary!(single_predicates_agree_with_host, float32, Float32,
    "cmpeqss xmm0, xmm1" |env: &mut Env, a, b| mask32(float::holds(env, 0, a, b)),
    "cmpltss xmm0, xmm1" |env: &mut Env, a, b| mask32(float::holds(env, 1, a, b)),
    "cmpless xmm0, xmm1" |env: &mut Env, a, b| mask32(float::holds(env, 2, a, b)),
    "cmpunordss xmm0, xmm1" |env: &mut Env, a, b| mask32(float::holds(env, 3, a, b)),
    "cmpneqss xmm0, xmm1" |env: &mut Env, a, b| mask32(float::holds(env, 4, a, b)),
    "cmpnltss xmm0, xmm1" |env: &mut Env, a, b| mask32(float::holds(env, 5, a, b)),
    "cmpnless xmm0, xmm1" |env: &mut Env, a, b| mask32(float::holds(env, 6, a, b)),
    "cmpordss xmm0, xmm1" |env: &mut Env, a, b| mask32(float::holds(env, 7, a, b)));

binary!(double_predicates_agree_with_host, float64, Float64,
    "cmpeqsd xmm0, xmm1" |env: &mut Env, a, b| mask64(float::holds(env, 0, a, b)),
    "cmpltsd xmm0, xmm1" |env: &mut Env, a, b| mask64(float::holds(env, 1, a, b)),
    "cmplesd xmm0, xmm1" |env: &mut Env, a, b| mask64(float::holds(env, 2, a, b)),
    "cmpunordsd xmm0, xmm1" |env: &mut Env, a, b| mask64(float::holds(env, 3, a, b)),
    "cmpneqsd xmm0, xmm1" |env: &mut Env, a, b| mask64(float::holds(env, 4, a, b)),
    "cmpnltsd xmm0, xmm1" |env: &mut Env, a, b| mask64(float::holds(env, 5, a, b)),
    "cmpnlesd xmm0, xmm1" |env: &mut Env, a, b| mask64(float::holds(env, 6, a, b)),
    "cmpordsd xmm0, xmm1" |env: &mut Env, a, b| mask64(float::holds(env, 7, a, b)));

binary!(rounding_to_integral_agrees_with_host, float64, Float64,
    "roundsd xmm0, xmm1, 0" |env: &mut Env, _, b| float::round(env, b, 0),
    "roundsd xmm0, xmm1, 1" |env: &mut Env, _, b| float::round(env, b, 1),
    "roundsd xmm0, xmm1, 2" |env: &mut Env, _, b| float::round(env, b, 2),
    "roundsd xmm0, xmm1, 3" |env: &mut Env, _, b| float::round(env, b, 3),
    "roundsd xmm0, xmm1, 4" |env: &mut Env, _, b| float::round(env, b, 4),
    "roundsd xmm0, xmm1, 11" |env: &mut Env, _, b| float::round(env, b, 11));

#[test]
fn comparisons_into_eflags_agree_with_host() {
    let mut random = Random::new(11);
    for _ in 0..super::cases() {
        let (a, b) = (random.float64(), random.float64());
        let (a, b) = if random.below(4) == 0 { (a, a) } else { (a, b) };
        let mxcsr = mxcsr(&mut random);
        for (host, function) in [
            (
                native!("comisd xmm0, xmm1", mxcsr, a, b),
                compare::compare as fn(&mut Env, _, _) -> _,
            ),
            (
                native!("ucomisd xmm0, xmm1", mxcsr, a, b),
                compare::compare_quiet,
            ),
        ] {
            let mut env = Env::sse(mxcsr);
            let (x, y) = (Float64(a).unpack(&env), Float64(b).unpack(&env));
            let rflags = match function(&mut env, x, y) {
                Some(Ordering::Greater) => 0,
                Some(Ordering::Less) => 0x01,
                Some(Ordering::Equal) => 0x40,
                None => 0x45,
            };
            let seen = (host.rflags & 0x8d5, host.flags);
            assert_eq!(
                seen,
                (rflags, env.flags),
                "comisd of {a:x} {b:x} mxcsr {mxcsr:x}"
            );
        }
    }
}

#[test]
fn conversions_between_formats_agree_with_host() {
    let mut random = Random::new(12);
    for _ in 0..super::cases() {
        let (a, b) = (random.float64(), random.float32());
        let mxcsr = mxcsr(&mut random);
        let host = native!("cvtsd2ss xmm0, xmm1", mxcsr, 0, a);
        let mut env = Env::sse(mxcsr);
        let value: Float32 = float::convert(&mut env, Float64(a));
        let seen = (host.xmm, host.flags);
        assert_eq!(
            seen,
            (value.0.into(), env.flags),
            "cvtsd2ss of {a:x} mxcsr {mxcsr:x}"
        );

        let host = native!("cvtss2sd xmm0, xmm1", mxcsr, 0, u64::from(b));
        let mut env = Env::sse(mxcsr);
        let value: Float64 = float::convert(&mut env, Float32(b));
        let seen = (host.xmm, host.flags);
        assert_eq!(
            seen,
            (value.0, env.flags),
            "cvtss2sd of {b:x} mxcsr {mxcsr:x}"
        );
    }
}

#[test]
fn conversions_to_integers_agree_with_host() {
    let mut random = Random::new(13);
    for _ in 0..super::cases() {
        let (a, b) = (random.float64(), random.float32());
        let mxcsr = mxcsr(&mut random);
        let env = Env::sse(mxcsr);
        let chopped = Env {
            rounding: Rounding::Zero,
            ..env
        };
        let (x, y) = (Float64(a).unpack(&env), Float32(b).unpack(&env));
        let single = u64::from(b);
        for (host, mut env, operand, bits) in [
            (native!("cvtsd2si rax, xmm1", mxcsr, 0, a), env, x, 64),
            (native!("cvttsd2si rax, xmm1", mxcsr, 0, a), chopped, x, 64),
            (native!("cvtsd2si eax, xmm1", mxcsr, 0, a), env, x, 32),
            (
                native!("cvttss2si rax, xmm1", mxcsr, 0, single),
                chopped,
                y,
                64,
            ),
            (native!("cvtss2si eax, xmm1", mxcsr, 0, single), env, y, 32),
        ] {
            let value = integral::to_integer(&mut env, operand, bits);
            let value = if bits == 32 {
                i64::from(value as u32)
            } else {
                value
            };
            let seen = (host.rax, host.flags);
            assert_eq!(
                seen,
                (value, env.flags),
                "{bits}: {a:x} {b:x} mxcsr {mxcsr:x}"
            );
        }
    }
}

#[test]
fn conversions_from_integers_agree_with_host() {
    let mut random = Random::new(14);
    for _ in 0..super::cases() {
        let integer = (random.next().cast_signed()) >> random.below(64);
        let mxcsr = mxcsr(&mut random);
        let mut env = Env::sse(mxcsr);
        let host = native!("cvtsi2sd xmm0, rax", mxcsr, 0, 0u64, integer);
        let value: Float64 = float::from_integer(&mut env, integer);
        assert_eq!(
            (host.xmm, host.flags),
            (value.0, env.flags),
            "cvtsi2sd of {integer:x}"
        );

        let mut env = Env::sse(mxcsr);
        let host = native!("cvtsi2ss xmm0, rax", mxcsr, 0, 0u64, integer);
        let value: Float32 = float::from_integer(&mut env, integer);
        assert_eq!(
            (host.xmm, host.flags),
            (value.0.into(), env.flags),
            "cvtsi2ss of {integer:x}"
        );
    }
}

#[test]
fn approximations_keep_the_manuals_bound() {
    let mut random = Random::new(15);
    for _ in 0..super::cases() {
        let a = random.float32();
        let host = native!("rcpss xmm0, xmm1", 0x1f80, 0, u64::from(a)).xmm as u32;
        check_approximation(a, host, approximate::reciprocal(Float32(a)).0, |x| 1.0 / x);
        let host = native!("rsqrtss xmm0, xmm1", 0x1f80, 0, u64::from(a)).xmm as u32;
        let ours = approximate::reciprocal_sqrt(Float32(a)).0;
        check_approximation(a, host, ours, |x| 1.0 / x.sqrt());
    }
}

/// Special results are the host's own; others keep the bound. Between flushing and not, near the
/// smallest normal number, the manual leaves the choice.
#[track_caller]
fn check_approximation(a: u32, host: u32, ours: u32, exact: fn(f64) -> f64) {
    let number = f32::from_bits(ours);
    let expected = exact(f64::from(f32::from_bits(a)));
    if number.is_normal() {
        let error = (f64::from(number) - expected).abs() / expected.abs();
        assert!(error <= 1.5 / 4096.0, "{a:x}: {ours:x}, error {error:e}");
    } else if expected.abs() < f64::from(f32::MIN_POSITIVE) * 1.001 && a << 1 != 0 {
        assert_eq!(ours << 1, 0, "{a:x}");
    } else {
        assert_eq!(ours, host, "{a:x}: host (right) against ours");
    }
}
