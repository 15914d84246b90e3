//! EIO, ENOSPC and short writes at every single host write and flush of what changes an image
//! behind its guest's back: commit, safe rebase, amend, compacting, and changes of bitmaps.
//!
//! Overlay and backing image lie on the same failing host. The guest writes before and after, and
//! flushes part of that. Whatever fails: that is noticed; a check finds no corruption in either
//! file; and the overlay, over what it says is below it, shows what a flush covered or what was
//! written later, with no change missing from a bitmap that counts as right.

use std::sync::Arc;

use cowbox::image::qcow2::bitmaps::Recording;
use cowbox::image::qcow2::create::{CreateOptions, Encryption, L2Entries, RefcountUpdates, create};
use cowbox::image::qcow2::geometry::Version;
use cowbox::image::qcow2::header::{DIRTY, Header};
use cowbox::image::qcow2::repair::check_storage;
use cowbox::image::qcow2::{Parameters, Purpose, Qcow2, Writing};
use cowbox::image::{Format, Image, RawAccess, RawImage, Result, Secret, ZeroMode};
use cowbox::storage::faulty::Fault;
use cowbox::storage::{FaultyStorage, MemoryStorage, Storage};

use super::tasks::{self, Bitmaps, DISABLED, ENABLED, Marks, TASKS, Task};
use super::workload::{Possible, SECTOR, Sectors, Step};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
/// The length of the overlay.
pub(super) const SIZE: u64 = 128 << 10;
const SECTORS: usize = SIZE as usize / SECTOR;
/// How the backing file is called; the same by another name; and a third file.
pub(super) const BELOW: &str = "below";
pub(super) const LONGER_NAME: &str = "below-by-another-and-much-longer-name";
pub(super) const OTHER: &str = "other";

/// An overlay to work on.
pub(super) struct Case {
    name: &'static str,
    options: CreateOptions,
    /// The format of the backing file, and how many sectors that has.
    pub(super) below: Format,
    below_sectors: usize,
    bitmaps: bool,
    /// The files when they are new, and what the guest sees.
    new: [Vec<u8>; 2],
    view: Sectors,
}

/// The files of a run.
pub(super) struct Files<'a> {
    pub(super) case: &'a Case,
    pub(super) image: Arc<dyn Storage>,
    pub(super) below: Arc<dyn Storage>,
}

/// The bytes of sectors that are filled with one byte each.
fn filled(sectors: &[u8]) -> Vec<u8> {
    sectors.iter().flat_map(|&byte| [byte; SECTOR]).collect()
}

/// What the file below holds: data, a hole, and data again.
fn below_at_first(sectors: usize) -> Sectors {
    let third = sectors / 3;
    (0..sectors)
        .map(|n| {
            if n / third == 1 {
                0
            } else {
                100 + (n % 7) as u8
            }
        })
        .collect()
}

/// What the third file holds: partly the same.
fn other() -> Sectors {
    let mut sectors = below_at_first(SECTORS);
    sectors[40..140].fill(99);
    sectors.truncate(SECTORS - 24);
    sectors
}

fn raw(bytes: Vec<u8>) -> Result<Arc<dyn Image>> {
    let storage = Arc::new(MemoryStorage::new(bytes));
    Ok(Arc::new(RawImage::new(storage, RawAccess::ReadOnly, None)?))
}

impl Case {
    fn new(
        name: &'static str,
        (below, below_sectors): (Format, usize),
        bitmaps: bool,
        change: impl FnOnce(&mut CreateOptions),
    ) -> Self {
        let mut options = CreateOptions {
            size: SIZE,
            cluster_size: 4096,
            backing: Some((BELOW.to_owned(), below.name().to_owned())),
            ..CreateOptions::default()
        };
        change(&mut options);
        let mut case = Self {
            name,
            options,
            below,
            below_sectors,
            bitmaps,
            new: Default::default(),
            view: Vec::new(),
        };
        case.prepare();
        case
    }

    /// Fills the files.
    fn prepare(&mut self) {
        let (image, below) = (
            MemoryStorage::new(Vec::new()),
            MemoryStorage::new(Vec::new()),
        );
        let data = filled(&below_at_first(self.below_sectors));
        create(&image, &self.options).unwrap();
        self.new = [image.to_vec(), data.clone()];
        if self.below == Format::Qcow2 {
            let options = CreateOptions {
                size: data.len() as u64,
                cluster_size: 4096,
                ..CreateOptions::default()
            };
            create(&below, &options).unwrap();
            self.new[1] = below.to_vec();
        }
        let (image, below) = self.storages();
        let files = Files {
            case: self,
            image: image.clone(),
            below: below.clone(),
        };
        if self.below == Format::Qcow2 {
            let base = files.open_below(Writing::Allowed).unwrap();
            base.write_at(&data, 0).unwrap();
            base.close().unwrap();
        }
        let mut disk = files.open(Writing::Allowed).unwrap();
        disk.write_at(&filled(&[1; 30]), 8 * 512).unwrap();
        disk.write_at(&filled(&[2; 16]), 120 * 512).unwrap();
        disk.write_zeroes(50 * 512, 40 * 512, ZeroMode::MayUnmap)
            .unwrap();
        if self.bitmaps {
            disk.add_bitmap(ENABLED.as_bytes(), Some(4096)).unwrap();
            disk.add_bitmap(DISABLED.as_bytes(), Some(512)).unwrap();
            disk.record_bitmap(DISABLED.as_bytes(), Recording::Disabled)
                .unwrap();
        }
        disk.close().unwrap();
        let mut bytes = vec![0; SIZE as usize];
        disk.read_at(&mut bytes, 0).unwrap();
        drop(disk);
        let view = bytes.chunks(SECTOR).map(|sector| sector[0]).collect();
        drop(files);
        self.new = [image.to_vec(), below.to_vec()];
        self.view = view;
    }

