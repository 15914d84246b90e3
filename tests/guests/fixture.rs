//! Files and host tools that tests need, and directories that go away with the test.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, Skip};

/// A file that `tests/guests/build` makes.
pub(crate) fn guest(name: &str) -> Result<PathBuf, Skip> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guests = std::env::var_os("COWBOX_GUESTS")
        .map_or_else(|| root.join("target/guests"), |path| root.join(path));
    let path = guests.join(name);
    if path.exists() {
        Ok(path)
    } else {
        Err(Skip(format!(
            "{} is missing: run tests/guests/build",
            path.display()
        )))
    }
}

/// A file of the repository.
pub(crate) fn committed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Skips the test if the host has no such command.
pub(crate) fn tool(name: &str, package: &str) -> Outcome {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|directory| directory.join(name).is_file());
    if found {
        Ok(())
    } else {
        Err(Skip(format!("{name} is missing: install {package}")))
    }
}

/// A directory below `target/tmp`, removed at the end of a test that passes.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// `name` must be the test's own: tests run at the same time.
    pub(crate) fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("guests-{name}"));
        if path.exists() {
            std::fs::remove_dir_all(&path).unwrap();
        }
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // A directory that stays is only untidy.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// Runs a host command to its end and returns its standard output; panics if it fails.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
