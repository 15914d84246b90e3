//! What an image has and nobody here knows: autoclear features, header fields, header extensions.

use std::path::Path;

use crate::programs::{COWBOX, assert_clean, qemu, text};
use crate::scratch::Scratch;

/// Where the autoclear features start, and how long the header is.
const AUTOCLEAR: usize = 88;
const HEADER_LENGTH: usize = 100;
const BACKING: usize = 8;
/// An autoclear feature that is not known, in the last byte of the field.
const FEATURE: u8 = 0x20;
/// A header field that is not known, and an extension.
const FIELD: &[u8; 8] = b"A field!";
const KIND: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
const DATA: &[u8] = b"an extension of 29 bytes' text";

fn ours(args: &[&str]) {
    qemu(COWBOX, &[&["img"], args].concat());
}

fn number(bytes: &[u8], at: usize) -> usize {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

fn make(path: &Path, options: &str) {
    let make = [
        "create",
        "-q",
        "-f",
        "qcow2",
        "-o",
        options,
        text(path),
        "4M",
    ];
    qemu("qemu-img", &make);
    qemu(
        "qemu-io",
        &["-f", "qcow2", "-c", "write -P 7 1M 300k", text(path)],
    );
}

#[test]
fn an_unknown_autoclear_feature_goes_at_the_first_opening_for_writing_only() {
    let scratch = Scratch::new("autoclear");
    let [file, copy] = ["image.qcow2", "copy"].map(|name| scratch.path(name));
    let (name, copy) = (text(&file), text(&copy));
    let set = || {
        make(&file, "cluster_size=4k");
        ours(&["bitmap", "--add", name, "changes"]);
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[AUTOCLEAR] |= 0x80;
        bytes[AUTOCLEAR + 7] |= FEATURE;
        std::fs::write(&file, bytes).unwrap();
    };
    let features = || {
        let bytes = std::fs::read(&file).unwrap();
        (bytes[AUTOCLEAR], bytes[AUTOCLEAR + 7])
    };
    set();
    let readers: [&[&str]; 8] = [
        &["info", name],
        &["check", name],
        &["map", name],
        &["explain", name, "1M"],
        &["convert", "-O", "raw", name, copy],
        &["compare", name, copy],
        &["measure", "-O", "qcow2", name],
        &["io", "-r", "-c", "read 0 4k", name],
    ];
    for reader in readers {
        ours(reader);
        assert_eq!(features(), (0x80, FEATURE | 1), "after {reader:?}");
    }
    let writers: [&[&str]; 7] = [
        &["io", "-c", "read 0 4k", name],
        &["io", "-c", "write 0 4k", name],
        &["snapshot", "-c", "one", name],
        &["resize", "-q", name, "5M"],
        &["bitmap", "--add", name, "more"],
        &["amend", "-o", "lazy_refcounts=on", name],
        &["compact", name],
    ];
    for writer in writers {
        set();
        ours(writer);
        // The bitmaps were right and stay so.
        assert_eq!(features(), (0, 1), "after {writer:?}");
        assert_clean(&file);
    }
    // QEMU sees it no other way.
    set();
    qemu("qemu-io", &["-f", "qcow2", "-c", "read 0 4k", name]);
    assert_eq!(features(), (0, 1));
}

/// Puts a field behind the header, and an extension before the others.
fn insert(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let length = number(&bytes, HEADER_LENGTH);
    let mut new = FIELD.to_vec();
    new.extend(KIND);
    new.extend((DATA.len() as u32).to_be_bytes());
    new.extend(DATA);
    new.resize(new.len().next_multiple_of(8), 0);
    let backing = number(&bytes, BACKING + 4);
    if backing != 0 {
        let moved = (backing + new.len()) as u32;
        bytes[BACKING + 4..BACKING + 8].copy_from_slice(&moved.to_be_bytes());
    }
    let cluster = 1 << number(&bytes, 20);
    let moved = bytes[length..cluster - new.len()].to_vec();
    bytes[length..length + new.len()].copy_from_slice(&new);
    bytes[length + new.len()..cluster].copy_from_slice(&moved);
    let length = length + FIELD.len();
    bytes[HEADER_LENGTH..HEADER_LENGTH + 4].copy_from_slice(&(length as u32).to_be_bytes());
    std::fs::write(path, bytes).unwrap();
}

/// Whether the field and, once, the extension are there.
fn assert_kept(path: &Path, what: &str) {
    let bytes = std::fs::read(path).unwrap();
    let mut at = number(&bytes, HEADER_LENGTH);
    assert_eq!(&bytes[at - FIELD.len()..at], FIELD, "{what}");
    let mut found = 0;
    loop {
        let (kind, len) = (&bytes[at..at + 4], number(&bytes, at + 4));
        if kind == [0; 4] {
            break;
        }
        if kind == KIND {
            assert_eq!(&bytes[at + 8..at + 8 + len], DATA, "{what}");
            found += 1;
        }
        at += 8 + len.next_multiple_of(8);
    }
    assert_eq!(found, 1, "{what}: unknown extensions");
}

#[test]
fn unknown_fields_and_extensions_stay_whatever_is_done_to_the_image() {
    let scratch = Scratch::new("unknown");
    let [file, base, other] = ["top.qcow2", "base.qcow2", "other.qcow2"].map(|n| scratch.path(n));
    let name = text(&file);
    make(&base, "cluster_size=64k");
    make(&other, "cluster_size=4k");
    for cluster_size in ["4k", "64k"] {
        let options =
            format!("cluster_size={cluster_size},backing_file=base.qcow2,backing_fmt=qcow2");
        make(&file, &options);
        insert(&file);
        assert_kept(&file, "new");
        let commands: [&[&str]; 19] = [
            &["io", "-c", "write -P 1 0 100k", name],
            &["amend", "-o", "lazy_refcounts=on", name],
            &["amend", "-o", "lazy_refcounts=off", name],
            &["amend", "-o", "refcount_bits=64", name],
            &["rebase", "-u", "-b", "other.qcow2", "-F", "qcow2", name],
            &["rebase", "-u", "-b", "base.qcow2", "-F", "qcow2", name],
            &["rebase", "-b", "other.qcow2", "-F", "qcow2", name],
            &["snapshot", "-c", "one", name],
            &["io", "-c", "write -P 2 50k 100k", name],
            &["snapshot", "-a", "one", name],
            &["snapshot", "-d", "one", name],
            &["bitmap", "--add", name, "changes"],
            &["bitmap", "--disable", name, "changes"],
            &["bitmap", "--remove", name, "changes"],
            &["resize", "-q", name, "40M"],
            &["resize", "-q", "--shrink", name, "3M"],
            &["rebase", "-b", "", name],
            &["compact", name],
            &["check", "-r", "all", name],
        ];
        for command in commands {
            ours(command);
            assert_kept(&file, &format!("after {command:?}"));
            assert_clean(&file);
        }
    }
}
