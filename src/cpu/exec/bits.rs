//! Bit instructions: BT BTS BTR BTC BSF BSR TZCNT LZCNT POPCNT (Intel SDM volume 1, sections 7.3.7
//! and 7.3.16).

use iced_x86::{Instruction, Mnemonic};

use super::form::{Kind, Mem, Source, Src, bits, kind};
use super::{Handler, run};
use crate::cpu::decode::Op;
use crate::cpu::flags;
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec};

/// What a bit test does to the bit.
trait Change {
    /// Whether it writes at all.
    const WRITES: bool = true;
    /// The operand with the bit in `mask` changed.
    fn change(value: u64, mask: u64) -> u64;
}

struct Keep;
struct Set;
struct Reset;
struct Complement;

impl Change for Keep {
    const WRITES: bool = false;
    fn change(value: u64, _mask: u64) -> u64 {
        value
    }
}

impl Change for Set {
    fn change(value: u64, mask: u64) -> u64 {
        value | mask
    }
}

impl Change for Reset {
    fn change(value: u64, mask: u64) -> u64 {
        value & !mask
    }
}

impl Change for Complement {
    fn change(value: u64, mask: u64) -> u64 {
        value ^ mask
    }
}

/// Of a register: the bit number is taken modulo the width.
fn test_register<W: Width, C: Change, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    let number = S::read::<Core<'_>, W>(core, op)?.zero_extend() % u64::from(W::BITS);
    let value = core.cpu.regs.read::<W>(op.dst).zero_extend();
    core.cpu.flags.set_cf(value >> number & 1 != 0);
    if C::WRITES {
        let changed = C::change(value, 1 << number);
        core.cpu.regs.write(op.dst, W::truncate(changed));
    }
    Ok(())
}

/// Of memory, by an immediate: the bit number is taken modulo the width.
fn test_memory<W: Width, C: Change>(core: &mut Core<'_>, op: &Op) -> Exec {
    let number = op.immediate % u64::from(W::BITS);
    let offset = core.effective_address(op);
    test_at::<W, C>(core, op, offset, number)
}

/// Of memory, by a register: the operand is a bit string, and the signed bit number selects a
/// word of it, also below the address.
fn test_string<W: Width, C: Change>(core: &mut Core<'_>, op: &Op) -> Exec {
    let number = core.cpu.regs.read::<W>(op.src).sign_extend() as i64;
    let word = number.div_euclid(i64::from(W::BITS)) * W::BYTES as i64;
    let mask = match op.address_size() {
        0 => 0xffff,
        1 => 0xffff_ffff,
        _ => u64::MAX,
    };
    let offset = core.effective_address(op).wrapping_add(word as u64) & mask;
    let number = number.rem_euclid(i64::from(W::BITS)) as u64;
    test_at::<W, C>(core, op, offset, number)
}

fn test_at<W: Width, C: Change>(core: &mut Core<'_>, op: &Op, offset: u64, number: u64) -> Exec {
    if !C::WRITES {
        let value: W = core.load_at(op.segment(), offset)?;
        core.cpu
            .flags
            .set_cf(value.zero_extend() >> number & 1 != 0);
        return Ok(());
    }
    let (place, value) = core.open_at::<W>(op.segment(), offset)?;
    let value = value.zero_extend();
    core.cpu.flags.set_cf(value >> number & 1 != 0);
    core.commit(place, W::truncate(C::change(value, 1 << number)));
    Ok(())
}

/// BSF and BSR: ZF says that the source is zero, and then the destination stays (as AMD
/// documents and Intel does). The other flags, undefined, are those of a logical result.
fn scan<W: Width, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    let source = S::read::<Core<'_>, W>(core, op)?;
    core.cpu.flags.set_logic(source);
    let value = source.zero_extend();
    if value == 0 {
        return Ok(());
    }
    let found = match op.code().mnemonic() {
        Mnemonic::Bsf => value.trailing_zeros(),
        _ => 63 - value.leading_zeros(),
    };
    core.cpu.regs.write(op.dst, W::truncate(u64::from(found)));
    Ok(())
}

/// TZCNT and LZCNT: the zeros below the lowest or above the highest set bit. CF says that the
/// source is zero. The flags that are undefined are clear.
fn count_zeros<W: Width, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    let value = S::read::<Core<'_>, W>(core, op)?.zero_extend();
    let count = match op.code().mnemonic() {
        Mnemonic::Tzcnt => value.trailing_zeros().min(W::BITS),
        _ => value.leading_zeros() - (64 - W::BITS),
    };
    core.cpu.regs.write(op.dst, W::truncate(u64::from(count)));
    let cf = if value == 0 { flags::CF } else { 0 };
    let zf = if count == 0 { flags::ZF } else { 0 };
    core.cpu.flags.set_arithmetic(cf | zf, flags::ARITHMETIC);
    Ok(())
}

fn popcnt<W: Width, S: Source>(core: &mut Core<'_>, op: &Op) -> Exec {
    let value = S::read::<Core<'_>, W>(core, op)?.zero_extend();
    let count = u64::from(value.count_ones());
    core.cpu.regs.write(op.dst, W::truncate(count));
    let zero = if value == 0 { flags::ZF } else { 0 };
    core.cpu.flags.set_arithmetic(zero, flags::ARITHMETIC);
    Ok(())
}

fn test_handler<C: Change>(instruction: &Instruction) -> Option<Handler> {
    use super::form::Imm;
    macro_rules! by_width {
        ($family:ident $(, $form:ty)?) => {
            match bits(instruction, 0) {
                16 => run!($family::<u16, C $(, $form)?>),
                32 => run!($family::<u32, C $(, $form)?>),
                _ => run!($family::<u64, C $(, $form)?>),
            }
        };
    }
    let handler: Handler = match (kind(instruction, 0), kind(instruction, 1)) {
        (Kind::Reg, Kind::Reg) => by_width!(test_register, Src),
        (Kind::Reg, _) => by_width!(test_register, Imm),
        (_, Kind::Reg) => by_width!(test_string),
        (_, _) => by_width!(test_memory),
    };
    Some(handler)
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    macro_rules! unary {
        ($family:ident) => {
            match (kind(instruction, 1), bits(instruction, 0)) {
                (Kind::Reg, 16) => run!($family::<u16, Src>),
                (Kind::Reg, 32) => run!($family::<u32, Src>),
                (Kind::Reg, _) => run!($family::<u64, Src>),
                (_, 16) => run!($family::<u16, Mem>),
                (_, 32) => run!($family::<u32, Mem>),
                (_, _) => run!($family::<u64, Mem>),
            }
        };
    }
    let handler: Handler = match instruction.mnemonic() {
        Mnemonic::Bt => return test_handler::<Keep>(instruction),
        Mnemonic::Bts => return test_handler::<Set>(instruction),
        Mnemonic::Btr => return test_handler::<Reset>(instruction),
        Mnemonic::Btc => return test_handler::<Complement>(instruction),
        Mnemonic::Bsf | Mnemonic::Bsr => unary!(scan),
        Mnemonic::Tzcnt | Mnemonic::Lzcnt => unary!(count_zeros),
        Mnemonic::Popcnt => unary!(popcnt),
        _ => return None,
    };
    Some(handler)
}
