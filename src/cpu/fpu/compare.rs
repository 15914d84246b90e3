//! FCOM FUCOM FCOMI FUCOMI FICOM FTST in all their forms, and FXAM.
//! Intel SDM volume 1, section 8.3.6.

use super::operand::{Double, Dword, Next, Operand, Register, Single, Value, Word};
use super::soft::compare::{Ordered, Relation, Rule, Unordered};
use super::soft::{Class, Env, Float80, Format};
use super::state::status::{C0, C1, C2, C3, CONDITIONS};
use super::unit::{StackFault, enter, leave_if_quick};
use crate::cpu::decode::Op;
use crate::cpu::exec::{Way, both_ways, run};
use crate::cpu::{Core, Exec, Handler, flags};
use iced_x86::{Code, Instruction, MemorySize, Mnemonic};
use std::cmp::Ordering;

/// Where the result goes.
trait Report {
    fn report(core: &mut Core<'_>, relation: Relation);
}

/// C3, C2 and C0.
struct Conditions;
/// ZF, PF and CF.
struct Eflags;

impl Report for Conditions {
    #[inline(always)]
    fn report(core: &mut Core<'_>, relation: Relation) {
        let conditions = match relation {
            Some(Ordering::Greater) => 0,
            Some(Ordering::Less) => C0,
            Some(Ordering::Equal) => C3,
            None => C3 | C2 | C0,
        };
        core.cpu.fpu.set_conditions(C3 | C2 | C0, conditions);
    }
}

impl Report for Eflags {
    #[inline(always)]
    fn report(core: &mut Core<'_>, relation: Relation) {
        core.cpu
            .flags
            .set_arithmetic(eflags(relation), flags::ARITHMETIC);
    }
}

/// A relation as (U)COMISx and F(U)COMI leave it in EFLAGS.
#[inline(always)]
pub(crate) fn eflags(relation: Relation) -> u32 {
    match relation {
        Some(Ordering::Greater) => 0,
        Some(Ordering::Less) => flags::CF,
        Some(Ordering::Equal) => flags::ZF,
        None => flags::ZF | flags::PF | flags::CF,
    }
}

/// Compares ST(0) with the source. True: go on and pop.
#[inline(always)]
fn relate<'m, M: Way<'m>, R: Rule, S: Operand, T: Report>(core: &mut M, op: &Op) -> Exec<bool> {
    enter(core)?;
    let y = S::read(core, op)?;
    core.note(op);
    S::note(core, op);
    let fpu = &core.cpu.fpu;
    let Some(y) = y.filter(|_| !fpu.is_empty(0)) else {
        leave_if_quick(core)?;
        let masked = core.stack_fault(StackFault::Underflow);
        T::report(core, None);
        return Ok(masked);
    };
    let mut env = fpu.env();
    let x = fpu.st(0);
    let relation = match (x.normal(), y.normal_number()) {
        (Some(x), Some(y)) => R::relate(&mut env, x, y),
        _ => {
            leave_if_quick(core)?;
            relate_any::<R, _>(&mut env, x, y)
        }
    };
    // The result is there even if an unmasked exception keeps the stack as it is.
    T::report(core, relation);
    Ok(core.settle(&env))
}

/// A comparison of any operands, out of the way of the frequent case.
#[cold]
#[inline(never)]
fn relate_any<R: Rule, V: Value>(env: &mut Env, x: Float80, y: V) -> Relation {
    R::relate(env, x.unpack(&Env::PLAIN), y.number())
}

fn once<'m, M: Way<'m>, R: Rule, S: Operand, T: Report>(core: &mut M, op: &Op) -> Exec {
    relate::<M, R, S, T>(core, op)?;
    Ok(())
}

fn and_pop<'m, M: Way<'m>, R: Rule, S: Operand, T: Report>(core: &mut M, op: &Op) -> Exec {
    if relate::<M, R, S, T>(core, op)? {
        core.cpu.fpu.pop();
    }
    Ok(())
}

fn and_pop_both<'m, M: Way<'m>, R: Rule>(core: &mut M, op: &Op) -> Exec {
    if relate::<M, R, Next, Conditions>(core, op)? {
        core.cpu.fpu.pop();
        core.cpu.fpu.pop();
    }
    Ok(())
}

/// Plus zero, as FTST's operand.
struct Nought;

impl Operand for Nought {
    type Value = Float80;

    fn read<'m>(_: &mut impl Way<'m>, _: &Op) -> Exec<Option<Float80>> {
        Ok(Some(Float80::zero(false)))
    }

    fn note(_: &mut Core<'_>, _: &Op) {}
}

/// FXAM: the class of ST(0), and its sign in C1, empty or not.
fn fxam(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_x87()?;
    core.note(op);
    let fpu = &mut core.cpu.fpu;
    let value = fpu.st(0);
    let unpacked = value.unpack(&fpu.env());
    let class = match unpacked.class {
        _ if fpu.is_empty(0) => C3 | C0,
        Class::Unsupported => 0,
        Class::Quiet | Class::Signaling => C0,
        Class::Infinity => C2 | C0,
        Class::Zero => C3,
        Class::Finite if unpacked.denormal => C3 | C2,
        Class::Finite => C2,
    };
    let sign = if value.is_negative() { C1 } else { 0 };
    fpu.set_conditions(CONDITIONS, class | sign);
    Ok(())
}

/// The handler of FCOM or FICOM, popping or not, for the source that the encoding names.
macro_rules! by_source {
    ($instruction:expr, $handler:ident) => {
        match $instruction.memory_size() {
            _ if $instruction.op_count() == 2 => {
                both_ways!($handler, Ordered, Register, Conditions)
            }
            MemorySize::Float32 => both_ways!($handler, Ordered, Single, Conditions),
            MemorySize::Float64 => both_ways!($handler, Ordered, Double, Conditions),
            MemorySize::Int16 => both_ways!($handler, Ordered, Word, Conditions),
            _ => both_ways!($handler, Ordered, Dword, Conditions),
        }
    };
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    match instruction.mnemonic() {
        Mnemonic::Fcom | Mnemonic::Ficom => return Some(by_source!(instruction, once)),
        Mnemonic::Fcomp | Mnemonic::Ficomp => return Some(by_source!(instruction, and_pop)),
        _ => {}
    }
    let handler: Handler = match instruction.code() {
        Code::Fcompp => both_ways!(and_pop_both, Ordered),
        Code::Fucom_st0_sti => both_ways!(once, Unordered, Register, Conditions),
        Code::Fucomp_st0_sti => both_ways!(and_pop, Unordered, Register, Conditions),
        Code::Fucompp => both_ways!(and_pop_both, Unordered),
        Code::Fcomi_st0_sti => both_ways!(once, Ordered, Register, Eflags),
        Code::Fcomip_st0_sti => both_ways!(and_pop, Ordered, Register, Eflags),
        Code::Fucomi_st0_sti => both_ways!(once, Unordered, Register, Eflags),
        Code::Fucomip_st0_sti => both_ways!(and_pop, Unordered, Register, Eflags),
        Code::Ftst => both_ways!(once, Ordered, Nought, Conditions),
        Code::Fxam => run!(fxam),
        _ => return None,
    };
    Some(handler)
}
