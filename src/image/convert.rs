//! Copying one image into another, in whatever formats they are.
//!
//! What the source is known not to hold is not read, and what turns out to be zeros is not
//! written, so the work follows the data and not the size of the disk.

use std::panic::resume_unwind;

use super::fields::{buffer_len, zeroed};
use super::qcow2::address::GuestOffset;
use super::qcow2::{Compressor, Qcow2};
use super::zeros::is_zero;
use super::{ErrorKind, Extent, ExtentKind, Image, ImageError, Result, SECTOR, ZeroMode};

/// Bytes read and written at a time.
const PIECE: u64 = 2 << 20;
/// Clusters compressed at a time.
const BATCH_BYTES: u64 = 8 << 20;

/// How to copy.
#[derive(Debug, Clone, Copy)]
pub struct ConvertOptions {
    /// Runs of zeros of this many bytes are not written; 0 writes them all. A multiple of 512.
    pub sparse: u64,
    /// How the data is stored.
    pub storing: Storing,
    /// What the target is like before.
    pub target: TargetContents,
    /// Where in the target the source goes, in bytes.
    pub offset: u64,
}

/// What a target is like before it is copied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetContents {
    /// It is new, and reads as zeros.
    New,
    /// It holds something, all of which is replaced.
    Existing,
    /// It is new, and has the backing image of the source: only what the source itself holds is
    /// copied.
    Backed,
}

/// What is done about a run of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Skip,
    Zero,
    Copy,
}

impl ConvertOptions {
    fn action(&self, extent: &Extent) -> Action {
        let own = extent.depth == 0 && extent.kind != ExtentKind::Unallocated;
        match (self.target, extent.kind.reads_zero()) {
            (TargetContents::Backed, _) if !own => Action::Skip,
            (TargetContents::New, true) if self.sparse > 0 => Action::Skip,
            (TargetContents::New, _) | (_, false) => Action::Copy,
            (TargetContents::Existing | TargetContents::Backed, true) => Action::Zero,
        }
    }
}

/// How data is stored in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storing {
    /// As it is.
    Plain,
    /// Compressed, where that makes it smaller. The target is qcow2.
    Compressed,
}

impl Default for ConvertOptions {
    fn default() -> Self {
        Self {
            sparse: 4096,
            storing: Storing::Plain,
            target: TargetContents::New,
            offset: 0,
        }
    }
}

/// Copies the contents of `source` to `target`, which has room for it, and flushes that.
/// `progress` is told how many bytes are done.
pub fn convert(
    source: &dyn Image,
    target: &dyn Image,
    options: ConvertOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    if !options.sparse.is_multiple_of(SECTOR) {
        return Err(invalid("the sparse size is not a multiple of 512"));
    }
    if target.size() < options.offset.saturating_add(source.size()) {
        return Err(invalid("the target is smaller than the source"));
    }
    match (options.storing, target.as_qcow2()) {
        (Storing::Plain, _) => copy_plain(source, target, options, progress)?,
        (Storing::Compressed, Some(target)) => {
            copy_compressed(source, target, options, progress)?;
        }
        (Storing::Compressed, None) => {
            return Err(invalid("only qcow2 images can hold compressed data"));
        }
    }
    target.close()
}

/// A part of a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Where it starts.
    pub start: u64,
    /// How long it is.
    pub len: u64,
}

/// Copies `span` of `source` to the start of `target`, which is new and as long or longer, and
/// flushes it.
pub fn convert_span(
    source: &dyn Image,
    target: &dyn Image,
    span: Span,
    options: ConvertOptions,
) -> Result<()> {
    let mut buf = zeroed(PIECE);
    let mut done = 0;
    while done < span.len {
        let (piece, _) = buf.split_at_mut(buffer_len((span.len - done).min(PIECE)));
        let read = source.read_at(piece, span.start + done);
        read.map_err(|e| from(e, source))?;
        write_sparse(target, piece, done, options).map_err(|e| from(e, target))?;
        done += piece.len() as u64;
    }
    target.close()
}

fn copy_plain(
    source: &dyn Image,
    target: &dyn Image,
    options: ConvertOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let mut buf = zeroed(PIECE);
    let mut at = 0;
    while at < source.size() {
        let extent = source
            .extent(at, source.size() - at)
            .map_err(|e| from(e, source))?;
        let end = at + extent.length;
        let action = options.action(&extent);
        if action == Action::Zero {
            let zeroed = target.write_zeroes(options.offset + at, end - at, ZeroMode::MayUnmap);
            zeroed.map_err(|e| from(e, target))?;
        }
        if action != Action::Copy {
            at = end;
        }
        while at < end {
            let (piece, _) = buf.split_at_mut(buffer_len((end - at).min(PIECE)));
            source.read_at(piece, at).map_err(|e| from(e, source))?;
            let place = options.offset + at;
            write_sparse(target, piece, place, options).map_err(|e| from(e, target))?;
            at += piece.len() as u64;
            progress(at);
        }
        progress(at);
    }
    Ok(())
}

