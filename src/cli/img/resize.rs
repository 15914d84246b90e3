//! `cowbox img resize`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::super::Outcome;
use super::super::program::Program;
use super::options::{Opening, format};
use super::{preallocation, size};
use crate::image::qcow2::preallocate::Preallocation;
use crate::image::{self, Format};

/// Make the disk of an image longer or shorter.
#[derive(Debug, Args)]
pub(super) struct Resize {
    /// Format of the image.
    #[arg(short = 'f', long, value_parser = format)]
    format: Option<Format>,
    /// Allow the disk to get shorter: what lies past its new end is lost.
    #[arg(long)]
    shrink: bool,
    /// Space for the new part: off, metadata, falloc or full.
    #[arg(long, value_name = "MODE", default_value = "off", value_parser = preallocation)]
    preallocation: Preallocation,
    /// Say nothing.
    #[arg(short = 'q', long)]
    quiet: bool,
    #[command(flatten)]
    opening: Opening,
    /// The image.
    file: PathBuf,
    /// The new length, or by how much it changes: 8G, +1G, -512M.
    size: String,
}

impl Resize {
    pub(super) fn run(self, program: Program) -> Outcome {
        let source = self.opening.writing(&self.file, self.format, program)?;
        let old = source.open()?.size();
        let new = self.new_size(old)?;
        if new < old {
            if self.preallocation != Preallocation::Off {
                return Err("Preallocation can only be used for growing images".into());
            }
            if !self.shrink {
                return Err(self.needs_shrink(program).into());
            }
        }
        let resized = image::resize(&source.path, &source.options, new, self.preallocation);
        resized.map_err(|error| super::qemu_text::of_change(error, program))?;
        if !self.quiet {
            println!("Image resized.");
        }
        Ok(ExitCode::SUCCESS)
    }

    fn new_size(&self, old: u64) -> Result<u64, String> {
        let change = |text: &str| size::parse(text);
        let new = match self.size.split_at_checked(1) {
            Some(("+", more)) => old.checked_add(change(more)?),
            Some(("-", less)) => old.checked_sub(change(less)?),
            _ => Some(change(&self.size)?),
        };
        let positive = "New image size must be positive";
        new.filter(|&new| new > 0)
            .ok_or_else(|| positive.to_owned())
    }

    fn needs_shrink(&self, program: Program) -> String {
        if program.is_qemu() {
            eprintln!(
                "{}: warning: Shrinking an image will delete all data beyond the shrunken \
                 image's end. Before performing such an operation, make sure there is no \
                 important data there.",
                program.name()
            );
            return "Use the --shrink option to perform a shrink operation.".to_owned();
        }
        format!(
            "the disk would lose what lies past its new end; if that may go: cowbox img resize \
             --shrink {} {}",
            self.file.display(),
            self.size
        )
    }
}
