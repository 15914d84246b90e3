//! Workloads: what the guest and the user do to an image, at random, while everything that reaches
//! the host is recorded.

use std::ops::Range;
use std::time::Duration;

use super::super::Qcow2;
use super::super::address::GuestOffset;
use super::super::create::{
    CreateOptions, DataFile, DataFileContents, Encryption, L2Entries, RefcountUpdates, create,
};
use super::super::geometry::Version;
use super::super::header::BITMAPS;
use super::super::preallocate::Preallocation;
use super::super::snapshot::Snapshot;
use super::bitmaps::{self, BitmapChange};
use super::case::{self, Case, Variant, open, password};
use super::files::{Contents, Files};
use super::maintenance;
use super::random::Random;
use super::sectors::{BASE, SECTOR, pattern};
use crate::image::crypt::options::LuksOptions;
use crate::image::{Image, ZeroMode};
use crate::storage::record::Logged;

/// What was done; the marks in the log say when.
pub(super) enum Op {
    /// Sectors from a first to a last, by a writer number; 0 writes zeros.
    Write(Range<usize>, u32),
    Discard(Range<usize>),
    Flush,
    /// Makes the snapshot of a name.
    Snapshot(u32),
    /// Goes back to a snapshot.
    Apply(u32),
    /// Deletes a snapshot.
    Delete(u32),
    /// Makes the disk so many sectors long, from so many.
    Resize(usize, usize),
    /// Something that the guest does not see, and its name.
    Maintain(&'static str),
    Bitmaps(BitmapChange),
}

impl Op {
    /// What it is called in figures.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Write(_, 0) => "zeroes",
            Self::Write(..) => "write",
            Self::Discard(_) => "discard",
            Self::Flush => "flush",
            Self::Snapshot(_) => "snapshot create",
            Self::Apply(_) => "snapshot apply",
            Self::Delete(_) => "snapshot delete",
            Self::Resize(from, to) if from < to => "grow",
            Self::Resize(..) => "shrink",
            Self::Maintain(name) => name,
            Self::Bitmaps(BitmapChange::Add(_)) => "bitmap add",
            Self::Bitmaps(BitmapChange::Remove(_)) => "bitmap remove",
            Self::Bitmaps(BitmapChange::Clear(_)) => "bitmap clear",
            Self::Bitmaps(BitmapChange::Enable(_)) => "bitmap enable",
            Self::Bitmaps(BitmapChange::Disable(_)) => "bitmap disable",
            Self::Bitmaps(BitmapChange::Merge(..)) => "bitmap merge",
        }
    }
}

/// A workload as it was recorded.
pub(super) struct Recording {
    pub(super) start: Contents,
    pub(super) ops: Vec<Op>,
    pub(super) events: Vec<Logged>,
}

/// Mark of the start and of the end of an operation.
pub(super) const BEGIN: &str = "begin";
pub(super) const END: &str = "end";

/// What the image of `case` is made with.
pub(super) fn create_options(case: &Case) -> CreateOptions {
    let mut options = CreateOptions {
        size: (case.sectors_at_first() * SECTOR) as u64,
        version: case.version,
        cluster_size: case.cluster_size,
        refcount_bits: case.refcount_bits,
        ..CreateOptions::default()
    };
    if let (true, Some(format)) = (case.maintained, case.below) {
        options.backing = Some((case::BELOW.to_owned(), format.name().to_owned()));
    }
    match case.format {
        Variant::Plain | Variant::Bitmap => {}
        Variant::LazyRefcounts => options.refcounts = RefcountUpdates::Lazy,
        Variant::Subclusters => options.entries = L2Entries::Extended,
        Variant::Luks => {
            let mut luks = LuksOptions::new(password());
            luks.iteration_time = Duration::ZERO;
            options.encryption = Encryption::Luks(luks);
        }
        Variant::ExternalData => {
            options.data_file = Some(DataFile {
                name: "data".to_owned(),
                contents: DataFileContents::Mapped,
            });
        }
    }
    options
}

/// The files before a workload.
fn start(case: &Case) -> Contents {
    let files = Files::new([Vec::new(), Vec::new(), case::below_at_first(case)]);
    create(&*files.image, &create_options(case)).unwrap();
    let mut image = open(&files, case).unwrap();
    let data = pattern(BASE, 0..case.sectors / 4);
    image.write_at(&data, 0).unwrap();
    if case.format == Variant::Bitmap {
        image
            .add_bitmap(bitmaps::name(0).as_bytes(), Some(512))
            .unwrap();
    }
    image.close().unwrap();
    drop(image);
    let mut start = files.contents();
    if case.version == Version::V3 {
        // Also where there are none: then it says whether the disk was changed.
        start[0][95] = u8::try_from(BITMAPS).unwrap();
    }
    start
}

