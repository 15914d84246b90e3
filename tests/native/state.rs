//! What an instruction can see and change.

use std::fmt;

use super::layout::WINDOW;
use super::ours::Ends;
use super::random::Random;

/// The flags that are set before an instruction: arithmetic, DF and ID.
pub(crate) const FLAGS_SET: u64 = 0x20_0cd5;
/// The flags that are compared: those, IF, IOPL, NT and AC.
pub(crate) const FLAGS_COMPARED: u64 = 0x26_7ed5;
/// Alignment checks, which are set sometimes.
pub(crate) const AC: u64 = 1 << 18;
/// The flags that are always set: IF, and the bit that is one.
pub(crate) const FLAGS_ALWAYS: u64 = 0x202;

/// Places in an XSAVE image in its standard form (Intel SDM volume 1, section 13.4).
pub(crate) mod image {
    pub(crate) const CONTROL: usize = 0;
    pub(crate) const STATUS: usize = 2;
    pub(crate) const TAGS: usize = 4;
    pub(crate) const OPCODE: usize = 6;
    pub(crate) const IP: usize = 8;
    pub(crate) const DATA: usize = 16;
    pub(crate) const MXCSR: usize = 24;
    pub(crate) const ST: usize = 32;
    pub(crate) const XMM: usize = 160;
    pub(crate) const AFTER_XMM: usize = 416;
    pub(crate) const XSTATE_BV: usize = 512;
    pub(crate) const YMM_HIGH: usize = 576;
    pub(crate) const BYTES: usize = 832;
}

/// The registers, as the trampoline loads and stores them.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct Registers {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub(crate) general: [u64; 16],
    pub(crate) flags: u64,
    /// The bases of FS and GS, of 64-bit code.
    pub(crate) bases: [u64; 2],
    /// ES, CS, SS, DS, FS, GS.
    pub(crate) selectors: [u16; 6],
    unused: [u8; 28],
    /// x87, SSE and AVX state as XSAVE64 writes it.
    pub(crate) image: [u8; image::BYTES],
}

/// Places in [`Registers`].
pub(crate) mod place {
    pub(crate) const GENERAL: i32 = 0;
    pub(crate) const FLAGS: i32 = 128;
    pub(crate) const BASES: i32 = 136;
    pub(crate) const SELECTORS: i32 = 152;
    pub(crate) const IMAGE: i32 = 192;
}
const _: () = assert!(std::mem::offset_of!(Registers, image) == place::IMAGE as usize);
const _: () = assert!(std::mem::offset_of!(Registers, selectors) == place::SELECTORS as usize);

/// Registers and memory around one instruction.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) registers: Registers,
    /// The window of the scratch memory.
    pub(crate) memory: [u8; WINDOW as usize],
}

/// How an instruction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It went on behind itself.
    Behind,
    /// It branched to where it should, if it did.
    Target,
    /// It raised an exception, `at` bytes behind its start: more than 0 behind a WAIT. `address` is
    /// CR2 after a page fault.
    Fault {
        vector: u8,
        error: u32,
        at: u64,
        address: u64,
    },
    /// It went elsewhere, or did not come to an end.
    Elsewhere { ip: u64 },
}

impl End {
    /// An exception at `ip`, which belongs to the instruction or does not.
    pub(crate) fn fault(ends: Ends, ip: u64, (vector, error): (u8, u32), cr2: u64) -> Self {
        const PAGE_FAULT: u8 = 14;
        let at = ip.wrapping_sub(ends.start);
        if at >= ends.behind - ends.start {
            return Self::Elsewhere { ip };
        }
        Self::Fault {
            vector,
            error,
            at,
            address: if vector == PAGE_FAULT { cr2 } else { 0 },
        }
    }
}

impl Registers {
    /// A part of the image.
    pub(crate) fn part<const N: usize>(&self, at: usize) -> [u8; N] {
        *self.image[at..]
            .first_chunk()
            .expect("it lies in the image")
    }

    pub(crate) fn set_part<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        self.image[at..at + N].copy_from_slice(&value);
    }

    pub(crate) fn word(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.part(at))
    }

    pub(crate) fn mxcsr(&self) -> u32 {
        u32::from_le_bytes(self.part(image::MXCSR))
    }

    /// ST(i), or MM i where TOP is 0: sign and exponent, and significand.
    pub(crate) fn st(&self, i: usize) -> (u16, u64) {
        let at = image::ST + 16 * i;
        (self.word(at + 8), u64::from_le_bytes(self.part(at)))
    }

    pub(crate) fn set_st(&mut self, i: usize, (sign_exponent, significand): (u16, u64)) {
        let at = image::ST + 16 * i;
        self.set_part(at, significand.to_le_bytes());
        self.set_part(at + 8, sign_exponent.to_le_bytes());
    }

    /// The low or the high half of YMM register `n`.
    pub(crate) fn lane(&self, n: usize, half: usize) -> [u8; 16] {
        self.part([image::XMM, image::YMM_HIGH][half] + 16 * n)
    }

    pub(crate) fn set_lane(&mut self, n: usize, half: usize, value: [u8; 16]) {
        self.set_part([image::XMM, image::YMM_HIGH][half] + 16 * n, value);
    }
}

