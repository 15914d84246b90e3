//! `-p`: how far a command is: a bar on a terminal, else percentages on stdout in qemu-img's form.
//! And `-r`, which makes a command wait where it is ahead of the rate: a host's clock, which the
//! layers below do not read.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::super::program::Program;
use crate::image::pipeline::Done;

/// Shows how far a command is, or nothing, and keeps it from being too fast.
#[derive(Debug)]
pub(super) struct Progress {
    form: Form,
    total: u64,
    rate: Option<Rate>,
}

#[derive(Debug)]
enum Form {
    Hidden,
    /// Hundredths of a percent shown last.
    Text(u64),
    Bar(ProgressBar),
}

/// The most bytes a second.
#[derive(Debug)]
struct Rate {
    limit: u64,
    since: Instant,
}

impl Progress {
    /// Progress towards `total` bytes, shown if `-p` was given.
    pub(super) fn new(asked: bool, total: u64, program: Program) -> Self {
        let form = match asked {
            false => Form::Hidden,
            true if !program.is_qemu() && std::io::stdout().is_terminal() => Form::Bar(bar(total)),
            true => Form::Text(u64::MAX),
        };
        let mut progress = Self {
            form,
            total: total.max(1),
            rate: None,
        };
        progress.show(0);
        progress
    }

    /// The same with at most `limit` bytes a second.
    pub(super) fn limited(self, limit: Option<u64>) -> Self {
        let rate = limit.filter(|&limit| limit > 0).map(|limit| Rate {
            limit,
            since: Instant::now(),
        });
        Self { rate, ..self }
    }

    /// So much is done. Waits if that is too much.
    pub(super) fn at(&mut self, done: Done) {
        self.show(done.position);
        if let Some(rate) = &self.rate {
            rate.wait(done.copied);
        }
    }

    fn show(&mut self, position: u64) {
        match &mut self.form {
            Form::Hidden => {}
            Form::Bar(bar) => bar.set_position(position),
            Form::Text(last) => {
                let part = u128::from(position.min(self.total)) * 10_000 / u128::from(self.total);
                let part = u64::try_from(part).unwrap_or(10_000);
                if part != *last {
                    *last = part;
                    print!("    ({}.{:02}/100%)\r", part / 100, part % 100);
                    // A terminal that has gone away is no reason to stop the work.
                    let _ = std::io::stdout().flush();
                }
            }
        }
    }

    /// Everything is done.
    pub(super) fn end(mut self) {
        self.show(self.total);
        match self.form {
            Form::Hidden => {}
            Form::Text(_) => println!(),
            Form::Bar(bar) => bar.finish(),
        }
    }
}

fn bar(total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let form = "{bar:30} {percent:>3}%  {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(form) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

impl Rate {
    /// Sleeps until `copied` bytes may have been copied.
    fn wait(&self, copied: u64) {
        let nanoseconds = u128::from(copied) * 1_000_000_000 / u128::from(self.limit);
        let due = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        std::thread::sleep(due.saturating_sub(self.since.elapsed()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_makes_work_wait_until_it_is_due() {
        let rate = Rate {
            limit: 1 << 20,
            since: Instant::now(),
        };
        rate.wait(0);
        rate.wait(50 << 10);
        assert!(rate.since.elapsed() >= Duration::from_millis(45));
    }
}
