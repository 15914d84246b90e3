//! Making new images in host files.

use std::path::Path;

use super::open::lock;
use super::qcow2::create::CreateOptions;
use super::{ErrorKind, Format, ImageError, Result, SECTOR, qcow2};
use crate::storage::file::Mode;
use crate::storage::{Access, FileStorage, Storage};

/// Makes an image at `path`, in place of what the file held. Nobody else may have it open.
///
/// Of `options`, a raw image takes the size only.
pub fn create(path: &Path, format: Format, options: &CreateOptions) -> Result<()> {
    create_locked(path, format, options).map_err(|e| e.in_file(path))
}

fn create_locked(path: &Path, format: Format, options: &CreateOptions) -> Result<()> {
    let storage =
        FileStorage::open(path, Mode::Create).map_err(|e| ImageError::io("create the image", e))?;
    lock(&storage, Access::Write)?;
    match format {
        Format::Qcow2 => qcow2::create::create(&storage, options),
        Format::Raw => create_raw(&storage, options.size),
    }
}

fn create_raw(storage: &dyn Storage, size: u64) -> Result<()> {
    let Some(size) = size.checked_next_multiple_of(SECTOR) else {
        return Err(ImageError::new(
            ErrorKind::Invalid,
            format!("{size} bytes are too many"),
        ));
    };
    let cut = storage.set_len(0).and_then(|()| storage.set_len(size));
    cut.map_err(|e| ImageError::io(&format!("make the file {size} bytes long"), e))
}
