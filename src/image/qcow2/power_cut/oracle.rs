//! What a power cut may leave, and whether a state is of that.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::super::address::{HostCluster, HostOffset};
use super::super::header::{BITMAPS, DIRTY, Header};
use super::super::host::Host;
use super::super::refcount::Refcounts;
use super::super::repair::check_storage;
use super::super::snapshot::find;
use super::super::{Purpose, Qcow2, Writing};
use super::bitmaps::{self, Bitmaps, Disk, Tracked};
use super::case::{Case, Variant, open, parameters};
use super::files::{Contents, Files};
use super::sectors::{BASE, SECTOR, holds};
use super::workload::{Op, called};
use crate::image::{Format, Image};
use crate::storage::MemoryStorage;

/// What a power cut may leave.
pub(super) struct Allowed {
    /// What the guest saw at first.
    first: Disk,
    /// What the guest sees.
    now: Disk,
    /// What it saw at the last flush, and everything since.
    after_cut: Disk,
    /// What it would see instead if the snapshot being applied were in force.
    applied: Option<Held>,
    /// How many sectors the disk has: one of these.
    sectors: Vec<usize>,
    /// How many sectors it always had: bitmaps know nothing of what comes back behind them.
    always: usize,
    /// What the snapshots hold, and whether each must be there.
    snapshots: BTreeMap<u32, (Held, bool)>,
    /// What the bitmaps are: one of these.
    bitmaps: Vec<Bitmaps>,
}

/// What a snapshot holds.
#[derive(Clone)]
struct Held {
    disk: Disk,
    /// How many sectors its disk has.
    sectors: usize,
}

impl Held {
    /// What is wrong with `disk`, which is to be this one.
    fn judge(&self, disk: &[u8]) -> Result<(), String> {
        match disk.len() == self.sectors * SECTOR {
            true => holds(disk, &self.disk),
            false => Err(format!("the disk is {} bytes long", disk.len())),
        }
    }
}

impl Allowed {
    pub(super) fn new(case: &Case) -> Self {
        let at_first = case.sectors_at_first();
        let below = case.below.is_some();
        let written = |n| n < case.sectors / 4 || below && n < case.sectors / 2 && n < at_first;
        let first: Disk = (0..case.sectors)
            .map(|n| vec![if written(n) { BASE } else { 0 }])
            .collect();
        let mut bitmaps = Bitmaps::new();
        if case.format == Variant::Bitmap {
            bitmaps.insert(0, Tracked::new(&first));
        }
        Self {
            now: first.clone(),
            after_cut: first.clone(),
            first,
            sectors: vec![at_first],
            always: at_first,
            applied: None,
            snapshots: BTreeMap::new(),
            bitmaps: vec![bitmaps],
        }
    }

    pub(super) fn begin(&mut self, op: &Op) {
        match op {
            Op::Write(range, writer) => self.change(range, |now| *now = vec![*writer]),
            Op::Discard(range) => self.change(range, |now| now.push(0)),
            Op::Flush | Op::Maintain(_) => {}
            Op::Snapshot(name) => {
                let held = Held {
                    disk: self.now.clone(),
                    sectors: self.sectors[0],
                };
                self.snapshots.insert(*name, (held, false));
            }
            Op::Apply(name) => self.applied = Some(self.snapshots[name].0.clone()),
            Op::Delete(name) => self.snapshots.get_mut(name).unwrap().1 = false,
            Op::Resize(_, sectors) => {
                self.sectors.push(*sectors);
                self.always = self.always.min(*sectors);
            }
            Op::Bitmaps(change) => {
                let after = bitmaps::after(change, &self.bitmaps[0], &self.now);
                self.bitmaps.push(after);
            }
        }
    }

    fn change(&mut self, range: &Range<usize>, how: impl Fn(&mut Vec<u32>)) {
        for number in range.clone() {
            how(&mut self.now[number]);
            let now = self.now[number].clone();
            self.after_cut[number].extend(now);
        }
    }

    pub(super) fn end(&mut self, op: &Op) {
        match op {
            Op::Write(..) | Op::Discard(_) => return,
            Op::Flush | Op::Maintain(_) => {}
            Op::Snapshot(name) => self.snapshots.get_mut(name).unwrap().1 = true,
            Op::Apply(name) => {
                let Held { disk, sectors } = &self.snapshots[name].0;
                self.now.clone_from(disk);
                self.sectors = vec![*sectors];
                self.always = self.always.min(*sectors);
                self.applied = None;
            }
            Op::Delete(name) => {
                self.snapshots.remove(name);
            }
            Op::Resize(_, sectors) => {
                self.sectors = vec![*sectors];
                self.now[*sectors..].fill(vec![0]);
            }
            Op::Bitmaps(_) => {
                self.bitmaps.remove(0);
            }
        }
        self.after_cut.clone_from(&self.now);
    }

