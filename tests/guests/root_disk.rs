//! From power-on through our BIOS and Debian's GRUB to a shell on a qcow2 root disk, and a file
//! workload whose result the host reads back.

use std::path::Path;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::fixture::{Scratch, guest, tool};
use crate::images::{Allow, check, commit_into, compare, overlay, sha256};
use crate::session::{Finished, Session, cowbox};
use crate::{Outcome, read_back, trial};

const LIMIT: Duration = Duration::from_secs(900);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("linux_from_grub_writes_files_on_ide_by_dma", || {
            on_copy("ide", "root")
        }),
        trial("linux_from_grub_writes_files_on_ide_by_pio", || {
            on_copy("ide", "root-pio")
        }),
        trial(
            "linux_from_grub_writes_files_on_virtio_over_an_overlay",
            on_overlay,
        ),
    ]
}

/// Boots the disk by our BIOS and types one command at the root disk's prompt.
pub(crate) fn boot(disk: &Path, bus: &str, command: &str, options: &[&str]) -> Finished {
    let disk = format!("{},bus={bus},backing=any", disk.display());
    let line = format!("{command}\n");
    let arguments = ["run", "--disk", &disk, "-m", "256M", "--display", "none"];
    let mut run = cowbox(arguments);
    run.args(["--expect", "/root # ", "--send", &line, "--timeout", "880s"])
        .args(options);
    Session::start(run).finish(LIMIT)
}

/// Runs the workload, and compares what the guest says it wrote with what the image holds.
fn write_and_read_back(disk: &Path, bus: &str, scratch: &Scratch) {
    let run = boot(disk, bus, "./write-files", &[]);
    run.expect_code(0).find("GRUB-OK");
    run.find("ROOT-INIT-OK");
    run.find("SUMS-OK 500");
    let written: u32 = run.find(r"WROTE 500 files (\d+) KiB").parse().unwrap();
    assert!(written >= 64 * 1024, "only {written} KiB");
    let sum_of_sums = run.find("SUMS ([0-9a-f]{64})");

    check(disk, Allow::Nothing);
    let home = read_back::directory(disk, "/root", scratch);
    let list = home.join("SHA256SUMS");
    assert_eq!(
        sha256(&list),
        sum_of_sums,
        "SHA256SUMS differs from what the guest wrote"
    );
    assert_eq!(
        read_back::compare_sums(&home, &std::fs::read_to_string(list).unwrap()),
        500
    );
}

fn on_copy(bus: &str, name: &str) -> Outcome {
    tool("qemu-img", "qemu-utils")?;
    tool("debugfs", "e2fsprogs")?;
    let scratch = Scratch::new(&format!("{bus}-{name}"));
    let disk = scratch.path("disk.qcow2");
    std::fs::copy(guest(&format!("{name}.qcow2"))?, &disk).unwrap();
    write_and_read_back(&disk, bus, &scratch);
    Ok(())
}

fn on_overlay() -> Outcome {
    tool("qemu-img", "qemu-utils")?;
    tool("debugfs", "e2fsprogs")?;
    let scratch = Scratch::new("overlay");
    let base = scratch.path("base.qcow2");
    std::fs::copy(guest("root.qcow2")?, &base).unwrap();
    let before = sha256(&base);
    let top = overlay(&base, scratch.path("top.qcow2"));
    write_and_read_back(&top, "virtio", &scratch);
    assert_eq!(sha256(&base), before, "the base file changed");

    let (base_copy, top_copy) = (
        scratch.path("base-copy.qcow2"),
        scratch.path("top-copy.qcow2"),
    );
    std::fs::copy(&base, &base_copy).unwrap();
    std::fs::copy(&top, &top_copy).unwrap();
    commit_into(&top_copy, &base_copy);
    compare(&top, &base_copy);
    Ok(())
}
