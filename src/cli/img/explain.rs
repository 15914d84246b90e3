//! `cowbox img explain`: what a guest offset maps to, entry by entry, or what a byte of the file
//! is. Made for learning and for looking into damaged images; nothing is changed, and no password
//! is needed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use serde_json::json;

use super::super::Outcome;
use super::super::program::Program;
use super::info::Output;
use super::options::{Opening, format};
use super::{json, size};
use crate::image::explain::{self, FilePlace, Layer};
use crate::image::qcow2::explain::{Place, Step};
use crate::image::{Format, SECTOR};

/// Explain what lies at an offset of the disk, or of the file.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// Format of the image.
    #[arg(short = 'f', long, value_parser = format)]
    format: Option<Format>,
    /// Form of the answer.
    #[arg(long, default_value = "human")]
    output: Output,
    #[command(flatten)]
    opening: Opening,
    /// The image.
    file: PathBuf,
    /// A byte of the disk (4096, 0x1000, 64k), lba=N for a sector of 512 bytes of it, or
    /// host=OFFSET for a byte of the file.
    #[arg(value_name = "OFFSET")]
    place: Asked,
}

/// The place that is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Guest(u64),
    Host(u64),
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(sector) = text.strip_prefix("lba=") {
            let bytes = number(sector)?.checked_mul(SECTOR);
            return bytes
                .map(Self::Guest)
                .ok_or_else(|| format!("{text} is too far"));
        }
        match text.strip_prefix("host=") {
            Some(offset) => number(offset).map(Self::Host),
            None => number(text).map(Self::Guest),
        }
    }
}

fn number(text: &str) -> Result<u64, String> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16)
            .map_err(|_| format!("\"{}\" is not a number", text.escape_debug())),
        None => size::parse(text),
    }
}

impl Explain {
    pub(super) fn run(self, program: Program) -> Outcome {
        let source = self.opening.reading(&self.file, self.format, program)?;
        match self.place {
            Asked::Guest(offset) => {
                let layers = explain::guest(&source.path, &source.options, offset)?;
                match self.output {
                    Output::Human => print!("{}", guest_text(offset, &layers)),
                    Output::Json => {
                        let value = json!({ "guest-offset": offset, "layers": layers });
                        println!("{}", json::text(&value));
                    }
                }
            }
            Asked::Host(offset) => {
                let place = explain::host(&source.path, &source.options, offset)?;
                match self.output {
                    Output::Human => print!("{}", host_text(offset, &place)),
                    Output::Json => {
                        let value = json!({ "host-offset": offset, "place": place });
                        println!("{}", json::text(&value));
                    }
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn guest_text(offset: u64, layers: &[Layer]) -> String {
    let mut text = format!("Guest offset {offset:#x}, lba {}\n", offset / SECTOR);
    for layer in layers {
        text += &format!("\n{} ({})\n", layer.file, layer.format);
        text += &steps_text(&layer.steps);
        text += &format!("  => {}\n", conclusion(layer));
        if let Some(why) = &layer.stopped {
            text += &format!("     and there it ends: {why}\n");
        }
    }
    text
}

fn host_text(offset: u64, place: &FilePlace) -> String {
    let steps = steps_text(&place.steps);
    format!(
        "Host offset {offset:#x} of {}\n\n{steps}  => {}\n",
        place.file,
        place.verdict.text()
    )
}

/// What there is in one image.
fn conclusion(layer: &Layer) -> String {
    match (layer.place, &layer.backing_file, &layer.data_file) {
        (Place::Data { host }, _, Some(file)) => {
            format!("data, at {host:#x} of the external data file {file}")
        }
        (Place::Data { host }, _, None) => format!("data, at {host:#x} of this file"),
        (Place::Compressed { host, length }, ..) => {
            format!("in a compressed cluster: at most {length} bytes from {host:#x} of this file")
        }
        (Place::Zero, ..) => "zeros".to_owned(),
        (Place::Unallocated, Some(base), _) => {
            format!("nothing here: the backing file {base} shows through")
        }
        (Place::Unallocated, None, _) => "nothing here, and no backing file: zeros".to_owned(),
        (Place::PastTheEnd, ..) => "past the end of this disk: zeros for who asks".to_owned(),
        (Place::Corrupt, ..) => "the tables contradict themselves: cowbox img check".to_owned(),
    }
}

/// The steps, with the fields of each in columns.
fn steps_text(steps: &[Step]) -> String {
    let fields = || steps.iter().flat_map(|step| &step.fields);
    let names = fields().map(|f| f.name.len()).max().unwrap_or(0);
    let values = fields().map(|f| f.value.len()).max().unwrap_or(0).min(24);
    let mut text = String::new();
    for step in steps {
        text += &format!("  {}", step.what);
        if let Some(at) = step.at {
            text += &format!(", at {at:#x}");
        }
        if let Some(value) = &step.value {
            text += &format!(": {value}");
        }
        text += "\n";
        for field in &step.fields {
            let line = format!(
                "    {:<names$}  {:<values$}  {}",
                field.name, field.value, field.meaning
            );
            text += line.trim_end();
            text += "\n";
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bytes_or_sectors_of_the_disk_or_bytes_of_the_file() {
        assert_eq!("64k".parse(), Ok(Asked::Guest(65536)));
        assert_eq!("0x200".parse(), Ok(Asked::Guest(512)));
        assert_eq!("lba=3".parse(), Ok(Asked::Guest(1536)));
        assert_eq!("host=0x30000".parse(), Ok(Asked::Host(0x30000)));
        assert!("lba=0xffffffffffffffff".parse::<Asked>().is_err());
        assert!("where".parse::<Asked>().is_err());
    }
}
