//! `cowbox img commit`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::super::Outcome;
use super::super::program::Program;
use super::options::{Opening, format};
use super::progress::Progress;
use super::qemu_text;
use super::size;
use crate::image::Format;
use crate::image::commit::{Afterwards, commit, commit_to};

/// Write what an overlay holds into its backing image.
#[derive(Debug, Args)]
pub(super) struct Commit {
    /// Format of the overlay.
    #[arg(short = 'f', long, value_parser = format)]
    format: Option<Format>,
    /// Leave the overlay as it is, for a caller that deletes it.
    #[arg(short = 'd')]
    drop: bool,
    /// Write into this image further down the chain; the images above it stay as they are.
    #[arg(short = 'b', long, value_name = "BASE")]
    base: Option<PathBuf>,
    /// Accepted for the sake of scripts: when writes become durable. They are at the end.
    #[arg(short = 't', long)]
    cache: Option<String>,
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
    /// The overlay.
    file: PathBuf,
}

impl Commit {
    pub(super) fn run(self, program: Program) -> Outcome {
        let source = self.opening.writing(&self.file, self.format, program)?;
        let reading = self.opening.reading(&self.file, self.format, program)?;
        let size = reading.open()?.size();
        let afterwards = if self.drop {
            Afterwards::Keep
        } else {
            Afterwards::Empty
        };
        let progress = Progress::new(self.progress && !self.quiet, size, program);
        let mut progress = progress.limited(self.rate_limit);
        let (path, options) = (&source.path, &source.options);
        let show = &mut |done| progress.at(done);
        match &self.base {
            Some(base) => commit_to(path, options, base, show),
            None => commit(path, options, afterwards, show),
        }
        .map_err(|error| qemu_text::of_change(error, program))?;
        progress.end();
        if !self.quiet {
            println!("Image committed.");
        }
        Ok(ExitCode::SUCCESS)
    }
}
