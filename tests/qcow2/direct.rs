//! Images opened around the host's page cache (O_DIRECT): requests of every alignment, against a
//! flat copy.

use std::path::Path;

use cowbox::image::qcow2::create::CreateOptions;
use cowbox::image::{self, Format, OpenOptions, WriteCache};
use cowbox::storage::file::Mode;
use cowbox::storage::{Allocation, Durability, FileStorage, Storage};

use crate::scratch::{Random, Scratch};

/// Whether the file system of `path` has O_DIRECT; if not, says that the test is left out.
fn is_possible(path: &Path) -> bool {
    std::fs::write(path, [0; 512]).unwrap();
    match FileStorage::open_direct(path, Mode::Write) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::Unsupported, "{error}");
            assert!(error.to_string().contains("cache=writeback"), "{error}");
            println!("left out: {}: {error}", path.display());
            false
        }
    }
}

#[test]
fn direct_requests_of_any_alignment_do_what_others_do() {
    let scratch = Scratch::new("direct");
    let path = scratch.path("file");
    if !is_possible(&path) {
        return;
    }
    let direct = FileStorage::open_direct(&path, Mode::Write).unwrap();
    let mut random = Random(7);
    let mut model = vec![0; 512];
    for _ in 0..400 {
        let unit = [1, 4, 512, 4096][random.below(4) as usize];
        let offset = random.below(60_000 / unit) * unit;
        let len = (1 + random.below(20_000 / unit)) * unit;
        let end = (offset + len) as usize;
        match random.below(5) {
            0 => {
                let mut found = vec![1; len as usize];
                direct.read_at(&mut found, offset).unwrap();
                let mut wanted = model.get(offset as usize..).unwrap_or(&[]).to_vec();
                wanted.resize(len as usize, 0);
                assert!(found == wanted, "{len} bytes at {offset}");
            }
            1 => {
                direct.zero(offset, len, Allocation::MayFree).unwrap();
                model.resize(model.len().max(end), 0);
                model[offset as usize..end].fill(0);
            }
            2 => {
                direct.set_len(end as u64).unwrap();
                model.resize(end, 0);
            }
            _ => {
                let bytes = random.bytes(len as usize);
                direct.write_at(&bytes, offset).unwrap();
                model.resize(model.len().max(end), 0);
                model[offset as usize..end].copy_from_slice(&bytes);
            }
        }
        assert_eq!(direct.len().unwrap(), model.len() as u64);
    }
    direct.flush(Durability::Data).unwrap();
    assert!(std::fs::read(&path).unwrap() == model);
}

#[test]
fn writes_to_parts_of_one_block_do_not_lose_each_other() {
    let scratch = Scratch::new("direct-edges");
    let path = scratch.path("file");
    if !is_possible(&path) {
        return;
    }
    let direct = FileStorage::open_direct(&path, Mode::Write).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let direct = &direct;
            scope.spawn(move || {
                for round in 0..100 {
                    let at = u64::from(thread) * 100 + round * 400;
                    direct.write_at(&[thread + 1; 100], at).unwrap();
                }
            });
        }
    });
    let found = std::fs::read(&path).unwrap();
    let right = |(at, &byte): (usize, &u8)| usize::from(byte) == at / 100 % 4 + 1;
    assert!(found.len() == 40_000 && found.iter().enumerate().all(right));
}

#[test]
fn images_work_without_the_page_cache() {
    let scratch = Scratch::new("direct-images");
    if !is_possible(&scratch.path("file")) {
        return;
    }
    for (format, cluster_size, cache) in [
        (Format::Qcow2, 512, WriteCache::None),
        (Format::Qcow2, 65536, WriteCache::DirectSync),
        (Format::Raw, 65536, WriteCache::None),
    ] {
        let path = scratch.path(&format!("{format}-{cluster_size}"));
        let options = CreateOptions {
            size: 1 << 20 | 512,
            cluster_size,
            ..CreateOptions::default()
        };
        image::create(&path, format, &options).unwrap();
        let options = OpenOptions {
            cache,
            format: Some(format),
            ..OpenOptions::default()
        };
        let image = image::open(&path, &options).unwrap();
        let mut random = Random(3);
        let mut model = vec![0; image.size() as usize];
        for _ in 0..100 {
            let offset = random.below(image.size() - 1);
            let len = 1 + random.below((image.size() - offset).min(30_000));
            let bytes = random.bytes(len as usize);
            image.write_at(&bytes, offset).unwrap();
            model[offset as usize..(offset + len) as usize].copy_from_slice(&bytes);
        }
        image.close().unwrap();
        drop(image);
        let image = image::open(&path, &OpenOptions::read_only().with_format(Some(format)));
        let mut found = vec![0; model.len()];
        image.unwrap().read_at(&mut found, 0).unwrap();
        assert!(found == model, "{format}, clusters of {cluster_size}");
    }
}
