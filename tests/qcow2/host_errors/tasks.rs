//! What is done to an overlay that its guest does not see, and what that does to dirty bitmaps.

use std::collections::BTreeMap;
use std::sync::Arc;

use cowbox::image::commit::{Afterwards, commit_between};
use cowbox::image::qcow2::Qcow2;
use cowbox::image::qcow2::bitmaps::Recording;
use cowbox::image::qcow2::compact::Zeros;
use cowbox::image::qcow2::create::RefcountUpdates;
use cowbox::image::qcow2::geometry::Version;
use cowbox::image::qcow2::header::{Header, LAZY_REFCOUNTS};
use cowbox::image::qcow2::preallocate::Preallocation;
use cowbox::image::qcow2::{Parameters, Purpose, Writing};
use cowbox::image::rebase::{NewBacking, rebase_onto};
use cowbox::image::{Format, Image, Result};

use super::maintenance::{BELOW, Files, LONGER_NAME, OTHER, SIZE};
use super::workload::{SECTOR, Sectors};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    Commit,
    Rebase(Option<&'static str>),
    Rename,
    OtherVersion,
    OtherUpdates,
    RefcountBits(u32),
    Compact,
    AddBitmap,
    RemoveBitmap,
    ClearBitmap,
    DisableBitmap,
    MergeBitmaps,
}

/// All of them.
pub(super) const TASKS: [Task; 14] = [
    Task::Commit,
    Task::Rebase(Some(OTHER)),
    Task::Rebase(None),
    Task::Rename,
    Task::OtherVersion,
    Task::OtherUpdates,
    Task::RefcountBits(8),
    Task::RefcountBits(64),
    Task::Compact,
    Task::AddBitmap,
    Task::RemoveBitmap,
    Task::ClearBitmap,
    Task::DisableBitmap,
    Task::MergeBitmaps,
];

/// The bitmap that is there from the start and follows all changes, and one that follows none.
pub(super) const ENABLED: &str = "enabled";
pub(super) const DISABLED: &str = "disabled";
const ADDED: &str = "added";

impl Task {
    /// Whether it changes bitmaps.
    pub(super) fn is_of_bitmaps(self) -> bool {
        matches!(
            self,
            Self::AddBitmap
                | Self::RemoveBitmap
                | Self::ClearBitmap
                | Self::DisableBitmap
                | Self::MergeBitmaps
        )
    }

    /// Does it to the overlay in `files`, which is open as `image`.
    pub(super) fn carry_out(self, mut image: Qcow2, files: &Files<'_>) -> Result<Qcow2> {
        match self {
            Self::Commit => return commit(image, files),
            Self::Rebase(name) => {
                let new = files.backing(name.map(str::as_bytes))?;
                let record = NewBacking {
                    name: name.unwrap_or(""),
                    format: Some("raw"),
                };
                rebase_onto(&mut image, new, Some(record), &mut |_| {})?;
            }
            Self::Rename => {
                let format = files.case.below.name().as_bytes();
                image.set_backing(Some((LONGER_NAME.as_bytes(), Some(format))))?;
            }
            Self::OtherVersion => image.set_version(match image.geometry().version() {
                Version::V2 => Version::V3,
                Version::V3 => Version::V2,
            })?,
            Self::OtherUpdates => {
                let lazy = image.header().compatible & LAZY_REFCOUNTS != 0;
                image.set_refcount_updates(match lazy {
                    true => RefcountUpdates::InOrder,
                    false => RefcountUpdates::Lazy,
                })?;
            }
            Self::RefcountBits(bits) => image.set_refcount_bits(bits)?,
            Self::Compact => {
                image.compact(Zeros::Freed, &mut |_, _| ())?;
            }
            Self::AddBitmap => image.add_bitmap(ADDED.as_bytes(), Some(512))?,
            Self::RemoveBitmap => image.remove_bitmap(ENABLED.as_bytes())?,
            Self::ClearBitmap => image.clear_bitmap(ENABLED.as_bytes())?,
            Self::DisableBitmap => image.record_bitmap(ENABLED.as_bytes(), Recording::Disabled)?,
            Self::MergeBitmaps => {
                // Its bits are those of the file only when what was followed is stored.
                image.close()?;
                let bits = image.bitmap_bits(ENABLED.as_bytes())?;
                image.merge_bitmap(DISABLED.as_bytes(), &bits)?;
            }
        }
        Ok(image)
    }
}

