//! States that a disk could be left in: what is durable, and any part of what came after.

use std::collections::BTreeMap;

use super::case::Case;
use super::files::{Contents, IMAGE};
use super::oracle::{Allowed, judge, judge_punch};
use super::random::Random;
use super::sectors::SECTOR;
use super::switches::Switch;
use super::workload::{BEGIN, END, Op, Recording};
use crate::storage::record::Event;

/// A change that is not durable yet.
#[derive(Clone)]
pub(super) struct Pending {
    pub(super) file: usize,
    /// What the code says that it writes.
    pub(super) what: String,
    pub(super) event: Event,
    /// Whether a switch has kept it from becoming durable.
    held: bool,
}

/// Applies part of an event: all of it, or a random selection of its sectors.
fn apply(file: &mut Vec<u8>, event: &Event, torn: Option<&mut Random>) {
    let (offset, bytes) = match event {
        Event::Write(offset, bytes) => (*offset as usize, bytes.clone()),
        Event::Zero(offset, len) => (*offset as usize, vec![0; *len as usize]),
        Event::Discard(offset, len) => {
            let len = (file.len() as u64)
                .min(offset + len)
                .saturating_sub(*offset);
            (*offset as usize, vec![0; len as usize])
        }
        Event::SetLen(len) => return file.resize(*len as usize, 0),
        Event::Flush | Event::Mark(_) => return,
    };
    if file.len() < offset + bytes.len() {
        file.resize(offset + bytes.len(), 0);
    }
    let Some(random) = torn else {
        file[offset..offset + bytes.len()].copy_from_slice(&bytes);
        return;
    };
    let mut at = 0;
    while at < bytes.len() {
        let end = ((offset + at) / SECTOR * SECTOR + SECTOR - offset).min(bytes.len());
        if random.below(2) == 0 {
            file[offset + at..offset + end].copy_from_slice(&bytes[at..end]);
        }
        at = end;
    }
}

/// One state after a cut: what was durable, and any part of what came after.
pub(super) fn cut(durable: &Contents, pending: &[Pending], random: &mut Random) -> Contents {
    let mut state = durable.clone();
    let kept = 1 + random.below(9);
    for Pending { file, event, .. } in pending {
        match random.below(10) {
            n if n < kept => apply(&mut state[*file], event, None),
            n if n == kept => apply(&mut state[*file], event, Some(random)),
            _ => {}
        }
    }
    state
}

/// The bytes that a change touches; a new length touches all.
fn touched(event: &Event) -> (u64, u64) {
    match event {
        Event::Write(at, bytes) => (*at, at + bytes.len() as u64),
        Event::Zero(at, len) | Event::Discard(at, len) => (*at, at + len),
        Event::SetLen(_) | Event::Flush | Event::Mark(_) => (0, u64::MAX),
    }
}

/// What a disk has and has not written down, while a recording is played back.
pub(super) struct Replay<'a> {
    pub(super) durable: Contents,
    pub(super) pending: Vec<Pending>,
    switch: Option<&'a Switch>,
}

impl<'a> Replay<'a> {
    pub(super) fn new(durable: Contents, switch: Option<&'a Switch>) -> Self {
        let pending = Vec::new();
        Self {
            durable,
            pending,
            switch,
        }
    }

    pub(super) fn push(&mut self, file: usize, what: String, event: Event) {
        let held = false;
        self.pending.push(Pending {
            file,
            what,
            event,
            held,
        });
    }

    /// A flush of `file` in operation `op`, for the reason `why`.
    pub(super) fn flush(&mut self, file: usize, why: &str, op: &Op) {
        let switch = self.switch.filter(|switch| switch.concerns(op, why));
        for event in self.pending.iter_mut().filter(|event| event.file == file) {
            event.held = switch.is_some_and(|s| (s.late)(event));
        }
        // What becomes durable is not to be overwritten later by what came before it.
        for at in (1..self.pending.len()).rev() {
            let event = &self.pending[at];
            if event.file != file || event.held {
                continue;
            }
            let (start, end) = touched(&event.event);
            for before in &mut self.pending[..at] {
                let (from, to) = touched(&before.event);
                before.held &= before.file != file || from >= end || to <= start;
            }
        }
        let durable = &mut self.durable;
        self.pending.retain(|pending| {
            let stays = pending.file != file || pending.held;
            if !stays {
                apply(&mut durable[file], &pending.event, None);
            }
            stays
        });
    }

    /// Whether anything is pending only because of the switch.
    fn is_broken(&self) -> bool {
        self.pending.iter().any(|pending| pending.held)
    }
}

/// What an exploration found.
#[derive(Default)]
pub(super) struct Found {
    /// States judged, by the operation that they cut short.
    pub(super) states: BTreeMap<&'static str, usize>,
    pub(super) violation: Option<String>,
}

impl Found {
    pub(super) fn total(&self) -> usize {
        self.states.values().sum()
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (name, states) in &other.states {
            *self.states.entry(name).or_default() += states;
        }
    }
}

/// Judges states at the writes of a workload where what is not yet durable is `worth_it`. With a
/// switch, only states are judged that are possible only with it.
pub(super) fn explore(
    case: &Case,
    (seed, recording): (u64, &Recording),
    switch: Option<&Switch>,
    worth_it: impl Fn(&[Pending]) -> bool,
) -> Found {
    let Recording { start, ops, events } = recording;
    let mut replay = Replay::new(start.clone(), switch);
    let mut random = Random(seed ^ 0xc0ffee);
    let mut allowed = Allowed::new(case);
    let mut found = Found::default();
    let (mut now, mut what) = (0, String::new());
    let mut between = false;
    let judges_punches = switch.is_none_or(Switch::is_about_punching);
    for (file, event) in events {
        match event {
            Event::Mark(text) if text == BEGIN => {
                allowed.begin(&ops[now]);
                between = true;
            }
            Event::Mark(text) if text == END => {
                allowed.end(&ops[now]);
                now += 1;
                between = true;
            }
            Event::Mark(text) => {
                what.clone_from(text);
                continue;
            }
            Event::Flush => replay.flush(*file, &std::mem::take(&mut what), &ops[now]),
            event => {
                let judged = match event {
                    Event::Discard(at, len) if *file == IMAGE && judges_punches => {
                        judge_punch(&replay.durable[IMAGE], *at..at + len)
                    }
                    _ => Ok(()),
                };
                if let Err(why) = judged {
                    *found.states.entry(ops[now].name()).or_default() += 1;
                    found.violation = Some(format!("seed {seed}, op {now}: {why}"));
                    return found;
                }
                replay.push(*file, std::mem::take(&mut what), event.clone());
            }
        }
        // Between operations there is little to see while nothing is pending.
        let pending = replay.pending.len() as u64;
        if std::mem::take(&mut between) && random.below(1 + pending / 8) != 0 {
            continue;
        }
        let cut_short = ops.get(now).unwrap_or(&Op::Flush);
        if !worth_it(&replay.pending) || switch.is_some() && !replay.is_broken() {
            continue;
        }
        *found.states.entry(cut_short.name()).or_default() += 1;
        let state = cut(&replay.durable, &replay.pending, &mut random);
        if let Err(why) = judge(state, case, &allowed) {
            let name = cut_short.name();
            found.violation = Some(format!("seed {seed}, op {now} ({name}): {why}"));
            return found;
        }
    }
    found
}
