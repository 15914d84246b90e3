//! Encrypted images, both ways: every cipher that both sides have, right and wrong passwords.

use std::path::Path;

use cowbox::image::crypt::options::LuksOptions;
use cowbox::image::qcow2::create::{CreateOptions, Encryption, L2Entries};
use cowbox::image::{self, ErrorKind, OpenOptions, Secret, ZeroMode};

use crate::programs::{assert_clean_here, create, open, patiently, qemu, run, text};
use crate::scratch::{Random, Scratch};

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

fn assert_clean_encrypted(path: &Path) {
    let check = ["check", "--object", SECRET, "--image-opts"];
    qemu("qemu-img", &[&check[..], &[&encrypted(path)]].concat());
    assert_clean_here(path);
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
            })
            .unwrap();
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
        let image = open(&file, &with_password("geheim"));
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
