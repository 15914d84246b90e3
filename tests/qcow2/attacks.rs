//! Images made to do harm: each is refused or survived quickly, in bounded memory, without
//! opening or changing anything else. Names inside them lead only to scratch files.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cowbox::image::qcow2::address::GuestOffset;
use cowbox::image::qcow2::create::{
    CreateOptions, DataFile, DataFileContents, L2Entries, RefcountUpdates, create,
};
use cowbox::image::qcow2::header::Compression;
use cowbox::image::qcow2::repair::{Repair, check_storage};
use cowbox::image::{self, ErrorKind, Format, Image, OpenOptions, ZeroMode};
use cowbox::storage::{MemoryStorage, Storage};

use crate::scratch::{Random, Scratch};

/// A small image with some data.
fn sample() -> Vec<u8> {
    sample_of(CreateOptions {
        cluster_size: 4096,
        ..CreateOptions::default()
    })
}

fn sample_of(options: CreateOptions) -> Vec<u8> {
    let storage = Arc::new(MemoryStorage::new(Vec::new()));
    let size = 1 << 20;
    let options = CreateOptions { size, ..options };
    create(&*storage, &options).unwrap();
    let image = image::open_storage(storage.clone(), &OpenOptions::default()).unwrap();
    image.write_at(&[7; 100_000], 50_000).unwrap();
    let qcow2 = image.as_qcow2().unwrap();
    let cluster = qcow2.geometry().cluster_size();
    let stream = qcow2.compressor().compress(&vec![9; cluster as usize]);
    let last = GuestOffset(size - cluster);
    qcow2.write_compressed(last, &stream.unwrap()).unwrap();
    image.close().unwrap();
    drop(image);
    storage.to_vec()
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}

fn open_bytes(bytes: Vec<u8>, options: &OpenOptions) -> image::Result<Arc<dyn Image>> {
    image::open_storage(Arc::new(MemoryStorage::new(bytes)), options)
}

/// Opens the image for reading and for writing: both must fail, with this in the message.
fn assert_refused(bytes: &[u8], expected: &str) {
    for options in [OpenOptions::read_only(), OpenOptions::default()] {
        let start = Instant::now();
        let error = open_bytes(bytes.to_vec(), &options)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(expected),
            "{error:?} does not say {expected:?}"
        );
        assert!(!error.contains('\n'), "{error:?} is one line");
        assert!(start.elapsed() < Duration::from_millis(100));
    }
}

#[test]
fn fields_of_the_header_that_claim_too_much_are_refused() {
    let cases: [(usize, &[u8], &str); 14] = [
        (4, &[0, 0, 0, 9], "version 9"),
        (20, &[0, 0, 0, 8], "cluster_bits is 8"),
        (20, &[0, 0, 0, 63], "cluster_bits is 63"),
        (32, &[0, 0, 0, 7], "encryption method 7"),
        (36, &[0xff; 4], "too big"),
        (36, &[0, 0, 0, 0], "too small"),
        (40, &[0x7f; 8], "L1 table starts at an impossible place"),
        (40, &[0, 0, 0, 1, 0, 0, 0, 0], "truncated"),
        (
            48,
            &[0, 0, 0, 0, 0, 0, 0x10, 1],
            "refcount table starts at an impossible place",
        ),
        (56, &[0xff; 4], "impossible"),
        (60, &[0, 2, 0, 0], "snapshots are too many"),
        (72, &[0x80, 0, 0, 0, 0, 0, 0, 0], "bit 63"),
        (96, &[0, 0, 0, 7], "refcount_order is 7"),
        (100, &[0xff, 0xff, 0xff, 0xf8], "header of 4294967288 bytes"),
    ];
    let sample = sample();
    for (at, field, expected) in cases {
        let mut bytes = sample.clone();
        put(&mut bytes, at, field);
        assert_refused(&bytes, expected);
    }
}

#[test]
fn an_unknown_incompatible_feature_is_named_from_the_table_in_the_image() {
    let mut bytes = sample();
    put(&mut bytes, 72, &[0, 0, 0, 0, 0, 0, 0, 0x20]);
    // The first row of the feature name table follows the 112-byte header and 8 bytes of type
    // and length: it becomes incompatible bit 5.
    put(&mut bytes, 120, b"\0\x05time \x1b[2Jtravel\0");
    assert_refused(&bytes, "\"time \\u{1b}[2Jtravel\" (bit 5)");
}

