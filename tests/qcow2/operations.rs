//! What is done to whole images, both ways: we do it and QEMU's tools judge, QEMU's tools do it
//! and we judge.

use std::path::Path;

use cowbox::image::compare::{Comparison, compare};
use cowbox::image::qcow2::create::{CreateOptions, L2Entries, RefcountUpdates};
use cowbox::image::qcow2::geometry::Version;
use cowbox::image::qcow2::preallocate::Preallocation;
use cowbox::image::rebase::{NewBacking, rebase};
use cowbox::image::{self, Format, Image, OpenOptions};

use crate::programs::{
    COWBOX, assert_clean, contents, create, open, open_qcow2, patiently, qemu, text,
};
use crate::scratch::{Random, Scratch};

const SIZE: u64 = 3 << 20;

/// Version, cluster size, refcount bits, L2 entries.
const ROWS: [(Version, u64, u32, L2Entries); 6] = [
    (Version::V2, 512, 16, L2Entries::Standard),
    (Version::V2, 65536, 16, L2Entries::Standard),
    (Version::V3, 512, 64, L2Entries::Standard),
    (Version::V3, 4096, 4, L2Entries::Standard),
    (Version::V3, 65536, 16, L2Entries::Standard),
    (Version::V3, 65536, 8, L2Entries::Extended),
];

fn create_row(path: &Path, row: (Version, u64, u32, L2Entries), backing: Option<&str>) {
    let options = CreateOptions {
        size: SIZE,
        version: row.0,
        cluster_size: row.1,
        refcount_bits: row.2,
        entries: row.3,
        backing: backing.map(|name| (name.to_owned(), "raw".to_owned())),
        ..CreateOptions::default()
    };
    create(path, &options);
}

/// Writes some runs of random bytes, in an image as long as `len`.
fn scribble(path: &Path, random: &mut Random, len: u64) {
    let image = open(path, &OpenOptions::default());
    for _ in 0..12 {
        let start = random.below(len / 512) * 512;
        let bytes = ((1 + random.below(100)) * 512).min(len - start);
        image
            .write_at(&random.bytes(bytes as usize), start)
            .unwrap();
    }
    image.close().unwrap();
}

/// What QEMU reads of the image, or of one of its snapshots.
fn contents_by_qemu(path: &Path, snapshot: Option<&str>, flat: &Path) -> Vec<u8> {
    let mut args = vec!["convert", "-f", "qcow2", "-O", "raw"];
    if let Some(name) = snapshot {
        args.extend(["-l", name]);
    }
    qemu("qemu-img", &[&args[..], &[text(path), text(flat)]].concat());
    std::fs::read(flat).unwrap()
}

fn of_snapshot(name: &str) -> OpenOptions {
    OpenOptions {
        snapshot: Some(name.as_bytes().to_vec()),
        ..OpenOptions::read_only()
    }
}

#[test]
fn snapshots_are_understood_both_ways() {
    for (number, row) in ROWS.into_iter().enumerate() {
        let scratch = Scratch::new(&format!("snapshots-{number}"));
        let (file, flat) = (scratch.path("image.qcow2"), scratch.path("flat"));
        create_row(&file, row, None);
        let mut random = Random(number as u64);
        let writable = OpenOptions::default();
        let mut held = Vec::new();
        for name in ["ours", "theirs", "ours too"] {
            scribble(&file, &mut random, SIZE);
            held.push((name, contents(&file, &writable)));
            if name == "theirs" {
                qemu("qemu-img", &["snapshot", "-c", name, text(&file)]);
            } else {
                let mut image = open_qcow2(&file, &OpenOptions::default());
                image.create_snapshot(name.as_bytes(), (1, 2)).unwrap();
            }
            assert_clean(&file);
        }
        scribble(&file, &mut random, SIZE);
        for (name, bytes) in &held {
            assert!(
                contents(&file, &of_snapshot(name)) == *bytes,
                "row {number} {name}"
            );
            assert!(
                contents_by_qemu(&file, Some(name), &flat) == *bytes,
                "row {number} {name}"
            );
        }
        let mut image = open_qcow2(&file, &OpenOptions::default());
        image.apply_snapshot(b"theirs").unwrap();
        drop(image);
        assert_clean(&file);
        assert!(
            contents_by_qemu(&file, None, &flat) == held[1].1,
            "row {number}"
        );
        qemu("qemu-img", &["snapshot", "-a", "ours", text(&file)]);
        assert!(contents(&file, &writable) == held[0].1, "row {number}");
        let mut image = open_qcow2(&file, &OpenOptions::default());
        image.delete_snapshot(b"theirs").unwrap();
        drop(image);
        assert_clean(&file);
        qemu("qemu-img", &["snapshot", "-d", "ours", text(&file)]);
        assert!(
            contents(&file, &of_snapshot("ours too")) == held[2].1,
            "row {number}"
        );
        assert!(contents(&file, &writable) == held[0].1, "row {number}");
        assert_clean(&file);
    }
}

