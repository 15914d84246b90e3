//! The firmware: what is committed is what the sources give, and its services answer as they
//! should.
//!
//! The ROMs are rebuilt with the compiler at hand. Where it is the one in `firmware/TOOLCHAIN` they
//! must be the same bytes; elsewhere the rebuilt ROM is booted. The committed ROM boots
//! `tests/firmware/checks.S` on QEMU, from each kind of disk. A test whose tools (gcc, QEMU) are
//! missing is reported as ignored, with the reason.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by a panic"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Completion, Trial};

const ROMS: [&str; 2] = ["bios.bin", "vgabios.bin"];
const BLOCKS: usize = 4096;
const BLOCK_SIZE: usize = 512;
/// The block that `checks.S` reads: 0x00 to 0xFF twice.
const PATTERN_BLOCK: usize = 8;
/// What QEMU exits with when `checks.S` writes 0x31 to the debug exit port.
const PASSED: i32 = 0x31 << 1 | 1;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("firmware")
        .join(name);
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn run(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// A test that runs where all of `tools` are installed.
fn trial(name: &str, tools: &'static [&'static str], test: fn()) -> Trial {
    Trial::ignorable_test(name, move || {
        let missing = tools.iter().find(|tool| !is_installed(tool));
        if let Some(tool) = missing {
            return Ok(Completion::ignored_with(format!("{tool} is missing")));
        }
        test();
        Ok(Completion::Completed)
    })
}

fn is_installed(tool: &str) -> bool {
    Command::new(tool).arg("--version").output().is_ok()
}

fn main() -> ExitCode {
    const BUILD: &[&str] = &["make", "gcc"];
    const BOOT: &[&str] = &["gcc", "qemu-system-x86_64"];
    let trials = vec![
        trial(
            "rebuilt_roms_are_the_committed_bytes",
            BUILD,
            rebuilt_roms_are_the_committed_bytes,
        ),
        trial(
            "option_rom_adds_up_to_zero_and_knows_its_size",
            &[],
            option_rom_adds_up_to_zero_and_knows_its_size,
        ),
        trial(
            "bios_services_answer_on_qemu",
            BOOT,
            bios_services_answer_on_qemu,
        ),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn rebuild(name: &str) -> PathBuf {
    let dir = scratch(name);
    let output = run(Command::new("make")
        .current_dir(root().join("firmware"))
        .arg("-s")
        .arg(format!("OUT={}", dir.display())));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "make failed:\n{stderr}");
    dir
}

fn tools_at_hand() -> String {
    let mut make = Command::new("make");
    let output = run(make
        .current_dir(root().join("firmware"))
        .args(["-s", "versions"]));
    String::from_utf8(output.stdout).unwrap()
}

fn rebuilt_roms_are_the_committed_bytes() {
    let recorded = fs::read_to_string(root().join("firmware/TOOLCHAIN")).unwrap();
    let dir = rebuild("compare");
    if tools_at_hand() != recorded {
        eprintln!("other tools than firmware/TOOLCHAIN records: the rebuilt ROM is booted instead");
        boot_every_way(&dir);
        return;
    }
    for rom in ROMS {
        let committed = fs::read(root().join("firmware").join(rom)).unwrap();
        assert!(
            fs::read(dir.join(rom)).unwrap() == committed,
            "firmware/{rom} is not what its sources give: run make in firmware/ and commit it"
        );
    }
}

fn option_rom_adds_up_to_zero_and_knows_its_size() {
    let rom = fs::read(root().join("firmware/vgabios.bin")).unwrap();
    assert_eq!(rom[..2], [0x55, 0xaa]);
    assert_eq!(usize::from(rom[2]) * BLOCK_SIZE, rom.len());
    assert!(rom.len() <= 32 * 1024);
    assert_eq!(
        rom.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)),
        0
    );
}

fn bios_services_answer_on_qemu() {
    boot_every_way(&root().join("firmware"));
}

/// Boots `checks.S` from an IDE disk, and from virtio disks of both generations.
fn boot_every_way(roms: &Path) {
    let disk = "if=none,id=disk";
    boot(
        roms,
        "ide",
        &["-drive", disk, "-device", "ide-hd,drive=disk"],
    );
    let modern = "virtio-blk-pci,drive=disk,disable-legacy=on";
    boot(roms, "virtio-modern", &["-drive", disk, "-device", modern]);
    let legacy = "virtio-blk-pci,drive=disk,disable-modern=on";
    boot(roms, "virtio-legacy", &["-drive", disk, "-device", legacy]);
}

fn boot(roms: &Path, name: &str, drive: &[&str]) {
    let dir = scratch(name);
    let image = boot_disk(&dir);
    let log = dir.join("debug.log");
    let mut qemu = Command::new("timeout");
    qemu.args([
        "60",
        "qemu-system-x86_64",
        "-machine",
        "pc,accel=tcg",
        "-m",
        "64",
    ])
    .args([
        "-display",
        "none",
        "-nic",
        "none",
        "-serial",
        "none",
        "-no-reboot",
    ])
    .args(["-vga", "none", "-device"])
    .arg(format!(
        "VGA,romfile={}",
        roms.join("vgabios.bin").display()
    ))
    .arg("-bios")
    .arg(roms.join("bios.bin"))
    .args(["-device", "isa-debug-exit,iobase=0xf4", "-debugcon"])
    .arg(format!("file:{}", log.display()))
    .args(["-global", "isa-debugcon.iobase=0x402"]);
    for argument in drive {
        if argument.starts_with("if=") {
            qemu.arg(format!("{argument},format=raw,file={}", image.display()));
        } else {
            qemu.arg(argument);
        }
    }
    let output = run(&mut qemu);
    let said = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(PASSED),
        "{name}: the last check named failed\n{said}\n{stderr}"
    );
}

/// Assembles `checks.S`, and puts it on a disk with the pattern that it reads.
fn boot_disk(dir: &Path) -> PathBuf {
    let program = dir.join("checks.bin");
    let output = run(Command::new("gcc")
        .args([
            "-m32",
            "-nostdlib",
            "-static",
            "-no-pie",
            "-Wl,--build-id=none",
        ])
        .args(["-Wl,-Ttext=0x7c00,--oformat=binary,-z,noexecstack", "-o"])
        .arg(&program)
        .arg(root().join("tests/firmware/checks.S")));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "gcc failed:\n{stderr}");
    let mut disk = fs::read(&program).unwrap();
    assert!(disk.len() <= PATTERN_BLOCK * BLOCK_SIZE);
    disk.resize(BLOCKS * BLOCK_SIZE, 0);
    let at = PATTERN_BLOCK * BLOCK_SIZE;
    for (i, byte) in disk[at..at + BLOCK_SIZE].iter_mut().enumerate() {
        *byte = i.to_le_bytes()[0];
    }
    let image = dir.join("disk.img");
    fs::write(&image, disk).unwrap();
    image
}