/// Runs a workload.
pub(super) fn record(case: &Case, seed: u64) -> Recording {
    let start = start(case);
    let files = Files::recorded(start.clone());
    let journal = files.journal.clone().unwrap();
    let mut image = open(&files, case).unwrap();
    let mut random = Random(seed);
    let mut ops = Vec::new();
    for writer in (BASE + 1..).take(case.ops) {
        journal.mark(BEGIN);
        let op = match random.below(6) {
            0 if case.snapshots => change_snapshots(&mut image, &mut random, writer),
            1 if case.compacts => maintenance::compact(&mut image, &mut random),
            4 if case.resizes => resize(&mut image, case, &mut random),
            2 | 3 if case.maintained => {
                maintenance::step(&mut image, &files, case, (&mut random, writer))
            }
            _ => step(&image, case, &mut random, writer),
        };
        ops.push(op);
        journal.mark(END);
    }
    let events = journal.events();
    Recording { start, ops, events }
}

/// The name of a snapshot, which is never an identifier.
pub(super) fn called(name: u32) -> String {
    format!("s{name}")
}

/// Makes, applies or deletes a snapshot; a refcount of 1 bit has no room for one.
pub(super) fn change_snapshots(image: &mut Qcow2, random: &mut Random, writer: u32) -> Op {
    let all = image.snapshots().unwrap();
    let name = |snapshot: &Snapshot| -> u32 {
        let text = std::str::from_utf8(&snapshot.name).unwrap();
        text[1..].parse().unwrap()
    };
    let some = all.get(random.below(all.len().max(1) as u64) as usize);
    match (some.map(name), random.below(4)) {
        (Some(name), 0) => {
            image.apply_snapshot(called(name).as_bytes()).unwrap();
            Op::Apply(name)
        }
        (Some(name), 1) => {
            image.delete_snapshot(called(name).as_bytes()).unwrap();
            Op::Delete(name)
        }
        _ => {
            let made = image.create_snapshot(called(writer).as_bytes(), (0, 0));
            made.map_or_else(|_| maintenance::refused(image), |_| Op::Snapshot(writer))
        }
    }
}

/// Makes the disk shorter or longer, up to what it was at first.
pub(super) fn resize(image: &mut Qcow2, case: &Case, random: &mut Random) -> Op {
    let least = case.sectors / 8;
    let sectors = least + random.below((case.sectors - least + 1) as u64) as usize;
    let size = (sectors * SECTOR) as u64;
    let before = image.size() as usize / SECTOR;
    // An image with bitmaps keeps its length, as one of version 2 with snapshots does.
    match image.resize(size, Preallocation::Off) {
        Ok(()) => Op::Resize(before, sectors),
        Err(_) => maintenance::refused(image),
    }
}

pub(super) fn step(image: &Qcow2, case: &Case, random: &mut Random, writer: u32) -> Op {
    let sectors = image.size() as usize / SECTOR;
    let start = random.below(sectors as u64) as usize;
    let longest = (case.sectors / 20).min(200);
    let len = 1 + random.below(longest as u64) as usize;
    let range = start..(start + len).min(sectors);
    let (offset, bytes) = ((start * SECTOR) as u64, (range.len() * SECTOR) as u64);
    match random.below(12) {
        0..=5 => {
            image
                .write_at(&pattern(writer, range.clone()), offset)
                .unwrap();
            Op::Write(range, writer)
        }
        6 => {
            image
                .write_zeroes(offset, bytes, ZeroMode::MayUnmap)
                .unwrap();
            Op::Write(range, 0)
        }
        7 | 8 => {
            image.discard(offset, bytes).unwrap();
            Op::Discard(range)
        }
        9 => compressed(image, case, start, writer),
        10 => {
            image.flush().unwrap();
            Op::Flush
        }
        _ => {
            image.close().unwrap();
            Op::Flush
        }
    }
}

pub(super) fn compressed(image: &Qcow2, case: &Case, start: usize, writer: u32) -> Op {
    let per_cluster = case.cluster_size as usize / SECTOR;
    let first = start / per_cluster * per_cluster;
    let range = first..first + per_cluster;
    let cluster = pattern(writer, range.clone());
    let stream = image.compressor().compress(&cluster).unwrap();
    match image.write_compressed(GuestOffset((first * SECTOR) as u64), &stream) {
        Ok(()) => Op::Write(
            range.start..range.end.min(image.size() as usize / SECTOR),
            writer,
        ),
        Err(_) => Op::Write(0..0, writer),
    }
}
