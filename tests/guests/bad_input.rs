//! Bad input gets one clear line, exit status 1 or 2, and untouched files.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;

use crate::fixture::{Scratch, committed, run, tool};
use crate::images::sha256;
use crate::session::{Session, cowbox};
use crate::{Outcome, trial};

const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("missing_file_is_named", || {
            refuse("missing", |_| "no-such.qcow2".into(), "no-such")
        }),
        trial("directory_is_no_disk", || {
            refuse("directory", directory, "directory")
        }),
        trial("truncated_header_is_refused", || {
            refuse("short-header", short_header, "disk")
        }),
        trial("truncated_tables_are_refused", || {
            refuse("short-tables", short_tables, "disk")
        }),
        trial("unknown_feature_bit_is_refused", || {
            refuse("feature", unknown_feature, "feature")
        }),
        trial("raw_disk_without_a_format_is_refused", || {
            refuse("raw", raw, "format=raw")
        }),
        trial("backing_loop_is_refused", backing_loop),
        trial(
            "backing_file_without_a_format_is_refused",
            backing_without_format,
        ),
        trial("image_in_use_is_refused", in_use),
        trial("no_memory_is_refused", || refuse_memory("0")),
        trial("too_much_memory_is_refused", || refuse_memory("1048576G")),
        trial("kernel_that_is_none_is_refused", no_kernel),
    ]
}

/// Runs a command that must fail; returns the line it prints.
fn failing_line(command: Command) -> String {
    let shown = format!("{command:?}");
    let finished = Session::start(command).finish(LIMIT);
    let code = finished.status.code();
    let errors = finished.errors.trim_end().to_owned();
    assert!(
        matches!(code, Some(1 | 2)),
        "{shown}: exit code {code:?}\n{errors}"
    );
    assert_eq!(
        errors.lines().count(),
        1,
        "{shown}: not one line:\n{errors}"
    );
    assert!(
        errors.len() > 10 && errors.len() < 400,
        "{shown}: no clear line:\n{errors}"
    );
    errors
}

/// A run with this disk must fail, say `word` and leave the file as it was.
fn refuse(name: &str, make: impl Fn(&Scratch) -> PathBuf, word: &str) -> Outcome {
    let scratch = Scratch::new(&format!("bad-{name}"));
    let disk = make(&scratch);
    refuse_disk(&disk, word);
    Ok(())
}

fn refuse_disk(disk: &Path, word: &str) {
    let before = disk.is_file().then(|| sha256(disk));
    let line = failing_line(cowbox([
        "run",
        "--display",
        "none",
        "--disk",
        disk.to_str().unwrap(),
    ]));
    assert!(line.contains(word), "no {word:?} in: {line}");
    assert_eq!(
        disk.is_file().then(|| sha256(disk)),
        before,
        "{} changed",
        disk.display()
    );
}

fn directory(scratch: &Scratch) -> PathBuf {
    let path = scratch.path("a-directory");
    std::fs::create_dir(&path).unwrap();
    path
}

/// The demo disk with its bytes changed.
fn changed(scratch: &Scratch, change: impl Fn(&mut Vec<u8>)) -> PathBuf {
    let path = scratch.path("disk.qcow2");
    let mut bytes = std::fs::read(committed("images/demo.qcow2")).unwrap();
    change(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn short_header(scratch: &Scratch) -> PathBuf {
    changed(scratch, |bytes| bytes.truncate(60))
}

fn short_tables(scratch: &Scratch) -> PathBuf {
    changed(scratch, |bytes| bytes.truncate(4096))
}

fn unknown_feature(scratch: &Scratch) -> PathBuf {
    changed(scratch, |bytes| bytes[72] |= 0x80) // incompatible feature bit 63
}

fn raw(scratch: &Scratch) -> PathBuf {
    let path = scratch.path("disk.img");
    std::fs::write(&path, vec![0; 1 << 20]).unwrap();
    path
}

fn qemu_img_create(backing: &str, format: &str, path: &Path) {
    run(Command::new("qemu-img")
        .args([
            "create", "-q", "-f", "qcow2", "-u", "-F", format, "-b", backing,
        ])
        .arg(path)
        .arg("1M"));
}

fn backing_loop() -> Outcome {
    tool("qemu-img", "qemu-utils")?;
    let scratch = Scratch::new("bad-loop");
    qemu_img_create("b.qcow2", "qcow2", &scratch.path("a.qcow2"));
    qemu_img_create("a.qcow2", "qcow2", &scratch.path("b.qcow2"));
    refuse_disk(&scratch.path("a.qcow2"), "backing");
    Ok(())
}

fn backing_without_format() -> Outcome {
    tool("qemu-img", "qemu-utils")?;
    let scratch = Scratch::new("bad-backing");
    raw(&scratch);
    let path = scratch.path("top.qcow2");
    qemu_img_create("disk.img", "raw", &path);
    // Turns the "backing file format" header extension into one that nobody knows.
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes
        .windows(4)
        .position(|four| four == 0xE279_2ACA_u32.to_be_bytes())
        .unwrap();
    bytes[at..at + 4].copy_from_slice(&0x0C0B_0C0B_u32.to_be_bytes());
    std::fs::write(&path, bytes).unwrap();
    refuse_disk(&path, "format");
    Ok(())
}

/// qemu-nbd holding an image open; ended when dropped.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn in_use() -> Outcome {
    tool("qemu-nbd", "qemu-utils")?;
    let scratch = Scratch::new("bad-in-use");
    let (disk, socket) = (changed(&scratch, |_| ()), scratch.path("nbd"));
    let holder = Command::new("qemu-nbd")
        .args(["--persistent", "-f", "qcow2", "-k"])
        .arg(&socket)
        .arg(&disk)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _holder = Holder(holder);
    for _ in 0..100 {
        if socket.exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(socket.exists(), "qemu-nbd did not start");
    refuse_disk(&disk, "disk.qcow2");
    Ok(())
}

fn refuse_memory(size: &str) -> Outcome {
    let disk = format!("{},snapshot=on", committed("images/demo.qcow2").display());
    failing_line(cowbox([
        "run",
        "--display",
        "none",
        "-m",
        size,
        "--disk",
        &disk,
    ]));
    Ok(())
}

fn no_kernel() -> Outcome {
    let file = committed("Cargo.toml");
    let before = sha256(&file);
    let line = failing_line(cowbox([
        "run",
        "--display",
        "none",
        "--kernel",
        file.to_str().unwrap(),
    ]));
    assert!(line.contains("Cargo.toml"), "{line}");
    assert_eq!(sha256(&file), before);
    Ok(())
}
