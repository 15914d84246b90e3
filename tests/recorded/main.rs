//! Instructions against what real chips did: the single-step suites of Daniel Balsom and others,
//! recorded on an Intel 8086 and a Harris 80286 (https://github.com/SingleStepTests).
//!
//! Each test has the registers and memory before and after one instruction. All that it names is
//! compared; what it does not name must not change. Flags are left out only where the suite's own
//! `metadata.json` calls them undefined, also in the flags that an exception pushes. The suites
//! are not part of this project: `COWBOX_RECORDED_8086` and `COWBOX_RECORDED_80286` say where
//! they are checked out (`tests/run` sets them), and without them the tests are reported as
//! ignored. Cycles and prefetch queues are not looked at.

mod chip;
#[path = "../native/empty_board.rs"]
mod empty_board;
mod moo;
mod suite;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

use suite::{I8086, I80286, Suite};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = [
        ("instructions_end_as_recorded_on_an_8086", &I8086),
        ("instructions_end_as_recorded_on_an_80286", &I80286),
    ];
    let trials = trials.map(|(name, suite)| Trial::ignorable_test(name, || judge(suite)));
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

fn judge(suite: &Suite) -> Result<Completion, libtest_mimic::Failed> {
    let Some(directory) = suite.directory() else {
        let (variable, url) = (suite.variable, suite.url);
        return Ok(Completion::ignored_with(format!(
            "needs the suite: git clone --depth 1 {url} DIR, and {variable}=DIR"
        )));
    };
    let report = suite.run(&directory)?;
    println!("{report}");
    if report.differences.is_empty() {
        return Ok(Completion::Completed);
    }
    Err(report.differences.join("\n").into())
}