    fn storages(&self) -> (Arc<MemoryStorage>, Arc<MemoryStorage>) {
        let [image, below] = self.new.clone();
        let new = |bytes| Arc::new(MemoryStorage::new(bytes));
        (new(image), new(below))
    }

    fn can(&self, task: Task) -> bool {
        let version_3 = self.options.version == Version::V3;
        let counts = self.options.refcount_bits;
        match task {
            Task::OtherVersion if version_3 => self.name == PLAIN,
            Task::OtherUpdates => version_3,
            Task::RefcountBits(bits) => version_3 && bits != counts,
            task => self.bitmaps || !task.is_of_bitmaps(),
        }
    }
}

impl Files<'_> {
    pub(super) fn header(&self) -> Result<Header> {
        Header::read(&*self.image, Purpose::Contents)
    }

    /// The backing image of a name in a header.
    pub(super) fn backing(&self, name: Option<&[u8]>) -> Result<Option<Arc<dyn Image>>> {
        Ok(match name {
            None => None,
            Some(name) if name == OTHER.as_bytes() => Some(raw(filled(&other()))?),
            Some(_) => Some(self.open_below(Writing::Refused)?),
        })
    }

    /// The image below, for reading or for writing.
    pub(super) fn open_below(&self, writing: Writing) -> Result<Arc<dyn Image>> {
        let storage = Arc::clone(&self.below);
        let access = match writing {
            Writing::Allowed => RawAccess::ReadWrite,
            Writing::Refused => RawAccess::ReadOnly,
        };
        Ok(match self.case.below {
            Format::Qcow2 => {
                let header = Header::read(&*storage, Purpose::Contents)?;
                Arc::new(Qcow2::open(storage, header, Parameters::new(writing))?)
            }
            _ => Arc::new(RawImage::new(storage, access, None)?),
        })
    }

    pub(super) fn parameters(&self, header: &Header, writing: Writing) -> Result<Parameters> {
        let encrypted = self.case.options.encryption != Encryption::None;
        Ok(Parameters {
            backing: self.backing(header.backing_name.as_deref())?,
            secret: encrypted.then(|| Secret::new("secret")),
            ..Parameters::new(writing)
        })
    }

    /// The overlay, over what it says is below it.
    pub(super) fn open(&self, writing: Writing) -> Result<Qcow2> {
        let header = self.header()?;
        let with = self.parameters(&header, writing)?;
        Qcow2::open(Arc::clone(&self.image), header, with)
    }
}

const PLAIN: &str = "4 KiB clusters over raw";

fn cases() -> Vec<Case> {
    let long = |format| (format, SECTORS);
    let short = (Format::Qcow2, SECTORS / 2);
    vec![
        Case::new(PLAIN, long(Format::Raw), false, |_| {}),
        Case::new(
            "512-byte clusters over qcow2",
            long(Format::Qcow2),
            true,
            |options| {
                options.cluster_size = 512;
                options.refcount_bits = 64;
            },
        ),
        Case::new(
            "version 2 over qcow2",
            long(Format::Qcow2),
            false,
            |options| {
                options.version = Version::V2;
            },
        ),
        Case::new("extended L2 over a shorter qcow2", short, true, |options| {
            options.cluster_size = 16384;
            options.entries = L2Entries::Extended;
        }),
        Case::new(
            "lazy refcounts over raw",
            long(Format::Raw),
            true,
            |options| {
                options.refcounts = RefcountUpdates::Lazy;
            },
        ),
        Case::new("AES over a shorter qcow2", short, false, |options| {
            // Not LUKS, which would derive its key anew in each run.
            options.encryption = Encryption::Aes;
        }),
    ]
}

/// What may be found.
struct Expected {
    disk: Possible,
    /// What the bitmaps are: one of these.
    bitmaps: Vec<Bitmaps>,
}

