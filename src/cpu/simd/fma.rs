//! FMA: `a * b + c` with one rounding, on packed and scalar numbers.
//! Intel SDM volume 1, section 14.5; volume 2, VFMADD132PD and following.

use iced_x86::{CpuidFeature, Instruction, MemorySize, Mnemonic as M};

use super::binary::each;
use super::lanes::{build, get, replace};
use super::operand::{Place, Unit, by_form};
use super::state::ZERO;
use crate::cpu::decode::Op;
use crate::cpu::exec::Way;
use crate::cpu::fpu::soft::arith::mul_add;
use crate::cpu::fpu::soft::{Env, Float32, Float64, Format, Ieee};
use crate::cpu::{Exec, Handler};

/// Which operands are multiplied; the digits of the mnemonic.
#[derive(Clone, Copy)]
enum Order {
    /// The first by the third, plus the second.
    O132,
    /// The second by the first, plus the third.
    O213,
    /// The second by the third, plus the first.
    O231,
}

/// What becomes of the signs.
#[derive(Clone, Copy)]
struct Signs {
    /// The product is negated.
    product: bool,
    /// The addend is negated, in numbers with even and odd places.
    addend: [bool; 2],
}

/// The order and the signs of an instruction.
fn plan(mnemonic: M) -> (Order, Signs) {
    macro_rules! plan {
        ($($o132:ident $o213:ident $o231:ident: $product:literal [$even:literal, $odd:literal];)*) => {
            match mnemonic {
                $(
                    M::$o132 => (Order::O132, Signs { product: $product, addend: [$even, $odd] }),
                    M::$o213 => (Order::O213, Signs { product: $product, addend: [$even, $odd] }),
                    M::$o231 => (Order::O231, Signs { product: $product, addend: [$even, $odd] }),
                )*
                _ => unreachable!("no FMA instruction"),
            }
        };
    }
    plan! {
        Vfmadd132ps Vfmadd213ps Vfmadd231ps: false [false, false];
        Vfmadd132pd Vfmadd213pd Vfmadd231pd: false [false, false];
        Vfmadd132ss Vfmadd213ss Vfmadd231ss: false [false, false];
        Vfmadd132sd Vfmadd213sd Vfmadd231sd: false [false, false];
        Vfmsub132ps Vfmsub213ps Vfmsub231ps: false [true, true];
        Vfmsub132pd Vfmsub213pd Vfmsub231pd: false [true, true];
        Vfmsub132ss Vfmsub213ss Vfmsub231ss: false [true, true];
        Vfmsub132sd Vfmsub213sd Vfmsub231sd: false [true, true];
        Vfnmadd132ps Vfnmadd213ps Vfnmadd231ps: true [false, false];
        Vfnmadd132pd Vfnmadd213pd Vfnmadd231pd: true [false, false];
        Vfnmadd132ss Vfnmadd213ss Vfnmadd231ss: true [false, false];
        Vfnmadd132sd Vfnmadd213sd Vfnmadd231sd: true [false, false];
        Vfnmsub132ps Vfnmsub213ps Vfnmsub231ps: true [true, true];
        Vfnmsub132pd Vfnmsub213pd Vfnmsub231pd: true [true, true];
        Vfnmsub132ss Vfnmsub213ss Vfnmsub231ss: true [true, true];
        Vfnmsub132sd Vfnmsub213sd Vfnmsub231sd: true [true, true];
        Vfmaddsub132ps Vfmaddsub213ps Vfmaddsub231ps: false [true, false];
        Vfmaddsub132pd Vfmaddsub213pd Vfmaddsub231pd: false [true, false];
        Vfmsubadd132ps Vfmsubadd213ps Vfmsubadd231ps: false [false, true];
        Vfmsubadd132pd Vfmsubadd213pd Vfmsubadd231pd: false [false, true];
    }
}

impl Order {
    /// The factors and the addend, of the instruction's three operands.
    #[inline(always)]
    fn arrange<T>(self, first: T, second: T, third: T) -> [T; 3] {
        match self {
            Self::O132 => [first, third, second],
            Self::O213 => [second, first, third],
            Self::O231 => [second, third, first],
        }
    }
}

/// Number `n` of a vector.
fn compute<N: Ieee>(env: &mut Env, signs: Signs, n: usize, [a, b, c]: [N; 3]) -> N {
    let [a, b, c] = [a, b, c].map(|x| x.unpack(env));
    let a = if signs.product { a.negated() } else { a };
    let c = if signs.addend[n & 1] { c.negated() } else { c };
    mul_add(env, a, b, c)
}

fn packed<'m, M: Way<'m>, N: Ieee, U: Unit, P: Place>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let third = P::vector::<U>(core, op)?;
    let [first, second] = [op.dst, op.extra].map(|n| U::register(core, n));
    let (order, signs) = plan(op.code().mnemonic());
    let mut env = core.sse_env();
    let result = each::<U>(|lane| {
        build(|n| {
            let [x, y, z] = [first, second, third].map(|vector| get::<N>(vector[lane], n));
            compute(&mut env, signs, n, order.arrange(x, y, z))
        })
    });
    core.settle_sse(&env)?;
    U::set(core, op, result);
    Ok(())
}

/// The numbers above the low one are those of the destination.
fn scalar<'m, M: Way<'m>, N: Ieee, U: Unit, P: Place>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let third: N = P::number(core, op)?;
    let destination = core.cpu.sse.get(op.dst);
    let second = get::<N>(core.cpu.sse.get(op.extra), 0);
    let (order, signs) = plan(op.code().mnemonic());
    let operands = order.arrange(get::<N>(destination, 0), second, third);
    let mut env = core.sse_env();
    let value = compute(&mut env, signs, 0, operands);
    core.settle_sse(&env)?;
    U::set(core, op, [replace(destination, value, 0), ZERO]);
    Ok(())
}

/// The handlers of this file.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    if !i.cpuid_features().contains(&CpuidFeature::FMA) {
        return None;
    }
    Some(match i.memory_size() {
        MemorySize::Float32 => by_form!(i, scalar, Float32),
        MemorySize::Float64 => by_form!(i, scalar, Float64),
        MemorySize::Packed128_Float32 | MemorySize::Packed256_Float32 => {
            by_form!(i, packed, Float32)
        }
        _ => by_form!(i, packed, Float64),
    })
}
