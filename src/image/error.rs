//! What can go wrong with an image, said in one line: what failed, where, and what to do next.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The result of everything in `image`.
pub type Result<T, E = ImageError> = std::result::Result<T, E>;

/// The failure of an operation on an image.
#[derive(Debug)]
pub struct ImageError {
    kind: ErrorKind,
    detail: String,
    offset: Option<u64>,
    file: Option<PathBuf>,
    source: Option<io::Error>,
}

/// The kinds that callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The host failed to read, write, flush or open; the source says how.
    Io,
    /// The host has no room left. The same request may succeed later.
    NoSpace,
    /// Another opener excludes this use.
    Locked,
    /// The file is no valid image of its format, or contradicts itself.
    Corrupt,
    /// The image uses a feature that this version does not have.
    Unsupported,
    /// The policy forbids it: a guess of a format, a file outside the image's directory.
    Refused,
    /// The image cannot be written.
    ReadOnly,
    /// The request reaches past the end of the image.
    OutOfRange,
    /// What the request names is not there: a snapshot, a bitmap.
    NotFound,
    /// A password is missing.
    Password,
    /// The caller's parameters make no sense together.
    Invalid,
}

impl ImageError {
    /// An error of a kind; `detail` says what is wrong and, where that helps, what to do next.
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            offset: None,
            file: None,
            source: None,
        }
    }

    /// A contradiction inside the image.
    pub fn corrupt(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, detail)
    }

    /// A host failure while doing what `action` says ("write the L1 table").
    pub fn io(action: &str, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
            io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
            _ => ErrorKind::Io,
        };
        let mut error = Self::new(kind, format!("cannot {action}"));
        error.source = Some(source);
        error
    }

    /// The same error with the byte offset (in the guest's disk or in the host file, as the text
    /// says) where it happened.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Self {
        self.offset.get_or_insert(offset);
        self
    }

    /// The same error with the file it is about; the innermost file stays.
    #[must_use]
    pub fn in_file(mut self, path: &Path) -> Self {
        self.file.get_or_insert_with(|| path.to_path_buf());
        self
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where, in bytes, if that is known.
    pub fn offset(&self) -> Option<u64> {
        self.offset
    }

    /// The file that it is about, if that is known.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What is wrong, without the file, the place and the host's reason.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The host's reason, if the host failed.
    pub fn host_error(&self) -> Option<&io::Error> {
        self.source.as_ref()
    }
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", Escaped(file.as_os_str().as_encoded_bytes()))?;
        }
        f.write_str(&self.detail)?;
        if let Some(offset) = self.offset {
            write!(f, " at offset {offset:#x}")?;
        }
        match &self.source {
            Some(source) => write!(f, ": {}", Reason(source)),
            None => Ok(()),
        }
    }
}

impl Error for ImageError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|e| e as _)
    }
}

/// A host error without the number that std appends.
struct Reason<'a>(&'a io::Error);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        f.write_str(text.split(" (os error").next().unwrap_or(&text))
    }
}

/// A name from an image or a command line, safe to print on a terminal: control characters and
/// bad UTF-8 are shown as escapes.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    c if c.is_control() || is_direction_mark(c) => {
                        write!(f, "{}", c.escape_debug())?
                    }
                    c => write!(f, "{c}")?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Unicode's embedding, override and isolate marks, which reorder what a terminal shows.
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_with_what_where_and_why() {
        let error = ImageError::io(
            "write guest data",
            io::Error::from_raw_os_error(libc::ENOSPC),
        )
        .at(0x1000)
        .in_file(Path::new("a\nb.qcow2"));
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert_eq!(
            error.to_string(),
            "a\\nb.qcow2: cannot write guest data at offset 0x1000: No space left on device"
        );
    }

    #[test]
    fn hostile_names_are_printed_escaped() {
        assert_eq!(Escaped(b"\x1b[2J\xff\0").to_string(), "\\u{1b}[2J\\xff\\0");
    }
}
