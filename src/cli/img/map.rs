//! `cowbox img map`: where the contents of an image lie, through its whole chain.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::super::Outcome;
use super::super::program::Program;
use super::info::Output;
use super::options::{Opening, format};
use super::{size, visual};
use crate::image::qcow2::Qcow2;
use crate::image::qcow2::address::{GuestOffset, HostOffset};
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
    /// Draw the clusters of the file, and what each is used for.
    #[arg(long, conflicts_with_all = ["output", "start_offset", "max_length"])]
    visual: bool,
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
    /// Whether any image of the chain has something there, be it zeros.
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
        if self.visual {
            return visual::show(&source);
        }
        let image = source.open()?;
        let start = self.start_offset.unwrap_or(0).min(image.size());
        let length = self.max_length.unwrap_or(u64::MAX);
        let end = start.saturating_add(length).min(image.size());
        match self.output {
            Output::Human => print_human(&*image, start..end),
            Output::Json => print_json(&*image, start..end),
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
    let layers = Layer::all(image)?;
    let mut held: Option<Row> = None;
    let mut at = range.start;
    while at < range.end {
        let row = Row::of(&layers, image.extent(at, range.end - at)?)?;
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

/// An image of the chain, and what is asked of it once.
struct Layer<'a> {
    image: &'a dyn Image,
    encrypted: bool,
    /// Whether its file has holes behind what is mapped.
    sparse: bool,
}

impl<'a> Layer<'a> {
    /// The chain from the top down.
    fn all(image: &'a dyn Image) -> Result<Vec<Self>, Box<dyn Error>> {
        let chain = std::iter::successors(Some(image), |image| image.backing().map(|b| &**b));
        let layers = chain.map(|image| -> Result<Self, Box<dyn Error>> {
            let (mut encrypted, mut sparse) = (image.format() == Format::Luks, false);
            if let Some(qcow2) = image.as_qcow2() {
                encrypted = qcow2.is_encrypted();
                sparse = !encrypted && qcow2.is_preallocated()?;
            }
            Ok(Self {
                image,
                encrypted,
                sparse,
            })
        });
        layers.collect()
    }
}

impl Row {
    fn of(layers: &[Layer<'_>], extent: Extent) -> Result<Self, Box<dyn Error>> {
        let mut row = Self {
            start: extent.offset,
            length: extent.length,
            depth: extent.depth,
            present: extent.kind != ExtentKind::Unallocated,
            zero: extent.kind.reads_zero(),
            data: !extent.kind.reads_zero(),
            compressed: extent.kind == ExtentKind::Compressed,
            offset: match extent.kind {
                ExtentKind::Data { host } => Some(host),
                ExtentKind::Zero { host } => host,
                ExtentKind::Compressed | ExtentKind::Unallocated => None,
            },
        };
        let Some(layer) = layers.get(extent.depth) else {
            return Ok(row);
        };
        if layer.encrypted {
            row.offset = None;
        } else if let Some(qcow2) = layer.image.as_qcow2() {
            row.look_behind(qcow2, extent.kind, layer.sparse)?;
        }
        Ok(row)
    }

    /// What the file has for a row that is mapped, or kept for one that is not: the row ends
    /// where that changes.
    fn look_behind(
        &mut self,
        qcow2: &Qcow2,
        kind: ExtentKind,
        sparse: bool,
    ) -> Result<(), Box<dyn Error>> {
        match kind {
            ExtentKind::Data { host } if sparse => {
                (self.zero, self.length) = qcow2.is_hole(HostOffset(host), self.length);
            }
            ExtentKind::Unallocated => {
                let (place, length) = qcow2.kept_place(GuestOffset(self.start), self.length)?;
                self.offset = place.map(|host| host.0);
                self.length = length;
            }
            _ => {}
        }
        Ok(())
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

fn print_json(image: &dyn Image, range: std::ops::Range<u64>) -> Result<(), Box<dyn Error>> {
    let mut before = "[";
    for_each_row(image, range, &mut |row| {
        print!(
            "{before}{{ \"start\": {}, \"length\": {}, \"depth\": {}, \"present\": {}, \
             \"zero\": {}, \"data\": {}, \"compressed\": {}",
            row.start, row.length, row.depth, row.present, row.zero, row.data, row.compressed
        );
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
