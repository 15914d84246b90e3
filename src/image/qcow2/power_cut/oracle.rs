//! What a power cut may leave, and whether a state is of that.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::super::header::{BITMAPS, DIRTY};
use super::super::repair::check_storage;
use super::super::snapshot::find;
use super::super::{Qcow2, Writing};
use super::bitmaps::bitmaps_cover;
use super::case::{Case, Variant, open, parameters};
use super::files::Files;
use super::sectors::{BASE, SECTOR, holds};
use super::workload::{Op, called};
use crate::image::Image;
use crate::storage::MemoryStorage;

/// For each sector, the writers whose data a power cut may leave there.
pub(super) struct Allowed {
    /// What it saw at first.
    pub(super) first: Vec<Vec<u32>>,
    /// What the guest sees, one of these.
    pub(super) now: Vec<Vec<u32>>,
    /// What it saw at the last flush, and everything since.
    pub(super) after_cut: Vec<Vec<u32>>,
    /// What it would see instead if the snapshot being applied were in force.
    pub(super) applied: Option<Vec<Vec<u32>>>,
    /// How many sectors the disk has: one of these.
    pub(super) sectors: Vec<usize>,
    /// How many sectors it always had: bitmaps know nothing of what comes back behind them.
    pub(super) always: usize,
    /// What the snapshots hold, and whether each must be there.
    pub(super) snapshots: BTreeMap<u32, (Vec<Vec<u32>>, bool)>,
}

impl Allowed {
    pub(super) fn new(case: &Case) -> Self {
        let at_first = case.sectors_at_first();
        let below = |n| n < case.sectors / 4 || case.backed && n < case.sectors / 2 && n < at_first;
        let first: Vec<Vec<u32>> = (0..case.sectors)
            .map(|n| vec![if below(n) { BASE } else { 0 }])
            .collect();
        Self {
            now: first.clone(),
            after_cut: first.clone(),
            first,
            sectors: vec![at_first],
            always: at_first,
            applied: None,
            snapshots: BTreeMap::new(),
        }
    }

    pub(super) fn begin(&mut self, op: &Op) {
        match op {
            Op::Write(range, writer) => self.change(range, |now| *now = vec![*writer]),
            Op::Discard(range) => self.change(range, |now| now.push(0)),
            Op::Flush => {}
            Op::Snapshot(name) => {
                self.snapshots.insert(*name, (self.now.clone(), false));
            }
            Op::Apply(name) => self.applied = Some(self.snapshots[name].0.clone()),
            Op::Delete(name) => self.snapshots.get_mut(name).unwrap().1 = false,
            Op::Resize(sectors) => {
                self.sectors.push(*sectors);
                self.always = self.always.min(*sectors);
            }
        }
    }

    pub(super) fn change(&mut self, range: &Range<usize>, how: impl Fn(&mut Vec<u32>)) {
        for number in range.clone() {
            how(&mut self.now[number]);
            let now = self.now[number].clone();
            self.after_cut[number].extend(now);
        }
    }

    pub(super) fn end(&mut self, op: &Op) {
        match op {
            Op::Write(..) | Op::Discard(_) => return,
            Op::Flush => {}
            Op::Snapshot(name) => self.snapshots.get_mut(name).unwrap().1 = true,
            Op::Apply(name) => {
                self.now.clone_from(&self.snapshots[name].0);
                self.applied = None;
            }
            Op::Delete(name) => {
                self.snapshots.remove(name);
            }
            Op::Resize(sectors) => {
                self.sectors = vec![*sectors];
                self.now[*sectors..].fill(vec![0]);
            }
        }
        self.after_cut.clone_from(&self.now);
    }

    /// What is wrong with `disk`.
    pub(super) fn judge(&self, disk: &[u8], bitmaps_valid: bool) -> Result<(), String> {
        if !self.sectors.contains(&(disk.len() / SECTOR)) {
            return Err(format!("the disk is {} bytes long", disk.len()));
        }
        // Bitmaps that count as right must not have missed a change.
        let usual = if bitmaps_valid {
            &self.first
        } else {
            &self.after_cut
        };
        match (holds(disk, usual), &self.applied) {
            (Err(why), Some(applied)) => holds(disk, applied).map_err(|e| format!("{why}; {e}")),
            (judged, _) => judged,
        }
    }
}
/// What is wrong with the state after a cut.
pub(super) fn judge(state: Vec<u8>, case: &Case, allowed: &Allowed) -> Result<(), String> {
    let header = case.image_start() as usize;
    let bitmaps_valid = u64::from(state[header + 95]) & BITMAPS != 0;
    let was_dirty = u64::from(state[header + 79]) & DIRTY != 0;
    let files = Files::new(
        Arc::new(MemoryStorage::new(state)),
        case.image_start(),
        None,
    );
    if was_dirty {
        let mended = open(&files, case).map_err(|e| format!("mend: {e}"))?;
        mended.close().map_err(|e| format!("close: {e}"))?;
    }
    let report = check_storage(Arc::clone(&files.image), None).map_err(|e| e.to_string())?;
    if report.corruptions > report.copied_missing {
        return Err(format!("check: {:?}", report.messages));
    }
    let image = open(&files, case).map_err(|e| format!("open: {e}"))?;
    let disk = read(&image)?;
    let real_bitmaps = case.format == Variant::Bitmap;
    allowed.judge(&disk, bitmaps_valid && !real_bitmaps)?;
    if bitmaps_valid && real_bitmaps {
        bitmaps_cover(&image, &disk, &allowed.first[..allowed.always])?;
    }
    let found = image.snapshots().map_err(|e| format!("snapshots: {e}"))?;
    for (name, (contents, must)) in &allowed.snapshots {
        let Some(snapshot) = find(&found, called(*name).as_bytes()) else {
            match must {
                true => return Err(format!("snapshot {name} is gone")),
                false => continue,
            }
        };
        let header = snapshot.header(image.header());
        let shown = Qcow2::open(
            Arc::clone(&files.image),
            header,
            parameters(&files, case, Writing::Refused),
        );
        let shown = shown.map_err(|e| format!("snapshot {name}: {e}"))?;
        holds(&read(&shown)?, contents).map_err(|e| format!("snapshot {name}: {e}"))?;
    }
    Ok(())
}

pub(super) fn read(image: &Qcow2) -> Result<Vec<u8>, String> {
    let mut disk = vec![0; image.size() as usize];
    image
        .read_at(&mut disk, 0)
        .map_err(|e| format!("read: {e}"))?;
    Ok(disk)
}
