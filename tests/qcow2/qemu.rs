//! Both directions against QEMU's tools: what they write we read, check and compare, and what we
//! write they do. Needs qemu-img and qemu-io (Debian: qemu-utils).

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use cowbox::image::compare::{Comparison, compare};
use cowbox::image::convert::{ConvertOptions, Storing, convert};
use cowbox::image::qcow2::Purpose;
use cowbox::image::qcow2::bitmap::Directory;
use cowbox::image::qcow2::create::{
    CreateOptions, DataFile, DataFileContents, Encryption, L2Entries, RefcountUpdates,
};
use cowbox::image::qcow2::crypt::luks::LuksOptions;
use cowbox::image::qcow2::geometry::Version;
use cowbox::image::qcow2::header::{Compression, Header};
use cowbox::image::{self, ErrorKind, Format, Image, OpenOptions, Secret, ZeroMode};
use cowbox::storage::MemoryStorage;

use crate::scratch::{Random, Scratch};

fn run(program: &str, args: &[&str]) -> Output {
    let output = Command::new(program).args(args).output();
    output.unwrap_or_else(|e| panic!("{program}: {e}; install qemu-utils"))
}

/// Runs one of QEMU's tools, which must succeed.
fn qemu(program: &str, args: &[&str]) -> String {
    let mut output = run(program, args);
    // For the reason that `patiently` gives.
    while !output.status.success() && String::from_utf8_lossy(&output.stderr).contains(" lock") {
        output = run(program, args);
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {args:?}: {text}{errors}"
    );
    text
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn open(path: &Path) -> Arc<dyn Image> {
    patiently(|| image::open(path, &OpenOptions::default()))
}

fn create(path: &Path, options: &CreateOptions) {
    patiently(|| image::create(path, Format::Qcow2, options));
}

/// Tries again while the image is locked: a program that another test is just starting holds the
/// files of this process, and their locks, until it becomes that program.
fn patiently<T>(mut action: impl FnMut() -> image::Result<T>) -> T {
    for _ in 0..500 {
        match action() {
            Err(error) if error.kind() == ErrorKind::Locked => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            done => return done.unwrap(),
        }
    }
    action().unwrap()
}

fn assert_clean(path: &Path) {
    qemu("qemu-img", &["check", "-f", "qcow2", text(path)]);
    assert_clean_here(path);
}

fn assert_clean_encrypted(path: &Path) {
    let check = ["check", "--object", SECRET, "--image-opts"];
    qemu("qemu-img", &[&check[..], &[&encrypted(path)]].concat());
    assert_clean_here(path);
}

fn assert_clean_here(path: &Path) {
    let report = patiently(|| image::check(path, &OpenOptions::read_only(), None)).unwrap();
    assert_eq!(
        (report.corruptions, report.leaks),
        (0, 0),
        "{:?}",
        report.messages
    );
}

/// The rows of the matrix: version, cluster size, refcount bits, and more in QEMU's words.
const MATRIX: [(Version, u64, u32, &str); 21] = [
    (Version::V2, 512, 16, ""),
    (Version::V2, 65536, 16, ""),
    (Version::V3, 512, 64, ""),
    (Version::V3, 1024, 1, ""),
    (Version::V3, 4096, 2, ""),
    (Version::V3, 16384, 4, ""),
    (Version::V3, 65536, 8, ""),
    (Version::V3, 65536, 16, ""),
    (Version::V3, 2 << 20, 32, ""),
    (Version::V3, 16384, 16, ",extended_l2=on"),
    (Version::V3, 65536, 1, ",extended_l2=on"),
    (
        Version::V3,
        65536,
        16,
        ",extended_l2=on,compression_type=zstd",
    ),
    (Version::V3, 2 << 20, 64, ",extended_l2=on"),
    (Version::V3, 4096, 16, ",compression_type=zstd"),
    (Version::V3, 512, 16, ",lazy_refcounts=on"),
    (Version::V3, 65536, 16, ",lazy_refcounts=on"),
    (Version::V3, 65536, 16, ",data_file=DATA"),
    (Version::V3, 512, 16, ",data_file=DATA"),
    (Version::V3, 65536, 16, ",data_file=DATA,extended_l2=on"),
    (Version::V3, 65536, 16, ",data_file=DATA,data_file_raw=on"),
    (
        Version::V3,
        16384,
        16,
        ",data_file=DATA,data_file_raw=on,extended_l2=on",
    ),
];

/// The same options for our side.
fn create_options((version, cluster_size, refcount_bits, more): Row, data: &Path) -> CreateOptions {
    let mut options = CreateOptions {
        size: SIZE,
        version,
        cluster_size,
        refcount_bits,
        ..CreateOptions::default()
    };
    for option in more.split(',').filter(|option| !option.is_empty()) {
        match option {
            "extended_l2=on" => options.entries = L2Entries::Extended,
            "compression_type=zstd" => options.compression = Compression::Zstd,
            "lazy_refcounts=on" => options.refcounts = RefcountUpdates::Lazy,
            "data_file=DATA" => {
                let contents = match more.contains("data_file_raw=on") {
                    true => DataFileContents::Raw,
                    false => DataFileContents::Mapped,
                };
                let name = text(data).to_owned();
                options.data_file = Some(DataFile { name, contents });
            }
            "data_file_raw=on" => {}
            other => panic!("no such option: {other}"),
        }
    }
    options
}

type Row = (Version, u64, u32, &'static str);

const SIZE: u64 = 6 << 20;

fn compat(version: Version) -> &'static str {
    match version {
        Version::V2 => "0.10",
        Version::V3 => "1.1",
    }
}

/// Backing files: none, shorter, as long, longer.
const BACKING: [Option<u64>; 4] = [None, Some(SIZE / 3), Some(SIZE), Some(SIZE * 2)];

fn make_backing(scratch: &Scratch, len: u64) {
    let bytes = Random(len).bytes(len as usize);
    std::fs::write(scratch.path("base"), bytes).unwrap();
}

#[test]
fn images_that_qemu_wrote_are_read_checked_and_compared() {
    for (number, (version, cluster, bits, more)) in MATRIX.into_iter().enumerate() {
        let scratch = Scratch::new(&format!("qemu-writes-{number}"));
        let data = scratch.path("data");
        let external = more.contains("data_file");
        let more = more.replace("DATA", text(&data));
        let file = scratch.path("image.qcow2");
        let options = format!(
            "compat={},cluster_size={cluster},refcount_bits={bits}{more}",
            compat(version)
        );
        let size = SIZE.to_string();
        let backing = BACKING[number % BACKING.len()].filter(|_| !more.contains("raw=on"));
        let mut create = vec!["create", "-q", "-f", "qcow2", "-o", &options];
        if let Some(len) = backing {
            make_backing(&scratch, len);
            create.extend(["-b", "base", "-F", "raw"]);
        }
        qemu("qemu-img", &[&create[..], &[text(&file), &size]].concat());
        let mut random = Random(number as u64);
        let mut io = vec!["-f".to_owned(), "qcow2".to_owned()];
        for _ in 0..25 {
            let start = random.below(SIZE / 512) * 512;
            let len = (1 + random.below(200)) * 512;
            let len = len.min(SIZE - start);
            let command = match random.below(6) {
                0 => format!("write -z {start} {len}"),
                1 => format!("discard {start} {len}"),
                _ => format!("write -P {} {start} {len}", random.below(256)),
            };
            io.extend(["-c".to_owned(), command]);
        }
        let cluster_start = random.below(SIZE / cluster) * cluster;
        if !external {
            let compressed = format!("write -c -P 7 {cluster_start} {cluster}");
            io.extend(["-c".to_owned(), compressed]);
        }
        io.push(text(&file).to_owned());
        run(
            "qemu-io",
            &io.iter().map(String::as_str).collect::<Vec<_>>(),
        );
        let flat = scratch.path("flat");
        qemu(
            "qemu-img",
            &[
                "convert",
                "-f",
                "qcow2",
                "-O",
                "raw",
                text(&file),
                text(&flat),
            ],
        );
        let raw = OpenOptions::read_only().with_format(Some(Format::Raw));
        let flat = image::open(&flat, &raw).unwrap();
        let ours = image::open(&file, &OpenOptions::read_only()).unwrap();
        assert_eq!(
            compare(&*ours, &*flat).unwrap(),
            Comparison::Same,
            "row {number}"
        );
        assert_clean(&file);
    }
}

#[test]
fn images_that_we_wrote_are_read_checked_and_compared_by_qemu() {
    for (number, row) in MATRIX.into_iter().enumerate() {
        let scratch = Scratch::new(&format!("we-write-{number}"));
        let file = scratch.path("image.qcow2");
        let raw_data = row.3.contains("data_file_raw=on");
        let backing = BACKING[(number + 1) % BACKING.len()].filter(|_| !raw_data);
        if let Some(len) = backing {
            make_backing(&scratch, len);
        }
        let options = CreateOptions {
            backing: backing.map(|_| ("base".to_owned(), "raw".to_owned())),
            ..create_options(row, &scratch.path("data"))
        };
        create(&file, &options);
        let image = open(&file);
        let mut random = Random(number as u64);
        for _ in 0..60 {
            let start = random.below(SIZE / 512) * 512;
            let len = ((1 + random.below(200)) * 512).min(SIZE - start);
            match random.below(6) {
                0 => image.write_zeroes(start, len, ZeroMode::MayUnmap).unwrap(),
                1 => image.discard(start, len).unwrap(),
                2 => image.flush().unwrap(),
                _ => image.write_at(&random.bytes(len as usize), start).unwrap(),
            }
        }
        let mut expected = vec![0; SIZE as usize];
        image.read_at(&mut expected, 0).unwrap();
        image.close().unwrap();
        drop(image);
        let flat = scratch.path("flat");
        qemu(
            "qemu-img",
            &[
                "convert",
                "-f",
                "qcow2",
                "-O",
                "raw",
                text(&file),
                text(&flat),
            ],
        );
        assert!(std::fs::read(&flat).unwrap() == expected, "row {number}");
        if raw_data {
            let data = std::fs::read(scratch.path("data")).unwrap();
            assert!(data == expected, "row {number}: the data file is the disk");
        }
        assert_clean(&file);
    }
}

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
        let target = open(&ours);
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
    let image = open(&file);
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
    drop(open(&file));
    assert_eq!(bitmaps(&file), two(&[2]), "opening alone changes nothing");
    let image = open(&file);
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
    let image = open(&file);
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
    let image = open(&file);
    image.write_at(&[1; 512], 0).unwrap();
    image.flush().unwrap();
    // What a power cut would leave.
    let cut = scratch.path("cut.qcow2");
    std::fs::copy(&file, &cut).unwrap();
    drop(image);
    assert!(bitmaps(&file)[0].1);
    let image = open(&cut);
    image.write_at(&[1; 512], 1 << 20).unwrap();
    drop(image);
    assert!(!bitmaps(&cut)[0].1);
    assert!(qemu("qemu-img", &["info", text(&cut)]).contains("in-use"));
    assert_clean(&cut);
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
    let image = open(&file);
    let mut found = vec![0; 3 << 20];
    image.read_at(&mut found, 1 << 20).unwrap();
    assert!(found.iter().all(|&byte| byte == 9));
    image.write_at(&[1; 1 << 20], 5 << 20).unwrap();
    image.close().unwrap();
    drop(image);
    assert_clean(&file);
}

