//! `cowbox img measure`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::super::Outcome;
use super::super::program::Program;
use super::info::Output;
use super::json::text;
use super::options::{NewImage, Opening, format};
use super::size;
use crate::image::Format;
use crate::image::measure::measure;

/// Say how big the file of a new image will be.
#[derive(Debug, Args)]
pub(super) struct Measure {
    /// Format of the new image.
    #[arg(short = 'O', default_value = "raw", value_parser = format)]
    target_format: Format,
    /// Options of that format, such as cluster_size=64k.
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Vec<String>,
    /// Length of the disk, where there is no image to copy.
    #[arg(short = 's', long, value_name = "SIZE", value_parser = size::parse)]
    size: Option<u64>,
    /// Format of the image to copy.
    #[arg(short = 'f', long, value_parser = format)]
    format: Option<Format>,
    /// Copy this internal snapshot.
    #[arg(short = 'l', value_name = "SNAPSHOT")]
    snapshot: Option<String>,
    /// Form of the answer.
    #[arg(long, default_value = "human")]
    output: Output,
    #[command(flatten)]
    opening: Opening,
    /// The image to copy.
    file: Option<PathBuf>,
}

impl Measure {
    pub(super) fn run(self, program: Program) -> Outcome {
        let mut new = NewImage::parse(&self.options)?;
        let source = match (&self.file, self.size) {
            (None, None) => return Err("Either --size N or one filename must be specified.".into()),
            (Some(_), Some(_)) => {
                return Err("--size N cannot be used together with a filename.".into());
            }
            (None, Some(size)) => {
                new.options.size = size;
                None
            }
            (Some(file), None) => {
                let mut source = self.opening.reading(file, self.format, program)?;
                source.options.snapshot = self.snapshot.clone().map(String::into_bytes);
                Some(source.open()?)
            }
        };
        if let Some(source) = &source {
            new.options.size = source.size();
        }
        new.encrypt_with(self.target_format, &self.opening.named_secrets()?)?;
        let source = source.as_deref();
        let found = measure(self.target_format, &new.options, source)?;
        // Bitmaps can be copied from qcow2 to qcow2 only.
        let bitmaps = self.target_format == Format::Qcow2
            && source.is_some_and(|source| source.format() == Format::Qcow2);
        match self.output {
            Output::Human => {
                println!("required size: {}", found.required);
                println!("fully allocated size: {}", found.fully_allocated);
                if bitmaps {
                    println!("bitmaps size: 0");
                }
            }
            Output::Json => {
                let mut object = json!({
                    "required": found.required,
                    "fully-allocated": found.fully_allocated,
                });
                if bitmaps {
                    object["bitmaps"] = json!(0);
                }
                println!("{}", text(&object));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
