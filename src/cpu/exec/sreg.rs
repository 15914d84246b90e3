//! Segment registers: MOV, PUSH and POP of them, LDS LES LFS LGS LSS
//! (Intel SDM volume 1, section 7.3.12).

use iced_x86::{Code, Instruction, Mnemonic};

use super::form::{Kind, kind};
use super::{Handler, run};
use crate::cpu::decode::Op;
use crate::cpu::fault::UD;
use crate::cpu::regs::RSP;
use crate::cpu::segment::{CS, DS, ES, FS, GS, SS};
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec};

/// Loads a segment register. Behind a load of SS comes one of the stack pointer.
fn load(core: &mut Core<'_>, index: u8, selector: u16) -> Exec {
    core.load_segment(index, selector)?;
    if index == SS {
        core.cpu.flow.shadow_stack_switch();
    }
    Ok(())
}

fn mov_to_register(core: &mut Core<'_>, op: &Op) -> Exec {
    if op.dst == CS {
        return Err(core.fault(UD));
    }
    let selector = core.cpu.regs.read::<u16>(op.src);
    load(core, op.dst, selector)
}

fn mov_to_memory_operand(core: &mut Core<'_>, op: &Op) -> Exec {
    if op.dst == CS {
        return Err(core.fault(UD));
    }
    let selector = core.load::<u16>(op)?;
    load(core, op.dst, selector)
}

/// MOV from a segment register to a general one: zero-extended.
fn mov_from<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let selector = core.cpu.segment(op.src).selector;
    core.cpu
        .regs
        .write(op.dst, W::truncate(u64::from(selector)));
    Ok(())
}

/// MOV from a segment register to memory: 16 bits, whatever the operand size.
fn mov_from_memory_operand(core: &mut Core<'_>, op: &Op) -> Exec {
    let selector = core.cpu.segment(op.src).selector;
    core.store(op, selector)
}

fn push<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let selector = core.cpu.segment(op.dst).selector;
    core.push(W::truncate(u64::from(selector)))
}

/// PUSH with 32 bits writes the selector alone, as Intel's processors do (volume 2, PUSH): what
/// lies above it on the stack stays.
fn push_half(core: &mut Core<'_>, op: &Op) -> Exec {
    let selector = core.cpu.segment(op.dst).selector;
    let mode = &core.cpu.mode;
    let (segment, mask) = (mode.stack_segment, mode.stack_mask);
    let top = core.cpu.regs.get(RSP).wrapping_sub(u32::BYTES);
    core.store_at(segment, top & mask, selector)?;
    core.set_stack_pointer(top);
    Ok(())
}

/// POP: 16 bits are read, whatever the operand size. The stack pointer moves once the register is
/// loaded.
fn pop<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let selector = core.peek_stack::<u16>(0)?;
    let top = core.cpu.regs.get(RSP);
    let mask = core.cpu.mode.stack_mask;
    load(core, op.dst, selector)?;
    let moved = (top & !mask) | (top.wrapping_add(W::BYTES) & mask);
    core.cpu.regs.set(RSP, moved);
    Ok(())
}

/// LDS and its kin: an offset of `W` to a general register, and a selector behind it.
fn load_pointer<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let index = match op.code().mnemonic() {
        Mnemonic::Lds => DS,
        Mnemonic::Les => ES,
        Mnemonic::Lfs => FS,
        Mnemonic::Lgs => GS,
        _ => SS,
    };
    let at = core.effective_address(op);
    let offset: W = core.load_at(op.segment(), at)?;
    let behind = core.offset_after(op, at, W::BYTES);
    let selector: u16 = core.load_at(op.segment(), behind)?;
    core.load_segment(index, selector)?;
    core.cpu.regs.write(op.dst, offset);
    Ok(())
}

fn mov_handler(instruction: &Instruction) -> Option<Handler> {
    let handler: Handler = match instruction.code() {
        Code::Mov_Sreg_rm16 | Code::Mov_Sreg_r32m16 | Code::Mov_Sreg_r64m16 => {
            match kind(instruction, 1) {
                Kind::Reg => run!(mov_to_register),
                _ => run!(mov_to_memory_operand),
            }
        }
        Code::Mov_rm16_Sreg | Code::Mov_r32m16_Sreg | Code::Mov_r64m16_Sreg => {
            match (kind(instruction, 0), instruction.code()) {
                (Kind::Mem, _) => run!(mov_from_memory_operand),
                (_, Code::Mov_rm16_Sreg) => run!(mov_from::<u16>),
                (_, Code::Mov_r32m16_Sreg) => run!(mov_from::<u32>),
                _ => run!(mov_from::<u64>),
            }
        }
        _ => return None,
    };
    Some(handler)
}

fn push_pop_handler(instruction: &Instruction) -> Option<Handler> {
    if kind(instruction, 0) != Kind::Reg || !instruction.op_register(0).is_segment_register() {
        return None;
    }
    let handler: Handler = match instruction.stack_pointer_increment() {
        -2 => run!(push::<u16>),
        -4 => run!(push_half),
        -8 => run!(push::<u64>),
        2 => run!(pop::<u16>),
        4 => run!(pop::<u32>),
        _ => run!(pop::<u64>),
    };
    Some(handler)
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    let handler: Handler = match instruction.code() {
        Code::Lds_r16_m1616
        | Code::Les_r16_m1616
        | Code::Lfs_r16_m1616
        | Code::Lgs_r16_m1616
        | Code::Lss_r16_m1616 => run!(load_pointer::<u16>),
        Code::Lds_r32_m1632
        | Code::Les_r32_m1632
        | Code::Lfs_r32_m1632
        | Code::Lgs_r32_m1632
        | Code::Lss_r32_m1632 => run!(load_pointer::<u32>),
        Code::Lfs_r64_m1664 | Code::Lgs_r64_m1664 | Code::Lss_r64_m1664 => {
            run!(load_pointer::<u64>)
        }
        _ => {
            return match instruction.mnemonic() {
                Mnemonic::Push | Mnemonic::Pop => push_pop_handler(instruction),
                Mnemonic::Mov => mov_handler(instruction),
                _ => None,
            };
        }
    };
    Some(handler)
}

/// Whether an encoding of this file ends its block: a load of SS may change the stack's size,
/// and shields the next instruction.
pub(super) fn ends_block(code: Code) -> bool {
    matches!(
        code,
        Code::Popw_SS | Code::Popd_SS | Code::Lss_r16_m1616 | Code::Lss_r32_m1632
    )
}
