//! Mutated images through the program itself, under a limit of its address space and with every
//! file recorded that it opens.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Mutex;

use super::seeds::{BACKING, DATA};
use super::{Base, bases, full, mutated};
use crate::scratch::{Random, Scratch};

const FULL: u64 = 2_000;
const SLICE: u64 = 24;
/// What the program may map: itself, its libraries, stacks and heaps of its threads, and what the
/// work takes.
const ADDRESS_SPACE: &str = "--as=805306368";
/// A mapping of more bytes is not copied.
const MAX_DATA: u64 = 64 << 20;
/// Seconds on a processor, which a busy host does not stretch, and the seconds after which a program
/// that uses none hangs.
const TIME: &str = "--cpu=10";
const HANG: &str = "600";
/// What timeout(1) ends with when it had to end the program.
const HUNG: i32 = 124;
/// What the loader and the libraries open themselves: libraries, the limits of the control group for
/// the number of threads, what a process is told about itself, and what malloc asks before it gives
/// memory of a thread back.
const OF_THE_SYSTEM: [&str; 8] = [
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/lib/",
    "/lib64/",
    "/usr/lib/",
    "/proc/self/",
    "/proc/sys/vm/overcommit_memory",
    "/sys/fs/cgroup/",
];
/// Of the length of the names in the seeds, which they replace.
const HOSTILE_NAMES: [&[u8; 8]; 8] = [
    b"/dev/mem",
    b"../a.raw",
    b"nbd://h/",
    b"json:{} ",
    b"/proc/1/",
    b"file:a.b",
    b"fifo\0\0\0\0",
    b"./image\0",
];

/// The image of a number; of those that name a file, half name one that is not theirs.
fn image(bases: &[Base], number: u64) -> Vec<u8> {
    let (_, mut bytes) = mutated(bases, number);
    let mut random = Random(!number);
    if random.below(2) == 0 {
        let name = HOSTILE_NAMES[random.below(8) as usize];
        for known in [BACKING, DATA] {
            let found = bytes.windows(8).position(|part| part == known.as_bytes());
            if let Some(at) = found {
                bytes[at..at + 8].copy_from_slice(name);
            }
        }
    }
    bytes
}

/// Runs `cowbox img` in `directory`, and gives what it did and the files that it opened.
fn run(directory: &Path, arguments: &[&str]) -> (Output, Vec<String>) {
    let trace = directory.join("trace");
    let output = Command::new("timeout")
        .args([HANG, "prlimit", ADDRESS_SPACE, TIME])
        .args(["strace", "-f", "-qq", "-o", "trace"])
        .args(["-e", "trace=open,openat,openat2,creat"])
        .args([env!("CARGO_BIN_EXE_cowbox"), "img"])
        .args(arguments)
        .current_dir(directory)
        .env("RUST_BACKTRACE", "0")
        // cargo names directories of libraries here, which the loader would search first.
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .unwrap();
    let lines = std::fs::read_to_string(trace).unwrap_or_default();
    (output, lines.lines().filter_map(opened).collect())
}

/// The name in a line of strace.
fn opened(line: &str) -> Option<String> {
    let start = line.find('"')?;
    let end = line[start + 1..].find('"')?;
    Some(line[start + 1..start + 1 + end].to_owned())
}

/// Whether the program may open `name` when it works on an image in `directory`.
fn is_permitted(name: &str, directory: &Path) -> bool {
    let path = Path::new(name);
    let upwards = path.components().any(|part| part.as_os_str() == "..");
    let inside = path.is_relative() || path.starts_with(directory);
    inside && !upwards || OF_THE_SYSTEM.iter().any(|known| name.starts_with(known))
}

/// Bytes that the output of `map` says are data.
fn data_bytes(map: &[u8]) -> u64 {
    let extents: Vec<serde_json::Value> = serde_json::from_slice(map).unwrap_or_default();
    let data = extents.iter().filter(|extent| extent["data"] == true);
    data.map(|extent| extent["length"].as_u64().unwrap_or(0))
        .fold(0, u64::saturating_add)
}

fn survive(bases: &[Base], number: u64, directory: &Path) -> Vec<String> {
    std::fs::write(directory.join("image"), image(bases, number)).unwrap();
    for name in [BACKING, DATA] {
        std::fs::write(directory.join(name), [0xa5; 100_000]).unwrap();
    }
    let mut small = true;
    let mut findings = Vec::new();
    let commands: [&[&str]; 9] = [
        &["info", "--backing-chain", "image"],
        &["check", "image"],
        &["map", "--output=json", "image"],
        &["map", "--visual", "image"],
        &["explain", "image", "64k"],
        &["explain", "image", "host=64k"],
        &["convert", "-O", "qcow2", "image", "copy"],
        &["check", "-r", "all", "image"],
        &["io", "-c", "write -P 1 0 4k", "-c", "flush", "image"],
    ];
    for command in commands {
        if command[0] == "convert" && !small {
            continue;
        }
        let (output, names) = run(directory, command);
        let what = format!("image {number}, {}", command.join(" "));
        match output.status.code() {
            None | Some(101 | HUNG..) => {
                let text = String::from_utf8_lossy(&output.stderr);
                findings.push(format!("{what}: {}: {text}", output.status));
            }
            Some(_) => {}
        }
        if command.contains(&"--output=json") {
            small = data_bytes(&output.stdout) <= MAX_DATA;
        }
        let foreign = names.iter().filter(|name| !is_permitted(name, directory));
        findings.extend(foreign.map(|name| format!("{what} opens {name}")));
        assert!(!names.is_empty(), "strace saw nothing: {output:?}");
    }
    findings
}

#[test]
fn the_program_survives_mutated_images_and_opens_nothing_else() {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("skipped: strace is not installed (apt-get install strace)");
        return;
    }
    let bases = bases();
    let images = if full() { FULL } else { SLICE };
    let findings = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for part in 0..2 {
            let (bases, findings) = (&bases, &findings);
            scope.spawn(move || {
                let scratch = Scratch::new(&format!("mutated-{part}"));
                let directory = scratch.path("images");
                std::fs::create_dir(&directory).unwrap();
                std::fs::write(scratch.path("a.raw"), [1; 512]).unwrap();
                let fifo = Command::new("mkfifo").arg(directory.join("fifo")).status();
                assert!(fifo.unwrap().success());
                for number in (part..images).step_by(2) {
                    let found = survive(bases, number, &directory);
                    findings.lock().unwrap().extend(found);
                }
            });
        }
    });
    let findings = findings.into_inner().unwrap();
    println!(
        "{images} images through the program, seeds 0 to {}",
        images - 1
    );
    assert!(findings.is_empty(), "{findings:#?}");
}
