//! User-mode instructions, one at a time, on the host's own CPU and on ours: every register,
//! flag, vector and x87 register, segment register and memory byte has to agree, after a fault too.
//!
//! Every encoding that our CPUID claims is found, in 64-bit, 32-bit and 16-bit code, with every
//! address size and repeat prefix (`encodings.rs`). It is drawn with random registers, addressing,
//! immediates, prefixes and segments, and set up so that its operands lie in the scratch memory
//! (`case.rs`, `setting.rs`, `segments.rs`). The native side runs in a forked child (`native.rs`),
//! ours in a guest whose memory lies at the same addresses (`ours.rs`). `rules.rs` has all that is
//! not compared bit by bit, with the manual's reason. `cargo test --test native -- --nocapture`
//! prints what was judged, by feature, and what was not (`coverage.rs`).
//!
//! `COWBOX_NATIVE_STATES` is how many states each form runs from, `COWBOX_NATIVE_SEED` where the
//! random numbers start, `COWBOX_NATIVE_ONLY` a part of the names of the encodings to judge.
#![cfg(target_arch = "x86_64")]

mod case;
mod compare;
mod coverage;
mod empty_board;
mod encodings;
#[path = "../isa/system/oracle/exercised.rs"]
mod exercised;
mod layout;
#[expect(unsafe_code, reason = "runs machine code and catches its signals")]
mod native;
mod operands;
mod ours;
mod random;
mod rules;
mod segments;
mod setting;
mod state;
mod survey;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How many differences are printed.
const PRINTED: usize = 60;

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number"))
    })
}

/// The forms that the environment asks for, of those that our CPU claims.
fn wanted_forms() -> Vec<encodings::Form> {
    let only = std::env::var("COWBOX_NATIVE_ONLY").unwrap_or_default();
    let mut forms = encodings::all();
    forms.retain(|form| {
        let name = format!("{:?}_{}", form.code, form.kind.bits);
        survey::is_claimed(form.code) && name.to_lowercase().contains(&only.to_lowercase())
    });
    forms
}

/// Judges forms, prints what differs, and says how many forms that are.
fn differing_forms(forms: &[encodings::Form], verdicts: &[survey::Verdict]) -> usize {
    let different = || verdicts.iter().filter(|verdict| verdict.differences > 0);
    for verdict in different().take(PRINTED) {
        println!("{} times {}", verdict.differences, verdict.told.join("\n"));
    }
    assert_eq!(forms.len(), verdicts.len());
    different().count()
}

fn count(verdicts: &[survey::Verdict]) -> u64 {
    verdicts.iter().map(|verdict| verdict.states).sum()
}

#[test]
fn user_mode_instructions_do_what_the_host_does() {
    let states = number("COWBOX_NATIVE_STATES", 256);
    let seed = number("COWBOX_NATIVE_SEED", 1);
    let forms = wanted_forms();
    let start = Instant::now();
    let verdicts = survey::judge_all(&forms, states, seed);
    let seconds = start.elapsed().as_secs_f64();
    let (table, complaints) = coverage::table(&forms, &verdicts);
    println!("{table}{} comparisons in {seconds:.1} s", count(&verdicts));
    let different = differing_forms(&forms, &verdicts);
    assert!(different == 0, "{different} forms differ");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
#[ignore = "takes minutes: COWBOX_NATIVE_COMPARISONS says how many comparisons, 10^8 if unset"]
fn random_cases_agree_for_as_long_as_asked() {
    let wanted = number("COWBOX_NATIVE_COMPARISONS", 100_000_000);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let unlike = now.map_or(1, |since| since.as_nanos() as u64 >> 10 & 0xffff_ffff);
    let seed = number("COWBOX_NATIVE_SEED", unlike);
    println!("seed {seed}");
    let forms = wanted_forms();
    let start = Instant::now();
    let (mut done, mut different) = (0, 0);
    for round in 0.. {
        let verdicts = survey::judge_all(&forms, 256, seed + round);
        done += count(&verdicts);
        different += differing_forms(&forms, &verdicts);
        let seconds = start.elapsed().as_secs_f64();
        println!("round {round}: {done} comparisons in {seconds:.0} s, {different} forms differ");
        if done >= wanted {
            break;
        }
    }
    assert!(different == 0, "{different} forms differ");
}
