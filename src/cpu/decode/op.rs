//! One decoded instruction, in 32 bytes.

use iced_x86::Code;

use crate::cpu::Handler;
use crate::cpu::regs::{ADDRESS_MASK, ZERO};

/// The repeat prefix that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// None.
    None,
    /// REP or REPE (F3h).
    Equal,
    /// REPNE (F2h).
    NotEqual,
}

/// A decoded instruction: what executes it, and its operands by number.
///
/// Register operands are the numbers of [`crate::cpu::regs`] (general), or plain indices of
/// segment, control, debug, x87, MMX and XMM registers, as the instruction has it. With a
/// memory operand, the register operand is `src` if memory is the destination.
#[derive(Clone, Copy)]
pub struct Op {
    /// What executes it.
    pub run: Handler,
    /// The immediate operand, sign-extended; of near branches the target relative to the
    /// block's start; of far pointers `selector << 32 | offset`; of MOV with an absolute
    /// address that address; of x87 instructions FOP.
    pub immediate: u64,
    /// The displacement of the memory operand; with base [`crate::cpu::regs::BLOCK_IP`] it
    /// counts from the block's start.
    pub displacement: i32,
    /// iced-x86's number of the encoding (bits 12..0), and how the immediate operand stands in the
    /// instruction's last bytes, an [`ImmediateForm`] (bits 15..13).
    code: u16,
    /// The offset of the next instruction from the block's start.
    pub next: u8,
    /// The length of the instruction in bytes.
    pub length: u8,
    /// The destination register.
    pub dst: u8,
    /// The source register.
    pub src: u8,
    /// The base register of the memory operand.
    pub base: u8,
    /// The index register of the memory operand.
    pub index: u8,
    /// The index register's factor.
    pub scale: u8,
    /// The register that holds what the address size keeps of an address.
    pub address_mask: u8,
    /// Repeat prefix (bits 1..0), whether there is a memory operand (bit 2), whether the block
    /// ends here (bit 3), whether it runs paired with the next (bit 4), segment (bits 7..5).
    prefixes: u8,
    /// A second small operand: the third register, ENTER's nesting level, a second immediate;
    /// of relative branches the operand size in bits.
    pub extra: u8,
}

/// In [`Op::prefixes`].
const MEMORY: u8 = 1 << 2;
const LAST: u8 = 1 << 3;
const PAIRED: u8 = 1 << 4;

/// In [`Op::code`].
const FORM_SHIFT: u32 = 13;
const CODE_MASK: u16 = (1 << FORM_SHIFT) - 1;

const _: () = assert!(size_of::<Op>() <= 32);

/// How an immediate operand stands in the last bytes of an instruction which only that operand
/// depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ImmediateForm {
    /// There is none, or more depends on it.
    None = 0,
    U8,
    U16,
    U32,
    U64,
    /// One byte, sign-extended.
    I8,
    /// Four bytes, sign-extended.
    I32,
}

impl std::fmt::Debug for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Op({:?} at +{})", self.code(), self.start())
    }
}

impl Op {
    /// An instruction of encoding `code` that ends at `next` and is `length` bytes long, with
    /// no operands yet.
    pub(super) fn new(run: Handler, code: Code, next: u8, length: u8) -> Self {
        Self {
            run,
            immediate: 0,
            displacement: 0,
            code: code as u16,
            next,
            length,
            dst: 0,
            src: 0,
            base: ZERO,
            index: ZERO,
            scale: 1,
            address_mask: ADDRESS_MASK,
            prefixes: 0,
            extra: 0,
        }
    }

    /// Sets how the memory operand is addressed: the scale, the address size (0: 16,
    /// 1: 32, 2: 64 bits) and the segment's index.
    pub(super) fn set_address(&mut self, scale: u8, size: u8, segment: u8) {
        self.scale = scale;
        self.address_mask = ADDRESS_MASK + size;
        self.prefixes = self.prefixes & 0x1f | segment << 5;
    }

    /// Notes that one operand is memory.
    pub(super) fn set_memory(&mut self) {
        self.prefixes |= MEMORY;
    }

    /// Whether one operand is memory, for instructions that take either.
    pub fn has_memory(&self) -> bool {
        self.prefixes & MEMORY != 0
    }

    /// Notes that the block ends behind this instruction.
    pub(super) fn set_last(&mut self) {
        self.prefixes |= LAST;
    }

    /// Whether the block ends behind this instruction, whatever follows.
    pub(super) fn is_last(&self) -> bool {
        self.prefixes & LAST != 0
    }

    /// Has the next instruction run as part of this one, by `run`.
    pub(super) fn pair(&mut self, run: Handler) {
        self.run = run;
        self.prefixes |= PAIRED;
    }

    /// Whether what executes it depends on the next instruction.
    pub(super) fn is_paired(&self) -> bool {
        self.prefixes & PAIRED != 0
    }

    /// Sets the repeat prefix.
    pub(super) fn set_repeat(&mut self, repeat: Repeat) {
        self.prefixes = self.prefixes & !3 | repeat as u8;
    }

    /// iced-x86's name of the encoding.
    pub fn code(&self) -> Code {
        Code::try_from(usize::from(self.code & CODE_MASK)).unwrap_or(Code::INVALID)
    }

    /// Says how the immediate operand stands in the instruction.
    pub(super) fn set_immediate_form(&mut self, form: ImmediateForm) {
        self.code = self.code & CODE_MASK | (form as u16) << FORM_SHIFT;
    }

    /// How many of the instruction's last bytes only the immediate operand depends on.
    pub(super) fn immediate_len(&self) -> usize {
        const LENGTHS: [u8; 8] = [0, 1, 2, 4, 8, 1, 4, 0];
        LENGTHS[usize::from(self.code >> FORM_SHIFT)].into()
    }

    /// Takes the immediate operand from `bytes`, those of the instruction.
    pub(super) fn take_immediate(&mut self, bytes: &[u8]) {
        let len = self.immediate_len();
        let tail = &bytes[bytes.len() - len..];
        let unsigned = tail.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b));
        let is_signed = self.code >> FORM_SHIFT >= ImmediateForm::I8 as u16;
        let above = 64 - 8 * len as u32;
        self.immediate = match is_signed {
            true => ((unsigned << above) as i64 >> above) as u64,
            false => unsigned,
        };
    }

    /// Whether it is a Jcc.
    pub(super) fn is_conditional_branch(&self) -> bool {
        self.code().is_jcc_short_or_near()
    }

    /// Whether it is a JMP or Jcc to a near target that stands in the instruction, or JCXZ.
    pub fn is_relative_branch(&self) -> bool {
        let code = self.code();
        let jump = code.is_jmp_short_or_near() || code.is_jcc_short_or_near();
        jump || code.is_jcx_short()
    }

    /// The offset of the instruction from the block's start.
    pub fn start(&self) -> u64 {
        u64::from(self.next - self.length)
    }

    /// The address size: 0 for 16 bits, 1 for 32, 2 for 64.
    #[inline(always)]
    pub fn address_size(&self) -> u8 {
        self.address_mask - ADDRESS_MASK
    }

    /// The segment of the memory operand, an index of [`crate::cpu::segment`].
    #[inline(always)]
    pub fn segment(&self) -> u8 {
        self.prefixes >> 5
    }

    /// The repeat prefix.
    pub fn repeat(&self) -> Repeat {
        match self.prefixes & 3 {
            0 => Repeat::None,
            1 => Repeat::Equal,
            _ => Repeat::NotEqual,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_an_immediate_has_room_beside_the_number_of_every_encoding() {
        assert!(Code::values().all(|code| code as u16 <= CODE_MASK));
    }
}
