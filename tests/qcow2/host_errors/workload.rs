//! A fixed workload of everything that changes an image, and what may be found of it when the host
//! has failed on the way.
//!
//! Each request fills its sectors with a number of its own. A sector may be found with what the
//! last completed flush covered, or with anything that was asked for after that.

use cowbox::image::qcow2::Qcow2;
use cowbox::image::qcow2::create::{CreateOptions, DataFileContents, Encryption};
use cowbox::image::qcow2::geometry::Version;
use cowbox::image::qcow2::preallocate::Preallocation;
use cowbox::image::{Image, Result, ZeroMode, convert};

use crate::scratch::Random;

pub(super) const SECTOR: usize = 512;

/// What is done.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Write {
        first: usize,
        count: usize,
    },
    Compressed {
        first: usize,
        count: usize,
    },
    Zero {
        first: usize,
        count: usize,
        mode: ZeroMode,
    },
    Discard {
        first: usize,
        count: usize,
    },
    Flush,
    Snapshot(usize),
    Apply(usize),
    Delete(usize),
    /// The disk gets so many sectors.
    Resize(usize),
}

impl Step {
    /// Whether it changes more than the contents of the disk.
    pub(super) fn changes_structure(&self) -> bool {
        matches!(
            self,
            Self::Snapshot(_) | Self::Apply(_) | Self::Delete(_) | Self::Resize(_)
        )
    }
}

/// A disk by its sectors, each filled with one byte.
pub(super) type Sectors = Vec<u8>;

/// What may be found.
#[derive(Debug, Clone)]
pub(super) struct Possible {
    /// What is there if nothing fails.
    now: Sectors,
    /// Everything that each sector may be found with.
    found: Vec<Vec<u8>>,
    /// The lengths that the disk may have.
    lengths: Vec<usize>,
    /// The snapshots that must be there, with what they hold.
    snapshots: Vec<(usize, Sectors)>,
    /// One that may be there: it is being made or deleted.
    uncertain: Option<(usize, Sectors)>,
}

/// The name of a snapshot, which is never an identifier.
pub(super) fn called(number: usize) -> String {
    format!("s{number}")
}

/// The steps for an image; structure is changed where it can be.
pub(super) fn steps(options: &CreateOptions, count: usize) -> Vec<Step> {
    let mut random = Random(11);
    let sectors = options.size as usize / SECTOR;
    let cluster = options.cluster_size as usize / SECTOR;
    let external = options.data_file.is_some();
    let plain = options.encryption == Encryption::None && !external;
    let counted = options.refcount_bits > 2 && !external;
    let raw = |file: &DataFileContents| *file == DataFileContents::Raw;
    let raw = options
        .data_file
        .as_ref()
        .is_some_and(|file| raw(&file.contents));
    // Version 2 does not say how long a snapshot's disk is.
    let resizes = options.version == Version::V3 && !raw;
    let mut compressed = 0;
    let mut steps = Vec::new();
    for number in 0..count {
        let first = random.below(sectors as u64 / 2) as usize;
        let count = 1 + random.below(40.max(cluster as u64 * 2)) as usize;
        let count = count.min(sectors / 2 - first);
        steps.push(match number {
            9 | 23 if counted => Step::Snapshot(number),
            16 if counted => Step::Apply(9),
            27 if counted => Step::Delete(9),
            13 if resizes => Step::Resize(sectors * 3),
            20 if resizes => Step::Resize(sectors / 2),
            _ if number % 6 == 5 => Step::Flush,
            // Where nothing else is written, and only while the disk is so long.
            _ if number % 5 == 2 && number < 20 && plain => {
                compressed += cluster;
                Step::Compressed {
                    first: sectors / 2 + compressed - cluster,
                    count: cluster,
                }
            }
            _ => match random.below(8) {
                0 => Step::Zero {
                    first,
                    count,
                    mode: ZeroMode::MayUnmap,
                },
                1 => Step::Zero {
                    first,
                    count,
                    mode: ZeroMode::KeepAllocated,
                },
                2 => Step::Discard { first, count },
                _ => Step::Write { first, count },
            },
        });
    }
    steps
}

impl Possible {
    /// Of a new disk.
    pub(super) fn new(len: usize) -> Self {
        Self::of(vec![0; len / SECTOR])
    }

    /// Of a disk that durably holds `now`.
    pub(super) fn of(now: Sectors) -> Self {
        Self {
            found: now.iter().map(|&byte| vec![byte]).collect(),
            lengths: vec![now.len()],
            now,
            snapshots: Vec::new(),
            uncertain: None,
        }
    }

    /// What is there if nothing fails.
    pub(super) fn now(&self) -> &Sectors {
        &self.now
    }

