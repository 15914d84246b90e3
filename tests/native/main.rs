//! User-mode instructions, one at a time, on the host's own CPU and on ours: every register,
//! flag, YMM and MMX register, MXCSR and memory byte has to agree, after a fault too.
//!
//! Every encoding of 64-bit code that our CPUID claims is found (`encodings.rs`), drawn with
//! random registers, addressing and immediates, and set up here so that its memory operands lie in
//! the scratch memory. The native side runs in a forked child (`native.rs`), the other side calls
//! the instruction's handler on a `Core` whose memory lies at the same addresses (`ours.rs`).
//! Flags that the manual leaves undefined are not compared, nor which NaN a dot product of several
//! gives; repeated string instructions are left to `tests/isa/system`. `cargo test --test native --
//! --nocapture` prints what was judged, by feature, and what was not, with the reason.
//!
//! `COWBOX_NATIVE_STATES` is how many states each form runs from, `COWBOX_NATIVE_SEED` where the
//! random numbers start.

#[path = "../isa/empty_board.rs"]
mod empty_board;
mod encodings;
#[expect(unsafe_code, reason = "runs machine code and catches its signals")]
mod native;
mod ours;
mod random;
mod state;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cowbox::cpu::cpuid::claims;
use iced_x86::{
    Code, CpuidFeature, Decoder, DecoderOptions, EncodingKind, Instruction, Mnemonic, Register,
};

use encodings::Form;
use random::Random;
use state::{MEMORY_BYTES, Outcome, State};

/// How often a form is drawn anew for each state that it shall run from.
const DRAWS: u64 = 100;
/// How many differences are printed, and of one form.
const PRINTED: usize = 40;
const PRINTED_OF_FORM: usize = 2;

/// An instruction of `form` that both sides can run, with registers set so that what it touches
/// lies in the scratch memory.
fn case(form: &Form, random: &mut Random) -> Option<(Vec<u8>, Instruction, State)> {
    let mut bytes = form.draw(random);
    bytes.truncate(15);
    let mut decoder = Decoder::new(64, &bytes, DecoderOptions::NONE);
    let instruction = decoder.decode();
    let repeats = instruction.has_rep_prefix() || instruction.has_repne_prefix();
    let is_form = instruction.code() == form.code
        && encodings::reaches_memory(&instruction) == form.memory
        && !(repeats && instruction.is_string_instruction())
        && instruction.segment_prefix() == Register::None;
    if !is_form {
        return None;
    }
    let place = decoder.get_constant_offsets(&instruction);
    bytes.truncate(instruction.len());
    let mut setting = Setting {
        state: State::random(random),
        random,
    };
    setting.prepare(&instruction);
    setting.prepare_image(&instruction)?;
    setting.reach_strings(&instruction);
    setting.reach_stack(&instruction)?;
    if form.memory {
        let displacement = setting.reach_memory(&instruction)?;
        if let Some(displacement) = displacement {
            let at = place.displacement_offset();
            let size = place.displacement_size();
            bytes[at..at + size].copy_from_slice(&displacement.to_le_bytes()[..size]);
        }
    }
    let state = setting.state;
    let instruction = Decoder::new(64, &bytes, DecoderOptions::NONE).decode();
    Some((bytes, instruction, state))
}

/// Registers that are being set for an instruction.
struct Setting<'a> {
    state: State,
    random: &'a mut Random,
}

