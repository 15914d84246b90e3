//! CMPXCHG8B and CMPXCHG16B (Intel SDM volume 2).

use iced_x86::{Code, Instruction};

use super::{Handler, run};
use crate::cpu::decode::Op;
use crate::cpu::fault::GP;
use crate::cpu::flags::ZF;
use crate::cpu::mmu::Access;
use crate::cpu::regs::{RAX, RBX, RCX, RDX};
use crate::cpu::{Core, Exec};

/// The destination is written in any case, with what it held if the comparison fails.
fn cmpxchg8b(core: &mut Core<'_>, op: &Op) -> Exec {
    let (place, old) = core.open::<u64>(op)?;
    let pair = |high, low| {
        let regs = &core.cpu.regs;
        u64::from(regs.read::<u32>(high)) << 32 | u64::from(regs.read::<u32>(low))
    };
    let equal = pair(RDX, RAX) == old;
    let new = if equal { pair(RCX, RBX) } else { old };
    core.commit(place, new);
    if !equal {
        core.cpu.regs.write(RAX, old as u32);
        core.cpu.regs.write(RDX, (old >> 32) as u32);
    }
    core.cpu
        .flags
        .set_arithmetic(if equal { ZF } else { 0 }, ZF);
    Ok(())
}

/// As CMPXCHG8B with 16 bytes, which have to be aligned.
fn cmpxchg16b(core: &mut Core<'_>, op: &Op) -> Exec {
    let offset = core.effective_address(op);
    let segment = op.segment();
    let linear = core.linear(Access::Write, segment, offset, 16)?;
    if linear % 16 != 0 {
        return Err(core.fault_with(GP, 0));
    }
    core.probe_write(linear, 16, core.cpu.mode.user, segment)?;
    let old = u128::from_le_bytes(core.load_bytes(segment, offset)?);
    let pair = |high, low| {
        let regs = &core.cpu.regs;
        u128::from(regs.get(high)) << 64 | u128::from(regs.get(low))
    };
    let equal = pair(RDX, RAX) == old;
    let new = if equal { pair(RCX, RBX) } else { old };
    core.store_bytes(segment, offset, new.to_le_bytes())?;
    if !equal {
        core.cpu.regs.set(RAX, old as u64);
        core.cpu.regs.set(RDX, (old >> 64) as u64);
    }
    core.cpu
        .flags
        .set_arithmetic(if equal { ZF } else { 0 }, ZF);
    Ok(())
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    match instruction.code() {
        Code::Cmpxchg8b_m64 => Some(run!(cmpxchg8b)),
        Code::Cmpxchg16b_m128 => Some(run!(cmpxchg16b)),
        _ => None,
    }
}
