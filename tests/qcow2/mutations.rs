//! Mutated images: whatever the bytes are, nothing panics, takes long or takes much memory, and
//! no other file is opened.
//!
//! Each image is one of the seeds with one field or table entry changed, or with bytes changed
//! anywhere. An ordinary run takes a slice of them; COWBOX_FULL=1 takes all.

mod binary;
mod fields;
mod seeds;

#[path = "../fuzz/sparse.rs"]
mod sparse;
#[path = "../fuzz/targets.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::heap::most_during;
use crate::scratch::Random;
use fields::Fields;
use seeds::{Seed, seeds};
use targets::TARGETS;

/// Images in a full and in an ordinary run.
const FULL: u64 = 100_000;
const SLICE: u64 = 8_000;
/// What no image may take, in any one of the targets.
const MOST_TIME: Duration = Duration::from_secs(2);
const MOST_MEMORY: u64 = 256 << 20;

fn full() -> bool {
    std::env::var_os("COWBOX_FULL").is_some()
}

/// A seed, and where its fields are.
struct Base {
    seed: Seed,
    fields: Fields,
}

fn bases() -> Vec<Base> {
    let of = |seed: Seed| Base {
        fields: Fields::of(&seed.bytes),
        seed,
    };
    seeds().into_iter().map(of).collect()
}

/// The image of a number: even ones have one field changed, odd ones any bytes.
fn mutated(bases: &[Base], number: u64) -> (&'static str, Vec<u8>) {
    let mut random = Random(number);
    let mut base = &bases[random.below(bases.len() as u64) as usize];
    if base.seed.name == "luks" && number % 16 > 1 {
        // Deriving keys is slow, so these are rare.
        base = &bases[0];
    }
    let mut bytes = base.seed.bytes.clone();
    match number % 2 {
        0 => change_field(&mut bytes, &base.fields, &mut random),
        _ => change_bytes(&mut bytes, &mut random),
    }
    (base.seed.name, bytes)
}

fn change_field(bytes: &mut [u8], fields: &Fields, random: &mut Random) {
    let kind = &fields.kinds[random.below(fields.kinds.len() as u64) as usize];
    let field = kind[random.below(kind.len() as u64) as usize];
    let value = &mut bytes[field.at..field.at + field.len];
    let mut word = [0; 8];
    let width = field.len.min(8);
    word[8 - width..].copy_from_slice(&value[..width]);
    let old = u64::from_be_bytes(word);
    let place = fields.places[random.below(fields.places.len() as u64) as usize];
    let new = match random.below(12) {
        0 => 0,
        1 => u64::MAX,
        2 => old.wrapping_add(1),
        3 => old.wrapping_sub(1),
        4 => old ^ 1 << random.below(width as u64 * 8),
        5 => place,
        6 => place | 1 << 63,
        7 => place | 1 << 62 | random.below(1 << 8) << 54,
        8 => 1 << random.below(64),
        9 => old.wrapping_shl(random.below(16) as u32),
        10 => random.next() >> random.below(64),
        _ => random.next(),
    };
    value[..width].copy_from_slice(&new.to_be_bytes()[8 - width..]);
    for byte in value.iter_mut().skip(8) {
        *byte = random.next() as u8;
    }
}

fn change_bytes(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        let len = bytes.len() as u64;
        let at = random.below(len) as usize;
        let run = (1 + random.below(512)).min(len - at as u64) as usize;
        match random.below(8) {
            // Most of what matters stands at the start.
            0 | 1 => bytes[random.below(len.min(512)) as usize] = random.next() as u8,
            2 => bytes[at] ^= 1 << random.below(8),
            3 => bytes[at..at + run].fill(0),
            4 => bytes[at..at + run].fill(0xff),
            5 => bytes[at..at + run].copy_from_slice(&random.bytes(run)),
            6 => {
                let from = random.below(len - run as u64 + 1) as usize;
                bytes.copy_within(from..from + run, at);
            }
            _ => bytes.truncate((at + 1).max(600)),
        }
    }
}

/// What one image took at most, and where.
#[derive(Default)]
struct Most {
    time: Duration,
    memory: u64,
}

/// How long this thread has run on a processor, which a busy host does not stretch.
fn on_processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = stat.split(' ').next().and_then(|text| text.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

/// Runs every target on image `number`.
fn survive(bases: &[Base], number: u64, most: &mut Most) -> Result<(), String> {
    let (seed, bytes) = mutated(bases, number);
    for (name, _) in TARGETS {
        let (started, ran) = (Instant::now(), on_processor());
        let mut done = Ok(());
        let memory = most_during(|| {
            done = catch_unwind(AssertUnwindSafe(|| targets::run(name, &bytes)));
        });
        let time = started.elapsed().min(on_processor() - ran);
        let what = format!("image {number} (a mutated {seed}), {name}");
        if done.is_err() {
            return Err(format!("{what} panics"));
        }
        if time > MOST_TIME {
            return Err(format!("{what} takes {time:?}"));
        }
        if memory > MOST_MEMORY {
            return Err(format!("{what} takes {memory} bytes"));
        }
        most.time = most.time.max(time);
        most.memory = most.memory.max(memory);
    }
    Ok(())
}

#[test]
fn no_mutated_image_panics_or_takes_long_or_much_memory() {
    let bases = bases();
    write_seeds(&bases);
    let images = if full() { FULL } else { SLICE };
    let next = AtomicU64::new(0);
    let work = || {
        let (mut most, mut findings) = (Most::default(), Vec::new());
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= images {
                return (most, findings);
            }
            findings.extend(survive(&bases, number, &mut most).err());
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let found: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|w| w.join().unwrap()).collect()
    });
    let time = found.iter().map(|(most, _)| most.time).max();
    let memory = found.iter().map(|(most, _)| most.memory).max();
    let findings: Vec<_> = found.into_iter().flat_map(|(_, all)| all).collect();
    println!(
        "{images} images, seeds 0 to {}: at most {:?} and {} KiB each",
        images - 1,
        time.unwrap_or_default(),
        memory.unwrap_or_default() / 1024
    );
    assert!(findings.is_empty(), "{findings:#?}");
}

/// The seeds are those of the fuzz targets too.
fn write_seeds(bases: &[Base]) {
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("qcow2-seeds");
    std::fs::create_dir_all(&directory).unwrap();
    for Base { seed, .. } in bases {
        std::fs::write(directory.join(seed.name), &seed.bytes).unwrap();
    }
}

#[test]
fn every_seed_is_whole_and_survives_unchanged() {
    for Base { seed, fields } in bases() {
        for (name, target) in TARGETS {
            let done = target(&seed.bytes);
            assert!(done.is_ok(), "{} {name}: {done:?}", seed.name);
        }
        assert!(fields.kinds.len() >= 5, "{}", seed.name);
    }
}
