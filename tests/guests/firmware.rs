//! Firmware is interchangeable: SeaBIOS on our board, our BIOS on QEMU's.

use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::fixture::{Scratch, committed, guest, tool};
use crate::images::overlay;
use crate::session::Session;
use crate::{Outcome, root_disk, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("seabios_boots_the_root_disk", seabios),
        trial("our_bios_boots_the_demo_disk_under_qemu", under_qemu),
    ]
}

fn seabios() -> Outcome {
    let files = "packages/seabios/usr/share/seabios";
    let bios = guest(&format!("{files}/bios-256k.bin"))?;
    let vga_bios = guest(&format!("{files}/vgabios-stdvga.bin"))?;
    let scratch = Scratch::new("seabios");
    let disk = overlay(&guest("root.qcow2")?, scratch.path("disk.qcow2"));
    let options = [
        "--bios",
        bios.to_str().unwrap(),
        "--vga-bios",
        vga_bios.to_str().unwrap(),
    ];
    let run = root_disk::boot(&disk, "ide", "poweroff -f", &options);
    run.expect_code(0).find("GRUB-OK");
    run.find("ROOT-INIT-OK");
    Ok(())
}

fn under_qemu() -> Outcome {
    tool("qemu-system-x86_64", "qemu-system-x86")?;
    for bus in ["ide", "virtio"] {
        let disk = committed("images/demo.qcow2");
        let disk = format!("file={},if={bus},format=qcow2,snapshot=on", disk.display());
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args([
            "-machine",
            "pc",
            "-accel",
            "tcg",
            "-m",
            "64",
            "-no-reboot",
            "-drive",
            &disk,
        ])
        .args(["-display", "none", "-serial", "stdio", "-net", "none"])
        .args(["-fw_cfg", "name=opt/cowbox/selftest,string=1", "-bios"])
        .arg(committed("firmware/bios.bin"));
        let run = Session::start(qemu).finish(Duration::from_secs(120));
        run.expect_code(0).find(r"selftest: \d+ passed, 0 failed");
    }
    Ok(())
}
