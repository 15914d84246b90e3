//! `-p`: how far a command is, on stdout, in qemu-img's form.

use std::io::Write;

/// Shows percentages, or nothing.
#[derive(Debug)]
pub(super) struct Progress {
    shown: bool,
    total: u64,
    /// Hundredths of a percent shown last.
    last: u64,
}

impl Progress {
    /// Progress towards `total` bytes, shown if `-p` was given.
    pub(super) fn new(asked: bool, total: u64) -> Self {
        let mut progress = Self {
            shown: asked,
            total: total.max(1),
            last: u64::MAX,
        };
        progress.at(0);
        progress
    }

    /// `done` bytes are done.
    pub(super) fn at(&mut self, done: u64) {
        let part = u128::from(done.min(self.total)) * 10_000 / u128::from(self.total);
        let part = u64::try_from(part).unwrap_or(10_000);
        if self.shown && part != self.last {
            self.last = part;
            print!("    ({}.{:02}/100%)\r", part / 100, part % 100);
            // A terminal that has gone away is no reason to stop the work.
            let _ = std::io::stdout().flush();
        }
    }

    /// Everything is done.
    pub(super) fn end(mut self) {
        self.at(self.total);
        if self.shown {
            println!();
        }
    }
}
