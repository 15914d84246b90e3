//! Requests beside each other: while the host holds some of them up, the others go on.

use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cowbox::image::qcow2::CacheSizes;
use cowbox::image::qcow2::create::{CreateOptions, create};
use cowbox::image::qcow2::repair::check_storage;
use cowbox::image::{self, Image, OpenOptions, ZeroMode};
use cowbox::storage::stalled::Stall;
use cowbox::storage::{MemoryStorage, StalledStorage, Storage};

use crate::scratch::Random;

/// What one L2 table maps, in clusters of 64 KiB.
const REACH: u64 = 512 << 20;
const CLUSTER: u64 = 64 << 10;
/// Nothing that need not wait takes longer.
const AT_ONCE: Duration = Duration::from_millis(10);

/// An image with 1 MiB of data at the start of what each of three L2 tables maps, nothing of
/// which is in memory.
struct Fixture {
    storage: Arc<StalledStorage>,
    image: Arc<dyn Image>,
    /// Where the third L2 table lies.
    table: Range<u64>,
    /// Where new clusters go.
    end: u64,
}

impl Fixture {
    fn new() -> Self {
        let memory = Arc::new(MemoryStorage::new(Vec::new()));
        let options = CreateOptions {
            size: 4 * REACH,
            ..CreateOptions::default()
        };
        create(&*memory, &options).unwrap();
        let image = image::open_storage(memory.clone(), &OpenOptions::default()).unwrap();
        for table in 0..3 {
            image.write_at(&[7; 1 << 20], table * REACH).unwrap();
        }
        image.close().unwrap();
        drop(image);
        let bytes = memory.to_vec();
        let word = |at: u64| u64::from_be_bytes(bytes[at as usize..][..8].try_into().unwrap());
        let table = word(word(40) + 2 * 8) & 0x00ff_ffff_ffff_fe00;
        let storage = Arc::new(StalledStorage::new(memory));
        Self {
            image: image::open_storage(storage.clone(), &OpenOptions::default()).unwrap(),
            storage,
            table: table..table + CLUSTER,
            end: bytes.len() as u64,
        }
    }

    /// Carries out requests that have nothing to do with what is held up; gives the slowest.
    fn requests_elsewhere(&self) -> Duration {
        let image = &*self.image;
        let read = |at: u64| {
            let mut found = [0; 4096];
            image.read_at(&mut found, at).unwrap();
            found[0]
        };
        let requests: [&dyn Fn(); 7] = [
            &|| assert_eq!(read(4096), 7),
            &|| assert_eq!(read(REACH), 7),
            &|| assert_eq!(read(3 * REACH), 0),
            &|| image.write_at(&[8; 4096], 8192).unwrap(),
            &|| assert_eq!(read(8192), 8),
            &|| assert_eq!(image.extent(REACH, CLUSTER).unwrap().length, CLUSTER),
            &|| assert_eq!(read(REACH + CLUSTER), 7),
        ];
        slowest(&requests)
    }

    /// The same for requests that change the mapping.
    fn allocations_elsewhere(&self) -> Duration {
        let image = &*self.image;
        let zero = |at| image.write_zeroes(at, CLUSTER, ZeroMode::MayUnmap).unwrap();
        let requests: [&dyn Fn(); 3] = [
            &|| image.write_at(&[8; 4096], REACH + (4 << 20)).unwrap(),
            &|| zero(CLUSTER),
            &|| image.discard(2 * CLUSTER, CLUSTER).unwrap(),
        ];
        slowest(&requests)
    }
}

fn slowest(requests: &[&dyn Fn()]) -> Duration {
    let times = requests.iter().map(|request| {
        let started = Instant::now();
        request();
        started.elapsed()
    });
    times.max().unwrap()
}

/// Calls `attempt` until what it measures is as fast as it ought to be: on a busy machine a
/// thread may be kept waiting by others, but not every time.
fn at_once(attempt: impl Fn() -> Duration) {
    let times: Vec<Duration> = std::iter::repeat_with(attempt)
        .scan(false, |done, time| {
            let before = std::mem::replace(done, time < AT_ONCE);
            (!before).then_some(time)
        })
        .take(8)
        .collect();
    println!("slowest request of each attempt: {times:?}");
    assert!(times.last().unwrap() < &AT_ONCE, "held up: {times:?}");
}

