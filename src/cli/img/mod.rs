//! `cowbox img`: what qemu-img and qemu-io do, with their letters, exit codes and output.

mod amend;
mod bench;
mod bitmap;
mod bitmap_list;
mod cache_mode;
mod caches;
mod check;
mod commit;
mod compact;
mod compare;
mod convert;
mod create;
mod dd;
mod drivers;
mod encryption_text;
mod explain;
mod info;
mod io;
mod json;
mod keys;
mod map;
mod measure;
mod options;
mod progress;
mod qemu_text;
mod rebase;
mod resize;
mod secrets;
mod size;
mod snapshot;
mod snapshot_list;
mod source;
mod visual;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Subcommand};

use super::Outcome;
use super::chosen::Chosen;
use super::program::Program;
use crate::image::qcow2::preallocate::Preallocation;

/// The subcommands for disk images.
#[derive(Debug, Args)]
pub(super) struct Img {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new image.
    Create(Chosen<create::Create>),
    /// Show what an image is.
    Info(Chosen<info::Info>),
    /// Show where the contents of an image lie.
    Map(Chosen<map::Map>),
    /// Explain what lies at an offset of the disk, or of the file.
    Explain(Chosen<explain::Explain>),
    /// Check the tables of a qcow2 image, and mend them.
    Check(Chosen<check::Check>),
    /// Copy an image into another format.
    Convert(Chosen<convert::Convert>),
    /// Compare what two images hold.
    Compare(Chosen<compare::Compare>),
    /// Write what an overlay holds into its backing image.
    Commit(Chosen<commit::Commit>),
    /// Give an overlay another backing image.
    Rebase(Chosen<rebase::Rebase>),
    /// Change what an existing image is, or the passwords that open it.
    Amend(Chosen<amend::Amend>),
    /// Make the file of a qcow2 image as short as it can be, in place.
    Compact(Chosen<compact::Compact>),
    /// Make the disk of an image longer or shorter.
    Resize(Chosen<resize::Resize>),
    /// List, make, apply and delete internal snapshots.
    Snapshot(Chosen<snapshot::Snapshot>),
    /// Change the dirty bitmaps of a qcow2 image.
    Bitmap(Chosen<bitmap::Bitmap>),
    /// Say how big the file of a new image will be.
    Measure(Chosen<measure::Measure>),
    /// Copy a part of an image into a new one.
    Dd(Chosen<dd::Dd>),
    /// Measure how fast requests to an image are.
    Bench(Chosen<bench::Bench>),
    /// Read and write single ranges, by commands.
    Io(Chosen<io::Io>),
}

impl Img {
    pub(super) fn run(self, program: Program) -> Outcome {
        match self.command {
            Command::Create(Chosen(command)) => command.run(program),
            Command::Info(Chosen(command)) => command.run(program),
            Command::Map(Chosen(command)) => command.run(program),
            Command::Explain(Chosen(command)) => command.run(program),
            Command::Check(Chosen(command)) => command.run(program),
            Command::Convert(Chosen(command)) => command.run(program),
            Command::Compare(Chosen(command)) => command.run(program),
            Command::Commit(Chosen(command)) => command.run(program),
            Command::Rebase(Chosen(command)) => command.run(program),
            Command::Amend(Chosen(command)) => command.run(program),
            Command::Bitmap(Chosen(command)) => command.run(program),
            Command::Measure(Chosen(command)) => command.run(program),
            Command::Dd(Chosen(command)) => command.run(program),
            Command::Bench(Chosen(command)) => command.run(program),
            Command::Compact(Chosen(command)) => command.run(program),
            Command::Resize(Chosen(command)) => command.run(program),
            Command::Snapshot(Chosen(command)) => command.run(program),
            Command::Io(Chosen(command)) => command.run(program),
        }
    }
}

/// A preallocation mode by its name.
fn preallocation(name: &str) -> Result<Preallocation, String> {
    Preallocation::from_name(name).ok_or_else(|| format!("Invalid preallocation mode '{name}'"))
}

/// Puts arguments of `img` into a form that clap reads: the size of `resize` may start with a
/// dash.
pub(super) fn expand(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let is = |at: usize, word: &str| arguments.get(at).is_some_and(|argument| argument == word);
    if is(1, "img") && is(2, "resize") && arguments.len() > 4 {
        let size = arguments.pop().unwrap_or_default();
        arguments.extend(["--".into(), size]);
        // A second `--`, which the user gave, would be taken for the image.
        let given = arguments.iter().position(|argument| argument == "--");
        if let Some(at) = given.filter(|&at| at + 2 < arguments.len()) {
            arguments.remove(at);
        }
    }
    arguments
}

/// Says in QEMU's words what is wrong with the arguments.
pub(super) fn wrong_usage(error: &clap::Error, program: Program) -> ExitCode {
    let argument = [ContextKind::InvalidArg, ContextKind::InvalidSubcommand]
        .into_iter()
        .find_map(|kind| match error.get(kind) {
            Some(ContextValue::String(text)) => Some(text.clone()),
            _ => None,
        });
    let option = || {
        let text = argument.clone().unwrap_or_default();
        text.split(' ').next().unwrap_or("").to_owned()
    };
    let text = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            format!("Command not found: {}", argument.unwrap_or_default())
        }
        ErrorKind::UnknownArgument if option().starts_with('-') => {
            format!("unrecognized option '{}'", option())
        }
        ErrorKind::UnknownArgument | ErrorKind::MissingRequiredArgument => {
            "Expecting one image file name".to_owned()
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "Not enough arguments".to_owned()
        }
        _ => super::one_line(&error.to_string()),
    };
    let name = program.name();
    eprintln!("{name}: {text}\nTry '{name} --help' for more information");
    ExitCode::from(1)
}