#[test]
fn each_side_refuses_an_image_that_the_other_is_writing() {
    let scratch = Scratch::new("locks");
    let file = scratch.path("image.qcow2");
    let name = text(&file);
    qemu("qemu-img", &["create", "-q", "-f", "qcow2", name, "8M"]);
    let image = open(&file);
    let refused = run("qemu-img", &["info", name]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("lock"));
    qemu("qemu-img", &["info", "-U", name]);
    let again = image::open(&file, &OpenOptions::read_only()).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Locked);
    drop(image);
    let mut writer = Command::new("qemu-io")
        .args(["-f", "qcow2", "-c", "write 0 4k", "-c", "sleep 3000", name])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let refused = (0..100).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        image::open(&file, &OpenOptions::default()).err()
    });
    writer.kill().unwrap();
    writer.wait().unwrap();
    let refused = refused.unwrap();
    assert_eq!(refused.kind(), ErrorKind::Locked);
    let holder = format!("qemu-io (process {})", writer.id());
    assert!(refused.to_string().contains(&holder), "{refused}");
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
    let image = open(&top);
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

#[test]
fn legacy_encryption_agrees_with_qemu() {
    let scratch = Scratch::new("aes");
    let (file, flat) = (scratch.path("image.qcow2"), scratch.path("flat"));
    let options = CreateOptions {
        size: 2 << 20,
        encryption: Encryption::Aes,
        ..CreateOptions::default()
    };
    create(&file, &options);
    let missing = image::open(&file, &OpenOptions::default()).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Password);
    let secrets = Secret::new("geheim").into();
    let image = image::open(
        &file,
        &OpenOptions {
            secrets,
            ..OpenOptions::default()
        },
    )
    .unwrap();
    let data = Random(3).bytes(600 * 512);
    image.write_at(&data, 512 * 77).unwrap();
    drop(image);
    let secret = "secret,id=s,data=geheim";
    let source = format!(
        "driver=qcow2,encrypt.key-secret=s,file.filename={}",
        text(&file)
    );
    let args = [
        "convert",
        "--object",
        secret,
        "--image-opts",
        "-O",
        "raw",
        &source,
        text(&flat),
    ];
    qemu("qemu-img", &args);
    let found = std::fs::read(&flat).unwrap();
    assert!(found[512 * 77..512 * 677] == data[..]);
    assert!(found[..512 * 77].iter().all(|&byte| byte == 0));
}

