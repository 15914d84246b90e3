//! `cowbox img commit`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::super::Outcome;
use super::options::{Opening, format};
use super::progress::Progress;
use crate::image::commit::{Afterwards, commit};
use crate::image::{self, Format};

/// Write what an overlay holds into its backing image.
#[derive(Debug, Args)]
pub(super) struct Commit {
    /// Format of the overlay.
    #[arg(short = 'f', value_parser = format)]
    format: Option<Format>,
    /// Leave the overlay as it is, for a caller that deletes it.
    #[arg(short = 'd')]
    drop: bool,
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
    pub(super) fn run(self) -> Outcome {
        let options = self.opening.writing(self.format)?;
        let size = image::open(&self.file, &self.opening.reading(self.format)?)?.size();
        let afterwards = if self.drop {
            Afterwards::Keep
        } else {
            Afterwards::Empty
        };
        let mut progress = Progress::new(self.progress, size);
        commit(&self.file, &options, afterwards, &mut |done| {
            progress.at(done)
        })?;
        progress.end();
        if !self.quiet {
            println!("Image committed.");
        }
        Ok(ExitCode::SUCCESS)
    }
}
