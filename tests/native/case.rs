//! One instruction, drawn at random, with all that is the same for a batch of states: where it
//! stands, where it branches to, and the segments that it runs with.

use cowbox::cpu::segment::Attributes;
use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind, Register};

use super::encodings::{self, Form};
use super::layout::{CODE, MIDDLE, TARGET, WINDOW, WINDOW_START};
use super::operands::{
    Units, address_bytes, branch_bits, implies_stack, mask, segment_number, selects_bit,
    string_registers, takes_image, units,
};
use super::ours::Ends;
use super::random::Random;
use super::rules::{self, Precision, Vendor};
use super::segments::{self, CS, SS};
use super::setting::Setting;
use super::state::{Registers, State};

/// How many bytes the way back behind an instruction takes at most.
const WAY_BACK: u64 = 8;

/// An instruction, where it stands, and the segments that it runs with.
pub(crate) struct Case {
    pub(crate) bits: u32,
    pub(crate) bytes: Vec<u8>,
    pub(crate) instruction: Instruction,
    /// The linear address of the instruction.
    pub(crate) at: u64,
    pub(crate) ends: Ends,
    pub(crate) selectors: [u16; 6],
    pub(crate) bases: [u64; 2],
    pub(crate) units: Units,
}

impl Case {
    /// Draws an instruction of `form`. None if what was drawn is none, or cannot be run safely.
    pub(crate) fn draw(form: &Form, vendor: Vendor, random: &mut Random) -> Option<Self> {
        let bits = form.kind.bits;
        let bytes = form.draw(random);
        let instruction = encodings::decode(bits, &bytes, 0);
        if encodings::kind(bits, &bytes, &instruction) != form.kind
            || rules::reads_otherwise(bits, &bytes, form.code, vendor)
            || rules::enters_kernel(&instruction)
        {
            return None;
        }
        let low = branch_bits(&instruction) == Some(16);
        let code = segments::draw_code(bits, low, random);
        let mut at = CODE + MIDDLE + random.below(64);
        if random.one_in(4) {
            at = CODE + MIDDLE - random.below(16);
        }
        let mut case = Self {
            bits,
            bytes: bytes[..instruction.len()].to_vec(),
            instruction,
            at,
            ends: Ends {
                start: at - segments::base(code),
                behind: at - segments::base(code) + instruction.len() as u64,
                target: None,
            },
            selectors: segments::draw(bits, code, random),
            bases: [0; 2].map(|_| random.next() & 0xfff8),
            units: units(&instruction),
        };
        case.aim_branch(random)?;
        case.aim_displacement(random)?;
        case.instruction = encodings::decode(bits, &case.bytes, case.ends.start);
        let kept = encodings::kind(bits, &case.bytes, &case.instruction) == form.kind;
        (kept && case.is_reachable()).then_some(case)
    }

    /// The linear address of the branch target.
    pub(crate) fn target(&self) -> Option<u64> {
        let target = self.ends.target?;
        Some(self.at.wrapping_sub(self.ends.start).wrapping_add(target))
    }

    /// Chooses where a branch goes, and writes that into a direct one.
    fn aim_branch(&mut self, random: &mut Random) -> Option<()> {
        if self.instruction.flow_control() == FlowControl::Next {
            return Some(());
        }
        let ends = self.ends;
        let is_short = match self.instruction.op0_kind() {
            OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {
                self.instruction.is_jcc_short()
                    || self.instruction.is_jmp_short()
                    || self.instruction.is_jcx_short()
                    || self.instruction.is_loop()
                    || self.instruction.is_loopcc()
            }
            _ => false,
        };
        let reach = if is_short { 96 } else { 0x3000 };
        let target = match random.below(2) {
            0 => ends.behind + WAY_BACK + random.below(reach),
            _ => ends.start - WAY_BACK - random.below(reach),
        };
        self.ends.target = Some(target);
        let len = self.bytes.len();
        let displacement = target.wrapping_sub(ends.behind);
        match self.instruction.op0_kind() {
            OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {
                let size = match () {
                    () if is_short => 1,
                    () if branch_bits(&self.instruction) == Some(16) => 2,
                    () => 4,
                };
                self.bytes[len - size..].copy_from_slice(&displacement.to_le_bytes()[..size]);
            }
            OpKind::FarBranch16 | OpKind::FarBranch32 => {
                let size = match self.instruction.op0_kind() {
                    OpKind::FarBranch16 => 2,
                    _ => 4,
                };
                let selector = self.draw_code_selector(random).to_le_bytes();
                self.bytes[len - 2..].copy_from_slice(&selector);
                self.bytes[len - 2 - size..len - 2].copy_from_slice(&target.to_le_bytes()[..size]);
            }
            _ => {}
        }
        Some(())
    }

