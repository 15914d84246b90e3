//! `cowbox img measure`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value, json};

use super::super::Outcome;
use super::super::program::Program;
use super::info::Output;
use super::json::text;
use super::options::{NewImage, Opening, format};
use super::size;
use crate::image::measure::{Contents, measure, measure_bitmaps};
use crate::image::qcow2::geometry::Version;
use crate::image::{Format, Image};

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
        let contents = match source {
            _ if new.takes_all_space() => Contents::Everything,
            // What of it the backing file has already is not known.
            Some(_) if new.backing_file.is_some() => Contents::Everything,
            Some(source) => Contents::Of(source),
            None => Contents::Nothing,
        };
        let found = measure(self.target_format, &new.options, contents)?;
        let bitmaps = source.map(|source| self.bitmaps(source, &new));
        let bitmaps = bitmaps.transpose()?.flatten();
        match self.output {
            Output::Human => {
                println!("required size: {}", found.required);
                println!("fully allocated size: {}", found.fully_allocated);
                if let Some(bytes) = bitmaps {
                    println!("bitmaps size: {bytes}");
                }
            }
            Output::Json => {
                let mut object = Map::new();
                if let Some(bytes) = bitmaps {
                    object.insert("bitmaps".to_owned(), json!(bytes));
                }
                object.insert("required".to_owned(), json!(found.required));
                object.insert("fully-allocated".to_owned(), json!(found.fully_allocated));
                println!("{}", text(&Value::Object(object)));
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Bytes for copies of the bitmaps of `source`, which go from qcow2 to version 3 of it only.
    fn bitmaps(&self, source: &dyn Image, new: &NewImage) -> crate::image::Result<Option<u64>> {
        let kept = self.target_format == Format::Qcow2 && new.options.version == Version::V3;
        let Some(qcow2) = source.as_qcow2().filter(|_| kept) else {
            return Ok(None);
        };
        let bitmaps = qcow2.bitmaps()?;
        let cluster = new.options.cluster_size;
        Ok(Some(measure_bitmaps(&bitmaps, source.size(), cluster)))
    }
}