impl Setting<'_> {
    /// The middle of the scratch memory, or a little above.
    fn target(&mut self) -> u64 {
        let middle = state::memory_address() + MEMORY_BYTES / 2;
        match self.random.below(4) {
            0 => middle + self.random.below(16),
            _ => middle,
        }
    }

    fn general(&mut self, register: Register) -> &mut u64 {
        &mut self.state.general[register.full_register().number()]
    }

    /// Keeps what would nearly always fault from it.
    fn prepare(&mut self, instruction: &Instruction) {
        let divides = matches!(instruction.mnemonic(), Mnemonic::Div | Mnemonic::Idiv);
        if divides && self.random.below(8) != 0 {
            let dividend = *self.general(Register::RAX);
            *self.general(Register::RDX) = match instruction.mnemonic() {
                Mnemonic::Div => 0,
                _ => (dividend as i64 >> 63) as u64,
            };
        }
    }

    /// Makes the scratch memory an image that can be restored, mostly, and draws a mask.
    /// None if the mask's registers are also an address.
    fn prepare_image(&mut self, instruction: &Instruction) -> Option<()> {
        if !encodings::takes_image(instruction.code()) {
            return Some(());
        }
        let address = [instruction.memory_base(), instruction.memory_index()];
        let is_mask = |r: &Register| matches!(r.full_register(), Register::RAX | Register::RDX);
        if address.iter().any(is_mask) {
            return None;
        }
        *self.general(Register::RAX) = self.random.below(8);
        *self.general(Register::RDX) = 0;
        let memory = &mut self.state.memory;
        // FCW, FSW: exceptions masked, TOP 0.
        memory[..4].copy_from_slice(&[0x7f, 3, 0, 0]);
        if self.random.below(8) != 0 {
            memory[26..28].fill(0);
        }
        memory[512..520].copy_from_slice(&self.random.below(8).to_le_bytes());
        if self.random.below(8) != 0 {
            memory[520..576].fill(0);
        }
        Some(())
    }

    /// Points RSI and RDI of a string instruction at the scratch memory.
    fn reach_strings(&mut self, instruction: &Instruction) {
        for register in encodings::string_registers(instruction) {
            *self.general(register) = self.target();
        }
    }

    /// Points RSP and RBP at the scratch memory if the instruction implies them.
    fn reach_stack(&mut self, instruction: &Instruction) -> Option<()> {
        if !encodings::implies_stack(instruction) {
            return Some(());
        }
        *self.general(Register::RSP) = self.target();
        *self.general(Register::RBP) = self.target();
        let is_enter = instruction.mnemonic() == Mnemonic::Enter;
        let nests = u16::from(instruction.immediate8_2nd() & 31);
        let far = is_enter && (instruction.immediate16() > 1024 || nests > 16);
        let moved = [instruction.memory_base(), instruction.memory_index()]
            .iter()
            .any(|r| r.full_register() == Register::RSP);
        (!far && !moved).then_some(())
    }

    /// Sets base and index so that the operand lies in the scratch memory. Without a base it is
    /// the displacement that has to change, and comes back.
    fn reach_memory(&mut self, instruction: &Instruction) -> Option<Option<u64>> {
        let (base, index) = (instruction.memory_base(), instruction.memory_index());
        if base.is_ip() {
            return None;
        }
        let scale = u64::from(instruction.memory_index_scale());
        let from_index = match index {
            Register::None => 0,
            Register::AL => *self.general(Register::RAX) & 0xff,
            _ if index.is_vector_register() => {
                near_indices(&mut self.state.ymm[index.number()], scale, self.random);
                0
            }
            _ if index.full_register() == base.full_register() => return None,
            _ => {
                let near = self.random.below(64).wrapping_sub(32);
                *self.general(index) = near;
                near.wrapping_mul(scale)
            }
        };
        self.keep_bits_near(instruction, [base, index])?;
        let target = match encodings::takes_image(instruction.code()) {
            true if self.random.below(8) != 0 => state::window_address(),
            true => state::window_address() + self.random.below(16),
            false => self.target(),
        };
        let start = target.wrapping_sub(from_index);
        if base == Register::None {
            return Some(Some(start));
        }
        let address = start.wrapping_sub(instruction.memory_displacement64());
        *self.general(base) = match base.size() {
            4 => address & 0xffff_ffff | self.random.next() << 32,
            _ => address,
        };
        Some(None)
    }

    /// The register of a bit-string instruction selects a word far away: keeps it near. None if
    /// it is also an address.
    fn keep_bits_near(&mut self, instruction: &Instruction, address: [Register; 2]) -> Option<()> {
        use Mnemonic::{Bt, Btc, Btr, Bts};
        let register = instruction.op1_register();
        if !matches!(instruction.mnemonic(), Bt | Bts | Btr | Btc) || register == Register::None {
            return Some(());
        }
        if address
            .iter()
            .any(|r| r.full_register() == register.full_register())
        {
            return None;
        }
        *self.general(register) = self.random.below(512).wrapping_sub(256);
        Some(())
    }
}