fn commit(image: Qcow2, files: &Files<'_>) -> Result<Qcow2> {
    image.close()?;
    drop(image);
    let header = Header::read(&*files.image, Purpose::Contents)?;
    let alone = Parameters {
        backing: None,
        ..files.parameters(&header, Writing::Allowed)?
    };
    let overlay = Qcow2::open(Arc::clone(&files.image), header, alone)?;
    if files.case.below == Format::Qcow2 {
        let header = Header::read(&*files.below, Purpose::Contents)?;
        let with = Parameters::new(Writing::Allowed);
        let mut base = Qcow2::open(Arc::clone(&files.below), header, with)?;
        if base.size() < SIZE {
            base.resize(SIZE, Preallocation::Off)?;
        }
    }
    let base = files.open_below(Writing::Allowed)?;
    commit_between(&overlay, &*base, Afterwards::Empty, &mut |_| {})?;
    drop(overlay);
    assert_eq!(
        files.header()?.backing_name.as_deref(),
        Some(BELOW.as_bytes())
    );
    files.open(Writing::Allowed)
}

/// What a bitmap must have.
#[derive(Debug, Clone)]
pub(super) struct Marks {
    /// Sectors that are marked for certain.
    certain: Vec<bool>,
    /// What the disk was when the bitmap began to follow it, if it does: what differs is marked.
    since: Option<Sectors>,
}

/// The bitmaps of an image.
pub(super) type Bitmaps = BTreeMap<&'static str, Marks>;

impl Marks {
    /// Of a bitmap that follows changes from `now` on.
    pub(super) fn enabled(now: &Sectors) -> Self {
        Self {
            since: Some(now.clone()),
            ..Self::disabled(now)
        }
    }

    /// Of one with no mark that does not.
    pub(super) fn disabled(now: &Sectors) -> Self {
        Self {
            certain: vec![false; now.len()],
            since: None,
        }
    }

    /// Whether a sector of the disk `now` is marked for certain.
    fn has(&self, sector: usize, now: &Sectors) -> bool {
        let changed = |since: &Sectors| since[sector] != now[sector];
        self.certain[sector] || self.since.as_ref().is_some_and(changed)
    }

    /// All of them, while the disk is `now`.
    fn all(&self, now: &Sectors) -> Vec<bool> {
        (0..now.len()).map(|sector| self.has(sector, now)).collect()
    }
}

/// The bitmaps after `task`, done while the disk is `now`.
pub(super) fn after(task: Task, bitmaps: &Bitmaps, now: &Sectors) -> Bitmaps {
    let mut bitmaps = bitmaps.clone();
    match task {
        Task::AddBitmap => {
            bitmaps.insert(ADDED, Marks::enabled(now));
        }
        Task::RemoveBitmap => {
            bitmaps.remove(ENABLED);
        }
        Task::ClearBitmap => {
            bitmaps.insert(ENABLED, Marks::enabled(now));
        }
        Task::DisableBitmap => {
            let certain = bitmaps[ENABLED].all(now);
            let since = None;
            bitmaps.insert(ENABLED, Marks { certain, since });
        }
        Task::MergeBitmaps => {
            let certain = bitmaps[ENABLED].all(now);
            let since = None;
            bitmaps.insert(DISABLED, Marks { certain, since });
        }
        _ => {}
    }
    bitmaps
}

/// What is wrong with the bitmaps of `image`, whose disk is `disk`, if they are to be `expected`.
/// One that says itself that it is not right may be anything.
pub(super) fn judge(
    image: &Qcow2,
    disk: &Sectors,
    expected: &Bitmaps,
) -> std::result::Result<(), String> {
    let found = image.bitmaps().map_err(|e| e.to_string())?;
    let mut names: Vec<_> = found.iter().map(|bitmap| bitmap.name.clone()).collect();
    names.sort();
    if !names.iter().eq(expected.keys().map(|name| name.as_bytes())) {
        return Err(format!("there are {} bitmaps", names.len()));
    }
    for bitmap in found.iter().filter(|bitmap| bitmap.is_consistent()) {
        let bits = image.bitmap_bits(&bitmap.name).map_err(|e| e.to_string())?;
        let name = String::from_utf8_lossy(&bitmap.name);
        let marks = &expected[&*name];
        for sector in (0..disk.len()).filter(|&sector| marks.has(sector, disk)) {
            let bit = (sector * SECTOR) >> bits.granularity_bits;
            if bits.bytes[bit / 8] >> (bit % 8) & 1 == 0 {
                return Err(format!(
                    "bitmap {name} misses the change of sector {sector}"
                ));
            }
        }
    }
    Ok(())
}