#[test]
fn an_extension_that_reaches_past_the_first_cluster_is_refused() {
    let mut bytes = sample();
    put(&mut bytes, 116, &[0xff; 4]);
    assert_refused(&bytes, "reaches past the first cluster");
}

#[test]
fn a_truncated_image_is_refused_wherever_it_was_cut() {
    let whole = sample();
    for len in [513, 4096, 3 * 4096, 5 * 4096, 8 * 4096, whole.len() - 8192] {
        let error = open_bytes(whole[..len].to_vec(), &OpenOptions::default()).unwrap_err();
        assert!(
            error.to_string().contains("truncated"),
            "cut at {len}: {error}"
        );
    }
}

#[test]
fn a_tiny_file_that_claims_a_huge_disk_costs_little() {
    let storage = Arc::new(MemoryStorage::new(Vec::new()));
    let options = CreateOptions {
        size: 1 << 40,
        ..CreateOptions::default()
    };
    create(&*storage, &options).unwrap();
    let start = Instant::now();
    let image = image::open_storage(storage.clone(), &OpenOptions::default()).unwrap();
    let extent = image.extent(0, 1 << 40).unwrap();
    assert_eq!(extent.length, 1 << 40);
    image.discard(0, 1 << 40).unwrap();
    image.write_zeroes(0, 1 << 40, ZeroMode::MayUnmap).unwrap();
    let target = Arc::new(MemoryStorage::new(Vec::new()));
    create(&*target, &options).unwrap();
    let target = image::open_storage(target, &OpenOptions::default()).unwrap();
    image::convert::convert(&*image, &*target, Default::default(), &mut |_| {}).unwrap();
    let report = check_storage(storage, None).unwrap();
    assert_eq!((report.corruptions, report.leaks), (0, 0));
    assert!(start.elapsed() < Duration::from_secs(1));
}

/// Makes an overlay by its bytes, without asking whether its backing file makes sense.
fn overlay(path: &Path, backing: &str, format: &str) {
    let storage = MemoryStorage::new(Vec::new());
    let backing = Some((backing.to_owned(), format.to_owned()));
    let options = CreateOptions {
        size: 1 << 20,
        backing,
        ..CreateOptions::default()
    };
    create(&storage, &options).unwrap();
    std::fs::write(path, storage.to_vec()).unwrap();
}

fn refusal(path: &Path) -> image::ImageError {
    let start = Instant::now();
    let error = image::open(path, &OpenOptions::read_only()).unwrap_err();
    assert!(start.elapsed() < Duration::from_millis(500));
    error
}

#[test]
fn backing_loops_end() {
    let scratch = Scratch::new("loops");
    let [a, b] = ["a", "b"].map(|name| scratch.path(name));
    overlay(&a, "a", "qcow2");
    assert!(refusal(&a).to_string().contains("loop"));
    overlay(&a, "b", "qcow2");
    overlay(&b, "./a", "qcow2");
    assert!(refusal(&a).to_string().contains("loop"));
}

#[test]
fn backing_names_lead_nowhere_they_should_not() {
    let scratch = Scratch::new("names");
    let top = scratch.path("top");
    let outside = Scratch::new("outside");
    std::fs::write(outside.path("secret"), [1; 512]).unwrap();
    let secret = outside.path("secret");
    std::os::unix::fs::symlink(&secret, scratch.path("link")).unwrap();
    let fifo = scratch.path("fifo");
    let made = std::process::Command::new("mkfifo")
        .arg(&fifo)
        .status()
        .unwrap();
    assert!(made.success());
    let cases = [
        (
            secret.to_str().unwrap(),
            "raw",
            "outside the image's own directory",
        ),
        ("link", "raw", "outside the image's own directory"),
        ("json:{\"driver\":\"file\"}", "raw", "protocol or options"),
        ("nbd://127.0.0.1", "raw", "protocol or options"),
        ("fifo", "raw", "is a FIFO"),
        (".", "raw", "is a directory"),
        ("top", "vmdk", "unknown format"),
        ("missing", "raw", "No such file"),
    ];
    for (name, format, expected) in cases {
        overlay(&top, name, format);
        let error = refusal(&top).to_string();
        assert!(
            error.contains(expected),
            "{name}: {error:?} does not say {expected:?}"
        );
    }
    overlay(&top, secret.to_str().unwrap(), "raw");
    let trusting = OpenOptions {
        backing: image::BackingPolicy::Any,
        ..OpenOptions::read_only()
    };
    image::open(&top, &trusting).unwrap();
}

