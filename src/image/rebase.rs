//! Giving an overlay another backing image.
//!
//! A safe rebase first copies into the overlay what the old backing image shows and the new one
//! does not, flushes that, and then changes the recorded name, so that the guest sees the same at
//! every moment. An unsafe one changes the name only, for images whose backing file was moved.

use std::path::Path;
use std::sync::Arc;

use super::extent::Extents;
use super::fields::{buffer_len, zeroed};
use super::pipeline::{self, Done, Progress};
use super::qcow2::Qcow2;
use super::zeros::is_zero;
use super::{
    BackingPolicy, ErrorKind, ExtentKind, Format, Image, ImageError, OpenOptions, Result, ZeroMode,
    chain, open, open_qcow2,
};

/// Bytes that a thread takes on at a time; a multiple of every cluster size.
const PIECE: u64 = 2 << 20;

/// The backing image that is recorded.
#[derive(Debug, Clone, Copy)]
pub struct NewBacking<'a> {
    /// Its name, as it will stand in the image.
    pub name: &'a str,
    /// Its format, as it will stand in the image.
    pub format: Option<&'a str>,
}

/// What was, and what will be, below the overlay.
struct Backings {
    old: Option<Arc<dyn Image>>,
    new: Option<Arc<dyn Image>>,
}

/// Gives the image at `path` another backing image, or none, and changes nothing that the guest
/// sees.
pub fn rebase(
    path: &Path,
    options: &OpenOptions,
    backing: Option<NewBacking<'_>>,
    progress: Progress<'_>,
) -> Result<()> {
    let mut image = open_qcow2(path, options)?;
    let new = backing
        .filter(|new| !new.name.is_empty())
        .map(|new| open_new(path, options, new))
        .transpose()?;
    rebase_onto(&mut image, new, backing, progress).map_err(|e| e.in_file(path))
}

/// Puts `image` over `new`, which is to be recorded as `backing`, and changes nothing that the
/// guest sees.
pub fn rebase_onto(
    image: &mut Qcow2,
    new: Option<Arc<dyn Image>>,
    backing: Option<NewBacking<'_>>,
    progress: Progress<'_>,
) -> Result<()> {
    let old = image.replace_backing(new.clone());
    let backings = Backings { old, new };
    copy_what_differs(image, &backings, progress)?;
    image.close()?;
    record(image, backing)
}

/// Records another backing image, or none, in the image at `path`, whatever it shows.
pub fn rename_backing(
    path: &Path,
    options: &OpenOptions,
    backing: Option<NewBacking<'_>>,
) -> Result<()> {
    let alone = OpenOptions {
        backing: BackingPolicy::Ignore,
        ..options.clone()
    };
    let mut image = open_qcow2(path, &alone)?;
    record(&mut image, backing).map_err(|e| e.in_file(path))
}

fn record(image: &mut Qcow2, backing: Option<NewBacking<'_>>) -> Result<()> {
    let backing = backing.filter(|new| !new.name.is_empty());
    image.set_backing(backing.map(|new| {
        let format = new.format.map(str::as_bytes);
        (new.name.as_bytes(), format)
    }))
}

/// Opens the new backing image, which the user named and which may lie anywhere.
fn open_new(
    path: &Path,
    options: &OpenOptions,
    new: NewBacking<'_>,
) -> Result<Arc<dyn Image>, ImageError> {
    let file = chain::resolve(new.name.as_bytes(), Some(path), BackingPolicy::Any)?;
    let format = new.format.map(|name| {
        Format::from_name(name).ok_or_else(|| {
            ImageError::new(ErrorKind::Unsupported, format!("unknown format \"{name}\""))
        })
    });
    let options = OpenOptions {
        format: format.transpose()?,
        read_only: true,
        secrets: options.secrets.below(),
        ..options.clone()
    };
    open(&file, &options)
}

/// Writes into `image`, which is over `new` already, what it showed over `old` and does not show
/// now.
fn copy_what_differs(image: &Qcow2, backings: &Backings, progress: Progress<'_>) -> Result<()> {
    let old = backings.old.as_ref();
    let mut done = Done::default();
    let mut extents = Extents::new(image);
    let mut next = || {
        while done.position < image.size() {
            let at = done.position;
            let extent = extents.at(at)?;
            let own = extent.depth == 0 && extent.kind != ExtentKind::Unallocated;
            let same =
                own || extent.kind.reads_zero() && old.is_none_or(|old| is_zero_run(old, &extent));
            let len = match same {
                true => extent.length,
                // Up to the next multiple, so that later pieces are whole clusters.
                false => extent.length.min(PIECE - at % PIECE),
            };
            done.position += len;
            progress(done);
            if !same {
                done.copied += len;
                return Ok(Some((at, len)));
            }
        }
        Ok(None)
    };
    pipeline::run(
        pipeline::usual_threads(),
        &|| (zeroed(PIECE), zeroed(PIECE)),
        &mut next,
        &|(shown, below), (at, len), _| {
            let len = buffer_len(len);
            let (shown, below) = (shown.split_at_mut(len).0, below.split_at_mut(len).0);
            read_from(old, shown, at)?;
            read_from(backings.new.as_ref(), below, at)?;
            write_differing(image, (shown, below), at)
        },
    )
}

/// Writes the clusters from `at` on whose new contents are not the old ones: runs of them at once.
fn write_differing(image: &Qcow2, (shown, below): (&[u8], &[u8]), at: u64) -> Result<()> {
    let cluster = buffer_len(image.geometry().cluster_size());
    let mut unit = cluster - buffer_len(at % cluster as u64);
    let (mut from, mut to) = (0, 0);
    while to < shown.len() {
        let end = (to + unit).min(shown.len());
        let differs = shown.get(to..end) != below.get(to..end);
        let zero = shown.get(to..end).is_some_and(is_zero);
        if !differs || zero {
            write_run(image, shown.get(from..to).unwrap_or(&[]), at + from as u64)?;
            from = end;
        }
        if differs && zero {
            image.write_zeroes(at + to as u64, (end - to) as u64, ZeroMode::MayUnmap)?;
        }
        (to, unit) = (end, cluster);
    }
    write_run(image, shown.get(from..to).unwrap_or(&[]), at + from as u64)
}

fn write_run(image: &Qcow2, data: &[u8], at: u64) -> Result<()> {
    match data {
        [] => Ok(()),
        data => image.write_at(data, at),
    }
}

/// Whether all of a run is known to read as zeros in `image`, or to lie past its end.
fn is_zero_run(image: &Arc<dyn Image>, run: &super::Extent) -> bool {
    let there = image.size().saturating_sub(run.offset);
    there == 0
        || image
            .extent(run.offset, run.length.min(there))
            .is_ok_and(|e| e.kind.reads_zero() && e.length >= run.length.min(there))
}

/// Fills `buf` from a backing image; zeros past its end, or without one.
fn read_from(backing: Option<&Arc<dyn Image>>, buf: &mut [u8], at: u64) -> Result<()> {
    let there = backing.map_or(0, |backing| backing.size().saturating_sub(at));
    let there = there.min(buf.len() as u64);
    let (inside, past) = buf.split_at_mut(buffer_len(there));
    past.fill(0);
    match backing {
        Some(backing) if !inside.is_empty() => backing.read_at(inside, at),
        _ => Ok(()),
    }
}
