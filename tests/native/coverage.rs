//! The table of what was judged: per feature, the encodings that iced-x86 knows, those that our CPU
//! has, those judged here, those that checks of the system oracle execute, and those judged by
//! neither.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use iced_x86::Code;

use super::compare::Comparison;
use super::encodings::Form;
use super::exercised::EXERCISED;
use super::rules::{self, Judgement, Vendor};
use super::survey::{Verdict, is_claimed};

/// What came of one encoding, in all its forms.
#[derive(Default)]
struct Summary {
    states: u64,
    faults: u64,
    /// Forms that run on this host.
    forms: u64,
    /// Why it is not judged natively.
    why: Option<&'static str>,
    /// The host can run it all the same.
    could: bool,
    refused: bool,
}

impl Summary {
    fn add(&mut self, form: &Form, verdict: &Verdict, vendor: Vendor) {
        let comparison = Comparison::new(form.code, form.kind.bits, vendor);
        self.refused |= comparison.judgement == Judgement::Refused;
        match comparison.judgement {
            Judgement::Left(why) => (self.why, self.could) = (Some(why), true),
            Judgement::Hidden(why) => self.why = Some(why),
            _ if verdict.states == 0 => {
                self.why = Some("the host's vendor reads the bytes otherwise");
            }
            _ if verdict.unknown_to_host == verdict.states => {
                self.why = Some("this host lacks it");
            }
            _ => {
                self.forms += 1;
                self.states += verdict.states;
                self.faults += verdict.faults;
            }
        }
    }
}

/// What came of the encodings of a feature.
#[derive(Default)]
struct Row {
    known: u64,
    ours: u64,
    native: u64,
    system: u64,
    left: u64,
    states: u64,
    faults: u64,
    /// The fewest states of an encoding that is not always refused.
    fewest: Option<u64>,
}

impl Row {
    fn add(&mut self, other: &Self) {
        self.known += other.known;
        self.ours += other.ours;
        self.native += other.native;
        self.system += other.system;
        self.left += other.left;
        self.states += other.states;
        self.faults += other.faults;
        self.fewest = [self.fewest, other.fewest].into_iter().flatten().min();
    }

    /// The row of one encoding.
    fn of(code: Code, summary: Option<&Summary>) -> Self {
        let system = EXERCISED.contains(&code);
        let Some(summary) = summary else {
            return Self {
                known: 1,
                ..Self::default()
            };
        };
        let native = summary.forms > 0;
        Self {
            known: 1,
            ours: 1,
            native: native.into(),
            system: system.into(),
            left: (!native && !system).into(),
            states: summary.states,
            faults: summary.faults,
            fewest: (native && !summary.refused).then_some(summary.states),
        }
    }

    fn line(&self, name: &str) -> String {
        let Self {
            known,
            ours,
            native,
            system,
            left,
            states,
            faults,
            ..
        } = self;
        let fewest = self.fewest.unwrap_or(0);
        format!(
            "{name:22}{known:8}{ours:8}{native:8}{system:8}{left:6}{states:12}{fewest:10}{faults:10}\n"
        )
    }
}

/// The coverage table, and what makes it incomplete.
pub(crate) fn table(forms: &[Form], verdicts: &[Verdict]) -> (String, Vec<String>) {
    let vendor = Vendor::host();
    let mut summaries: BTreeMap<usize, Summary> = BTreeMap::new();
    let mut complaints = Vec::new();
    for (form, verdict) in forms.iter().zip(verdicts) {
        let summary = summaries.entry(form.kind.code).or_default();
        summary.add(form, verdict, vendor);
        let judgement = rules::judgement(form.code, form.kind.bits, vendor);
        let is_open = !matches!(judgement, Judgement::Left(_) | Judgement::Hidden(_));
        if is_open && verdict.states == 0 && !is_other(form, vendor) {
            complaints.push(format!("never drawn: {:?} {:?}", form.code, form.kind));
        }
    }
    let text = rows(&summaries, vendor) + &reasons(&summaries) + &share(&summaries);
    (text + &undefined_flags(forms), complaints)
}

/// All encodings but the assembler's directives.
fn codes() -> impl Iterator<Item = Code> {
    use Code::{DeclareByte, DeclareDword, DeclareQword, DeclareWord, INVALID, Zero_bytes};
    Code::values().filter(|code| {
        let directives = [
            INVALID,
            DeclareByte,
            DeclareWord,
            DeclareDword,
            DeclareQword,
        ];
        !directives.contains(code) && *code != Zero_bytes
    })
}

/// A row for each feature that the CPU claims, the sum, and the names of those that it does not.
fn rows(summaries: &BTreeMap<usize, Summary>, vendor: Vendor) -> String {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let mut unclaimed: BTreeMap<String, usize> = BTreeMap::new();
    for code in codes() {
        let features = format!("{:?}", code.cpuid_features());
        let features = features.trim_matches(['[', ']']).to_string();
        if is_claimed(code) {
            let row = Row::of(code, summaries.get(&(code as usize)));
            rows.entry(features).or_default().add(&row);
        } else {
            *unclaimed.entry(features).or_default() += 1;
        }
    }
    let mut text = format!("host: {vendor:?}\n");
    let _ = writeln!(
        text,
        "{:22}{:>8}{:>8}{:>8}{:>8}{:>6}{:>12}{:>10}{:>10}",
        "feature", "known", "ours", "native", "system", "left", "states", "fewest", "faults"
    );
    let mut all = Row::default();
    for (features, row) in &rows {
        text += &row.line(features);
        all.add(row);
    }
    text += &all.line("all");
    let unclaimed: Vec<_> = unclaimed.iter().map(|(f, n)| format!("{f} {n}")).collect();
    let _ = writeln!(text, "not claimed: {}", unclaimed.join(", "));
    let percent = all.faults as f64 * 100.0 / all.states.max(1) as f64;
    text + &format!("{percent:.2} % of the states fault\n")
}

/// Which encodings are not judged natively, and why; those that nobody judges stand by themselves.
fn reasons(summaries: &BTreeMap<usize, Summary>) -> String {
    let mut reasons: BTreeMap<String, Vec<Code>> = BTreeMap::new();
    for code in codes().filter(|&code| is_claimed(code)) {
        let judged_there = match EXERCISED.contains(&code) {
            true => "the system oracle alone",
            false => "left",
        };
        let why = match summaries.get(&(code as usize)) {
            None => "not ours: another processor's, or no instruction".to_string(),
            Some(summary) if summary.forms > 0 => continue,
            Some(summary) => format!("{judged_there}: {}", summary.why.unwrap_or_default()),
        };
        reasons.entry(why).or_default().push(code);
    }
    let line = |(why, codes): (&String, &Vec<Code>)| format!("{why}: {codes:?}\n");
    reasons.iter().map(line).collect()
}

/// How much of what user code can run here is judged here.
fn share(summaries: &BTreeMap<usize, Summary>) -> String {
    let open = || summaries.values().filter(|summary| !summary.refused);
    let judged: Vec<&Summary> = open().filter(|summary| summary.forms > 0).collect();
    let missing = open().filter(|summary| summary.forms == 0 && summary.could);
    let runnable = judged.len() + missing.count();
    let fewest = judged.iter().map(|summary| summary.states).min();
    format!(
        "of {runnable} encodings that are not privileged and run on this host, {} are judged \
         natively: {:.2} %, each by {} states or more\n",
        judged.len(),
        judged.len() as f64 * 100.0 / runnable.max(1) as f64,
        fewest.unwrap_or(0)
    )
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
