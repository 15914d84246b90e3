//! Under which name the program was called. As `qemu-img` or `qemu-io` it behaves as that program
//! does, texts of errors and guesses of formats included.

use std::ffi::OsStr;
use std::path::Path;

/// The programs that this one can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// Itself.
    Cowbox,
    /// QEMU's program for disk images.
    QemuImg,
    /// QEMU's program for single requests to disk images.
    QemuIo,
}

impl Program {
    /// The program that the first argument of the process names.
    pub(super) fn called(argument: Option<&OsStr>) -> Self {
        let name = argument.and_then(|path| Path::new(path).file_name());
        match name.and_then(OsStr::to_str) {
            Some("qemu-img") => Self::QemuImg,
            Some("qemu-io") => Self::QemuIo,
            _ => Self::Cowbox,
        }
    }

    /// What its messages start with.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cowbox => "cowbox",
            Self::QemuImg => "qemu-img",
            Self::QemuIo => "qemu-io",
        }
    }

    /// What the commands for disk images are called by.
    pub(super) fn image_tool(self) -> &'static str {
        match self {
            Self::Cowbox => "cowbox img",
            Self::QemuImg | Self::QemuIo => "qemu-img",
        }
    }

    /// Whether it is one of QEMU's.
    pub(super) fn is_qemu(self) -> bool {
        self != Self::Cowbox
    }

    /// The words of this program's command line that stand for the name.
    pub(super) fn command(self) -> &'static [&'static str] {
        match self {
            Self::Cowbox => &[],
            Self::QemuImg => &["img"],
            Self::QemuIo => &["img", "io"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_link_chooses_the_program() {
        let called = |name: &str| Program::called(Some(OsStr::new(name)));
        assert_eq!(called("/usr/bin/qemu-img"), Program::QemuImg);
        assert_eq!(called("qemu-io"), Program::QemuIo);
        assert_eq!(called("./cowbox"), Program::Cowbox);
        assert_eq!(called("qemu-img/cowbox"), Program::Cowbox);
    }
}
