//! What a machine boots from: `--boot`, several disks, and nothing at all.

use std::time::Duration;

use libtest_mimic::Trial;

use crate::fixture::{Scratch, committed, guest};
use crate::session::{Finished, Session, cowbox};
use crate::{Outcome, trial};

const LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "kinds_without_a_drive_are_named_and_passed_over",
            passed_over,
        ),
        trial("disks_that_boot_order_does_not_name_come_last", unnamed),
        trial(
            "a_disk_without_boot_record_gives_way_to_the_next",
            next_disk,
        ),
        trial("nothing_to_boot_from_is_said_on_the_line", nothing),
        trial("seabios_reads_the_boot_order", seabios),
        trial("an_unknown_kind_of_device_is_wrong_usage", unknown),
    ]
}

fn run(options: &[&str]) -> Finished {
    let mut command = cowbox(["run", "-m", "64M", "--display", "none"]);
    command.args(options);
    Session::start(command).finish(LIMIT)
}

fn demo() -> String {
    format!("{},snapshot=on", committed("images/demo.qcow2").display())
}

/// Runs the demo disk until its prompt, and halts it.
fn run_demo(options: &[&str]) -> Finished {
    let mut all = vec!["--expect", "cow> ", "--send", "halt\\n", "--timeout", "60s"];
    all.extend(options);
    run(&all)
}

fn passed_over() -> Outcome {
    let run = run_demo(&["--boot", "floppy,cdrom,disk", "--disk", &demo()]);
    run.expect_code(0).find(
        "No floppy drive to boot from\r\nNo CD-ROM drive to boot from\r\nBooting from disk 0",
    );
    Ok(())
}

fn unnamed() -> Outcome {
    let run = run_demo(&["-boot", "order=dn", "--disk", &demo()]);
    run.expect_code(0)
        .find("No CD-ROM drive to boot from\r\nNo network to boot from\r\nBooting from disk 0");
    Ok(())
}

fn next_disk() -> Outcome {
    let scratch = Scratch::new("next-disk");
    let blank = scratch.path("blank.img");
    std::fs::write(&blank, [0; 1 << 16]).unwrap();
    let blank = format!("{},format=raw", blank.display());
    for bus in ["ide", "virtio"] {
        let demo = format!("{},bus={bus}", demo());
        let run = run_demo(&["--disk", &blank, "--disk", &demo]);
        run.expect_code(0)
            .find("Disk 0: no boot record.*\r\nBooting from disk 1");
    }
    Ok(())
}

fn nothing() -> Outcome {
    let run = run(&["--boot", "disk,cdrom", "--timeout", "2s"]);
    run.expect_code(124)
        .find("No disk to boot from\r\nNo CD-ROM drive to boot from\r\n\r\nNothing to boot from");
    Ok(())
}

/// SeaBIOS reads the same CMOS cells; it tries the other kinds afterwards.
fn seabios() -> Outcome {
    let files = "packages/seabios/usr/share/seabios";
    let bios = guest(&format!("{files}/bios-256k.bin"))?;
    let bios = bios.to_str().unwrap();
    let run = run_demo(&["--bios", bios, "--boot", "cdrom,disk", "--disk", &demo()]);
    run.expect_code(0);
    Ok(())
}

fn unknown() -> Outcome {
    for kinds in ["usb", "disk,usb", "order=cx", "disk,disk", ""] {
        let run = run(&["--boot", kinds]);
        run.expect_code(2);
        assert_eq!(run.errors.lines().count(), 1, "{}", run.errors);
    }
    Ok(())
}
