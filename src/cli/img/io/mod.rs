//! `cowbox img io`: single requests to an image, by the commands of qemu-io, from `-c` options or
//! line by line from stdin.
//!
//! ```text
//!   arguments   words, letters and numbers of a command line
//!   session     the open image, and which command does what
//!   read write  requests; report: what is said about them
//!   look        length, map, alloc, info
//! ```
//!
//! Asynchronous requests (`aio_…`) are carried out at once, which is one of the orders in which
//! they may end. Left out: breakpoints.

mod arguments;
mod look;
mod pattern;
mod read;
mod report;
mod session;
mod write;

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::super::program::Program;
use super::super::{Outcome, report as report_error};
use super::cache_mode;
use super::options::{Opening, format};
use crate::image::{Format, WriteCache};
use session::{Mode, Named, Session};

/// Read and write single ranges, by commands.
#[derive(Debug, Args)]
pub(super) struct Io {
    /// Carry out this command, and read none from stdin.
    #[arg(
        short = 'c',
        long = "cmd",
        value_name = "COMMAND",
        allow_hyphen_values = true
    )]
    commands: Vec<String>,
    /// Format of the image.
    #[arg(short = 'f', long, value_parser = format)]
    format: Option<Format>,
    /// Open the image for reading only.
    #[arg(short = 'r', long)]
    read_only: bool,
    /// Write into a throw-away overlay.
    #[arg(short = 's', long)]
    snapshot: bool,
    /// When writes become durable: none, writeback, writethrough, directsync or unsafe.
    #[arg(short = 't', long, default_value = "writethrough", value_parser = cache_mode::mode)]
    cache: WriteCache,
    /// The same as --cache none.
    #[arg(short = 'n', long)]
    nocache: bool,
    /// Accepted for the sake of scripts: how requests reach the host.
    #[arg(short = 'i', long, value_name = "MODE")]
    aio: Option<String>,
    /// Accepted for the sake of scripts: discards are always passed on.
    #[arg(short = 'd', long, value_name = "MODE")]
    discard: Option<String>,
    /// Accepted for the sake of scripts.
    #[arg(short = 'k', long)]
    native_aio: bool,
    /// Accepted for the sake of scripts.
    #[arg(short = 'm', long)]
    misalign: bool,
    /// Accepted for the sake of scripts.
    #[arg(short = 'C', long)]
    copy_on_read: bool,
    #[command(flatten)]
    opening: Opening,
    /// The image.
    file: Option<PathBuf>,
}

/// What a command comes to: an error has been reported already.
type Done = Result<(), Failed>;

/// A command that failed, after it was said why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failed;

impl Io {
    pub(super) fn run(self, program: Program) -> Outcome {
        let program = match program {
            Program::QemuImg => Program::QemuIo,
            other => other,
        };
        let mode = Mode {
            read_only: self.read_only,
            overlay: self.snapshot,
            cache: match self.nocache {
                true => WriteCache::None,
                false => self.cache,
            },
        };
        let mut session = Session::new(self.opening, program);
        if let Some(file) = self.file {
            session.open(Named {
                name: Some(file),
                format: self.format,
                pairs: Vec::new(),
                mode,
            })?;
        }
        let mut failed = false;
        if self.commands.is_empty() {
            failed |= from_stdin(&mut session, program)?;
        }
        for command in &self.commands {
            failed |= session.carry_out(command).is_err();
            if session.ended() {
                break;
            }
        }
        if let Err(error) = session.close() {
            report_error(&*error, program);
            failed = true;
        }
        Ok(ExitCode::from(u8::from(failed)))
    }
}

/// Carries out the commands on stdin; true if one failed.
fn from_stdin(session: &mut Session, program: Program) -> std::io::Result<bool> {
    let mut failed = false;
    let mut lines = std::io::stdin().lock().lines();
    while !session.ended() {
        let name = match program {
            Program::Cowbox => "cowbox",
            _ => "qemu-io",
        };
        print!("{name}> ");
        std::io::stdout().flush()?;
        match lines.next() {
            Some(line) => failed |= session.carry_out(&line?).is_err(),
            None => break,
        }
    }
    Ok(failed)
}
