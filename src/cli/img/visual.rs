//! `cowbox img map --visual`: a picture of the clusters of a qcow2 file.
//!
//! A row starts with the offset in the file of its first cluster. A letter says what a cluster is,
//! so that the picture works without colours; on a terminal (and without `NO_COLOR`) it has them
//! too. Where the file has more clusters than the picture has room for, each character stands for
//! so many of them, and shows what most of them are; a leak or a conflict is always shown. The
//! legend counts every single cluster.

use std::error::Error;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::process::ExitCode;

use super::super::Outcome;
use super::super::console::TerminalSize;
use super::size;
use super::source::Source;
use crate::image::qcow2::census::{Census, Kind, Tally};
use crate::image::qcow2::header::Header;
use crate::image::{self, Escaped};

/// A picture has at most so many rows.
const ROWS: u64 = 24;
/// Columns where nobody says how wide the output is.
const COLUMNS: usize = 80;

/// Prints the picture of the image.
pub(super) fn show(source: &Source) -> Outcome {
    let Some((header, census)) = image::census(&source.path, &source.options)? else {
        return Err("only qcow2 images have clusters that could be drawn".into());
    };
    let out = std::io::stdout();
    let colours = match out.is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        true => Colours::On,
        false => Colours::Off,
    };
    let columns = match out.is_terminal() {
        true => TerminalSize::of_stdout().columns,
        false => std::env::var("COLUMNS")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(COLUMNS),
    };
    let name = Escaped(source.path.as_os_str().as_encoded_bytes()).to_string();
    print!("{}", picture(&name, &header, &census, (columns, colours))?);
    Ok(ExitCode::SUCCESS)
}

/// Whether the letters are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colours {
    On,
    Off,
}

/// The letter of a kind, its colour (SGR), and what it is.
fn legend(kind: Kind) -> (char, &'static str, &'static str) {
    match kind {
        Kind::Header => ('H', "1;37;44", "header"),
        Kind::L1 => ('1', "1;36", "L1 table"),
        Kind::L2 => ('2', "36", "L2 table"),
        Kind::Refcounts => ('R', "35", "refcount table or block"),
        Kind::Data => ('D', "32", "data"),
        Kind::SnapshotData => ('d', "33", "data that only snapshots hold"),
        Kind::Compressed => ('C', "1;32", "compressed data"),
        Kind::Zero => ('z', "34", "kept for zeros"),
        Kind::Snapshots => ('S', "1;33", "snapshot table"),
        Kind::Bitmaps => ('B', "1;35", "dirty bitmaps"),
        Kind::Encryption => ('K', "1;34", "encryption header"),
        Kind::Free => ('.', "90", "free"),
        Kind::Leaked => ('!', "1;31", "leaked: counted, and nothing refers to it"),
        Kind::Conflict => ('X', "1;37;41", "conflict: two uses that exclude each other"),
    }
}

fn picture(
    name: &str,
    header: &Header,
    census: &Census,
    (columns, colours): (usize, Colours),
) -> Result<String, Box<dyn Error>> {
    let bits = header.geometry.cluster_bits();
    let len = census.clusters << bits;
    let digits = format!("{len:#x}").len();
    let per_row = columns.saturating_sub(digits + 2).max(8);
    let room = ROWS * per_row as u64;
    let per_piece = census.clusters.div_ceil(room).max(1).next_power_of_two();
    let mut text = String::new();
    let cluster = size::human(header.geometry.cluster_size());
    writeln!(
        text,
        "{name}: {} clusters of {cluster}, {}",
        census.clusters,
        size::human(len)
    )?;
    let piece = size::human(per_piece << bits);
    match per_piece {
        1 => writeln!(text, "Each character is one cluster.")?,
        n => writeln!(
            text,
            "Each character is {n} clusters ({piece}), and shows what most of them are; a leak or \
             a\nconflict is always shown."
        )?,
    }
    let tallies = census.tallies(per_piece);
    for (row, pieces) in tallies.chunks(per_row).enumerate() {
        let first = row as u64 * per_row as u64 * per_piece;
        write!(text, "{:>digits$}  ", format!("{:#x}", first << bits))?;
        write_row(&mut text, pieces, colours)?;
    }
    write_legend(&mut text, header, &tallies, colours)?;
    for (count, what) in [
        (census.past_end, "lead past the end of the file"),
        (census.passed_over, "make no sense, and are not followed"),
    ] {
        if count > 0 {
            writeln!(
                text,
                "{count} pointers or tables {what}: cowbox img check {name}"
            )?;
        }
    }
    Ok(text)
}

/// A row of characters; a colour is set where it changes.
fn write_row(text: &mut String, pieces: &[Tally], colours: Colours) -> std::fmt::Result {
    for run in pieces.chunk_by(|one, next| one.dominant() == next.dominant()) {
        let kind = run.first().map_or(Kind::Free, Tally::dominant);
        let (letter, _, _) = legend(kind);
        let letters: String = std::iter::repeat_n(letter, run.len()).collect();
        write_coloured(text, &letters, kind, colours)?;
    }
    writeln!(text)
}

fn write_coloured(text: &mut String, what: &str, kind: Kind, colours: Colours) -> std::fmt::Result {
    match (colours, legend(kind).1) {
        (Colours::Off, _) => text.write_str(what),
        (Colours::On, colour) => write!(text, "\x1b[{colour}m{what}\x1b[0m"),
    }
}

/// The kinds that there are, with their letters and how much of the file they take.
fn write_legend(
    text: &mut String,
    header: &Header,
    tallies: &[Tally],
    colours: Colours,
) -> std::fmt::Result {
    for kind in Kind::ALL {
        let count: u64 = tallies.iter().map(|tally| tally.get(kind)).sum();
        if count == 0 {
            continue;
        }
        let (letter, _, what) = legend(kind);
        let bytes = size::human(count << header.geometry.cluster_bits());
        write_coloured(text, &letter.to_string(), kind, colours)?;
        writeln!(text, "  {count:>10}  {bytes:>10}  {what}")?;
    }
    Ok(())
}
