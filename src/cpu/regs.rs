//! The general registers, by the numbers that instructions encode (Intel SDM volume 2,
//! section 2.1.5).
//!
//! Behind the sixteen architectural registers stand some that only address arithmetic reads:
//! one that is always zero (no base, no index), the address of the running block (RIP-relative
//! operands), a bias that lets a displacement be moved by 2^31, and what each address size
//! keeps of an address. The file has a place for every number that a byte can hold, so that no
//! access tests a bound.

use serde::{Deserialize, Serialize};

use super::width::Width;

/// RAX, EAX, AX, AL.
pub const RAX: u8 = 0;
/// RCX, ECX, CX, CL.
pub const RCX: u8 = 1;
/// RDX, EDX, DX, DL.
pub const RDX: u8 = 2;
/// RBX, EBX, BX, BL.
pub const RBX: u8 = 3;
/// RSP, ESP, SP.
pub const RSP: u8 = 4;
/// RBP, EBP, BP.
pub const RBP: u8 = 5;
/// RSI, ESI, SI.
pub const RSI: u8 = 6;
/// RDI, EDI, DI.
pub const RDI: u8 = 7;

/// The number of the register that is always zero.
pub const ZERO: u8 = 16;
/// The number of the register that holds the block's first instruction pointer.
pub const BLOCK_IP: u8 = 17;
/// The number of the register that holds [`BIAS_VALUE`].
pub const BIAS: u8 = 18;
/// What [`BIAS`] holds.
pub const BIAS_VALUE: u64 = 1 << 31;
/// The number of the register that holds what an address of 16 bits keeps; the ones behind it
/// are those of 32 and 64 bits.
pub const ADDRESS_MASK: u8 = 19;

/// In the number of a byte register: AH, CH, DH or BH, bits 15..8 of registers 0 to 3.
pub const HIGH_BYTE: u8 = 16;

/// The general register file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub struct Registers {
    file: [u64; 256],
}

/// What of the registers is state.
#[derive(Serialize, Deserialize)]
struct Saved {
    general: [u64; 16],
    block_ip: u64,
}

impl From<Registers> for Saved {
    fn from(registers: Registers) -> Self {
        Self {
            general: *registers.general(),
            block_ip: registers.block_ip(),
        }
    }
}

impl From<Saved> for Registers {
    fn from(saved: Saved) -> Self {
        let mut registers = Self::default();
        registers.file[..16].copy_from_slice(&saved.general);
        registers.set_block_ip(saved.block_ip);
        registers
    }
}

impl std::fmt::Debug for Registers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.general()).finish()
    }
}

impl Default for Registers {
    fn default() -> Self {
        let mut file = [0; 256];
        file[usize::from(BIAS)] = BIAS_VALUE;
        let masks = usize::from(ADDRESS_MASK);
        file[masks..masks + 3].copy_from_slice(&[0xffff, 0xffff_ffff, u64::MAX]);
        Self { file }
    }
}

impl Registers {
    /// All 64 bits of the sixteen general registers.
    fn general(&self) -> &[u64; 16] {
        let [general, ..] = self.file.as_chunks().0 else {
            unreachable!("the file has 256 places");
        };
        general
    }

    /// All 64 bits of a register, or one of the helpers of address arithmetic.
    #[inline(always)]
    pub fn get(&self, number: u8) -> u64 {
        self.file[usize::from(number)]
    }

    /// Replaces all 64 bits of a register.
    #[inline(always)]
    pub fn set(&mut self, number: u8, value: u64) {
        self.file[usize::from(number)] = value;
    }

    /// Reads a register at an operand width; byte registers may be [`HIGH_BYTE`] ones.
    #[inline(always)]
    pub fn read<W: Width>(&self, number: u8) -> W {
        if W::BITS == 8 {
            let shift = (number & HIGH_BYTE) >> 1;
            return W::truncate(self.file[usize::from(number & 15)] >> shift);
        }
        W::truncate(self.file[usize::from(number)])
    }

    /// Writes a register at an operand width: 32 bits clear the upper half, 8 and 16 keep the
    /// rest (Intel SDM volume 1, section 3.4.1.1).
    #[inline(always)]
    pub fn write<W: Width>(&mut self, number: u8, value: W) {
        let value = value.zero_extend();
        if W::BITS == 8 {
            let register = &mut self.file[usize::from(number & 15)];
            let shift = (number & HIGH_BYTE) >> 1;
            *register = (*register & !(0xff << shift)) | (value << shift);
            return;
        }
        let register = &mut self.file[usize::from(number)];
        *register = match W::BITS {
            16 => (*register & !0xffff) | value,
            _ => value,
        };
    }

    /// Notes where the running block starts.
    #[inline(always)]
    pub fn set_block_ip(&mut self, ip: u64) {
        self.file[usize::from(BLOCK_IP)] = ip;
    }

    /// Where the running block starts.
    #[inline(always)]
    pub fn block_ip(&self) -> u64 {
        self.file[usize::from(BLOCK_IP)]
    }
}
