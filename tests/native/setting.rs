//! The states that an instruction runs from: random, but with registers and memory set so that it
//! does not run away, and finds what it can work with.

use iced_x86::{Code, Mnemonic, OpKind, Register};

use super::case::Case;
use super::layout::{TARGET, UNMAPPED, WINDOW, WINDOW_START};
use super::operands::{
    address_bytes, implies_stack, mask, reads_selector, return_bytes, segment_number, selects_bit,
    string_registers, takes_image,
};
use super::random::Random;
use super::segments::{self, SS};
use super::state::{FLAGS_ALWAYS, FLAGS_SET, State};

/// A state that is being set for an instruction.
pub(crate) struct Setting<'a> {
    pub(crate) case: &'a Case,
    pub(crate) state: &'a mut State,
    pub(crate) random: &'a mut Random,
}

impl Setting<'_> {
    pub(crate) fn set(&mut self) {
        let i = self.case.instruction;
        if self.case.units.memory || implies_stack(&i) {
            let start = (TARGET - WINDOW_START) as usize - 16;
            for part in self.state.memory[start..start + 80].chunks_exact_mut(16) {
                part.copy_from_slice(&self.random.vector());
            }
        }
        self.prepare();
        self.reach_strings();
        if implies_stack(&i) {
            self.reach_stack();
        }
        if self.case.units.memory {
            let linear = self.reach_memory();
            self.prepare_operand(linear);
        }
        self.prepare_branch();
        if self.case.bits != 64 {
            let general = &mut self.state.registers.general;
            general[8..].fill(0);
            general.iter_mut().for_each(|value| *value &= 0xffff_ffff);
        }
    }

    fn general(&mut self, register: Register) -> &mut u64 {
        &mut self.state.registers.general[register.full_register().number()]
    }

    /// Sets the low `bytes` bytes of an address register.
    fn set_address(&mut self, register: Register, bytes: u64, value: u64) {
        let kept = match bytes {
            8 => 0,
            4 => !0xffff_ffff,
            _ => !0xffff,
        };
        let place = self.general(register);
        *place = *place & kept | value & !kept;
    }

    /// Writes into the window at a linear address.
    fn poke(&mut self, linear: u64, bytes: &[u8]) {
        let at = linear.wrapping_sub(WINDOW_START) as usize;
        if let Some(place) = self
            .state
            .memory
            .get_mut(at..at.saturating_add(bytes.len()))
        {
            place.copy_from_slice(bytes);
        }
    }

    /// Registers with a part of their own in the instruction.
    fn prepare(&mut self) {
        use Mnemonic as M;
        let i = self.case.instruction;
        match i.mnemonic() {
            M::Div | M::Idiv if !self.random.one_in(32) => self.prepare_division(),
            M::Cmpxchg if self.random.one_in(2) && i.op0_kind() == OpKind::Register => {
                let value = *self.general(i.op0_register());
                *self.general(Register::RAX) = value;
            }
            M::Mov | M::Lar | M::Lsl | M::Verr | M::Verw | M::Ltr | M::Lldt
                if reads_selector(&i) =>
            {
                let selector = self.draw_selector();
                let n = i.op_count() - 1;
                if i.op_kind(n) == OpKind::Register {
                    let place = self.general(i.op_register(n));
                    *place = *place & !0xffff | u64::from(selector);
                }
            }
            M::Wrfsbase | M::Wrgsbase => {
                let canonical = !self.random.one_in(32);
                let place = self.general(i.op0_register());
                *place = match canonical {
                    true => ((*place as i64) << 16 >> 16) as u64,
                    false => *place | 1 << 60 & !(1 << 47),
                };
            }
            // XCR 1 is a feature of its own.
            M::Xgetbv => {
                let beyond = self.random.one_in(32);
                *self.general(Register::RCX) = if beyond { 2 } else { 0 };
            }
            M::Cpuid => *self.general(Register::RAX) = self.random.below(16),
            _ => {}
        }
        if takes_image(i.code()) {
            self.prepare_image();
        }
    }

    fn draw_selector(&mut self) -> u16 {
        let i = &self.case.instruction;
        let into_stack = i.op0_register() == Register::SS || i.mnemonic() == Mnemonic::Lss;
        match into_stack {
            true => segments::draw_stack_selector(self.random),
            false => segments::draw_selector(self.random),
        }
    }

    /// Makes the high half of a dividend what keeps the quotient in range.
    fn prepare_division(&mut self) {
        let i = self.case.instruction;
        let bytes = match i.op0_kind() {
            OpKind::Register => i.op0_register().size(),
            _ => i.memory_size().size(),
        };
        let signed = i.mnemonic() == Mnemonic::Idiv;
        let dividend = *self.general(Register::RAX);
        if bytes == 1 {
            let low = dividend & 0xff;
            let wide = if signed {
                low as i8 as u64 & 0xffff
            } else {
                low
            };
            *self.general(Register::RAX) = dividend & !0xffff | wide;
            return;
        }
        let sign = dividend >> (8 * bytes - 1) & 1;
        *self.general(Register::RDX) = if signed && sign != 0 { u64::MAX } else { 0 };
    }

    /// Makes the window an image that can be restored, mostly, and draws a mask.
    fn prepare_image(&mut self) {
        *self.general(Register::RAX) = self.random.below(8);
        *self.general(Register::RDX) = 0;
        let memory = &mut self.state.memory;
        // FIP and FDP are canonical addresses: what others become depends on how wide those are.
        for at in [14, 22] {
            memory[at..at + 2].fill(0);
            memory[at - 1] &= 0x7f;
        }
        memory[..2].copy_from_slice(&self.random.control_word().to_le_bytes());
        memory[2..4].copy_from_slice(&(self.random.next() as u16).to_le_bytes());
        if !self.random.one_in(32) {
            memory[26..28].fill(0);
        }
        memory[512..520].copy_from_slice(&self.random.below(8).to_le_bytes());
        if !self.random.one_in(32) {
            memory[520..576].fill(0);
        }
    }

    /// Points the address registers of a string instruction at the window, and limits repetition.
    fn reach_strings(&mut self) {
        let i = self.case.instruction;
        let strings = string_registers(&i);
        let Some(first) = strings.first() else {
            return;
        };
        let bytes = first.bytes;
        for string in strings {
            let linear = self.case.draw_linear(self.random);
            let offset = self.case.offset(string.segment, linear);
            self.set_address(string.register, string.bytes, offset);
        }
        if i.is_string_instruction() && (i.has_rep_prefix() || i.has_repne_prefix()) {
            let count = self.random.below(24);
            self.set_address(Register::RCX, bytes, count);
            self.make_alike();
        }
    }

    /// Makes elements alike, so that comparisons go on for a while.
    fn make_alike(&mut self) {
        use Mnemonic as M;
        let compares = matches!(
            self.case.instruction.mnemonic(),
            M::Cmpsb | M::Cmpsw | M::Cmpsd | M::Cmpsq | M::Scasb | M::Scasw | M::Scasd | M::Scasq
        );
        if !compares {
            return;
        }
        self.state.memory.fill(0);
        for _ in 0..self.random.below(6) {
            let at = self.random.below(WINDOW) as usize;
            self.state.memory[at] = 1;
        }
        if self.random.one_in(2) {
            *self.general(Register::RAX) = 0;
        }
    }

    /// Points the stack pointer and the frame at the window.
    fn reach_stack(&mut self) {
        let bytes = self.case.stack_bytes();
        for register in [Register::RSP, Register::RBP] {
            let linear = match self.random.below(8) {
                0 => TARGET - self.random.below(16),
                1 => TARGET + self.random.below(16),
                _ => TARGET,
            };
            let offset = self.case.offset(Register::SS, linear);
            self.set_address(register, bytes, offset);
        }
        let i = self.case.instruction;
        if matches!(
            i.mnemonic(),
            Mnemonic::Popf | Mnemonic::Popfd | Mnemonic::Popfq
        ) {
            // TF would trap behind the next instruction.
            let flags = self.random.next() & !0x100;
            self.poke_stack(0, &flags.to_le_bytes());
        }
        if i.mnemonic() == Mnemonic::Pop && i.op0_register().is_segment_register() {
            let selector = self.draw_selector();
            self.poke_stack(0, &selector.to_le_bytes());
        }
    }

    /// Writes at the top of the stack.
    fn poke_stack(&mut self, above: u64, bytes: &[u8]) {
        let linear = self.case.stack_linear(&self.state.registers);
        self.poke(linear.wrapping_add(above), bytes);
    }

    /// Sets base and index so that the operand lies in the window. The result is where.
    fn reach_memory(&mut self) -> u64 {
        let i = self.case.instruction;
        let bytes = address_bytes(self.case.bits, &i);
        let (base, index) = (i.memory_base(), i.memory_index());
        let segment = i.memory_segment();
        if selects_bit(&i) {
            let far = self.random.below(512).wrapping_sub(256);
            *self.general(i.op1_register()) = far;
        }
        let scale = u64::from(i.memory_index_scale());
        let from_index = match index {
            Register::None => 0,
            Register::AL => *self.general(Register::RAX) & 0xff,
            _ if index.is_vector_register() => {
                self.near_indices(index.number(), scale);
                0
            }
            // An image has to stay where it is, and so do 64 bytes around it.
            _ if base == Register::None && takes_image(i.code()) => {
                self.set_address(index, bytes, 0);
                0
            }
            _ => {
                let near = self.random.below(64).wrapping_sub(32);
                self.set_address(index, bytes, near);
                near.wrapping_mul(scale)
            }
        };
        if base == Register::None || base.is_ip() {
            let offset = i.memory_displacement64().wrapping_add(from_index);
            let offset = offset & mask(bytes as usize);
            let selector = self.case.selectors[segment_number(segment)];
            return match (self.case.bits, segment) {
                (64, Register::FS) => offset.wrapping_add(self.case.bases[0]),
                (64, Register::GS) => offset.wrapping_add(self.case.bases[1]),
                (64, _) => offset,
                _ => offset.wrapping_add(segments::base(selector)) & 0xffff_ffff,
            };
        }
        let linear = self.case.draw_linear(self.random);
        let start = self.case.offset(segment, linear);
        let start = start.wrapping_sub(i.memory_displacement64());
        if base == index {
            return linear.wrapping_sub(self.reach_twice(base, bytes, (start, scale + 1)));
        }
        self.set_address(base, bytes, start.wrapping_sub(from_index));
        linear
    }

    /// Sets a register that is base and index, so that `times` times it is `start`, or one below:
    /// the result says how far.
    fn reach_twice(&mut self, register: Register, bytes: u64, (start, times): (u64, u64)) -> u64 {
        let below = match times {
            2 => start & 1,
            _ => 0,
        };
        // Twice is half of it; by 3, 5 and 9 divides what is their inverse modulo 2^64.
        let value = match times {
            2 => start >> 1,
            _ => (0..6)
                .fold(1_u64, |x, _| {
                    x.wrapping_mul(2_u64.wrapping_sub(times.wrapping_mul(x)))
                })
                .wrapping_mul(start),
        };
        self.set_address(register, bytes, value);
        below
    }

    /// Makes the indices of a gather: near ones, and sometimes one that leads to no memory.
    fn near_indices(&mut self, register: usize, scale: u64) {
        use Mnemonic as M;
        let doublewords = matches!(
            self.case.instruction.mnemonic(),
            M::Vgatherdps | M::Vgatherdpd | M::Vpgatherdd | M::Vpgatherdq
        );
        let mut indices = [0; 8].map(|_: u64| {
            let near = self.random.below(128 / scale);
            near.wrapping_sub(64 / scale)
        });
        if self.random.one_in(8) {
            let place = self.random.below(8) as usize;
            // The second is not canonical, and 0 where addresses have 32 bits.
            indices[place] = self.random.pick(&[UNMAPPED, 1 << 62]) / scale;
        }
        let bytes: Vec<u8> = match doublewords {
            true => indices
                .iter()
                .flat_map(|n| (*n as u32).to_le_bytes())
                .collect(),
            false => indices.iter().flat_map(|n| n.to_le_bytes()).collect(),
        };
        for (half, lane) in bytes.as_chunks().0.iter().take(2).enumerate() {
            self.state.registers.set_lane(register, half, *lane);
        }
    }

    /// Makes the memory operand what the instruction can use.
    fn prepare_operand(&mut self, linear: u64) {
        use Mnemonic as M;
        let i = self.case.instruction;
        let [low, high] = [Register::RAX, Register::RDX].map(|r| *self.general(r));
        match i.mnemonic() {
            M::Cmpxchg if self.random.one_in(2) => self.poke(linear, &low.to_le_bytes()),
            M::Cmpxchg8b if self.random.one_in(2) => {
                self.poke(linear, &(low as u32).to_le_bytes());
                self.poke(linear.wrapping_add(4), &(high as u32).to_le_bytes());
            }
            M::Cmpxchg16b if self.random.one_in(2) => {
                self.poke(linear, &low.to_le_bytes());
                self.poke(linear.wrapping_add(8), &high.to_le_bytes());
            }
            M::Bound if !self.random.one_in(16) => self.prepare_bounds(linear),
            M::Fbld => self.prepare_decimal(linear),
            M::Fldenv | M::Frstor => self.prepare_environment(linear),
            M::Ldmxcsr if !self.random.one_in(32) => {
                let value = self.random.next() as u32 & 0xffff;
                self.poke(linear, &value.to_le_bytes());
            }
            M::Lds | M::Les | M::Lfs | M::Lgs | M::Lss => {
                let selector = self.draw_selector();
                let far = i.memory_size().size() as u64 - 2;
                self.poke(linear.wrapping_add(far), &selector.to_le_bytes());
            }
            M::Mov | M::Lar | M::Lsl | M::Verr | M::Verw if reads_selector(&i) => {
                let selector = self.draw_selector();
                self.poke(linear, &selector.to_le_bytes());
            }
            _ => {}
        }
    }

    fn prepare_bounds(&mut self, linear: u64) {
        let i = self.case.instruction;
        let size = i.op0_register().size();
        *self.general(i.op0_register()) = self.random.below(0x100).wrapping_sub(0x80);
        let low = (-0x80_i64).to_le_bytes();
        self.poke(linear, &low[..size]);
        self.poke(
            linear.wrapping_add(size as u64),
            &0x7f_u64.to_le_bytes()[..size],
        );
    }

    fn prepare_decimal(&mut self, linear: u64) {
        let mut digits = [0; 10];
        for byte in &mut digits[..9] {
            *byte = (self.random.below(10) << 4 | self.random.below(10)) as u8;
        }
        digits[9] = self.random.next() as u8 & 0x80;
        self.poke(linear, &digits);
    }

    /// An x87 environment, in the format of the operand size.
    fn prepare_environment(&mut self, linear: u64) {
        let i = self.case.instruction;
        let step = match i.code() {
            Code::Fldenv_m14byte | Code::Frstor_m94byte => 2,
            _ => 4,
        };
        let words = [
            self.random.control_word(),
            self.random.next() as u16,
            self.random.next() as u16,
        ];
        for (n, word) in (0..).zip(words) {
            self.poke(linear.wrapping_add(step * n), &word.to_le_bytes());
        }
    }

    /// Puts the branch target where an indirect branch finds it.
    fn prepare_branch(&mut self) {
        let (case, i) = (self.case, self.case.instruction);
        let Some(target) = case.ends.target else {
            return;
        };
        let selector = case.draw_code_selector(self.random);
        let bytes = match i.memory_size().size() {
            0 => i.op0_register().size(),
            size => size,
        };
        match i.mnemonic() {
            Mnemonic::Ret => {
                let size = return_bytes(i.code());
                self.poke_stack(0, &target.to_le_bytes()[..size]);
            }
            Mnemonic::Retf => {
                let size = return_bytes(i.code());
                self.poke_stack(0, &target.to_le_bytes()[..size]);
                self.poke_stack(size as u64, &selector.to_le_bytes());
            }
            Mnemonic::Iret | Mnemonic::Iretd | Mnemonic::Iretq => {
                self.prepare_interrupt_return(selector);
            }
            _ if i.op0_kind() == OpKind::Register => {
                let target = target.to_le_bytes();
                let place = self.general(i.op0_register());
                let mut value = place.to_le_bytes();
                value[..bytes].copy_from_slice(&target[..bytes]);
                *place = u64::from_le_bytes(value);
            }
            _ if i.op0_kind() == OpKind::Memory => {
                let linear = case.operand_linear(&self.state.registers);
                let far = i.is_jmp_far_indirect() || i.is_call_far_indirect();
                let offset = if far { bytes - 2 } else { bytes };
                self.poke(linear, &target.to_le_bytes()[..offset]);
                if far {
                    self.poke(linear.wrapping_add(offset as u64), &selector.to_le_bytes());
                }
            }
            _ => {}
        }
    }

    /// What IRET pops.
    fn prepare_interrupt_return(&mut self, selector: u16) {
        let i = self.case.instruction;
        let size = match i.mnemonic() {
            Mnemonic::Iret => 2,
            Mnemonic::Iretd => 4,
            _ => 8,
        };
        let target = self.case.ends.target.unwrap_or(0);
        // AC would count for the rest of the frame already, and Linux takes the fault for a split
        // lock, which it lets the program try again for ever.
        let flags = self.random.next() & FLAGS_SET | FLAGS_ALWAYS;
        let stack = self.random.next() & 0xffff_ffff;
        let selectors = [selector, self.case.selectors[SS]].map(u64::from);
        let frame = [target, selectors[0], flags, stack, selectors[1]];
        for (n, value) in (0..).zip(frame) {
            self.poke_stack(n * size as u64, &value.to_le_bytes()[..size]);
        }
    }
}
