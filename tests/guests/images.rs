//! qemu-img as the judge of our images.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::fixture::run;

/// What `qemu-img check` may find.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Allow {
    Nothing,
    Leaks,
}

/// Panics if `qemu-img check` finds more than allowed.
pub(crate) fn check(image: &Path, allow: Allow) {
    let output = Command::new("qemu-img")
        .args(["check", "-f", "qcow2"])
        .arg(image)
        .output()
        .unwrap();
    // 0: no error; 3: leaked clusters and nothing worse.
    let fine = match output.status.code() {
        Some(0) => true,
        Some(3) => allow == Allow::Leaks,
        _ => false,
    };
    assert!(
        fine,
        "qemu-img check {}:\n{}{}",
        image.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Makes an overlay with our own `cowbox img create`.
pub(crate) fn overlay(base: &Path, path: PathBuf) -> PathBuf {
    run(
        crate::session::cowbox(["img", "create", "-f", "qcow2", "-F", "qcow2", "-b"])
            .arg(base)
            .arg(&path),
    );
    path
}

/// Panics unless the two show a guest the same bytes.
pub(crate) fn compare(a: &Path, b: &Path) {
    run(Command::new("qemu-img").arg("compare").arg(a).arg(b));
}

/// Puts an overlay's changes into a copy of its base.
pub(crate) fn commit_into(overlay: &Path, base: &Path) {
    let qemu_img = || Command::new("qemu-img");
    run(qemu_img()
        .args(["rebase", "-u", "-F", "qcow2", "-b"])
        .arg(base)
        .arg(overlay));
    run(qemu_img().args(["commit", "-q", "-d"]).arg(overlay));
}

/// SHA-256 of a file, in hexadecimal.
pub(crate) fn sha256(path: &Path) -> String {
    hexadecimal(&Sha256::digest(std::fs::read(path).unwrap()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
