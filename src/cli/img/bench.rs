//! `cowbox img bench`: many requests of one kind, and how long they take.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Args;

use super::super::Outcome;
use super::super::program::Program;
use super::options::{Opening, Use, format};
use super::size;
use crate::image::{Format, Image, ImageError};

/// Measure how fast requests to an image are.
#[derive(Debug, Args)]
pub(super) struct Bench {
    /// How many requests.
    #[arg(short = 'c', long, default_value_t = 75_000)]
    count: u64,
    /// How many at a time, as far as there are processors.
    #[arg(short = 'd', long, default_value_t = 64)]
    depth: u64,
    /// Format of the image.
    #[arg(short = 'f', long, value_parser = format)]
    format: Option<Format>,
    /// Flush after so many writes.
    #[arg(long, value_name = "REQUESTS", default_value_t = 0)]
    flush_interval: u64,
    /// Start here.
    #[arg(short = 'o', long, default_value = "0", value_parser = size::parse)]
    offset: u64,
    /// The byte to write.
    #[arg(long, default_value_t = 0)]
    pattern: u8,
    /// Bytes of a request.
    #[arg(short = 's', long, default_value = "4096", value_parser = size::parse)]
    buffer_size: u64,
    /// Bytes from the start of a request to that of the next.
    #[arg(short = 'S', long, value_parser = size::parse)]
    step_size: Option<u64>,
    /// Write instead of reading.
    #[arg(short = 'w', long)]
    write: bool,
    /// Accepted for the sake of scripts: flushes do not wait for other requests.
    #[arg(long)]
    no_drain: bool,
    /// Accepted for the sake of scripts: when writes become durable.
    #[arg(short = 't', long)]
    cache: Option<String>,
    /// Accepted for the sake of scripts.
    #[arg(short = 'n', long)]
    native: bool,
    /// Accepted for the sake of scripts: how requests reach the host.
    #[arg(short = 'i', long)]
    aio: Option<String>,
    /// Say nothing.
    #[arg(short = 'q', long)]
    quiet: bool,
    #[command(flatten)]
    opening: Opening,
    /// The image.
    file: PathBuf,
}

impl Bench {
    pub(super) fn run(self, program: Program) -> Outcome {
        if self.flush_interval > 0 && !self.write {
            return Err("--flush-interval is only available in write tests".into());
        }
        let purpose = if self.write { Use::Change } else { Use::Read };
        let source = self
            .opening
            .source(&self.file, self.format, purpose, program)?;
        let image = source.open()?;
        if self.buffer_size == 0 || self.buffer_size > image.size() {
            return Err("the buffer does not fit the disk".into());
        }
        let step = self.step_size.filter(|&step| step > 0);
        let step = step.unwrap_or(self.buffer_size);
        if !self.quiet {
            println!(
                "Sending {} {} requests, {} bytes each, {} in parallel (starting at offset {}, \
                 step size {step})",
                self.count,
                if self.write { "write" } else { "read" },
                self.buffer_size,
                self.depth,
                self.offset
            );
            if self.flush_interval > 0 {
                println!("Sending flush every {} requests", self.flush_interval);
            }
        }
        let started = Instant::now();
        self.requests(&*image, step)?;
        if !self.quiet {
            println!(
                "Run completed in {:3.3} seconds.",
                started.elapsed().as_secs_f64()
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Sends all requests from as many threads as the depth and the processors allow.
    fn requests(&self, image: &dyn Image, step: u64) -> Result<(), ImageError> {
        let processors = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        let next = AtomicU64::new(0);
        let failure = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..self.depth.clamp(1, processors) {
                scope.spawn(|| {
                    if let Err(error) = self.worker(image, step, &next) {
                        next.store(self.count, Ordering::Relaxed);
                        let mut first = failure.lock().unwrap_or_else(|e| e.into_inner());
                        first.get_or_insert(error);
                    }
                });
            }
        });
        let failure = failure.into_inner().unwrap_or_else(|e| e.into_inner());
        failure.map_or(Ok(()), Err)
    }

    fn worker(&self, image: &dyn Image, step: u64, next: &AtomicU64) -> Result<(), ImageError> {
        let len = usize::try_from(self.buffer_size).unwrap_or(0);
        let mut buffer = vec![self.pattern; len];
        // Requests wrap around at the end of the disk, whole requests only.
        let places = (image.size() - self.buffer_size) / step + 1;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= self.count {
                return Ok(());
            }
            let at = self.offset + number * step;
            let at = match at + self.buffer_size <= image.size() {
                true => at,
                false => (number % places) * step,
            };
            match self.write {
                true => image.write_at(&buffer, at)?,
                false => image.read_at(&mut buffer, at)?,
            }
            if self.flush_interval > 0 && (number + 1).is_multiple_of(self.flush_interval) {
                image.flush()?;
            }
        }
    }
}
