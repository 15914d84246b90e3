//! A host that fails: requests that may be tried again, and requests from several threads at once.
//! Every single host write and flush of a workload in turn: [`sweep`]; and of what changes an image
//! behind its guest's back: [`maintenance`].

mod maintenance;
mod sweep;
mod tasks;
mod workload;

use std::sync::Arc;

use cowbox::image::qcow2::create::{CreateOptions, create};
use cowbox::image::qcow2::repair::check_storage;
use cowbox::image::{self, OpenOptions};
use cowbox::storage::faulty::Fault;
use cowbox::storage::{FaultyStorage, MemoryStorage, Storage};

use crate::scratch::Random;

const SIZE: usize = 1 << 20;
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
