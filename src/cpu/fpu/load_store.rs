//! FLD FST FILD FIST FISTTP FBLD FBSTP FXCH FCMOVcc and the constants.
//! Intel SDM volume 1, section 8.3.3 and 8.3.4.

use super::operand::{Double, Dword, Operand, Qword, Single, Value, Word};
use super::soft::constant::Constant;
use super::soft::{
    Env, Float32, Float64, Float80, Format, Rounding, Unpacked, arith, bcd, exception, integral,
};
use super::state::status::C1;
use super::unit::{StackFault, enter, leave_if_quick};
use crate::cpu::decode::Op;
use crate::cpu::exec::{Way, both_ways, run};
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec, Flags, Handler, Raised};
use iced_x86::{Code, Instruction};

/// FLD m32, FLD m64 and FILD.
fn load<'m, M: Way<'m>, S: Operand>(core: &mut M, op: &Op) -> Exec {
    enter(core)?;
    let Some(x) = S::read(core, op)? else {
        return Ok(());
    };
    core.note(op);
    core.note_operand(op);
    if !core.cpu.fpu.is_empty(7) {
        leave_if_quick(core)?;
        core.push_x87(Float80::indefinite());
        return Ok(());
    }
    match x.normal_number() {
        Some(x) => {
            core.cpu.fpu.set_conditions(C1, 0);
            core.cpu.fpu.push(arith::extended(&x));
        }
        None => {
            leave_if_quick(core)?;
            load_any(core, x);
        }
    }
    Ok(())
}

/// Pushes what is not a normal number: a denormal one even if that is unmasked, but not then a
/// signaling NaN.
#[cold]
#[inline(never)]
fn load_any<V: Value>(core: &mut Core<'_>, x: V) {
    let x = x.number();
    let mut env = core.cpu.fpu.env();
    let value = arith::convert(&mut env, x);
    env.raise(if x.denormal { exception::DENORMAL } else { 0 });
    core.settle(&env);
    if env.unmasked() & exception::INVALID == 0 {
        core.cpu.fpu.push(value);
    }
}

/// Pushes what needs no conversion.
fn push(core: &mut Core<'_>, op: &Op, value: Float80) {
    core.note(op);
    core.cpu.fpu.set_conditions(C1, 0);
    core.push_x87(value);
}

/// The alignment of an operand of ten bytes (SDM volume 3, table 6-7).
const TEN_ALIGNMENT: u64 = 8;

fn load_ten(core: &mut Core<'_>, op: &Op) -> Exec<[u8; 10]> {
    core.load_bytes_aligned(op.segment(), core.effective_address(op), TEN_ALIGNMENT)
}

fn load_extended(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_x87()?;
    let bytes = load_ten(core, op)?;
    core.note_operand(op);
    push(core, op, Float80::from_bytes(bytes));
    Ok(())
}

fn load_decimal(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_x87()?;
    let bytes = load_ten(core, op)?;
    core.note_operand(op);
    push(core, op, bcd::load(bytes));
    Ok(())
}

fn load_register<'m, M: Way<'m>>(core: &mut M, op: &Op) -> Exec {
    enter(core)?;
    if core.cpu.fpu.is_empty(op.dst) || !core.cpu.fpu.is_empty(7) {
        leave_if_quick(core)?;
    }
    if core.cpu.fpu.is_empty(op.dst) {
        core.note(op);
        if core.stack_fault(StackFault::Underflow) {
            core.cpu.fpu.push(Float80::indefinite());
        }
        return Ok(());
    }
    let value = core.cpu.fpu.st(op.dst);
    push(core, op, value);
    Ok(())
}

fn load_constant(core: &mut Core<'_>, op: &Op) -> Exec {
    let constant = match op.code() {
        Code::Fld1 => Constant::One,
        Code::Fldl2t => Constant::Log2Of10,
        Code::Fldl2e => Constant::Log2OfE,
        Code::Fldpi => Constant::Pi,
        Code::Fldlg2 => Constant::Log10Of2,
        Code::Fldln2 => Constant::LnOf2,
        _ => Constant::Zero,
    };
    core.enter_x87()?;
    let value = constant.load(&core.cpu.fpu.env());
    push(core, op, value);
    Ok(())
}

