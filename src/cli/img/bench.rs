//! `cowbox img bench`: many requests of one kind, and how long they take.
//!
//! As many are under way at a time as is asked for, each in a thread of its own.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::thread;
use std::time::Instant;

use clap::Args;

use super::super::Outcome;
use super::super::program::Program;
use super::cache_mode;
use super::options::{Opening, Use, format};
use super::size;
use crate::image::{Format, Image, ImageError};

/// More requests than this are not under way at a time.
const MOST_THREADS: u64 = 256;

/// Measure how fast requests to an image are.
#[derive(Debug, Args)]
pub(super) struct Bench {
    /// How many requests.
    #[arg(short = 'c', long, default_value_t = 75_000)]
    count: u64,
    /// How many at a time, at most 256.
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
    /// Flush without waiting for the requests under way.
    #[arg(long)]
    no_drain: bool,
    /// When writes become durable: none, writeback, writethrough, directsync or unsafe.
    #[arg(short = 't', long, default_value = "writeback")]
    cache: String,
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
        let mut source = self
            .opening
            .source(&self.file, self.format, purpose, program)?;
        source.options.cache = cache_mode::mode(&self.cache)?;
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

    /// Sends all requests, as many at a time as there are threads.
    fn requests(&self, image: &dyn Image, step: u64) -> Result<(), ImageError> {
        let sender = Sender {
            bench: self,
            image,
            step,
            next: AtomicU64::new(0),
            under_way: RwLock::new(()),
            failure: Mutex::new(None),
        };
        let threads = self.depth.min(self.count).clamp(1, MOST_THREADS);
        thread::scope(|scope| {
            // This thread is one of them, so that a host short of threads only lowers the depth.
            for _ in 1..threads {
                let spawned = thread::Builder::new().spawn_scoped(scope, || sender.run());
                if let Err(error) = spawned {
                    eprintln!("cannot send so many requests at a time: {error}");
                    break;
                }
            }
            sender.run();
        });
        let failure = sender.failure.into_inner();
        failure
            .unwrap_or_else(|e| e.into_inner())
            .map_or(Ok(()), Err)
    }
}

/// What the threads share that send requests.
struct Sender<'a> {
    bench: &'a Bench,
    image: &'a dyn Image,
    step: u64,
    /// The number of the next request.
    next: AtomicU64,
    /// Held for reading by requests, for writing by a flush that waits for them.
    under_way: RwLock<()>,
    failure: Mutex<Option<ImageError>>,
}

impl Sender<'_> {
    /// Sends one request after the other, until there are no more or one has failed.
    fn run(&self) {
        let len = usize::try_from(self.bench.buffer_size).unwrap_or(0);
        let mut buffer = vec![self.bench.pattern; len];
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.bench.count {
                return;
            }
            if let Err(error) = self.request(number, &mut buffer) {
                self.next.store(self.bench.count, Ordering::Relaxed);
                let mut first = self.failure.lock().unwrap_or_else(|e| e.into_inner());
                first.get_or_insert(error);
            }
        }
    }

    fn request(&self, number: u64, buffer: &mut [u8]) -> Result<(), ImageError> {
        let at = self.place(number);
        let interval = self.bench.flush_interval;
        let noted = (interval > 0).then(|| self.under_way.read());
        match self.bench.write {
            true => self.image.write_at(buffer, at)?,
            false => self.image.read_at(buffer, at)?,
        }
        drop(noted);
        if interval == 0 || !(number + 1).is_multiple_of(interval) {
            return Ok(());
        }
        let _alone = match self.bench.no_drain {
            true => None,
            false => Some(self.under_way.write().unwrap_or_else(|e| e.into_inner())),
        };
        self.image.flush()
    }

    /// Where a request goes: behind the end of the disk comes its start, and a request that would
    /// reach over the end goes to the start as a whole.
    fn place(&self, number: u64) -> u64 {
        let size = self.image.size();
        let at = u128::from(number) * u128::from(self.step) + u128::from(self.bench.offset);
        let at = u64::try_from(at % u128::from(size)).unwrap_or(0);
        match at + self.bench.buffer_size <= size {
            true => at,
            false => 0,
        }
    }
}
