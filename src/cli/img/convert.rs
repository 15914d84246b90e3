//! `cowbox img convert`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::super::Outcome;
use super::super::program::Program;
use super::options::{NewImage, Opening, format};
use super::progress::Progress;
use super::size;
use crate::image::convert::{ConvertOptions, Storing, convert};
use crate::image::{self, Format};

/// Copy an image into another format.
#[derive(Debug, Args)]
pub(super) struct Convert {
    /// Store the data compressed (qcow2).
    #[arg(short = 'c', long)]
    compress: bool,
    /// Format of the source.
    #[arg(short = 'f', value_parser = format)]
    source_format: Option<Format>,
    /// Format of the target.
    #[arg(short = 'O', default_value = "raw", value_parser = format)]
    target_format: Format,
    /// Options of the target's format, such as cluster_size=64k,compat=1.1.
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Vec<String>,
    /// Do not write runs of zeros of this many bytes; 0 writes everything.
    #[arg(short = 'S', value_name = "SIZE", default_value = "4k", value_parser = size::parse)]
    sparse: u64,
    /// Show how far it is.
    #[arg(short = 'p', long)]
    progress: bool,
    #[command(flatten)]
    opening: Opening,
    /// The image to copy.
    source: PathBuf,
    /// The image to make.
    target: PathBuf,
}

impl Convert {
    pub(super) fn run(self, program: Program) -> Outcome {
        let mut new = NewImage::parse(&self.options)?;
        new.encrypt_with(&self.opening.named_secrets()?)?;
        if new.backing_file.is_some() {
            return Err("a target with a backing file is not supported".into());
        }
        let source = self
            .opening
            .reading(&self.source, self.source_format, program)?
            .open()?;
        new.options.size = source.size();
        image::create(&self.target, self.target_format, &new.options)?;
        let mut target = self
            .opening
            .writing(&self.target, Some(self.target_format), program)?;
        let directory = self.target.parent().unwrap_or(Path::new(""));
        target.options = new.open_with(directory, target.options);
        let target = target.open()?;
        let storing = if self.compress {
            Storing::Compressed
        } else {
            Storing::Plain
        };
        let options = ConvertOptions {
            sparse: self.sparse,
            storing,
        };
        let mut progress = Progress::new(self.progress, source.size());
        convert(&*source, &*target, options, &mut |done| progress.at(done))?;
        progress.end();
        Ok(ExitCode::SUCCESS)
    }
}
