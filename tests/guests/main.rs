//! Guests that we did not write, and our demo guest, on the `cowbox` command as a user runs it.
//!
//! The fixtures come from `tests/guests/build`, which needs Debian's archives; a test whose fixture
//! or host tool is missing is reported as ignored, with the reason. `COWBOX_FULL=1` (set by
//! `tests/run --full`) does the full counts instead of one boot per kernel and bus.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

mod bad_input;
mod boot_order;
mod demo;
mod direct_boot;
mod firmware;
mod fixture;
mod images;
mod killed;
mod looking_on;
mod memtest;
mod programs;
mod qmp;
mod read_back;
mod replay;
mod root_disk;
mod serial_socket;
mod session;
mod terminal;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

/// What a test returns: nothing, or why it cannot run here. Failures are panics.
type Outcome = Result<(), Skip>;

/// Why a test cannot run on this machine.
struct Skip(String);

/// A test by its name, a sentence.
fn trial(name: &str, test: impl FnOnce() -> Outcome + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || {
        Ok(match test() {
            Ok(()) => Completion::Completed,
            Err(Skip(reason)) => Completion::ignored_with(reason),
        })
    })
}

/// True if the full counts are wanted.
fn full() -> bool {
    std::env::var_os("COWBOX_FULL").is_some_and(|value| value == "1")
}

/// Runs the test with the full counts only.
fn in_full(test: impl FnOnce() -> Outcome) -> Outcome {
    if full() {
        return test();
    }
    Err(Skip("only in --full".into()))
}

fn main() -> ExitCode {
    if let Some(code) = terminal::act_as_child() {
        return code;
    }
    let mut arguments = Arguments::from_args();
    // Two guests at a time: each keeps a processor and a disk busy, and has a time limit.
    arguments.test_threads.get_or_insert(2);
    let trials = [
        demo::trials(),
        boot_order::trials(),
        bad_input::trials(),
        direct_boot::trials(),
        replay::trials(),
        root_disk::trials(),
        firmware::trials(),
        memtest::trials(),
        programs::trials(),
        qmp::trials(),
        serial_socket::trials(),
        terminal::trials(),
        killed::trials(),
        looking_on::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit_code()
}