/// Writes `data` at `at` without its runs of zeros, which are made where they are not there.
fn write_sparse(target: &dyn Image, data: &[u8], at: u64, options: ConvertOptions) -> Result<()> {
    let sparse = options.sparse;
    if sparse == 0 {
        return target.write_at(data, at);
    }
    let mut offset = at;
    let units = data
        .chunks(buffer_len(sparse))
        .map(|unit| (is_zero(unit), unit.len()));
    let mut run: Option<(bool, usize)> = None;
    let mut rest = data;
    for (zero, len) in units.chain([(true, 0)]) {
        match &mut run {
            Some((same, total)) if *same == zero && len > 0 => *total += len,
            _ => {
                if let Some((zero, total)) = run {
                    let (now, after) = rest.split_at(total);
                    if !zero {
                        target.write_at(now, offset)?;
                    } else if options.target != TargetContents::New {
                        target.write_zeroes(offset, total as u64, ZeroMode::MayUnmap)?;
                    }
                    offset += total as u64;
                    rest = after;
                }
                run = Some((zero, len));
            }
        }
    }
    Ok(())
}

fn copy_compressed(
    source: &dyn Image,
    target: &Qcow2,
    options: ConvertOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let cluster = target.geometry().cluster_size();
    if !options.offset.is_multiple_of(cluster) {
        return Err(invalid("compressed data has to start with a cluster"));
    }
    let batch = (BATCH_BYTES / cluster).max(1) * cluster;
    let mut buf = zeroed(batch);
    let mut at = 0;
    while at < source.size() {
        let left = source.size() - at;
        let extent = source.extent(at, left).map_err(|e| from(e, source))?;
        let whole = extent.length - extent.length % cluster;
        let action = options.action(&extent);
        if action != Action::Copy && (whole > 0 || extent.length == left) {
            let run = if whole > 0 { whole } else { left };
            if action == Action::Zero {
                let zeroed = target.write_zeroes(options.offset + at, run, ZeroMode::MayUnmap);
                zeroed.map_err(|e| from(e, target))?;
            }
            at += run;
            progress(at);
            continue;
        }
        let mut len = left.min(batch);
        if options.target == TargetContents::Backed {
            len = len.min(extent.length.next_multiple_of(cluster));
        }
        let padded = buffer_len(len.next_multiple_of(cluster));
        let (data, _) = buf.split_at_mut(padded);
        let (now, padding) = data.split_at_mut(buffer_len(len));
        source.read_at(now, at).map_err(|e| from(e, source))?;
        padding.fill(0);
        store_batch(target, data, options.offset + at, options).map_err(|e| from(e, target))?;
        at += len;
        progress(at);
    }
    Ok(())
}

/// Compresses clusters side by side and stores them in their order, so that the same input makes
/// the same file.
fn store_batch(target: &Qcow2, data: &[u8], at: u64, options: ConvertOptions) -> Result<()> {
    let cluster = buffer_len(target.geometry().cluster_size());
    let clusters: Vec<&[u8]> = data.chunks(cluster).collect();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let share = clusters.len().div_ceil(threads).max(1);
    let streams: Vec<Stored> = std::thread::scope(|scope| {
        let work = |part: &[&[u8]]| -> Vec<_> {
            let mut compressor = target.compressor();
            let stored = part.iter().map(|data| Stored::of(data, &mut compressor));
            stored.collect()
        };
        let parts: Vec<_> = clusters
            .chunks(share)
            .map(|part| scope.spawn(move || work(part)))
            .collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    });
    for ((data, stored), number) in clusters.iter().zip(streams).zip(0..) {
        let offset = at + number * cluster as u64;
        let inside = buffer_len((target.size() - offset).min(data.len() as u64));
        match stored {
            Stored::Nothing if options.target == TargetContents::New => {}
            Stored::Nothing => {
                target.write_zeroes(offset, inside as u64, ZeroMode::MayUnmap)?;
            }
            Stored::Stream(stream) => target.write_compressed(GuestOffset(offset), &stream)?,
            Stored::Plain => target.write_at(data.split_at(inside).0, offset)?,
        }
    }
    Ok(())
}

/// Writes `data` at `offset` compressed, cluster by cluster; a cluster that does not get smaller is
/// written as it is.
///
/// Errors: [`ErrorKind::Invalid`] unless `data` is whole clusters, or ends with the disk.
pub fn write_compressed(target: &Qcow2, data: &[u8], offset: u64) -> Result<()> {
    let cluster = target.geometry().cluster_size();
    let len = data.len() as u64;
    let whole = len.is_multiple_of(cluster) || offset.saturating_add(len) == target.size();
    if !offset.is_multiple_of(cluster) || !whole {
        return Err(invalid("only whole clusters can be written compressed"));
    }
    for (part, number) in data.chunks(buffer_len(cluster)).zip(0..) {
        let mut padded = part.to_vec();
        padded.resize(buffer_len(cluster), 0);
        let at = offset + number * cluster;
        match target.compressor().compress(&padded) {
            Some(stream) => target.write_compressed(GuestOffset(at), &stream)?,
            None => target.write_at(part, at)?,
        }
    }
    Ok(())
}

/// What becomes of a cluster.
enum Stored {
    /// It is all zeros.
    Nothing,
    /// It is smaller this way.
    Stream(Vec<u8>),
    /// It is not.
    Plain,
}

impl Stored {
    fn of(data: &[u8], compressor: &mut Compressor) -> Self {
        if is_zero(data) {
            return Self::Nothing;
        }
        compressor.compress(data).map_or(Self::Plain, Self::Stream)
    }
}

fn from(error: ImageError, image: &dyn Image) -> ImageError {
    match image.path() {
        Some(path) => error.in_file(path),
        None => error,
    }
}

fn invalid(detail: &str) -> ImageError {
    ImageError::new(ErrorKind::Invalid, detail)
}
