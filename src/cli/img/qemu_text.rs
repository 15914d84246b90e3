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

/// The failure of a change to an open image, in the words of the program that this one is.
pub(super) fn of_change(error: ImageError, program: Program) -> Box<dyn Error> {
    match program.is_qemu() {
        true => error.detail().into(),
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
        (_, None) => error.detail().to_owned(),
    };
    match file == opened {
        true => why,
        false => format!("Could not open backing file: {why}"),
    }
}
