//! Generated images, both ways: every two levels of version, cluster size, refcount width,
//! compression, extended L2, backing, snapshots, bitmaps, encryption, data file and lazy refcounts
//! meet in some image, which one side writes and both read.
//!
//! The ordinary run meets every pair once; with `COWBOX_FULL` set, further seeds follow until each
//! side has written 500 images. `COWBOX_SEED` is the first seed.
//!
//! ```text
//!   covering ──> configuration ──> author (QEMU, our binary, our library) ──> agreement
//!                                    ^
//!                   workload ────────┘
//! ```

mod agreement;
mod author;
mod configuration;
mod covering;
mod workload;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use agreement::{Expected, assert_agreed};
use author::{Author, Place};
use configuration::Configuration;
use workload::{Disk, Sources, Step};

use crate::programs::qemu;
use crate::scratch::{Random, Scratch};

/// Images that each side writes in a full run.
const FULL: usize = 500;

#[test]
fn what_qemu_writes_both_read_alike() {
    run("theirs", &[Author::Qemu]);
}

#[test]
fn what_we_write_both_read_alike() {
    run("ours", &[Author::Library, Author::Binary]);
}

fn run(side: &str, authors: &[Author]) {
    let wanted = match std::env::var_os("COWBOX_FULL") {
        Some(_) => FULL,
        None => 1,
    };
    let seed = std::env::var("COWBOX_SEED").map_or(1, |text| text.parse().unwrap());
    let (mut images, mut failed) = (0, Vec::new());
    for seed in seed.. {
        let rows = configuration::all_pairs(seed);
        failed.extend(run_rows(side, authors, (seed, &rows)));
        images += rows.len();
        if images >= wanted {
            break;
        }
    }
    println!("{side}: {images} images from seed {seed} on");
    assert!(failed.is_empty(), "{} differ: {failed:#?}", failed.len());
}

/// Makes the images of one seed, several at a time, those that take longest first.
/// Gives those on which the two sides differ.
fn run_rows(side: &str, authors: &[Author], (seed, rows): (u64, &[Configuration])) -> Vec<String> {
    let sources = Sources::new();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(configuration) = rows.get(number) else {
                return;
            };
            let author = authors[number % authors.len()];
            let what = format!("seed {seed} row {number}: {author:?}: {configuration}");
            eprintln!("{what}");
            let scratch = Scratch::new(&format!("pairs-{side}-{seed}-{number}"));
            let place = Place {
                scratch,
                configuration,
                base_format: ["raw", "qcow2"][(seed as usize + number) % 2],
                sources: &sources,
            };
            let random = Random(seed << 32 | number as u64);
            // One difference does not hide the others.
            let written = || write_and_compare(&place, author, random);
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(written)).is_err() {
                failed.lock().unwrap().push(what);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    failed.into_inner().unwrap()
}

fn write_and_compare(place: &Place<'_>, author: Author, mut random: Random) {
    let base = make_base(place, &mut random);
    place.sources.store(&place.scratch.path(""));
    author.create(place);
    let mut expected = Expected {
        disk: Disk::new(place.configuration.size, &base),
        snapshots: Vec::new(),
        bitmaps: Vec::new(),
    };
    for step in workload::steps(place.configuration, &mut random) {
        author.carry_out(&step, place);
        expected.carry_out(&step, place.sources);
    }
    assert_agreed(place, &expected);
}

/// Makes the backing image, if there is one; gives its bytes.
fn make_base(place: &Place<'_>, random: &mut Random) -> Vec<u8> {
    let Some(len) = place.configuration.backing_size() else {
        return Vec::new();
    };
    let mut bytes = random.bytes(len as usize);
    // Holes and zeros, too.
    bytes[len as usize / 4..len as usize / 2].fill(0);
    let raw = place.scratch.path("base");
    std::fs::write(&raw, &bytes).unwrap();
    if place.base_format == "qcow2" {
        let flat = place.scratch.path("base.raw");
        std::fs::rename(&raw, &flat).unwrap();
        let convert = ["convert", "-f", "raw", "-O", "qcow2"].map(str::to_owned);
        let paths = [&flat, &raw].map(|path| path.display().to_string());
        qemu("qemu-img", &[&convert[..], &paths].concat());
    }
    bytes
}

impl Expected {
    fn carry_out(&mut self, step: &Step, sources: &Sources) {
        match *step {
            Step::Requests(ref requests) => {
                let bitmaps = self.bitmaps.iter_mut().map(|bitmap| &mut bitmap.3);
                for disk in bitmaps.chain([&mut self.disk]) {
                    requests
                        .iter()
                        .for_each(|request| disk.apply(request, sources));
                }
            }
            Step::Snapshot(name) => self.snapshots.push((name, self.disk.clone())),
            Step::Delete(name) => self.snapshots.retain(|snapshot| snapshot.0 != name),
            Step::Apply(name) => {
                let found = self.snapshots.iter().find(|snapshot| snapshot.0 == name);
                self.disk = found.unwrap().1.clone();
            }
            Step::Bitmap {
                name,
                granularity,
                enabled,
            } => {
                let mut disk = self.disk.clone();
                disk.start_tracking();
                self.bitmaps.push((name, granularity, enabled, disk));
            }
        }
    }
}
