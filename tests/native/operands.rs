//! What an instruction reads, as far as a state has to be set for it.

use iced_x86::{Code, FlowControl, Instruction, Mnemonic, OpKind, Register};

use super::encodings;
use super::segments::{CS, DS, ES, FS, GS, SS};

/// What of the state an instruction uses besides general registers.
#[derive(Clone, Copy, Default)]
pub(crate) struct Units {
    pub(crate) x87: bool,
    pub(crate) mmx: bool,
    /// The vector registers that it names, a bit each.
    pub(crate) vectors: u16,
    pub(crate) memory: bool,
}

/// The bits of a register of so many bytes.
pub(crate) fn mask(bytes: usize) -> u64 {
    match bytes {
        8 => u64::MAX,
        _ => (1 << (8 * bytes)) - 1,
    }
}

pub(crate) fn units(instruction: &Instruction) -> Units {
    use iced_x86::CpuidFeature as F;
    let features = instruction.cpuid_features();
    let mut units = Units {
        x87: features
            .iter()
            .any(|f| matches!(f, F::FPU | F::FPU287 | F::FPU387))
            || instruction.mnemonic() == Mnemonic::Fisttp
            || takes_image(instruction.code()),
        mmx: instruction.mnemonic() == Mnemonic::Emms,
        // Some instructions use XMM0 without naming it.
        vectors: 1,
        memory: encodings::reaches_memory(instruction),
    };
    for n in 0..instruction.op_count() {
        let register = match instruction.op_kind(n) {
            OpKind::Register => instruction.op_register(n),
            _ => instruction.memory_index(),
        };
        units.mmx |= register.is_mm();
        if register.is_vector_register() {
            units.vectors |= 1 << register.number();
        }
    }
    units
}

/// The width of what a near branch leaves in the instruction pointer.
pub(crate) fn branch_bits(instruction: &Instruction) -> Option<u32> {
    use FlowControl as C;
    Some(match instruction.flow_control() {
        C::Next => return None,
        C::Return => 8 * return_bytes(instruction.code()) as u32,
        _ => match instruction.op0_kind() {
            OpKind::NearBranch16 | OpKind::FarBranch16 => 16,
            OpKind::NearBranch32 | OpKind::FarBranch32 => 32,
            OpKind::NearBranch64 => 64,
            OpKind::Register => 8 * instruction.op0_register().size() as u32,
            _ => match instruction.memory_size().size() {
                2 | 4 if is_far_pointer(instruction, 4) => 16,
                2 => 16,
                _ => 32,
            },
        },
    })
}

pub(crate) fn is_far_pointer(i: &Instruction, bytes: usize) -> bool {
    (i.is_jmp_far_indirect() || i.is_call_far_indirect()) && i.memory_size().size() == bytes
}

/// The width of the instruction pointer that a return pops.
pub(crate) fn return_bytes(code: Code) -> usize {
    use Code as C;
    match code {
        C::Retnw | C::Retnw_imm16 | C::Retfw | C::Retfw_imm16 | C::Iretw => 2,
        C::Retnd | C::Retnd_imm16 | C::Retfd | C::Retfd_imm16 | C::Iretd => 4,
        _ => 8,
    }
}

/// Whether the instruction moves its stack pointer or its frame by itself.
pub(crate) fn implies_stack(instruction: &Instruction) -> bool {
    instruction.is_stack_instruction()
        || matches!(instruction.mnemonic(), Mnemonic::Enter | Mnemonic::Leave)
}

/// Whether the register operand of a bit-string instruction selects a word of memory.
pub(crate) fn selects_bit(instruction: &Instruction) -> bool {
    use Mnemonic::{Bt, Btc, Btr, Bts};
    matches!(instruction.mnemonic(), Bt | Bts | Btr | Btc)
        && instruction.op0_kind() == OpKind::Memory
        && instruction.op1_kind() == OpKind::Register
}

/// Whether the memory operand is an image that FXSAVE or XSAVE writes.
pub(crate) fn takes_image(code: Code) -> bool {
    use iced_x86::CpuidFeature as F;
    let of_images = |f: &F| matches!(f, F::FXSR | F::XSAVE | F::XSAVEOPT);
    let codes = [Code::Xgetbv, Code::Xsetbv];
    !codes.contains(&code) && code.cpuid_features().iter().any(of_images)
}

/// Whether the last operand is a selector: of a segment that is loaded or looked at.
pub(crate) fn reads_selector(i: &Instruction) -> bool {
    i.mnemonic() != Mnemonic::Mov || i.op0_register().is_segment_register()
}

/// The address size of the memory operand, in bytes.
pub(crate) fn address_bytes(bits: u32, i: &Instruction) -> u64 {
    for register in [i.memory_base(), i.memory_index()] {
        if register.is_gpr() && register != Register::AL {
            return register.size() as u64;
        }
    }
    match i.memory_displ_size() {
        0 | 1 => u64::from(bits) / 8,
        size => size.into(),
    }
}

/// A general register that an instruction takes as an address without naming it.
pub(crate) struct StringRegister {
    pub(crate) register: Register,
    pub(crate) segment: Register,
    pub(crate) bytes: u64,
}

pub(crate) fn string_registers(instruction: &Instruction) -> Vec<StringRegister> {
    let of_kind = |kind| {
        let segment = instruction.memory_segment();
        let (register, segment, bytes) = match kind {
            OpKind::MemorySegSI => (Register::RSI, segment, 2),
            OpKind::MemorySegESI => (Register::RSI, segment, 4),
            OpKind::MemorySegRSI => (Register::RSI, segment, 8),
            OpKind::MemorySegDI => (Register::RDI, segment, 2),
            OpKind::MemorySegEDI => (Register::RDI, segment, 4),
            OpKind::MemorySegRDI => (Register::RDI, segment, 8),
            OpKind::MemoryESDI => (Register::RDI, Register::ES, 2),
            OpKind::MemoryESEDI => (Register::RDI, Register::ES, 4),
            OpKind::MemoryESRDI => (Register::RDI, Register::ES, 8),
            _ => return None,
        };
        Some(StringRegister {
            register,
            segment,
            bytes,
        })
    };
    (0..instruction.op_count())
        .filter_map(|n| of_kind(instruction.op_kind(n)))
        .collect()
}

pub(crate) fn segment_number(register: Register) -> usize {
    match register {
        Register::ES => ES,
        Register::CS => CS,
        Register::SS => SS,
        Register::FS => FS,
        Register::GS => GS,
        _ => DS,
    }
}
