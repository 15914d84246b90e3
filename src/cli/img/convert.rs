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
use super::source::Source;
use super::{cache_mode, qemu_text, size};
use crate::image::convert::{ConvertOptions, Storing, TargetContents, WriteOrder, convert};
use crate::image::joined::Joined;
use crate::image::qcow2::Level;
use crate::image::qcow2::bitmaps::NamedBits;
use crate::image::salvage::{Report, Salvaged};
use crate::image::{Escaped, Format, Image};

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
    #[arg(short = 'O', long, value_parser = format)]
    target_format: Option<Format>,
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
    /// When writes become durable: none, writeback, writethrough, directsync or unsafe. By default
    /// they are at the end.
    #[arg(short = 't', value_name = "CACHE")]
    cache: Option<String>,
    /// The same for the source, which is only read: none and directsync go around the host's page
    /// cache.
    #[arg(short = 'T', value_name = "CACHE")]
    source_cache: Option<String>,
    /// Where the source cannot be read, take zeros, say so, and go on.
    #[arg(long)]
    salvage: bool,
    /// Copy the dirty bitmaps of the source too (qcow2).
    #[arg(long)]
    bitmaps: bool,
    /// With --bitmaps, leave those out that are inconsistent.
    #[arg(long)]
    skip_broken_bitmaps: bool,
    /// The target is given as driver options, and exists (-n).
    #[arg(long)]
    target_image_opts: bool,
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
        self.check(sources.len())?;
        self.check_source_cache()?;
        let sources = self.open_sources(sources, program)?;
        let bitmaps = self.bitmaps_of(&sources, program)?;
        let source = Joined::of(sources)?;
        let place = self.target(target, source.size(), program)?;
        let target = place.open()?;
        if self.bitmaps && target.format() != Format::Qcow2 {
            let format = target.format();
            return Err(format!("Format driver '{format}' does not support bitmaps").into());
        }
        if target.size() < source.size() {
            return Err("output file is smaller than input file".into());
        }
        let options = self.options(target.backing().is_some());
        let progress = Progress::new(self.progress && !self.quiet, source.size(), program);
        let mut progress = progress.limited(self.rate_limit);
        convert(&*source, &*target, options, &mut |done| progress.at(done))?;
        progress.end();
        if !bitmaps.is_empty() {
            // The image is opened, and locked, again.
            drop(target);
            let mut target = place.open_qcow2()?;
            let copied = bitmaps
                .into_iter()
                .try_for_each(|bitmap| target.copy_bitmap(bitmap));
            copied.and_then(|()| target.close())?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The dirty bitmaps to copy.
    fn bitmaps_of(
        &self,
        sources: &[Arc<dyn Image>],
        program: Program,
    ) -> Result<Vec<NamedBits>, Box<dyn Error>> {
        let source = match sources {
            _ if !self.bitmaps => return Ok(Vec::new()),
            [source] => source,
            _ => return Err("Copying bitmaps only possible with single source".into()),
        };
        let source = source.as_qcow2().ok_or("Source lacks bitmap support")?;
        let mut found = Vec::new();
        for bitmap in source.bitmaps()? {
            let name = Escaped(&bitmap.name);
            if bitmap.is_consistent() {
                found.push(source.named_bits(&bitmap.name)?);
            } else if self.skip_broken_bitmaps {
                let warning = format!("Skipping inconsistent bitmap '{name}'");
                eprintln!("{}: warning: {warning}", program.name());
            } else {
                return Err(format!(
                    "Cannot copy inconsistent bitmap '{name}'\nTry --skip-broken-bitmaps, or use \
                     '{} bitmap --remove' to delete it",
                    program.image_tool()
                )
                .into());
            }
        }
        Ok(found)
    }

    fn target_format(&self) -> Format {
        self.target_format.unwrap_or(Format::Raw)
    }

    fn check_source_cache(&self) -> Result<(), String> {
        let mode = self.source_cache.as_deref().unwrap_or("writeback");
        let invalid = |_| format!("Invalid source cache option: {}", mode.escape_debug());
        cache_mode::mode(mode).map(|_| ()).map_err(invalid)
    }

    fn check(&self, sources: usize) -> Result<(), String> {
        let why = if self.copy_range && self.compress {
            "Cannot enable copy offloading when -c is used"
        } else if self.copy_range && self.sparse.is_some() {
            "Cannot enable copy offloading when -S is used"
        } else if self.copy_range && self.salvage {
            "Cannot use copy offloading in salvaging mode"
        } else if self.skip_broken_bitmaps && !self.bitmaps {
            "Use of --skip-broken-bitmaps requires --bitmaps"
        } else if self.target_image_opts && !self.no_create {
            "--target-image-opts requires use of -n flag"
        } else if self.target_image_opts && self.target_format.is_some() {
            "--target-image-opts and -O are mutually exclusive"
        } else if self.no_create && !self.options.is_empty() {
            "-o has no effect when skipping image creation"
        } else if self.target_is_zero && !self.no_create {
            "--target-is-zero requires use of -n flag"
        } else if self.target_is_zero && self.backing.is_some() {
            "Cannot use --target-is-zero when the destination image has a backing file"
        } else if self.compress && !self.target_image_opts && self.target_format() != Format::Qcow2
        {
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
        let cache = self.source_cache.as_deref().map(cache_mode::mode);
        let cache = cache.transpose()?.unwrap_or_default();
        let open = |file: &PathBuf| {
            let mut source = self.opening.reading(file, self.source_format, program)?;
            source.options.cache = cache;
            source.options.snapshot = self.snapshot.as_deref().map(snapshot_name);
            let opened = source.open();
            match self.salvage {
                true => opened.map(|image| Salvaged::wrap(image, self.losses(program))),
                false => opened,
            }
        };
        files.iter().map(open).collect()
    }

    /// Says which sectors are lost.
    fn losses(&self, program: Program) -> Report {
        let (name, quiet) = (program.name(), self.quiet);
        Box::new(move |offset, error| {
            let why = match program.is_qemu() {
                true => qemu_text::of_error(error),
                false => error.to_string(),
            };
            if !quiet {
                eprintln!("{name}: warning: error while reading offset {offset}: {why}");
            }
        })
    }

    /// The target and how it is opened. It is made new unless `-n` says that it exists.
    fn target(&self, target: &Path, size: u64, program: Program) -> Result<Source, Box<dyn Error>> {
        let mut place = match (self.no_create, self.target_image_opts) {
            (false, _) => self.new_target(target, size, program)?,
            (true, false) => {
                let format = Some(self.target_format());
                self.opening.plain_target(target, format, program)?
            }
            (true, true) => self.opening.described_target(target, program)?,
        };
        if let Some(mode) = &self.cache {
            place.options.cache = cache_mode::mode(mode)?;
        }
        Ok(place)
    }

    fn new_target(
        &self,
        target: &Path,
        size: u64,
        program: Program,
    ) -> Result<Source, Box<dyn Error>> {
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
        if self.compress && new.is_encrypted() {
            return Err("Compression and encryption not supported at the same time".into());
        }
        new.options.size = size;
        new.create(target, self.target_format(), &self.opening, program)
    }

    /// What new images of the target's format read as.
    fn new_contents(&self) -> TargetContents {
        match self.target_format() {
            Format::Raw | Format::Qcow2 => TargetContents::New,
            // Nobody has encrypted zeros into it yet.
            Format::Luks => TargetContents::Existing,
        }
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
                (false, false) => self.new_contents(),
            },
            level: self.compression_level.unwrap_or_default(),
            threads: self.parallel.unwrap_or(default.threads),
            order: match self.out_of_order {
                true => WriteOrder::Any,
                false => WriteOrder::Disk,
            },
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
