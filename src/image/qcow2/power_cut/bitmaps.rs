//! What dirty bitmaps must have, and whether those of an image do.

use std::collections::BTreeMap;

use super::super::Qcow2;
use super::super::bitmap::{Bitmap, Directory};
use super::super::header::BITMAPS;
use super::sectors::{SECTOR, sector};

/// For each sector, the writers whose data may be there.
pub(super) type Disk = Vec<Vec<u32>>;

/// A change of the bitmaps, which are called by numbers.
pub(super) enum BitmapChange {
    Add(u32),
    Remove(u32),
    Clear(u32),
    Enable(u32),
    Disable(u32),
    /// Sets in the first what is set in the second.
    Merge(u32, u32),
}

/// What a bitmap of one bit for each sector must have.
#[derive(Clone)]
pub(super) struct Tracked {
    /// Sectors whose bit is set for certain.
    set: Vec<bool>,
    /// What the disk was when the bitmap began to follow it, if it does: what differs is set too.
    since: Option<Disk>,
}

/// The bitmaps of an image.
pub(super) type Bitmaps = BTreeMap<u32, Tracked>;

/// The name of a bitmap in the image.
pub(super) fn name(number: u32) -> String {
    format!("b{number}")
}

impl Tracked {
    /// A bitmap that was just made.
    pub(super) fn new(now: &Disk) -> Self {
        Self {
            set: vec![false; now.len()],
            since: Some(now.clone()),
        }
    }

    /// The sectors whose bit is set for certain while the disk is `now`.
    fn certain(&self, now: &Disk) -> Vec<bool> {
        let changed = |n: usize| {
            let since = self.since.as_ref();
            since.is_some_and(|since| !now[n].iter().any(|writer| since[n].contains(writer)))
        };
        (0..self.set.len())
            .map(|n| self.set[n] || changed(n))
            .collect()
    }
}

/// The bitmaps after `change`, made while the disk is `now`.
pub(super) fn after(change: &BitmapChange, bitmaps: &Bitmaps, now: &Disk) -> Bitmaps {
    let mut bitmaps = bitmaps.clone();
    let mut update = |number: &u32, how: &dyn Fn(&mut Tracked)| {
        bitmaps.get_mut(number).into_iter().for_each(how);
    };
    match change {
        BitmapChange::Add(number) => {
            bitmaps.insert(*number, Tracked::new(now));
        }
        BitmapChange::Remove(number) => {
            bitmaps.remove(number);
        }
        BitmapChange::Clear(number) => update(number, &|bitmap| {
            bitmap.set.fill(false);
            bitmap.since = bitmap.since.as_ref().map(|_| now.clone());
        }),
        BitmapChange::Enable(number) => update(number, &|bitmap| {
            bitmap.since.get_or_insert_with(|| now.clone());
        }),
        BitmapChange::Disable(number) => update(number, &|bitmap| {
            bitmap.set = bitmap.certain(now);
            bitmap.since = None;
        }),
        BitmapChange::Merge(into, from) => {
            let from = bitmaps[from].certain(now);
            let into = bitmaps.get_mut(into).into_iter();
            into.for_each(|bitmap| {
                let both = bitmap.set.iter_mut().zip(from.iter());
                both.for_each(|(set, other)| *set |= other);
            });
        }
    }
    bitmaps
}

/// What is wrong with the bitmaps of `image`, whose disk is `disk`.
pub(super) fn judge(image: &Qcow2, disk: &[u8], expected: &Bitmaps) -> Result<(), String> {
    let storage = image.host.storage();
    let directory = Directory::read(storage, image.header()).map_err(|e| e.to_string())?;
    if directory.bitmaps.len() != expected.len() {
        return Err(format!("there are {} bitmaps", directory.bitmaps.len()));
    }
    let valid = image.header().autoclear & BITMAPS != 0;
    for (number, expected) in expected {
        let called = |bitmap: &&Bitmap| bitmap.name == name(*number).as_bytes();
        let found = directory.bitmaps.iter().find(called);
        let found = found.ok_or_else(|| format!("bitmap {number} is gone"))?;
        if !valid || !found.is_consistent() {
            continue;
        }
        let bits = found.bits(storage, image.header());
        let bits = bits.map_err(|e| format!("bitmap {number}: {e}"))?;
        for (n, bytes) in disk.as_chunks::<SECTOR>().0.iter().enumerate() {
            let same = |since: &Disk| since[n].iter().any(|&writer| *bytes == sector(writer, n));
            let changed = expected.since.as_ref().is_some_and(|since| !same(since));
            if (expected.set[n] || changed) && bits[n / 8] >> (n % 8) & 1 == 0 {
                return Err(format!("bitmap {number} misses the change of sector {n}"));
            }
        }
    }
    Ok(())
}