/// Makes indices that stay in the scratch memory, as doublewords or quadwords.
fn near_indices(vector: &mut [u128; 2], scale: u64, random: &mut Random) {
    let doublewords = random.below(2) == 0;
    for lane in vector {
        let mut quadword = || {
            let mut near = || random.below(128 / scale).wrapping_sub(64 / scale);
            match doublewords {
                true => near() & 0xffff_ffff | near() << 32,
                false => near(),
            }
        };
        *lane = u128::from(quadword()) | u128::from(quadword()) << 64;
    }
}

/// What came of the encodings of a feature.
#[derive(Default)]
struct Row {
    known: usize,
    judged: usize,
    states: u64,
    faults: u64,
    /// The fewest states that a form ran from.
    fewest: Option<u64>,
    left: BTreeMap<&'static str, Vec<Code>>,
}

/// What came of one form.
#[derive(Default)]
struct Verdict {
    states: u64,
    faults: u64,
    /// Cases where the host alone raised #UD.
    unknown_to_host: u64,
    differences: u64,
    /// The first few of them.
    printed: Vec<String>,
}

/// The two sides.
struct Bench {
    native: native::Native,
    ours: ours::Machine,
}

impl Bench {
    /// Compares `states` cases of a form.
    fn judge(&mut self, form: &Form, states: u64, random: &mut Random) -> Verdict {
        let mut verdict = Verdict::default();
        for _ in 0..states * DRAWS {
            if verdict.states == states {
                break;
            }
            let Some((bytes, instruction, before)) = case(form, random) else {
                continue;
            };
            let mut theirs = self.native.run(&bytes, &before);
            let mut ours = self.ours.run(&instruction, &before);
            if let Some(bits) = encodings::numbers_with_any_nan(form.code) {
                let n = instruction.op0_register().number();
                state::unite_nans(&mut theirs.state.ymm[n], bits);
                state::unite_nans(&mut ours.state.ymm[n], bits);
            }
            verdict.states += 1;
            verdict.faults += u64::from(theirs.fault.is_some());
            let lacks = theirs.fault == Some(6) && ours.fault != Some(6);
            verdict.unknown_to_host += u64::from(lacks);
            let undefined = ours::undefined_flags(&instruction);
            if let Some(difference) = state::difference(&theirs, &ours, undefined) {
                verdict.differences += 1;
                if verdict.printed.len() < PRINTED_OF_FORM {
                    let line = format!("{instruction} {bytes:02x?}: {difference}\n  {before}");
                    verdict.printed.push(line);
                }
            }
        }
        verdict
    }
}

/// The instructions of one test.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    Integer,
    Packed,
    Avx,
}

fn group(code: Code) -> Group {
    use CpuidFeature as F;
    let features = code.cpuid_features();
    let is_integer = |f: &CpuidFeature| {
        !matches!(
            f,
            F::MMX
                | F::SSE
                | F::SSE2
                | F::SSE3
                | F::SSSE3
                | F::SSE4_1
                | F::SSE4_2
                | F::SSE4A
                | F::AES
                | F::PCLMULQDQ
                | F::SHA
                | F::AVX
                | F::AVX2
                | F::FMA
                | F::F16C
        )
    };
    match code.encoding() {
        _ if features.iter().all(is_integer) => Group::Integer,
        EncodingKind::Legacy => Group::Packed,
        _ => Group::Avx,
    }
}

/// Whether the CPU claims the features of an encoding.
fn is_claimed(code: Code) -> bool {
    let mut instruction = Instruction::new();
    instruction.set_code(code);
    claims(&instruction)
}

