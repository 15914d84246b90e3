//! Zeroing and discarding parts of clusters over backing images of every kind: none, zeros, data,
//! longer and shorter ones. QEMU does the same to an image of the same kind, and both read both. What
//! was discarded may read as before or as zeros, and which it is, is for each to decide.

use std::ops::Range;
use std::path::Path;

use crate::programs::{COWBOX, assert_clean, contents, qemu, text};
use crate::scratch::{Random, Scratch};
use cowbox::image::OpenOptions;

/// The length of the disk, which ends inside a cluster.
const SIZE: u64 = (1 << 20) + 512 * 3;

const KINDS: [&str; 6] = [
    "cluster_size=512",
    "cluster_size=4k",
    "cluster_size=64k",
    "compat=0.10,cluster_size=4k",
    "cluster_size=16k,extended_l2=on",
    "cluster_size=64k,extended_l2=on",
];

/// What is below: its name, its length, and whether it holds data.
const BELOW: [(&str, u64, bool); 5] = [
    ("zeros", SIZE, false),
    ("data", SIZE, true),
    ("longer", SIZE + (1 << 20), true),
    ("shorter", SIZE / 2 + 512, true),
    ("shorter-zeros", SIZE / 2 + 512, false),
];

/// What is asked for.
#[derive(Debug, Clone, Copy)]
enum Action {
    Write(u8),
    Zero,
    ZeroAndUnmap,
    Discard,
}

/// What is asked for of which bytes.
type Request = (Action, Range<usize>);

fn requests(random: &mut Random) -> Vec<Request> {
    let range = |random: &mut Random, most: u64| {
        let start = random.below(SIZE / 512) * 512;
        let len = ((1 + random.below(most)) * 512).min(SIZE - start);
        start as usize..(start + len) as usize
    };
    let mut requests = Vec::new();
    for byte in 1..8 {
        requests.push((Action::Write(byte), range(random, 300)));
    }
    for number in 0..24 {
        // Short ones lie inside a cluster, long ones cover some.
        let range = range(random, if number % 2 == 0 { 20 } else { 400 });
        let action = match number % 8 {
            0 | 5 => Action::Zero,
            1 | 4 => Action::ZeroAndUnmap,
            2 | 7 => Action::Discard,
            _ => Action::Write(100 + number),
        };
        requests.push((action, range));
    }
    // To the end, which is inside a cluster.
    let end = SIZE as usize;
    requests.push((Action::ZeroAndUnmap, end - 1024..end));
    requests.push((Action::Discard, end - 5120..end));
    requests
}

/// A request as both io programs take it.
fn command((action, range): &Request) -> String {
    let name = match action {
        Action::Write(byte) => format!("write -P {byte}"),
        Action::Zero => "write -z".to_owned(),
        Action::ZeroAndUnmap => "write -z -u".to_owned(),
        Action::Discard => "discard".to_owned(),
    };
    format!("{name} {} {}", range.start, range.len())
}

fn carry_out(program: &[&str], requests: &[Request], image: &Path) {
    let requests: Vec<_> = requests.iter().map(command).collect();
    let mut args = vec!["-d", "unmap", "-f", "qcow2"];
    for request in &requests {
        args.extend(["-c", request]);
    }
    args.push(text(image));
    let said = qemu(program[0], &[&program[1..], &args].concat());
    assert!(!said.contains("failed"), "{said}");
}

/// What a disk holds that showed `below`, and of each sector whether it may be zeros instead.
fn expected(below: &[u8], requests: &[Request]) -> (Vec<u8>, Vec<bool>) {
    let mut disk = below.to_vec();
    disk.resize(SIZE as usize, 0);
    let mut discarded = vec![false; disk.len() / 512];
    for (action, range) in requests {
        let sectors = range.start / 512..range.end / 512;
        discarded[sectors].fill(matches!(action, Action::Discard));
        match action {
            Action::Write(byte) => disk[range.clone()].fill(*byte),
            Action::Zero | Action::ZeroAndUnmap => disk[range.clone()].fill(0),
            Action::Discard => {}
        }
    }
    (disk, discarded)
}

/// The first sector that is not as it is to be.
fn wrong(disk: &[u8], expected: &(Vec<u8>, Vec<bool>)) -> Option<usize> {
    assert_eq!(disk.len(), SIZE as usize);
    let is_right = |sector: usize| {
        let range = sector * 512..(sector + 1) * 512;
        let found = &disk[range.clone()];
        *found == expected.0[range] || expected.1[sector] && found.iter().all(|&byte| byte == 0)
    };
    (0..disk.len() / 512).find(|&sector| !is_right(sector))
}

/// What QEMU reads.
fn read_by_qemu(image: &Path, flat: &Path) -> Vec<u8> {
    let copy = [
        "convert",
        "-f",
        "qcow2",
        "-O",
        "raw",
        text(image),
        text(flat),
    ];
    qemu("qemu-img", &copy);
    std::fs::read(flat).unwrap()
}

#[test]
fn parts_of_clusters_over_any_backing_image_read_as_qemu_leaves_them() {
    let mut compared = 0;
    for (number, options) in KINDS.into_iter().enumerate() {
        let scratch = Scratch::new(&format!("zeroing-{number}"));
        for (name, len, data) in BELOW {
            let mut random = Random(number as u64);
            let mut bytes = vec![0; len as usize];
            if data {
                bytes = random.bytes(len as usize);
                // Also zeros that are data, and a hole.
                bytes[200_000..300_000].fill(0);
            }
            std::fs::write(scratch.path(name), bytes).unwrap();
        }
        for below in BELOW.map(|(name, ..)| Some(name)).into_iter().chain([None]) {
            let what = format!("{options} over {below:?}");
            let [ours, theirs, flat] = ["ours", "theirs", "flat"].map(|name| scratch.path(name));
            let size = SIZE.to_string();
            for image in [&ours, &theirs] {
                let mut args = vec!["create", "-q", "-f", "qcow2", "-o", options];
                if let Some(below) = below {
                    args.extend(["-b", below, "-F", "raw"]);
                }
                args.extend([text(image), &size]);
                qemu("qemu-img", &args);
            }
            let requests = requests(&mut Random(number as u64 + 100));
            carry_out(&[COWBOX, "img", "io"], &requests, &ours);
            carry_out(&["qemu-io"], &requests, &theirs);
            assert_clean(&ours);
            let left = contents(&ours, &OpenOptions::read_only());
            assert!(left == read_by_qemu(&ours, &flat), "{what}: who reads ours");
            let by_qemu = read_by_qemu(&theirs, &flat);
            assert!(
                contents(&theirs, &OpenOptions::read_only()) == by_qemu,
                "{what}: who reads theirs"
            );
            let below = below.map(|name| std::fs::read(scratch.path(name)).unwrap());
            let expected = expected(&below.unwrap_or_default(), &requests);
            for (who, disk) in [("ours", left), ("theirs", by_qemu)] {
                let sector = wrong(&disk, &expected);
                assert_eq!(sector, None, "{what}: {who} after {requests:#?}");
            }
            compared += 1;
        }
    }
    println!("{compared} images compared");
}
