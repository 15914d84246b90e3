//! The string comparisons of SSE4.2: PCMPESTRI PCMPESTRM PCMPISTRI PCMPISTRM.
//! Intel SDM volume 1, section 12.10; volume 2, section 4.1.

use iced_x86::{Instruction, Mnemonic as M};

use super::lanes::get;
use super::operand::{Place, Unit, by_form};
use super::state::{Bytes, ZERO};
use crate::cpu::decode::Op;
use crate::cpu::exec::Way;
use crate::cpu::regs::{RAX, RCX, RDX};
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec, Handler, flags};

/// The control byte, decoded.
struct Control(u8);

impl Control {
    /// The number of elements in a vector.
    fn elements(&self) -> usize {
        if self.0 & 1 != 0 { 8 } else { 16 }
    }

    /// Element `n`, extended as the format says.
    fn element(&self, vector: Bytes, n: usize) -> i32 {
        match self.0 & 3 {
            0 => i32::from(get::<u8>(vector, n)),
            1 => i32::from(get::<u16>(vector, n)),
            2 => i32::from(get::<i8>(vector, n)),
            _ => i32::from(get::<i16>(vector, n)),
        }
    }

    /// How many elements come before the terminating zero.
    fn implicit_length(&self, vector: Bytes) -> usize {
        let zero = |&n: &usize| self.element(vector, n) == 0;
        (0..self.elements()).find(zero).unwrap_or(self.elements())
    }

    /// A length given in a register, cut to the vector.
    fn explicit_length(&self, value: i64) -> usize {
        value.unsigned_abs().min(self.elements() as u64) as usize
    }
}

/// A string: its vector and how much of it is valid.
#[derive(Clone, Copy)]
struct Text {
    vector: Bytes,
    length: usize,
}

/// IntRes1: a bit for each element of `b`, by the aggregation that the control names.
fn aggregate(control: &Control, a: Text, b: Text) -> u32 {
    let n = control.elements();
    let at = |t: Text, k| control.element(t.vector, k);
    let equal_each = |j: usize| match (j < a.length, j < b.length) {
        (true, true) => at(a, j) == at(b, j),
        (x, y) => x == y,
    };
    let equal_any = |j: usize| j < b.length && (0..a.length).any(|k| at(a, k) == at(b, j));
    let in_range = |j: usize, k: usize| at(a, k) <= at(b, j) && at(b, j) <= at(a, k + 1);
    let ranges = |j: usize| {
        let mut pairs = (0..n).step_by(2).filter(|k| k + 1 < a.length);
        j < b.length && pairs.any(|k| in_range(j, k))
    };
    let equal_ordered = |j: usize| {
        (0..n - j).all(|k| k >= a.length || j + k < b.length && at(a, k) == at(b, j + k))
    };
    let test: &dyn Fn(usize) -> bool = match control.0 >> 2 & 3 {
        0 => &equal_any,
        1 => &ranges,
        2 => &equal_each,
        _ => &equal_ordered,
    };
    (0..n).fold(0, |bits, j| bits | u32::from(test(j)) << j)
}

/// IntRes2: the polarity applied.
fn polarise(control: &Control, bits: u32, b: Text) -> u32 {
    let all = u32::MAX >> (32 - control.elements());
    let valid = all & !(u32::MAX << b.length.min(31));
    match control.0 >> 4 & 3 {
        1 => bits ^ all,
        3 => bits ^ valid,
        _ => bits,
    }
}

/// Writes ECX or XMM0, and the flags.
fn finish<U: Unit>(core: &mut Core<'_>, op: &Op, control: &Control, [a, b]: [Text; 2]) {
    let n = control.elements();
    let bits = polarise(control, aggregate(control, a, b), b);
    let high = control.0 & 0x40 != 0;
    match op.code().mnemonic() {
        M::Pcmpistri
        | M::Pcmpestri
        | M::Pcmpestri64
        | M::Vpcmpistri
        | M::Vpcmpestri
        | M::Vpcmpestri64 => {
            let index = match (bits, high) {
                (0, _) => n as u32,
                (_, false) => bits.trailing_zeros(),
                (_, true) => 31 - bits.leading_zeros(),
            };
            core.cpu.regs.set(RCX, u64::from(index));
        }
        _ => {
            let width = 128 / n;
            let ones = (1u128 << width) - 1;
            let expanded = (0..n)
                .filter(|k| bits >> k & 1 != 0)
                .fold(0, |m, k| m | ones << (k * width));
            let mask = if high { expanded } else { u128::from(bits) };
            let mut into_xmm0 = *op;
            into_xmm0.dst = 0;
            U::set(core, &into_xmm0, [mask.to_le_bytes(), ZERO]);
        }
    }
    let mut result = 0;
    for (set, flag) in [
        (bits != 0, flags::CF),
        (b.length < n, flags::ZF),
        (a.length < n, flags::SF),
        (bits & 1 != 0, flags::OF),
    ] {
        if set {
            result |= flag;
        }
    }
    core.cpu.flags.set_arithmetic(result, flags::ARITHMETIC);
}

fn operands<'m, U: Unit, P: Place>(core: &mut impl Way<'m>, op: &Op) -> Exec<(Bytes, Bytes)> {
    U::enter(core)?;
    let b = P::lane(core, op)?;
    Ok((core.cpu.sse.get(op.dst), b))
}

fn implicit<'m, M: Way<'m>, U: Unit, P: Place>(core: &mut M, op: &Op) -> Exec {
    let (a, b) = operands::<U, P>(core, op)?;
    let control = Control(op.immediate as u8);
    let text = |vector| Text {
        vector,
        length: control.implicit_length(vector),
    };
    finish::<U>(core, op, &control, [text(a), text(b)]);
    Ok(())
}

/// The lengths are in EAX and EDX, with REX.W in RAX and RDX.
fn explicit<'m, M: Way<'m>, W: Width, U: Unit, P: Place>(core: &mut M, op: &Op) -> Exec {
    let (a, b) = operands::<U, P>(core, op)?;
    let control = Control(op.immediate as u8);
    let text = |core: &Core<'_>, vector, register| {
        let length = core.cpu.regs.read::<W>(register).sign_extend() as i64;
        Text {
            vector,
            length: control.explicit_length(length),
        }
    };
    let texts = [text(core, a, RAX), text(core, b, RDX)];
    finish::<U>(core, op, &control, texts);
    Ok(())
}

/// The handlers of this file.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    Some(match i.mnemonic() {
        M::Pcmpistri | M::Pcmpistrm | M::Vpcmpistri | M::Vpcmpistrm => by_form!(i, implicit),
        M::Pcmpestri | M::Pcmpestrm | M::Vpcmpestri | M::Vpcmpestrm => by_form!(i, explicit, u32),
        M::Pcmpestri64 | M::Pcmpestrm64 | M::Vpcmpestri64 | M::Vpcmpestrm64 => {
            by_form!(i, explicit, u64)
        }
        _ => return None,
    })
}
