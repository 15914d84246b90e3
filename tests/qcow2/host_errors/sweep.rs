//! EIO, ENOSPC and short writes at every single host write and flush of a fixed workload, one run
//! each: the request or a later flush fails, nothing that a flush covered is lost, and a check
//! finds no corruption.

use std::sync::Arc;

use cowbox::image::crypt::options::LuksOptions;
use cowbox::image::qcow2::create::{
    CreateOptions, DataFile, DataFileContents, Encryption, L2Entries, RefcountUpdates, create,
};
use cowbox::image::qcow2::geometry::Version;
use cowbox::image::qcow2::header::{Compression, Header};
use cowbox::image::qcow2::repair::check_storage;
use cowbox::image::qcow2::{Parameters, Purpose, Qcow2, Writing};
use cowbox::image::{self, Image, OpenOptions, Secret};
use cowbox::storage::faulty::Fault;
use cowbox::storage::{FaultyStorage, MemoryStorage, Storage};

use super::workload::{Possible, called, is, steps};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const STEPS: usize = 32;

/// An image to work on.
struct Case {
    name: &'static str,
    options: CreateOptions,
    /// Whether an enabled bitmap follows.
    bitmap: bool,
    /// The file when it is new.
    new: Vec<u8>,
}

/// The files of a run.
struct Files {
    image: Arc<MemoryStorage>,
    data: Option<Arc<MemoryStorage>>,
}

impl Case {
    fn new(name: &'static str, cluster_size: u64, change: impl FnOnce(&mut CreateOptions)) -> Self {
        let mut options = CreateOptions {
            size: (cluster_size * 64).clamp(128 << 10, 1 << 20),
            cluster_size,
            ..CreateOptions::default()
        };
        change(&mut options);
        let storage = MemoryStorage::new(Vec::new());
        create(&storage, &options).unwrap();
        let new = storage.to_vec();
        Self {
            name,
            options,
            bitmap: false,
            new,
        }
    }

    fn with_bitmap(mut self) -> Self {
        let files = self.files();
        let image = Arc::clone(&files.image) as Arc<dyn Storage>;
        let mut image = self.open(image, None, Writing::Allowed).unwrap();
        image.add_bitmap(b"changes", Some(4096)).unwrap();
        image.close().unwrap();
        self.new = files.image.to_vec();
        self.bitmap = true;
        self
    }

    fn files(&self) -> Files {
        let external = self.options.data_file.as_ref();
        Files {
            image: Arc::new(MemoryStorage::new(self.new.clone())),
            data: external.map(|_| Arc::new(MemoryStorage::new(Vec::new()))),
        }
    }

    fn secret(&self) -> Option<Secret> {
        let encrypted = self.options.encryption != Encryption::None;
        encrypted.then(|| Secret::new("secret"))
    }

    fn open(
        &self,
        image: Arc<dyn Storage>,
        data_file: Option<Arc<dyn Storage>>,
        writing: Writing,
    ) -> image::Result<Qcow2> {
        let header = Header::read(&*image, Purpose::Contents)?;
        let parameters = Parameters {
            secret: self.secret(),
            data_file,
            ..Parameters::new(writing)
        };
        Qcow2::open(image, header, parameters)
    }
}

fn cases() -> Vec<Case> {
    let data_file = |contents| {
        Some(DataFile {
            name: "data".to_owned(),
            contents,
        })
    };
    let mut luks = LuksOptions::new(Secret::new("secret"));
    luks.set("iter-time", "0").unwrap();
    vec![
        Case::new("4 KiB clusters", 4096, |_| {}),
        Case::new("512-byte clusters", 512, |options| {
            options.refcount_bits = 64
        }),
        Case::new("version 2", 4096, |options| options.version = Version::V2),
        Case::new("extended L2, zstd", 16384, |options| {
            options.entries = L2Entries::Extended;
            options.compression = Compression::Zstd;
        }),
        Case::new("lazy refcounts", 4096, |options| {
            options.refcounts = RefcountUpdates::Lazy;
        }),
        Case::new("LUKS", 4096, |options| {
            options.encryption = Encryption::Luks(luks);
        }),
        Case::new("AES", 4096, |options| options.encryption = Encryption::Aes),
        Case::new("data file", 4096, |options| {
            options.data_file = data_file(DataFileContents::Mapped);
        }),
        Case::new("raw data file", 4096, |options| {
            options.data_file = data_file(DataFileContents::Raw);
        }),
        Case::new("refcounts of 1 bit", 4096, |options| {
            options.refcount_bits = 1
        }),
        Case::new("bitmap", 65536, |options| options.version = Version::V3).with_bitmap(),
    ]
}

