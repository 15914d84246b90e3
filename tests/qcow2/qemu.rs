//! What QEMU's tools and we must agree on in images that need a story of their own: compressed data
//! of every kind, snapshots under writes, images that were not closed, committed overlays.

use cowbox::image::compare::{Comparison, compare};
use cowbox::image::convert::{ConvertOptions, Storing, convert};
use cowbox::image::qcow2::create::CreateOptions;
use cowbox::image::qcow2::header::Compression;
use cowbox::image::{self, Format, OpenOptions, ZeroMode};

use crate::programs::{assert_clean, create, open, qemu, run, text};
use crate::scratch::{Random, Scratch};

#[test]
fn compressed_images_go_both_ways() {
    let scratch = Scratch::new("compressed");
    let (raw, ours, theirs) = (
        scratch.path("raw"),
        scratch.path("ours"),
        scratch.path("theirs"),
    );
    let mut random = Random(5);
    let mut bytes: Vec<u8> = (0..(3 << 20) + 512 * 3)
        .map(|i: u32| (i / 700) as u8)
        .collect();
    bytes[100_000..300_000].fill(0);
    bytes[1 << 20..(1 << 20) + 200_000].copy_from_slice(&random.bytes(200_000));
    std::fs::write(&raw, &bytes).unwrap();
    let source = image::open(
        &raw,
        &OpenOptions::read_only().with_format(Some(Format::Raw)),
    )
    .unwrap();
    let rows = [512, 4096, 65536, 2 << 20].map(|size| (size, Compression::Deflate));
    let zstd = rows.map(|(size, _)| (size, Compression::Zstd));
    for (cluster_size, compression) in rows.into_iter().chain(zstd) {
        let options = CreateOptions {
            size: source.size(),
            cluster_size,
            compression,
            ..CreateOptions::default()
        };
        create(&ours, &options);
        let target = open(&ours, &OpenOptions::default());
        let how = ConvertOptions {
            storing: Storing::Compressed,
            ..ConvertOptions::default()
        };
        convert(&*source, &*target, how, &mut |_| {}).unwrap();
        drop(target);
        assert_clean(&ours);
        qemu(
            "qemu-img",
            &[
                "compare",
                "-f",
                "raw",
                "-F",
                "qcow2",
                text(&raw),
                text(&ours),
            ],
        );
        let kind = compression.name();
        let cluster = format!("cluster_size={cluster_size},compression_type={kind}");
        let to = ["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", &cluster];
        qemu(
            "qemu-img",
            &[&to[..], &[text(&raw), text(&theirs)]].concat(),
        );
        let theirs = image::open(&theirs, &OpenOptions::read_only()).unwrap();
        assert_eq!(compare(&*source, &*theirs).unwrap(), Comparison::Same);
    }
}

#[test]
fn a_write_to_an_image_with_a_snapshot_leaves_the_snapshot_intact() {
    let scratch = Scratch::new("snapshot");
    let file = scratch.path("image.qcow2");
    let name = text(&file);
    qemu("qemu-img", &["create", "-q", "-f", "qcow2", name, "8M"]);
    qemu("qemu-io", &["-f", "qcow2", "-c", "write -P 1 0 4M", name]);
    qemu("qemu-img", &["snapshot", "-c", "before", name]);
    let image = open(&file, &OpenOptions::default());
    image.write_at(&[2; 300_000], 100_000).unwrap();
    image.discard(1 << 20, 1 << 20).unwrap();
    image.flush().unwrap();
    image.write_at(&[3; 5000], 2 << 20).unwrap();
    image.close().unwrap();
    drop(image);
    assert_clean(&file);
    let read = [
        "-f",
        "qcow2",
        "-c",
        "read -P 2 100000 300000",
        "-c",
        "read -P 3 2M 5000",
        name,
    ];
    assert!(!qemu("qemu-io", &read).contains("failed"));
    qemu("qemu-img", &["snapshot", "-a", "before", name]);
    let before = qemu("qemu-io", &["-f", "qcow2", "-c", "read -P 1 0 4M", name]);
    assert!(!before.contains("failed"), "{before}");
}

#[test]
fn an_image_that_was_not_closed_gets_its_refcounts_rebuilt() {
    let scratch = Scratch::new("dirty");
    let file = scratch.path("image.qcow2");
    let name = text(&file);
    let lazy = [
        "create",
        "-q",
        "-f",
        "qcow2",
        "-o",
        "lazy_refcounts=on",
        name,
        "8M",
    ];
    qemu("qemu-img", &lazy);
    // qemu-io is ended in the middle by its own signal: the refcounts are never written.
    let io = [
        "-f",
        "qcow2",
        "-c",
        "write -P 9 1M 3M",
        "-c",
        "flush",
        "-c",
        "sigraise 9",
        name,
    ];
    run("qemu-io", &io);
    assert_eq!(
        std::fs::read(&file).unwrap()[79] & 1,
        1,
        "the dirty bit is set"
    );
    let image = open(&file, &OpenOptions::default());
    let mut found = vec![0; 3 << 20];
    image.read_at(&mut found, 1 << 20).unwrap();
    assert!(found.iter().all(|&byte| byte == 9));
    image.write_at(&[1; 1 << 20], 5 << 20).unwrap();
    image.close().unwrap();
    drop(image);
    assert_clean(&file);
}

#[test]
fn a_committed_overlay_equals_what_it_showed() {
    let scratch = Scratch::new("commit");
    let (base, top) = (scratch.path("base.qcow2"), scratch.path("top.qcow2"));
    qemu(
        "qemu-img",
        &["create", "-q", "-f", "qcow2", text(&base), "8M"],
    );
    qemu(
        "qemu-io",
        &["-f", "qcow2", "-c", "write -P 1 0 6M", text(&base)],
    );
    let to = [
        "create",
        "-q",
        "-f",
        "qcow2",
        "-b",
        "base.qcow2",
        "-F",
        "qcow2",
        text(&top),
    ];
    qemu("qemu-img", &to);
    let image = open(&top, &OpenOptions::default());
    image.write_at(&[2; 70_000], 1 << 20).unwrap();
    image
        .write_zeroes(3 << 20, 1 << 20, ZeroMode::MayUnmap)
        .unwrap();
    image.write_at(&[4; 512], (8 << 20) - 512).unwrap();
    let mut expected = vec![0; 8 << 20];
    image.read_at(&mut expected, 0).unwrap();
    drop(image);
    let after = image::commit::Afterwards::Empty;
    image::commit::commit(&top, &OpenOptions::default(), after, &mut |_| {}).unwrap();
    for file in [&base, &top] {
        let mut found = vec![0; 8 << 20];
        image::open(file, &OpenOptions::read_only())
            .unwrap()
            .read_at(&mut found, 0)
            .unwrap();
        assert!(found == expected, "{}", file.display());
        assert_clean(file);
    }
    let check = qemu("qemu-img", &["map", "--output=json", text(&top)]);
    assert!(
        !check.contains("\"depth\": 0, \"present\": true"),
        "the overlay is empty: {check}"
    );
}
