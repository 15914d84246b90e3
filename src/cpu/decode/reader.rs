//! From bytes to iced-x86's instructions, as each model reads them.
//!
//! iced-x86 decodes what processors of today do. The 8086 looks at fewer bits of an opcode than
//! later ones, so opcodes that were free then are second names of others: such a byte is replaced
//! by the first name before iced-x86 sees it. The 286 knows invalid opcodes, but not the prefixes
//! 64h to 67h. (iAPX 86/88 User's Manual, table 4-13; 80286 Programmer's Reference Manual,
//! appendix B; the aliases are what chips do, see `tests/recorded`.)

use iced_x86::{Code, Decoder, DecoderError, DecoderOptions, Instruction, Register};

use crate::cpu::Model;
use crate::cpu::mode::CodeSize;
use crate::cpu::model::Opcodes;

/// The most bytes that iced-x86 takes for one instruction.
pub(super) const MAX_INSTRUCTION: usize = 15;

/// Reads instructions out of a stretch of bytes.
pub(super) struct Reader<'b> {
    bytes: &'b [u8],
    opcodes: Opcodes,
    /// Of the 8086 and 286 only the options count.
    decoder: Decoder<'b>,
}

impl<'b> Reader<'b> {
    /// A reader of `bytes`, which are code of size `code`.
    pub(super) fn new(bytes: &'b [u8], code: CodeSize, model: Model) -> Self {
        Self {
            bytes,
            opcodes: model.traits().opcodes,
            decoder: Decoder::with_ip(code.bits(), bytes, 0, options(model)),
        }
    }

    /// Reads the instruction at offset `at`, as if the bytes began at address 0; false if it has
    /// more bytes than there are.
    pub(super) fn read(&mut self, at: usize, instruction: &mut Instruction) -> bool {
        match self.opcodes {
            Opcodes::I8086 => read_8086(self.bytes, at, instruction),
            Opcodes::I286 => read_286(self.bytes, at, instruction),
            Opcodes::I386 => {
                if self.decoder.set_position(at).is_err() {
                    return false;
                }
                self.decoder.set_ip(at as u64);
                self.decoder.decode_out(instruction);
                self.decoder.last_error() != DecoderError::NoMoreBytes
            }
        }
    }
}

/// The processor's vendor is AMD. F3h before BSF, BSR and WBINVD has no meaning to processors
/// without BMI1, LZCNT and WBNOINVD.
fn options(model: Model) -> u32 {
    const BIT_SCANS: u32 = DecoderOptions::NO_MPFX_0FBC | DecoderOptions::NO_MPFX_0FBD;
    let options = DecoderOptions::AMD | DecoderOptions::NO_WBNOINVD;
    match model < Model::X86_64V3 {
        true => options | BIT_SCANS,
        false => options,
    }
}

/// An opcode, and the byte behind it, which may be its ModR/M byte.
type Opcode = (u8, u8);

/// Decodes the instruction at `at` with its opcode replaced by the `first_name` of it, and returns
/// the opcode that stands there. LOCK goes with everything, and the register of MOV to a segment
/// register is not checked. `None` if the instruction has more bytes than there are.
fn read_old(
    bytes: &[u8],
    at: usize,
    instruction: &mut Instruction,
    first_name: fn(Opcode) -> Opcode,
) -> Option<Opcode> {
    let own = &bytes[at.min(bytes.len())..];
    let mut copy = [0; MAX_INSTRUCTION + 1];
    let len = own.len().min(MAX_INSTRUCTION);
    copy[..len].copy_from_slice(&own[..len]);
    let mut opcode = (0, 0);
    for n in 0..len {
        opcode = (copy[n], copy[n + 1]);
        (copy[n], copy[n + 1]) = first_name(opcode);
        if !matches!(copy[n], 0x26 | 0x2e | 0x36 | 0x3e | 0xf0 | 0xf2 | 0xf3) {
            break;
        }
    }
    let options = DecoderOptions::NO_INVALID_CHECK;
    let mut decoder = Decoder::with_ip(16, &copy[..len], at as u64, options);
    decoder.decode_out(instruction);
    (decoder.last_error() != DecoderError::NoMoreBytes).then_some(opcode)
}

fn read_8086(bytes: &[u8], at: usize, instruction: &mut Instruction) -> bool {
    let opcode = read_old(bytes, at, instruction, first_name_8086);
    if matches!(opcode, Some((0x0f, _))) {
        instruction.set_code(Code::Popw_CS);
        instruction.set_op0_register(Register::CS);
    }
    opcode.is_some()
}

