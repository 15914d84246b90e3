//! States that a disk could be left in: what is durable, and any part of what came after.

use std::ops::Range;

use super::super::host::Barrier;
use super::case::{Case, DATA_BYTES};
use super::files::DATA_FLUSHED;
use super::oracle::{Allowed, judge};
use super::random::Random;
use super::sectors::SECTOR;
use super::workload::record;
use crate::storage::record::Event;

/// Applies part of an event: all of it, or a random selection of its sectors.
pub(super) fn apply(state: &mut Vec<u8>, event: &Event, torn: Option<&mut Random>) {
    let (offset, bytes) = match event {
        Event::Write(offset, bytes) => (*offset as usize, bytes.clone()),
        Event::Zero(offset, len) => (*offset as usize, vec![0; *len as usize]),
        Event::Discard(offset, len) => {
            let end = (state.len() as u64).min(offset + len);
            (
                *offset as usize,
                vec![0; end.saturating_sub(*offset) as usize],
            )
        }
        Event::SetLen(len) => return state.resize(*len as usize, 0),
        Event::Flush | Event::Mark(_) => return,
    };
    if state.len() < offset + bytes.len() {
        state.resize(offset + bytes.len(), 0);
    }
    let Some(random) = torn else {
        state[offset..offset + bytes.len()].copy_from_slice(&bytes);
        return;
    };
    let mut at = 0;
    while at < bytes.len() {
        let end = ((offset + at) / SECTOR * SECTOR + SECTOR - offset).min(bytes.len());
        if random.below(2) == 0 {
            state[offset + at..offset + end].copy_from_slice(&bytes[at..end]);
        }
        at = end;
    }
}

/// One state after a cut: what was durable, and any part of what came after.
pub(super) fn cut(durable: &[u8], pending: &[Event], random: &mut Random) -> Vec<u8> {
    let mut state = durable.to_vec();
    let kept = 1 + random.below(9);
    for event in pending {
        match random.below(10) {
            n if n < kept => apply(&mut state, event, None),
            n if n == kept => apply(&mut state, event, Some(random)),
            _ => {}
        }
    }
    state
}

/// Moves what happened in a range of the storage from `pending` to `durable`.
pub(super) fn make_durable(durable: &mut Vec<u8>, pending: &mut Vec<Event>, range: Range<u64>) {
    pending.retain(|event| {
        let there = match event {
            Event::Write(at, _) | Event::Zero(at, _) | Event::Discard(at, _) => range.contains(at),
            Event::SetLen(_) | Event::Flush | Event::Mark(_) => range.end == u64::MAX,
        };
        if there {
            apply(durable, event, None);
        }
        !there
    });
}

/// Judges states at the writes of a workload where what is not yet durable is `worth_it`; gives
/// how many states there were and the first violation.
pub(super) fn explore(
    case: &Case,
    seed: u64,
    broken: Option<Barrier>,
    worth_it: impl Fn(&[Event]) -> bool,
) -> (usize, Option<String>) {
    let (mut durable, ops, events) = record(case, seed, broken);
    let mut random = Random(seed ^ 0xc0ffee);
    let mut allowed = Allowed::new(case);
    let (mut pending, mut states): (Vec<Event>, usize) = (Vec::new(), 0);
    let (mut begun, mut ended) = (0, 0);
    let cuts = |random: &mut Random, events: usize| random.below(1 + events as u64 / 8) == 0;
    for event in &events {
        match event {
            Event::Mark(n) if *n as usize == begun && begun < ops.len() && begun == ended => {
                allowed.begin(&ops[begun]);
                begun += 1;
            }
            Event::Mark(DATA_FLUSHED) => {
                make_durable(&mut durable, &mut pending, 0..DATA_BYTES);
            }
            Event::Mark(_) => {
                allowed.end(&ops[ended]);
                ended += 1;
            }
            Event::Flush => {
                make_durable(&mut durable, &mut pending, case.image_start()..u64::MAX);
            }
            _ => pending.push(event.clone()),
        }
        if matches!(event, Event::Mark(_)) && !cuts(&mut random, pending.len()) {
            continue;
        }
        if !worth_it(&pending) {
            continue;
        }
        states += 1;
        let state = cut(&durable, &pending, &mut random);
        if let Err(why) = judge(state, case, &allowed) {
            return (states, Some(format!("seed {seed}, op {begun}: {why}")));
        }
    }
    (states, None)
}
