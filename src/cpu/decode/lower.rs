//! From an iced-x86 instruction to an [`Op`].

use iced_x86::{Code, Instruction, OpKind, Register};

use super::op::{ImmediateForm, Op, Repeat};
use crate::cpu::Model;
use crate::cpu::exec;
use crate::cpu::fpu;
use crate::cpu::mode::{CodeSize, DataSegments};
use crate::cpu::regs::{BIAS, BIAS_VALUE, BLOCK_IP, HIGH_BYTE, ZERO};
use crate::cpu::segment::{CS, DS, ES, FLAT, FLAT_STACK, FS, GS, SS};

/// Packs `instruction`, decoded from `bytes` as if they started at address 0, for code of size
/// `code`, as `model` executes it.
pub fn lower(
    instruction: &Instruction,
    bytes: &[u8],
    code: CodeSize,
    data: DataSegments,
    model: Model,
) -> Op {
    let next = instruction.next_ip() as u8;
    let run = exec::handler(instruction, model);
    let mut op = Op::new(run, instruction.code(), next, instruction.len() as u8);
    set_registers(&mut op, instruction);
    set_immediates(&mut op, instruction);
    op.set_immediate_form(immediate_form(instruction));
    if is_x87(instruction.code()) {
        let own = bytes.get(instruction.ip() as usize..).unwrap_or_default();
        op.immediate = fpu::opcode(own).into();
    }
    set_memory(&mut op, instruction, code, data);
    op.set_repeat(match () {
        () if instruction.has_repne_prefix() => Repeat::NotEqual,
        () if instruction.has_rep_prefix() => Repeat::Equal,
        () => Repeat::None,
    });
    if ends_block(instruction, model) {
        op.set_last();
    }
    op
}

/// The first register operand goes to `dst`, unless it stands behind a memory operand; the
/// next to `src`, the one after to `extra`. A source that stands in a VEX prefix goes to `extra`
/// in any case, so that `src` is the one that may also be memory; a fourth register, which
/// stands in an immediate byte, is the immediate.
fn set_registers(op: &mut Op, instruction: &Instruction) {
    let in_vex = vex_source(instruction);
    let mut place = 0;
    for n in 0..instruction.op_count() {
        let kind = instruction.op_kind(n);
        if kind != OpKind::Register {
            place += u8::from(n == 0 && is_memory(kind));
            continue;
        }
        let register = number(instruction.op_register(n));
        match place {
            _ if in_vex == Some(n) => {
                op.extra = register;
                continue;
            }
            _ if n == 3 => op.immediate = register.into(),
            0 => op.dst = register,
            1 => op.src = register,
            _ => op.extra = register,
        }
        place += 1;
    }
}

/// Which operand is the source in VEX.vvvv (Intel SDM volume 2, section 2.3.5): of three or more
/// the second, but the third of bit shifts and extractions and of gathers.
fn vex_source(instruction: &Instruction) -> Option<u32> {
    use iced_x86::Mnemonic::{Bextr, Bzhi, Sarx, Shlx, Shrx, Vmaskmovdqu};
    let is_source = |n| n < instruction.op_count() && instruction.op_kind(n) == OpKind::Register;
    let is_operand = |n: &u32| is_source(*n) || is_memory(instruction.op_kind(*n));
    let operands = (0..instruction.op_count()).filter(is_operand).count();
    let has_none = operands < 3 || instruction.mnemonic() == Vmaskmovdqu;
    if instruction.encoding() != iced_x86::EncodingKind::VEX || has_none {
        return None;
    }
    let third = matches!(instruction.mnemonic(), Bextr | Bzhi | Sarx | Shlx | Shrx)
        || instruction.op_kind(0) == OpKind::Register && !is_source(1);
    let n = if third { 2 } else { 1 };
    is_source(n).then_some(n)
}

