//! Power cuts: every host write and flush of a workload is recorded, and states that a disk could
//! be left in are opened, checked and read.
//!
//! Between two flushes any subset of the writes may persist, and a write may tear at a sector. The
//! oracle: the image opens; a check finds leaks at most (and missing COPIED flags, which cost
//! nothing); each sector of the guest, also in snapshots, holds what the last completed flush
//! covered or something the guest wrote there later; dirty bitmaps that count as right miss no
//! change; and the host is told to free only what no durable refcount counts. To prove that the
//! oracle sees violations, each rule is broken in turn ([`switches`]), and the run must fail.
#![expect(
    clippy::cast_possible_truncation,
    reason = "a test's own small numbers"
)]

mod bitmaps;
mod case;
mod creation;
mod cut;
mod files;
mod maintenance;
mod oracle;
mod random;
mod sectors;
mod switches;
mod workload;

use super::header::AT_REFCOUNT_TABLE;
use crate::storage::record::Event;
use case::{
    Case, branching, branching_and_resizing, cases, compacting, growing, maintained, resizing,
};
use cut::{Found, Pending, explore};
use switches::{Switch, switches};
use workload::record;

/// A switch is to be caught within so many states.
const MOST_STATES: usize = 1000;

/// Whether the header is being switched over to a new refcount table.
fn switches_table(pending: &[Pending]) -> bool {
    let at_switch = |p: &Pending| matches!(p.event, Event::Write(AT_REFCOUNT_TABLE, _));
    pending.iter().any(at_switch)
}

/// Explores workloads on `cases` from several seeds; none may do harm. Prints the figures.
fn all_survive(what: &str, cases: &[Case], seeds: u64, worth_it: fn(&[Pending]) -> bool) {
    let seeds = match std::env::var_os("COWBOX_FULL") {
        Some(_) => seeds * 4,
        None => seeds,
    };
    let mut all = Found::default();
    for case in cases {
        for seed in 0..seeds {
            let found = explore(case, (seed, &record(case, seed)), None, worth_it);
            assert_eq!(found.violation, None);
            all.add(&found);
        }
    }
    println!(
        "{what}: {} states after a power cut, none bad: {:?}",
        all.total(),
        all.states
    );
    assert!(!all.states.is_empty());
}

#[test]
fn no_power_cut_corrupts_an_image_or_loses_what_was_flushed() {
    all_survive("guest requests", &cases(), 1, |_| true);
    all_survive("growing refcounts", &[growing()], 8, switches_table);
}

#[test]
fn no_power_cut_while_snapshots_change_mixes_disks() {
    all_survive("snapshots", &branching(), 1, |_| true);
}

#[test]
fn no_power_cut_while_the_disk_gets_shorter_or_longer_shows_old_data() {
    all_survive("resizing", &resizing(), 1, |_| true);
}

#[test]
fn no_power_cut_while_snapshots_and_the_length_change_together_mixes_disks() {
    let cases = branching_and_resizing();
    all_survive("snapshots and resizing", &cases, 1, |_| true);
}

#[test]
fn no_power_cut_during_commit_rebase_amend_or_a_change_of_bitmaps_does_harm() {
    all_survive("maintenance", &maintained(), 2, |_| true);
}

#[test]
fn no_power_cut_while_an_image_is_compacted_costs_more_than_space() {
    all_survive("compacting", &compacting(), 1, |_| true);
}

#[test]
fn no_power_cut_while_an_image_is_made_leaves_half_of_one() {
    let mut states = 0;
    for case in [cases().to_vec(), maintained()].concat() {
        let old = record(&Case { ops: 0, ..case }, 0).start;
        for over in [Vec::new(), old[0].clone()] {
            states += creation::explore(&case, over, 8).unwrap();
        }
    }
    println!("create: {states} states after a power cut, none bad");
}

/// At which state a switch is caught, and by what; `None` if it is not within [`MOST_STATES`].
fn caught_at(switch: &Switch) -> Option<(usize, String)> {
    let mut states = 0;
    for seed in 0..40 {
        for case in (switch.cases)() {
            let recording = record(&case, seed);
            let found = explore(&case, (seed, &recording), Some(switch), |_| true);
            states += found.total();
            if let Some(why) = found.violation {
                return (states <= MOST_STATES).then_some((states, why));
            }
            if states > MOST_STATES {
                return None;
            }
        }
    }
    None
}

#[test]
fn the_oracle_sees_each_rule_that_is_broken_for_what_it_is() {
    let mut unseen = Vec::new();
    for switch in switches() {
        let rule = switch.rule;
        match caught_at(&switch) {
            Some((state, why)) if switch.seen.iter().any(|seen| why.contains(seen)) => {
                println!("rule {rule}: caught at state {state}: {why}");
            }
            Some((state, why)) => unseen.push(format!("{rule}: taken at {state} for {why}")),
            None => unseen.push(rule.to_owned()),
        }
    }
    assert!(unseen.is_empty(), "nobody noticed: {unseen:#?}");
}
