//! Random requests against an image and a flat vector that says what the image must hold.

use std::sync::Arc;

use cowbox::image::crypt::options::LuksOptions;
use cowbox::image::qcow2::address::GuestOffset;
use cowbox::image::qcow2::create::{
    CreateOptions, DataFile, DataFileContents, Encryption, L2Entries, RefcountUpdates, create,
};
use cowbox::image::qcow2::geometry::Version;
use cowbox::image::qcow2::header::{Compression, Header};
use cowbox::image::qcow2::preallocate::Preallocation;
use cowbox::image::qcow2::repair::check_storage;
use cowbox::image::qcow2::{DiscardedPlaces, Parameters, Purpose, Qcow2, Writing};
use cowbox::image::{Image, RawImage, Secret, ZeroMode};
use cowbox::storage::{MemoryStorage, Storage};

use crate::scratch::Random;

/// One image of the matrix.
struct Case {
    options: CreateOptions,
    /// Length of a raw backing image.
    backing: Option<usize>,
}

impl Case {
    /// Whether the image has a raw external data file.
    fn is_raw(&self) -> bool {
        let file = self.options.data_file.as_ref();
        file.is_some_and(|file| file.contents == DataFileContents::Raw)
    }
}

struct Model {
    storage: Arc<dyn Storage>,
    backing: Option<Arc<dyn Image>>,
    data_file: Option<Arc<MemoryStorage>>,
    encrypted: bool,
    image: Arc<Qcow2>,
    expected: Vec<u8>,
}

fn open(
    storage: &Arc<dyn Storage>,
    backing: Option<Arc<dyn Image>>,
    data_file: Option<Arc<dyn Storage>>,
    encrypted: bool,
) -> Arc<Qcow2> {
    let header = Header::read(&**storage, Purpose::Contents).unwrap();
    let parameters = Parameters {
        secret: encrypted.then(|| Secret::new("secret")),
        backing,
        data_file,
        // Half of the cases keep the places of discarded clusters.
        discarded_places: match header.size.trailing_zeros() % 2 {
            0 => DiscardedPlaces::Kept,
            _ => DiscardedPlaces::Released,
        },
        ..Parameters::new(Writing::Allowed)
    };
    Arc::new(Qcow2::open(Arc::clone(storage), header, parameters).unwrap())
}