fn set_immediates(op: &mut Op, instruction: &Instruction) {
    for n in 0..instruction.op_count() {
        match instruction.op_kind(n) {
            OpKind::Immediate8
            | OpKind::Immediate16
            | OpKind::Immediate32
            | OpKind::Immediate64
            | OpKind::Immediate8to16
            | OpKind::Immediate8to32
            | OpKind::Immediate8to64
            | OpKind::Immediate32to64 => op.immediate = instruction.immediate(n),
            OpKind::Immediate8_2nd => op.extra = instruction.immediate8_2nd(),
            kind @ (OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64) => {
                op.immediate = instruction.near_branch_target();
                op.extra = match kind {
                    OpKind::NearBranch16 => 16,
                    OpKind::NearBranch32 => 32,
                    _ => 64,
                };
            }
            OpKind::FarBranch16 | OpKind::FarBranch32 => {
                let offset = match instruction.op_kind(n) {
                    OpKind::FarBranch16 => u64::from(instruction.far_branch16()),
                    _ => u64::from(instruction.far_branch32()),
                };
                op.immediate = u64::from(instruction.far_branch_selector()) << 32 | offset;
            }
            _ => {}
        }
    }
}

/// How the immediate operand stands in the last bytes, of instructions whose handler does not
/// depend on it. Others may be added, but not shifts, where a count of 1 is something else.
fn immediate_form(instruction: &Instruction) -> ImmediateForm {
    use iced_x86::Mnemonic::{Adc, Add, And, Cmp, Imul, Mov, Or, Push, Sbb, Sub, Test, Xor};
    let last = instruction.op_count().saturating_sub(1);
    match (instruction.mnemonic(), instruction.try_op_kind(last)) {
        (Mov | Add | Or | Adc | Sbb | And | Sub | Xor | Cmp | Test | Push | Imul, Ok(kind)) => {
            match kind {
                OpKind::Immediate8 => ImmediateForm::U8,
                OpKind::Immediate16 => ImmediateForm::U16,
                OpKind::Immediate32 => ImmediateForm::U32,
                OpKind::Immediate64 => ImmediateForm::U64,
                OpKind::Immediate8to16 | OpKind::Immediate8to32 | OpKind::Immediate8to64 => {
                    ImmediateForm::I8
                }
                OpKind::Immediate32to64 => ImmediateForm::I32,
                _ => ImmediateForm::None,
            }
        }
        _ => ImmediateForm::None,
    }
}

fn set_memory(op: &mut Op, instruction: &Instruction, code: CodeSize, data: DataSegments) {
    let string = (0..instruction.op_count())
        .map(|n| instruction.op_kind(n))
        .find(|&kind| is_string(kind));
    if let Some(kind) = string {
        let segment = segment_index(instruction.memory_segment(), code, data);
        op.set_address(1, string_address_size(kind), segment);
        return;
    }
    if !(0..instruction.op_count()).any(|n| instruction.op_kind(n) == OpKind::Memory) {
        return;
    }
    op.set_memory();
    let base = instruction.memory_base();
    let index = instruction.memory_index();
    let size = address_size(instruction, code);
    let scale = instruction.memory_index_scale() as u8;
    op.set_address(
        scale,
        size,
        segment_index(operand_segment(instruction, code), code, data),
    );
    // XLAT adds AL, not the whole register, by itself.
    op.index = match index {
        Register::None | Register::AL => ZERO,
        _ => number(index),
    };
    match base {
        Register::RIP | Register::EIP => {
            op.base = BLOCK_IP;
            set_displacement(op, instruction.memory_displacement64(), size);
        }
        Register::None => {
            op.base = ZERO;
            let displacement = instruction.memory_displacement64();
            op.displacement = displacement as i32;
            if is_absolute_move(instruction.code()) {
                op.immediate = displacement;
            }
        }
        _ => {
            op.base = number(base);
            op.displacement = instruction.memory_displacement64() as i32;
        }
    }
}

/// A displacement from the block's start can leave the range of 32 bits by the length of the
/// block: then the bias register takes 2^31 of it.
fn set_displacement(op: &mut Op, from_block: u64, size: u8) {
    let wide = if size == 2 {
        from_block as i64
    } else {
        i64::from(from_block as i32)
    };
    match i32::try_from(wide) {
        Ok(fits) => op.displacement = fits,
        Err(_) => {
            op.index = BIAS;
            op.displacement = wide.wrapping_sub(BIAS_VALUE as i64) as i32;
        }
    }
}

/// The number of a register operand, as [`Op`] says.
fn number(register: Register) -> u8 {
    match register {
        Register::AH => HIGH_BYTE,
        Register::CH => HIGH_BYTE | 1,
        Register::DH => HIGH_BYTE | 2,
        Register::BH => HIGH_BYTE | 3,
        Register::AL | Register::CL | Register::DL | Register::BL => {
            register as u8 - Register::AL as u8
        }
        _ if register.is_gpr8() => register as u8 - Register::SPL as u8 + 4,
        _ => register.number() as u8,
    }
}

