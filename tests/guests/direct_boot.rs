//! Debian's kernels, loaded by `--kernel` and `--initrd`, to a shell on the serial line.

use std::time::Duration;

use libtest_mimic::Trial;

use crate::fixture::guest;
use crate::session::{Session, cowbox};
use crate::{Outcome, Skip, in_full, trial};

const LIMIT: Duration = Duration::from_secs(600);
const OLD_HARDWARE: &str = "acpi=off noapic nolapic";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("amd64_kernel_reaches_a_shell_and_powers_off", || {
            with_acpi("amd64", "x86_64")
        }),
        trial("i386_kernel_reaches_a_shell_and_powers_off", || {
            with_acpi("i386", "i686")
        }),
        trial("amd64_kernel_reaches_a_shell_on_x86_64_v2", || {
            on_cpu("amd64", "x86-64-v2", "popcnt", "avx")
        }),
        trial("amd64_kernel_reaches_a_shell_on_core2", || {
            in_full(|| on_cpu("amd64", "core2", "ssse3", "popcnt"))
        }),
        // Debian's 686 kernel needs CMOV, which came behind the Pentium.
        trial("i386_kernel_reaches_a_shell_on_core2", || {
            in_full(|| on_cpu("i386", "core2", "ssse3", "popcnt"))
        }),
        trial("amd64_kernel_runs_without_acpi_and_apic", || {
            without_acpi("amd64", "x86_64")
        }),
        trial("i386_kernel_runs_without_acpi_and_apic", || {
            in_full(|| without_acpi("i386", "i686"))
        }),
    ]
}

fn boot(arch: &str, append: &str, command: &str, options: &[&str]) -> Result<String, Skip> {
    let append = format!("console=ttyS0 {append}");
    let line = format!("uname -m; echo SHELL-$((6*7)); {command}\n");
    let mut run = cowbox([
        "run",
        "-m",
        "256M",
        "--display",
        "none",
        "--timeout",
        "580s",
    ]);
    run.arg("--kernel").arg(guest(&format!("{arch}/vmlinuz"))?);
    run.arg("--initrd")
        .arg(guest(&format!("{arch}/initrd.img"))?);
    run.args(["--append", &append, "--expect", "/ # ", "--send", &line])
        .args(options);
    let finished = Session::start(run).finish(LIMIT);
    finished.expect_code(0).find("INIT-OK");
    finished.find("SHELL-42");
    Ok(finished.transcript)
}

fn with_acpi(arch: &str, machine: &str) -> Outcome {
    let transcript = boot(arch, "", "poweroff -f", &[])?;
    assert!(
        transcript.contains(&format!("\n{machine}\r")),
        "no {machine}:\n{transcript}"
    );
    assert!(transcript.contains("ACPI: PM: Preparing to enter system sleep state S5"));
    Ok(())
}

/// The kernel sees the flag `has` of the model and not `lacks`.
fn on_cpu(arch: &str, model: &str, has: &str, lacks: &str) -> Outcome {
    let flags = "grep -m1 ^flags /proc/cpuinfo; poweroff -f";
    let transcript = boot(arch, "", flags, &["--cpu", model])?;
    let line = transcript.lines().find(|line| line.starts_with("flags"));
    let line = line.expect("the kernel lists the flags");
    let shown = |flag| line.split_whitespace().any(|word| word == flag);
    assert!(shown(has) && !shown(lacks), "{line}");
    Ok(())
}

fn without_acpi(arch: &str, machine: &str) -> Outcome {
    let transcript = boot(arch, OLD_HARDWARE, "reboot -f", &["--no-reboot"])?;
    assert!(
        transcript.contains(&format!("\n{machine}\r")),
        "no {machine}:\n{transcript}"
    );
    assert!(transcript.contains("reboot: Restarting system"));
    Ok(())
}
