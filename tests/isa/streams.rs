//! Byte streams executed as guest code: every other one is random, the others are instructions of
//! every encoding that iced-x86 knows, some with changed bytes. They run in a process of bounded
//! memory, and a stream that does harm is named by its seed and number.
//!
//! `COWBOX_STREAMS=10000000 cargo test --profile checked --test isa streams` runs so many;
//! `COWBOX_STREAMS_SEED` chooses others, and `COWBOX_STREAMS_FIRST` begins at a later one.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;

use iced_x86::{Decoder, DecoderOptions};

use crate::execution::{Bench, MAX_CODE, Program, Random};

/// How many streams an ordinary run executes.
const STREAMS: u64 = 20_000;
/// Streams that one machine executes, one after the other.
const BATCH: u64 = 1000;
/// The address space of the process that executes them.
const KIBIBYTES: u64 = 512 << 10;
/// So long it may take, in seconds for each million streams, and at least a minute.
const SECONDS: u64 = 600;
/// Set in the process that executes the streams: how many.
const CHILD: &str = "COWBOX_STREAMS_CHILD";

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_stream_of_bytes_harms_the_machine() {
    if let Some(count) = variable(CHILD) {
        return execute(count);
    }
    let count = variable("COWBOX_STREAMS").unwrap_or(STREAMS);
    let seconds = 60 + count * SECONDS / 1_000_000;
    let limited = format!("ulimit -v {KIBIBYTES}; exec timeout {seconds} \"$@\"");
    let test = "streams::no_stream_of_bytes_harms_the_machine";
    let output = Command::new("sh")
        .args(["-c", &limited, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, count.to_string())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let end: Vec<&str> = told.lines().rev().take(60).collect();
    let end: Vec<&str> = end.into_iter().rev().collect();
    assert!(
        output.status.success(),
        "{}: {}",
        output.status,
        end.join("\n")
    );
    println!("{}", end.last().unwrap());
}

fn execute(count: u64) {
    let seed = variable("COWBOX_STREAMS_SEED").unwrap_or(1);
    let first = variable("COWBOX_STREAMS_FIRST").unwrap_or(0) / BATCH;
    let mut stops = HashMap::new();
    for batch in first..count.div_ceil(BATCH) {
        let mut bench = Bench::new();
        for number in batch * BATCH..count.min((batch + 1) * BATCH) {
            let bytes = stream(seed, number);
            let program = Program::from_bytes(&bytes).unwrap();
            let run = || bench.execute(&program);
            match catch_unwind(AssertUnwindSafe(run)) {
                Ok(stop) => *stops.entry(format!("{stop:?}")).or_insert(0) += 1,
                Err(panic) => {
                    eprintln!("seed {seed}, stream {number}: {program:02x?}");
                    resume_unwind(panic);
                }
            }
        }
        bench.assert_intact();
        if batch % 100 == 99 {
            eprintln!("{} streams of seed {seed} executed", (batch + 1) * BATCH);
        }
    }
    eprintln!("{count} streams of seed {seed} executed: {stops:?}");
}

/// The bytes of one program.
fn stream(seed: u64, number: u64) -> Vec<u8> {
    let mut random = Random(seed << 40 ^ number);
    let mut bytes = random.next().to_le_bytes().to_vec();
    bytes.push(random.next() as u8);
    let len = 64 + random.below(192) as usize;
    if number.is_multiple_of(2) {
        bytes.extend((0..len).map(|_| random.next() as u8));
        return bytes;
    }
    let bits = Program::from_bytes(&bytes).unwrap().bits();
    while bytes.len() < len.min(MAX_CODE) {
        let mut instruction = instruction(bits, &mut random);
        if random.below(16) == 0 {
            let at = random.below(instruction.len() as u64) as usize;
            instruction[at] = random.next() as u8;
        }
        bytes.extend(instruction);
    }
    bytes
}

/// An encoding that iced-x86 takes.
fn instruction(bits: u32, random: &mut Random) -> Vec<u8> {
    const PREFIXES: [u8; 12] = [
        0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65, 0x48,
    ];
    loop {
        let mut bytes = Vec::new();
        while random.below(3) == 0 {
            bytes.push(PREFIXES[random.below(12) as usize]);
        }
        match random.below(8) {
            0..3 => {}
            3 | 4 => bytes.push(0x0f),
            5 => bytes.extend([0x0f, 0x38]),
            6 => bytes.extend([0x0f, 0x3a]),
            _ => bytes.extend([0xc4, 0xe0 | random.below(4) as u8, random.next() as u8]),
        }
        // Opcode, ModR/M, SIB, displacement, immediate.
        bytes.extend(random.next().to_le_bytes());
        bytes.extend(random.next().to_le_bytes());
        let mut decoder = Decoder::new(bits, &bytes, DecoderOptions::NONE);
        let decoded = decoder.decode();
        if !decoded.is_invalid() {
            bytes.truncate(decoded.len());
            return bytes;
        }
    }
}