/// LUKS: `encrypt.` options that both sides have. QEMU 7.2 aborts on aes-192 in CBC mode.
const CIPHERS: [&[(&str, &str)]; 5] = [
    &[],
    &[("cipher-alg", "aes-128"), ("hash-alg", "sha1")],
    &[
        ("cipher-alg", "aes-128"),
        ("cipher-mode", "cbc"),
        ("ivgen-alg", "essiv"),
        ("ivgen-hash-alg", "sha256"),
    ],
    &[
        ("cipher-alg", "aes-256"),
        ("cipher-mode", "cbc"),
        ("ivgen-alg", "plain"),
        ("hash-alg", "sha512"),
    ],
    &[
        ("cipher-mode", "cbc"),
        ("ivgen-alg", "plain64"),
        ("hash-alg", "sha512"),
    ],
];

const SECRET: &str = "secret,id=s,data=geheim";

fn encrypted(file: &Path) -> String {
    format!(
        "driver=qcow2,encrypt.key-secret=s,file.filename={}",
        text(file)
    )
}

fn with_password(password: &str) -> OpenOptions {
    OpenOptions {
        secrets: Secret::new(password).into(),
        ..OpenOptions::default()
    }
}

#[test]
fn luks_images_that_qemu_wrote_open_with_the_right_password_only() {
    for (number, cipher) in CIPHERS.into_iter().enumerate() {
        let scratch = Scratch::new(&format!("luks-qemu-{number}"));
        let (file, flat) = (scratch.path("image.qcow2"), scratch.path("flat"));
        let mut options =
            "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10".to_owned();
        for (option, value) in cipher {
            options += &format!(",encrypt.{option}={value}");
        }
        let create = [
            "create", "-q", "--object", SECRET, "-f", "qcow2", "-o", &options,
        ];
        qemu("qemu-img", &[&create[..], &[text(&file), "4M"]].concat());
        let source = encrypted(&file);
        let write = [
            "-c",
            "write -P 5 100k 1M",
            "-c",
            "write -z 200k 64k",
            "-c",
            "write -P 6 3M 512",
        ];
        let io = ["--object", SECRET, "--image-opts"];
        qemu("qemu-io", &[&io[..], &write[..], &[&source]].concat());
        let convert = ["convert", "--object", SECRET, "--image-opts", "-O", "raw"];
        qemu(
            "qemu-img",
            &[&convert[..], &[&source, text(&flat)]].concat(),
        );
        let expected = std::fs::read(&flat).unwrap();
        let ours = image::open(&file, &with_password("geheim")).unwrap();
        let mut found = vec![0; expected.len()];
        ours.read_at(&mut found, 0).unwrap();
        assert!(found == expected, "cipher {number}");
        drop(ours);
        for wrong in [with_password("Geheim"), OpenOptions::default()] {
            let error = patiently(|| match image::open(&file, &wrong) {
                Err(error) if error.kind() == ErrorKind::Locked => Err(error),
                other => Ok(other.unwrap_err()),
            });
            assert_eq!(
                error.kind(),
                ErrorKind::Password,
                "cipher {number}: {error}"
            );
        }
        assert_clean_encrypted(&file);
    }
}