#[test]
fn data_file_names_lead_nowhere_they_should_not() {
    let scratch = Scratch::new("data-names");
    let top = scratch.path("top");
    let outside = Scratch::new("data-outside");
    std::fs::write(outside.path("secret"), [1; 512]).unwrap();
    let secret = outside.path("secret");
    std::os::unix::fs::symlink(&secret, scratch.path("link")).unwrap();
    let cases = [
        (
            secret.to_str().unwrap(),
            "outside the image's own directory",
        ),
        ("link", "outside the image's own directory"),
        ("json:{\"driver\":\"file\"}", "protocol or options"),
        ("top", "it is an image of the chain"),
        (".", "is a directory"),
        ("missing", "No such file"),
    ];
    for (name, expected) in cases {
        let storage = MemoryStorage::new(Vec::new());
        let name = name.to_owned();
        let contents = DataFileContents::Mapped;
        let options = CreateOptions {
            size: 1 << 20,
            data_file: Some(DataFile { name, contents }),
            ..CreateOptions::default()
        };
        create(&storage, &options).unwrap();
        std::fs::write(&top, storage.to_vec()).unwrap();
        let error = refusal(&top).to_string();
        assert!(
            error.contains(expected),
            "{error:?} does not say {expected:?}"
        );
    }
    let given = OpenOptions {
        data_file: Some(secret),
        ..OpenOptions::read_only()
    };
    image::open(&top, &given).unwrap();
}

#[test]
fn raw_is_never_guessed_for_writing() {
    let scratch = Scratch::new("guess");
    let disk = scratch.path("disk");
    std::fs::write(&disk, [0; 4096]).unwrap();
    let error = image::open(&disk, &OpenOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("format=raw"));
    let raw = OpenOptions::default().with_format(Some(Format::Raw));
    image::open(&disk, &raw)
        .unwrap()
        .write_at(&[1; 512], 0)
        .unwrap();
}

#[test]
fn tables_that_point_at_each_other_stop_the_writes_and_mark_the_image() {
    let whole = sample();
    let l1 = u64::from_be_bytes(whole[40..48].try_into().unwrap()) as usize;
    let l2 = (u64::from_be_bytes(whole[l1..l1 + 8].try_into().unwrap()) & !(1 << 63)) as usize;
    let targets = [0, l1 as u64, l2 as u64, 4096, 8192];
    for target in targets.into_iter().filter(|&target| target != 0) {
        let mut bytes = whole.clone();
        put(&mut bytes, l2 + 8 * 20, &(target | 1 << 63).to_be_bytes());
        let storage = Arc::new(MemoryStorage::new(bytes));
        let image = image::open_storage(storage.clone(), &OpenOptions::default()).unwrap();
        let error = image.write_at(&[1; 512], 20 * 4096).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        let after = image.write_at(&[1; 512], 0).unwrap_err();
        assert_eq!(after.kind(), ErrorKind::ReadOnly, "{after}");
        image.read_at(&mut [0; 512], 50_000).unwrap();
        drop(image);
        assert_eq!(storage.to_vec()[79] & 2, 2, "the corrupt bit is set");
        let again = image::open_storage(storage.clone(), &OpenOptions::default()).unwrap_err();
        assert!(again.to_string().contains("corrupt"));
        image::open_storage(storage, &OpenOptions::read_only()).unwrap();
    }
}

