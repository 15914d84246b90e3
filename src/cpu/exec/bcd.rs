//! Decimal adjustment: DAA DAS AAA AAS AAM AAD; the undocumented SALC; the carry flag and AH
//! as flags: CLC STC CMC LAHF SAHF
//! (Intel SDM volume 1, sections 7.3.5 and 7.3.13).

use iced_x86::{Instruction, Mnemonic};

use super::{Handler, run};
use crate::cpu::decode::Op;
use crate::cpu::fault::DE;
use crate::cpu::flags::{AF, ARITHMETIC, CF};
use crate::cpu::regs::{HIGH_BYTE, RAX};
use crate::cpu::{Core, Exec};

/// AH.
const AH: u8 = RAX | HIGH_BYTE;

/// Sets SF, ZF and PF from `al`, and AF and CF as given; OF is undefined and cleared.
pub(super) fn set_flags(core: &mut Core<'_>, al: u8, af: bool, cf: bool) {
    core.cpu.flags.set_logic(al);
    let value = if af { AF } else { 0 } | if cf { CF } else { 0 };
    core.cpu.flags.set_arithmetic(value, AF | CF);
}

fn daa(core: &mut Core<'_>, _op: &Op) -> Exec {
    let old: u8 = core.cpu.regs.read(RAX);
    let (old_cf, old_af) = (core.cpu.flags.cf(), core.cpu.flags.af());
    let low = old & 15 > 9 || old_af;
    let high = old > 0x99 || old_cf;
    let al = old
        .wrapping_add(if low { 6 } else { 0 })
        .wrapping_add(if high { 0x60 } else { 0 });
    core.cpu.regs.write(RAX, al);
    set_flags(core, al, low, high);
    Ok(())
}

fn das(core: &mut Core<'_>, _op: &Op) -> Exec {
    let old: u8 = core.cpu.regs.read(RAX);
    let (old_cf, old_af) = (core.cpu.flags.cf(), core.cpu.flags.af());
    let low = old & 15 > 9 || old_af;
    let high = old > 0x99 || old_cf;
    let borrows = low && old < 6;
    let al = old
        .wrapping_sub(if low { 6 } else { 0 })
        .wrapping_sub(if high { 0x60 } else { 0 });
    core.cpu.regs.write(RAX, al);
    set_flags(core, al, low, high || borrows);
    Ok(())
}

/// AAA and AAS: whether AL is past a digit, and AX moved by one digit up or down.
fn ascii_adjust(core: &mut Core<'_>, moved: fn(u16) -> u16) -> Exec {
    let ax: u16 = core.cpu.regs.read(RAX);
    let adjust = ax & 15 > 9 || core.cpu.flags.af();
    let ax = if adjust { moved(ax) } else { ax } & 0xff0f;
    core.cpu.regs.write(RAX, ax);
    set_flags(core, ax as u8, adjust, adjust);
    Ok(())
}

fn aaa(core: &mut Core<'_>, _op: &Op) -> Exec {
    ascii_adjust(core, |ax| ax.wrapping_add(0x106))
}

fn aas(core: &mut Core<'_>, _op: &Op) -> Exec {
    ascii_adjust(core, |ax| ax.wrapping_sub(6).wrapping_sub(0x100))
}

fn aam(core: &mut Core<'_>, op: &Op) -> Exec {
    let base = op.immediate as u8;
    let al: u8 = core.cpu.regs.read(RAX);
    if base == 0 {
        return Err(core.fault(DE));
    }
    core.cpu.regs.write(AH, al / base);
    core.cpu.regs.write(RAX, al % base);
    core.cpu.flags.set_logic(al % base);
    Ok(())
}

fn aad(core: &mut Core<'_>, op: &Op) -> Exec {
    let base = op.immediate as u8;
    let ah: u8 = core.cpu.regs.read(AH);
    let al: u8 = core.cpu.regs.read(RAX);
    let value = al.wrapping_add(ah.wrapping_mul(base));
    core.cpu.regs.write(RAX, u16::from(value));
    core.cpu.flags.set_logic(value);
    Ok(())
}

/// SALC: AL becomes FFh if CF is set, else 0.
fn salc(core: &mut Core<'_>, _op: &Op) -> Exec {
    let al = if core.cpu.flags.cf() { 0xffu8 } else { 0 };
    core.cpu.regs.write(RAX, al);
    Ok(())
}

/// CLC, STC and CMC.
fn clc(core: &mut Core<'_>, _op: &Op) -> Exec {
    core.cpu.flags.set_cf(false);
    Ok(())
}

fn stc(core: &mut Core<'_>, _op: &Op) -> Exec {
    core.cpu.flags.set_cf(true);
    Ok(())
}

fn cmc(core: &mut Core<'_>, _op: &Op) -> Exec {
    let cf = core.cpu.flags.cf();
    core.cpu.flags.set_cf(!cf);
    Ok(())
}

fn lahf(core: &mut Core<'_>, _op: &Op) -> Exec {
    core.cpu.regs.write(AH, core.cpu.flags.bits() as u8);
    Ok(())
}

fn sahf(core: &mut Core<'_>, _op: &Op) -> Exec {
    let ah = u32::from(core.cpu.regs.read::<u8>(AH));
    core.cpu.flags.set_arithmetic(ah, ARITHMETIC & 0xff);
    Ok(())
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    let handler: Handler = match instruction.mnemonic() {
        Mnemonic::Daa => run!(daa),
        Mnemonic::Das => run!(das),
        Mnemonic::Aaa => run!(aaa),
        Mnemonic::Aas => run!(aas),
        Mnemonic::Aam => run!(aam),
        Mnemonic::Aad => run!(aad),
        Mnemonic::Salc => run!(salc),
        Mnemonic::Clc => run!(clc),
        Mnemonic::Stc => run!(stc),
        Mnemonic::Cmc => run!(cmc),
        Mnemonic::Lahf => run!(lahf),
        Mnemonic::Sahf => run!(sahf),
        _ => return None,
    };
    Some(handler)
}