    /// Does a step, the `number`-th. On failure, what may be found is what may be found now.
    pub(super) fn step(&mut self, image: &mut Qcow2, step: &Step, number: usize) -> Result<()> {
        let byte = number as u8 + 1;
        match *step {
            Step::Write { first, count } => {
                self.ask(first, count, byte);
                image.write_at(&vec![byte; count * SECTOR], (first * SECTOR) as u64)?;
            }
            Step::Compressed { first, count } => {
                self.ask(first, count, byte);
                let data = vec![byte; count * SECTOR];
                convert::write_compressed(image, &data, (first * SECTOR) as u64)?;
            }
            Step::Zero { first, count, mode } => {
                self.ask(first, count, 0);
                let (at, len) = (first * SECTOR, count * SECTOR);
                image.write_zeroes(at as u64, len as u64, mode)?;
            }
            Step::Discard { first, count } => self.discard(image, first, count)?,
            Step::Flush => {
                image.flush()?;
                self.settle();
            }
            Step::Snapshot(name) => {
                self.uncertain = Some((name, self.now.clone()));
                image.create_snapshot(called(name).as_bytes(), (1, 2))?;
                self.settle();
                self.snapshots.extend(self.uncertain.take());
            }
            Step::Apply(name) => self.apply(image, name)?,
            Step::Delete(name) => {
                let at = self.snapshots.iter().position(|one| one.0 == name).unwrap();
                self.uncertain = Some(self.snapshots.remove(at));
                image.delete_snapshot(called(name).as_bytes())?;
                self.settle();
                self.uncertain = None;
            }
            Step::Resize(len) => self.resize(image, len)?,
        }
        Ok(())
    }

    /// Notes that sectors may be found with `byte` from now on, and will be if nothing fails.
    fn ask(&mut self, first: usize, count: usize, byte: u8) {
        self.now[first..first + count].fill(byte);
        let range = self.found[first..first + count].iter_mut();
        range.for_each(|found| found.push(byte));
    }

    fn discard(&mut self, image: &Qcow2, first: usize, count: usize) -> Result<()> {
        let (at, len) = ((first * SECTOR) as u64, count * SECTOR);
        let range = self.found[first..first + count].iter_mut();
        range.for_each(|found| found.push(0));
        image.discard(at, len as u64)?;
        let mut bytes = vec![0; len];
        image.read_at(&mut bytes, at)?;
        for (sector, now) in bytes.chunks(SECTOR).zip(&mut self.now[first..]) {
            *now = sector[0];
        }
        Ok(())
    }

    fn apply(&mut self, image: &mut Qcow2, name: usize) -> Result<()> {
        let held = self.snapshots.iter().find(|one| one.0 == name).unwrap();
        let held = held.1.clone();
        self.lengths.push(held.len());
        self.found.resize(self.found.len().max(held.len()), vec![0]);
        for (found, &byte) in self.found.iter_mut().zip(&held) {
            found.push(byte);
        }
        image.apply_snapshot(called(name).as_bytes())?;
        self.now = held;
        self.settle();
        Ok(())
    }

    fn resize(&mut self, image: &mut Qcow2, len: usize) -> Result<()> {
        self.lengths.push(len);
        self.found.resize(self.found.len().max(len), vec![0]);
        image.resize((len * SECTOR) as u64, Preallocation::Off)?;
        self.now.resize(len, 0);
        self.settle();
        Ok(())
    }

    /// Everything up to now is durable.
    pub(super) fn settle(&mut self) {
        self.found = self.now.iter().map(|&byte| vec![byte]).collect();
        self.lengths = vec![self.now.len()];
    }

    /// Fails unless the disk may be found as `bytes`.
    pub(super) fn check_disk(&self, bytes: &[u8], what: &str) {
        let len = bytes.len() / SECTOR;
        assert!(self.lengths.contains(&len), "{what}: {len} sectors");
        for (number, sector) in bytes.chunks(SECTOR).enumerate() {
            let possible = &self.found[number];
            let wrong = sector.iter().find(|byte| !possible.contains(byte));
            assert_eq!(wrong, None, "{what}: sector {number}, not of {possible:?}");
        }
    }

    /// The snapshots that must be there, and the one that may.
    pub(super) fn snapshots(&self) -> impl Iterator<Item = (usize, &Sectors, bool)> {
        let certain = self
            .snapshots
            .iter()
            .map(|(name, held)| (*name, held, true));
        let uncertain = self.uncertain.iter();
        certain.chain(uncertain.map(|(name, held)| (*name, held, false)))
    }
}

/// Whether `bytes` are `sectors`.
pub(super) fn is(bytes: &[u8], sectors: &Sectors) -> bool {
    let filled = |(sector, byte): (&[u8], &u8)| sector.iter().all(|found| found == byte);
    bytes.len() == sectors.len() * SECTOR && bytes.chunks(SECTOR).zip(sectors).all(filled)
}
