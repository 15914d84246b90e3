//! `cowbox img`: what qemu-img does, with its letters, its exit codes and its output.

mod check;
mod commit;
mod compare;
mod convert;
mod create;
mod info;
mod options;
mod progress;
mod size;

use clap::{Args, Subcommand};

use super::Outcome;

/// The subcommands for disk images.
#[derive(Debug, Args)]
pub(super) struct Img {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new image.
    Create(create::Create),
    /// Show what an image is.
    Info(info::Info),
    /// Check the tables of a qcow2 image, and mend them.
    Check(check::Check),
    /// Copy an image into another format.
    Convert(convert::Convert),
    /// Compare what two images hold.
    Compare(compare::Compare),
    /// Write what an overlay holds into its backing image.
    Commit(commit::Commit),
}

impl Img {
    pub(super) fn run(self) -> Outcome {
        match self.command {
            Command::Create(command) => command.run(),
            Command::Info(command) => command.run(),
            Command::Check(command) => command.run(),
            Command::Convert(command) => command.run(),
            Command::Compare(command) => command.run(),
            Command::Commit(command) => command.run(),
        }
    }
}
