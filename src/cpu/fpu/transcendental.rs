//! FSIN FCOS FSINCOS FPTAN FPATAN F2XM1 FYL2X FYL2XP1.
//! Intel SDM volume 1, sections 8.3.7 and 8.3.9.

use super::arithmetic::{Function, begin, begin_pair, begin_to_push, unary};
use super::soft::{Env, Float80, Format, Unpacked, arctan, exception, exp_log, trig};
use super::state::status::C2;
use crate::cpu::decode::Op;
use crate::cpu::exec::run;
use crate::cpu::{Core, Exec, Handler};
use iced_x86::{Code, Instruction};

const ONE: Float80 = Float80::new(0x3fff, 1 << 63);

/// F2XM1.
struct PowerMinusOne;

impl Function for PowerMinusOne {
    fn apply(env: &mut Env, x: Unpacked) -> Float80 {
        exp_log::power_minus_one(env, x)
    }
}

/// Sets C2 where there was an argument, but no result: it is out of range.
fn report_range<T>(core: &mut Core<'_>, result: &Option<T>) {
    let beyond = if result.is_none() { C2 } else { 0 };
    core.cpu.fpu.set_conditions(C2, beyond);
}

/// FSIN and FCOS; an argument out of range sets C2 and stays.
fn circular(
    core: &mut Core<'_>,
    op: &Op,
    function: fn(&mut Env, Unpacked) -> Option<Float80>,
) -> Exec {
    let Some((mut env, x)) = begin(core, op)? else {
        core.cpu.fpu.set_conditions(C2, 0);
        return Ok(());
    };
    let result = function(&mut env, x);
    let proceed = core.settle(&env);
    report_range(core, &result);
    if let Some(value) = result.filter(|_| proceed) {
        core.cpu.fpu.set_st(0, value);
    }
    Ok(())
}

fn fsin(core: &mut Core<'_>, op: &Op) -> Exec {
    circular(core, op, trig::sin)
}

fn fcos(core: &mut Core<'_>, op: &Op) -> Exec {
    circular(core, op, trig::cos)
}

/// FSINCOS and FPTAN: two results.
fn circular_pair(
    core: &mut Core<'_>,
    op: &Op,
    function: fn(&mut Env, Unpacked) -> Option<(Float80, Float80)>,
) -> Exec {
    let Some((mut env, x)) = begin_to_push(core, op)? else {
        core.cpu.fpu.set_conditions(C2, 0);
        return Ok(());
    };
    let result = function(&mut env, x);
    let proceed = core.settle(&env);
    report_range(core, &result);
    if let Some((first, second)) = result.filter(|_| proceed) {
        core.cpu.fpu.set_st(0, first);
        core.cpu.fpu.push(second);
    }
    Ok(())
}

fn fsincos(core: &mut Core<'_>, op: &Op) -> Exec {
    circular_pair(core, op, trig::sin_cos)
}

fn fptan(core: &mut Core<'_>, op: &Op) -> Exec {
    circular_pair(core, op, |env, x| {
        let tangent = trig::tan(env, x)?;
        let nan = x.is_nan() || env.flags & exception::INVALID != 0;
        Some((tangent, if nan { tangent } else { ONE }))
    })
}

/// FPATAN, FYL2X and FYL2XP1: a function of ST(1) and ST(0) replaces both.
fn joined(
    core: &mut Core<'_>,
    op: &Op,
    function: fn(&mut Env, Unpacked, Unpacked) -> Float80,
) -> Exec {
    core.enter_x87()?;
    if core.cpu.fpu.is_empty(0) || core.cpu.fpu.is_empty(1) {
        core.note(op);
        if core.stack_underflow(1) {
            core.cpu.fpu.pop();
        }
        return Ok(());
    }
    if let Some((mut env, x)) = begin_pair(core, op)? {
        let y = core.cpu.fpu.st(1).unpack(&env);
        let result = function(&mut env, y, x);
        if core.settle(&env) {
            core.cpu.fpu.set_st(1, result);
            core.cpu.fpu.pop();
        }
    }
    Ok(())
}

fn fpatan(core: &mut Core<'_>, op: &Op) -> Exec {
    joined(core, op, arctan::arctan)
}

fn fyl2x(core: &mut Core<'_>, op: &Op) -> Exec {
    joined(core, op, exp_log::y_log2)
}

fn fyl2xp1(core: &mut Core<'_>, op: &Op) -> Exec {
    joined(core, op, exp_log::y_log2_plus_one)
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    let handler: Handler = match instruction.code() {
        Code::Fsin => run!(fsin),
        Code::Fcos => run!(fcos),
        Code::Fsincos => run!(fsincos),
        Code::Fptan => run!(fptan),
        Code::Fpatan => run!(fpatan),
        Code::F2xm1 => run!(unary::<PowerMinusOne>),
        Code::Fyl2x => run!(fyl2x),
        Code::Fyl2xp1 => run!(fyl2xp1),
        _ => return None,
    };
    Some(handler)
}
