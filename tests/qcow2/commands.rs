//! What options of `cowbox img` do that only show from the command line, and that QEMU's tools
//! accept the result. Needs qemu-img and qemu-io (Debian: qemu-utils).

use std::path::Path;
use std::process::{Command, Output};

use crate::scratch::{Random, Scratch};

const COWBOX: &str = env!("CARGO_BIN_EXE_cowbox");

fn run(program: &str, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    if program == COWBOX {
        command.arg("img");
    }
    let output = command.args(args).output();
    output.unwrap_or_else(|e| panic!("{program}: {e}; install qemu-utils"))
}

/// Runs it; it must succeed.
fn does(program: &str, args: &[&str]) -> String {
    let output = run(program, args);
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `cowbox img`; it must fail and say `what`.
fn refuses(args: &[&str], what: &str) {
    let output = run(COWBOX, args);
    assert!(!output.status.success(), "{args:?} succeeded");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains(what), "{errors:?} does not say {what:?}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn compressed_copies_join_sources_that_end_inside_a_cluster() {
    let scratch = Scratch::new("join");
    let [first, second, third] = ["1", "2", "3"].map(|name| scratch.path(name));
    let [joined, back] = ["joined", "back"].map(|name| scratch.path(name));
    let mut expected = Vec::new();
    for (file, kib) in [(&first, 1023), (&second, 1), (&third, 700)] {
        let mut disk = Random(kib).bytes(kib as usize * 1024);
        // Compressible in part, and zeros on both sides of the seam.
        disk[..512].fill(0);
        let half = disk.len() / 2;
        disk[half..].fill(7);
        std::fs::write(file, &disk).unwrap();
        expected.extend(disk);
    }
    let sources = [text(&first), text(&second), text(&third), text(&joined)];
    let make = ["convert", "-c", "-f", "raw", "-O", "qcow2"];
    does(COWBOX, &[&make[..], &sources].concat());
    does("qemu-img", &["check", "-q", text(&joined)]);
    does(
        "qemu-img",
        &["convert", "-O", "raw", text(&joined), text(&back)],
    );
    assert!(std::fs::read(&back).unwrap() == expected);
}

#[test]
fn zeros_are_stored_compressed_too_where_none_are_to_be_left_out() {
    let scratch = Scratch::new("stored-zeros");
    let [source, copy] = ["source", "copy"].map(|name| scratch.path(name));
    does(COWBOX, &["create", "-f", "qcow2", text(&source), "1M"]);
    let all = [
        "convert",
        "-c",
        "-S",
        "0",
        "-O",
        "qcow2",
        text(&source),
        text(&copy),
    ];
    does(COWBOX, &all);
    let map = does("qemu-img", &["map", "--output=json", text(&copy)]);
    let one = "\"start\": 0, \"length\": 1048576, \"depth\": 0, \"present\": true";
    assert!(map.contains(one), "{map}");
    let ignored = [
        "convert",
        "-n",
        "-o",
        "compat=0.10",
        "-O",
        "qcow2",
        text(&source),
        text(&copy),
    ];
    refuses(&ignored, "-o has no effect");
}

#[test]
fn telling_what_an_encrypted_image_is_takes_no_password() {
    let scratch = Scratch::new("no-password");
    let file = scratch.path("image");
    let make = [
        "create",
        "-f",
        "qcow2",
        "--object",
        "secret,id=s,data=x",
        "-o",
    ];
    let how = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10";
    does(COWBOX, &[&make[..], &[how, text(&file), "1M"]].concat());
    let with = format!(
        "driver=qcow2,file.filename={},encrypt.key-secret=none",
        text(&file)
    );
    let told = does(COWBOX, &["info", "--image-opts", &with]);
    assert!(told.contains("cipher alg: aes-256"), "{told}");
    refuses(
        &["compare", "--image-opts", &with, &with],
        "No secret with id 'none'",
    );
}

#[test]
fn measured_sizes_are_those_that_qemu_names() {
    let scratch = Scratch::new("measure");
    let file = scratch.path("image");
    does(
        "qemu-img",
        &["create", "-q", "-f", "qcow2", text(&file), "100M"],
    );
    for (name, granularity) in [("fine", "512"), ("coarse", "2M")] {
        let add = ["bitmap", "--add", "-g", granularity, text(&file), name];
        does("qemu-img", &add);
    }
    does("qemu-io", &["-c", "write 3M 5M", text(&file)]);
    let of_file = [
        "cluster_size=64k",
        "compat=0.10",
        "extended_l2=on,cluster_size=16k",
        "backing_file=below,backing_fmt=raw",
        "preallocation=full",
    ];
    for options in of_file {
        let args = [
            "measure",
            "-O",
            "qcow2",
            "-o",
            options,
            "-f",
            "qcow2",
            text(&file),
        ];
        assert_eq!(does(COWBOX, &args), does("qemu-img", &args), "{options}");
    }
    for options in [
        "preallocation=falloc",
        "preallocation=metadata",
        "extended_l2=on",
    ] {
        let args = ["measure", "-O", "qcow2", "-o", options, "--size", "1G"];
        assert_eq!(does(COWBOX, &args), does("qemu-img", &args), "{options}");
    }
    for options in ["cluster_size=0", "cluster_size=3000", "refcount_bits=7"] {
        let args = ["measure", "-O", "qcow2", "-o", options, "--size", "1G"];
        let output = run(COWBOX, &args);
        assert_eq!(output.status.code(), Some(1), "{options}: {output:?}");
    }
}

#[test]
fn amend_changes_the_size_together_with_the_version() {
    let scratch = Scratch::new("amend-size");
    let file = scratch.path("image");
    let size = |expected: &str| {
        let info = does("qemu-img", &["info", "--output=json", text(&file)]);
        assert!(info.contains(expected), "{info}");
        does("qemu-img", &["check", "-q", text(&file)]);
    };
    does(
        "qemu-img",
        &[
            "create",
            "-q",
            "-f",
            "qcow2",
            "-o",
            "compat=0.10",
            text(&file),
            "32M",
        ],
    );
    does("qemu-io", &["-c", "write -P 42 24M 64k", text(&file)]);
    does("qemu-img", &["snapshot", "-c", "before", text(&file)]);
    let amend = |options| {
        run(COWBOX, &["amend", "-o", options, text(&file)])
            .status
            .success()
    };
    assert!(
        !amend("size=64M"),
        "a snapshot of version 2 does not know its size"
    );
    assert!(amend("compat=1.1,size=128M"));
    size("\"virtual-size\": 134217728");
    assert!(!amend("compat=0.10"), "the snapshot has another size");
    refuses(&["amend", "-o", "size=32M", text(&file)], "resize --shrink");
    does("qemu-io", &["-c", "read -P 42 24M 64k", text(&file)]);
    does("qemu-img", &["snapshot", "-a", "before", text(&file)]);
    size("\"virtual-size\": 33554432");
}
