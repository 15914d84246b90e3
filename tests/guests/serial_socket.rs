//! The serial line on a UNIX socket: clients that come and go, and clients that read slowly or not
//! at all.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::fixture::{Scratch, committed};
use crate::session::{Session, cowbox};
use crate::{Outcome, trial};

const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("serial_clients_come_and_go", come_and_go),
        trial("a_slow_serial_client_loses_no_byte", slow),
        trial("a_serial_client_that_does_not_read_is_cut_off", deaf),
        trial("much_serial_input_waits_for_the_guest", much_input),
    ]
}

/// A boot sector that sends 0, 1, 2 … without end.
fn counting_disk(scratch: &Scratch) -> PathBuf {
    let code = [
        0xba, 0xf8, 0x03, // mov dx, 3f8h
        0x30, 0xc0, // xor al, al
        0xee, // out dx, al
        0xfe, 0xc0, // inc al
        0xeb, 0xfb, // jmp to the out
    ];
    let mut sector = vec![0; 512];
    sector[..code.len()].copy_from_slice(&code);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    let disk = scratch.path("count.img");
    std::fs::write(&disk, sector).unwrap();
    disk
}

fn start(scratch: &Scratch, disk: &str, timeout: &str) -> Session {
    let address = format!("unix:{}", scratch.path("line").display());
    let mut command = cowbox([
        "run",
        "-m",
        "16M",
        "--display",
        "none",
        "--serial",
        &address,
    ]);
    command.args(["--disk", disk, "--timeout", timeout]);
    Session::start(command)
}

/// Connects as soon as the socket is there.
fn connect(scratch: &Scratch) -> UnixStream {
    let deadline = Instant::now() + LIMIT;
    loop {
        match UnixStream::connect(scratch.path("line")) {
            Ok(stream) => {
                stream.set_read_timeout(Some(LIMIT)).unwrap();
                return stream;
            }
            Err(e) => assert!(Instant::now() < deadline, "{e}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reads until a text has come.
fn read_until(stream: &mut UnixStream, text: &str) {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&seen).contains(text) {
        let len = stream.read(&mut buffer).unwrap();
        assert_ne!(len, 0, "the line ended before {text:?}");
        seen.extend(&buffer[..len]);
    }
}

fn demo() -> String {
    format!("{},snapshot=on", committed("images/demo.qcow2").display())
}

fn come_and_go() -> Outcome {
    let scratch = Scratch::new("serial-clients");
    let session = start(&scratch, &demo(), "60s");
    let mut first = connect(&scratch);
    read_until(&mut first, "cow> ");
    first.write_all(b"first\n").unwrap();
    read_until(&mut first, "first: no such command");
    drop(first);
    let mut second = connect(&scratch);
    second.write_all(b"second\n").unwrap();
    read_until(&mut second, "second: no such command");
    second.write_all(b"halt\n").unwrap();
    session.finish(LIMIT).expect_code(0);
    assert!(!scratch.path("line").exists(), "the socket is still there");
    Ok(())
}

fn slow() -> Outcome {
    let scratch = Scratch::new("serial-slow");
    let disk = format!("{},format=raw", counting_disk(&scratch).display());
    let session = start(&scratch, &disk, "60s");
    let mut line = connect(&scratch);
    read_until(&mut line, "Booting from disk 0");
    let mut buffer = vec![0; 1 << 16];
    let (mut expected, mut total) = (None, 0);
    while total < 6 << 20 {
        if total < 4 << 20 {
            std::thread::sleep(Duration::from_millis(20));
        }
        let len = line.read(&mut buffer).unwrap();
        for &byte in &buffer[..len] {
            // Behind the message of the BIOS, the count starts at 0.
            expected = match expected {
                None if byte == 0 => Some(1_u8),
                None => None,
                Some(next) => {
                    assert_eq!(byte, next, "byte {total} and following");
                    Some(next.wrapping_add(1))
                }
            };
        }
        total += len;
    }
    session.kill();
    Ok(())
}

fn deaf() -> Outcome {
    let scratch = Scratch::new("serial-deaf");
    let disk = format!("{},format=raw", counting_disk(&scratch).display());
    let session = start(&scratch, &disk, "25s");
    let line = connect(&scratch);
    std::thread::sleep(Duration::from_secs(2));
    let resident = resident_kib(session.id());
    assert!(resident < 100 << 10, "{resident} KiB resident");
    let mut next = connect(&scratch);
    let mut buffer = [0; 4096];
    // It is served once the first is cut off.
    assert_ne!(next.read(&mut buffer).unwrap(), 0);
    next.set_nonblocking(true).unwrap();
    drop((line, next));
    let finished = session.finish(LIMIT);
    let cut_off = finished.expect_code(124).errors.matches("cut off").count();
    assert_eq!(cut_off, 1, "{}", finished.errors);
    Ok(())
}

/// The memory that a process has on the host.
fn resident_kib(process: u32) -> u64 {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(Path::new(&path)).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}

/// A guest that takes nothing does not have megabytes piled up for it.
fn much_input() -> Outcome {
    let scratch = Scratch::new("serial-input");
    let session = start(&scratch, &demo(), "60s");
    let mut line = connect(&scratch);
    read_until(&mut line, "cow> ");
    line.set_nonblocking(true).unwrap();
    let mut sent = 0;
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline {
        match line.write(&[b'x'; 4096]) {
            Ok(len) => sent += len,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(e) => panic!("{e}"),
        }
        let _ = line.read(&mut [0; 4096]);
    }
    assert!(sent > 0);
    let resident = resident_kib(session.id());
    assert!(
        resident < 100 << 10,
        "{resident} KiB resident after {sent} bytes"
    );
    session.kill();
    Ok(())
}
