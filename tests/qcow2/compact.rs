//! Compacting images of QEMU's making: what they hold stays, QEMU's check finds nothing, and the
//! file gets shorter.

use std::path::Path;

use cowbox::image::qcow2::Qcow2;
use cowbox::image::qcow2::compact::{Compacted, Zeros};
use cowbox::image::{self, ErrorKind, Image, OpenOptions, Secret};

use crate::programs::{qemu, text};
use crate::scratch::Scratch;

const SECRET: &str = "secret,id=s,data=pass";

fn io(image: &str, commands: &[&str]) {
    let commands = commands.iter().flat_map(|command| ["-c", command]);
    let mut args = vec!["-f", "qcow2"];
    args.extend(commands);
    args.push(image);
    qemu("qemu-io", &args);
}

/// Tries again while a process that another test has just started still holds a file of ours.
fn open(path: &Path, options: &OpenOptions) -> image::Result<Qcow2> {
    for _ in 0..200 {
        match image::open_qcow2(path, options) {
            Err(error) if error.kind() == ErrorKind::Locked => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            opened => return opened,
        }
    }
    image::open_qcow2(path, options)
}

fn compact(path: &Path, zeros: Zeros, options: &OpenOptions) -> Compacted {
    let mut image = open(path, options).unwrap();
    let mut last = (0, 0);
    let done = image.compact(zeros, &mut |done, total| last = (done, total));
    let done = done.unwrap();
    image.close().unwrap();
    assert_eq!(last.0, last.1, "all that was to move has moved");
    done
}

/// What an image holds, and each of its snapshots `names`.
fn contents(scratch: &Scratch, image: &str, names: &[&str]) -> Vec<Vec<u8>> {
    let raw = scratch.path("contents.raw");
    let mut all = Vec::new();
    for name in [None].into_iter().chain(names.iter().map(Some)) {
        let mut args = vec!["convert", "-f", "qcow2", "-O", "raw"];
        let snapshot = name.map(|name| format!("snapshot.name={name}"));
        args.extend(snapshot.iter().flat_map(|text| ["-l", text]));
        args.extend([image, text(&raw)]);
        qemu("qemu-img", &args);
        all.push(std::fs::read(&raw).unwrap());
    }
    all
}

#[test]
fn a_compacted_image_holds_what_it_held_and_is_shorter() {
    let scratch = Scratch::new("compact");
    let options = [
        "cluster_size=512",
        "cluster_size=512,refcount_bits=64",
        "cluster_size=4k,compat=0.10",
        "cluster_size=4k,refcount_bits=32,compression_type=zstd",
        "cluster_size=64k",
        "cluster_size=16k,extended_l2=on",
        "cluster_size=64k,lazy_refcounts=on",
        "cluster_size=2M",
    ];
    for (number, row) in options.into_iter().enumerate() {
        let path = scratch.path(&format!("{number}.qcow2"));
        let image = text(&path);
        qemu(
            "qemu-img",
            &["create", "-f", "qcow2", "-o", row, image, "12M"],
        );
        io(
            image,
            &["write -P 1 0 6M", "write -P 2 8M 2M", "write -c -P 9 6M 2M"],
        );
        qemu("qemu-img", &["snapshot", "-c", "old", image]);
        io(image, &["write -P 3 1M 3M", "write -P 4 9M 1M"]);
        qemu("qemu-img", &["snapshot", "-c", "new", image]);
        io(image, &["write -P 5 2M 512k", "write -P 6 11M 512k"]);
        qemu("qemu-img", &["snapshot", "-d", "old", image]);
        io(
            image,
            &["discard 0 1M", "discard 4M 1M", "write -P 7 7M 100k"],
        );
        let before = contents(&scratch, image, &["new"]);
        let long = std::fs::metadata(&path).unwrap().len();
        let done = compact(&path, Zeros::Kept, &OpenOptions::default());
        qemu("qemu-img", &["check", "-f", "qcow2", image]);
        assert!(
            contents(&scratch, image, &["new"]) == before,
            "{row}: the contents changed"
        );
        let short = std::fs::metadata(&path).unwrap().len();
        assert!(
            short < long && done.moved > 0,
            "{row}: {long} -> {short}, {done:?}"
        );
        assert_eq!((done.after, done.holes), (short, 0), "{row}");
        let again = compact(&path, Zeros::Kept, &OpenOptions::default());
        assert_eq!((again.moved, again.after), (0, short), "{row}");
    }
}

