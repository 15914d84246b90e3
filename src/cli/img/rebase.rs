//! `cowbox img rebase`

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::super::Outcome;
use super::super::program::Program;
use super::options::{Opening, format};
use super::progress::Progress;
use super::qemu_text;
use crate::image::rebase::{NewBacking, rebase, rename_backing};
use crate::image::{ErrorKind, Format, ImageError};

/// Give an overlay another backing image.
#[derive(Debug, Args)]
pub(super) struct Rebase {
    /// Format of the overlay.
    #[arg(short = 'f', long, value_parser = format)]
    format: Option<Format>,
    /// The new backing image; an empty name for none.
    #[arg(short = 'b', long, value_name = "BASE")]
    backing: Option<String>,
    /// Format of the new backing image.
    #[arg(
        short = 'F',
        long = "backing-fmt",
        visible_alias = "backing-unsafe-format",
        value_name = "FMT"
    )]
    new_format: Option<String>,
    /// Change the recorded name only: the new image holds what the old one held.
    #[arg(short = 'u')]
    rename: bool,
    /// Accepted for the sake of scripts: when writes become durable. They are at the end.
    #[arg(short = 't', long)]
    cache: Option<String>,
    /// Accepted for the sake of scripts.
    #[arg(short = 'T', long)]
    source_cache: Option<String>,
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

impl Rebase {
    pub(super) fn run(self, program: Program) -> Outcome {
        if self.backing.is_none() && !self.rename {
            return Err("Must specify backing file (-b) or use unsafe mode (-u)".into());
        }
        let source = self.opening.writing(&self.file, self.format, program)?;
        let format = self.new_format(program)?;
        let name = self.backing.as_deref().unwrap_or("");
        if !name.is_empty() && format.is_none() {
            return Err(self.missing_format(name, program).into());
        }
        let backing = Some(NewBacking { name, format });
        if self.rename {
            let renamed = rename_backing(&source.path, &source.options, backing);
            renamed.map_err(|e| failed(e, name, program))?;
            return Ok(ExitCode::SUCCESS);
        }
        let reading = self.opening.reading(&self.file, self.format, program)?;
        let mut progress = Progress::new(
            self.progress && !self.quiet,
            reading.open()?.size(),
            program,
        );
        let done = rebase(&source.path, &source.options, backing, &mut |done| {
            progress.at(done);
        });
        done.map_err(|e| failed(e, name, program))?;
        progress.end();
        Ok(ExitCode::SUCCESS)
    }

    /// The name of the new format. A renamed backing image is not opened, so it may have one that
    /// only other programs know.
    fn new_format(&self, program: Program) -> Result<Option<&str>, String> {
        let name = self.new_format.as_deref();
        match name.filter(|name| !self.rename && Format::from_name(name).is_none()) {
            None => Ok(name),
            Some(name) if program.is_qemu() => Err(format!("Invalid format name: '{name}'")),
            Some(name) => format(name).map(|_| None),
        }
    }

    fn missing_format(&self, name: &str, program: Program) -> String {
        match program.is_qemu() {
            true => format!(
                "Could not change the backing file to '{name}': backing format must be specified"
            ),
            false => format!(
                "the format of backing file \"{0}\" is not guessed; say cowbox img rebase -b {0} \
                 -F qcow2 {1}, or -F raw",
                name.escape_debug(),
                self.file.display()
            ),
        }
    }
}

fn failed(error: ImageError, name: &str, program: Program) -> Box<dyn Error> {
    if !program.is_qemu() {
        return error.into();
    }
    match error.kind() {
        ErrorKind::Io | ErrorKind::NotFound => format!(
            "Could not open new backing file '{name}': Could not open '{}': {}",
            error.file().unwrap_or("".as_ref()).display(),
            qemu_text::of_error(&error)
        ),
        _ => format!(
            "Could not change the backing file to '{name}': {}",
            error.detail()
        ),
    }
    .into()
}
