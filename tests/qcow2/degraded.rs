//! Contradictions found while reading: an image that is open for writing is marked as corrupt and
//! takes no more writes, and what makes sense is read all the same.

use std::sync::Arc;

use cowbox::image::qcow2::create::{CreateOptions, L2Entries, create};
use cowbox::image::qcow2::geometry::Version;
use cowbox::image::qcow2::header::{CORRUPT, Header};
use cowbox::image::qcow2::repair::{Repair, check_storage};
use cowbox::image::qcow2::{Parameters, Purpose, Qcow2, Writing};
use cowbox::image::{ErrorKind, Image, Result};
use cowbox::storage::{MemoryStorage, Storage};

const CLUSTER: u64 = 65536;
/// Where the first L2 table of a new image lies, once it has one.
const L2: u64 = 4 * CLUSTER;

fn image(entries: L2Entries) -> Arc<MemoryStorage> {
    let storage = Arc::new(MemoryStorage::new(Vec::new()));
    let options = CreateOptions {
        size: 16 * CLUSTER,
        entries,
        ..CreateOptions::default()
    };
    create(&*storage, &options).unwrap();
    let image = open(&storage, Writing::Allowed).unwrap();
    image.write_at(&[1; 4 * CLUSTER as usize], 0).unwrap();
    image.close().unwrap();
    storage
}

fn open(storage: &Arc<MemoryStorage>, writing: Writing) -> Result<Qcow2> {
    let storage: Arc<dyn Storage> = Arc::clone(storage) as _;
    let header = Header::read(&*storage, Purpose::Contents)?;
    Qcow2::open(storage, header, Parameters::new(writing))
}

fn is_marked(storage: &MemoryStorage) -> bool {
    let header = Header::read(storage, Purpose::Inspection).unwrap();
    header.incompatible & CORRUPT != 0
}

/// Makes the word at `at` what it is not.
fn damage(storage: &MemoryStorage, at: u64, word: u64) {
    storage.write_at(&word.to_be_bytes(), at).unwrap();
}

fn assert_degrades(storage: &Arc<MemoryStorage>, bad: u64, good: u64) {
    let reader = open(storage, Writing::Refused).unwrap();
    let error = reader.read_at(&mut [0; 512], bad).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(!is_marked(storage), "a reader changes nothing");
    let image = open(storage, Writing::Allowed).unwrap();
    image.write_at(&[2; 512], good).unwrap();
    image.flush().unwrap();
    image.read_at(&mut [0; 512], bad).unwrap_err();
    assert!(is_marked(storage));
    let error = image.write_at(&[3; 512], good).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
    let mut found = [0; 512];
    image.read_at(&mut found, good).unwrap();
    assert_eq!(found, [2; 512], "reading goes on");
    drop(image);
    assert!(is_marked(storage));
    let error = open(storage, Writing::Allowed).unwrap_err();
    assert!(error.to_string().contains("check -r all"), "{error}");
    open(storage, Writing::Refused).unwrap();
}

#[test]
fn a_cluster_that_is_not_aligned_ends_writing_when_it_is_read() {
    let storage = image(L2Entries::Standard);
    damage(&storage, L2 + 8, 1 << 63 | (6 * CLUSTER + 512));
    assert_degrades(&storage, CLUSTER, 0);
}

#[test]
fn a_subcluster_that_is_data_and_zeros_ends_writing_when_it_is_read() {
    let storage = image(L2Entries::Extended);
    damage(&storage, L2 + 16 + 8, u64::MAX);
    assert_degrades(&storage, CLUSTER, 0);
}

#[test]
fn only_a_repair_takes_the_mark_away() {
    let storage = image(L2Entries::Standard);
    let mut word = [0; 8];
    storage.read_at(&mut word, L2 + 8).unwrap();
    damage(&storage, L2 + 8, 1 << 63 | (6 * CLUSTER + 512));
    let image = open(&storage, Writing::Allowed).unwrap();
    image.read_at(&mut [0; 512], CLUSTER).unwrap_err();
    drop(image);
    let left = check_storage(Arc::clone(&storage) as _, Some(Repair::All)).unwrap();
    assert!(
        left.corruptions > 0 && is_marked(&storage),
        "nobody knows what the entry meant"
    );
    damage(&storage, L2 + 8, u64::from_be_bytes(word));
    check_storage(Arc::clone(&storage) as _, None).unwrap();
    assert!(is_marked(&storage), "looking is not mending");
    check_storage(Arc::clone(&storage) as _, Some(Repair::All)).unwrap();
    assert!(!is_marked(&storage));
    open(&storage, Writing::Allowed).unwrap();
}

/// Gives the image a snapshot of what it holds, and other contents afterwards, and puts an entry
/// with `extra` behind everything else in place of the snapshot's.
fn with_snapshot(storage: &Arc<MemoryStorage>, extra: &[u8]) {
    let mut image = open(storage, Writing::Allowed).unwrap();
    image.create_snapshot(b"before", (1, 0)).unwrap();
    image.write_at(&[2; 4 * CLUSTER as usize], 0).unwrap();
    image.close().unwrap();
    drop(image);
    let header = Header::read(&**storage, Purpose::Contents).unwrap();
    let mut entry = [0; 40 + 24 + 7];
    storage
        .read_at(&mut entry, header.snapshots_offset.0)
        .unwrap();
    let (fixed, names) = (&mut entry[..40].to_vec(), &entry[64..]);
    fixed[36..].copy_from_slice(&(extra.len() as u32).to_be_bytes());
    let end = storage.len().unwrap().next_multiple_of(CLUSTER);
    let entry = [&fixed[..], extra, names].concat();
    storage.write_at(&entry, end).unwrap();
    damage(storage, 64, end);
}