#[test]
fn compressed_clusters_close_the_gaps_between_them() {
    let scratch = Scratch::new("compact-compressed");
    for kind in ["zlib", "zstd"] {
        let (raw, path) = (scratch.path("disk.raw"), scratch.path("disk.qcow2"));
        let words: Vec<u8> = (0..600_000u32)
            .flat_map(|n| (n / 3).to_le_bytes())
            .collect();
        std::fs::write(&raw, words).unwrap();
        let with = format!("compression_type={kind},cluster_size=4k");
        let args = ["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", &with];
        qemu(
            "qemu-img",
            &[&args[..], &[text(&raw), text(&path)]].concat(),
        );
        // Runs of a few clusters of the file, with compressed bytes on both sides.
        let holes: Vec<String> = (0..16)
            .map(|n| format!("discard {}k 64k", n * 128))
            .collect();
        let holes: Vec<&str> = holes.iter().map(|hole| &**hole).collect();
        io(text(&path), &holes);
        let before = contents(&scratch, text(&path), &[]);
        let done = compact(&path, Zeros::Kept, &OpenOptions::default());
        qemu("qemu-img", &["check", "-f", "qcow2", text(&path)]);
        assert!(contents(&scratch, text(&path), &[]) == before, "{kind}");
        assert!(
            done.after < done.before && done.moved > 0,
            "{kind}: {done:?}"
        );
    }
}

#[test]
fn bitmaps_and_encrypted_data_move_too() {
    let scratch = Scratch::new("compact-bitmaps");
    let path = scratch.path("luks.qcow2");
    let image = text(&path);
    let create = [
        "create",
        "-f",
        "qcow2",
        "--object",
        SECRET,
        "-o",
        "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10,cluster_size=4k",
        image,
        "8M",
    ];
    qemu("qemu-img", &create);
    let opened = format!("driver=qcow2,file.filename={image},encrypt.key-secret=s");
    let io = |commands: &[&str]| {
        let commands = commands.iter().flat_map(|command| ["-c", command]);
        let mut args = vec!["--object", SECRET, "--image-opts"];
        args.extend(commands);
        args.push(&opened);
        qemu("qemu-io", &args);
    };
    io(&["write -P 1 0 4M"]);
    qemu(
        "qemu-img",
        &[
            "bitmap",
            "--object",
            SECRET,
            "--image-opts",
            "--add",
            &opened,
            "b",
        ],
    );
    io(&["write -P 2 4M 2M", "discard 0 3M"]);
    let options = OpenOptions {
        secrets: Secret::new("pass").into(),
        ..OpenOptions::default()
    };
    let done = compact(&path, Zeros::Kept, &options);
    assert!(done.after < done.before && done.moved > 0, "{done:?}");
    qemu(
        "qemu-img",
        &["check", "--object", SECRET, "--image-opts", &opened],
    );
    io(&["read -P 0 0 3M", "read -P 1 3M 1M", "read -P 2 4M 2M"]);
    let info = qemu("qemu-img", &["info", image]);
    assert!(
        info.contains("name: b") && !info.contains("in-use"),
        "{info}"
    );
}

#[test]
fn zeros_are_freed_on_request_and_not_under_a_snapshot() {
    let scratch = Scratch::new("compact-zeros");
    let path = scratch.path("zeros.qcow2");
    let image = text(&path);
    qemu("qemu-img", &["create", "-f", "qcow2", image, "8M"]);
    io(image, &["write -P 0 0 1M"]);
    qemu("qemu-img", &["snapshot", "-c", "kept", image]);
    io(
        image,
        &["write -P 0 2M 1M", "write -P 1 4M 1M", "write -z 6M 1M"],
    );
    let before = contents(&scratch, image, &["kept"]);
    let done = compact(&path, Zeros::Freed, &OpenOptions::default());
    assert_eq!(done.zeros, 16, "{done:?}");
    qemu("qemu-img", &["check", "-f", "qcow2", image]);
    assert!(contents(&scratch, image, &["kept"]) == before);
}

#[test]
fn an_image_with_errors_is_not_compacted() {
    let scratch = Scratch::new("compact-corrupt");
    let path = scratch.path("corrupt.qcow2");
    let image = text(&path);
    qemu("qemu-img", &["create", "-f", "qcow2", image, "1M"]);
    io(image, &["write -P 1 0 128k"]);
    let mut bytes = std::fs::read(&path).unwrap();
    // The refcount of the last cluster of data.
    bytes[0x20000 + 2 * 6 + 1] = 0;
    std::fs::write(&path, &bytes).unwrap();
    let mut opened = open(&path, &OpenOptions::default()).unwrap();
    let error = opened.compact(Zeros::Kept, &mut |_, _| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        error.to_string().contains("cowbox img check -r all"),
        "{error}"
    );
    drop(opened);
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "nothing was written");
}