#[test]
fn requests_elsewhere_go_on_while_a_data_write_and_an_l2_load_wait_for_a_second() {
    at_once(|| {
        let fixture = Fixture::new();
        let Fixture { storage, image, .. } = &fixture;
        storage.stall(Stall::Write(fixture.end..u64::MAX));
        storage.stall(Stall::Read(fixture.table.clone()));
        let new = 8 << 20;
        let took = thread::scope(|scope| {
            let writer = scope.spawn(|| image.write_at(&[9; 4096], new));
            let reader = scope.spawn(|| {
                let mut found = [0; 4096];
                image.read_at(&mut found, 2 * REACH).map(|()| found)
            });
            storage.wait_until_stalled();
            let started = Instant::now();
            let took = fixture.requests_elsewhere();
            let took = took.max(fixture.allocations_elsewhere());
            thread::sleep(Duration::from_secs(1).saturating_sub(started.elapsed()));
            assert!(!writer.is_finished() && !reader.is_finished());
            storage.release();
            writer.join().unwrap().unwrap();
            assert_eq!(reader.join().unwrap().unwrap(), [7; 4096]);
            took
        });
        let mut found = [0; 4096];
        image.read_at(&mut found, new).unwrap();
        assert_eq!(found, [9; 4096]);
        took
    });
}

#[test]
fn reads_and_writes_in_place_go_on_while_a_flush_waits() {
    at_once(|| {
        let fixture = Fixture::new();
        let Fixture { storage, image, .. } = &fixture;
        image.write_at(&[9; 4096], 8 << 20).unwrap();
        storage.stall(Stall::Flush);
        thread::scope(|scope| {
            let flush = scope.spawn(|| image.flush());
            storage.wait_until_stalled();
            let took = fixture.requests_elsewhere();
            assert!(!flush.is_finished());
            storage.release();
            flush.join().unwrap().unwrap();
            took
        })
    });
}

#[test]
fn who_wants_a_table_that_is_being_loaded_gets_it_too() {
    let fixture = Fixture::new();
    let Fixture { storage, image, .. } = &fixture;
    storage.stall(Stall::Read(fixture.table.clone()));
    thread::scope(|scope| {
        let read = || {
            let mut found = [0; 4096];
            image.read_at(&mut found, 2 * REACH).map(|()| found)
        };
        let readers = [(); 3].map(|()| scope.spawn(read));
        storage.wait_until_stalled();
        thread::sleep(Duration::from_millis(20));
        assert!(readers.iter().all(|reader| !reader.is_finished()));
        storage.release();
        for reader in readers {
            assert_eq!(reader.join().unwrap().unwrap(), [7; 4096]);
        }
    });
}

const BLOCKS: u64 = 4096;
const BLOCK: u64 = 4096;

/// Changes and reads blocks of its own, between those of other threads, and gives what each block
/// holds in the end.
fn neighbour(image: &dyn Image, threads: u64, own: u64) -> Vec<u8> {
    let mut random = Random(own + 1);
    let mut now = vec![0; (BLOCKS / threads) as usize];
    let mut buffer = vec![0; BLOCK as usize];
    for _ in 0..4000 {
        let n = random.below(BLOCKS / threads) as usize;
        let at = (n as u64 * threads + own) * BLOCK;
        match random.below(8) {
            0..3 => {
                now[n] = random.next() as u8;
                buffer.fill(now[n]);
                image.write_at(&buffer, at).unwrap();
            }
            3 => {
                now[n] = 0;
                image.write_zeroes(at, BLOCK, ZeroMode::MayUnmap).unwrap();
            }
            4 if random.below(40) == 0 => image.flush().unwrap(),
            _ => {
                image.read_at(&mut buffer, at).unwrap();
                assert!(buffer.iter().all(|&byte| byte == now[n]), "block {at:#x}");
            }
        }
    }
    now
}

#[test]
fn neighbours_do_not_disturb_each_other_when_the_caches_are_far_too_small() {
    const THREADS: u64 = 4;
    for cluster_size in [512, 4096, 65536] {
        let memory = Arc::new(MemoryStorage::new(Vec::new()));
        let options = CreateOptions {
            size: BLOCKS * BLOCK,
            cluster_size,
            ..CreateOptions::default()
        };
        create(&*memory, &options).unwrap();
        let options = OpenOptions {
            caches: CacheSizes {
                l2: 0,
                refcounts: 0,
            },
            ..OpenOptions::default()
        };
        let storage = memory.clone() as Arc<dyn Storage>;
        let image = image::open_storage(storage, &options).unwrap();
        let disk: Vec<Vec<u8>> = thread::scope(|scope| {
            let image = &*image;
            let threads: Vec<_> = (0..THREADS)
                .map(|own| scope.spawn(move || neighbour(image, THREADS, own)))
                .collect();
            let ends = threads.into_iter().map(|thread| thread.join().unwrap());
            ends.collect()
        });
        image.close().unwrap();
        drop(image);
        let report = check_storage(memory.clone(), None).unwrap();
        assert_eq!(
            (report.corruptions, report.leaks),
            (0, 0),
            "{:?}",
            report.messages
        );
        let image = image::open_storage(memory, &OpenOptions::read_only()).unwrap();
        let mut block = vec![0; BLOCK as usize];
        for n in 0..BLOCKS {
            image.read_at(&mut block, n * BLOCK).unwrap();
            let wanted = disk[(n % THREADS) as usize][(n / THREADS) as usize];
            assert!(block.iter().all(|&byte| byte == wanted), "block {n}");
        }
    }
}
