//! The same programs on this host's processor and in a Linux guest, with the same output: QEMU's
//! tests of its CPU, and Debian's busybox and glibc, which choose their routines by CPUID.
//!
//! `tests/guests/programs/build` makes them. To see what one prints in the guest:
//! `cowbox run -m 512M --kernel target/guests/amd64/vmlinuz --initrd
//! target/guests/programs/initrd.img --append console=ttyS0`, and then `/programs/any/NAME`.

use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::fixture::{guest, run};
use crate::session::{Session, cowbox};
use crate::{Outcome, Skip, in_full, trial};

/// Of guest time and of this host's.
const LIMIT: Duration = Duration::from_secs(900);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("programs_print_what_they_print_on_this_host", || {
            compare("x86-64-v3", &["any", "x86-64-v2", "x86-64-v3"], "")
        }),
        trial("programs_do_without_avx_on_x86_64_v2", || {
            let hidden = "-AVX,-AVX2,-FMA,-BMI1,-BMI2,-LZCNT,-MOVBE,-ERMS,-AVX512F,-AVX512VL";
            compare("x86-64-v2", &["any", "x86-64-v2"], hidden)
        }),
        trial("programs_do_without_sse4_on_core2", || {
            let hidden = "-AVX,-AVX2,-FMA,-SSE4_1,-SSE4_2,-POPCNT,-AVX512F,-AVX512VL";
            compare("core2", &["any"], hidden)
        }),
        trial("slow_programs_print_what_they_print_on_this_host", || {
            in_full(|| compare("x86-64-v3", &["slow"], ""))
        }),
    ]
}

/// Runs the programs of the directories on the CPU model, and here with glibc's eyes closed to the
/// `hidden` features.
fn compare(model: &str, directories: &[&str], hidden: &str) -> Outcome {
    let root = guest("programs")?;
    if !std::arch::is_x86_feature_detected!("avx2") {
        return Err(Skip("this host has no AVX2".into()));
    }
    let mut here = Command::new(root.join("programs/run"));
    here.arg(guest("packages/busybox-host/bin/busybox")?)
        .arg(&root)
        .args(
            directories
                .iter()
                .map(|name| root.join("programs").join(name)),
        )
        .env("GLIBC_TUNABLES", format!("glibc.cpu.hwcaps={hidden}"));
    let here = digests(&run(&mut here));
    let there = digests(&in_guest(model, directories)?);

    let differ: Vec<_> = here.iter().filter(|line| !there.contains(line)).collect();
    assert!(differ.is_empty(), "other output on {model}: {differ:#?}");
    assert_eq!(here.len(), there.len());
    println!("{} programs on {model}: all as here", here.len());
    Ok(())
}

fn in_guest(model: &str, directories: &[&str]) -> Result<String, Skip> {
    let words: Vec<String> = directories
        .iter()
        .map(|name| format!("programs={name}"))
        .collect();
    let append = format!("console=ttyS0 rdinit=/programs/init {}", words.join(" "));
    let mut command = cowbox(["run", "-m", "512M", "--display", "none", "--cpu", model]);
    command.arg("--kernel").arg(guest("amd64/vmlinuz")?);
    command.arg("--initrd").arg(guest("programs/initrd.img")?);
    command.args(["--append", &append, "--timeout", "900s"]);
    let finished = Session::start(command).finish(LIMIT);
    finished.expect_code(0).find("PROGRAMS-END");
    Ok(finished.transcript)
}

/// The lines with the programs' digests.
fn digests(transcript: &str) -> Vec<String> {
    let lines = transcript.lines().map(str::trim_end);
    let digests = lines
        .filter(|line| line.starts_with("PROGRAM "))
        .map(str::to_owned);
    digests.collect()
}
