//! A host that fails: every single write and flush of a fixed workload in turn, and requests from
//! several threads at once.

use std::sync::Arc;

use cowbox::image::qcow2::create::{CreateOptions, L2Entries, RefcountUpdates, create};
use cowbox::image::qcow2::repair::check_storage;
use cowbox::image::{self, Image, OpenOptions};
use cowbox::storage::faulty::Fault;
use cowbox::storage::{FaultyStorage, MemoryStorage, Storage};

use crate::scratch::Random;

const SIZE: usize = 1 << 20;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

fn plain() -> CreateOptions {
    CreateOptions {
        cluster_size: 4096,
        ..CreateOptions::default()
    }
}

fn fresh(options: &CreateOptions) -> Arc<MemoryStorage> {
    let storage = MemoryStorage::new(Vec::new());
    let size = SIZE as u64;
    let options = CreateOptions {
        size,
        ..options.clone()
    };
    create(&storage, &options).unwrap();
    Arc::new(storage)
}

/// Writes and flushes until something fails; gives what the last good flush covered, and whether
/// anything failed.
fn work(image: &dyn Image) -> (Vec<u8>, bool) {
    let mut random = Random(11);
    let mut now = vec![0; SIZE];
    let mut flushed = now.clone();
    for round in 0..40 {
        let start = random.below(SIZE as u64 / 2) as usize * 2;
        let data = vec![round as u8 + 1; 10_000.min(SIZE - start)];
        if image.write_at(&data, start as u64).is_err() {
            return (flushed, true);
        }
        now[start..start + data.len()].copy_from_slice(&data);
        if round % 5 == 4 {
            if image.flush().is_err() {
                return (flushed, true);
            }
            flushed.clone_from(&now);
        }
    }
    (flushed, image.close().is_err())
}

fn run(options: &CreateOptions, fault: Fault) -> (u64, u64) {
    let memory = fresh(options);
    let faulty = Arc::new(FaultyStorage::new(memory.clone(), fault));
    let image = image::open_storage(faulty.clone(), &OpenOptions::default()).unwrap();
    let (flushed, failed) = work(&*image);
    assert!(failed || fault == Fault::Never, "{fault:?} went unnoticed");
    drop(image);
    // With late refcounts the image says that it was not closed, and is mended when opened.
    if options.refcounts == RefcountUpdates::Lazy {
        drop(image::open_storage(memory.clone(), &OpenOptions::default()).unwrap());
    }
    let report = check_storage(memory.clone(), None).unwrap();
    assert_eq!(
        report.corruptions, report.copied_missing,
        "{fault:?}: {:?}",
        report.messages
    );
    let image = image::open_storage(memory, &OpenOptions::read_only()).unwrap();
    let mut found = vec![0; SIZE];
    image.read_at(&mut found, 0).unwrap();
    // Later writes may have gone on; what a flush covered is there or was written over.
    let lost = found
        .iter()
        .zip(&flushed)
        .filter(|(now, then)| now < then)
        .count();
    assert_eq!(lost, 0, "{fault:?} lost bytes that a flush had covered");
    (faulty.changes(), faulty.flushes())
}

#[test]
fn no_failed_host_write_or_flush_loses_what_was_flushed() {
    let extended = CreateOptions {
        cluster_size: 16384,
        entries: L2Entries::Extended,
        ..plain()
    };
    let lazy = CreateOptions {
        refcounts: RefcountUpdates::Lazy,
        ..plain()
    };
    for options in [plain(), extended, lazy] {
        let (changes, flushes) = run(&options, Fault::Never);
        for n in 0..changes {
            run(&options, Fault::Change(n, EIO));
            run(&options, Fault::ChangesFrom(n, ENOSPC));
        }
        for n in 0..flushes {
            run(&options, Fault::Flush(n, EIO));
        }
    }
}

#[test]
fn a_full_host_fails_the_write_and_lets_it_be_tried_again() {
    let memory = fresh(&plain());
    let faulty = Arc::new(FaultyStorage::new(memory.clone(), Fault::Change(1, ENOSPC)));
    let image = image::open_storage(faulty, &OpenOptions::default()).unwrap();
    let error = image.write_at(&[1; 4096], 0).unwrap_err();
    assert_eq!(error.kind(), image::ErrorKind::NoSpace);
    image.write_at(&[1; 4096], 0).unwrap();
    image.close().unwrap();
    let report = check_storage(memory, None).unwrap();
    assert_eq!(
        (report.corruptions, report.leaks),
        (0, 0),
        "{:?}",
        report.messages
    );
}

#[test]
fn requests_from_several_threads_leave_each_what_it_wrote() {
    let memory = fresh(&plain());
    let image = image::open_storage(memory.clone(), &OpenOptions::default()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let image = &image;
            // Threads write interleaved sectors, so that they meet in every cluster.
            scope.spawn(move || {
                let mut random = Random(u64::from(thread));
                for _ in 0..400 {
                    let sector = random.below(SIZE as u64 / 2048) * 4 + u64::from(thread);
                    image.write_at(&[thread + 1; 512], sector * 512).unwrap();
                    let mut found = [0; 512];
                    image.read_at(&mut found, sector * 512).unwrap();
                    assert_eq!(found, [thread + 1; 512]);
                    match random.below(20) {
                        0 => image.flush().unwrap(),
                        1 => image.discard(sector * 512, 512).unwrap(),
                        _ => {}
                    }
                }
            });
        }
    });
    let mut all = vec![0; SIZE];
    image.read_at(&mut all, 0).unwrap();
    for (number, sector) in all.chunks(512).enumerate() {
        let thread = (number % 4) as u8 + 1;
        assert!(
            sector.iter().all(|&byte| byte == thread || byte == 0),
            "sector {number}"
        );
    }
    image.close().unwrap();
    let report = check_storage(memory as Arc<dyn Storage>, None).unwrap();
    assert_eq!(
        (report.corruptions, report.leaks),
        (0, 0),
        "{:?}",
        report.messages
    );
}
