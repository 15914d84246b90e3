//! Dirty bitmaps, both ways: what follows the writes, what survives, and what each side makes of
//! the other's.

use std::path::Path;

use cowbox::image::qcow2::Purpose;
use cowbox::image::qcow2::bitmap::Directory;
use cowbox::image::qcow2::create::CreateOptions;
use cowbox::image::qcow2::header::Header;
use cowbox::image::{OpenOptions, ZeroMode};
use cowbox::storage::MemoryStorage;

use crate::programs::{assert_clean, create, open, open_qcow2, qemu, text};
use crate::scratch::Scratch;

/// The bitmaps of an image as they stand in its file: name, whether it is consistent, and which of
/// its bits are set.
fn bitmaps(path: &Path) -> Vec<(String, bool, Vec<usize>)> {
    let storage = MemoryStorage::new(std::fs::read(path).unwrap());
    let header = Header::read(&storage, Purpose::Contents).unwrap();
    let directory = Directory::read(&storage, &header).unwrap();
    let list = directory.bitmaps.iter().map(|bitmap| {
        let bits = bitmap.bits(&storage, &header).unwrap();
        let set = |bit: &usize| bits[bit / 8] >> (bit % 8) & 1 == 1;
        let set = (0..bits.len() * 8).filter(set).collect();
        let name = String::from_utf8_lossy(&bitmap.name).into_owned();
        (
            name,
            bitmap.is_consistent() && header.autoclear & 1 == 1,
            set,
        )
    });
    list.collect()
}

#[test]
fn enabled_bitmaps_follow_the_writes_of_both_sides() {
    let scratch = Scratch::new("bitmap");
    let file = scratch.path("image.qcow2");
    let name = text(&file);
    qemu("qemu-img", &["create", "-q", "-f", "qcow2", name, "8M"]);
    let add = ["bitmap", "--add", "-f", "qcow2", "-g", "64k", name];
    qemu("qemu-img", &[&add[..], &["on"]].concat());
    qemu("qemu-img", &[&add[..], &["off"]].concat());
    qemu(
        "qemu-img",
        &["bitmap", "--disable", "-f", "qcow2", name, "off"],
    );
    qemu("qemu-io", &["-f", "qcow2", "-c", "write 128k 1", name]);
    let two = |on: &[usize]| {
        let on = ("on".to_owned(), true, on.to_vec());
        vec![on, ("off".to_owned(), true, Vec::new())]
    };
    assert_eq!(bitmaps(&file), two(&[2]));
    drop(open(&file, &OpenOptions::default()));
    assert_eq!(bitmaps(&file), two(&[2]), "opening alone changes nothing");
    let image = open(&file, &OpenOptions::default());
    image.write_at(&[1; 70_000], 1 << 20).unwrap();
    image.discard(2 << 20, 65536).unwrap();
    image.flush().unwrap();
    assert!(!bitmaps(&file)[0].1, "in use while the disk changes");
    assert!(bitmaps(&file)[1].1, "a disabled one is left alone");
    image.close().unwrap();
    assert_eq!(bitmaps(&file), two(&[2, 16, 17, 32]));
    image.write_zeroes(3 << 20, 1, ZeroMode::MayUnmap).unwrap();
    image.close().unwrap();
    drop(image);
    assert_eq!(bitmaps(&file), two(&[2, 16, 17, 32, 48]));
    assert_clean(&file);
    qemu("qemu-io", &["-f", "qcow2", "-c", "write 4M 64k", name]);
    assert_eq!(bitmaps(&file), two(&[2, 16, 17, 32, 48, 64]));
    let image = open(&file, &OpenOptions::default());
    image.write_at(&vec![2; 8 << 20], 0).unwrap();
    image.close().unwrap();
    drop(image);
    assert_eq!(bitmaps(&file)[0].2.len(), 128);
    assert_clean(&file);
}

#[test]
fn a_bitmap_that_was_not_stored_stays_marked() {
    let scratch = Scratch::new("lost-bitmap");
    let file = scratch.path("image.qcow2");
    let name = text(&file);
    qemu("qemu-img", &["create", "-q", "-f", "qcow2", name, "8M"]);
    qemu("qemu-img", &["bitmap", "--add", "-f", "qcow2", name, "on"]);
    let image = open(&file, &OpenOptions::default());
    image.write_at(&[1; 512], 0).unwrap();
    image.flush().unwrap();
    // What a power cut would leave.
    let cut = scratch.path("cut.qcow2");
    std::fs::copy(&file, &cut).unwrap();
    drop(image);
    assert!(bitmaps(&file)[0].1);
    let image = open(&cut, &OpenOptions::default());
    image.write_at(&[1; 512], 1 << 20).unwrap();
    drop(image);
    assert!(!bitmaps(&cut)[0].1);
    assert!(qemu("qemu-img", &["info", text(&cut)]).contains("in-use"));
    assert_clean(&cut);
}

#[test]
fn bitmaps_are_understood_both_ways() {
    for (cluster_size, refcount_bits) in [(512, 64), (65536, 16)] {
        let scratch = Scratch::new(&format!("bitmaps-{cluster_size}"));
        let file = scratch.path("image.qcow2");
        let options = CreateOptions {
            size: 3 << 20,
            cluster_size,
            refcount_bits,
            ..CreateOptions::default()
        };
        create(&file, &options);
        let edit = |args: &[&str]| qemu("qemu-img", &[&["bitmap"], args].concat());
        open_qcow2(&file, &OpenOptions::default())
            .add_bitmap(b"ours", Some(4096))
            .unwrap();
        assert_clean(&file);
        edit(&["--add", "-g", "65536", text(&file), "theirs"]);
        edit(&["--add", "--disable", text(&file), "idle"]);
        assert_clean(&file);
        open(&file, &OpenOptions::default())
            .write_at(&[7; 5000], 1 << 20)
            .unwrap();
        let bits = |name: &[u8]| {
            open_qcow2(&file, &OpenOptions::default())
                .bitmap_bits(name)
                .unwrap()
                .bytes
        };
        let set = |bits: Vec<u8>| bits.iter().map(|byte| byte.count_ones()).sum::<u32>();
        assert_eq!(
            (set(bits(b"ours")), set(bits(b"theirs")), set(bits(b"idle"))),
            (2, 1, 0)
        );
        let other = open_qcow2(&file, &OpenOptions::default())
            .bitmap_bits(b"theirs")
            .unwrap();
        open_qcow2(&file, &OpenOptions::default())
            .merge_bitmap(b"ours", &other)
            .unwrap();
        assert_eq!(set(bits(b"ours")), 16);
        assert_clean(&file);
        edit(&["--merge", "ours", text(&file), "idle"]);
        assert!(set(bits(b"idle")) > 0);
        open_qcow2(&file, &OpenOptions::default())
            .clear_bitmap(b"ours")
            .unwrap();
        assert_eq!(set(bits(b"ours")), 0);
        open_qcow2(&file, &OpenOptions::default())
            .remove_bitmap(b"theirs")
            .unwrap();
        assert_clean(&file);
        edit(&["--remove", text(&file), "ours"]);
        open_qcow2(&file, &OpenOptions::default())
            .remove_bitmap(b"idle")
            .unwrap();
        assert_clean(&file);
        assert!(
            open_qcow2(&file, &OpenOptions::default())
                .remove_bitmap(b"idle")
                .is_err()
        );
    }
}
