//! Power cuts: every host write and flush of a workload is recorded, and states that a disk could
//! be left in are opened, checked and read.
//!
//! Between two flushes any subset of the writes may persist, and a write may tear at a sector. The
//! oracle: the image opens; a check finds leaks at most (and missing COPIED flags, which cost
//! nothing); and each sector of the guest holds what the last completed flush covered or something
//! the guest wrote there later. To prove that the oracle sees violations, each barrier is left out
//! in turn, and the run must fail.
#![expect(
    clippy::cast_possible_truncation,
    reason = "a test's own small numbers"
)]

mod files;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::address::GuestOffset;
use super::bitmap::{self, Bitmap, Directory};
use super::create::{
    CreateOptions, DataFile, DataFileContents, Encryption, L2Entries, RefcountUpdates, create,
};
use super::crypt::luks::LuksOptions;
use super::extension::{BITMAPS as BITMAPS_EXTENSION, encode};
use super::geometry::Version;
use super::header::{AT_REFCOUNT_TABLE, BITMAPS, DIRTY, Header};
use super::host::Barrier;
use super::preallocate::Preallocation;
use super::repair::check_storage;
use super::snapshot::{Snapshot, find};
use super::{Parameters, Purpose, Qcow2, Writing};
use crate::image::{Image, RawAccess, RawImage, Secret, ZeroMode};
use crate::storage::record::Event;
use crate::storage::{MemoryStorage, RecordingStorage, Storage};
use files::{DATA_FLUSHED, Files};

const SECTOR: usize = 512;
/// What a sector that was there before, in the image or its backing image, says it was written by.
const BASE: u32 = 1;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

#[derive(Clone, Copy)]
struct Case {
    version: Version,
    cluster_size: u64,
    refcount_bits: u32,
    sectors: usize,
    backed: bool,
    /// Whether snapshots are made, applied and deleted too.
    snapshots: bool,
    /// Whether the disk gets shorter and longer too.
    resizes: bool,
    format: Variant,
    ops: usize,
}

/// What an image has beyond the ordinary.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variant {
    Plain,
    LazyRefcounts,
    Subclusters,
    ExternalData,
    Luks,
    /// With an enabled dirty bitmap.
    Bitmap,
}

/// Bytes for the external data file, in front of the image file, of a case that has one.
const DATA_BYTES: u64 = 2 << 20;

impl Case {
    /// Where the image file starts among the recorded bytes.
    fn image_start(&self) -> u64 {
        match self.format {
            Variant::ExternalData => DATA_BYTES,
            _ => 0,
        }
    }

    /// A disk that is to get longer starts so short that its L1 table has to grow.
    fn sectors_at_first(&self) -> usize {
        match self.resizes {
            true => self.sectors / 4,
            false => self.sectors,
        }
    }
}

/// What the guest did; the marks in the log say when.
enum Op {
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

/// A sector that says who wrote it, and where.
fn sector(writer: u32, number: usize) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    if writer != 0 {
        for word in bytes.as_chunks_mut::<8>().0 {
            *word = ((u64::from(writer) << 32) | number as u64).to_le_bytes();
        }
    }
    bytes
}

fn pattern(writer: u32, range: Range<usize>) -> Vec<u8> {
    range.flat_map(|number| sector(writer, number)).collect()
}

fn base(case: &Case) -> Option<Arc<dyn Image>> {
    let bytes = pattern(BASE, 0..case.sectors / 2);
    let storage = Arc::new(MemoryStorage::new(bytes));
    case.backed.then(|| {
        Arc::new(RawImage::new(storage, RawAccess::ReadOnly, None).unwrap()) as Arc<dyn Image>
    })
}

fn open(files: &Files, case: &Case) -> crate::image::Result<Qcow2> {
    let header = Header::read(&*files.image, Purpose::Contents)?;
    let with = parameters(files, case, Writing::Allowed);
    Qcow2::open(Arc::clone(&files.image), header, with)
}

fn parameters(files: &Files, case: &Case, writing: Writing) -> Parameters {
    Parameters {
        backing: base(case),
        data_file: files.data.clone(),
        secret: (case.format == Variant::Luks).then(password),
        ..Parameters::new(writing)
    }
}