fn assert_snapshot_is_whole(storage: &Arc<MemoryStorage>) {
    let mut image = open(storage, Writing::Allowed).unwrap();
    let [snapshot] = &image.snapshots().unwrap()[..] else {
        panic!("not one snapshot");
    };
    assert_eq!(snapshot.disk_size, Some(16 * CLUSTER));
    image.apply_snapshot(b"before").unwrap();
    let mut found = vec![0; 4 * CLUSTER as usize];
    image.read_at(&mut found, 0).unwrap();
    assert!(found.iter().all(|&byte| byte == 1));
    image.close().unwrap();
    let left = check_storage(Arc::clone(storage) as _, None).unwrap();
    assert_eq!(
        (left.corruptions, left.leaks),
        (0, 0),
        "{:?}",
        left.messages
    );
}

#[test]
fn what_a_snapshot_holds_is_not_freed_while_the_table_cannot_be_read() {
    let storage = image(L2Entries::Standard);
    let mut extra = vec![9; 2000];
    extra[..16].copy_from_slice(&[0, 16 * CLUSTER].map(u64::to_be_bytes).concat());
    with_snapshot(&storage, &extra);
    let found = check_storage(Arc::clone(&storage) as _, None).unwrap();
    assert!(found.snapshots_unread && found.corruptions > 0 && found.leaks == 0);
    let contents = || {
        let mut bytes = vec![0; storage.len().unwrap() as usize];
        storage.read_at(&mut bytes, 0).unwrap();
        bytes
    };
    let before = contents();
    check_storage(Arc::clone(&storage) as _, Some(Repair::Leaks)).unwrap();
    assert!(contents() == before, "nothing is known to be free");
    let mended = check_storage(Arc::clone(&storage) as _, Some(Repair::All)).unwrap();
    assert_eq!(mended.corruptions, 0, "{:?}", mended.messages);
    assert_snapshot_is_whole(&storage);
}

#[test]
fn entries_of_snapshots_get_what_version_3_demands() {
    let storage = image(L2Entries::Standard);
    with_snapshot(&storage, &[0; 8]);
    let found = check_storage(Arc::clone(&storage) as _, None).unwrap();
    let incomplete = "ERROR snapshot table entry 0 is incomplete";
    assert!(found.messages.iter().any(|line| line == incomplete));
    let mended = check_storage(Arc::clone(&storage) as _, Some(Repair::All)).unwrap();
    assert_eq!(mended.corruptions, 0, "{:?}", mended.messages);
    assert_snapshot_is_whole(&storage);
}

#[test]
fn an_image_of_version_2_becomes_one_of_version_3_with_its_snapshots() {
    let storage = image(L2Entries::Standard);
    open(&storage, Writing::Allowed)
        .unwrap()
        .set_version(Version::V2)
        .unwrap();
    with_snapshot(&storage, &[]);
    // The refcounts of the entry's new place.
    check_storage(Arc::clone(&storage) as _, Some(Repair::Refcounts)).unwrap();
    open(&storage, Writing::Allowed)
        .unwrap()
        .set_version(Version::V3)
        .unwrap();
    assert_snapshot_is_whole(&storage);
}

#[test]
fn of_two_snapshots_that_are_alike_one_is_deleted() {
    let storage = image(L2Entries::Standard);
    let mut opened = open(&storage, Writing::Allowed).unwrap();
    for _ in 0..2 {
        opened.create_snapshot(b"same", (0, 0)).unwrap();
    }
    opened.close().unwrap();
    drop(opened);
    let table = Header::read(&*storage, Purpose::Inspection).unwrap();
    let table = table.snapshots_offset.0;
    // 40 bytes, 24 of extra data, an identifier of 1 and a name of 4, filled up to 8.
    let mut entry = [0; 72];
    storage.read_at(&mut entry, table).unwrap();
    storage.write_at(&entry, table + 72).unwrap();
    check_storage(Arc::clone(&storage) as _, Some(Repair::All)).unwrap();
    let mut opened = open(&storage, Writing::Allowed).unwrap();
    opened.delete_snapshot(b"1").unwrap();
    assert_eq!(opened.snapshots().unwrap().len(), 1);
    opened.close().unwrap();
    drop(opened);
    let report = check_storage(storage as _, None).unwrap();
    assert_eq!(report.corruptions, 0, "{:?}", report.messages);
}

#[test]
fn a_snapshot_that_cannot_be_freed_is_gone_all_the_same() {
    let storage = image(L2Entries::Standard);
    let mut opened = open(&storage, Writing::Allowed).unwrap();
    for name in [b"one", b"two"] {
        opened.create_snapshot(name, (0, 0)).unwrap();
    }
    let table = opened.snapshots().unwrap()[0].l1_offset;
    damage(&storage, table.0, L2 + 512);
    opened.delete_snapshot(b"one").unwrap_err();
    let left = opened.snapshots().unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].name, b"two");
}
