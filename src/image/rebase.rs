//! Giving an overlay another backing image.
//!
//! A safe rebase first copies into the overlay what the old backing image shows and the new one
//! does not, flushes that, and then changes the recorded name, so that the guest sees the same at
//! every moment. An unsafe one changes the name only, for images whose backing file was moved.

use std::path::Path;
use std::sync::Arc;

use super::fields::{buffer_len, zeroed};
use super::qcow2::Qcow2;
use super::{
    BackingPolicy, ErrorKind, ExtentKind, Format, Image, ImageError, OpenOptions, Result, ZeroMode,
    chain, open, open_qcow2,
};

/// Bytes compared at a time; a multiple of every cluster size.
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
/// sees. `progress` is told how many bytes of the disk are done.
pub fn rebase(
    path: &Path,
    options: &OpenOptions,
    backing: Option<NewBacking<'_>>,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let mut image = open_qcow2(path, options)?;
    let new = backing
        .filter(|new| !new.name.is_empty())
        .map(|new| open_new(path, options, new))
        .transpose()?;
    let old = image.replace_backing(new.clone());
    let backings = Backings { old, new };
    let done = copy_what_differs(&image, &backings, progress)
        .and_then(|()| image.close())
        .and_then(|()| record(&mut image, backing));
    done.map_err(|e| e.in_file(path))
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
fn copy_what_differs(
    image: &Qcow2,
    backings: &Backings,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let (old, new) = (backings.old.as_ref(), backings.new.as_ref());
    let cluster = buffer_len(image.geometry().cluster_size());
    let (mut shown, mut below) = (zeroed(PIECE), zeroed(PIECE));
    let mut at = 0;
    while at < image.size() {
        let extent = image.extent(at, image.size() - at)?;
        let own = extent.depth == 0 && extent.kind != ExtentKind::Unallocated;
        let nothing = extent.kind.reads_zero() && old.is_none_or(|old| is_zero_run(old, &extent));
        if own || nothing {
            at += extent.length;
            progress(at);
            continue;
        }
        // Up to the next multiple, so that later pieces are whole clusters.
        let len = buffer_len(extent.length.min(PIECE - at % PIECE));
        let (shown, below) = (shown.split_at_mut(len).0, below.split_at_mut(len).0);
        read_from(old, shown, at)?;
        read_from(new, below, at)?;
        let first = cluster - buffer_len(at % cluster as u64);
        let mut offset = at;
        let (mut shown, mut below): (&[u8], &[u8]) = (shown, below);
        let mut unit = first.min(len);
        while !shown.is_empty() {
            let (now, rest) = shown.split_at(unit);
            let (old, other) = below.split_at(unit);
            if now != old {
                write_unit(image, now, offset)?;
            }
            offset += unit as u64;
            (shown, below) = (rest, other);
            unit = cluster.min(shown.len());
        }
        at = offset;
        progress(at);
    }
    Ok(())
}

/// Whether all of a run is known to read as zeros in `image`, or to lie past its end.
fn is_zero_run(image: &Arc<dyn Image>, run: &super::Extent) -> bool {
    let there = image.size().saturating_sub(run.offset);
    there == 0
        || image
            .extent(run.offset, run.length.min(there))
            .is_ok_and(|e| e.kind.reads_zero() && e.length >= run.length.min(there))
}

fn write_unit(image: &Qcow2, data: &[u8], at: u64) -> Result<()> {
    match data.iter().all(|&byte| byte == 0) {
        true => image.write_zeroes(at, data.len() as u64, ZeroMode::MayUnmap),
        false => image.write_at(data, at),
    }
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