    /// A selector for a far branch: the code segment that runs, or a bad one.
    pub(crate) fn draw_code_selector(&self, random: &mut Random) -> u16 {
        match random.below(24) {
            0 => random.pick(&[0, 3, 8, 0x10, 0x2b, 0x37, 0xffff]),
            _ => self.selectors[CS],
        }
    }

    /// Writes the address of the scratch memory into a displacement without a base register that
    /// a state could set.
    fn aim_displacement(&mut self, random: &mut Random) -> Option<()> {
        let i = self.instruction;
        let base = i.memory_base();
        if !self.units.memory || base != Register::None && !base.is_ip() {
            return Some(());
        }
        let place = encodings::displacement(self.bits, &self.bytes, i.code());
        let mut offset = self.offset(i.memory_segment(), self.draw_linear(random));
        if base.is_ip() {
            offset = offset.wrapping_sub(self.ends.behind);
        }
        let size = place.len();
        if size < 8 && offset >> (8 * size) != 0 {
            return None;
        }
        self.bytes[place].copy_from_slice(&offset.to_le_bytes()[..size]);
        Some(())
    }

    /// Whether every address that the states will need can be said.
    fn is_reachable(&self) -> bool {
        let i = &self.instruction;
        let (base, index) = (i.memory_base(), i.memory_index());
        let memory = self.units.memory;
        let is_address = |r: Register| {
            let r = r.full_register();
            memory && (r == base.full_register() || r == index.full_register())
        };
        if implies_stack(i)
            && (is_address(Register::RSP)
                || i.op0_register().full_register() == Register::RSP && self.ends.target.is_some())
        {
            return false;
        }
        if takes_image(i.code()) && (is_address(Register::RAX) || is_address(Register::RDX)) {
            return false;
        }
        if selects_bit(i) && is_address(i.op1_register())
            || i.mnemonic() == Mnemonic::Bound && is_address(i.op0_register())
        {
            return false;
        }
        if i.mnemonic() == Mnemonic::Enter
            && (i.immediate16() > 1024 || i.immediate8_2nd() & 31 > 16)
        {
            return false;
        }
        let narrow = |register: Register| {
            let offset = self.offset(register, TARGET);
            offset < 0x1_0000 - WINDOW
        };
        let addresses = match () {
            () if memory && address_bytes(self.bits, i) == 2 => narrow(i.memory_segment()),
            () => true,
        };
        let strings = string_registers(i)
            .iter()
            .all(|s| s.bytes != 2 || narrow(s.segment));
        addresses
            && strings
            && (!implies_stack(i) || self.stack_bytes() != 2 || narrow(Register::SS))
    }

    /// A linear address in the middle of the window, or near it.
    pub(crate) fn draw_linear(&self, random: &mut Random) -> u64 {
        let i = &self.instruction;
        if takes_image(i.code()) {
            return match random.below(32) {
                0 => WINDOW_START + random.below(16),
                _ => WINDOW_START,
            };
        }
        let is_wide = i.memory_size().size() >= 16;
        match random.below(if is_wide { 64 } else { 8 }) {
            0 => TARGET + random.below(16),
            1 => TARGET - random.below(16),
            _ => TARGET,
        }
    }