impl Expected {
    fn of(case: &Case) -> Self {
        let mut bitmaps = Bitmaps::new();
        if case.bitmaps {
            bitmaps.insert(ENABLED, Marks::enabled(&case.view));
            bitmaps.insert(DISABLED, Marks::disabled(&case.view));
        }
        Self {
            disk: Possible::of(case.view.clone()),
            bitmaps: vec![bitmaps],
        }
    }

    fn write(&mut self, image: &mut Qcow2, first: usize, count: usize) -> Result<()> {
        self.disk.step(image, &Step::Write { first, count }, first)
    }
}

/// Writes, flushes, writes, does the task, writes.
fn work(task: Task, files: &Files<'_>, expected: &mut Expected) -> Result<()> {
    let mut image = files.open(Writing::Allowed)?;
    expected.write(&mut image, 3, 20)?;
    expected.disk.step(&mut image, &Step::Flush, 0)?;
    expected.write(&mut image, 15, 60)?;
    expected.write(&mut image, SECTORS - 10, 6)?;
    let after = tasks::after(task, &expected.bitmaps[0], expected.disk.now());
    expected.bitmaps.push(after);
    let mut image = task.carry_out(image, files)?;
    expected.bitmaps.remove(0);
    expected.disk.settle();
    expected.write(&mut image, 64, 30)?;
    image.close()
}

/// Works until something fails; gives how many changes and flushes the host was asked for.
fn run(case: &Case, task: Task, fault: Fault) -> (u64, u64) {
    let what = format!("{}, {task:?}, {fault:?}", case.name);
    let (image, below) = case.storages();
    let faulty = Arc::new(FaultyStorage::new(image.clone(), fault));
    let files = Files {
        case,
        image: Arc::clone(&faulty) as Arc<dyn Storage>,
        below: Arc::new(faulty.beside(below.clone())),
    };
    let mut expected = Expected::of(case);
    let done = work(task, &files, &mut expected);
    let reached = match fault {
        Fault::Change(n, _) | Fault::Short(n, _) | Fault::ChangesFrom(n, _) => faulty.changes() > n,
        Fault::Flush(n, _) => faulty.flushes() > n,
        Fault::Never | Fault::Read(..) => false,
    };
    assert_eq!(
        done.is_err(),
        reached,
        "{what}: whether it was noticed: {done:?}"
    );
    let files = Files { case, image, below };
    inspect(&files, &expected, &what);
    if fault == Fault::Never {
        let consistent = |bitmap: &cowbox::image::qcow2::bitmap::Bitmap| bitmap.is_consistent();
        let bitmaps = files.open(Writing::Refused).unwrap().bitmaps().unwrap();
        assert!(bitmaps.iter().all(consistent), "{what}: {bitmaps:?}");
    }
    (faulty.changes(), faulty.flushes())
}

/// Opens, checks and reads what the failed run has left.
fn inspect(files: &Files<'_>, expected: &Expected, what: &str) {
    let header = files.header().unwrap();
    // With late refcounts the image says that it was not closed, and is mended when opened.
    if header.incompatible & DIRTY != 0 {
        drop(files.open(Writing::Allowed).unwrap());
    }
    let check = |storage: &Arc<dyn Storage>, name: &str| {
        let report = check_storage(Arc::clone(storage), None).unwrap();
        // A missing COPIED flag costs nothing.
        let corrupt = report.corruptions - report.copied_missing;
        assert_eq!(corrupt, 0, "{what}: {name}: {:?}", report.messages);
    };
    check(&files.image, "overlay");
    if files.case.below == Format::Qcow2 {
        check(&files.below, "backing image");
    }
    let disk = files.open(Writing::Refused).unwrap();
    let mut bytes = vec![0; disk.size() as usize];
    disk.read_at(&mut bytes, 0).unwrap();
    expected.disk.check_disk(&bytes, what);
    let found = bytes.chunks(SECTOR).map(|sector| sector[0]).collect();
    let judged: Vec<_> = expected
        .bitmaps
        .iter()
        .map(|b| tasks::judge(&disk, &found, b))
        .collect();
    assert!(
        judged.iter().any(|judged| judged.is_ok()),
        "{what}: {judged:?}"
    );
}

#[test]
fn no_failed_host_write_or_flush_of_a_commit_rebase_or_amend_loses_what_was_flushed() {
    let mut total = 0;
    for task in TASKS {
        let mut runs = 0;
        for case in cases().iter().filter(|case| case.can(task)) {
            let (changes, flushes) = run(case, task, Fault::Never);
            for n in 0..changes {
                for errno in [EIO, ENOSPC] {
                    run(case, task, Fault::Change(n, errno));
                    run(case, task, Fault::Short(n, errno));
                }
                run(case, task, Fault::ChangesFrom(n, ENOSPC));
            }
            for n in 0..flushes {
                run(case, task, Fault::Flush(n, EIO));
                run(case, task, Fault::Flush(n, ENOSPC));
            }
            runs += 5 * changes + 2 * flushes;
        }
        println!("{task:?}: {runs} runs");
        total += runs;
    }
    println!("{total} runs");
}