#[test]
fn lost_and_wrong_refcounts_are_found_and_mended() {
    let whole = sample();
    let block = u64::from_be_bytes(whole[4096..4104].try_into().unwrap()) as usize;
    for (cluster, count, leak) in [(5usize, 0u16, false), (6, 3, true), (60, 1, true)] {
        let mut bytes = whole.clone();
        put(&mut bytes, block + 2 * cluster, &count.to_be_bytes());
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new(bytes));
        let before = check_storage(storage.clone(), None).unwrap();
        assert!(before.leaks + before.corruptions > 0);
        assert!(!leak || before.leaks == 1, "{:?}", before.messages);
        let report = check_storage(storage.clone(), Some(Repair::All)).unwrap();
        assert_eq!(
            (report.corruptions, report.leaks),
            (0, 0),
            "{:?}",
            report.messages
        );
        let image = image::open_storage(storage, &OpenOptions::default()).unwrap();
        let mut data = vec![0; 100_000];
        image.read_at(&mut data, 50_000).unwrap();
        assert!(data.iter().all(|&byte| byte == 7));
    }
}

#[test]
fn a_refcount_block_that_a_million_entries_lead_to_is_read_once() {
    let cluster = 2 << 20;
    let storage = MemoryStorage::new(Vec::new());
    let options = CreateOptions {
        size: 1 << 20,
        cluster_size: cluster,
        ..CreateOptions::default()
    };
    create(&storage, &options).unwrap();
    let mut bytes = storage.to_vec();
    let table = bytes.len().next_multiple_of(cluster as usize);
    let block = bytes[cluster as usize..cluster as usize + 8].to_vec();
    bytes.resize(table, 0);
    bytes.extend(block.repeat(1 << 20));
    put(&mut bytes, 48, &(table as u64).to_be_bytes());
    put(&mut bytes, 56, &4u32.to_be_bytes());
    let start = Instant::now();
    for options in [OpenOptions::read_only(), OpenOptions::default()] {
        // Whether it is refused or not, it does not take long.
        let _ = open_bytes(bytes.clone(), &options);
    }
    for repair in [None, Some(Repair::Leaks), Some(Repair::All)] {
        let storage = Arc::new(MemoryStorage::new(bytes.clone()));
        let report = check_storage(storage, repair).unwrap();
        assert_eq!(report.corruptions == 0, repair == Some(Repair::All));
    }
    let time = start.elapsed();
    assert!(time < Duration::from_secs(5), "{time:?}");
}

/// The sample with an enabled bitmap of 64 KiB granularity: its directory and its table lie in the
/// two clusters at the end.
fn sample_with_bitmap() -> (Vec<u8>, usize) {
    let mut bytes = sample();
    let directory = bytes.len().next_multiple_of(4096);
    bytes.resize(directory + 2 * 4096, 0);
    let table = (directory + 4096) as u64;
    put(&mut bytes, directory, &table.to_be_bytes());
    put(
        &mut bytes,
        directory + 8,
        &[0, 0, 0, 1, 0, 0, 0, 2, 1, 16, 0, 1],
    );
    bytes[directory + 24] = b'b';
    // Behind the header of 112 bytes, before the feature names.
    bytes.copy_within(112..4096 - 32, 112 + 32);
    put(&mut bytes, 112, &0x2385_2875_u32.to_be_bytes());
    put(&mut bytes, 116, &24u32.to_be_bytes());
    put(&mut bytes, 120, &[0, 0, 0, 1, 0, 0, 0, 0]);
    put(&mut bytes, 128, &32u64.to_be_bytes());
    put(&mut bytes, 136, &(directory as u64).to_be_bytes());
    bytes[95] = 1;
    let storage = Arc::new(MemoryStorage::new(bytes));
    let report = check_storage(storage.clone(), Some(Repair::All)).unwrap();
    assert_eq!(report.corruptions, 0, "{:?}", report.messages);
    (storage.to_vec(), directory)
}