    /// What to add to a segment's base to get a linear address.
    pub(crate) fn offset(&self, segment: Register, linear: u64) -> u64 {
        if self.bits == 64 {
            return match segment {
                Register::FS => linear.wrapping_sub(self.bases[0]),
                Register::GS => linear.wrapping_sub(self.bases[1]),
                _ => linear,
            };
        }
        let base = segments::base(self.selectors[segment_number(segment)]);
        linear.wrapping_sub(base) & 0xffff_ffff
    }

    /// The width of the stack pointer.
    pub(crate) fn stack_bytes(&self) -> u64 {
        let big = |attributes: Attributes| attributes.big();
        match self.bits {
            64 => 8,
            _ if big(segments::segment(self.selectors[SS]).attributes) => 4,
            _ => 2,
        }
    }

    /// The linear address of the top of the stack.
    pub(crate) fn stack_linear(&self, registers: &Registers) -> u64 {
        let top = registers.general[4] & mask(self.stack_bytes() as usize);
        match self.bits {
            64 => top,
            _ => segments::base(self.selectors[SS]).wrapping_add(top) & 0xffff_ffff,
        }
    }

    /// Where the memory operand lies.
    pub(crate) fn operand_linear(&self, registers: &Registers) -> u64 {
        let value = |register: Register| match register {
            Register::FS if self.bits == 64 => self.bases[0],
            Register::GS if self.bits == 64 => self.bases[1],
            _ if register.is_segment_register() && self.bits == 64 => 0,
            _ if register.is_segment_register() => {
                segments::base(self.selectors[segment_number(register)])
            }
            _ => registers.general[register.full_register().number()] & mask(register.size()),
        };
        let operand = (0..self.instruction.op_count())
            .find(|&n| self.instruction.op_kind(n) == OpKind::Memory)
            .unwrap_or(0);
        let address = self
            .instruction
            .virtual_address(operand, 0, |r, _, _| Some(value(r)));
        match self.bits {
            64 => address.unwrap_or(0),
            _ => address.unwrap_or(0) & 0xffff_ffff,
        }
    }

    /// Whether the instruction makes the x87 unit one for MMX.
    pub(crate) fn uses_mmx(&self) -> bool {
        self.units.mmx
    }

    /// A state for the whole batch, of which [`Case::renew`] makes those that are run.
    pub(crate) fn first_state(&self, random: &mut Random) -> State {
        let mut state = State::random(random);
        state.registers.selectors = self.selectors;
        state.registers.bases = self.bases;
        state.renew_x87(random);
        state
    }

    /// Makes the state a new one.
    pub(crate) fn renew(&self, state: &mut State, random: &mut Random) {
        state.renew(random);
        if self.units.x87 || self.units.mmx && random.one_in(4) {
            state.renew_x87(random);
            self.stay_in_domain(state, random);
            if rules::precision(self.instruction.code()) == Precision::Transcendental {
                // A unit decides whether an overflow or underflow wraps the exponent.
                state.mask_range_exceptions();
            }
        } else if self.units.mmx {
            state.renew_mmx(random);
        }
        for n in (0..16).filter(|n| self.units.vectors >> n & 1 != 0) {
            state.registers.set_lane(n, 0, random.vector());
            state.registers.set_lane(n, 1, random.vector());
        }
        Setting {
            case: self,
            state,
            random,
        }
        .set();
    }
}

impl Case {
    /// F2XM1 is defined from -1 to 1, FYL2XP1 to 1 - sqrt(1/2) on both sides of zero (SDM volume
    /// 2): outside, any result is right.
    fn stay_in_domain(&self, state: &mut State, random: &mut Random) {
        let limit = match self.instruction.mnemonic() {
            Mnemonic::F2xm1 => 0x3fff,
            Mnemonic::Fyl2xp1 => 0x3ffd,
            _ => return,
        };
        let (sign_exponent, significand) = state.registers.st(0);
        if (limit..0x7fff).contains(&(sign_exponent & 0x7fff)) {
            let exponent = limit - 1 - random.below(70) as u16;
            let sign_exponent = sign_exponent & 0x8000 | exponent;
            state.registers.set_st(0, (sign_exponent, significand));
        }
    }
}
