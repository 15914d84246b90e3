//! Snapshots with machine state: QEMU saves a real machine, we list, check, apply, copy and rewrite
//! the image, and QEMU loads the machine again. Needs qemu-system-x86_64 (Debian: qemu-system-x86).

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::programs::{COWBOX, assert_clean, contents, qemu, text};
use crate::scratch::Scratch;
use cowbox::image::OpenOptions;

/// What each machine has in its memory at [`MARK_AT`].
const FIRST: &str = "0x11223344";
const SECOND: &str = "0x55667788";
const MARK_AT: &str = "0x100000";

/// Runs a machine that stands still, with `mark` in its memory if there is one, and says `commands`
/// to its monitor; gives what that says.
fn machine(disk: &Path, mark: Option<&str>, commands: &[&str]) -> String {
    let mut machine = Command::new("qemu-system-x86_64");
    machine
        .args(["-accel", "tcg", "-M", "pc", "-m", "8", "-S"])
        .args(["-display", "none", "-nodefaults", "-monitor", "stdio"])
        .arg("-drive")
        .arg(format!("file={},format=qcow2,if=ide", disk.display()));
    if let Some(mark) = mark {
        let loader = format!("loader,addr={MARK_AT},data={mark},data-len=4");
        machine.arg("-device").arg(loader);
    }
    let mut machine = machine
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("qemu-system-x86_64: {e}; install qemu-system-x86"));
    let mut monitor = machine.stdin.take().unwrap();
    for command in commands {
        writeln!(monitor, "{command}").unwrap();
    }
    writeln!(monitor, "quit").unwrap();
    let output = machine.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{commands:?}: {said}");
    assert!(!said.contains("Error"), "{commands:?}: {said}");
    said
}

/// QEMU loads a machine; it is the one with `mark` in its memory.
fn assert_loads(disk: &Path, name: &str, mark: &str) {
    let load = format!("loadvm {name}");
    let look = format!("xp /1wx {MARK_AT}");
    let said = machine(disk, None, &[&load, &look]);
    let found = format!("{:0>16}: {mark}", MARK_AT.trim_start_matches("0x"));
    assert!(said.contains(&found), "{name}: {said}");
}

fn ours(args: &[&str]) -> String {
    qemu(COWBOX, &[&["img"], args].concat())
}

/// The snapshots as `info` tells about them.
fn snapshots(info: &str) -> Value {
    let info: Value = serde_json::from_str(info).unwrap();
    info["snapshots"].clone()
}

/// What `io` reads of the machine state that belongs to the disk as it is.
fn state(program: &[&str], disk: &str) -> Vec<String> {
    let read = ["-f", "qcow2", "-r", "-c", "read -b -v 0 64k", disk];
    let said = qemu(program[0], &[&program[1..], &read].concat());
    // Not how long it took.
    let rows = said.lines().filter(|line| line.get(8..9) == Some(":"));
    rows.map(str::to_owned).collect()
}

#[test]
fn machines_that_qemu_saved_survive_what_we_do_to_their_image() {
    let kinds = [
        "cluster_size=64k",
        "compat=0.10,cluster_size=4k",
        "cluster_size=16k,extended_l2=on,refcount_bits=32",
    ];
    for (number, options) in kinds.into_iter().enumerate() {
        let scratch = Scratch::new(&format!("vm-state-{number}"));
        let (disk, flat) = (scratch.path("disk.qcow2"), scratch.path("flat"));
        let name = text(&disk);
        let make = ["create", "-q", "-f", "qcow2", "-o", options, name, "20M"];
        qemu("qemu-img", &make);
        qemu("qemu-io", &["-f", "qcow2", "-c", "write -P 7 1M 3M", name]);
        machine(&disk, Some(FIRST), &["savevm first"]);
        qemu("qemu-io", &["-f", "qcow2", "-c", "write -P 9 2M 64k", name]);
        machine(&disk, Some(SECOND), &["savevm second"]);
        assert_clean(&disk);

        let info = ["info", "--output=json", name];
        let theirs = snapshots(&qemu("qemu-img", &info));
        assert_eq!(snapshots(&ours(&info)), theirs);
        assert!(theirs[1]["vm-state-size"].as_u64().unwrap() > 100_000);
        for snapshot in ["first", "second"] {
            let copy = ["convert", "-l", snapshot, "-O", "raw", name, text(&flat)];
            qemu("qemu-img", &copy);
            let theirs = std::fs::read(&flat).unwrap();
            ours(&copy);
            assert!(
                std::fs::read(&flat).unwrap() == theirs,
                "{options} {snapshot}"
            );
        }

        ours(&["snapshot", "-a", "first", name]);
        assert_clean(&disk);
        assert!(contents(&disk, &OpenOptions::read_only())[2 << 20] == 7);
        let ours_read = state(&[COWBOX, "img", "io"], name);
        assert_eq!(ours_read.len(), 4096);
        assert_eq!(ours_read, state(&["qemu-io"], name), "{options}");
        assert_loads(&disk, "second", SECOND);
        assert_loads(&disk, "first", FIRST);

        // A snapshot of ours between them, one of theirs deleted, everything moved.
        ours(&["snapshot", "-c", "ours", name]);
        ours(&["io", "-c", "write -P 3 0 6M", name]);
        ours(&["snapshot", "-d", "first", name]);
        ours(&["compact", name]);
        assert_clean(&disk);
        assert_loads(&disk, "second", SECOND);
        assert!(contents(&disk, &OpenOptions::read_only())[2 << 20] == 9);
        ours(&["snapshot", "-a", "ours", name]);
        ours(&["snapshot", "-a", "second", name]);
        assert_clean(&disk);
        assert_loads(&disk, "second", SECOND);
        ours(&["snapshot", "-d", "second", name]);
        ours(&["snapshot", "-d", "ours", name]);
        assert_clean(&disk);
    }
}

#[test]
fn machine_state_that_we_write_qemu_reads_out_of_its_snapshot() {
    let scratch = Scratch::new("vm-state-ours");
    let disk = scratch.path("disk.qcow2");
    let name = text(&disk);
    for options in ["cluster_size=64k", "cluster_size=512", "compat=0.10"] {
        let make = ["create", "-q", "-f", "qcow2", "-o", options, name, "3M"];
        ours(&make);
        ours(&[
            "io",
            "-c",
            "write -b -P 5 1024 149504",
            "-c",
            "write -P 6 1M 1M",
            name,
        ]);
        qemu("qemu-img", &["snapshot", "-c", "theirs", name]);
        ours(&["io", "-c", "write -b -P 8 0 100k", name]);
        assert_clean(&disk);
        qemu("qemu-img", &["snapshot", "-a", "theirs", name]);
        assert_clean(&disk);
        for program in [&["qemu-io"][..], &[COWBOX, "img", "io"]] {
            let read = [
                "-f",
                "qcow2",
                "-c",
                "read -b -P 5 1024 149504",
                "-c",
                "read -P 6 1M 1M",
            ];
            let said = qemu(program[0], &[&program[1..], &read, &[name]].concat());
            assert!(!said.contains("failed"), "{options} {program:?}: {said}");
        }
    }
}
