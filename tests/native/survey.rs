//! Judges forms, in one child for each of the host's cores, and gathers what came of it.

use std::collections::{BTreeMap, BTreeSet};
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
use super::rules::{self, Judgement, Vendor};
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
            Judgement::Left(_) => return verdict,
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
            let their_end = self.native.run(case.ends.start, &before, &mut theirs);
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

/// What came of one encoding, in all its forms.
#[derive(Default)]
struct Summary {
    states: u64,
    faults: u64,
    /// Forms that run on this host.
    forms: u64,
    lacking: u64,
    left: Option<&'static str>,
    refused: bool,
}

/// What came of the encodings of a feature.
#[derive(Default)]
struct Row {
    known: usize,
    implemented: usize,
    judged: usize,
    refused: usize,
    states: u64,
    faults: u64,
    fewest: Option<u64>,
    left: BTreeMap<&'static str, Vec<Code>>,
}

/// The coverage table, and what makes it incomplete.
pub(crate) fn table(forms: &[Form], verdicts: &[Verdict]) -> (String, Vec<String>) {
    let vendor = Vendor::host();
    let mut summaries: BTreeMap<usize, Summary> = BTreeMap::new();
    let mut complaints = Vec::new();
    for (form, verdict) in forms.iter().zip(verdicts) {
        let summary = summaries.entry(form.kind.code).or_default();
        let comparison = Comparison::new(form.code, form.kind.bits, vendor);
        summary.refused |= comparison.judgement == Judgement::Refused;
        match comparison.judgement {
            Judgement::Left(why) => summary.left = Some(why),
            _ if verdict.states == 0 && is_other(form, vendor) => {
                summary.left = Some("the host's vendor reads the bytes otherwise");
            }
            _ if verdict.states == 0 => {
                complaints.push(format!("never drawn: {:?} {:?}", form.code, form.kind));
            }
            _ if verdict.unknown_to_host == verdict.states => summary.lacking += 1,
            _ => {
                summary.forms += 1;
                summary.states += verdict.states;
                summary.faults += verdict.faults;
            }
        }
    }
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let mut unclaimed: BTreeMap<String, usize> = BTreeMap::new();
    for code in Code::values().filter(|&code| code != Code::INVALID) {
        let features = format!("{:?}", code.cpuid_features());
        let features = features.trim_matches(['[', ']']).to_string();
        if !is_claimed(code) {
            *unclaimed.entry(features).or_default() += 1;
            continue;
        }
        let row = rows.entry(features).or_default();
        enter(row, code, summaries.get(&(code as usize)));
    }
    let text = print(&rows, &unclaimed, vendor) + &undefined_flags(forms);
    (text, complaints)
}

/// Which instructions leave which flags undefined: those are not compared.
fn undefined_flags(forms: &[Form]) -> String {
    let mut by_flags: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for form in forms {
        let mnemonic = format!("{:?}", form.code.mnemonic());
        let flags = rules::undefined_flag_names(form.code);
        by_flags.entry(flags).or_default().insert(mnemonic);
    }
    by_flags.remove("");
    let line = |(flags, mnemonics): (&String, &BTreeSet<String>)| {
        let mnemonics: Vec<_> = mnemonics.iter().map(String::as_str).collect();
        format!("undefined {flags}: {}\n", mnemonics.join(" "))
    };
    by_flags.iter().map(line).collect()
}

/// Whether the host's vendor reads all bytes that decode to a form as something else.
fn is_other(form: &Form, vendor: Vendor) -> bool {
    form.starts()
        .all(|bytes| rules::reads_otherwise(form.kind.bits, &bytes, form.code, vendor))
}

/// Counts an encoding.
fn enter(row: &mut Row, code: Code, summary: Option<&Summary>) {
    row.known += 1;
    let Some(summary) = summary else {
        let left = row.left.entry("another processor's, or no instruction");
        left.or_default().push(code);
        return;
    };
    row.implemented += 1;
    row.states += summary.states;
    row.faults += summary.faults;
    if summary.forms > 0 {
        row.judged += 1;
        row.refused += usize::from(summary.refused);
        if !summary.refused {
            row.fewest = Some(row.fewest.map_or(summary.states, |n| n.min(summary.states)));
        }
        return;
    }
    let why = summary.left.unwrap_or("this host lacks it");
    row.left.entry(why).or_default().push(code);
}

fn print(
    rows: &BTreeMap<String, Row>,
    unclaimed: &BTreeMap<String, usize>,
    vendor: Vendor,
) -> String {
    let mut text = format!("host: {vendor:?}\n");
    let _ = writeln!(
        text,
        "{:22}{:>8}{:>8}{:>8}{:>6}{:>12}{:>10}{:>10}",
        "feature", "known", "ours", "judged", "left", "states", "fewest", "faults"
    );
    let mut left: BTreeMap<&str, Vec<Code>> = BTreeMap::new();
    let mut total = [0; 6];
    for (features, row) in rows {
        let unjudged = row.known - row.judged;
        let _ = writeln!(
            text,
            "{features:22}{:8}{:8}{:8}{unjudged:6}{:12}{:10}{:10}",
            row.known,
            row.implemented,
            row.judged,
            row.states,
            row.fewest.unwrap_or(0),
            row.faults
        );
        let numbers = [
            row.known as u64,
            row.implemented as u64,
            row.judged as u64,
            unjudged as u64,
            row.states,
            row.faults,
        ];
        for (sum, number) in total.iter_mut().zip(numbers) {
            *sum += number;
        }
        for (why, codes) in &row.left {
            left.entry(why).or_default().extend(codes);
        }
    }
    let [known, implemented, judged, unjudged, states, faults] = total;
    let _ = writeln!(
        text,
        "{:22}{known:8}{implemented:8}{judged:8}{unjudged:6}{states:12}{:10}{faults:10}",
        "all", ""
    );
    let percent = faults as f64 * 100.0 / states.max(1) as f64;
    let _ = writeln!(text, "{percent:.2} % of the states fault");
    for (why, codes) in left {
        let _ = writeln!(text, "left, {why}: {codes:?}");
    }
    let unclaimed: Vec<_> = unclaimed.iter().map(|(f, n)| format!("{f} {n}")).collect();
    let _ = writeln!(text, "not claimed: {}", unclaimed.join(", "));
    text
}
