//! `cowbox img amend`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::super::Outcome;
use super::super::program::Program;
use super::options::{Opening, format, switch, version};
use super::{keys, qemu_text};
use crate::image::qcow2::Qcow2;
use crate::image::qcow2::create::RefcountUpdates;
use crate::image::qcow2::geometry::Version;
use crate::image::{Format, Image};

/// Change what an existing qcow2 image is.
#[derive(Debug, Args)]
pub(super) struct Amend {
    /// Format of the image.
    #[arg(short = 'f', long, value_parser = format)]
    format: Option<Format>,
    /// What is changed: compat=0.10|1.1, lazy_refcounts=on|off, refcount_bits=N.
    #[arg(short = 'o', value_name = "OPTIONS", required = true)]
    options: Vec<String>,
    /// Accepted for the sake of scripts: when writes become durable. They are at the end.
    #[arg(short = 't', long)]
    cache: Option<String>,
    /// Change also what may make the contents unreadable.
    #[arg(long)]
    force: bool,
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

/// What is to be changed.
#[derive(Debug, Default)]
struct Changes {
    version: Option<Version>,
    updates: Option<RefcountUpdates>,
    refcount_bits: Option<u32>,
}

impl Amend {
    pub(super) fn run(self, program: Program) -> Outcome {
        let changes = self.changes(program)?;
        let source = self.opening.writing(&self.file, self.format, program)?;
        let mut image = source.open_qcow2()?;
        let done = changes.apply(&mut image).and_then(|()| image.close());
        done.map_err(|error| qemu_text::of_change(error, program))?;
        if self.progress {
            println!("    (100.00/100%)");
        }
        Ok(ExitCode::SUCCESS)
    }

    fn changes(&self, program: Program) -> Result<Changes, String> {
        let mut changes = Changes::default();
        for (key, value) in self.options.iter().flat_map(|list| keys::parse(list)) {
            match &*key {
                "compat" => {
                    let known = version(&value);
                    let said = || format!("Unknown compatibility level {value}");
                    changes.version = Some(match program.is_qemu() {
                        true => known.map_err(|_| said())?,
                        false => known?,
                    });
                }
                "lazy_refcounts" => {
                    changes.updates = Some(match switch(&key, &value)? {
                        true => RefcountUpdates::Lazy,
                        false => RefcountUpdates::InOrder,
                    });
                }
                "refcount_bits" => {
                    let bits = value.parse();
                    let bits = bits.map_err(|_| format!("option {key}={value} is not a number"))?;
                    changes.refcount_bits = Some(bits);
                }
                "backing_file" | "backing_fmt" if program.is_qemu() => {
                    return Err("Cannot amend the backing file".to_owned());
                }
                "backing_file" | "backing_fmt" => {
                    return Err(format!(
                        "the backing image is changed by: cowbox img rebase -b BASE -F FORMAT {}",
                        self.file.display()
                    ));
                }
                _ => return Err(format!("Invalid parameter '{}'", key.escape_debug())),
            }
        }
        Ok(changes)
    }
}

impl Changes {
    /// Makes the changes, each in a version that knows it.
    fn apply(&self, image: &mut Qcow2) -> crate::image::Result<()> {
        if self.version == Some(Version::V3) {
            image.set_version(Version::V3)?;
        }
        if let Some(bits) = self.refcount_bits {
            image.set_refcount_bits(bits)?;
        }
        if let Some(updates) = self.updates {
            image.set_refcount_updates(updates)?;
        }
        match self.version {
            Some(Version::V2) => image.set_version(Version::V2),
            _ => Ok(()),
        }
    }
}
