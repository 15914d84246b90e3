//! `kill -9` while the guest writes to new clusters: what it had synced is there afterwards.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use libtest_mimic::Trial;
use regex::Regex;

use crate::fixture::{Scratch, guest, tool};
use crate::images::{Allow, check, overlay};
use crate::session::{Session, cowbox};
use crate::{Outcome, Skip, full, trial};

const LIMIT: Duration = Duration::from_secs(600);

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("synced_files_survive_kill_9", || {
        tool("qemu-img", "qemu-utils")?;
        let mut random = 0x0C0B_0C0B_u32;
        for round in 0..if full() { 20 } else { 3 } {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let delay = Duration::from_millis(200 + u64::from(random >> 16) % 6000);
            one_kill(round, delay)?;
        }
        Ok(())
    })]
}

fn one_kill(round: u32, delay: Duration) -> Outcome {
    let bus = if round.is_multiple_of(2) {
        "ide"
    } else {
        "virtio"
    };
    let scratch = Scratch::new(&format!("killed-{round}"));
    let disk = overlay(&guest("root.qcow2")?, scratch.path("disk.qcow2"));

    let mut session = start(&disk, bus, "./write-forever")?;
    session.wait_for("ACK acked/00000 [0-9a-f]{64}", LIMIT);
    std::thread::sleep(delay);
    let acknowledged = sums(&session.kill().transcript, "ACK");
    println!(
        "kill {round} on {bus}, {delay:?} after the first of {} files",
        acknowledged.len()
    );
    check(&disk, Allow::Leaks);

    let run = start(&disk, bus, "./list-acked")?.finish(LIMIT);
    run.expect_code(0).find("LISTED");
    let found = sums(&run.transcript, "FOUND");
    for (name, sum) in &acknowledged {
        assert_eq!(
            found.get(name),
            Some(sum),
            "{name} after kill {round} on {bus}, {delay:?}"
        );
    }
    check(&disk, Allow::Leaks);
    Ok(())
}

/// Boots the kernel directly, with its root on the disk, and types one command.
fn start(disk: &Path, bus: &str, command: &str) -> Result<Session, Skip> {
    let disk = format!("{},bus={bus},backing=any", disk.display());
    let line = format!("{command}\n");
    let mut run = cowbox(["run", "--disk", &disk, "-m", "256M", "--display", "none"]);
    run.arg("--kernel").arg(guest("amd64/vmlinuz")?);
    run.arg("--initrd").arg(guest("amd64/initrd.img")?);
    run.args([
        "--append",
        "console=ttyS0 root=LABEL=root",
        "--timeout",
        "580s",
    ]);
    run.args(["--expect", "/root # ", "--send", &line]);
    Ok(Session::start(run))
}

/// The lines "WORD NAME SHA256", whole ones only.
fn sums(transcript: &str, word: &str) -> HashMap<String, String> {
    let line = Regex::new(&format!(r"{word} (acked/\d+) ([0-9a-f]{{64}})\r?\n")).unwrap();
    let lines = line.captures_iter(transcript);
    lines
        .map(|found| (found[1].to_owned(), found[2].to_owned()))
        .collect()
}
