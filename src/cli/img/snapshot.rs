//! `cowbox img snapshot`

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use super::super::Outcome;
use super::super::program::Program;
use super::options::{Opening, format};
use super::qemu_text;
use super::snapshot_list;
use crate::image::{ErrorKind, Format, ImageError};

/// List, make, apply and delete internal snapshots.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct Action {
    /// List the snapshots; this is also what happens without an action.
    #[arg(short = 'l', long)]
    list: bool,
    /// Make a snapshot of this name.
    #[arg(short = 'c', long, value_name = "NAME")]
    create: Option<String>,
    /// Make the disk what it was at this snapshot (identifier or name).
    #[arg(short = 'a', long, value_name = "SNAPSHOT")]
    apply: Option<String>,
    /// Delete this snapshot (identifier or name).
    #[arg(short = 'd', long, value_name = "SNAPSHOT")]
    delete: Option<String>,
}

/// List, make, apply and delete internal snapshots.
#[derive(Debug, Args)]
pub(super) struct Snapshot {
    #[command(flatten)]
    action: Action,
    /// Format of the image.
    #[arg(short = 'f', long, value_parser = format)]
    format: Option<Format>,
    /// Say nothing.
    #[arg(short = 'q', long)]
    quiet: bool,
    #[command(flatten)]
    opening: Opening,
    /// The image.
    file: PathBuf,
}

impl Snapshot {
    pub(super) fn run(self, program: Program) -> Outcome {
        let action = &self.action;
        if action.create.is_none() && action.apply.is_none() && action.delete.is_none() {
            return self.list(program);
        }
        let mut image = self
            .opening
            .writing(&self.file, self.format, program)?
            .open_qcow2()?;
        if let Some(name) = &action.create {
            let made = image.create_snapshot(name.as_bytes(), now());
            made.map_err(|e| failed(e, program, "create", name))?;
        } else if let Some(name) = &action.apply {
            let applied = image.apply_snapshot(name.as_bytes());
            applied.map_err(|e| failed(e, program, "apply", name))?;
        } else if let Some(name) = &action.delete {
            let deleted = image.delete_snapshot(name.as_bytes());
            deleted.map_err(|e| failed(e, program, "delete", name))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn list(&self, program: Program) -> Outcome {
        let source = self.opening.reading(&self.file, self.format, program)?;
        let image = source.open()?;
        if let Some(qcow2) = image.as_qcow2() {
            let snapshots = qcow2.snapshots()?;
            if !snapshots.is_empty() {
                print!("Snapshot list:\n{}", snapshot_list::table(&snapshots));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What failed, in the words of the program that this one is.
fn failed(error: ImageError, program: Program, action: &str, name: &str) -> Box<dyn Error> {
    if !program.is_qemu() {
        return error.into();
    }
    let text = qemu_text::of_error(&error);
    match (action, error.kind()) {
        ("create", _) => format!("Could not create snapshot '{name}': {text}"),
        ("apply", _) => {
            format!("Could not apply snapshot '{name}': Failed to load snapshot: {text}")
        }
        (_, ErrorKind::NotFound) => {
            format!("Could not delete snapshot '{name}': snapshot not found")
        }
        _ => format!("Could not delete snapshot '{name}': {}", error.detail()),
    }
    .into()
}

/// Seconds since 1970 and nanoseconds.
fn now() -> (u32, u32) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = since.unwrap_or_default();
    let seconds = u32::try_from(since.as_secs()).unwrap_or(u32::MAX);
    (seconds, since.subsec_nanos())
}
