//! External data files: which file holds the guest data of an image, and whether it may be opened.
//!
//! A name inside an image is a request of a stranger, so the rules are those of backing files: a
//! plain name, inside the image's own directory unless the user allows more. A file that the user
//! names is opened as it is. Relative names count from the directory of the image. Format
//! description, "External data file name string".

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::chain::{self, Seen};
use super::open::open_file;
use super::qcow2::header::Header;
use super::{BackingPolicy, ErrorKind, Escaped, ImageError, OpenOptions, Result};
use crate::storage::Storage;

/// Opens and locks the data file of the image at `image`; `None` if its data lies in itself.
pub(super) fn open(
    header: &Header,
    image: Option<&Path>,
    options: &OpenOptions,
    seen: &mut Seen,
) -> Result<Option<Arc<dyn Storage>>> {
    if !header.geometry.has_external_data() {
        return Ok(None);
    }
    let path = find(header, image, options)?;
    let opened = open_found(&path, options, seen);
    opened.map(Some).map_err(|e| e.in_file(&path))
}

fn open_found(path: &Path, options: &OpenOptions, seen: &mut Seen) -> Result<Arc<dyn Storage>> {
    if seen.contains(path) {
        return Err(ImageError::new(
            ErrorKind::Refused,
            "an image names this file as its external data file, but it is an image of the chain",
        ));
    }
    let storage = open_file(path, options)?;
    seen.add(storage.identity())?;
    Ok(storage)
}

fn find(header: &Header, image: Option<&Path>, options: &OpenOptions) -> Result<PathBuf> {
    if let Some(given) = &options.data_file {
        return Ok(given.clone());
    }
    let Some(name) = header.extensions.data_file() else {
        return Err(ImageError::new(
            ErrorKind::Invalid,
            "the data of the image lies in another file, which the image does not name",
        ));
    };
    resolve(name, image, options.backing)
}

/// The file that `name`, recorded in the image at `image` as its data file, means.
fn resolve(name: &[u8], image: Option<&Path>, policy: BackingPolicy) -> Result<PathBuf> {
    let policy = match policy {
        BackingPolicy::Any => BackingPolicy::Any,
        // Without its data an image is nothing, so looking at one layer takes its data file too.
        BackingPolicy::SameDirectory | BackingPolicy::Ignore => BackingPolicy::SameDirectory,
    };
    chain::resolve(name, image, policy).map_err(|error| {
        let text = format!("external data file \"{}\": {error}", Escaped(name));
        ImageError::new(error.kind(), text)
    })
}
