//! `cowbox img map`: where the contents of an image lie, through its whole chain.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::super::Outcome;
use super::super::program::Program;
use super::info::Output;
use super::options::{Opening, format};
use super::size;
use crate::image::qcow2::header::EncryptionMethod;
use crate::image::{Escaped, Extent, ExtentKind, Format, Image};

/// Show where the contents of an image lie.
#[derive(Debug, Args)]
pub(super) struct Map {
    /// Format of the image.
    #[arg(short = 'f', long, value_parser = format)]
    format: Option<Format>,
    /// Form of the answer.
    #[arg(long, default_value = "human")]
    output: Output,
    /// Start here.
    #[arg(short = 's', long, value_name = "BYTE", value_parser = size::parse)]
    start_offset: Option<u64>,
    /// End after so many bytes.
    #[arg(short = 'l', long, value_name = "SIZE", value_parser = size::parse)]
    max_length: Option<u64>,
    #[command(flatten)]
    opening: Opening,
    /// The image.
    file: PathBuf,
}

/// A run of the disk as it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    start: u64,
    length: u64,
    /// Which image of the chain has it: 0 the image itself, 1 its backing image, and so on.
    depth: usize,
    /// Whether any image of the chain has something there.
    present: bool,
    zero: bool,
    data: bool,
    compressed: bool,
    /// Where it lies in the file of that image.
    offset: Option<u64>,
}

impl Map {
    pub(super) fn run(self, program: Program) -> Outcome {
        let source = self.opening.reading(&self.file, self.format, program)?;
        let image = source.open()?;
        let start = self.start_offset.unwrap_or(0).min(image.size());
        let length = self.max_length.unwrap_or(u64::MAX);
        let end = start.saturating_add(length).min(image.size());
        match self.output {
            Output::Human => print_human(&*image, start..end),
            Output::Json => print_json(&*image, start..end, program),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Calls `show` with the runs of `range`, each as long as it can be.
fn for_each_row(
    image: &dyn Image,
    range: std::ops::Range<u64>,
    show: &mut dyn FnMut(Row) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut held: Option<Row> = None;
    let mut at = range.start;
    while at < range.end {
        let row = Row::of(image, image.extent(at, range.end - at)?);
        at += row.length;
        match &mut held {
            Some(before) if before.joins(&row) => before.length += row.length,
            _ => {
                if let Some(done) = held.replace(row) {
                    show(done)?;
                }
            }
        }
    }
    held.map_or(Ok(()), show)
}

impl Row {
    fn of(image: &dyn Image, extent: Extent) -> Self {
        let mut row = Self {
            start: extent.offset,
            length: extent.length,
            depth: extent.depth,
            present: true,
            zero: extent.kind.reads_zero(),
            data: !extent.kind.reads_zero(),
            compressed: extent.kind == ExtentKind::Compressed,
            offset: match extent.kind {
                ExtentKind::Data { host } => Some(host),
                ExtentKind::Zero { host } => host,
                ExtentKind::Compressed | ExtentKind::Unallocated => None,
            },
        };
        let layer = layer(image, extent.depth);
        let encrypted = layer
            .as_qcow2()
            .is_some_and(|qcow2| qcow2.header().encryption != EncryptionMethod::None);
        if encrypted {
            row.offset = None;
        }
        if extent.kind == ExtentKind::Unallocated {
            (row.depth, row.present) = deepest(image, extent.offset);
        }
        row
    }

    /// Whether `next` goes on where this ends, and is the same in everything else.
    fn joins(&self, next: &Self) -> bool {
        let moved = Self {
            start: next.start,
            length: next.length,
            offset: self.offset.map(|offset| offset + self.length),
            ..*self
        };
        moved == *next
    }
}

/// The image of the chain at `depth`.
fn layer(image: &dyn Image, depth: usize) -> &dyn Image {
    let below = std::iter::successors(Some(image), |image| image.backing().map(|below| &**below));
    below.take(depth + 1).last().unwrap_or(image)
}

/// The image that ends the search for `offset`, where none has anything, and whether it answers
/// by being too short.
fn deepest(image: &dyn Image, offset: u64) -> (usize, bool) {
    let (mut image, mut depth) = (image, 0);
    while let Some(below) = image.backing() {
        depth += 1;
        if offset >= below.size() {
            return (depth, true);
        }
        image = &**below;
    }
    (depth, false)
}

fn print_human(image: &dyn Image, range: std::ops::Range<u64>) -> Result<(), Box<dyn Error>> {
    println!("{:<16}{:<16}{:<16}File", "Offset", "Length", "Mapped to");
    for_each_row(image, range, &mut |row| {
        if !row.data || row.zero {
            return Ok(());
        }
        let Some(offset) = row.offset else {
            return Err("File contains external, encrypted or compressed clusters.".into());
        };
        let file = layer(image, row.depth).path().unwrap_or("".as_ref());
        println!(
            "{:<#16x}{:<#16x}{:<#16x}{}",
            Hex(row.start),
            Hex(row.length),
            Hex(offset),
            Escaped(file.as_os_str().as_encoded_bytes())
        );
        Ok(())
    })
}

/// A number as C's `%#x` has it: a zero without prefix.
struct Hex(u64);

impl std::fmt::LowerHex for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match self.0 {
            0 => "0".to_owned(),
            number => format!("{number:#x}"),
        };
        write!(f, "{text:<width$}", width = f.width().unwrap_or(0))
    }
}

fn print_json(
    image: &dyn Image,
    range: std::ops::Range<u64>,
    program: Program,
) -> Result<(), Box<dyn Error>> {
    let mut before = "[";
    for_each_row(image, range, &mut |row| {
        print!(
            "{before}{{ \"start\": {}, \"length\": {}, \"depth\": {}, \"present\": {}, \
             \"zero\": {}, \"data\": {}",
            row.start, row.length, row.depth, row.present, row.zero, row.data
        );
        // A field of later versions than the one whose name is borrowed.
        if !program.is_qemu() {
            print!(", \"compressed\": {}", row.compressed);
        }
        if let Some(offset) = row.offset {
            print!(", \"offset\": {offset}");
        }
        print!("}}");
        before = ",\n";
        Ok(())
    })?;
    match before {
        "[" => println!("[]"),
        _ => println!("]"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_c_prints_them() {
        assert_eq!(format!("{:<#16x}|", Hex(0)), "0               |");
        assert_eq!(format!("{:<#16x}|", Hex(0x50000)), "0x50000         |");
    }
}
