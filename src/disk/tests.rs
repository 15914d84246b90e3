//! Disks over an image in memory.

use std::sync::Arc;
use std::time::Duration;

use super::test_image::pattern;
use super::*;
use crate::bus::NEVER;

fn one_disk(sectors: u64) -> (Disks, DiskId, Arc<TestImage>) {
    let image = TestImage::with_sectors(sectors);
    let mut disks = Disks::default();
    let disk = disks.add(Disk::new("hd0", image.clone()));
    (disks, disk, image)
}

fn read(sector: u64, count: u32) -> Request {
    Request::Read { sector, count }
}

fn write(sector: u64, byte: u8, sectors: usize) -> Request {
    let data = vec![byte; sectors * SECTOR_SIZE];
    Request::Write { sector, data }
}

fn take_all(disks: &mut Disks) -> Vec<Completion> {
    std::iter::from_fn(|| disks.take_due(disks.deadline()))
        .map(|(_, completion)| completion)
        .collect()
}

#[test]
fn a_completion_is_due_at_a_tick_that_kind_and_size_decide() {
    let (mut disks, disk, image) = one_disk(64);
    assert_eq!(disks.deadline(), NEVER);
    let tag = disks.submit(disk, 1000, read(2, 2));
    image.slow_down(Duration::from_millis(1));
    assert_eq!(disks.deadline(), 1000 + 1024 + 20_000);
    assert_eq!(disks.take_due(22_023), None);
    let (of, completion) = disks.take_due(22_024).unwrap();
    assert_eq!((of, completion.tag), (disk, tag));
    assert_eq!(completion.data, [pattern(2), pattern(3)].concat());
    assert_eq!(disks.deadline(), NEVER);
}

#[test]
fn requests_share_the_data_path_and_overlap_their_latency() {
    let (mut disks, disk, _) = one_disk(64);
    disks.submit(disk, 0, read(0, 8));
    disks.submit(disk, 0, read(8, 8));
    assert_eq!(disks.deadline(), 4096 + 20_000);
    disks.take_due(24_096).unwrap();
    assert_eq!(disks.deadline(), 8192 + 20_000);
}

#[test]
fn a_flush_comes_after_everything_before_it() {
    let (mut disks, disk, image) = one_disk(4096);
    let first = disks.submit(disk, 0, write(0, 1, 2048));
    let flush = disks.submit(disk, 10, Request::Flush);
    let tags: Vec<_> = take_all(&mut disks).iter().map(|c| c.tag).collect();
    assert_eq!(tags, [first, flush]);
    assert_eq!(image.log(), ["write 0 2048", "flush"]);
}

#[test]
fn overlapping_requests_run_and_complete_in_the_order_of_submission() {
    let (mut disks, disk, image) = one_disk(64);
    image.slow_down(Duration::from_millis(2));
    disks.submit(disk, 0, write(4, 1, 8));
    disks.submit(disk, 0, write(5, 2, 2));
    let zeroes = Request::WriteZeroes {
        sector: 6,
        count: 1,
        space: Space::MayFree,
    };
    let last = disks.submit(disk, 0, zeroes);
    let seen = disks.submit(disk, 0, read(4, 3));
    let completions = take_all(&mut disks);
    assert_eq!(completions[2].tag, last);
    assert_eq!(completions[3].tag, seen);
    let expected = [[1; SECTOR_SIZE], [2; SECTOR_SIZE], [0; SECTOR_SIZE]];
    assert_eq!(completions[3].data, expected.as_flattened());
}

#[test]
fn a_failing_sector_is_named_and_the_sectors_before_it_arrive() {
    let (mut disks, disk, image) = one_disk(64);
    image.spoil(13);
    disks.submit(disk, 0, read(10, 8));
    disks.submit(disk, 0, write(10, 7, 8));
    let completions = take_all(&mut disks);
    for completion in &completions {
        let failure = completion.result.as_ref().unwrap_err();
        assert_eq!((failure.kind, failure.sector), (FailureKind::Medium, 13));
    }
    assert_eq!(completions[0].data.len(), 3 * SECTOR_SIZE);
    assert_eq!(
        image.sectors(12, 2),
        [vec![7; SECTOR_SIZE], pattern(13)].concat()
    );
}

#[test]
fn the_user_hears_once_of_each_kind_of_failure() {
    let (mut disks, disk, image) = one_disk(64);
    image.spoil(3);
    for _ in 0..3 {
        disks.submit(disk, 0, read(3, 1));
        take_all(&mut disks);
    }
    let expected = "disk hd0: read failed at sector 3: the test spoiled it; \
                    the guest sees a drive error";
    assert_eq!(disks.take_notices(), [expected]);
}

#[test]
fn what_the_disk_cannot_do_is_refused_without_touching_the_image() {
    let (mut disks, disk, image) = one_disk(64);
    image.protect();
    let protected = disks.add(Disk::new("hd1", image.clone()));
    disks.submit(protected, 0, write(0, 9, 1));
    disks.submit(disk, 0, read(60, 8));
    disks.submit(disk, 0, read(u64::MAX, 8));
    disks.submit(disk, 0, read(0, u32::MAX));
    let kinds: Vec<_> = take_all(&mut disks)
        .into_iter()
        .map(|c| c.result.unwrap_err().kind)
        .collect();
    assert_eq!(
        kinds
            .iter()
            .filter(|k| **k == FailureKind::ReadOnly)
            .count(),
        1
    );
    assert_eq!(
        kinds
            .iter()
            .filter(|k| **k == FailureKind::OutOfRange)
            .count(),
        3
    );
    assert_eq!(image.log(), [""; 0]);
    assert_eq!(disks.take_notices(), [""; 0]);
}

#[test]
fn a_panic_of_the_image_is_a_failure_of_the_request_alone() {
    let (mut disks, disk, image) = one_disk(64);
    image.break_down();
    disks.submit(disk, 0, read(0, 1));
    disks.submit(disk, 0, Request::Flush);
    assert!(take_all(&mut disks).iter().all(|c| c.result.is_err()));
}

#[test]
fn drained_requests_complete_from_the_saved_state_alone() {
    let (mut disks, disk, _) = one_disk(64);
    disks.submit(disk, 100, read(5, 1));
    disks.drain();
    let saved = postcard::to_stdvec(disks.state()).unwrap();
    let (mut other, _, _) = one_disk(1);
    other.restore(postcard::from_bytes(&saved).unwrap());
    assert_eq!(other.deadline(), disks.deadline());
    let (_, completion) = other.take_due(other.deadline()).unwrap();
    assert_eq!(completion.data, pattern(5));
}

#[test]
fn dropping_the_disks_carries_out_what_was_submitted() {
    let (mut disks, disk, image) = one_disk(64);
    image.slow_down(Duration::from_millis(5));
    disks.submit(disk, 0, write(1, 0xaa, 1));
    drop(disks);
    assert_eq!(image.sectors(1, 1), [0xaa; SECTOR_SIZE]);
}

#[test]
fn closing_the_disks_flushes_the_images_and_names_those_that_fail() {
    let (mut disks, disk, image) = one_disk(64);
    disks.submit(disk, 0, write(1, 0xaa, 1));
    assert_eq!(disks.close(), [""; 0]);
    assert_eq!(image.log(), ["write 1 1", "flush"]);
    let (disks, _, image) = one_disk(64);
    image.fail_flushes();
    let expected = "disk hd0: the image was not closed cleanly: the test fails flushes";
    assert_eq!(disks.close(), [expected]);
}