impl State {
    pub(crate) fn random(random: &mut Random) -> Self {
        let mut state = Self {
            registers: Registers {
                general: [0; 16],
                flags: 0,
                bases: [0; 2],
                selectors: [0; 6],
                unused: [0; 28],
                image: [0; image::BYTES],
            },
            memory: [0; WINDOW as usize],
        };
        let registers = &mut state.registers;
        registers.image[image::XSTATE_BV] = 7;
        for n in 0..16 {
            registers.set_lane(n, 0, random.vector());
            registers.set_lane(n, 1, random.vector());
        }
        for part in state.memory.chunks_exact_mut(16) {
            part.copy_from_slice(&random.vector());
        }
        state.renew(random);
        state
    }

    /// Draws what nearly every instruction sees: general registers, flags and MXCSR.
    pub(crate) fn renew(&mut self, random: &mut Random) {
        let registers = &mut self.registers;
        for value in &mut registers.general {
            *value = random.value();
        }
        registers.flags = random.next() & FLAGS_SET | FLAGS_ALWAYS;
        if random.one_in(16) {
            registers.flags |= AC;
        }
        // All exceptions masked, mostly; any rounding, DAZ and FTZ.
        let modes = random.next() as u32 & 0xe07f;
        let masks = match random.below(32) {
            0 => random.next() as u32 & 0x1f80,
            _ => 0x1f80,
        };
        registers.set_part(image::MXCSR, (modes | masks).to_le_bytes());
    }

    /// Makes the x87 a unit in the middle of its work: any TOP, some registers empty.
    pub(crate) fn renew_x87(&mut self, random: &mut Random) {
        let registers = &mut self.registers;
        let control = random.control_word();
        // What was raised before is masked, mostly: nothing waits.
        let raised = random.below(64) as u16;
        let raised = match random.below(64) {
            0 => raised,
            _ => raised & control & 0x3f,
        };
        let waits = u16::from(raised & !control & 0x3f != 0);
        let status = raised | (random.next() as u16 & 0x7f40) | (waits * 0x8080);
        let tags = match random.below(4) {
            0 => random.next() as u8 | random.next() as u8,
            _ => 0xff,
        };
        registers.set_part(image::CONTROL, control.to_le_bytes());
        registers.set_part(image::STATUS, status.to_le_bytes());
        registers.set_part(image::TAGS, [tags, 0]);
        let opcode = random.below(0x800) as u16;
        registers.set_part(image::OPCODE, opcode.to_le_bytes());
        for place in [image::IP, image::DATA] {
            let canonical = random.next() >> 17;
            registers.set_part(place, canonical.to_le_bytes());
        }
        for i in 0..8 {
            registers.set_st(i, random.float80());
        }
    }

    /// Masks overflow and underflow.
    pub(crate) fn mask_range_exceptions(&mut self) {
        let registers = &mut self.registers;
        let control = registers.word(image::CONTROL) | 0x18;
        let status = registers.word(image::STATUS);
        let waits = u16::from(status & !control & 0x3f != 0);
        let status = status & 0x7f7f | (waits * 0x8080);
        registers.set_part(image::CONTROL, control.to_le_bytes());
        registers.set_part(image::STATUS, status.to_le_bytes());
    }

    /// Makes the x87 a unit that MMX instructions use.
    pub(crate) fn renew_mmx(&mut self, random: &mut Random) {
        let registers = &mut self.registers;
        registers.set_part(image::CONTROL, 0x037f_u16.to_le_bytes());
        registers.set_part(image::STATUS, [0; 2]);
        registers.set_part(image::TAGS, [0xff, 0]);
        for i in 0..8 {
            let value = match random.one_in(3) {
                true => u64::from(random.float32()) | u64::from(random.float32()) << 32,
                false => random.value(),
            };
            registers.set_st(i, (0xffff, value));
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = &self.registers;
        write!(f, "general {:x?} flags {:x}", r.general, r.flags)?;
        write!(f, "\n    selectors {:x?} bases {:x?}", r.selectors, r.bases)?;
        let [control, status, tags] =
            [image::CONTROL, image::STATUS, image::TAGS].map(|at| r.word(at));
        write!(
            f,
            "\n    mxcsr {:x} cw {control:x} sw {status:x}",
            r.mxcsr()
        )?;
        write!(f, " tags {tags:x} st")?;
        for i in 0..8 {
            let (sign_exponent, significand) = r.st(i);
            write!(f, " {sign_exponent:04x}.{significand:016x}")?;
        }
        write!(f, "\n    ymm")?;
        for n in 0..16 {
            let [low, high] = [0, 1].map(|half| u128::from_le_bytes(r.lane(n, half)));
            write!(f, " {high:x}:{low:x}")?;
        }
        let middle = self.memory.len() / 2;
        write!(f, "\n    memory {:02x?}", &self.memory[middle..middle + 32])
    }
}