/// A format that ST(0) is stored in.
trait Destination {
    /// Its bits in memory.
    type Bits: Width;

    /// What a masked stack underflow stores.
    const INDEFINITE: u64;

    /// ST(0) in that format.
    fn convert(env: &mut Env, value: Unpacked) -> u64;
}

macro_rules! destinations {
    ($($name:ident: $bits:ty = $indefinite:expr, |$env:ident, $value:ident| $result:expr;)*) => {$(
        struct $name;

        impl Destination for $name {
            type Bits = $bits;
            const INDEFINITE: u64 = $indefinite;

            #[inline(always)]
            fn convert($env: &mut Env, $value: Unpacked) -> u64 {
                $result
            }
        }
    )*};
}

fn truncated(env: &mut Env, value: Unpacked, bits: u32) -> u64 {
    env.rounding = Rounding::Zero;
    integral::to_integer(env, value, bits).cast_unsigned()
}

destinations! {
    ToSingle: u32 = 0xffc0_0000, |env, value| arith::store::<Float32>(env, value).0.into();
    ToDouble: u64 = 0xfff8_0000_0000_0000, |env, value| arith::store::<Float64>(env, value).0;
    ToWord: u16 = 1 << 15, |env, value| integral::to_integer(env, value, 16).cast_unsigned();
    ToDword: u32 = 1 << 31, |env, value| integral::to_integer(env, value, 32).cast_unsigned();
    ToQword: u64 = 1 << 63, |env, value| integral::to_integer(env, value, 64).cast_unsigned();
    ChoppedWord: u16 = 1 << 15, |env, value| truncated(env, value, 16);
    ChoppedDword: u32 = 1 << 31, |env, value| truncated(env, value, 32);
    ChoppedQword: u64 = 1 << 63, |env, value| truncated(env, value, 64);
}

/// Stores ST(0). True: go on and pop.
#[inline(always)]
fn deliver<'m, M: Way<'m>, D: Destination>(core: &mut M, op: &Op) -> Exec<bool> {
    enter(core)?;
    let fpu = &core.cpu.fpu;
    if fpu.is_empty(0) {
        leave_if_quick(core)?;
        return deliver_nothing::<D>(core, op);
    }
    if M::IS_QUICK {
        let (Some(mut env), Some(value)) = (fpu.plain_env(), fpu.st(0).normal()) else {
            return Err(Raised);
        };
        let value = D::convert(&mut env, value);
        if env.unmasked() != 0 {
            return Err(Raised);
        }
        core.store(op, D::Bits::truncate(value))?;
        core.note(op);
        core.note_operand(op);
        core.settle(&env);
        return Ok(true);
    }
    let mut env = fpu.env();
    let value = D::convert(&mut env, fpu.st(0).unpack(&Env::PLAIN));
    // All but PE keep an unmasked store from happening.
    let stored = env.unmasked() & !exception::PRECISION == 0;
    if stored {
        core.store(op, D::Bits::truncate(value))?;
    }
    core.note(op);
    core.note_operand(op);
    core.settle(&env);
    Ok(stored)
}

#[cold]
fn deliver_nothing<D: Destination>(core: &mut Core<'_>, op: &Op) -> Exec<bool> {
    if core.cpu.fpu.control() & u16::from(exception::INVALID) != 0 {
        core.store(op, D::Bits::truncate(D::INDEFINITE))?;
    }
    core.note(op);
    core.note_operand(op);
    Ok(core.stack_fault(StackFault::Underflow))
}

fn store<'m, M: Way<'m>, D: Destination>(core: &mut M, op: &Op) -> Exec {
    deliver::<M, D>(core, op)?;
    Ok(())
}

fn store_pop<'m, M: Way<'m>, D: Destination>(core: &mut M, op: &Op) -> Exec {
    if deliver::<M, D>(core, op)? {
        core.cpu.fpu.pop();
    }
    Ok(())
}

