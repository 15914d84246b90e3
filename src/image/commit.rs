//! Moving what an overlay holds down into its backing image.

use std::path::Path;
use std::sync::Arc;

use super::fields::{buffer_len, zeroed};
use super::qcow2::Purpose;
use super::qcow2::header::Header;
use super::{
    BackingPolicy, ErrorKind, ExtentKind, Format, Image, ImageError, OpenOptions, Result, ZeroMode,
    chain, open,
};
use crate::storage::FileStorage;
use crate::storage::file::Mode;

const PIECE: u64 = 2 << 20;

/// What becomes of the overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// It is emptied, so that everything shows through from below.
    Empty,
    /// It is left as it is; the caller drops the file.
    Keep,
}

/// Writes everything that the image at `path` holds by itself into its backing image, flushes
/// that, and then does `afterwards`. `progress` is told how many bytes are done.
pub fn commit(
    path: &Path,
    options: &OpenOptions,
    afterwards: Afterwards,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let base = open_base(path, options).map_err(|e| e.in_file(path))?;
    // Without its backing image, the overlay shows exactly what it holds by itself.
    let alone = OpenOptions {
        backing: BackingPolicy::Ignore,
        ..options.clone()
    };
    let overlay = open(path, &alone)?;
    if overlay.size() > base.size() {
        return Err(ImageError::new(
            ErrorKind::Unsupported,
            format!(
                "the disk ({} bytes) is longer than that of its backing image ({} bytes), which \
                 this version cannot lengthen",
                overlay.size(),
                base.size()
            ),
        )
        .in_file(path));
    }
    copy_down(&*overlay, &*base, progress)?;
    base.close()?;
    if let (Afterwards::Empty, Some(overlay)) = (afterwards, overlay.as_qcow2()) {
        overlay.empty()?;
    }
    overlay.close()
}

fn open_base(path: &Path, options: &OpenOptions) -> Result<Arc<dyn Image>> {
    let storage =
        FileStorage::open(path, Mode::Read).map_err(|e| ImageError::io("open the image", e))?;
    if super::open::decide_format(&storage, options)? == Format::Raw {
        return Err(no_backing());
    }
    let header = Header::read(&storage, Purpose::Contents)?;
    let name = header.backing_name.as_ref().ok_or_else(no_backing)?;
    let recorded = header.extensions.backing_format();
    let base = chain::resolve(name, Some(path), options.backing)?;
    let format = chain::format(recorded, options.backing_format, name)?;
    open(
        &base,
        &OpenOptions {
            format: Some(format),
            ..options.clone()
        },
    )
}

fn no_backing() -> ImageError {
    ImageError::new(
        ErrorKind::Invalid,
        "the image has no backing file to commit to",
    )
}

fn copy_down(overlay: &dyn Image, base: &dyn Image, progress: &mut dyn FnMut(u64)) -> Result<()> {
    let mut buf = zeroed(PIECE);
    let mut at = 0;
    while at < overlay.size() {
        let extent = overlay.extent(at, overlay.size() - at)?;
        let len = match extent.kind {
            ExtentKind::Unallocated => extent.length,
            ExtentKind::Zero { .. } => {
                base.write_zeroes(at, extent.length, ZeroMode::MayUnmap)?;
                extent.length
            }
            ExtentKind::Data { .. } | ExtentKind::Compressed => {
                let (piece, _) = buf.split_at_mut(buffer_len(extent.length.min(PIECE)));
                overlay.read_at(piece, at)?;
                base.write_at(piece, at)?;
                piece.len() as u64
            }
        };
        at += len;
        progress(at);
    }
    Ok(())
}
