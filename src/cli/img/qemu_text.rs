//! What QEMU's programs print where ours says something else: scripts compare it.

use std::error::Error;
use std::io;
use std::path::Path;

use super::super::program::Program;
use crate::image::{ErrorKind, ImageError};

/// The host's error number that stands for `error`.
pub(super) fn number(error: &ImageError) -> i32 {
    let host = error.host_error().and_then(io::Error::raw_os_error);
    host.unwrap_or(match error.kind() {
        ErrorKind::Io | ErrorKind::Corrupt | ErrorKind::OutOfRange => libc::EIO,
        ErrorKind::NoSpace => libc::ENOSPC,
        ErrorKind::Locked => libc::EAGAIN,
        ErrorKind::Unsupported => libc::ENOTSUP,
        ErrorKind::Refused | ErrorKind::ReadOnly | ErrorKind::Password => libc::EPERM,
        ErrorKind::NotFound => libc::ENOENT,
        ErrorKind::Invalid => libc::EINVAL,
    })
}

/// The text of a host's error number.
pub(super) fn of_number(number: i32) -> String {
    let text = io::Error::from_raw_os_error(number).to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_owned()
}

/// The text of `error` as C's `strerror` has it.
pub(super) fn of_error(error: &ImageError) -> String {
    of_number(number(error))
}

/// The failure to make the image at `path`, in the words of the program that this one is.
pub(super) fn of_creation(error: ImageError, path: &Path, program: Program) -> Box<dyn Error> {
    if !program.is_qemu() {
        return error.into();
    }
    let why = match error.host_error() {
        Some(_) => format!(
            "Could not create '{}': {}",
            path.display(),
            of_error(&error)
        ),
        None => words(error.detail()),
    };
    format!("{}: {why}", path.display()).into()
}

/// Texts that scripts compare: what ours contains, and what QEMU says.
const WORDS: [(&str, &str); 25] = [
    (
        "is not a power of two between 512",
        "Cluster size must be a power of two between 512 and 2048k",
    ),
    (
        "is not a power of two of at most 64",
        "Refcount width must be a power of two and may not exceed 64 bits",
    ),
    (
        "refcount widths other than 16",
        "Different refcount widths than 16 bits require compatibility level 1.1 or above (use \
         version=v3 or greater)",
    ),
    (
        "is too big for clusters of",
        "The image size is too large for file format 'qcow2' (try using a larger cluster size)",
    ),
    (
        "lazy refcounts need",
        "Lazy refcounts only supported with compatibility level 1.1 and above \
     (use version=v3 or greater)",
    ),
    ("is too big for any L1 table", "Image is too big"),
    ("is too small for a disk of", "L1 table is too small"),
    ("a header of", "qcow2 header exceeds cluster size"),
    (
        "does not lie inside the first cluster",
        "Invalid backing file offset",
    ),
    (
        "reaches past the first cluster",
        "Header extension too large",
    ),
    (
        "a refcount table of 0 bytes",
        "Image does not contain a reference count table",
    ),
    ("is impossible", "Reference count table too large"),
    (
        "the refcount table starts at",
        "Reference count table offset invalid",
    ),
    ("the L1 table of", "Active L1 table too large"),
    ("the L1 table starts at", "Active L1 table offset invalid"),
    ("snapshots are too many", "Snapshot table too large"),
    (
        "the snapshot table starts at",
        "Snapshot table offset invalid",
    ),
    ("which version 2 does not have", "Unsupported"),
    (
        "version 2 with snapshots cannot be resized",
        "Can't resize a v2 image which has snapshots",
    ),
    (
        "the backing chain is a loop",
        "Could not open backing file: loop",
    ),
    (
        "the format of backing file",
        "Backing file specified without backing format",
    ),
    (
        "has no key slots",
        "Can't amend encryption options - encryption not present",
    ),
    (
        "the luks image is encrypted",
        "Parameter 'key-secret' is required for cipher",
    ),
    (
        "give its password",
        "Parameter 'encrypt.key-secret' is required for cipher",
    ),
    (
        "the password is wrong",
        "Invalid password, cannot unlock any keyslot",
    ),
];

/// What stands before the format of a backing image that is not known.
const UNKNOWN_FORMAT: &str = "has the unknown format \"";

/// QEMU's words for one of our texts, or that text.
fn words(detail: &str) -> String {
    if let Some((_, features)) = detail.split_once("incompatible features that this version") {
        return unsupported_features(features);
    }
    if let Some((_, format)) = detail.split_once(UNKNOWN_FORMAT) {
        return format!(
            "Could not open backing file: Unknown driver '{}'",
            format.trim_end_matches('"')
        );
    }
    let known = WORDS.iter().find(|(ours, _)| detail.contains(ours));
    known.map_or(detail, |(_, theirs)| theirs).to_owned()
}

/// What QEMU says of features that are not known, from our list of them: `"name" (bit 61)`, or
/// `bit 61` without a name.
fn unsupported_features(list: &str) -> String {
    let list = list.split_once(": ").map_or(list, |(_, list)| list);
    let mut names: Vec<String> = Vec::new();
    let mut unnamed = 0u64;
    for part in list.split(", ") {
        if let Some(name) = part.strip_prefix('"') {
            names.push(name.split('"').next().unwrap_or("").to_owned());
        } else if let Some(Ok(bit)) = part.strip_prefix("bit ").map(str::parse::<u32>) {
            unnamed |= 1u64.checked_shl(bit).unwrap_or(0);
        }
    }
    if unnamed != 0 {
        names.push(format!("Unknown incompatible feature: {unnamed:x}"));
    }
    format!("Unsupported qcow2 feature(s): {}", names.join(", "))
}

/// The failure of a change to an open image, in the words of the program that this one is.
pub(super) fn of_change(error: ImageError, program: Program) -> Box<dyn Error> {
    match program.is_qemu() {
        true => words(error.detail()).into(),
        false => error.into(),
    }
}

/// Why the image at `opened` could not be opened.
pub(super) fn of_opening(error: &ImageError, opened: &Path) -> String {
    let file = error.file().unwrap_or(opened);
    let why = match (error.kind(), error.host_error()) {
        (ErrorKind::Locked, _) => format!(
            "Failed to get \"write\" lock\nIs another process using the image [{}]?",
            file.display()
        ),
        (_, Some(_)) => format!("Could not open '{}': {}", file.display(), of_error(error)),
        (_, None) => words(error.detail()),
    };
    match file == opened {
        true => why,
        false => format!("Could not open backing file: {why}"),
    }
}
