//! memtest86+ in both widths: the right processor and memory, and past its test 3 without errors.

use std::time::Duration;

use libtest_mimic::Trial;
use regex::Regex;

use crate::fixture::guest;
use crate::session::{Session, cowbox};
use crate::{Outcome, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("memtest86_ia32_passes_test_3", || run("ia32")),
        trial("memtest86_x64_passes_test_3", || run("x64")),
    ]
}

fn run(width: &str) -> Outcome {
    let mut command = cowbox(["run", "-m", "32M", "--display", "none", "--timeout", "600s"]);
    command.arg("--kernel").arg(guest(&format!(
        "packages/memtest86+/boot/memtest86+{width}.bin"
    ))?);
    command.args(["--append", "console=ttyS0,115200"]);
    let mut session = Session::start(command);
    // On the serial line it redraws fields at their places: "\e[4;35H #4  [Moving inversions".
    session.wait_for(r"#[4-9]  \[", Duration::from_secs(600));
    let transcript = session.kill().transcript;

    let memory = Regex::new(r"Memory  : +(\d+)MB").unwrap();
    let memory: u32 = memory.captures(&transcript).unwrap()[1].parse().unwrap();
    assert!((30..=32).contains(&memory), "it sees {memory} MB");
    assert!(
        transcript.contains("Cowbox"),
        "the processor's name is missing:\n{transcript}"
    );
    let errors = Regex::new(r"Errors: (\d+)").unwrap();
    assert!(
        errors
            .captures_iter(&transcript)
            .all(|found| &found[1] == "0"),
        "{transcript}"
    );
    Ok(())
}
