//! Making new images in host files.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::open::lock;
use super::qcow2::address::GuestOffset;
use super::qcow2::create::{CreateOptions, DataFile, DataFileContents, Encryption};
use super::qcow2::header::Header;
use super::qcow2::preallocate::Preallocation;
use super::qcow2::{Parameters, Purpose, Qcow2, Writing};
use super::{ErrorKind, Format, Image, ImageError, Result, SECTOR, qcow2};
use crate::storage::file::Mode;
use crate::storage::{Access, FileId, FileStorage, Storage};

/// Makes an image at `path`, in place of what the file held. Nobody else may have it open.
///
/// Of `options`, a raw image takes the size only, one of the luks format the encryption too.
pub fn create(path: &Path, format: Format, options: &CreateOptions) -> Result<()> {
    create_locked(path, format, options).map_err(|e| e.in_file(path))
}

fn create_locked(path: &Path, format: Format, options: &CreateOptions) -> Result<()> {
    let storage = open_new(path)?;
    match (format, &options.data_file) {
        (Format::Qcow2, None) => qcow2::create::create(&storage, options),
        (Format::Qcow2, Some(file)) => create_with_data_file(path, storage, options, file),
        (Format::Raw, _) => create_raw(&storage, options.size),
        (Format::Luks, _) => match &options.encryption {
            Encryption::Luks(luks) => super::luks::create(&storage, options.size, luks),
            Encryption::None | Encryption::Aes => Err(ImageError::new(
                ErrorKind::Password,
                "an image of the luks format needs a password; give key-secret",
            )),
        },
    }
}

fn open_new(path: &Path) -> Result<FileStorage> {
    let storage =
        FileStorage::open(path, Mode::Create).map_err(|e| ImageError::io("create the image", e))?;
    lock(&storage, Access::Write)?;
    Ok(storage)
}

/// Makes an image and its external data file, which is emptied and as long as the disk.
fn create_with_data_file(
    path: &Path,
    storage: FileStorage,
    options: &CreateOptions,
    file: &DataFile,
) -> Result<()> {
    let data_path = path.parent().unwrap_or(Path::new("")).join(&file.name);
    let known = std::fs::metadata(&data_path).is_ok_and(|found| {
        let (device, inode) = (found.dev(), found.ino());
        storage.identity() == Some(FileId { device, inode })
    });
    if known {
        return Err(ImageError::new(
            ErrorKind::Invalid,
            "an image cannot be its own external data file",
        ));
    }
    let data = open_new(&data_path).map_err(|e| e.in_file(&data_path))?;
    let raw = file.contents == DataFileContents::Raw;
    create_raw(&data, options.size).map_err(|e| e.in_file(&data_path))?;
    qcow2::create::create(&storage, options)?;
    if raw {
        let storage: Arc<dyn Storage> = Arc::new(storage);
        let header = Header::read(&*storage, Purpose::Contents)?;
        let with = Parameters {
            data_file: Some(Arc::new(data)),
            secret: options.encryption.secret(),
            ..Parameters::new(Writing::Allowed)
        };
        let image = Qcow2::open(storage, header, with)?;
        let end = GuestOffset(image.size());
        image.preallocate(GuestOffset(0), end, Preallocation::Metadata)?;
        image.close()?;
    }
    Ok(())
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