impl Model {
    fn new(case: &Case, random: &mut Random) -> Self {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new(Vec::new()));
        create(&*storage, &case.options).unwrap();
        let mut expected = vec![0; case.options.size as usize];
        let backing = case.backing.map(|len| {
            let bytes = random.bytes(len);
            let both = len.min(expected.len());
            expected[..both].copy_from_slice(&bytes[..both]);
            let storage = Arc::new(MemoryStorage::new(bytes));
            let access = cowbox::image::RawAccess::ReadOnly;
            Arc::new(RawImage::new(storage, access, None).unwrap()) as Arc<dyn Image>
        });
        let encrypted = case.options.encryption != Encryption::None;
        let data_file = case.options.data_file.as_ref();
        let data_file = data_file.map(|_| Arc::new(MemoryStorage::new(Vec::new())));
        let data = data_file.clone().map(|data| data as Arc<dyn Storage>);
        let image = open(&storage, backing.clone(), data, encrypted);
        if case.is_raw() {
            let end = GuestOffset(image.size());
            image
                .preallocate(GuestOffset(0), end, Preallocation::Metadata)
                .unwrap();
        }
        Self {
            storage,
            backing,
            data_file,
            encrypted,
            image,
            expected,
        }
    }

    /// A random range, mostly short, of whole sectors if the image is encrypted.
    fn range(&self, random: &mut Random) -> (usize, usize) {
        let size = self.expected.len() as u64;
        let unit = if self.encrypted || random.below(2) == 0 {
            512
        } else {
            1
        };
        let longest = [1024, 16 * 1024, 300 * 1024][random.below(3) as usize];
        let start = random.below(size / unit) * unit;
        let len = (1 + random.below(longest / unit)) * unit;
        (start as usize, len.min(size - start) as usize)
    }

    fn step(&mut self, random: &mut Random) {
        let (start, len) = self.range(random);
        let range = start..start + len;
        let offset = start as u64;
        match random.below(16) {
            0..=6 => {
                let data = random.bytes(len);
                self.image.write_at(&data, offset).unwrap();
                self.expected[range].copy_from_slice(&data);
            }
            7..=9 => {
                let mut data = vec![0xaa; len];
                self.image.read_at(&mut data, offset).unwrap();
                assert!(
                    data == self.expected[range],
                    "read of {len} bytes at {start:#x}"
                );
            }
            10 | 11 => {
                let mode = [ZeroMode::KeepAllocated, ZeroMode::MayUnmap][random.below(2) as usize];
                self.image.write_zeroes(offset, len as u64, mode).unwrap();
                self.expected[range].fill(0);
            }
            12 => {
                self.image.discard(offset, len as u64).unwrap();
                self.adopt_discarded(range);
            }
            13 => self.image.flush().unwrap(),
            14 => self.compress_one(random),
            _ => self.reopen(),
        }
    }

    /// What was discarded may read as before or as zeros, byte by byte of a sector.
    fn adopt_discarded(&mut self, range: std::ops::Range<usize>) {
        let mut now = vec![0; range.len()];
        self.image.read_at(&mut now, range.start as u64).unwrap();
        for (expected, found) in self.expected[range].iter_mut().zip(now) {
            assert!(found == 0 || found == *expected, "a discard made up a byte");
            *expected = found;
        }
    }

    /// Stores a cluster compressed, where nothing is stored yet.
    fn compress_one(&mut self, random: &mut Random) {
        let cluster = self.image.geometry().cluster_size() as usize;
        let start = random.below((self.expected.len() / cluster) as u64) as usize * cluster;
        let byte = random.next() as u8;
        let data: Vec<u8> = (0..cluster)
            .map(|i| byte.wrapping_add((i / 64) as u8))
            .collect();
        let Some(stream) = self.image.compressor().compress(&data) else {
            return;
        };
        if self
            .image
            .write_compressed(cowbox_guest(start), &stream)
            .is_ok()
        {
            self.expected[start..start + cluster].copy_from_slice(&data);
        }
    }

    fn reopen(&mut self) {
        self.image.close().unwrap();
        let report = check_storage(Arc::clone(&self.storage), None).unwrap();
        assert_eq!(
            (report.corruptions, report.leaks),
            (0, 0),
            "{:?}",
            report.messages
        );
        let data = self.data_file.clone().map(|data| data as Arc<dyn Storage>);
        self.image = open(&self.storage, self.backing.clone(), data, self.encrypted);
    }

    /// A raw data file holds what the image shows.
    fn compare_data_file(&self) {
        let mut bytes = self.data_file.as_ref().unwrap().to_vec();
        bytes.resize(self.expected.len(), 0);
        assert!(bytes == self.expected);
    }

    fn compare(&self) {
        let mut all = vec![0xaa; self.expected.len()];
        self.image.read_at(&mut all, 0).unwrap();
        let differs = all.iter().zip(&self.expected).position(|(a, b)| a != b);
        assert_eq!(differs, None, "the first byte that differs");
    }
}

fn cowbox_guest(start: usize) -> cowbox::image::qcow2::address::GuestOffset {
    cowbox::image::qcow2::address::GuestOffset(start as u64)
}

fn run(case: &Case, seed: u64, steps: usize) {
    let mut random = Random(seed);
    let mut model = Model::new(case, &mut random);
    for _ in 0..steps {
        model.step(&mut random);
    }
    model.compare();
    model.reopen();
    model.compare();
    if case.is_raw() {
        model.compare_data_file();
    }
}

#[test]
fn random_requests_leave_what_a_flat_disk_would_hold() {
    let plain = |version, cluster_size, refcount_bits, size, backing| Case {
        options: CreateOptions {
            version,
            cluster_size,
            refcount_bits,
            size,
            ..CreateOptions::default()
        },
        backing,
    };
    run_all(&[
        plain(Version::V3, 65536, 16, 4 << 20, None),
        plain(Version::V3, 65536, 16, (4 << 20) - 512 * 3, Some(2 << 20)),
        plain(Version::V3, 512, 16, 1 << 20, Some(2 << 20)),
        plain(Version::V3, 512, 64, 2 << 20, None),
        plain(Version::V3, 4096, 1, 3 << 20, Some(3 << 20)),
        plain(Version::V3, 1024, 2, 1 << 20, Some(77 * 512 + 5)),
        plain(Version::V3, 2 << 20, 8, 9 << 20, Some(1 << 20)),
        plain(Version::V3, 2048, 32, 1 << 20, None),
        plain(Version::V3, 8192, 4, 1 << 20, None),
        plain(Version::V2, 65536, 16, 4 << 20, None),
        plain(Version::V2, 512, 16, 1 << 20, Some(700 * 1024)),
        plain(Version::V2, 4096, 16, 1 << 20, None),
    ]);
}

