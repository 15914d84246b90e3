//! What is said about a request that is done: bytes, time and rates, in qemu-io's form.

use std::time::{Duration, Instant};

use super::arguments::Letters;

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Two lines for people.
    Human,
    /// One line for programs (`-C`).
    Parsable,
    /// Nothing (`-q`).
    Quiet,
}

impl Form {
    /// What the letters of a command ask for.
    pub(super) fn of(letters: &Letters) -> Self {
        match (letters.has('q'), letters.has('C')) {
            (true, _) => Self::Quiet,
            (_, true) => Self::Parsable,
            _ => Self::Human,
        }
    }
}

/// A request that is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    /// What was done, as the report has it: `read`, `wrote`, `discard`.
    pub(super) verb: &'static str,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    pub(super) started: Instant,
}

impl Request {
    /// Prints the report.
    pub(super) fn report(&self, form: Form) {
        let time = self.started.elapsed();
        let rate = |amount: f64| amount / time.as_secs_f64().max(1e-9);
        let bytes = self.bytes as f64;
        match form {
            Form::Quiet => {}
            Form::Human => println!(
                "{} {}/{} bytes at offset {}\n{}, 1 ops; {} ({}/sec and {:.4} ops/sec)",
                self.verb,
                self.bytes,
                self.bytes,
                self.offset,
                amount(bytes),
                seconds(time),
                amount(rate(bytes)),
                rate(1.0)
            ),
            Form::Parsable => println!(
                "{},1,{},{:.3},{:.3}",
                self.bytes,
                clock(time),
                rate(bytes),
                rate(1.0)
            ),
        }
    }
}

/// A number of bytes with its unit: three decimals, or none.
pub(super) fn amount(bytes: f64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut scaled = bytes;
    let mut unit = "bytes";
    for next in UNITS {
        if scaled < 1024.0 {
            break;
        }
        scaled /= 1024.0;
        unit = next;
    }
    let text = match unit {
        "bytes" => format!("{scaled:.6}"),
        _ => format!("{scaled:.3}"),
    };
    let whole = text.find(".000").map_or(&*text, |end| &text[..end]);
    format!("{whole} {unit}")
}

fn seconds(time: Duration) -> String {
    match time.as_secs() {
        whole if whole >= 60 => clock(time),
        _ => format!("{:05.2} sec", time.as_secs_f64()),
    }
}

fn clock(time: Duration) -> String {
    let (hours, minutes) = (time.as_secs() / 3600, time.as_secs() / 60 % 60);
    let seconds = time.as_secs_f64() - (time.as_secs() / 60 * 60) as f64;
    format!("{hours}:{minutes:02}:{seconds:05.2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_three_decimals_or_none() {
        assert_eq!(amount(512.0), "512 bytes");
        assert_eq!(amount(65536.0), "64 KiB");
        assert_eq!(amount(1536.0), "1.500 KiB");
        assert_eq!(amount(0.0), "0 bytes");
    }
}
