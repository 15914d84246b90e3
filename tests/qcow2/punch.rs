//! Discarded subclusters: the host gets their bytes back, and only theirs.

use std::sync::Arc;

use cowbox::image::Image;
use cowbox::image::qcow2::create::{CreateOptions, L2Entries, create};
use cowbox::image::qcow2::header::Header;
use cowbox::image::qcow2::{Parameters, Purpose, Qcow2, Writing};
use cowbox::storage::{MemoryStorage, Storage};

const CLUSTER: usize = 65536;
const PART: usize = CLUSTER / 32;

fn image() -> (Arc<MemoryStorage>, Qcow2) {
    let storage = Arc::new(MemoryStorage::new(Vec::new()));
    let options = CreateOptions {
        size: 16 * CLUSTER as u64,
        entries: L2Entries::Extended,
        ..CreateOptions::default()
    };
    create(&*storage, &options).unwrap();
    let header = Header::read(&*storage, Purpose::Contents).unwrap();
    let file: Arc<dyn Storage> = Arc::clone(&storage) as _;
    let image = Qcow2::open(file, header, Parameters::new(Writing::Allowed)).unwrap();
    image.write_at(&[1; CLUSTER], 0).unwrap();
    image.close().unwrap();
    (storage, image)
}

/// Which parts of the first cluster have bytes on the host.
fn parts_on_host(storage: &MemoryStorage) -> Vec<bool> {
    // Behind the L2 table, which the first write made.
    let bytes = &storage.to_vec()[5 * CLUSTER..6 * CLUSTER];
    bytes.chunks(PART).map(|part| part.contains(&1)).collect()
}

#[test]
fn discarded_subclusters_are_holes_once_that_is_durable() {
    let (storage, image) = image();
    let part = PART as u64;
    image.discard(part, 2 * part).unwrap();
    image.discard(7 * part, part).unwrap();
    assert!(
        parts_on_host(&storage).iter().all(|&there| there),
        "not before"
    );
    image.flush().unwrap();
    let there = parts_on_host(&storage);
    let holes: Vec<usize> = (0..32).filter(|&n| !there[n]).collect();
    assert_eq!(holes, [1, 2, 7]);
    let mut disk = vec![0; CLUSTER];
    image.read_at(&mut disk, 0).unwrap();
    assert!(disk[..PART] == [1; PART] && disk[PART..3 * PART] == [0; 2 * PART]);
}

#[test]
fn what_is_written_again_before_the_flush_stays() {
    let (storage, image) = image();
    let part = PART as u64;
    image.discard(part, 3 * part).unwrap();
    image.write_at(&[1; PART], 2 * part).unwrap();
    image.flush().unwrap();
    let there = parts_on_host(&storage);
    assert_eq!(there[..5], [true, false, true, false, true]);
    let mut found = [0; PART];
    image.read_at(&mut found, 2 * part).unwrap();
    assert_eq!(found, [1; PART]);
}
