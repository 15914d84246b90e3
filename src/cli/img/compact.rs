//! `cowbox img compact`: makes the file of a qcow2 image as short as it can be, in place.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::super::Outcome;
use super::super::program::Program;
use super::options::{Opening, format};
use super::progress::Progress;
use super::size;
use crate::image::pipeline::Done;
use crate::image::qcow2::compact::{Compacted, Zeros};
use crate::image::{Format, Image};

/// Make the file of a qcow2 image as short as it can be, in place.
///
/// Clusters move from the end of the file into free places, and the file is cut. Snapshots,
/// bitmaps and everything the disk holds stay as they are; a power cut in between costs nothing
/// but space, which the next run finds.
#[derive(Debug, Args)]
pub(super) struct Compact {
    /// Format of the image.
    #[arg(short = 'f', long, value_parser = format)]
    format: Option<Format>,
    /// First free clusters that hold nothing but zeros, where no snapshot shares them. This reads
    /// all of the disk's data.
    #[arg(long)]
    free_zeros: bool,
    /// Show how far it is.
    #[arg(short = 'p', long)]
    progress: bool,
    /// Say nothing.
    #[arg(short = 'q', long)]
    quiet: bool,
    #[command(flatten)]
    opening: Opening,
    /// The image.
    file: PathBuf,
}

impl Compact {
    pub(super) fn run(self, program: Program) -> Outcome {
        let source = self.opening.writing(&self.file, self.format, program)?;
        let mut image = source.open_qcow2()?;
        let zeros = match self.free_zeros {
            true => Zeros::Freed,
            false => Zeros::Kept,
        };
        let cluster = image.geometry().cluster_size();
        let mut progress: Option<Progress> = None;
        let compacted = image.compact(zeros, &mut |done, total| {
            let (position, total) = (done * cluster, total * cluster);
            let copied = position;
            progress
                .get_or_insert_with(|| Progress::new(self.progress, total, program))
                .at(Done { position, copied });
        });
        let done = compacted
            .and_then(|done| image.close().map(|()| done))
            .map_err(|error| error.in_file(&source.path))?;
        if let Some(progress) = progress {
            progress.end();
        }
        if !self.quiet {
            print!("{}", summary(&done));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn summary(done: &Compacted) -> String {
    let (before, after) = (size::human(done.before), size::human(done.after));
    let mut text = format!("{before} -> {after}: {} clusters moved", done.moved);
    for (count, what) in [
        (done.leaks, "leaked clusters freed"),
        (done.zeros, "clusters of zeros freed"),
        (
            done.holes,
            "free clusters left in front of what could not move",
        ),
    ] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    text + "\n"
}
