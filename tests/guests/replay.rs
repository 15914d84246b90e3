//! The same inputs give the same machine state at the same tick, also on a busy host.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use libtest_mimic::Trial;

use crate::fixture::{committed, guest};
use crate::session::{Session, cowbox};
use crate::{Outcome, trial};

const LIMIT: Duration = Duration::from_secs(600);
const FIXED: [&str; 6] = [
    "--date",
    "2024-02-29T12:00:00",
    "--print-hash",
    "--display",
    "none",
    "-m",
];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("two_runs_of_the_demo_guest_end_with_the_same_hash", || {
            twice(&|| demo("ide"));
            twice(&|| demo("virtio"));
            Ok(())
        }),
        trial("two_runs_of_linux_end_with_the_same_hash", linux),
        trial("linux_draws_other_random_numbers_from_another_seed", seeds),
    ]
}

fn demo(bus: &str) -> Command {
    let disk = format!(
        "{},bus={bus},snapshot=on",
        committed("images/demo.qcow2").display()
    );
    let mut command = cowbox(["run", "--disk", &disk]);
    command
        .args(FIXED)
        .args(["64M", "--expect", "cow> ", "--send", "selftest\n"]);
    command
}

fn seeds() -> Outcome {
    let (kernel, initrd) = (guest("amd64/vmlinuz")?, guest("amd64/initrd.img")?);
    let random = |seed: &str| {
        let mut command = cowbox(["run", "--append", "console=ttyS0 quiet", "--kernel"]);
        let files = [kernel.as_path(), "--initrd".as_ref(), initrd.as_path()];
        command
            .args(files)
            .args(FIXED)
            .args(["256M", "--seed", seed]);
        let show = "dmesg | grep crng; cat /proc/sys/kernel/random/boot_id; poweroff -f\n";
        command.args(["--expect", "/ # ", "--send", show]);
        let run = Session::start(command).finish(LIMIT);
        run.expect_code(0).find("random: crng init done");
        run.find("\n([0-9a-f]{8}-[0-9a-f-]{27})\r").to_owned()
    };
    assert_ne!(random("1"), random("2"));
    Ok(())
}

fn linux() -> Outcome {
    let (kernel, initrd) = (guest("amd64/vmlinuz")?, guest("amd64/initrd.img")?);
    twice(&|| {
        let mut command = cowbox(["run", "--append", "console=ttyS0", "--kernel"]);
        command
            .arg(&kernel)
            .arg("--initrd")
            .arg(&initrd)
            .args(FIXED);
        command.args(["256M", "--expect", "/ # ", "--send", "poweroff -f\n"]);
        command
    });
    Ok(())
}

/// Runs the command alone and on a busy host, and compares what `--print-hash` prints.
fn twice(command: &dyn Fn() -> Command) {
    let quiet = hash(command());
    let busy = on_busy_host(|| hash(command()));
    assert_eq!(quiet, busy, "hash and ticks of two runs");
}

fn hash(command: Command) -> String {
    let run = Session::start(command).finish(LIMIT);
    run.expect_code(0);
    let printed = format!("{}\n{}", run.transcript, run.errors);
    let line = printed
        .lines()
        .find(|line| line.contains("hash") && line.contains("tick"));
    line.unwrap_or_else(|| panic!("no hash in:\n{}", run.errors))
        .trim()
        .to_owned()
}

fn on_busy_host<T>(work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
