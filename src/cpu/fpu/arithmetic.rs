//! FADD FSUB FMUL FDIV in all their forms, and the exact functions of ST(0):
//! FSQRT FRNDINT FSCALE FPREM FXTRACT FABS FCHS.
//! Intel SDM volume 1, section 8.3.5.

use super::operand::{Double, Dword, Operand, Register, Single, Value, Word};
use super::soft::remainder::{Quotient, remainder};
use super::soft::{Env, Float80, Format, Unpacked, arith, integral, scale};
use super::state::status;
use super::unit::{StackFault, enter, leave_if_quick};
use crate::cpu::decode::Op;
use crate::cpu::exec::{Way, both_ways, run};
use crate::cpu::{Core, Exec, Handler, Raised};
use iced_x86::{Code, Instruction, Mnemonic};

/// A two-operand operation.
trait Operation {
    fn apply(env: &mut Env, x: Unpacked, y: Unpacked) -> Float80;
}

macro_rules! operations {
    ($($name:ident($env:ident, $x:ident, $y:ident) = $result:expr;)*) => {$(
        struct $name;

        impl Operation for $name {
            #[inline(always)]
            fn apply($env: &mut Env, $x: Unpacked, $y: Unpacked) -> Float80 {
                $result
            }
        }
    )*};
}

operations! {
    Add(env, x, y) = arith::add(env, x, y);
    Sub(env, x, y) = arith::sub(env, x, y);
    SubReversed(env, x, y) = arith::sub(env, y, x);
    Mul(env, x, y) = arith::mul(env, x, y);
    Div(env, x, y) = arith::div(env, x, y);
    DivReversed(env, x, y) = arith::div(env, y, x);
}

/// ST(`op.dst`) becomes ST(`op.dst`) op source; memory forms leave `op.dst` 0. True: go on. The quick
/// way is that of normal numbers under a plain control word.
#[inline(always)]
fn combine<'m, M: Way<'m>, K: Operation, S: Operand>(core: &mut M, op: &Op) -> Exec<bool> {
    enter(core)?;
    let y = S::read(core, op)?;
    core.note(op);
    S::note(core, op);
    let fpu = &core.cpu.fpu;
    let Some(y) = y.filter(|_| !fpu.is_empty(op.dst)) else {
        leave_if_quick(core)?;
        return Ok(core.stack_underflow(op.dst));
    };
    let x = fpu.st(op.dst);
    if !M::IS_QUICK {
        let mut env = fpu.env();
        let result = K::apply(&mut env, x.unpack(&Env::PLAIN), y.number());
        let proceed = core.settle(&env);
        if proceed {
            core.cpu.fpu.set_st(op.dst, result);
        }
        return Ok(proceed);
    }
    let (Some(mut env), Some(x), Some(y)) = (fpu.plain_env(), x.normal(), y.normal_number()) else {
        return Err(Raised);
    };
    let result = K::apply(&mut env, x, y);
    if env.unmasked() != 0 {
        return Err(Raised);
    }
    core.settle(&env);
    core.cpu.fpu.set_st(op.dst, result);
    Ok(true)
}

fn binary<'m, M: Way<'m>, K: Operation, S: Operand>(core: &mut M, op: &Op) -> Exec {
    combine::<M, K, S>(core, op)?;
    Ok(())
}

fn binary_pop<'m, M: Way<'m>, K: Operation>(core: &mut M, op: &Op) -> Exec {
    if combine::<M, K, Register>(core, op)? {
        core.cpu.fpu.pop();
    }
    Ok(())
}

/// Begins a function of ST(0): its operand, or `None` after a stack underflow.
#[inline(always)]
pub(super) fn begin(core: &mut Core<'_>, op: &Op) -> Exec<Option<(Env, Unpacked)>> {
    core.enter_x87()?;
    core.note(op);
    if core.cpu.fpu.is_empty(0) {
        core.stack_underflow(0);
        return Ok(None);
    }
    let env = core.cpu.fpu.env();
    let x = core.cpu.fpu.st(0).unpack(&env);
    Ok(Some((env, x)))
}

/// A function of ST(0) alone.
pub(super) trait Function {
    fn apply(env: &mut Env, x: Unpacked) -> Float80;
}

/// FSQRT.
struct SquareRoot;
/// FRNDINT.
struct Round;

impl Function for SquareRoot {
    fn apply(env: &mut Env, x: Unpacked) -> Float80 {
        arith::sqrt(env, x)
    }
}

impl Function for Round {
    fn apply(env: &mut Env, x: Unpacked) -> Float80 {
        integral::round_integral(env, x)
    }
}

pub(super) fn unary<F: Function>(core: &mut Core<'_>, op: &Op) -> Exec {
    if let Some((mut env, x)) = begin(core, op)? {
        let result = F::apply(&mut env, x);
        if core.settle(&env) {
            core.cpu.fpu.set_st(0, result);
        }
    }
    Ok(())
}

/// FPREM and FPREM1.
fn partial_remainder(core: &mut Core<'_>, op: &Op, rule: Quotient) -> Exec {
    let operands = begin_pair(core, op)?;
    core.cpu.fpu.set_conditions(status::C2, 0);
    let Some((mut env, x)) = operands else {
        return Ok(());
    };
    let y = core.cpu.fpu.st(1).unpack(&env);
    let result = remainder(&mut env, x, y, rule);
    let proceed = core.settle(&env);
    if let Some(q) = result.quotient {
        let bit = |n: u16| (q >> n & 1) as u16;
        let partial = u16::from(result.partial) << 10;
        let conditions = bit(2) << 8 | bit(1) << 14 | bit(0) << 9 | partial;
        core.cpu.fpu.set_conditions(status::CONDITIONS, conditions);
    }
    if proceed {
        core.cpu.fpu.set_st(0, result.value);
    }
    Ok(())
}

