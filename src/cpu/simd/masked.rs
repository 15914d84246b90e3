//! AVX's masked moves and AVX2's gathers: only numbers whose mask has its sign set are read or
//! written. Intel SDM volume 2, VMASKMOV, VPMASKMOV, VGATHERDPS and its kin.

use iced_x86::{Instruction, Mnemonic as M, OpKind, Register};

use super::lanes::{Lane, across, get, low, replace};
use super::operand::{Unit, Vector, by_unit};
use super::state::ZERO;
use crate::cpu::decode::Op;
use crate::cpu::exec::Way;
use crate::cpu::exec::run;
use crate::cpu::mmu::Access;
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec, Handler};

/// The vector with `value` as number `n`.
#[inline(always)]
fn set<L: Lane>(vector: &mut Vector, n: usize, value: L) {
    let half = 16 / L::BYTES;
    let lane = &mut vector[(n / half) & 1];
    *lane = replace(*lane, value, n % half);
}

/// Whether the sign of number `n` of a mask is set.
#[inline(always)]
fn is_chosen<L: Lane>(mask: Vector, n: usize) -> bool {
    across::<L>(mask, n).bits() >> (8 * L::BYTES - 1) & 1 != 0
}

/// The numbers of width `W` in a register.
const fn count<W: Width + Lane, U: Unit>() -> usize {
    16 * U::LANES / <W as Lane>::BYTES
}

/// The offset of number `n` behind `start`, at the address size of the instruction.
fn offset_of<W: Width>(core: &Core<'_>, op: &Op, start: u64, n: usize) -> u64 {
    start.wrapping_add(n as u64 * <W as Width>::BYTES) & core.cpu.regs.get(op.address_mask)
}

/// Loads a number at any alignment: these instructions make no alignment checks (SDM volume 2,
/// exceptions of type 6 and 12).
fn load_anywhere<W: Width>(core: &mut Core<'_>, op: &Op, offset: u64) -> Exec<W> {
    let linear = core.linear(Access::Read, op.segment(), offset, <W as Width>::BYTES)?;
    core.read_linear(core.cpu.mode.user, linear, op.segment())
}

/// VMASKMOVPx and VPMASKMOVx from memory: the others become zero.
fn load_masked<'m, M: Way<'m>, W: Width + Lane, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let mask = U::register(core, op.extra);
    let start = core.effective_address(op);
    let mut result = [ZERO; 2];
    for n in (0..count::<W, U>()).filter(|&n| is_chosen::<W>(mask, n)) {
        let offset = offset_of::<W>(core, op, start, n);
        let value: W = load_anywhere(core, op, offset)?;
        set(&mut result, n, value);
    }
    U::set(core, op, result);
    Ok(())
}

/// To memory. All are checked before the first is written.
fn store_masked<'m, M: Way<'m>, W: Width + Lane, U: Unit>(core: &mut M, op: &Op) -> Exec {
    U::enter(core)?;
    let mask = U::register(core, op.extra);
    let source = U::register(core, op.src);
    let start = core.effective_address(op);
    let user = core.cpu.mode.user;
    let chosen = || (0..count::<W, U>()).filter(|&n| is_chosen::<W>(mask, n));
    for n in chosen() {
        let offset = offset_of::<W>(core, op, start, n);
        let linear = core.linear(Access::Write, op.segment(), offset, <W as Width>::BYTES)?;
        core.probe_write(linear, <W as Width>::BYTES, user, op.segment())?;
    }
    for n in chosen() {
        let value: W = across(source, n);
        let offset = offset_of::<W>(core, op, start, n);
        let linear = core.linear(Access::Write, op.segment(), offset, <W as Width>::BYTES)?;
        core.write_linear(user, linear, op.segment(), value)?;
    }
    Ok(())
}

/// VGATHERxx and VPGATHERxx: numbers of width `W` from where indices of width `I` say. The mask
/// becomes all ones or zeros for each number; one that was read clears it, so that after a fault
/// the instruction goes on with the rest.
fn gather<'m, M: Way<'m>, W: Width + Lane, I: Width + Lane, U: Unit>(
    core: &mut M,
    op: &Op,
) -> Exec {
    U::enter(core)?;
    let signs = core.cpu.sse.ymm(op.extra);
    let mut result = core.cpu.sse.ymm(op.dst);
    let indices = core.cpu.sse.ymm(op.index);
    let numbers = count::<W, U>().min(count::<I, U>());
    let mut mask = [ZERO; 2];
    for n in (0..count::<W, U>()).filter(|&n| is_chosen::<W>(signs, n)) {
        set(&mut mask, n, W::truncate(u64::MAX));
    }
    let mut outcome = Ok(());
    for n in 0..numbers {
        if is_chosen::<W>(mask, n) {
            let index = across::<I>(indices, n).sign_extend();
            let base = core.cpu.regs.get(op.base);
            let scaled = index.wrapping_mul(u64::from(op.scale));
            let offset = base
                .wrapping_add(scaled)
                .wrapping_add(op.displacement as i64 as u64);
            let offset = offset & core.cpu.regs.get(op.address_mask);
            match load_anywhere::<W>(core, op, offset) {
                Ok(value) => {
                    set(&mut result, n, value);
                    // Each number is written as a vector, also where the next one faults.
                    result[1] = if U::LANES == 1 { ZERO } else { result[1] };
                }
                Err(raised) => {
                    outcome = Err(raised);
                    break;
                }
            }
        }
        set(&mut mask, n, W::truncate(0));
    }
    // What lies above the result is cleared.
    let bytes = numbers * <W as Lane>::BYTES;
    let kept = |vector: Vector| match bytes {
        8 => [low(get::<u64>(vector[0], 0)), ZERO],
        16 => [vector[0], ZERO],
        _ => vector,
    };
    if outcome.is_ok() {
        (result, mask) = (kept(result), [ZERO; 2]);
    }
    core.cpu.sse.set_ymm(op.dst, result);
    core.cpu.sse.set_ymm(op.extra, mask);
    outcome
}

/// A gather whose destination, mask and index are not three registers is undefined.
fn overlapping(core: &mut Core<'_>, _op: &Op) -> Exec {
    core.enter_avx()?;
    Err(core.fault(crate::cpu::fault::UD))
}

/// The handlers of this file.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    let store = i.op_count() > 0 && i.op_kind(0) == OpKind::Memory;
    Some(match i.mnemonic() {
        M::Vmaskmovps | M::Vpmaskmovd if store => by_unit!(i, store_masked, u32),
        M::Vmaskmovps | M::Vpmaskmovd => by_unit!(i, load_masked, u32),
        M::Vmaskmovpd | M::Vpmaskmovq if store => by_unit!(i, store_masked, u64),
        M::Vmaskmovpd | M::Vpmaskmovq => by_unit!(i, load_masked, u64),
        _ => return gather_handler(i),
    })
}

fn gather_handler(i: &Instruction) -> Option<Handler> {
    let handler: Handler = match i.mnemonic() {
        M::Vgatherdps | M::Vpgatherdd => by_unit!(i, gather, u32, u32),
        M::Vgatherdpd | M::Vpgatherdq => by_unit!(i, gather, u64, u32),
        M::Vgatherqps | M::Vpgatherqd => by_unit!(i, gather, u32, u64),
        M::Vgatherqpd | M::Vpgatherqq => by_unit!(i, gather, u64, u64),
        _ => return None,
    };
    let number = |register: Register| register.number();
    let [a, b, c] = [i.op_register(0), i.memory_index(), i.op_register(2)].map(number);
    Some(match a == b || b == c || a == c {
        true => run!(overlapping),
        false => handler,
    })
}
