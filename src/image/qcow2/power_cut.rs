//! Power cuts: every host write and flush of a workload is recorded, and states that a disk could
//! be left in are opened, checked and read.
//!
//! Between two flushes any subset of the writes may persist, and a write may tear at a sector. The
//! oracle: the image opens; a check finds leaks at most (and missing COPIED flags, which cost
//! nothing); and each sector of the guest holds what the last completed flush covered or something
//! the guest wrote there later. To prove that the oracle sees violations, each barrier is left out
//! in turn, and the run must fail.
#![expect(
    clippy::cast_possible_truncation,
    reason = "a test's own small numbers"
)]

mod bitmaps;
mod case;
mod compacting;
mod cut;
mod files;
mod oracle;
mod random;
mod sectors;
mod workload;

use super::header::AT_REFCOUNT_TABLE;
use super::host::Barrier;
use crate::storage::record::Event;
use case::{branching, cases, growing, resizing};
use cut::explore;

/// Whether the header is being switched over to a new refcount table.
fn switches_table(pending: &[Event]) -> bool {
    let at_switch = |event: &Event| matches!(event, Event::Write(AT_REFCOUNT_TABLE, _));
    pending.iter().any(at_switch)
}

#[test]
fn no_power_cut_corrupts_an_image_or_loses_what_was_flushed() {
    let mut states = 0;
    for case in cases() {
        for seed in 0..2 {
            let (judged, violation) = explore(&case, seed, None, |_| true);
            assert_eq!(violation, None);
            states += judged;
        }
    }
    let (judged, violation) = explore(&growing(), 0, None, switches_table);
    assert_eq!(violation, None);
    states += judged;
    println!("{states} states after a power cut, none bad");
    assert!(states > 1000, "{states} states are too few");
}

#[test]
fn no_power_cut_while_snapshots_change_mixes_disks() {
    let mut states = 0;
    for case in branching() {
        for seed in 0..4 {
            let (judged, violation) = explore(&case, seed, None, |_| true);
            assert_eq!(violation, None);
            states += judged;
        }
    }
    println!("{states} states after a power cut, none bad");
    assert!(states > 1000, "{states} states are too few");
}

#[test]
fn no_power_cut_while_the_disk_gets_shorter_or_longer_shows_old_data() {
    let mut states = 0;
    for case in resizing() {
        for seed in 0..4 {
            let (judged, violation) = explore(&case, seed, None, |_| true);
            assert_eq!(violation, None);
            states += judged;
        }
    }
    println!("{states} states after a power cut, none bad");
    assert!(states > 1000, "{states} states are too few");
}

#[test]
fn the_oracle_sees_each_barrier_that_is_missing_while_the_disk_gets_shorter_or_longer() {
    for broken in [Barrier::TableBeforeHeader, Barrier::HeaderBeforeRelease] {
        let mut runs =
            (0..40).flat_map(|seed| resizing().into_iter().map(move |case| (case, seed)));
        let seen = runs.find_map(|(case, seed)| explore(&case, seed, Some(broken), |_| true).1);
        assert!(seen.is_some(), "nobody noticed that {broken:?} was missing");
    }
}

#[test]
fn the_oracle_sees_each_barrier_that_is_missing_while_snapshots_change() {
    for broken in [
        Barrier::FlagsBeforeSharing,
        Barrier::LoweredBeforeUse,
        Barrier::TableBeforeHeader,
        Barrier::HeaderBeforeRelease,
    ] {
        let mut runs =
            (0..20).flat_map(|seed| branching().into_iter().map(move |case| (case, seed)));
        let seen = runs.find_map(|(case, seed)| explore(&case, seed, Some(broken), |_| true).1);
        assert!(seen.is_some(), "nobody noticed that {broken:?} was missing");
    }
}

#[test]
fn the_oracle_sees_each_barrier_that_is_missing() {
    let all = [
        Barrier::ClusterBeforeReference,
        Barrier::ClearedBeforeReuse,
        Barrier::FlagBeforeChange,
        Barrier::ChangesBeforeFlag,
        Barrier::GuestFlush,
    ];
    for broken in all {
        let mut runs = (0..20).flat_map(|seed| cases().map(|case| (case, seed)));
        let seen = runs.find_map(|(case, seed)| explore(&case, seed, Some(broken), |_| true).1);
        assert!(seen.is_some(), "nobody noticed that {broken:?} was missing");
    }
}

#[test]
fn the_oracle_sees_each_barrier_that_is_missing_while_refcounts_grow() {
    for broken in [Barrier::TableBeforeHeader, Barrier::HeaderBeforeRelease] {
        let mut seeds = 0..20;
        let seen = seeds.find_map(|s| explore(&growing(), s, Some(broken), switches_table).1);
        assert!(seen.is_some(), "nobody noticed that {broken:?} was missing");
    }
    let mut seeds = 0..5;
    let broken = Some(Barrier::BlockBeforeTable);
    let seen = seeds.find_map(|seed| explore(&growing(), seed, broken, |_| true).1);
    assert!(
        seen.is_some(),
        "nobody noticed that BlockBeforeTable was missing"
    );
}