fn read_286(bytes: &[u8], at: usize, instruction: &mut Instruction) -> bool {
    let opcode = read_old(bytes, at, instruction, first_name_286);
    if let Some((0x8f | 0xc6 | 0xc7, operands)) = opcode
        && operands & !NO_EXTENSION != 0
    {
        instruction.set_code(Code::INVALID);
    }
    opcode.is_some()
}

/// What the 8086 takes an opcode for.
fn first_name_8086((opcode, operands): Opcode) -> Opcode {
    const TWO_BITS: u8 = 0b11_011_111;
    const PUSH: u8 = 6 << 3;
    match opcode {
        // POP CS, which differs from POP ES by its register.
        0x0f => (0x07, operands),
        0x60..=0x6f => (opcode + 0x10, operands),
        0xc0 | 0xc1 | 0xc8 | 0xc9 => (opcode + 2, operands),
        0x8c | 0x8e => (opcode, operands & TWO_BITS),
        0x8f | 0xc6 | 0xc7 => (opcode, operands & NO_EXTENSION),
        0xd9..=0xdf => (ESCAPE, operands),
        0xf1 => (0xf0, operands),
        0xff if operands & !NO_EXTENSION == 7 << 3 => (opcode, operands & NO_EXTENSION | PUSH),
        _ => (opcode, operands),
    }
}

/// What the 286 takes an opcode for.
fn first_name_286((opcode, operands): Opcode) -> Opcode {
    match opcode {
        0x64..=0x67 => (INVALID, operands),
        // Invalid all the same, but as long as a valid one: too long comes before invalid.
        0x8f | 0xc6 | 0xc7 => (opcode, operands & NO_EXTENSION),
        // LES and LDS of a register, which have become prefixes.
        0xc4 | 0xc5 if operands >= 0xc0 => (INVALID, operands),
        0xd9..=0xdf => (ESCAPE, operands),
        _ => (opcode, operands),
    }
}

/// What of a ModR/M byte is not the opcode's extension.
const NO_EXTENSION: u8 = 0b11_000_111;

/// To a processor without coprocessor all escapes are the same; of this one all encodings are
/// instructions.
const ESCAPE: u8 = 0xd8;

/// INT1, which came with the 386.
const INVALID: u8 = 0xf1;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(model: Model, bytes: &[u8]) -> Instruction {
        let mut instruction = Instruction::default();
        assert!(Reader::new(bytes, CodeSize::Bits16, model).read(0, &mut instruction));
        instruction
    }

    #[test]
    fn the_8086_has_second_names_for_opcodes() {
        for (bytes, code, len) in [
            (&[0x0f, 0xff][..], Code::Popw_CS, 1),
            (&[0x2e, 0x66, 0x10], Code::Jbe_rel8_16, 3),
            (&[0xc9, 0x00], Code::Retfw, 1),
            (&[0xf1, 0x90, 0x00], Code::Nopw, 2),
            (&[0xff, 0xf8], Code::Push_rm16, 2),
            (&[0x8e, 0xc8], Code::Mov_Sreg_rm16, 2),
        ] {
            let instruction = read(Model::I8086, bytes);
            assert_eq!(instruction.code(), code, "{bytes:x?}");
            assert_eq!(instruction.len(), len, "{bytes:x?}");
        }
    }

    #[test]
    fn a_prefix_of_later_processors_is_skipped_by_earlier_ones() {
        for (bytes, old, new) in [
            (
                &[0xf3, 0x0f, 0xbc, 0xc1],
                Code::Bsf_r16_rm16,
                Code::Tzcnt_r16_rm16,
            ),
            (
                &[0xf3, 0x0f, 0xbd, 0xc1],
                Code::Bsr_r16_rm16,
                Code::Lzcnt_r16_rm16,
            ),
        ] {
            assert_eq!(read(Model::X86_64V2, bytes).code(), old);
            assert_eq!(read(Model::X86_64V3, bytes).code(), new);
        }
    }

    #[test]
    fn the_prefixes_of_the_386_are_no_instructions_of_the_286() {
        let instruction = read(Model::I286, &[0x2e, 0x66, 0x90]);
        assert!(!Model::I286.has(&instruction));
        assert_eq!(instruction.next_ip(), 2);
        assert_eq!(read(Model::I386, &[0x66, 0x90]).code(), Code::Nopd);
    }
}