fn run_all(cases: &[Case]) {
    for (number, case) in cases.iter().enumerate() {
        for seed in 0..2 {
            eprintln!("case {number} seed {seed}");
            run(case, seed, 300);
        }
    }
}

#[test]
fn random_requests_to_subclusters_leave_what_a_flat_disk_would_hold() {
    let extended = |cluster_size, refcount_bits, size, backing| Case {
        options: CreateOptions {
            cluster_size,
            refcount_bits,
            size,
            entries: L2Entries::Extended,
            ..CreateOptions::default()
        },
        backing,
    };
    run_all(&[
        extended(16 << 10, 16, 3 << 20, None),
        extended(16 << 10, 1, (2 << 20) - 512 * 5, Some(1 << 20)),
        extended(64 << 10, 16, 4 << 20, Some(5 << 20)),
        extended(2 << 20, 64, 9 << 20, Some(3 << 20)),
    ]);
}

#[test]
fn random_requests_to_an_external_data_file_leave_what_a_flat_disk_would_hold() {
    let external = |cluster_size, entries, contents, backing| Case {
        options: CreateOptions {
            cluster_size,
            size: 2 << 20,
            entries,
            data_file: Some(DataFile {
                name: "data".to_owned(),
                contents,
            }),
            ..CreateOptions::default()
        },
        backing,
    };
    let (standard, extended) = (L2Entries::Standard, L2Entries::Extended);
    run_all(&[
        external(512, standard, DataFileContents::Mapped, Some(1 << 20)),
        external(65536, standard, DataFileContents::Mapped, None),
        external(65536, extended, DataFileContents::Mapped, Some(3 << 20)),
        external(4096, standard, DataFileContents::Raw, None),
        external(65536, extended, DataFileContents::Raw, None),
    ]);
}

#[test]
fn random_requests_with_late_refcounts_leave_what_a_flat_disk_would_hold() {
    let lazy = |cluster_size, refcount_bits, compression, backing| Case {
        options: CreateOptions {
            cluster_size,
            refcount_bits,
            size: 2 << 20,
            refcounts: RefcountUpdates::Lazy,
            compression,
            ..CreateOptions::default()
        },
        backing,
    };
    run_all(&[
        lazy(512, 64, Compression::Zstd, Some(1 << 20)),
        lazy(4096, 16, Compression::Deflate, None),
        lazy(65536, 2, Compression::Zstd, Some(3 << 20)),
    ]);
}

#[test]
fn random_requests_to_an_encrypted_image_leave_what_a_flat_disk_would_hold() {
    let encrypted = |cluster_size, entries, encryption, backing| Case {
        options: CreateOptions {
            cluster_size,
            size: 1 << 20,
            entries,
            encryption,
            ..CreateOptions::default()
        },
        backing,
    };
    let luks = |cipher: &[(&str, &str)]| {
        let mut options = LuksOptions::new(Secret::new("secret"));
        for (option, value) in [("iter-time", "0")].iter().chain(cipher) {
            options.set(option, value).unwrap();
        }
        Encryption::Luks(options)
    };
    let essiv = [
        ("cipher-alg", "aes-192"),
        ("cipher-mode", "cbc"),
        ("ivgen-alg", "essiv"),
        ("hash-alg", "sha512"),
    ];
    let (standard, extended) = (L2Entries::Standard, L2Entries::Extended);
    let cases = [
        encrypted(65536, standard, Encryption::Aes, None),
        encrypted(4096, standard, Encryption::Aes, Some(1 << 20)),
        encrypted(512, standard, Encryption::Aes, Some(1 << 19)),
        encrypted(65536, extended, Encryption::Aes, Some(1 << 19)),
        encrypted(65536, standard, luks(&[]), Some(1 << 20)),
        encrypted(512, standard, luks(&essiv), Some(1 << 19)),
        encrypted(16384, extended, luks(&essiv), None),
    ];
    for case in &cases {
        run(case, 7, 300);
    }
}