/// Judges the encodings of a group: rows by feature, and the differences as text.
fn survey(wanted: Group, seed: u64, states: u64) -> (BTreeMap<String, Row>, String) {
    let mut bench = Bench {
        native: native::Native::new(),
        ours: ours::Machine::new(),
    };
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let (mut printed, mut differences) = (Vec::new(), 0);
    let mut seen = None;
    let forms = encodings::all();
    let in_group = |form: &&Form| group(form.code) == wanted && is_claimed(form.code);
    for form in forms.iter().filter(in_group) {
        let features = form.code.cpuid_features();
        let row = rows.entry(format!("{features:?}")).or_default();
        let is_new = seen.replace(form.code) != Some(form.code);
        row.known += usize::from(is_new);
        let leave = |row: &mut Row, why| {
            let left = row.left.entry(why).or_default();
            if left.last() != Some(&form.code) {
                left.push(form.code);
            }
        };
        if let Some(why) = encodings::passed_over(form.code) {
            leave(row, why);
            continue;
        }
        // A seed of its own, so that a form's cases stay when others come and go.
        let mut random = Random::new(seed ^ (form.code as u64) << 1 ^ u64::from(form.memory));
        let verdict = bench.judge(form, states, &mut random);
        if verdict.states == 0 {
            leave(row, "not generated");
        } else if verdict.unknown_to_host == verdict.states {
            leave(row, "#UD on this host");
        } else {
            row.judged += usize::from(is_new);
            row.states += verdict.states;
            row.faults += verdict.faults;
            row.fewest = Some(row.fewest.map_or(verdict.states, |n| n.min(verdict.states)));
            differences += verdict.differences;
            printed.extend(verdict.printed);
        }
    }
    let mut text = String::new();
    for line in printed.iter().take(PRINTED) {
        let _ = writeln!(text, "{line}");
    }
    if differences > 0 {
        let _ = writeln!(text, "{differences} differences in all");
    }
    (rows, text)
}

/// The rows as a table, then the encodings that were left, by reason.
fn table(rows: &BTreeMap<String, Row>) -> String {
    let mut text = String::new();
    let mut left: BTreeMap<&str, Vec<Code>> = BTreeMap::new();
    for (features, row) in rows {
        let (known, judged, states, faults) = (row.known, row.judged, row.states, row.faults);
        let fewest = row.fewest.unwrap_or(0);
        let _ = writeln!(
            text,
            "{features:24} {known:5} encodings {judged:5} judged, each form by {fewest} states \
             or more, {states} in all, {faults} faults"
        );
        for (why, codes) in &row.left {
            left.entry(why).or_default().extend(codes);
        }
    }
    for (why, codes) in left {
        let _ = writeln!(text, "  left, {why}: {codes:?}");
    }
    text
}

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number"))
    })
}

/// Runs a group in a child, which may die of what it runs.
fn check(group: Group) {
    let states = number("COWBOX_NATIVE_STATES", 200);
    let seed = number("COWBOX_NATIVE_SEED", 1);
    let report = native::in_child(move || {
        let (rows, differences) = survey(group, seed, states);
        format!("{}\0{differences}", table(&rows))
    });
    let (table, differences) = report.split_once('\0').expect("the child wrote its table");
    println!("{table}");
    assert!(
        !table.contains("not generated"),
        "an encoding was never generated"
    );
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn integer_instructions_do_what_the_host_does() {
    check(Group::Integer);
}

#[test]
fn packed_instructions_do_what_the_host_does() {
    check(Group::Packed);
}

#[test]
fn avx_instructions_do_what_the_host_does() {
    check(Group::Avx);
}

#[test]
fn an_outcome_that_differs_in_one_bit_is_a_difference() {
    let state = State::random(&mut Random::new(7));
    let mut other = state.clone();
    other.general[3] ^= 1;
    let done = |state| Outcome { fault: None, state };
    let (a, b) = (done(state.clone()), done(other));
    let fault = Outcome {
        fault: Some(11),
        state,
    };
    assert!(state::difference(&a, &a, 0).is_none());
    assert!(state::difference(&a, &b, 0).is_some());
    assert!(state::difference(&a, &fault, 0).is_some());
}
