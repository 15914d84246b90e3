//! `cowbox img convert`

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::super::Outcome;
use super::super::program::Program;
use super::options::{NewImage, Opening, format};
use super::progress::Progress;
use super::size;
use crate::image::convert::{ConvertOptions, Storing, TargetContents, WriteOrder, convert};
use crate::image::pipeline::Done;
use crate::image::qcow2::Level;
use crate::image::{Format, Image};

/// The most threads that may be asked for.
const MAX_THREADS: usize = 16;

/// Copy an image into another format.
#[derive(Debug, Args)]
pub(super) struct Convert {
    /// Store the data compressed (qcow2).
    #[arg(short = 'c', long)]
    compress: bool,
    /// Format of the source.
    #[arg(short = 'f', long, value_parser = format)]
    source_format: Option<Format>,
    /// Format of the target.
    #[arg(short = 'O', long, default_value = "raw", value_parser = format)]
    target_format: Format,
    /// Options of the target's format, such as cluster_size=64k,compat=1.1.
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Vec<String>,
    /// Backing image of the target: only what the source itself holds is copied.
    #[arg(short = 'B', long = "backing", value_name = "BASE")]
    backing: Option<String>,
    /// Format of the backing image.
    #[arg(short = 'F', long = "backing-fmt", value_name = "FMT")]
    backing_format: Option<String>,
    /// Copy this internal snapshot of the source.
    #[arg(short = 'l', value_name = "SNAPSHOT")]
    snapshot: Option<String>,
    /// Write into a target that exists.
    #[arg(short = 'n')]
    no_create: bool,
    /// The target that exists reads as zeros.
    #[arg(long)]
    target_is_zero: bool,
    /// Do not write runs of zeros of this many bytes; 0 writes everything.
    #[arg(short = 'S', value_name = "SIZE", value_parser = size::parse)]
    sparse: Option<u64>,
    /// So many threads work at it; without this, two for each processor.
    #[arg(short = 'm', value_name = "THREADS", value_parser = threads)]
    parallel: Option<usize>,
    /// Take space in the target as data comes, in place of the order of the disk.
    #[arg(short = 'W')]
    out_of_order: bool,
    /// Accepted for the sake of scripts.
    #[arg(short = 'C')]
    copy_range: bool,
    /// How much work goes into compression: default, fast, or the number of a level (zlib 1 to 9,
    /// zstd 1 to 22).
    #[arg(long, value_name = "LEVEL", requires = "compress", value_parser = level)]
    compression_level: Option<Level>,
    /// Accepted for the sake of scripts: when writes become durable. They are at the end.
    #[arg(short = 't', value_name = "CACHE")]
    cache: Option<String>,
    /// Accepted for the sake of scripts.
    #[arg(short = 'T', value_name = "CACHE")]
    source_cache: Option<String>,
    /// Copy at most so many bytes a second.
    #[arg(short = 'r', value_name = "RATE", value_parser = size::parse)]
    rate_limit: Option<u64>,
    /// Show how far it is.
    #[arg(short = 'p', long)]
    progress: bool,
    /// Say nothing.
    #[arg(short = 'q', long)]
    quiet: bool,
    #[command(flatten)]
    opening: Opening,
    /// The images to copy, one behind the other, and the image to make.
    #[arg(required = true, num_args = 2..)]
    files: Vec<PathBuf>,
}

impl Convert {
    pub(super) fn run(self, program: Program) -> Outcome {
        let Some((target, sources)) = self.files.split_last() else {
            return Err("Must specify image file name".into());
        };
        self.check(sources.len(), program)?;
        let sources = self.open_sources(sources, program)?;
        let size = sources.iter().map(|source| source.size()).sum();
        let target = self.open_target(target, size, program)?;
        if target.size() < size {
            return Err("output file is smaller than input file".into());
        }
        let mut options = self.options(target.backing().is_some());
        let progress = Progress::new(self.progress && !self.quiet, size, program);
        let mut progress = progress.limited(self.rate_limit);
        let mut before = Done::default();
        for source in sources {
            let mut last = before;
            convert(&*source, &*target, options, &mut |done| {
                last = Done {
                    position: before.position + done.position,
                    copied: before.copied + done.copied,
                };
                progress.at(last);
            })?;
            before = last;
            options.offset += source.size();
        }
        progress.end();
        Ok(ExitCode::SUCCESS)
    }

