//! `cowbox img compare`: exit status 0 the same, 1 different, 2 an error.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::super::program::Program;
use super::super::{Outcome, report};
use super::options::{Opening, format};
use super::progress::Progress;
use crate::image::Format;
use crate::image::compare::{Comparison, compare_with};

/// Compare what two images hold.
#[derive(Debug, Args)]
pub(super) struct Compare {
    /// Format of the first image.
    #[arg(short = 'f', value_parser = format)]
    first_format: Option<Format>,
    /// Format of the second image.
    #[arg(short = 'F', value_parser = format)]
    second_format: Option<Format>,
    /// Images of different length differ.
    #[arg(short = 's')]
    strict: bool,
    /// Say nothing.
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Accepted for the sake of scripts: how the images are cached.
    #[arg(short = 'T', value_name = "CACHE")]
    cache: Option<String>,
    /// Show how far it is.
    #[arg(short = 'p', long)]
    progress: bool,
    #[command(flatten)]
    opening: Opening,
    /// The first image.
    first: PathBuf,
    /// The second image.
    second: PathBuf,
}

impl Compare {
    pub(super) fn run(self, program: Program) -> Outcome {
        Ok(self.compare(program).unwrap_or_else(|error| {
            report(&*error, program);
            ExitCode::from(2)
        }))
    }

    fn compare(&self, program: Program) -> Outcome {
        let open = |name, format| self.opening.reading(name, format, program)?.open();
        let first = open(&self.first, self.first_format)?;
        let second = open(&self.second, self.second_format)?;
        let mismatch = first.size() != second.size();
        if mismatch && self.strict {
            self.say("Strict mode: Image size mismatch!");
            return Ok(ExitCode::from(1));
        }
        let longest = first.size().max(second.size());
        let mut progress = Progress::new(self.progress && !self.quiet, longest, program);
        let found = compare_with(&*first, &*second, &mut |done| progress.at(done))?;
        progress.end();
        if mismatch && !matches!(found, Comparison::ContentAt(_)) {
            self.say("Warning: Image size mismatch!");
        }
        let (text, code) = match found {
            Comparison::Same => ("Images are identical.".to_owned(), 0),
            Comparison::ContentAt(at) => (format!("Content mismatch at offset {at}!"), 1),
            Comparison::RestAt(at) => (self.past_end(at, program), 1),
        };
        self.say(&text);
        Ok(ExitCode::from(code))
    }

    fn past_end(&self, at: u64, program: Program) -> String {
        match program.is_qemu() {
            true => format!("Content mismatch at offset {at}!"),
            false => format!("Content mismatch at offset {at}, past the end of the shorter image!"),
        }
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            println!("{text}");
        }
    }
}
