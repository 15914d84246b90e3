//! Workloads: what the guest and the user do to an image, at random, while everything that reaches
//! the host is recorded.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::super::Qcow2;
use super::super::address::GuestOffset;
use super::super::create::{
    CreateOptions, DataFile, DataFileContents, Encryption, L2Entries, RefcountUpdates, create,
};
use super::super::geometry::Version;
use super::super::header::BITMAPS;
use super::super::host::Barrier;
use super::super::preallocate::Preallocation;
use super::super::snapshot::Snapshot;
use super::bitmaps::with_bitmap;
use super::case::{Case, Variant, open, password};
use super::compacting::compact;
use super::files::Files;
use super::random::Random;
use super::sectors::{BASE, SECTOR, pattern};
use crate::image::crypt::options::LuksOptions;
use crate::image::{Image, ZeroMode};
use crate::storage::record::Event;
use crate::storage::{MemoryStorage, RecordingStorage, Storage};

/// What the guest did; the marks in the log say when.
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
    /// Makes the disk so many sectors long.
    Resize(usize),
}

/// Runs a workload; gives what it did and what reached the host.
pub(super) fn record(
    case: &Case,
    seed: u64,
    broken: Option<Barrier>,
) -> (Vec<u8>, Vec<Op>, Vec<Event>) {
    let fresh = Arc::new(MemoryStorage::new(vec![0; case.image_start() as usize]));
    let files = Files::new(
        Arc::clone(&fresh) as Arc<dyn Storage>,
        case.image_start(),
        None,
    );
    let size = (case.sectors_at_first() * SECTOR) as u64;
    let (version, cluster_size) = (case.version, case.cluster_size);
    let refcount_bits = case.refcount_bits;
    let mut options = CreateOptions {
        size,
        version,
        cluster_size,
        refcount_bits,
        ..CreateOptions::default()
    };
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
    create(&*files.image, &options).unwrap();
    let image = open(&files, case).unwrap();
    image
        .write_at(&pattern(BASE, 0..case.sectors / 4), 0)
        .unwrap();
    image.close().unwrap();
    let mut start = fresh.to_vec();
    if case.format == Variant::Bitmap {
        start = with_bitmap(start, case);
    } else if version == Version::V3 {
        start[case.image_start() as usize + 95] = u8::try_from(BITMAPS).unwrap();
    }
    let storage = Arc::new(RecordingStorage::new(start.clone()));
    let log = Some(Arc::clone(&storage));
    let files = Files::new(
        Arc::clone(&storage) as Arc<dyn Storage>,
        case.image_start(),
        log,
    );
    let mut image = open(&files, case).unwrap();
    *image.host.broken.lock().unwrap() = broken;
    let mut random = Random(seed);
    let mut ops = Vec::new();
    for writer in (BASE + 1..).take(case.ops) {
        storage.mark(ops.len() as u64);
        let op = match random.below(6) {
            0 if case.snapshots => change_snapshots(&mut image, &mut random, writer),
            1 if case.compacts => compact(&mut image, &mut random),
            0 if case.resizes => resize(&mut image, case, &mut random),
            _ => step(&image, case, &mut random, writer),
        };
        ops.push(op);
        storage.mark(ops.len() as u64);
    }
    (start, ops, storage.events())
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
            made.map_or(Op::Flush, |_| Op::Snapshot(writer))
        }
    }
}

/// Makes the disk shorter or longer, up to what it was at first.
pub(super) fn resize(image: &mut Qcow2, case: &Case, random: &mut Random) -> Op {
    let least = case.sectors / 8;
    let sectors = least + random.below((case.sectors - least + 1) as u64) as usize;
    let size = (sectors * SECTOR) as u64;
    image.resize(size, Preallocation::Off).unwrap();
    Op::Resize(sectors)
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
