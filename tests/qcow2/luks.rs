//! The luks format, keys of encrypted images, and what `convert` and `resize` do besides, through
//! the command line and against QEMU's tools. Needs qemu-img and qemu-io (Debian: qemu-utils).

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use cowbox::image::{self, OpenOptions};

use crate::programs::{COWBOX, run, text};
use crate::scratch::{Random, Scratch};

const SECRET: &str = "secret,id=s,data=geheim";
const NEW: &str = "secret,id=n,data=neu";
const WRONG: &str = "secret,id=s,data=falsch";

/// `cowbox img` or one of QEMU's tools.
#[derive(Clone, Copy, Debug)]
enum Tool {
    Ours,
    Img,
    Io,
}

impl Tool {
    fn run(self, args: &[&str]) -> Output {
        match self {
            Self::Ours => run(COWBOX, &[&["img"], args].concat()),
            Self::Img => run("qemu-img", args),
            Self::Io => run("qemu-io", args),
        }
    }

    /// Runs it; it must succeed.
    fn does(self, args: &[&str]) -> String {
        let output = self.run(args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{self:?} {args:?}: {text}{errors}");
        text
    }

    /// Runs it; it must fail and say `what`.
    fn refuses(self, args: &[&str], what: &str) {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{self:?} {args:?} succeeded");
        assert!(errors.contains(what), "{errors:?} does not say {what:?}");
    }
}

fn luks(path: &Path, secret: &str) -> String {
    format!(
        "driver=luks,file.filename={},key-secret={secret}",
        text(path)
    )
}

fn qcow2(path: &Path, secret: &str) -> String {
    let file = text(path);
    format!("driver=qcow2,file.filename={file},encrypt.key-secret={secret}")
}

/// A disk with data, zeros and a hole, whose last cluster is not whole.
fn disk(path: &Path) -> Vec<u8> {
    let mut bytes = Random(5).bytes(700 * 512);
    bytes.resize(1500 * 512, 0);
    bytes.extend(Random(6).bytes(77 * 512));
    std::fs::write(path, &bytes).unwrap();
    bytes
}

/// Options that both sides have. QEMU 7.2 aborts on aes-192 in CBC mode.
const CIPHERS: [&str; 5] = [
    "iter-time=10",
    "iter-time=10,cipher-alg=aes-192,hash-alg=sha512",
    "iter-time=10,cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=essiv,hash-alg=sha1",
    "iter-time=10,cipher-mode=cbc,ivgen-alg=plain64",
    "iter-time=10,ivgen-alg=plain,ivgen-hash-alg=sha256",
];

#[test]
fn luks_images_of_one_side_are_read_by_the_other_with_the_right_password_only() {
    for (number, options) in CIPHERS.into_iter().enumerate() {
        let scratch = Scratch::new(&format!("luks-format-{number}"));
        let [raw, file, back] = ["raw", "image.luks", "back"].map(|name| scratch.path(name));
        let expected = disk(&raw);
        let options = format!("key-secret=s,{options}");
        for (writer, reader) in [(Tool::Ours, Tool::Img), (Tool::Img, Tool::Ours)] {
            let make = [
                "convert", "-f", "raw", "-O", "luks", "--object", SECRET, "-o",
            ];
            writer.does(&[&make[..], &[&options, text(&raw), text(&file)]].concat());
            let source = luks(&file, "s");
            let read = ["convert", "-O", "raw", "--image-opts", "--object"];
            reader.does(&[&read[..], &[SECRET, &source, text(&back)]].concat());
            assert!(std::fs::read(&back).unwrap() == expected, "{options}");
            for side in [Tool::Ours, Tool::Img] {
                let what = match side {
                    Tool::Ours => "the password is wrong",
                    _ => "Invalid password",
                };
                side.refuses(&[&read[..], &[WRONG, &source, text(&back)]].concat(), what);
            }
        }
    }
}

#[test]
fn info_says_of_a_luks_header_what_qemu_says() {
    let scratch = Scratch::new("luks-info");
    for (number, options) in CIPHERS.into_iter().enumerate() {
        let file = scratch.path(&format!("{number}.luks"));
        let options = format!("key-secret=s,{options}");
        let make = [
            "create", "-q", "-f", "luks", "--object", SECRET, "-o", &options,
        ];
        Tool::Img.does(&[&make[..], &[text(&file), "1000001"]].concat());
        let show = ["info", "--output", "json", text(&file)];
        let [ours, theirs] = [Tool::Ours, Tool::Img]
            .map(|tool| serde_json::from_str::<serde_json::Value>(&tool.does(&show)).unwrap());
        for key in ["virtual-size", "format", "encrypted"] {
            assert_eq!(ours[key], theirs[key], "{key}");
        }
        let theirs = theirs["format-specific"]["data"].as_object().unwrap();
        for (key, value) in theirs {
            assert_eq!(&ours["format-specific"]["data"][key], value, "{key}");
        }
        let sizes = ["measure", "-O", "luks", "--object", SECRET, "-o", &options];
        let sizes = [&sizes[..], &["--size", "1000448"]].concat();
        assert_eq!(Tool::Ours.does(&sizes), Tool::Img.does(&sizes));
    }
}

#[test]
fn requests_that_are_not_whole_sectors_reach_encrypted_images() {
    let scratch = Scratch::new("luks-sectors");
    let images = [scratch.path("image.luks"), scratch.path("image.qcow2")];
    let makes = [
        ["luks", "key-secret=s,iter-time=10"],
        [
            "qcow2",
            "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10,cluster_size=512",
        ],
    ];
    for ((file, [format, options]), source) in images.iter().zip(makes).zip([luks, qcow2]) {
        let make = [
            "create", "-q", "-f", format, "--object", SECRET, "-o", options,
        ];
        Tool::Ours.does(&[&make[..], &[text(file), "1M"]].concat());
        let source = source(file, "s");
        let io = ["--object", SECRET, "--image-opts", &source];
        let write = [
            "io",
            "-c",
            "write -P 1 0 10000",
            "-c",
            "write -P 5 1000 2000",
            "-c",
            "write -z 2999 3001",
            "-c",
            "write -P 7 4999 1",
        ];
        Tool::Ours.does(&[&write[..], &io].concat());
        let read = [
            "-c",
            "read -P 1 0 1000",
            "-c",
            "read -P 5 1000 1999",
            "-c",
            "read -P 0 2999 2000",
            "-c",
            "read -P 7 4999 1",
            "-c",
            "read -P 0 5000 1000",
            "-c",
            "read -P 1 6000 4000",
        ];
        let ours = [&["io"], &read[..], &io].concat();
        let said = [
            Tool::Ours.does(&ours),
            Tool::Io.does(&[&read[..], &io].concat()),
        ];
        for said in said {
            assert!(!said.contains("verification failed"), "{said}");
        }
    }
}

#[test]
fn keys_that_one_side_adds_and_erases_count_for_the_other() {
    let scratch = Scratch::new("luks-keys");
    for side in [Tool::Ours, Tool::Img] {
        let file = scratch.path("image.luks");
        let make = ["create", "-q", "-f", "luks", "--object", SECRET, "-o"];
        Tool::Img.does(&[&make[..], &["key-secret=s,iter-time=10", text(&file), "1M"]].concat());
        change_keys(side, &file, luks, "");
        let file = scratch.path("image.qcow2");
        let options = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10";
        let make = [
            "create", "-q", "-f", "qcow2", "--object", SECRET, "-o", options,
        ];
        Tool::Img.does(&[&make[..], &[text(&file), "1M"]].concat());
        change_keys(side, &file, qcow2, "encrypt.");
    }
}

/// Adds and erases keys of an image by `side`, and opens it by both.
fn change_keys(side: Tool, file: &Path, source: fn(&Path, &str) -> String, prefix: &str) {
    let objects = ["--object", SECRET, "--object", NEW, "--image-opts"];
    let (by_old, by_new) = (source(file, "s"), source(file, "n"));
    let read = [&objects[..], &["-c", "read -P 0 0 0"]].concat();
    let opens = |with: &str| {
        let ours = [&["io"], &read[..], &[with]].concat();
        let [ours, theirs] = [
            Tool::Ours.run(&ours),
            Tool::Io.run(&[&read[..], &[with]].concat()),
        ];
        assert_eq!(ours.status.success(), theirs.status.success(), "{with}");
        ours.status.success()
    };
    let amend = |options: &[&str], more: &[&str]| {
        let list: Vec<String> = options.iter().map(|o| format!("{prefix}{o}")).collect();
        let list = list.join(",");
        let args = [&["amend", "-o", &list], more, &objects, &[&by_old]].concat();
        side.run(&args)
    };
    let done = |options: &[&str], more: &[&str]| {
        let output = amend(options, more);
        assert!(output.status.success(), "{side:?} {options:?}: {output:?}");
    };
    assert!(opens(&by_old) && !opens(&by_new));
    done(
        &["state=active", "new-secret=n", "keyslot=6", "iter-time=10"],
        &[],
    );
    assert!(opens(&by_old) && opens(&by_new));
    let overwriting = ["state=active", "new-secret=n", "keyslot=6", "iter-time=10"];
    assert!(!amend(&overwriting, &[]).status.success());
    done(&overwriting, &["--force"]);
    assert!(opens(&by_old) && opens(&by_new));
    done(&["state=inactive", "old-secret=n"], &[]);
    assert!(opens(&by_old) && !opens(&by_new));
    for last in [
        &["state=inactive", "keyslot=0"],
        &["state=inactive", "old-secret=s"],
    ] {
        assert!(!amend(last, &[]).status.success());
    }
    assert!(opens(&by_old));
    done(&["state=inactive", "keyslot=0"], &["--force"]);
    assert!(!opens(&by_old) && !opens(&by_new));
}

#[test]
fn a_header_with_a_huge_iteration_count_is_refused_before_deriving() {
    let scratch = Scratch::new("luks-iterations");
    let file = scratch.path("image.luks");
    let make = ["create", "-q", "-f", "luks", "--object", SECRET, "-o"];
    Tool::Ours.does(&[&make[..], &["key-secret=s,iter-time=10", text(&file), "1M"]].concat());
    let good = std::fs::read(&file).unwrap();
    // Those of the master key's digest, and of the first key slot.
    for at in [164, 212] {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&50_000_001u32.to_be_bytes());
        std::fs::write(&file, &bytes).unwrap();
        let start = Instant::now();
        let open = ["io", "--object", SECRET, "--image-opts", &luks(&file, "s")];
        Tool::Ours.refuses(&open, "50000001 iterations");
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

/// The bits of each bitmap of an image, by name.
fn bitmaps(path: &Path) -> Vec<(Vec<u8>, u32, Vec<u8>)> {
    let image = image::open_qcow2(path, &OpenOptions::read_only()).unwrap();
    let all = image.bitmaps().unwrap();
    let bits = |name: &[u8]| image.bitmap_bits(name).unwrap().bytes;
    let all = all.into_iter();
    all.map(|bitmap| (bitmap.name.clone(), bitmap.flags, bits(&bitmap.name)))
        .collect()
}

#[test]
fn a_resized_image_has_the_bitmaps_that_qemu_gives_it() {
    let scratch = Scratch::new("bitmaps-resize");
    let [ours, theirs] = ["ours", "theirs"].map(|name| scratch.path(name));
    for cluster in ["512", "65536"] {
        let options = format!("cluster_size={cluster}");
        let file = text(&theirs);
        Tool::Img.does(&["create", "-q", "-f", "qcow2", "-o", &options, file, "4M"]);
        for (name, granularity) in [("a", "512"), ("b", "65536"), ("c", "4096")] {
            Tool::Img.does(&["bitmap", "--add", "-g", granularity, file, name]);
        }
        Tool::Img.does(&["bitmap", "--disable", file, "c"]);
        let writes = [
            "-c",
            "write 0 3k",
            "-c",
            "write 2500k 1M",
            "-c",
            "write 4095k 1k",
        ];
        Tool::Io.does(&[&writes[..], &[file]].concat());
        std::fs::copy(&theirs, &ours).unwrap();
        for size in ["3000320", "1M", "70M", "2563k", "5M"] {
            Tool::Ours.does(&["resize", "-q", "--shrink", text(&ours), size]);
            Tool::Img.does(&["resize", "-q", "-f", "qcow2", "--shrink", file, size]);
            assert_eq!(bitmaps(&ours), bitmaps(&theirs), "{cluster} {size}");
            Tool::Img.does(&["check", "-q", text(&ours)]);
            Tool::Ours.does(&["check", "-q", text(&ours)]);
        }
    }
}

#[test]
fn an_image_with_an_inconsistent_bitmap_is_not_resized() {
    let scratch = Scratch::new("bitmaps-inconsistent");
    let file = scratch.path("image");
    Tool::Img.does(&["create", "-q", "-f", "qcow2", text(&file), "4M"]);
    Tool::Img.does(&["bitmap", "--add", text(&file), "a"]);
    mark_in_use(&file);
    let before = std::fs::read(&file).unwrap();
    Tool::Ours.refuses(&["resize", text(&file), "8M"], "bitmap 'a' is inconsistent");
    assert!(std::fs::read(&file).unwrap() == before);
}

/// Marks the first bitmap as in use, as after a power cut.
fn mark_in_use(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let kind = 0x2385_2875u32.to_be_bytes();
    let at = bytes.windows(4).position(|word| word == kind).unwrap();
    let directory = u64::from_be_bytes(bytes[at + 24..at + 32].try_into().unwrap());
    bytes[directory as usize + 15] |= 1;
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn convert_copies_bitmaps_and_leaves_broken_ones_out_on_request() {
    let scratch = Scratch::new("bitmaps-convert");
    let [source, copy] = ["source", "copy"].map(|name| scratch.path(name));
    Tool::Img.does(&["create", "-q", "-f", "qcow2", text(&source), "4M"]);
    for name in ["a", "b"] {
        Tool::Img.does(&["bitmap", "--add", "-g", "512", text(&source), name]);
    }
    Tool::Io.does(&["-c", "write 1M 77k", text(&source)]);
    Tool::Img.does(&["bitmap", "--disable", text(&source), "b"]);
    let convert = [
        "convert",
        "--bitmaps",
        "-O",
        "qcow2",
        text(&source),
        text(&copy),
    ];
    Tool::Ours.does(&convert);
    assert_eq!(bitmaps(&copy), bitmaps(&source));
    Tool::Img.does(&["check", "-q", text(&copy)]);
    let to_raw = [
        "convert",
        "--bitmaps",
        "-O",
        "raw",
        text(&source),
        text(&copy),
    ];
    Tool::Ours.refuses(&to_raw, "does not support bitmaps");
    mark_in_use(&source);
    Tool::Ours.refuses(&convert, "Cannot copy inconsistent bitmap 'a'");
    Tool::Ours.does(&[&convert[..], &["--skip-broken-bitmaps"]].concat());
    let left = bitmaps(&copy);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].0, b"b");
}

#[test]
fn what_is_left_of_a_damaged_image_is_salvaged() {
    let scratch = Scratch::new("salvage");
    let [raw, file, back] = ["raw", "image", "back"].map(|name| scratch.path(name));
    let mut expected = Random(9).bytes(4 << 20);
    std::fs::write(&raw, &expected).unwrap();
    let make = [
        "convert",
        "-f",
        "raw",
        "-O",
        "qcow2",
        text(&raw),
        text(&file),
    ];
    Tool::Img.does(&make);
    // The L2 entry of the cluster at 1 MiB gets an impossible offset.
    let mut bytes = std::fs::read(&file).unwrap();
    let word = |bytes: &[u8], at: usize| {
        u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap()) as usize & 0xff_ffff_fe00
    };
    let l2 = word(&bytes, word(&bytes, 40));
    bytes[l2 + 16 * 8 + 6] |= 2;
    std::fs::write(&file, &bytes).unwrap();
    let convert = ["convert", "-O", "raw", text(&file), text(&back)];
    Tool::Ours.refuses(&convert, text(&file));
    let output = Tool::Ours.run(&[&convert[..], &["--salvage"]].concat());
    assert!(output.status.success(), "{output:?}");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors.lines().count(), 128, "a line for each lost sector");
    assert!(
        errors.contains("error while reading offset 1048576"),
        "{errors}"
    );
    expected[1 << 20..(1 << 20) + 65536].fill(0);
    assert!(std::fs::read(&back).unwrap() == expected);
}
