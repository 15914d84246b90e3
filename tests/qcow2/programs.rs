//! QEMU's programs and our own, run as a user runs them, and our library beside them.
//!
//! All of it is patient with locks: a program that another test is just starting holds the files
//! of this process, and their locks, until it has become that program. And with qemu-img, which
//! gives up making a LUKS header when a busy host does not let it measure its own speed.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use cowbox::image::qcow2::Qcow2;
use cowbox::image::qcow2::create::CreateOptions;
use cowbox::image::{self, ErrorKind, Format, Image, OpenOptions};

/// How often something is tried that is hindered for a moment, 10 ms apart.
const ATTEMPTS: usize = 500;

/// Our binary.
pub(crate) const COWBOX: &str = env!("CARGO_BIN_EXE_cowbox");

/// Runs a program to its end, however it ends.
pub(crate) fn run<A: AsRef<OsStr>>(program: &str, args: &[A]) -> Output {
    let hindered = |output: &Output| {
        let errors = String::from_utf8_lossy(&output.stderr);
        let hindrances = [" lock", "in use", "accurate CPU usage"];
        !output.status.success() && hindrances.iter().any(|words| errors.contains(words))
    };
    let once = || {
        let output = Command::new(program).args(args).output();
        output.unwrap_or_else(|e| panic!("{program}: {e}; install qemu-utils"))
    };
    for _ in 0..ATTEMPTS {
        let output = once();
        if !hindered(&output) {
            return output;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    once()
}

/// Runs a program that must succeed; gives what it printed.
pub(crate) fn qemu<A: AsRef<OsStr>>(program: &str, args: &[A]) -> String {
    let output = run(program, args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    let args: Vec<_> = args.iter().map(AsRef::as_ref).collect();
    assert!(
        output.status.success(),
        "{program} {args:?}: {text}{errors}"
    );
    text
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Tries again while the image is locked.
pub(crate) fn patiently<T>(mut action: impl FnMut() -> image::Result<T>) -> image::Result<T> {
    for _ in 0..ATTEMPTS {
        match action() {
            Err(error) if error.kind() == ErrorKind::Locked => {
                std::thread::sleep(Duration::from_millis(10));
            }
            done => return done,
        }
    }
    action()
}

/// Opens an image that must open.
pub(crate) fn open(path: &Path, options: &OpenOptions) -> Arc<dyn Image> {
    patiently(|| image::open(path, options)).unwrap()
}

/// Opens a qcow2 image for changes of its structure.
pub(crate) fn open_qcow2(path: &Path, options: &OpenOptions) -> Qcow2 {
    patiently(|| image::open_qcow2(path, options)).unwrap()
}

/// Makes a qcow2 image.
pub(crate) fn create(path: &Path, options: &CreateOptions) {
    patiently(|| image::create(path, Format::Qcow2, options)).unwrap();
}

/// All bytes of a disk.
pub(crate) fn contents(path: &Path, options: &OpenOptions) -> Vec<u8> {
    let image = open(path, options);
    let mut bytes = vec![0; image.size() as usize];
    image.read_at(&mut bytes, 0).unwrap();
    bytes
}

/// Checks an image here and by QEMU: nothing may be wrong with it, and nothing lost in it.
pub(crate) fn assert_clean(path: &Path) {
    qemu("qemu-img", &["check", "-f", "qcow2", text(path)]);
    assert_clean_here(path);
}

/// Checks an image here: nothing may be wrong with it, and nothing lost in it.
pub(crate) fn assert_clean_here(path: &Path) {
    let report = patiently(|| image::check(path, &OpenOptions::read_only(), None));
    let report = report.unwrap().unwrap();
    let found = (report.corruptions, report.leaks);
    assert_eq!(found, (0, 0), "{:?}", report.messages);
}
