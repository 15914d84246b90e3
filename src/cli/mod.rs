//! The command line: one file per command.
//!
//! Exit status: 0 done, 1 our failure (one line `cowbox: …` on stderr), 2 wrong usage; a command
//! may document more. Called as `qemu-img` or `qemu-io`, the program is that one: see
//! [`program`].

mod chosen;
pub mod console;
mod demo;
mod img;
mod program;
mod qmp;
mod run;
mod unix_socket;
mod zeros;

use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use chosen::Chosen;
use program::Program;

/// A small PC with copy-on-write qcow2 disks.
#[derive(Debug, Parser)]
#[command(
    name = "cowbox",
    version,
    about,
    max_term_width = 100,
    args_override_self = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Boot the built-in demo guest.
    Demo(Chosen<demo::Demo>),
    /// Start a machine from disks or a kernel.
    Run(Box<Chosen<run::Run>>),
    /// Create, inspect, check and convert disk images.
    Img(Box<Chosen<img::Img>>),
}

const WRONG_USAGE: u8 = 2;

/// What a command gives back: its exit status, or the failure to report.
type Outcome = Result<ExitCode, Box<dyn Error>>;

/// Runs the command that the arguments of the process name.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next();
    let program = Program::called(name.as_deref());
    let words = program.command().iter().map(OsString::from);
    let arguments = std::iter::once("cowbox".into())
        .chain(words)
        .chain(arguments);
    let arguments = img::expand(run::expand(arguments));
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(answer) if !answer.use_stderr() => answer.exit(),
        Err(usage) if program.is_qemu() => return img::wrong_usage(&usage, program),
        Err(usage) => {
            eprintln!("cowbox: {}", one_line(&usage.to_string()));
            return ExitCode::from(WRONG_USAGE);
        }
    };
    let outcome = match cli.command {
        Command::Demo(Chosen(demo)) => demo.run(),
        Command::Run(run) => run.0.run(),
        Command::Img(img) => img.0.run(program),
    };
    outcome.unwrap_or_else(|error| {
        report(&*error, program);
        ExitCode::from(1)
    })
}

/// Says on stderr, in one line, what failed.
fn report(error: &dyn Error, program: Program) {
    eprintln!("{}: {error}", program.name());
}

/// What is wrong with the arguments, in one line: clap's message up to its first empty line, which
/// tips and the usage follow.
fn one_line(message: &str) -> String {
    let lines = message.lines().map(str::trim);
    let lines: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
    let line = lines.join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_arguments_of_a_command_are_called_the_same() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn wrong_usage_is_one_line_that_names_the_argument() {
        for (arguments, word) in [
            (["cowbox", "run", "-m", "much"], "'much'"),
            (["cowbox", "run", "-m", "99999999T"], "99999999T"),
            (["cowbox", "run", "--initrd", "x"], "--kernel"),
            (["cowbox", "run", "--no-such", "x"], "--no-such"),
        ] {
            let error = Cli::try_parse_from(arguments).unwrap_err();
            let line = one_line(&error.to_string());
            assert!(line.contains(word) && !line.contains('\n'), "{line}");
            assert!(!line.starts_with("error"), "{line}");
        }
    }
}
