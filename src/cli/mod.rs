//! The command line: one file per command.
//!
//! Exit status: 0 done, 1 our failure (one line `cowbox: …` on stderr), 2 wrong usage; a command
//! may document more.

pub mod console;
mod demo;
mod img;
mod run;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A small PC with copy-on-write qcow2 disks.
#[derive(Debug, Parser)]
#[command(name = "cowbox", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Boot the built-in demo guest.
    Demo(demo::Demo),
    /// Start a machine from disks or a kernel.
    Run(Box<run::Run>),
    /// Create, inspect, check and convert disk images.
    Img(img::Img),
}

/// What a command gives back: its exit status, or the failure to report.
type Outcome = Result<ExitCode, Box<dyn Error>>;

/// Runs the command that the arguments of the process name.
pub fn main() -> ExitCode {
    let arguments = run::expand(std::env::args_os());
    let outcome = match Cli::parse_from(arguments).command {
        Command::Demo(demo) => demo.run(),
        Command::Run(run) => run.run(),
        Command::Img(img) => img.run(),
    };
    outcome.unwrap_or_else(|error| {
        report(&*error);
        ExitCode::from(1)
    })
}

/// Says on stderr, in one line, what failed.
fn report(error: &dyn Error) {
    eprintln!("cowbox: {error}");
}