fn password() -> Secret {
    Secret::new("secret")
}

/// Runs a workload; gives what it did and what reached the host.
fn record(case: &Case, seed: u64, broken: Option<Barrier>) -> (Vec<u8>, Vec<Op>, Vec<Event>) {
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
            0 if case.resizes => resize(&mut image, case, &mut random),
            _ => step(&image, case, &mut random, writer),
        };
        ops.push(op);
        storage.mark(ops.len() as u64);
    }
    (start, ops, storage.events())
}

/// The name of a snapshot, which is never an identifier.
fn called(name: u32) -> String {
    format!("s{name}")
}

/// Makes, applies or deletes a snapshot; a refcount of 1 bit has no room for one.
fn change_snapshots(image: &mut Qcow2, random: &mut Random, writer: u32) -> Op {
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
fn resize(image: &mut Qcow2, case: &Case, random: &mut Random) -> Op {
    let least = case.sectors / 8;
    let sectors = least + random.below((case.sectors - least + 1) as u64) as usize;
    let size = (sectors * SECTOR) as u64;
    image.resize(size, Preallocation::Off).unwrap();
    Op::Resize(sectors)
}

fn step(image: &Qcow2, case: &Case, random: &mut Random, writer: u32) -> Op {
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

fn compressed(image: &Qcow2, case: &Case, start: usize, writer: u32) -> Op {
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

/// The same image with an enabled dirty bitmap of one bit for each sector. No name of a backing
/// file follows the header extensions.
fn with_bitmap(bytes: Vec<u8>, case: &Case) -> Vec<u8> {
    let storage = Arc::new(MemoryStorage::new(bytes));
    let files = Files::new(Arc::clone(&storage) as Arc<dyn Storage>, 0, None);
    let image = open(&files, case).unwrap();
    let [table, directory] = {
        let mut metadata = image.lock();
        [(); 2].map(|()| metadata.space.allocate(1).unwrap())
    }
    .map(|run| run.first.offset(image.geometry()));
    let bitmap = Bitmap {
        table,
        table_entries: 1,
        flags: bitmap::AUTO,
        kind: 1,
        granularity_bits: 9,
        name: b"changes".to_vec(),
        extra: Vec::new(),
    };
    let entry = Directory::encode(&[bitmap]);
    image.host.write(&[0; 8], table, "a bitmap table").unwrap();
    image
        .host
        .write(&entry, directory, "the directory")
        .unwrap();
    image.close().unwrap();
    let mut bytes = storage.to_vec();
    let fields = [1 << 32, entry.len() as u64, directory.0].map(u64::to_be_bytes);
    let at = image.header().header_length as usize;
    let extension = encode(BITMAPS_EXTENSION, &fields.concat());
    bytes.copy_within(
        at..case.cluster_size as usize - extension.len(),
        at + extension.len(),
    );
    bytes[at..at + extension.len()].copy_from_slice(&extension);
    bytes[95] = u8::try_from(BITMAPS).unwrap();
    bytes
}

/// Whether the bitmaps that count as right have each sector that changed.
fn bitmaps_cover(image: &Qcow2, disk: &[u8], first: &[Vec<u32>]) -> Result<(), String> {
    let storage = image.host.storage();
    let directory = Directory::read(storage, image.header()).map_err(|e| e.to_string())?;
    for bitmap in directory.bitmaps.iter().filter(|b| b.is_consistent()) {
        let bits = bitmap.bits(storage, image.header());
        let bits = bits.map_err(|e| e.to_string())?;
        for (number, found) in disk.as_chunks::<SECTOR>().0.iter().enumerate() {
            let same = first[number]
                .iter()
                .any(|&writer| *found == sector(writer, number));
            if !same && bits[number / 8] >> (number % 8) & 1 == 0 {
                return Err(format!("the bitmap misses the change of sector {number}"));
            }
        }
    }
    Ok(())
}

/// For each sector, the writers whose data a power cut may leave there.
struct Allowed {
    /// What it saw at first.
    first: Vec<Vec<u32>>,
    /// What the guest sees, one of these.
    now: Vec<Vec<u32>>,
    /// What it saw at the last flush, and everything since.
    after_cut: Vec<Vec<u32>>,
    /// What it would see instead if the snapshot being applied were in force.
    applied: Option<Vec<Vec<u32>>>,
    /// How many sectors the disk has: one of these.
    sectors: Vec<usize>,
    /// What the snapshots hold, and whether each must be there.
    snapshots: BTreeMap<u32, (Vec<Vec<u32>>, bool)>,
}

impl Allowed {
    fn new(case: &Case) -> Self {
        let at_first = case.sectors_at_first();
        let below = |n| n < case.sectors / 4 || case.backed && n < case.sectors / 2 && n < at_first;
        let first: Vec<Vec<u32>> = (0..case.sectors)
            .map(|n| vec![if below(n) { BASE } else { 0 }])
            .collect();
        Self {
            now: first.clone(),
            after_cut: first.clone(),
            first,
            sectors: vec![at_first],
            applied: None,
            snapshots: BTreeMap::new(),
        }
    }

    fn begin(&mut self, op: &Op) {
        match op {
            Op::Write(range, writer) => self.change(range, |now| *now = vec![*writer]),
            Op::Discard(range) => self.change(range, |now| now.push(0)),
            Op::Flush => {}
            Op::Snapshot(name) => {
                self.snapshots.insert(*name, (self.now.clone(), false));
            }
            Op::Apply(name) => self.applied = Some(self.snapshots[name].0.clone()),
            Op::Delete(name) => self.snapshots.get_mut(name).unwrap().1 = false,
            Op::Resize(sectors) => self.sectors.push(*sectors),
        }
    }

    fn change(&mut self, range: &Range<usize>, how: impl Fn(&mut Vec<u32>)) {
        for number in range.clone() {
            how(&mut self.now[number]);
            let now = self.now[number].clone();
            self.after_cut[number].extend(now);
        }
    }

    fn end(&mut self, op: &Op) {
        match op {
            Op::Write(..) | Op::Discard(_) => return,
            Op::Flush => {}
            Op::Snapshot(name) => self.snapshots.get_mut(name).unwrap().1 = true,
            Op::Apply(name) => {
                self.now.clone_from(&self.snapshots[name].0);
                self.applied = None;
            }
            Op::Delete(name) => {
                self.snapshots.remove(name);
            }
            Op::Resize(sectors) => {
                self.sectors = vec![*sectors];
                self.now[*sectors..].fill(vec![0]);
            }
        }
        self.after_cut.clone_from(&self.now);
    }

    /// What is wrong with `disk`.
    fn judge(&self, disk: &[u8], bitmaps_valid: bool) -> Result<(), String> {
        if !self.sectors.contains(&(disk.len() / SECTOR)) {
            return Err(format!("the disk is {} bytes long", disk.len()));
        }
        // Bitmaps that count as right must not have missed a change.
        let usual = if bitmaps_valid {
            &self.first
        } else {
            &self.after_cut
        };
        match (holds(disk, usual), &self.applied) {
            (Err(why), Some(applied)) => holds(disk, applied).map_err(|e| format!("{why}; {e}")),
            (judged, _) => judged,
        }
    }
}

/// Applies part of an event: all of it, or a random selection of its sectors.
fn apply(state: &mut Vec<u8>, event: &Event, torn: Option<&mut Random>) {
    let (offset, bytes) = match event {
        Event::Write(offset, bytes) => (*offset as usize, bytes.clone()),
        Event::Zero(offset, len) => (*offset as usize, vec![0; *len as usize]),
        Event::Discard(offset, len) => {
            let end = (state.len() as u64).min(offset + len);
            (
                *offset as usize,
                vec![0; end.saturating_sub(*offset) as usize],
            )
        }
        Event::SetLen(len) => return state.resize(*len as usize, 0),
        Event::Flush | Event::Mark(_) => return,
    };
    if state.len() < offset + bytes.len() {
        state.resize(offset + bytes.len(), 0);
    }
    let Some(random) = torn else {
        state[offset..offset + bytes.len()].copy_from_slice(&bytes);
        return;
    };
    let mut at = 0;
    while at < bytes.len() {
        let end = ((offset + at) / SECTOR * SECTOR + SECTOR - offset).min(bytes.len());
        if random.below(2) == 0 {
            state[offset + at..offset + end].copy_from_slice(&bytes[at..end]);
        }
        at = end;
    }
}

/// One state after a cut: what was durable, and any part of what came after.
fn cut(durable: &[u8], pending: &[Event], random: &mut Random) -> Vec<u8> {
    let mut state = durable.to_vec();
    let kept = 1 + random.below(9);
    for event in pending {
        match random.below(10) {
            n if n < kept => apply(&mut state, event, None),
            n if n == kept => apply(&mut state, event, Some(random)),
            _ => {}
        }
    }
    state
}

/// What is wrong with the state after a cut.
fn judge(state: Vec<u8>, case: &Case, allowed: &Allowed) -> Result<(), String> {
    let header = case.image_start() as usize;
    let bitmaps_valid = u64::from(state[header + 95]) & BITMAPS != 0;
    let was_dirty = u64::from(state[header + 79]) & DIRTY != 0;
    let files = Files::new(
        Arc::new(MemoryStorage::new(state)),
        case.image_start(),
        None,
    );
    if was_dirty {
        let mended = open(&files, case).map_err(|e| format!("mend: {e}"))?;
        mended.close().map_err(|e| format!("close: {e}"))?;
    }
    let report = check_storage(Arc::clone(&files.image), None).map_err(|e| e.to_string())?;
    if report.corruptions > report.copied_missing {
        return Err(format!("check: {:?}", report.messages));
    }
    let image = open(&files, case).map_err(|e| format!("open: {e}"))?;
    let disk = read(&image)?;
    let real_bitmaps = case.format == Variant::Bitmap;
    allowed.judge(&disk, bitmaps_valid && !real_bitmaps)?;
    if bitmaps_valid && real_bitmaps {
        bitmaps_cover(&image, &disk, &allowed.first)?;
    }
    let found = image.snapshots().map_err(|e| format!("snapshots: {e}"))?;
    for (name, (contents, must)) in &allowed.snapshots {
        let Some(snapshot) = find(&found, called(*name).as_bytes()) else {
            match must {
                true => return Err(format!("snapshot {name} is gone")),
                false => continue,
            }
        };
        let header = snapshot.header(image.header());
        let shown = Qcow2::open(
            Arc::clone(&files.image),
            header,
            parameters(&files, case, Writing::Refused),
        );
        let shown = shown.map_err(|e| format!("snapshot {name}: {e}"))?;
        holds(&read(&shown)?, contents).map_err(|e| format!("snapshot {name}: {e}"))?;
    }
    Ok(())
}

fn read(image: &Qcow2) -> Result<Vec<u8>, String> {
    let mut disk = vec![0; image.size() as usize];
    image
        .read_at(&mut disk, 0)
        .map_err(|e| format!("read: {e}"))?;
    Ok(disk)
}

/// Whether each sector of `disk` is of one of the writers that `may` names for it.
fn holds(disk: &[u8], may: &[Vec<u32>]) -> Result<(), String> {
    for (number, (found, may)) in disk.as_chunks::<SECTOR>().0.iter().zip(may).enumerate() {
        if !may.iter().any(|&writer| *found == sector(writer, number)) {
            return Err(format!(
                "sector {number} is none of {may:?}: {:?}",
                &found[..8]
            ));
        }
    }
    Ok(())
}

/// Moves what happened in a range of the storage from `pending` to `durable`.
fn make_durable(durable: &mut Vec<u8>, pending: &mut Vec<Event>, range: Range<u64>) {
    pending.retain(|event| {
        let there = match event {
            Event::Write(at, _) | Event::Zero(at, _) | Event::Discard(at, _) => range.contains(at),
            Event::SetLen(_) | Event::Flush | Event::Mark(_) => range.end == u64::MAX,
        };
        if there {
            apply(durable, event, None);
        }
        !there
    });
}

/// Judges states at the writes of a workload where what is not yet durable is `worth_it`; gives
/// how many states there were and the first violation.
fn explore(
    case: &Case,
    seed: u64,
    broken: Option<Barrier>,
    worth_it: impl Fn(&[Event]) -> bool,
) -> (usize, Option<String>) {
    let (mut durable, ops, events) = record(case, seed, broken);
    let mut random = Random(seed ^ 0xc0ffee);
    let mut allowed = Allowed::new(case);
    let (mut pending, mut states): (Vec<Event>, usize) = (Vec::new(), 0);
    let (mut begun, mut ended) = (0, 0);
    let cuts = |random: &mut Random, events: usize| random.below(1 + events as u64 / 8) == 0;
    for event in &events {
        match event {
            Event::Mark(n) if *n as usize == begun && begun < ops.len() && begun == ended => {
                allowed.begin(&ops[begun]);
                begun += 1;
            }
            Event::Mark(DATA_FLUSHED) => {
                make_durable(&mut durable, &mut pending, 0..DATA_BYTES);
            }
            Event::Mark(_) => {
                allowed.end(&ops[ended]);
                ended += 1;
            }
            Event::Flush => {
                make_durable(&mut durable, &mut pending, case.image_start()..u64::MAX);
            }
            _ => pending.push(event.clone()),
        }
        if matches!(event, Event::Mark(_)) && !cuts(&mut random, pending.len()) {
            continue;
        }
        if !worth_it(&pending) {
            continue;
        }
        states += 1;
        let state = cut(&durable, &pending, &mut random);
        if let Err(why) = judge(state, case, &allowed) {
            return (states, Some(format!("seed {seed}, op {begun}: {why}")));
        }
    }
    (states, None)
}

fn cases() -> [Case; 15] {
    let v3 = Version::V3;
    let plain = |version, cluster_size, refcount_bits, sectors, backed, ops| Case {
        version,
        cluster_size,
        refcount_bits,
        sectors,
        backed,
        snapshots: false,
        format: Variant::Plain,
        resizes: false,
        ops,
    };
    let with = |format, case| Case { format, ..case };
    [
        plain(v3, 512, 64, 400, true, 60),
        plain(v3, 4096, 16, 1000, true, 50),
        plain(v3, 4096, 1, 1000, false, 50),
        plain(v3, 65536, 16, 2000, true, 30),
        plain(Version::V2, 512, 16, 300, false, 60),
        plain(Version::V2, 4096, 16, 800, true, 50),
        with(Variant::LazyRefcounts, plain(v3, 512, 16, 400, true, 60)),
        with(Variant::LazyRefcounts, plain(v3, 4096, 16, 1000, false, 50)),
        with(Variant::Subclusters, plain(v3, 16384, 16, 1500, true, 50)),
        with(Variant::Subclusters, plain(v3, 65536, 16, 2000, false, 30)),
        with(Variant::ExternalData, plain(v3, 4096, 16, 1000, true, 50)),
        with(Variant::ExternalData, plain(v3, 65536, 16, 2000, false, 30)),
        with(Variant::Luks, plain(v3, 4096, 16, 800, true, 25)),
        with(Variant::Bitmap, plain(v3, 512, 16, 400, true, 50)),
        with(Variant::Bitmap, plain(v3, 4096, 16, 1000, false, 50)),
    ]
}

/// A disk whose refcount table has to grow several times.
fn growing() -> Case {
    let version = Version::V3;
    Case {
        version,
        cluster_size: 512,
        refcount_bits: 64,
        sectors: 9000,
        backed: false,
        snapshots: false,
        format: Variant::Plain,
        resizes: false,
        ops: 60,
    }
}

/// The cases in which the disk changes its length. An external data file stands in front of the
/// image file here, and cannot; an image with bitmaps does not.
fn resizing() -> Vec<Case> {
    let with_resizes = cases().map(|case| Case {
        resizes: true,
        ..case
    });
    let can = |case: &Case| !matches!(case.format, Variant::ExternalData | Variant::Bitmap);
    with_resizes.into_iter().filter(can).collect()
}

/// The cases with snapshots.
fn branching() -> Vec<Case> {
    let with_snapshots = cases().map(|case| Case {
        snapshots: true,
        ..case
    });
    // An image with an external data file has no snapshots.
    let can_have = |case: &Case| case.format != Variant::ExternalData;
    with_snapshots.into_iter().filter(can_have).collect()
}

/// Whether the header is being switched over to a new refcount table.
fn switches_table(pending: &[Event]) -> bool {
    let at_switch = |event: &Event| matches!(event, Event::Write(AT_REFCOUNT_TABLE, _));
    pending.iter().any(at_switch)
}

#[test]
fn no_power_cut_corrupts_an_image_or_loses_what_was_flushed() {
    let mut states = 0;
    for case in cases() {
        for seed in 0..2 {
            let (judged, violation) = explore(&case, seed, None, |_| true);
            assert_eq!(violation, None);
            states += judged;
        }
    }
    let (judged, violation) = explore(&growing(), 0, None, switches_table);
    assert_eq!(violation, None);
    states += judged;
    println!("{states} states after a power cut, none bad");
    assert!(states > 1000, "{states} states are too few");
}

#[test]
fn no_power_cut_while_snapshots_change_mixes_disks() {
    let mut states = 0;
    for case in branching() {
        for seed in 0..4 {
            let (judged, violation) = explore(&case, seed, None, |_| true);
            assert_eq!(violation, None);
            states += judged;
        }
    }
    println!("{states} states after a power cut, none bad");
    assert!(states > 1000, "{states} states are too few");
}

#[test]
fn no_power_cut_while_the_disk_gets_shorter_or_longer_shows_old_data() {
    let mut states = 0;
    for case in resizing() {
        for seed in 0..4 {
            let (judged, violation) = explore(&case, seed, None, |_| true);
            assert_eq!(violation, None);
            states += judged;
        }
    }
    println!("{states} states after a power cut, none bad");
    assert!(states > 1000, "{states} states are too few");
}

#[test]
fn the_oracle_sees_each_barrier_that_is_missing_while_the_disk_gets_shorter_or_longer() {
    for broken in [Barrier::TableBeforeHeader, Barrier::HeaderBeforeRelease] {
        let mut runs =
            (0..40).flat_map(|seed| resizing().into_iter().map(move |case| (case, seed)));
        let seen = runs.find_map(|(case, seed)| explore(&case, seed, Some(broken), |_| true).1);
        assert!(seen.is_some(), "nobody noticed that {broken:?} was missing");
    }
}

#[test]
fn the_oracle_sees_each_barrier_that_is_missing_while_snapshots_change() {
    for broken in [
        Barrier::FlagsBeforeSharing,
        Barrier::LoweredBeforeUse,
        Barrier::TableBeforeHeader,
        Barrier::HeaderBeforeRelease,
    ] {
        let mut runs =
            (0..20).flat_map(|seed| branching().into_iter().map(move |case| (case, seed)));
        let seen = runs.find_map(|(case, seed)| explore(&case, seed, Some(broken), |_| true).1);
        assert!(seen.is_some(), "nobody noticed that {broken:?} was missing");
    }
}

#[test]
fn the_oracle_sees_each_barrier_that_is_missing() {
    let all = [
        Barrier::ClusterBeforeReference,
        Barrier::ClearedBeforeReuse,
        Barrier::FlagBeforeChange,
        Barrier::ChangesBeforeFlag,
        Barrier::GuestFlush,
    ];
    for broken in all {
        let mut runs = (0..20).flat_map(|seed| cases().map(|case| (case, seed)));
        let seen = runs.find_map(|(case, seed)| explore(&case, seed, Some(broken), |_| true).1);
        assert!(seen.is_some(), "nobody noticed that {broken:?} was missing");
    }
}

#[test]
fn the_oracle_sees_each_barrier_that_is_missing_while_refcounts_grow() {
    for broken in [Barrier::TableBeforeHeader, Barrier::HeaderBeforeRelease] {
        let mut seeds = 0..20;
        let seen = seeds.find_map(|s| explore(&growing(), s, Some(broken), switches_table).1);
        assert!(seen.is_some(), "nobody noticed that {broken:?} was missing");
    }
    let mut seeds = 0..5;
    let broken = Some(Barrier::BlockBeforeTable);
    let seen = seeds.find_map(|seed| explore(&growing(), seed, broken, |_| true).1);
    assert!(
        seen.is_some(),
        "nobody noticed that BlockBeforeTable was missing"
    );
}