    fn check(&self, sources: usize, program: Program) -> Result<(), String> {
        let why = if self.copy_range && self.compress {
            "Cannot enable copy offloading when -c is used"
        } else if self.copy_range && self.sparse.is_some() {
            "Cannot enable copy offloading when -S is used"
        } else if self.no_create && !self.options.is_empty() && program.is_qemu() {
            eprintln!(
                "{}: -o has no effect when skipping image creation",
                program.name()
            );
            return Ok(());
        } else if self.target_is_zero && !self.no_create {
            "--target-is-zero requires use of -n flag"
        } else if self.target_is_zero && self.backing.is_some() {
            "Cannot use --target-is-zero when the destination image has a backing file"
        } else if self.compress && self.target_format != Format::Qcow2 {
            "Compression not supported for this file format"
        } else if self.backing.is_some() && sources > 1 {
            "Having a backing file for the target makes no sense when concatenating multiple \
             input images"
        } else if self.snapshot.is_some() && sources > 1 {
            "No support for concatenating multiple snapshot"
        } else {
            return Ok(());
        };
        Err(why.to_owned())
    }

    fn open_sources(
        &self,
        files: &[PathBuf],
        program: Program,
    ) -> Result<Vec<Arc<dyn Image>>, Box<dyn Error>> {
        let open = |file: &PathBuf| {
            let mut source = self.opening.reading(file, self.source_format, program)?;
            source.options.snapshot = self.snapshot.as_deref().map(snapshot_name);
            source.open()
        };
        files.iter().map(open).collect()
    }

    /// The target, made new unless `-n` says that it exists.
    fn open_target(
        &self,
        target: &Path,
        size: u64,
        program: Program,
    ) -> Result<Arc<dyn Image>, Box<dyn Error>> {
        if self.no_create {
            return self
                .opening
                .writing(target, Some(self.target_format), program)?
                .open();
        }
        let mut new = NewImage::parse(&self.options)?;
        let backing = self.backing.clone().or(new.backing_file.take());
        let backing_format = self.backing_format.clone().or(new.backing_format.take());
        if let Some(base) = backing {
            let Some(format) = backing_format else {
                return Err(match program.is_qemu() {
                    true => "Use of backing file requires explicit backing format".to_owned(),
                    false => format!(
                        "the format of backing file \"{}\" is not guessed; add -F raw or -F qcow2",
                        base.escape_debug()
                    ),
                }
                .into());
            };
            new.options.backing = Some((base, format));
        }
        if self.compress && new.has_preallocation() {
            return Err("Compression and preallocation not supported at the same time".into());
        }
        new.options.size = size;
        new.create(target, self.target_format, &self.opening, program)?
            .open()
    }

    fn options(&self, backed: bool) -> ConvertOptions {
        let default = ConvertOptions::default();
        ConvertOptions {
            sparse: self.sparse.unwrap_or(default.sparse),
            storing: match self.compress {
                true => Storing::Compressed,
                false => Storing::Plain,
            },
            target: match (self.no_create, backed) {
                (true, _) if self.target_is_zero => TargetContents::New,
                (true, _) => TargetContents::Existing,
                (false, true) => TargetContents::Backed,
                (false, false) => TargetContents::New,
            },
            level: self.compression_level.unwrap_or_default(),
            threads: self.parallel.unwrap_or(default.threads),
            order: match self.out_of_order {
                true => WriteOrder::Any,
                false => WriteOrder::Disk,
            },
            ..default
        }
    }
}

fn threads(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|n| (1..=MAX_THREADS).contains(n));
    number.ok_or_else(|| {
        format!(
            "Invalid number of coroutines. Allowed number of coroutines is between 1 and \
             {MAX_THREADS}"
        )
    })
}

fn level(text: &str) -> Result<Level, String> {
    Level::from_name(text).ok_or_else(|| {
        format!(
            "\"{}\" is not a level; there are default, fast, and numbers (zlib 1 to 9, zstd 1 to 22)",
            text.escape_debug()
        )
    })
}

/// The snapshot that `-l` names: an identifier or a name, also as `snapshot.name=…`.
fn snapshot_name(text: &str) -> Vec<u8> {
    let keyed = ["snapshot.name=", "snapshot.id="]
        .iter()
        .find_map(|key| text.strip_prefix(key));
    keyed.unwrap_or(text).as_bytes().to_vec()
}