/// FSTP m80 and FBSTP: ten bytes, then the pop. `image` converts ST(0).
fn store_ten_pop(core: &mut Core<'_>, op: &Op, image: fn(&mut Env, Float80) -> [u8; 10]) -> Exec {
    core.enter_x87()?;
    let empty = core.cpu.fpu.is_empty(0);
    let mut env = core.cpu.fpu.env();
    let value = if empty {
        Float80::indefinite()
    } else {
        core.cpu.fpu.st(0)
    };
    let bytes = image(&mut env, value);
    let stopped = if empty {
        exception::INVALID & !env.masks
    } else {
        env.unmasked()
    };
    let stored = stopped & !exception::PRECISION == 0;
    if stored {
        let offset = core.effective_address(op);
        core.store_bytes_aligned(op.segment(), offset, bytes, TEN_ALIGNMENT)?;
    }
    core.note(op);
    core.note_operand(op);
    if empty {
        core.stack_fault(StackFault::Underflow);
    } else {
        core.settle(&env);
    }
    if stored {
        core.cpu.fpu.pop();
    }
    Ok(())
}

fn store_extended_pop(core: &mut Core<'_>, op: &Op) -> Exec {
    store_ten_pop(core, op, |_, value| value.to_bytes())
}

fn store_decimal_pop(core: &mut Core<'_>, op: &Op) -> Exec {
    store_ten_pop(core, op, |env, value| {
        let unpacked = value.unpack(env);
        bcd::store(env, unpacked)
    })
}

/// FST ST(i). True: go on and pop.
fn copy<'m, M: Way<'m>>(core: &mut M, op: &Op) -> Exec<bool> {
    enter(core)?;
    core.note(op);
    if core.cpu.fpu.is_empty(0) {
        leave_if_quick(core)?;
        return Ok(core.stack_underflow(op.dst));
    }
    let fpu = &mut core.cpu.fpu;
    fpu.set_conditions(C1, 0);
    fpu.set_st(op.dst, fpu.st(0));
    Ok(true)
}

fn store_register<'m, M: Way<'m>>(core: &mut M, op: &Op) -> Exec {
    copy(core, op)?;
    Ok(())
}

fn store_register_pop<'m, M: Way<'m>>(core: &mut M, op: &Op) -> Exec {
    if copy(core, op)? {
        core.cpu.fpu.pop();
    }
    Ok(())
}

/// FSTPNCE: as FSTP ST(i), but an empty ST(0) raises nothing and copies nothing.
fn store_register_pop_quietly<'m, M: Way<'m>>(core: &mut M, op: &Op) -> Exec {
    if core.cpu.fpu.is_empty(0) {
        enter(core)?;
        core.note(op);
        core.cpu.fpu.set_conditions(C1, 0);
        core.cpu.fpu.rotate(1);
        return Ok(());
    }
    store_register_pop(core, op)
}

/// FXCH; empty registers count as the default NaN if the stack underflow is masked.
fn exchange<'m, M: Way<'m>>(core: &mut M, op: &Op) -> Exec {
    enter(core)?;
    core.note(op);
    core.cpu.fpu.set_conditions(C1, 0);
    let empty = [0, op.src].map(|i| core.cpu.fpu.is_empty(i));
    if empty != [false, false] {
        leave_if_quick(core)?;
        if !core.stack_fault(StackFault::Underflow) {
            return Ok(());
        }
        for (i, empty) in [0, op.src].into_iter().zip(empty) {
            if empty {
                core.cpu.fpu.set_st(i, Float80::indefinite());
            }
        }
    }
    let fpu = &mut core.cpu.fpu;
    let (x, y) = (fpu.st(0), fpu.st(op.src));
    fpu.set_st(0, y);
    fpu.set_st(op.src, x);
    Ok(())
}