#[test]
fn resized_disks_keep_what_they_held_and_show_zeros_behind_it() {
    for (number, row) in ROWS.into_iter().enumerate() {
        let scratch = Scratch::new(&format!("resized-{number}"));
        let (file, flat) = (scratch.path("image.qcow2"), scratch.path("flat"));
        let mut random = Random(number as u64);
        // Longer than the disk, so that it could show through after growing.
        std::fs::write(scratch.path("base"), random.bytes(SIZE as usize * 2)).unwrap();
        create_row(&file, row, Some("base"));
        scribble(&file, &mut random, SIZE);
        let before = contents(&file, &OpenOptions::default());
        let sizes = [
            SIZE * 40,
            SIZE / 3 + 512,
            SIZE * 3,
            SIZE,
            SIZE / 2,
            SIZE + 512,
        ];
        let mut kept = SIZE;
        for size in sizes {
            let mut image = open_qcow2(&file, &OpenOptions::default());
            image.resize(size, Preallocation::Off).unwrap();
            drop(image);
            assert_clean(&file);
            kept = kept.min(size);
            let now = contents(&file, &OpenOptions::default());
            assert_eq!(now.len() as u64, size);
            let split = kept as usize;
            assert!(now[..split] == before[..split], "row {number} size {size}");
            assert!(
                now[split..].iter().all(|&byte| byte == 0),
                "row {number} size {size}"
            );
            assert!(
                contents_by_qemu(&file, None, &flat) == now,
                "row {number} size {size}"
            );
        }
    }
}

#[test]
fn grown_disks_are_preallocated() {
    for how in [
        Preallocation::Metadata,
        Preallocation::Falloc,
        Preallocation::Full,
    ] {
        let scratch = Scratch::new(&format!("preallocated-{}", how.name()));
        let file = scratch.path("image.qcow2");
        create_row(&file, ROWS[4], None);
        patiently(|| image::resize(&file, &OpenOptions::default(), SIZE * 2, how)).unwrap();
        assert_clean(&file);
        let map = qemu("qemu-img", &["map", "--output=json", text(&file)]);
        let wanted = format!("{{ \"start\": {SIZE}, \"length\": {SIZE}");
        assert!(map.contains(&wanted), "{map}");
        let zeros = vec![0; SIZE as usize * 2];
        assert!(contents(&file, &OpenOptions::default()) == zeros);
    }
}

#[test]
fn amended_images_hold_the_same() {
    for (number, bits) in [1, 2, 4, 8, 32, 64].into_iter().enumerate() {
        let scratch = Scratch::new(&format!("amended-{number}"));
        let (file, flat) = (scratch.path("image.qcow2"), scratch.path("flat"));
        create_row(&file, ROWS[number % 2], None);
        scribble(&file, &mut Random(number as u64), SIZE);
        let before = contents(&file, &OpenOptions::default());
        let open = || open_qcow2(&file, &OpenOptions::default());
        open().set_version(Version::V3).unwrap();
        assert_clean(&file);
        open().set_refcount_bits(bits).unwrap();
        assert_clean(&file);
        open().set_refcount_updates(RefcountUpdates::Lazy).unwrap();
        open()
            .write_zeroes(0, SIZE / 2, image::ZeroMode::MayUnmap)
            .unwrap();
        assert_clean(&file);
        open().set_version(Version::V2).unwrap_err();
        open().set_refcount_bits(16).unwrap();
        open().set_version(Version::V2).unwrap();
        assert_clean(&file);
        let info = qemu("qemu-img", &["info", text(&file)]);
        assert!(info.contains("compat: 0.10"), "{info}");
        let now = contents_by_qemu(&file, None, &flat);
        let half = SIZE as usize / 2;
        assert!(now[half..] == before[half..] && now[..half].iter().all(|&b| b == 0));
    }
}

