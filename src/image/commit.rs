//! Moving what an overlay holds down into its backing image.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::extent::Extents;
use super::fields::{buffer_len, zeroed};
use super::open::{below, same_file};
use super::pipeline::{self, Done, Progress};
use super::qcow2::Purpose;
use super::qcow2::header::Header;
use super::qcow2::preallocate::Preallocation;
use super::{
    ErrorKind, ExtentKind, Format, Image, ImageError, OpenOptions, Result, ZeroMode, chain, open,
    resize,
};
use crate::storage::FileStorage;
use crate::storage::file::Mode;

/// Bytes that a thread takes on at a time; a multiple of most cluster sizes.
const PIECE: u64 = 1 << 20;

/// What becomes of the overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// It is emptied, so that everything shows through from below.
    Empty,
    /// It is left as it is; the caller drops the file.
    Keep,
}

/// Writes everything that the image at `path` holds by itself into its backing image, flushes
/// that, and then does `afterwards`.
pub fn commit(
    path: &Path,
    options: &OpenOptions,
    afterwards: Afterwards,
    progress: Progress<'_>,
) -> Result<()> {
    let base = backing_of(path, options)?.ok_or_else(|| no_backing().in_file(path))?;
    let overlay = open_above(path, options, &base.path)?;
    let target = open_target(&base, overlay.size())?;
    commit_between(&*overlay, &*target, afterwards, progress)
}

/// Writes everything that `overlay`, which is open without what is below it, holds into `base`,
/// which is not shorter, flushes that, and then does `afterwards`.
pub fn commit_between(
    overlay: &dyn Image,
    base: &dyn Image,
    afterwards: Afterwards,
    progress: Progress<'_>,
) -> Result<()> {
    copy_down(overlay, base, progress)?;
    base.close()?;
    if let (Afterwards::Empty, Some(overlay)) = (afterwards, overlay.as_qcow2()) {
        overlay.empty()?;
    }
    overlay.close()
}

/// Writes everything that the image at `path` shows and the image `base` of its chain does not
/// hold into that, and flushes it. The images above it stay as they are.
pub fn commit_to(
    path: &Path,
    options: &OpenOptions,
    base: &Path,
    progress: Progress<'_>,
) -> Result<()> {
    let mut layer = Layer {
        path: path.to_path_buf(),
        options: options.clone(),
    };
    for _ in 0..chain::MAX_DEPTH {
        let Some(below) = backing_of(&layer.path, &layer.options)? else {
            break;
        };
        if same_file(&below.path, base) {
            let overlay = open_above(path, options, &below.path)?;
            let target = open_target(&below, overlay.size())?;
            return commit_between(&*overlay, &*target, Afterwards::Keep, progress);
        }
        layer = below;
    }
    Err(ImageError::new(
        ErrorKind::NotFound,
        format!(
            "Did not find '{}' in the backing chain of '{}'",
            base.display(),
            path.display()
        ),
    ))
}

/// An image of a chain, and how it is opened for writing.
struct Layer {
    path: PathBuf,
    options: OpenOptions,
}

/// The backing image of the image at `path`.
fn backing_of(path: &Path, options: &OpenOptions) -> Result<Option<Layer>> {
    let found = || {
        let storage =
            FileStorage::open(path, Mode::Read).map_err(|e| ImageError::io("open the image", e))?;
        if super::open::decide_format(&storage, options)? != Format::Qcow2 {
            return Ok(None);
        }
        let header = Header::read(&storage, Purpose::Contents)?;
        let found = below(&header, Some(path), options)?;
        let read_only = options.read_only;
        Ok(found.map(|(path, below)| Layer {
            path,
            options: OpenOptions { read_only, ..below },
        }))
    };
    found().map_err(|e: ImageError| e.in_file(path))
}

/// The image at `path` with its chain down to the image above `base`: what it shows and `base`
/// does not hold.
fn open_above(path: &Path, options: &OpenOptions, base: &Path) -> Result<Arc<dyn Image>> {
    let above = OpenOptions {
        end_above: Some(base.to_path_buf()),
        ..options.clone()
    };
    open(path, &above)
}

/// Opens `base` for writing, and makes it `size` bytes long where it is shorter.
fn open_target(base: &Layer, size: u64) -> Result<Arc<dyn Image>> {
    let target = open(&base.path, &base.options)?;
    if size <= target.size() {
        return Ok(target);
    }
    drop(target);
    resize(&base.path, &base.options, size, Preallocation::Off)?;
    open(&base.path, &base.options)
}

fn no_backing() -> ImageError {
    ImageError::new(
        ErrorKind::Invalid,
        "the image has no backing file to commit to",
    )
}

fn copy_down(overlay: &dyn Image, base: &dyn Image, progress: Progress<'_>) -> Result<()> {
    let mut done = Done::default();
    let mut extents = Extents::new(overlay);
    let mut next = || {
        while done.position < overlay.size() {
            let at = done.position;
            let to_edge = PIECE - at % PIECE;
            let extent = extents.at(at)?;
            let len = match extent.kind {
                ExtentKind::Unallocated => extent.length,
                ExtentKind::Zero { .. } => {
                    base.write_zeroes(at, extent.length, ZeroMode::MayUnmap)?;
                    extent.length
                }
                ExtentKind::Data { .. } | ExtentKind::Compressed => {
                    let len = extent.length.min(to_edge);
                    done.copied += len;
                    len
                }
            };
            done.position += len;
            progress(done);
            if !matches!(
                extent.kind,
                ExtentKind::Unallocated | ExtentKind::Zero { .. }
            ) {
                return Ok(Some((at, len)));
            }
        }
        Ok(None)
    };
    pipeline::run(
        pipeline::usual_threads(),
        &|| zeroed(PIECE),
        &mut next,
        &|buf, (at, len), _| {
            let (piece, _) = buf.split_at_mut(buffer_len(len));
            overlay.read_at(piece, at)?;
            base.write_at(piece, at)
        },
    )
}
