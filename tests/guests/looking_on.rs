//! Commands that look on (`-U`) while a guest writes its disk at full speed.

use std::process::Output;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::fixture::{Scratch, committed, tool};
use crate::images::{Allow, check, overlay, sha256};
use crate::session::{Session, cowbox};
use crate::{Outcome, full, trial};

const LIMIT: Duration = Duration::from_secs(120);
const COMMANDS: [&[&str]; 3] = [&["info"], &["map", "--output=json"], &["check"]];

pub(crate) fn trials() -> Vec<Trial> {
    let name = "looking_on_at_a_writing_guest_neither_fails_nor_disturbs";
    vec![trial(name, looking_on)]
}

fn looking_on() -> Outcome {
    tool("qemu-img", "qemu-utils")?;
    let scratch = Scratch::new("looking-on");
    let disk = overlay(&committed("images/demo.qcow2"), scratch.path("disk.qcow2"));
    let look = |arguments: &[&str]| -> Output {
        let words = ["img"].into_iter().chain(arguments.iter().copied());
        let command = cowbox(words).arg("--backing-any").arg(&disk).output();
        command.unwrap()
    };
    let with = format!("{},backing=any,bus=virtio", disk.display());
    let run = ["run", "--disk", &with, "-m", "64M", "--display", "none"];
    let stress = ["--expect", "cow> ", "--send", "stress 100000000 1\n"];
    let mut guest = Session::start(cowbox([&run[..], &stress].concat()));
    guest.wait_for("cow> ", LIMIT);
    let mut lengths = Vec::new();
    for round in 0..if full() { 100 } else { 10 } {
        for command in COMMANDS {
            let output = look(&[command, &["-U"]].concat());
            // Space that the guest's disk is yet to give back may last from pass to pass.
            let fine: &[i32] = if command == ["check"] { &[0, 3] } else { &[0] };
            let code = output.status.code().unwrap();
            assert!(fine.contains(&code), "{command:?} {round}: {output:?}");
        }
        lengths.push(disk.metadata().unwrap().len());
    }
    assert!(lengths.last() > lengths.first(), "the guest wrote nothing");
    for command in COMMANDS {
        let output = look(command);
        let said = String::from_utf8_lossy(&output.stderr);
        let holder = format!("cowbox (process {})", guest.id());
        assert!(!output.status.success() && said.contains(&holder), "{said}");
    }
    // What a stopped guest has written stays as it is, whoever looks on.
    signal(&guest, "-STOP");
    while !is_stopped(&guest) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let before = sha256(&disk);
    for command in COMMANDS {
        let output = look(&[command, &["-U"]].concat());
        assert_ne!(output.status.code(), Some(1), "{command:?}: {output:?}");
    }
    assert_eq!(sha256(&disk), before, "somebody wrote");
    signal(&guest, "-CONT");
    guest.kill();
    check(&disk, Allow::Leaks);
    Ok(())
}

/// Whether each thread has stopped: a signal reaches one on its way out of a write only after it.
fn is_stopped(guest: &Session) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{}/task", guest.id())).unwrap();
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('T'))
    })
}

fn signal(guest: &Session, signal: &str) {
    let mut kill = std::process::Command::new("kill");
    crate::fixture::run(kill.arg(signal).arg(guest.id().to_string()));
}
