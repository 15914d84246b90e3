//! Judges forms, in one child for each of the host's cores, and gathers what came of it.

use std::fmt::Write as _;
use std::io::Write;

use cowbox::cpu::Model;
use iced_x86::{Code, Instruction};

use super::case::Case;
use super::compare::{Comparison, Outcome};
use super::encodings::Form;
use super::native::{self, Native};
use super::ours::Machine;
use super::random::Random;
use super::rules::{Judgement, Vendor};
use super::state::{End, State};

/// States that an instruction runs from before another is drawn.
const BATCH: u64 = 16;
/// How often an instruction is drawn in vain for each that is run.
const DRAWS: u64 = 400;
/// States of an encoding that is refused whatever it finds.
const REFUSED_STATES: u64 = 16;
/// How many differences are told of one form.
const TOLD: usize = 2;

/// What came of one form.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) states: u64,
    pub(crate) faults: u64,
    /// Cases where the host alone raised #UD.
    pub(crate) unknown_to_host: u64,
    pub(crate) differences: u64,
    /// The first few of them.
    pub(crate) told: Vec<String>,
}

impl Verdict {
    fn note(&mut self, case: &Case, before: &State, difference: &str) {
        self.differences += 1;
        if self.told.len() < TOLD {
            self.told.push(describe(case, before, difference));
        }
    }
}

/// The two sides.
pub(crate) struct Bench {
    native: Native,
    ours: Machine,
    vendor: Vendor,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            native: Native::new(),
            ours: Machine::new(),
            vendor: Vendor::host(),
        }
    }

    /// Compares about `states` states of a form.
    pub(crate) fn judge(&mut self, form: &Form, states: u64, random: &mut Random) -> Verdict {
        let mut verdict = Verdict::default();
        let comparison = Comparison::new(form.code, form.kind.bits, self.vendor);
        let states = match comparison.judgement {
            Judgement::Left(_) | Judgement::Hidden(_) => return verdict,
            Judgement::Refused => states.min(REFUSED_STATES),
            _ => states,
        };
        for _ in 0..states.div_ceil(BATCH) * DRAWS {
            if verdict.states >= states {
                break;
            }
            if let Some(case) = Case::draw(form, self.vendor, random) {
                let batch = BATCH.min(states - verdict.states);
                self.run_batch(&case, &comparison, (batch, random), &mut verdict);
            }
        }
        verdict
    }

    fn run_batch(
        &mut self,
        case: &Case,
        comparison: &Comparison,
        (states, random): (u64, &mut Random),
        verdict: &mut Verdict,
    ) {
        self.native
            .place(case.bits, case.at, &case.bytes, case.target());
        self.ours.place(case.at, &case.bytes);
        let mut before = case.first_state(random);
        let (mut theirs, mut ours) = (before.clone(), before.clone());
        for _ in 0..states {
            case.renew(&mut before, random);
            let their_end = self.native.run(case.ends, &before, &mut theirs);
            let our_end = self.ours.run(case.ends, &before, &mut ours);
            verdict.states += 1;
            verdict.faults += u64::from(matches!(their_end, End::Fault { .. }));
            let lacks = |end| matches!(end, End::Fault { vector: 6, .. });
            verdict.unknown_to_host += u64::from(lacks(their_end) && !lacks(our_end));
            let theirs = Outcome {
                end: their_end,
                state: &theirs,
            };
            let ours = Outcome {
                end: our_end,
                state: &ours,
            };
            if let Some(difference) = comparison.difference(case, &before, &theirs, &ours) {
                verdict.note(case, &before, &difference);
            }
        }
        let margins = self.native.margins();
        if margins != self.ours.margins() {
            verdict.note(case, &before, "memory around the window");
            self.ours.set_margins(&margins);
        }
    }
}

fn describe(case: &Case, before: &State, difference: &str) -> String {
    let (i, bytes) = (&case.instruction, &case.bytes);
    format!(
        "{:?} {}-bit `{i}` {bytes:02x?} at {:x}: {difference}\n    {before}",
        i.code(),
        case.bits,
        case.ends.start
    )
}

/// Whether the CPU claims the features of an encoding.
pub(crate) fn is_claimed(code: Code) -> bool {
    let mut instruction = Instruction::new();
    instruction.set_code(code);
    Model::default().has(&instruction)
}

/// Judges all forms, in as many children as the host has cores. In the order of `forms`.
pub(crate) fn judge_all(forms: &[Form], states: u64, seed: u64) -> Vec<Verdict> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let children: Vec<_> = (0..cores)
        .map(|core| {
            native::in_child(|pipe| {
                let mut bench = Bench::new();
                for (n, form) in forms.iter().enumerate().skip(core).step_by(cores) {
                    // A seed of its own, so that a form's cases stay when others come and go.
                    let kind = &form.kind;
                    let own = kind.code as u64 * 64
                        + u64::from(kind.bits / 16)
                        + u64::from(kind.memory) * 8
                        + u64::from(kind.other_addresses) * 16
                        + kind.repeat as u64 * 32;
                    let mut random = Random::new(seed.wrapping_mul(1 << 32) ^ own);
                    let verdict = bench.judge(form, states, &mut random);
                    tell(pipe, n, &verdict);
                }
            })
        })
        .collect();
    let mut verdicts = vec![Verdict::default(); forms.len()];
    for child in children {
        let (text, status) = child.finish();
        read_verdicts(&text, &mut verdicts);
        let last = text.lines().next_back().unwrap_or("nothing");
        assert_eq!(status, 0, "a child died with this status, after {last}");
    }
    verdicts
}

/// A line of numbers, then the differences, each with a mark before its lines.
fn tell(pipe: &mut dyn Write, n: usize, verdict: &Verdict) {
    let mut text = format!(
        "{n} {} {} {} {}\n",
        verdict.states, verdict.faults, verdict.unknown_to_host, verdict.differences
    );
    for difference in &verdict.told {
        for line in difference.lines() {
            let _ = writeln!(text, "|{line}");
        }
        let _ = writeln!(text, "|");
    }
    pipe.write_all(text.as_bytes()).expect("the pipe takes it");
}

fn read_verdicts(text: &str, verdicts: &mut [Verdict]) {
    let mut current = 0;
    for line in text.lines() {
        if let Some(part) = line.strip_prefix('|') {
            let told = &mut verdicts[current].told;
            match told.last_mut() {
                Some(last) => {
                    last.push('\n');
                    last.push_str(part);
                }
                None => told.push(part.to_string()),
            }
            continue;
        }
        let numbers: Vec<u64> = line.split(' ').filter_map(|n| n.parse().ok()).collect();
        let [n, states, faults, unknown_to_host, differences] = numbers[..] else {
            continue;
        };
        current = n as usize;
        verdicts[current] = Verdict {
            states,
            faults,
            unknown_to_host,
            differences,
            told: Vec::new(),
        };
    }
}
