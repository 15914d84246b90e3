//! The demo guest: its self-test on both buses, and the ways out of the machine.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::fixture::{Scratch, committed};
use crate::session::{Finished, Session, cowbox};
use crate::{Outcome, trial};

const LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("demo_without_a_terminal_passes_its_self_test", demo_command),
        trial("demo_guest_passes_its_self_test_on_ide", || {
            self_test("ide")
        }),
        trial("demo_guest_passes_its_self_test_on_virtio", || {
            self_test("virtio")
        }),
        trial("demo_guest_reaches_its_prompt_within_a_second", prompt_time),
        trial("stress_sum_is_the_same_on_both_buses", same_sum),
        trial("snapshot_leaves_the_image_untouched", snapshot),
        trial("debug_exit_gives_twice_the_value_plus_one", debug_exit),
        trial("triple_fault_ends_with_status_70_and_a_dump", triple_fault),
        trial("reset_ends_the_run_under_no_reboot", reset),
        trial(
            "host_clock_keeps_guest_time_with_the_wall_clock",
            host_clock,
        ),
        trial("debug_console_shows_what_firmware_says", debug_console),
        trial(
            "idle_guest_meets_its_time_limit_with_status_124",
            time_limit,
        ),
    ]
}

/// Runs the demo disk, untouched, with one command typed at the prompt.
fn run(bus: &str, command: &str, options: &[&str]) -> Finished {
    let disk = format!(
        "{},bus={bus},snapshot=on",
        committed("images/demo.qcow2").display()
    );
    let line = format!("{command}\n");
    let mut arguments = vec!["run", "--disk", &disk, "-m", "64M", "--display", "none"];
    arguments.extend(["--expect", "cow> ", "--send", &line, "--timeout", "100s"]);
    arguments.extend(options);
    Session::start(cowbox(arguments)).finish(LIMIT)
}

fn demo_command() -> Outcome {
    let run = Session::start(cowbox(["demo"])).finish(LIMIT);
    run.expect_code(0).find(r"selftest: \d+ passed, 0 failed");
    Ok(())
}

fn self_test(bus: &str) -> Outcome {
    run(bus, "selftest", &[])
        .expect_code(0)
        .find(r"selftest: \d+ passed, 0 failed");
    Ok(())
}

fn prompt_time() -> Outcome {
    let start = Instant::now();
    let disk = format!("{},snapshot=on", committed("images/demo.qcow2").display());
    let mut session = Session::start(cowbox(["run", "--disk", &disk, "--display", "none"]));
    session.wait_for("cow> ", LIMIT);
    let taken = start.elapsed();
    session.kill();
    // The tests run beside each other and with every assertion on: a second alone, three here.
    assert!(
        taken < Duration::from_secs(3),
        "the prompt came after {taken:?}"
    );
    Ok(())
}

fn same_sum() -> Outcome {
    let sum = |bus| {
        let run = run(bus, "stress 80 3\nhalt", &[]);
        run.expect_code(0);
        run.find("stress: 80 writes, [0-9]+ sectors read back, sum ([0-9a-f]{8})")
            .to_owned()
    };
    assert_eq!(sum("ide"), sum("virtio"));
    Ok(())
}

fn snapshot() -> Outcome {
    let before = crate::images::sha256(&committed("images/demo.qcow2"));
    run("ide", "stress 20\nhalt", &[])
        .expect_code(0)
        .find("stress: 20 writes");
    assert_eq!(
        crate::images::sha256(&committed("images/demo.qcow2")),
        before
    );
    Ok(())
}

fn debug_exit() -> Outcome {
    run("ide", "exit 21", &[]).expect_code(43);
    Ok(())
}

fn triple_fault() -> Outcome {
    let run = run("ide", "triple", &[]);
    run.expect_code(70);
    for word in ["int3", "protected", "eax", "eip"] {
        assert!(
            run.errors.to_lowercase().contains(word),
            "no {word} in the dump:\n{}",
            run.errors
        );
    }
    Ok(())
}

fn reset() -> Outcome {
    run("ide", "reboot", &["--no-reboot"]).expect_code(0);
    Ok(())
}

/// Neither behind, though the guest works at first, nor ahead, though it is idle then.
fn host_clock() -> Outcome {
    let disk = format!("{},snapshot=on", committed("images/demo.qcow2").display());
    let mut command = cowbox(["run", "--disk", &disk, "--display", "none", "--print-hash"]);
    command.args(["--clock", "host", "--timeout", "3s"]);
    let run = Session::start(command).finish(LIMIT);
    let line = run.expect_code(124).errors.lines().last().unwrap();
    let tick: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    let ms = tick / 1_000_000;
    assert!((2_900..3_500).contains(&ms), "{ms} ms of guest time in 3 s");
    Ok(())
}

fn debug_console() -> Outcome {
    let scratch = Scratch::new("debug-console");
    let log = scratch.path("log");
    let target = format!("file:{}", log.display());
    run("ide", "halt", &["-debugcon", &target]).expect_code(0);
    let said = std::fs::read_to_string(log).unwrap();
    assert!(said.contains("Disk 0: IDE primary master"), "{said}");
    Ok(())
}

fn time_limit() -> Outcome {
    let disk = format!("{},snapshot=on", committed("images/demo.qcow2").display());
    let arguments = [
        "run",
        "--disk",
        &disk,
        "--display",
        "none",
        "--timeout",
        "3s",
    ];
    Session::start(cowbox(arguments))
        .finish(LIMIT)
        .expect_code(124)
        .find("cow> ");
    Ok(())
}