/// FCMOVcc: both registers must be in use, whether the condition holds or not.
fn move_if(core: &mut Core<'_>, op: &Op, holds: fn(&Flags) -> bool) -> Exec {
    core.enter_x87()?;
    core.note(op);
    if core.cpu.fpu.is_empty(0) || core.cpu.fpu.is_empty(op.src) {
        core.stack_underflow(0);
        return Ok(());
    }
    let fpu = &mut core.cpu.fpu;
    if holds(&core.cpu.flags) {
        fpu.set_st(0, fpu.st(op.src));
    }
    Ok(())
}

macro_rules! conditional_moves {
    ($($name:ident = |$flags:ident| $holds:expr;)*) => {$(
        fn $name(core: &mut Core<'_>, op: &Op) -> Exec {
            move_if(core, op, |$flags| $holds)
        }
    )*};
}

conditional_moves! {
    fcmovb = |flags| flags.cf();
    fcmove = |flags| flags.zf();
    fcmovbe = |flags| flags.cf() || flags.zf();
    fcmovu = |flags| flags.pf();
    fcmovnb = |flags| !flags.cf();
    fcmovne = |flags| !flags.zf();
    fcmovnbe = |flags| !flags.cf() && !flags.zf();
    fcmovnu = |flags| !flags.pf();
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    let handler: Handler = match instruction.code() {
        Code::Fld_m32fp => both_ways!(load, Single),
        Code::Fld_m64fp => both_ways!(load, Double),
        Code::Fld_m80fp => run!(load_extended),
        Code::Fld_sti => both_ways!(load_register),
        Code::Fild_m16int => both_ways!(load, Word),
        Code::Fild_m32int => both_ways!(load, Dword),
        Code::Fild_m64int => both_ways!(load, Qword),
        Code::Fbld_m80bcd => run!(load_decimal),
        Code::Fld1
        | Code::Fldl2t
        | Code::Fldl2e
        | Code::Fldpi
        | Code::Fldlg2
        | Code::Fldln2
        | Code::Fldz => run!(load_constant),
        Code::Fst_m32fp => both_ways!(store, ToSingle),
        Code::Fst_m64fp => both_ways!(store, ToDouble),
        Code::Fstp_m32fp => both_ways!(store_pop, ToSingle),
        Code::Fstp_m64fp => both_ways!(store_pop, ToDouble),
        Code::Fstp_m80fp => run!(store_extended_pop),
        Code::Fist_m16int => both_ways!(store, ToWord),
        Code::Fist_m32int => both_ways!(store, ToDword),
        Code::Fistp_m16int => both_ways!(store_pop, ToWord),
        Code::Fistp_m32int => both_ways!(store_pop, ToDword),
        Code::Fistp_m64int => both_ways!(store_pop, ToQword),
        Code::Fisttp_m16int => both_ways!(store_pop, ChoppedWord),
        Code::Fisttp_m32int => both_ways!(store_pop, ChoppedDword),
        Code::Fisttp_m64int => both_ways!(store_pop, ChoppedQword),
        Code::Fbstp_m80bcd => run!(store_decimal_pop),
        Code::Fst_sti => both_ways!(store_register),
        Code::Fstpnce_sti => both_ways!(store_register_pop_quietly),
        Code::Fstp_sti | Code::Fstp_sti_DFD0 | Code::Fstp_sti_DFD8 => {
            both_ways!(store_register_pop)
        }
        Code::Fxch_st0_sti | Code::Fxch_st0_sti_DDC8 | Code::Fxch_st0_sti_DFC8 => {
            both_ways!(exchange)
        }
        Code::Fcmovb_st0_sti => run!(fcmovb),
        Code::Fcmove_st0_sti => run!(fcmove),
        Code::Fcmovbe_st0_sti => run!(fcmovbe),
        Code::Fcmovu_st0_sti => run!(fcmovu),
        Code::Fcmovnb_st0_sti => run!(fcmovnb),
        Code::Fcmovne_st0_sti => run!(fcmovne),
        Code::Fcmovnbe_st0_sti => run!(fcmovnbe),
        Code::Fcmovnu_st0_sti => run!(fcmovnu),
        _ => return None,
    };
    Some(handler)
}