/// Works until something fails; gives how many changes and flushes the host was asked for.
fn run(case: &Case, fault: Fault) -> (u64, u64) {
    let what = format!("{}, {fault:?}", case.name);
    let files = case.files();
    let image = Arc::new(FaultyStorage::new(files.image.clone(), fault));
    let data = files.data.clone();
    let data = data.map(|data| Arc::new(image.beside(data)) as Arc<dyn Storage>);
    let mut possible = Possible::new(case.options.size as usize);
    let opened = case.open(
        Arc::clone(&image) as Arc<dyn Storage>,
        data,
        Writing::Allowed,
    );
    // Opening for writing may have to change the file.
    let failed = match opened {
        Ok(mut opened) => work(case, &mut opened, &mut possible),
        Err(_) => true,
    };
    assert_eq!(
        failed,
        fault != Fault::Never,
        "{what}: whether it was noticed"
    );
    inspect(case, &files, &possible, &what);
    (image.changes(), image.flushes())
}

fn work(case: &Case, image: &mut Qcow2, possible: &mut Possible) -> bool {
    let steps = steps(&case.options, STEPS);
    // Bitmaps go with neither snapshots nor other lengths here.
    for (number, step) in steps.iter().enumerate() {
        if case.bitmap && step.changes_structure() {
            continue;
        }
        if possible.step(image, step, number).is_err() {
            return true;
        }
    }
    image.close().is_err()
}

/// Opens, checks and reads what the failed run has left.
fn inspect(case: &Case, files: &Files, possible: &Possible, what: &str) {
    let image = Arc::clone(&files.image) as Arc<dyn Storage>;
    let data = files.data.clone().map(|data| data as Arc<dyn Storage>);
    let open = |writing| {
        case.open(Arc::clone(&image), data.clone(), writing)
            .unwrap()
    };
    // With late refcounts the image says that it was not closed, and is mended when opened.
    if case.options.refcounts == RefcountUpdates::Lazy {
        drop(open(Writing::Allowed));
    }
    let report = check_storage(Arc::clone(&image), None).unwrap();
    // A missing COPIED flag costs nothing.
    let corrupt = report.corruptions - report.copied_missing;
    assert_eq!(corrupt, 0, "{what}: {:?}", report.messages);
    let disk = open(Writing::Refused);
    let mut bytes = vec![0; disk.size() as usize];
    disk.read_at(&mut bytes, 0).unwrap();
    possible.check_disk(&bytes, what);
    for (name, held, certain) in possible.snapshots() {
        let options = OpenOptions {
            snapshot: Some(called(name).into_bytes()),
            secrets: case.secret().map(Into::into).unwrap_or_default(),
            ..OpenOptions::read_only()
        };
        let Ok(snapshot) = image::open_storage(Arc::clone(&image), &options) else {
            assert!(!certain, "{what}: snapshot {name} is lost");
            continue;
        };
        let mut bytes = vec![0; snapshot.size() as usize];
        snapshot.read_at(&mut bytes, 0).unwrap();
        assert!(
            is(&bytes, held),
            "{what}: snapshot {name} holds something else"
        );
    }
}

#[test]
fn no_failed_host_write_or_flush_loses_what_was_flushed() {
    let mut total = 0;
    for case in cases() {
        let (changes, flushes) = run(&case, Fault::Never);
        for n in 0..changes {
            for fault in [
                Fault::Change(n, EIO),
                Fault::Change(n, ENOSPC),
                Fault::ChangesFrom(n, ENOSPC),
                Fault::Short(n, EIO),
                Fault::Short(n, ENOSPC),
            ] {
                run(&case, fault);
            }
        }
        for n in 0..flushes {
            run(&case, Fault::Flush(n, EIO));
            run(&case, Fault::Flush(n, ENOSPC));
        }
        let runs = 5 * changes + 2 * flushes;
        println!(
            "{}: {runs} runs, {changes} writes, {flushes} flushes",
            case.name
        );
        total += runs;
    }
    println!("{total} runs");
}
