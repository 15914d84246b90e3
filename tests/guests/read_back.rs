//! debugfs as the judge of what a Linux guest left on its ext4 file system.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fixture::{Scratch, run};
use crate::images::sha256;

/// Where the root disk's one partition starts.
const PARTITION: u64 = 2048 * 512;

/// Copies a directory out of the guest's file system. The file system must be clean.
pub(crate) fn directory(image: &Path, path: &str, scratch: &Scratch) -> PathBuf {
    let (raw, target) = (scratch.path("read-back.raw"), scratch.path("read-back"));
    std::fs::create_dir_all(&target).unwrap();
    run(Command::new("qemu-img")
        .args(["convert", "-O", "raw"])
        .arg(image)
        .arg(&raw));
    run(Command::new("/usr/sbin/debugfs")
        .arg("-R")
        .arg(format!("rdump {path} {}", target.display()))
        .arg(format!("{}?offset={PARTITION}", raw.display())));
    std::fs::remove_file(raw).unwrap();
    target.join(Path::new(path).file_name().unwrap())
}

/// Compares the files below `root` with the list that the guest made by `sha256sum`; returns how
/// many there are.
pub(crate) fn compare_sums(root: &Path, list: &str) -> usize {
    for line in list.lines() {
        let (sum, name) = line
            .split_once("  ")
            .unwrap_or_else(|| panic!("no sum: {line:?}"));
        assert_eq!(
            sha256(&root.join(name)),
            sum,
            "{name} differs from what the guest wrote"
        );
    }
    list.lines().count()
}
