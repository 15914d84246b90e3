//! Changing the length of a disk, in whatever format it is.

use std::path::Path;

use super::open::{decide_format, open_file};
use super::qcow2::preallocate::Preallocation;
use super::{ErrorKind, Format, ImageError, OpenOptions, Result, SECTOR, open_qcow2};
use crate::storage::{Allocation, Durability, Storage};

/// Zeros are written in pieces of this size.
const PIECE: usize = 1 << 20;

/// Makes the disk at `path` `size` bytes long, rounded up to whole sectors; a new part gets space
/// as `preallocation` says.
pub fn resize(
    path: &Path,
    options: &OpenOptions,
    size: u64,
    preallocation: Preallocation,
) -> Result<()> {
    let format = open_file(path, options)
        .and_then(|storage| decide_format(&*storage, options))
        .map_err(|e| e.in_file(path))?;
    match format {
        Format::Qcow2 => open_qcow2(path, options)?.resize(size, preallocation),
        Format::Raw => {
            open_file(path, options).and_then(|storage| resize_raw(&*storage, size, preallocation))
        }
        Format::Luks => open_file(path, options)
            .and_then(|storage| super::luks::resize(&*storage, size, preallocation)),
    }
    .map_err(|e| e.in_file(path))
}

/// Makes the raw disk in `storage` `size` bytes long.
pub(super) fn resize_raw(
    storage: &dyn Storage,
    size: u64,
    preallocation: Preallocation,
) -> Result<()> {
    let failed = |e| ImageError::io("change the length of the file", e);
    let size = size
        .checked_next_multiple_of(SECTOR)
        .ok_or_else(|| ImageError::new(ErrorKind::Invalid, format!("{size} bytes are too many")))?;
    let old = storage.len().map_err(failed)?;
    let added = size.saturating_sub(old);
    match preallocation {
        Preallocation::Off => storage.set_len(size),
        Preallocation::Metadata => {
            return Err(ImageError::new(
                ErrorKind::Unsupported,
                "a raw image has no metadata to preallocate",
            ));
        }
        Preallocation::Falloc => storage
            .set_len(size)
            .and_then(|()| storage.zero(old.min(size), added, Allocation::Keep)),
        Preallocation::Full => write_zeros(storage, old, size),
    }
    .and_then(|()| storage.flush(Durability::All))
    .map_err(failed)
}

fn write_zeros(storage: &dyn Storage, start: u64, end: u64) -> std::io::Result<()> {
    let zeros = vec![0; PIECE];
    let mut at = start;
    while at < end {
        let len = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
        storage.write_at(zeros.split_at(len).0, at)?;
        at += len as u64;
    }
    storage.set_len(end)
}