/// Whether an encoding is one of the x87's: its first byte is D8h to DFh.
fn is_x87(code: Code) -> bool {
    (Code::Fadd_m32fp as u16..=Code::Fcomip_st0_sti as u16).contains(&(code as u16))
}

fn is_memory(kind: OpKind) -> bool {
    kind == OpKind::Memory || is_string(kind)
}

fn is_string(kind: OpKind) -> bool {
    string_kind_size(kind).is_some()
}

fn string_address_size(kind: OpKind) -> u8 {
    string_kind_size(kind).unwrap_or(0)
}

fn string_kind_size(kind: OpKind) -> Option<u8> {
    match kind {
        OpKind::MemorySegSI | OpKind::MemorySegDI | OpKind::MemoryESDI => Some(0),
        OpKind::MemorySegESI | OpKind::MemorySegEDI | OpKind::MemoryESEDI => Some(1),
        OpKind::MemorySegRSI | OpKind::MemorySegRDI | OpKind::MemoryESRDI => Some(2),
        _ => None,
    }
}

/// The segment of a memory operand. In 64-bit mode only the prefixes of FS and GS count; else the
/// base register decides (Intel SDM volume 1, section 3.4.2.1).
fn operand_segment(instruction: &Instruction, code: CodeSize) -> Register {
    let segment = instruction.memory_segment();
    if code != CodeSize::Bits64 || matches!(segment, Register::FS | Register::GS) {
        return segment;
    }
    match instruction.memory_base().full_register() {
        Register::RSP | Register::RBP => Register::SS,
        _ => Register::DS,
    }
}

fn segment_index(register: Register, code: CodeSize, data: DataSegments) -> u8 {
    match (register, data) {
        (Register::FS, _) => FS,
        (Register::GS, _) => GS,
        (Register::CS, _) if code != CodeSize::Bits64 => CS,
        (Register::SS, DataSegments::Flat) => FLAT_STACK,
        (_, DataSegments::Flat) => FLAT,
        (Register::ES, _) => ES,
        (Register::SS, _) => SS,
        _ => DS,
    }
}

/// The address size of a memory operand: 0 for 16 bits, 1 for 32, 2 for 64.
fn address_size(instruction: &Instruction, code: CodeSize) -> u8 {
    for register in [instruction.memory_base(), instruction.memory_index()] {
        match register {
            Register::None => {}
            Register::RIP => return 2,
            Register::EIP => return 1,
            r if r.is_gpr16() => return 0,
            r if r.is_gpr32() => return 1,
            // The index of a gather, which has the size of its numbers.
            r if r.is_vector_register() => {}
            _ => return 2,
        }
    }
    match instruction.memory_displ_size() {
        2 => 0,
        4 => 1,
        8 => 2,
        _ => match code {
            CodeSize::Bits16 => 0,
            CodeSize::Bits32 => 1,
            CodeSize::Bits64 => 2,
        },
    }
}

/// Whether an instruction ends its block: branches but Jcc, behind which the block goes on if it
/// is not taken, and whatever can change the mode, the translation, the interrupt flag or guest
/// time.
fn ends_block(instruction: &Instruction, model: Model) -> bool {
    use iced_x86::FlowControl;
    if instruction.code().is_jcc_short_or_near() {
        return false;
    }
    if instruction.flow_control() != FlowControl::Next || is_string_repeat(instruction) {
        return true;
    }
    exec::ends_block(instruction, model)
}

fn is_string_repeat(instruction: &Instruction) -> bool {
    instruction.is_string_instruction()
        && (instruction.has_rep_prefix() || instruction.has_repne_prefix())
}

/// MOV between the accumulator and an absolute address, up to 64 bits of it.
fn is_absolute_move(code: Code) -> bool {
    matches!(
        code,
        Code::Mov_AL_moffs8
            | Code::Mov_AX_moffs16
            | Code::Mov_EAX_moffs32
            | Code::Mov_RAX_moffs64
            | Code::Mov_moffs8_AL
            | Code::Mov_moffs16_AX
            | Code::Mov_moffs32_EAX
            | Code::Mov_moffs64_RAX
    )
}
