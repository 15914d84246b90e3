//! Images made to waste time, on the `cowbox` command as a user runs it: each is refused or handled
//! at once. What counts is the processor time of the command, so that a busy machine does not; the
//! wall clock only catches what would wait for ever.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cowbox::image::crypt::options::LuksOptions;
use cowbox::image::qcow2::create::{CreateOptions, DataFile, DataFileContents, Encryption};
use cowbox::image::{self, Secret};
use cowbox::storage::MemoryStorage;

use crate::programs::{COWBOX, create, text};
use crate::scratch::Scratch;

/// What a command may take of the processor.
const LIMIT: Duration = Duration::from_millis(100);
/// When a command counts as stuck.
const STUCK: Duration = Duration::from_secs(30);

/// What a command printed as errors, and whether it succeeded.
struct Ended {
    success: bool,
    errors: String,
}

/// Runs `cowbox img` with `args`; fails if that takes longer than it may.
fn quickly(args: &[&str]) -> Ended {
    let mut child = Command::new(COWBOX)
        .arg("img")
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    // Ended and not yet waited for: then the kernel still tells what it used.
    let used = loop {
        let (state, used) = state(child.id());
        if state == 'Z' {
            break used;
        }
        if start.elapsed() > STUCK {
            child.kill().unwrap();
            panic!("{args:?} is stuck");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(used < LIMIT, "{args:?} took {used:?}: {errors}");
    assert!(errors.lines().count() <= 1, "{args:?}: {errors}");
    assert!(
        matches!(output.status.code(), Some(0..=3)),
        "{args:?}: {errors}"
    );
    Ended {
        success: output.status.success(),
        errors,
    }
}

/// The state of a process, and the processor time that it has used (proc(5), fields 3, 14, 15).
fn state(pid: u32) -> (char, Duration) {
    let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name, in parentheses, may hold anything.
    let fields: Vec<&str> = line
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    let state = fields[0].chars().next().unwrap();
    (state, Duration::from_millis(ticks * 10))
}

/// Runs the commands that read an image; gives what those that failed said.
fn refusals(image: &Path, scratch: &Scratch) -> Vec<String> {
    let (image, flat) = (text(image), scratch.path("flat"));
    let commands: [&[&str]; 8] = [
        &["info", "--backing-chain"],
        &["info", "-U"],
        &["map"],
        &["map", "-U", "--output=json"],
        &["check"],
        &["check", "-U"],
        &["measure", "-O", "qcow2"],
        &["io", "-f", "qcow2", "-c", "write 0 512"],
    ];
    let mut said = Vec::new();
    for command in commands {
        let ended = quickly(&[command, &[image]].concat());
        said.extend((!ended.success).then_some(ended.errors));
    }
    for format in ["raw", "qcow2"] {
        let convert = ["convert", "-f", "qcow2", "-O", format, image, text(&flat)];
        let ended = quickly(&convert);
        said.extend((!ended.success).then_some(ended.errors));
        let _ = std::fs::remove_file(&flat);
    }
    said
}

fn fifo(path: PathBuf) -> PathBuf {
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    path
}

/// Makes an image by its bytes, without asking whether what it names makes sense.
fn write(path: &Path, change: impl FnOnce(&mut CreateOptions)) {
    let mut options = CreateOptions {
        size: 1 << 20,
        ..CreateOptions::default()
    };
    change(&mut options);
    let storage = MemoryStorage::new(Vec::new());
    image::qcow2::create::create(&storage, &options).unwrap();
    std::fs::write(path, storage.to_vec()).unwrap();
}

#[test]
fn backing_loops_are_refused_at_once() {
    let scratch = Scratch::new("quick-loops");
    let [a, b] = ["a", "b"].map(|name| scratch.path(name));
    let over = |path: &Path, name: &str| {
        let backing = Some((name.to_owned(), "qcow2".to_owned()));
        write(path, |options| options.backing = backing);
    };
    over(&a, "a");
    let said = refusals(&a, &scratch);
    assert!(
        said.len() >= 6 && said.iter().all(|line| line.contains("loop")),
        "{said:?}"
    );
    over(&a, "b");
    over(&b, "./a");
    let said = refusals(&a, &scratch);
    assert!(
        said.len() >= 6 && said.iter().all(|line| line.contains("loop")),
        "{said:?}"
    );
}

#[test]
fn pipes_and_devices_do_not_block() {
    let scratch = Scratch::new("quick-pipes");
    let image = scratch.path("image");
    let pipe = fifo(scratch.path("pipe"));
    let said = refusals(&pipe, &scratch);
    assert!(said.len() >= 8, "{said:?}");
    for name in ["pipe", "/dev/zero", "/proc/self/mem", "."] {
        for format in ["raw", "qcow2"] {
            let backing = Some((name.to_owned(), format.to_owned()));
            write(&image, |options| options.backing = backing);
            assert!(refusals(&image, &scratch).len() >= 5, "{name}");
        }
    }
}

#[test]
fn hostile_names_of_data_files_are_refused_at_once() {
    let scratch = Scratch::new("quick-data-files");
    let image = scratch.path("image");
    fifo(scratch.path("pipe"));
    let names = [
        "pipe",
        "image",
        ".",
        "../../../../../../etc/passwd",
        "/dev/zero",
        "json:{\"driver\":\"file\",\"filename\":\"/etc/passwd\"}",
        "nbd://127.0.0.1:1",
        "missing",
    ];
    for name in names {
        for contents in [DataFileContents::Mapped, DataFileContents::Raw] {
            let name = name.to_owned();
            let file = Some(DataFile { name, contents });
            write(&image, |options| options.data_file = file);
            let said = refusals(&image, &scratch);
            assert!(said.len() >= 5, "{said:?}");
        }
    }
}

#[test]
fn a_terabyte_in_a_tiny_file_costs_nothing() {
    let scratch = Scratch::new("quick-terabyte");
    let image = scratch.path("image");
    write(&image, |options| options.size = 1 << 40);
    assert!(refusals(&image, &scratch).is_empty());
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&image)
        .unwrap();
    file.set_len(64 << 10).unwrap();
    drop(file);
    let said = refusals(&image, &scratch);
    // What `check` finds is no error of its own.
    let cut = |line: &String| line.is_empty() || line.contains("truncated");
    assert!(said.len() >= 8 && said.iter().all(cut), "{said:?}");
    // A header alone, which says that its tables lie in itself.
    let mut bytes = std::fs::read(&image).unwrap();
    bytes[40..48].copy_from_slice(&0u64.to_be_bytes());
    std::fs::write(&image, &bytes).unwrap();
    assert!(refusals(&image, &scratch).len() >= 5);
}

#[test]
fn key_derivations_without_end_are_refused_before_they_start() {
    let scratch = Scratch::new("quick-keys");
    let file = scratch.path("image");
    let mut luks = LuksOptions::new(Secret::new("secret"));
    luks.set("iter-time", "0").unwrap();
    let options = CreateOptions {
        size: 1 << 20,
        encryption: Encryption::Luks(luks),
        ..CreateOptions::default()
    };
    create(&file, &options);
    let good = std::fs::read(&file).unwrap();
    let luks = good.windows(6).position(|bytes| bytes == b"LUKS\xba\xbe");
    // The iterations of the first key slot, and of the digest of the master key.
    for at in [208 + 4, 164] {
        let mut bytes = good.clone();
        let at = luks.unwrap() + at;
        bytes[at..at + 4].fill(0xff);
        std::fs::write(&file, &bytes).unwrap();
        let opened = format!(
            "driver=qcow2,encrypt.key-secret=s,file.filename={}",
            text(&file)
        );
        let secret = "secret,id=s,data=secret";
        let map = ["map", "--object", secret, "--image-opts", &opened];
        let ended = quickly(&map);
        assert!(!ended.success, "{}", ended.errors);
        assert!(ended.errors.contains("iterations"), "{}", ended.errors);
        quickly(&["info", text(&file)]);
    }
}
