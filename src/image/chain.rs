//! Backing chains: which file a name inside an image means, and whether it may be opened.
//!
//! An image is data from strangers, and its backing name is a request to open a file of this
//! host. So: the format must be recorded and is never guessed; names that other programs take for
//! protocols or options are refused; the file must lie inside the image's own directory, unless
//! the user allows more; loops and endless chains end.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{BackingPolicy, ErrorKind, Escaped, Format, Guessing, ImageError, OpenOptions, Result};
use crate::storage::FileId;

/// A chain may have this many images.
pub(super) const MAX_DEPTH: usize = 256;

/// The files of a chain while it is being opened, from the top down.
#[derive(Debug, Default)]
pub(super) struct Seen {
    files: HashSet<FileId>,
    depth: usize,
}

fn a_loop() -> ImageError {
    refused("the backing chain is a loop: it comes back to this file".to_owned())
}

impl Seen {
    /// Adds a file; fails if the chain comes back to it or is too long.
    pub(super) fn add(&mut self, id: Option<FileId>) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(refused(format!(
                "the backing chain is longer than {MAX_DEPTH} images"
            )));
        }
        match id {
            Some(id) if !self.files.insert(id) => Err(a_loop()),
            _ => Ok(()),
        }
    }

    /// Fails if the file at `path` is in the chain already. One that cannot be looked at is not.
    pub(super) fn refuse_loop(&self, path: &Path) -> Result<()> {
        if self.contains(path) {
            return Err(a_loop());
        }
        Ok(())
    }

    /// Whether the file at `path` is in the chain.
    pub(super) fn contains(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|file| {
            let (device, inode) = (file.dev(), file.ino());
            self.files.contains(&FileId { device, inode })
        })
    }
}

/// The file that `name`, recorded in the image at `image`, means.
pub(super) fn resolve(name: &[u8], image: Option<&Path>, policy: BackingPolicy) -> Result<PathBuf> {
    let shown = Escaped(name);
    let text = std::str::from_utf8(name)
        .ok()
        .filter(|text| !text.contains('\0'));
    let Some(text) = text else {
        return Err(refused(format!(
            "the backing file name \"{shown}\" is not a file name"
        )));
    };
    if has_protocol(text) {
        return Err(refused(format!(
            "the backing file name \"{shown}\" names a protocol or options, and only plain file \
             names are accepted inside an image"
        )));
    }
    let directory = image.and_then(Path::parent).unwrap_or(Path::new(""));
    let path = directory.join(text);
    if policy == BackingPolicy::SameDirectory && !lies_inside(&path, directory) {
        return Err(refused(format!(
            "the backing file \"{shown}\" lies outside the image's own directory; allow it with \
             backing=any (--disk) or --backing-any (img) if you trust the image"
        )));
    }
    Ok(path)
}

/// The format of a backing file: the recorded one, else the one that the user gives; `None` where
/// it may be guessed from the file.
pub(super) fn format(
    recorded: Option<&[u8]>,
    options: &OpenOptions,
    name: &[u8],
) -> Result<Option<Format>> {
    let shown = Escaped(name);
    let Some(recorded) = recorded else {
        return match (options.backing_format, options.guessing) {
            (None, Guessing::Refused) => Err(refused(format!(
                "the image does not record the format of its backing file \"{shown}\", and it is \
                 not guessed; say backing-format=raw or backing-format=qcow2 (--disk), or \
                 --backing-format raw|qcow2 (img)"
            ))),
            (given, _) => Ok(given),
        };
    };
    let known = std::str::from_utf8(recorded)
        .ok()
        .and_then(Format::from_name);
    known.map(Some).ok_or_else(|| {
        ImageError::new(
            ErrorKind::Unsupported,
            format!(
                "the backing file \"{shown}\" has the unknown format \"{}\"",
                Escaped(recorded)
            ),
        )
    })
}

/// Whether other programs would take a name for more than a file's: `nbd:…`, `json:{…}`.
fn has_protocol(name: &str) -> bool {
    match (name.find(':'), name.find('/')) {
        (Some(colon), Some(slash)) => colon < slash,
        (colon, None) => colon.is_some(),
        (None, _) => false,
    }
}

/// Whether the file that `path` leads to lies in or under `directory`. A file that does not exist
/// counts as outside only if its name leads out.
fn lies_inside(path: &Path, directory: &Path) -> bool {
    let directory = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    let Ok(directory) = directory.canonicalize() else {
        return false;
    };
    match path.canonicalize() {
        Ok(path) => path.starts_with(&directory),
        Err(_) => path
            .parent()
            .map(|parent| {
                if parent.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    parent
                }
            })
            .and_then(|parent| parent.canonicalize().ok())
            .is_some_and(|parent| parent.starts_with(&directory)),
    }
}

fn refused(detail: String) -> ImageError {
    ImageError::new(ErrorKind::Refused, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_and_options_are_not_file_names() {
        for name in ["json:{}", "nbd://host", "nbd:unix:/x", "fat:rw:dir", "a:b"] {
            assert!(
                resolve(name.as_bytes(), None, BackingPolicy::Any).is_err(),
                "{name}"
            );
        }
        assert!(resolve(b"./a:b", None, BackingPolicy::Any).is_ok());
    }

    #[test]
    fn a_backing_file_outside_the_directory_needs_permission() {
        let image = Path::new("/tmp/x/image");
        assert!(resolve(b"/etc/passwd", Some(image), BackingPolicy::SameDirectory).is_err());
        assert!(resolve(b"../y", Some(image), BackingPolicy::SameDirectory).is_err());
        assert!(resolve(b"/etc/passwd", Some(image), BackingPolicy::Any).is_ok());
    }

    #[test]
    fn a_missing_format_is_not_guessed() {
        let error = format(None, &OpenOptions::default(), b"base.img").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().contains("backing-format=raw"));
    }
}