#[test]
fn luks_images_that_we_wrote_are_read_by_qemu() {
    for (number, cipher) in CIPHERS.into_iter().enumerate() {
        let scratch = Scratch::new(&format!("luks-we-{number}"));
        let (file, flat) = (scratch.path("image.qcow2"), scratch.path("flat"));
        let mut luks = LuksOptions::new(Secret::new("geheim"));
        luks.set("iter-time", "10").unwrap();
        cipher
            .iter()
            .for_each(|(option, value)| luks.set(option, value).unwrap());
        let options = CreateOptions {
            size: 4 << 20,
            entries: [L2Entries::Standard, L2Entries::Extended][number % 2],
            encryption: Encryption::Luks(luks),
            ..CreateOptions::default()
        };
        create(&file, &options);
        let image = patiently(|| image::open(&file, &with_password("geheim")));
        let data = Random(3).bytes(2000 * 512);
        image.write_at(&data, 512 * 77).unwrap();
        image
            .write_zeroes(512 * 300, 512 * 99, ZeroMode::MayUnmap)
            .unwrap();
        let mut expected = vec![0; 4 << 20];
        image.read_at(&mut expected, 0).unwrap();
        image.close().unwrap();
        drop(image);
        assert_clean_encrypted(&file);
        let convert = ["convert", "--object", SECRET, "--image-opts", "-O", "raw"];
        qemu(
            "qemu-img",
            &[&convert[..], &[&encrypted(&file), text(&flat)]].concat(),
        );
        assert!(std::fs::read(&flat).unwrap() == expected, "cipher {number}");
        let wrong = [
            "convert",
            "--object",
            "secret,id=s,data=falsch",
            "--image-opts",
            "-O",
            "raw",
        ];
        let refused = run(
            "qemu-img",
            &[&wrong[..], &[&encrypted(&file), text(&flat)]].concat(),
        );
        assert!(!refused.status.success());
    }
}
