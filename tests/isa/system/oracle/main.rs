//! The system oracle: bare-metal images (`*.S` beside this file) walk what the CPU does for systems,
//! and say on the serial line how each check ended. QEMU, Bochs and Cowbox run the same image, and
//! their lines are compared.
//!
//! Where they differ, [`differences`] says who is right and by which section of the manual;
//! a difference that stands nowhere fails the test, and so does an entry without a difference.
//! `COWBOX_ORACLE=DIRECTORY` keeps the three columns of each image there.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

mod differences;
mod emulators;
mod executed;
mod exercised;
mod image;

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

use differences::{Known, QEMU_LEAVES_CLEAR, Right};
use emulators::{Emulator, Missing};

/// How the checks of one image ended, in their order: the name of each, and what came out.
type Column = Vec<(String, String)>;

/// What each of [`emulators::ALL`] said of one check.
struct Check {
    name: String,
    results: [String; 3],
}

impl Check {
    /// Who stands alone against what two others say; `None` where all agree, and all where
    /// nobody does.
    fn dissent(&self) -> Option<String> {
        let [qemu, bochs, cowbox] = &self.results;
        if qemu == bochs && bochs == cowbox {
            return None;
        }
        let lines = emulators::ALL
            .iter()
            .zip(&self.results)
            .map(|(emulator, result)| format!("\n  {:8}{result}", emulator.name()));
        Some(format!("{}:{}", self.name, lines.collect::<String>()))
    }

    /// Whether what `known` says is so: Cowbox does what is right, and the others differ.
    fn is_settled_by(&self, known: &Known) -> bool {
        let [qemu, bochs, cowbox] = &self.results;
        match known.right {
            Right::Qemu => cowbox == qemu && cowbox != bochs,
            Right::Bochs => cowbox == bochs && cowbox != qemu,
            Right::Neither => cowbox != bochs && cowbox != qemu,
        }
    }
}

/// What QEMU said, with the bits that it leaves clear everywhere as they are in `cowbox`.
fn with_cleared_bits(qemu: &str, cowbox: &str) -> String {
    let word = |token: &str| {
        let digits = token.trim_matches(['[', ']']);
        (digits.len() == 8).then(|| u32::from_str_radix(digits, 16).ok())?
    };
    let (ours, theirs): (Vec<_>, Vec<_>) = (cowbox.split(' ').collect(), qemu.split(' ').collect());
    if ours.len() != theirs.len() {
        return qemu.into();
    }
    let pick = |(&ours, &theirs)| match (word(ours), word(theirs)) {
        (Some(a), Some(b)) if a & !b == a ^ b && QEMU_LEAVES_CLEAR.contains(&(a ^ b)) => ours,
        _ => theirs,
    };
    ours.iter()
        .zip(&theirs)
        .map(pick)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Puts the columns of an image beside each other.
fn checks(columns: [Column; 3]) -> Vec<Check> {
    let [qemu, bochs, cowbox] = columns;
    let names = |column: &Column| column.iter().map(|c| c.0.clone()).collect::<Vec<_>>();
    assert_eq!(
        names(&qemu),
        names(&cowbox),
        "QEMU and Cowbox ran other checks"
    );
    assert_eq!(
        names(&bochs),
        names(&cowbox),
        "Bochs and Cowbox ran other checks"
    );
    let results = qemu.into_iter().zip(bochs).zip(cowbox);
    results
        .map(|((qemu, bochs), cowbox)| Check {
            name: cowbox.0,
            results: [with_cleared_bits(&qemu.1, &cowbox.1), bochs.1, cowbox.1],
        })
        .collect()
}

/// Runs one image on all three and judges what they say.
fn judge(source: &str) -> Result<(), Missing> {
    let rom = image::assemble(source)?;
    let columns = [
        Emulator::Qemu.run(source, &rom)?,
        Emulator::Bochs.run(source, &rom)?,
        Emulator::Cowbox.run(source, &rom)?,
    ];
    let checks = checks(columns);
    let known: Vec<&Known> = differences::of(source).collect();
    let mut open = String::new();
    let mut used = vec![false; known.len()];
    for check in &checks {
        let Some(dissent) = check.dissent() else {
            continue;
        };
        let settles = |k: &&Known| k.names(&check.name) && check.is_settled_by(k);
        match known.iter().position(settles) {
            Some(entry) => used[entry] = true,
            None => open += &format!("{dissent}\n"),
        }
    }
    for (known, _) in known.iter().zip(used).filter(|(_, used)| !used) {
        open += &format!(
            "{}: stands in the table, and there is no such difference\n",
            known.check
        );
    }
    assert!(
        open.is_empty(),
        "{} checks, undecided:\n{open}",
        checks.len()
    );
    println!("{source}: {} checks", checks.len());
    Ok(())
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(2);
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(image::DIRECTORY);
    let mut sources: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".S").map(str::to_owned))
        .collect();
    sources.sort();
    let trial = |source: String| {
        Trial::ignorable_test(source.clone(), move || {
            Ok(match judge(&source) {
                Ok(()) => Completion::Completed,
                Err(Missing(what)) => Completion::ignored_with(what),
            })
        })
    };
    let encodings = {
        let sources = sources.clone();
        Trial::ignorable_test("encodings", move || match executed::judge(&sources) {
            Ok(()) => Ok(Completion::Completed),
            Err(Missing(what)) => Ok(Completion::ignored_with(what)),
        })
    };
    let trials = sources.into_iter().map(trial).chain([encodings]);
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