/// [`begin`], for functions that read ST(1) as well.
#[inline(always)]
pub(super) fn begin_pair(core: &mut Core<'_>, op: &Op) -> Exec<Option<(Env, Unpacked)>> {
    core.enter_x87()?;
    if !core.cpu.fpu.is_empty(1) {
        return begin(core, op);
    }
    core.note(op);
    core.stack_underflow(0);
    Ok(None)
}

fn fprem(core: &mut Core<'_>, op: &Op) -> Exec {
    partial_remainder(core, op, Quotient::Truncated)
}

fn fprem1(core: &mut Core<'_>, op: &Op) -> Exec {
    partial_remainder(core, op, Quotient::Nearest)
}

fn fscale(core: &mut Core<'_>, op: &Op) -> Exec {
    if let Some((mut env, x)) = begin_pair(core, op)? {
        let y = core.cpu.fpu.st(1).unpack(&env);
        let result = scale::scale(&mut env, x, y);
        if core.settle(&env) {
            core.cpu.fpu.set_st(0, result);
        }
    }
    Ok(())
}

fn fxtract(core: &mut Core<'_>, op: &Op) -> Exec {
    if let Some((mut env, x)) = begin_to_push(core, op)? {
        let (exponent, significand) = scale::extract(&mut env, x);
        if core.settle(&env) {
            core.cpu.fpu.set_st(0, exponent);
            core.cpu.fpu.push(significand);
        }
    }
    Ok(())
}

/// [`begin`], for functions with two results: the second one needs an empty register.
pub(super) fn begin_to_push(core: &mut Core<'_>, op: &Op) -> Exec<Option<(Env, Unpacked)>> {
    core.enter_x87()?;
    let underflow = core.cpu.fpu.is_empty(0);
    if !underflow && core.cpu.fpu.is_empty(7) {
        return begin(core, op);
    }
    core.note(op);
    let fault = if underflow {
        StackFault::Underflow
    } else {
        StackFault::Overflow
    };
    if core.stack_fault(fault) {
        core.cpu.fpu.set_st(0, Float80::indefinite());
        core.cpu.fpu.push(Float80::indefinite());
    }
    Ok(None)
}

/// FABS and FCHS: the sign bit of whatever ST(0) holds.
fn change_sign(core: &mut Core<'_>, op: &Op, sign: fn(u16) -> u16) -> Exec {
    core.enter_x87()?;
    core.note(op);
    let fpu = &mut core.cpu.fpu;
    if fpu.is_empty(0) {
        core.stack_underflow(0);
        return Ok(());
    }
    let x = fpu.st(0);
    fpu.set_conditions(status::C1, 0);
    fpu.set_st(0, Float80::new(sign(x.sign_exponent), x.significand));
    Ok(())
}

fn fabs(core: &mut Core<'_>, op: &Op) -> Exec {
    change_sign(core, op, |sign_exponent| sign_exponent & 0x7fff)
}

fn fchs(core: &mut Core<'_>, op: &Op) -> Exec {
    change_sign(core, op, |sign_exponent| sign_exponent ^ 0x8000)
}

/// The handler of an operation for the source that the encoding names.
fn by_source<K: Operation>(instruction: &Instruction) -> Option<Handler> {
    use iced_x86::MemorySize;
    if instruction.op_count() == 2 {
        return Some(both_ways!(binary, K, Register));
    }
    match instruction.memory_size() {
        MemorySize::Float32 => Some(both_ways!(binary, K, Single)),
        MemorySize::Float64 => Some(both_ways!(binary, K, Double)),
        MemorySize::Int16 => Some(both_ways!(binary, K, Word)),
        MemorySize::Int32 => Some(both_ways!(binary, K, Dword)),
        _ => None,
    }
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    match instruction.mnemonic() {
        Mnemonic::Fadd | Mnemonic::Fiadd => return by_source::<Add>(instruction),
        Mnemonic::Fsub | Mnemonic::Fisub => return by_source::<Sub>(instruction),
        Mnemonic::Fsubr | Mnemonic::Fisubr => return by_source::<SubReversed>(instruction),
        Mnemonic::Fmul | Mnemonic::Fimul => return by_source::<Mul>(instruction),
        Mnemonic::Fdiv | Mnemonic::Fidiv => return by_source::<Div>(instruction),
        Mnemonic::Fdivr | Mnemonic::Fidivr => return by_source::<DivReversed>(instruction),
        _ => {}
    }
    let handler: Handler = match instruction.code() {
        Code::Faddp_sti_st0 => both_ways!(binary_pop, Add),
        Code::Fsubp_sti_st0 => both_ways!(binary_pop, Sub),
        Code::Fsubrp_sti_st0 => both_ways!(binary_pop, SubReversed),
        Code::Fmulp_sti_st0 => both_ways!(binary_pop, Mul),
        Code::Fdivp_sti_st0 => both_ways!(binary_pop, Div),
        Code::Fdivrp_sti_st0 => both_ways!(binary_pop, DivReversed),
        Code::Fsqrt => run!(unary::<SquareRoot>),
        Code::Frndint => run!(unary::<Round>),
        Code::Fscale => run!(fscale),
        Code::Fprem => run!(fprem),
        Code::Fprem1 => run!(fprem1),
        Code::Fxtract => run!(fxtract),
        Code::Fabs => run!(fabs),
        Code::Fchs => run!(fchs),
        _ => return None,
    };
    Some(handler)
}
