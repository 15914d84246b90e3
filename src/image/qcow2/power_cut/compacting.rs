//! Power cuts while an image is compacted.

use super::super::Qcow2;
use super::super::compact::Zeros;
use super::super::host::Barrier;
use super::case::{Case, cases};
use super::cut::explore;
use super::random::Random;
use super::workload::Op;

/// Compacts the image, which leaves everything as it was and durable.
pub(super) fn compact(image: &mut Qcow2, random: &mut Random) -> Op {
    let zeros = match random.below(2) {
        0 => Zeros::Kept,
        _ => Zeros::Freed,
    };
    image.compact(zeros, &mut |_, _| ()).unwrap();
    Op::Flush
}

/// All cases, with snapshots too.
fn compacting() -> Vec<Case> {
    let with_snapshots = |case: Case| Case {
        snapshots: case.image_start() == 0,
        compacts: true,
        ..case
    };
    cases().into_iter().map(with_snapshots).collect()
}

#[test]
fn no_power_cut_while_an_image_is_compacted_costs_more_than_space() {
    let mut states = 0;
    for case in compacting() {
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
fn the_oracle_sees_each_barrier_that_is_missing_while_an_image_is_compacted() {
    for broken in [
        Barrier::ClusterBeforeReference,
        Barrier::ClearedBeforeReuse,
        Barrier::LoweredBeforeUse,
    ] {
        let mut runs =
            (0..20).flat_map(|seed| compacting().into_iter().map(move |case| (case, seed)));
        let seen = runs.find_map(|(case, seed)| explore(&case, seed, Some(broken), |_| true).1);
        assert!(seen.is_some(), "nobody noticed that {broken:?} was missing");
    }
}