#[test]
fn a_rebased_overlay_shows_the_same() {
    for (number, row) in ROWS.into_iter().enumerate() {
        let scratch = Scratch::new(&format!("rebased-{number}"));
        let (file, flat) = (scratch.path("image.qcow2"), scratch.path("flat"));
        let mut random = Random(number as u64);
        let base = random.bytes(SIZE as usize);
        std::fs::write(scratch.path("base"), &base).unwrap();
        let mut other = base[..SIZE as usize / 2].to_vec();
        other[100_000..200_000].fill(7);
        std::fs::write(scratch.path("other"), other).unwrap();
        create_row(&file, row, Some("base"));
        // Zeros below that the next backing image does not have.
        let mut base = base;
        base[..SIZE as usize / 4].fill(0);
        std::fs::write(scratch.path("base"), &base).unwrap();
        scribble(&file, &mut random, SIZE);
        let before = contents(&file, &OpenOptions::default());
        let long = format!("./{}other", "./".repeat(100));
        for name in ["other", "", "base", &long] {
            let new = NewBacking {
                name,
                format: Some("raw"),
            };
            let options = OpenOptions::default();
            let done = patiently(|| rebase(&file, &options, Some(new), &mut |_| {}));
            match (done, row.1) {
                (Ok(()), _) => {}
                // A header of 512 bytes has no room for that name.
                (Err(error), 512) => assert!(error.to_string().contains("no room"), "{error}"),
                (Err(error), _) => panic!("row {number}, {name}: {error}"),
            }
            assert_clean(&file);
            assert!(
                contents(&file, &OpenOptions::default()) == before,
                "row {number} {name}"
            );
            assert!(
                contents_by_qemu(&file, None, &flat) == before,
                "row {number} {name}"
            );
        }
    }
}

#[test]
fn a_shorter_base_gets_as_long_as_the_overlay_committed_to_it() {
    let scratch = Scratch::new("commit-longer");
    let file = scratch.path("image.qcow2");
    std::fs::write(scratch.path("base"), Random(1).bytes(SIZE as usize / 2)).unwrap();
    create_row(&file, ROWS[4], Some("base"));
    scribble(&file, &mut Random(2), SIZE);
    let before = contents(&file, &OpenOptions::default());
    let (options, empty) = (OpenOptions::default(), image::commit::Afterwards::Empty);
    patiently(|| image::commit::commit(&file, &options, empty, &mut |_| {})).unwrap();
    assert!(std::fs::read(scratch.path("base")).unwrap() == before);
    let (a, b) = (scratch.path("base"), &file);
    let raw = OpenOptions::read_only().with_format(Some(Format::Raw));
    let (a, b) = (open(&a, &raw), open(b, &options));
    assert_eq!(compare(&*a, &*b).unwrap(), Comparison::Same);
}

#[test]
fn an_overlay_can_be_made_over_a_base_that_lies_elsewhere_or_is_not_there() {
    let scratch = Scratch::new("overlay-elsewhere");
    std::fs::create_dir(scratch.path("bases")).unwrap();
    let base = scratch.path("bases/base.qcow2");
    qemu(COWBOX, &["img", "create", "-f", "qcow2", text(&base), "1M"]);
    let top = scratch.path("top.qcow2");
    let overlay = ["img", "create", "-f", "qcow2", "-F", "qcow2", "-b"];
    qemu(COWBOX, &[&overlay[..], &[text(&base), text(&top)]].concat());
    qemu("qemu-img", &["check", text(&top)]);
    let missing = scratch.path("bases/missing.qcow2");
    let unseen = [text(&missing), "-u", text(&top), "1M"];
    qemu(COWBOX, &[&overlay[..], &unseen].concat());
}