    /// What is wrong with `disk`.
    fn judge(&self, disk: &[u8], unchanged: bool) -> Result<(), String> {
        let usual = if unchanged {
            &self.first
        } else {
            &self.after_cut
        };
        let judged = match self.sectors.contains(&(disk.len() / SECTOR)) {
            true => holds(disk, usual),
            false => Err(format!("the disk is {} bytes long", disk.len())),
        };
        match (judged, &self.applied) {
            (Err(why), Some(applied)) => applied.judge(disk).map_err(|e| format!("{why}; {e}")),
            (judged, _) => judged,
        }
    }
}

/// What is wrong with the state after a cut.
pub(super) fn judge(state: Contents, case: &Case, allowed: &Allowed) -> Result<(), String> {
    let files = Files::new(state);
    let read_header = || Header::read(&*files.image, Purpose::Contents);
    let header = read_header().map_err(|e| format!("header: {e}"))?;
    if header.incompatible & DIRTY != 0 {
        let mended = open(&files, case).map_err(|e| format!("mend: {e}"))?;
        mended.close().map_err(|e| format!("close: {e}"))?;
    }
    check(&files.image)?;
    if case.below == Some(Format::Qcow2) {
        check(&files.below).map_err(|e| format!("below: {e}"))?;
    }
    let image = open(&files, case).map_err(|e| format!("open: {e}"))?;
    let disk = read(&image)?;
    // Without bitmaps, the bit that says that they are right says that nothing was changed.
    let bare = header.extensions.bitmaps().is_none() && !case.maintained;
    allowed.judge(&disk, bare && header.autoclear & BITMAPS != 0)?;
    let mut bitmaps = allowed.bitmaps.iter();
    let judged = bitmaps.try_fold(String::new(), |_, expected| {
        let always = disk.len().min(allowed.always * SECTOR);
        match bitmaps::judge(&image, &disk[..always], expected) {
            Ok(()) => Err(()),
            Err(why) => Ok(why),
        }
    });
    if let Ok(why) = judged {
        return Err(why);
    }
    judge_snapshots(&image, &files, case, allowed)
}

fn check(file: &Arc<dyn crate::storage::Storage>) -> Result<(), String> {
    let report = check_storage(Arc::clone(file), None).map_err(|e| e.to_string())?;
    match report.corruptions > report.copied_missing {
        true => Err(format!("check: {:?}", report.messages)),
        false => Ok(()),
    }
}

fn judge_snapshots(
    image: &Qcow2,
    files: &Files,
    case: &Case,
    allowed: &Allowed,
) -> Result<(), String> {
    let found = image.snapshots().map_err(|e| format!("snapshots: {e}"))?;
    for (name, (contents, must)) in &allowed.snapshots {
        let Some(snapshot) = find(&found, called(*name).as_bytes()) else {
            match must {
                true => return Err(format!("snapshot {name} is gone")),
                false => continue,
            }
        };
        let header = snapshot.header(image.header());
        let shown = parameters(files, case, &header, Writing::Refused)
            .and_then(|with| Qcow2::open(Arc::clone(&files.image), header, with));
        let shown = shown.map_err(|e| format!("snapshot {name}: {e}"))?;
        let judged = contents.judge(&read(&shown)?);
        judged.map_err(|e| format!("snapshot {name}: {e}"))?;
    }
    Ok(())
}

/// Whether the host may be told to free `range` of the image file, when the file is durably
/// `image`: no cluster there may be counted as in use.
pub(super) fn judge_punch(image: &[u8], range: Range<u64>) -> Result<(), String> {
    let storage = Arc::new(MemoryStorage::new(image.to_vec()));
    let header = Header::read(&*storage, Purpose::Contents).map_err(|e| e.to_string())?;
    if header.incompatible & DIRTY != 0 {
        // The counts are made anew when the image is opened.
        return Ok(());
    }
    let host = Arc::new(Host::new(storage).map_err(|e| e.to_string())?);
    let mut refcounts = Refcounts::load(&host, &header).map_err(|e| e.to_string())?;
    let geometry = &header.geometry;
    let first = geometry.clusters(range.start);
    let end = HostOffset(range.end).cluster(geometry).0;
    for cluster in (first..end).map(HostCluster) {
        let count = refcounts.get(cluster).map_err(|e| e.to_string())?;
        if count > 0 {
            let at = cluster.offset(geometry).0;
            return Err(format!(
                "{at:#x} is freed on the host, and has refcount {count}"
            ));
        }
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