#[test]
fn hostile_bitmaps_harm_nothing_but_themselves() {
    let (whole, directory) = sample_with_bitmap();
    let l1 = &whole[40..48];
    let counts = u64::from_be_bytes(whole[48..56].try_into().unwrap()) as usize;
    let block = &whole[counts..counts + 8];
    let cases: [(usize, &[u8]); 14] = [
        (0, b"QFI\xfb"),
        (120, &[0xff; 4]),
        (128, &[0xff; 8]),
        (136, &[0; 8]),
        (136, l1),
        (136, block),
        (136, &[0, 0, 0, 0, 0, 0, 0x10, 0x08]),
        (136, &[0xff; 8]),
        (directory, l1),
        (directory, &[0xff; 8]),
        (directory + 8, &[0xff; 4]),
        (directory + 17, &[255]),
        (directory + 18, &[0xff; 6]),
        (directory + 4096, block),
    ];
    for (at, field) in cases {
        let mut bytes = whole.clone();
        put(&mut bytes, at, field);
        let storage = Arc::new(MemoryStorage::new(bytes));
        let image = image::open_storage(storage.clone(), &OpenOptions::default()).unwrap();
        image.write_at(&[8; 5000], 300_000).unwrap();
        image.close().unwrap();
        drop(image);
        let after = storage.to_vec();
        let image = image::open_storage(storage, &OpenOptions::read_only()).unwrap();
        let mut found = vec![0; 5000];
        image.read_at(&mut found, 300_000).unwrap();
        assert!(found.iter().all(|&byte| byte == 8), "field at {at}");
        image.read_at(&mut found, 60_000).unwrap();
        assert!(found.iter().all(|&byte| byte == 7), "field at {at}");
        let consistent = after[95] & 1 == 1 && after[directory + 15] & 1 == 0;
        assert_eq!(consistent, at == 0, "field at {at}");
    }
}

#[test]
fn mutated_images_neither_panic_nor_hang() {
    let extended = CreateOptions {
        cluster_size: 16384,
        entries: L2Entries::Extended,
        ..CreateOptions::default()
    };
    let lazy = CreateOptions {
        cluster_size: 4096,
        refcounts: RefcountUpdates::Lazy,
        compression: Compression::Zstd,
        ..CreateOptions::default()
    };
    let samples = [
        (sample(), 4096),
        (sample_with_bitmap().0, 4096),
        (sample_of(extended), 16384),
        (sample_of(lazy), 4096),
    ];
    let mut random = Random(1);
    for (whole, cluster) in samples.iter().cycle().take(8000) {
        let mut bytes = whole.clone();
        for _ in 0..=random.below(3) {
            // Mostly the header and the tables, one field at a time.
            let limit = if random.below(4) == 0 {
                bytes.len() as u64
            } else {
                5 * cluster
            };
            let at = (random.below(limit / 8) * 8) as usize;
            match random.below(3) {
                0 => bytes[at + 7] ^= 1 << random.below(8),
                1 => put(&mut bytes, at, &random.next().to_be_bytes()),
                _ => put(&mut bytes, at, &(random.below(64) * cluster).to_be_bytes()),
            }
        }
        let start = Instant::now();
        let storage = Arc::new(MemoryStorage::new(bytes));
        let _ = check_storage(storage.clone(), None);
        if let Ok(image) = image::open_storage(storage.clone(), &OpenOptions::default()) {
            let size = image.size().min(2 << 20);
            let mut buf = vec![0; size as usize];
            let _ = image.read_at(&mut buf, 0);
            let _ = image.write_at(&buf[..buf.len().min(200_000)], 0);
            let _ = image.discard(0, size / 2);
            let _ = image.close();
        }
        let _ = check_storage(storage, Some(Repair::All));
        assert!(start.elapsed() < Duration::from_secs(2));
    }
}

#[test]
fn a_bitmap_directory_as_long_as_a_sparse_file_is_none() {
    let (mut bytes, _) = sample_with_bitmap();
    let (len, half): (u64, u64) = (1 << 42, 1 << 41);
    put(&mut bytes, 128, &half.to_be_bytes());
    put(&mut bytes, 136, &half.to_be_bytes());
    let scratch = Scratch::new("sparse-directory");
    let path = scratch.path("image.qcow2");
    std::fs::write(&path, &bytes).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(len).unwrap();
    let start = Instant::now();
    let image = image::open(&path, &OpenOptions::default()).unwrap();
    image.write_at(&[8; 5000], 300_000).unwrap();
    image.close().unwrap();
    assert!(start.elapsed() < Duration::from_secs(1));
}
