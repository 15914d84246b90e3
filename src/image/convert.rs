//! Copying one image into another, in whatever formats they are.
//!
//! What the source is known not to hold is not read, and what turns out to be zeros is not
//! written, so the work follows the data and not the size of the disk. Several threads read,
//! look for zeros, compress and write; space in the target is taken in the order of the disk, so
//! that the same input makes the same file (see [`WriteOrder`]).

use std::ops::Range;

use super::fields::{buffer_len, zeroed};
use super::pipeline::{self, Done, Progress, Turn};
use super::qcow2::address::GuestOffset;
use super::qcow2::header::EncryptionMethod;
use super::qcow2::preallocate::Preallocation;
use super::qcow2::{Compressor, Level, Qcow2};
use super::zeros::is_zero;
use super::{ErrorKind, Extent, ExtentKind, Image, ImageError, Result, SECTOR, ZeroMode};

/// Bytes that a thread takes on at a time, if clusters are not bigger: what a processor's own
/// cache holds.
const WINDOW: u64 = 512 << 10;
/// Bytes of a span that are copied at a time.
const PIECE: u64 = 2 << 20;

/// How to copy.
#[derive(Debug, Clone, Copy)]
pub struct ConvertOptions {
    /// Runs of zeros of this many bytes are not written; 0 writes them all. A multiple of 512.
    pub sparse: u64,
    /// How the data is stored.
    pub storing: Storing,
    /// How much work goes into compression.
    pub level: Level,
    /// What the target is like before.
    pub target: TargetContents,
    /// So many threads work at it, at least one.
    pub threads: usize,
    /// In which order a target that has no order of its own is written.
    pub order: WriteOrder,
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

/// In which order space is taken in a qcow2 target. In a raw one everything has its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WriteOrder {
    /// In that of the disk.
    #[default]
    Disk,
    /// As the data comes.
    Any,
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
            (_, true) if self.sparse == 0 => Action::Copy,
            (_, false) => Action::Copy,
            (TargetContents::New, true) => Action::Skip,
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
            level: Level::Default,
            target: TargetContents::New,
            threads: pipeline::usual_threads(),
            order: WriteOrder::Disk,
        }
    }
}

/// Copies the contents of `source` to `target`, which has room for it, and flushes that.
pub fn convert(
    source: &dyn Image,
    target: &dyn Image,
    options: ConvertOptions,
    progress: Progress<'_>,
) -> Result<()> {
    if !options.sparse.is_multiple_of(SECTOR) {
        return Err(invalid("the sparse size is not a multiple of 512"));
    }
    if target.size() < source.size() {
        return Err(invalid("the target is smaller than the source"));
    }
    match (options.storing, target.as_qcow2()) {
        (Storing::Plain, _) => copy_plain(source, target, options, progress)?,
        (Storing::Compressed, Some(qcow2)) => copy_compressed(source, qcow2, options, progress)?,
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
        for run in runs(piece, options.sparse) {
            run.write(target, piece, done, options.target)
                .map_err(|e| from(e, target))?;
        }
        done += piece.len() as u64;
    }
    target.close()
}

// ---- what there is to copy ------------------------------------------------------------------

/// A part of the source that one thread takes on: what there is to copy in it.
struct Window {
    start: u64,
    ranges: Vec<Range<u64>>,
}

impl Window {
    /// One past the last byte to copy.
    fn end(&self) -> u64 {
        self.ranges.last().map_or(self.start, |range| range.end)
    }

    /// Reads what there is to copy, each range at its place, and zeros between them.
    fn read(&self, source: &dyn Image, buf: &mut Vec<u8>) -> Result<()> {
        buf.resize(buffer_len(self.end() - self.start), 0);
        let mut at = self.start;
        let mut rest = &mut buf[..];
        for range in &self.ranges {
            let (gap, data) = rest.split_at_mut(buffer_len(range.start - at));
            gap.fill(0);
            let (data, after) = data.split_at_mut(buffer_len(range.end - range.start));
            let read = source.read_at(data, range.start);
            read.map_err(|e| from(e, source))?;
            (rest, at) = (after, range.end);
        }
        Ok(())
    }
}

/// Goes over the source and finds what there is to copy. Zeros that have to be made are made on
/// the way.
struct Survey<'a> {
    source: &'a dyn Image,
    target: &'a dyn Image,
    options: ConvertOptions,
    /// Everything is copied in whole units of this many bytes.
    unit: u64,
    window: u64,
    done: Done,
    /// What the run at the position is, and where it ends.
    run: (Action, u64),
    progress: Progress<'a>,
}

impl<'a> Survey<'a> {
    fn new(
        source: &'a dyn Image,
        target: &'a dyn Image,
        (options, unit): (ConvertOptions, u64),
        progress: Progress<'a>,
    ) -> Self {
        let cluster = |image: &dyn Image| {
            let qcow2 = image.as_qcow2();
            qcow2.map_or(0, |qcow2| qcow2.geometry().cluster_size())
        };
        Self {
            unit,
            window: WINDOW.max(cluster(source)).max(cluster(target)),
            source,
            target,
            options,
            done: Done::default(),
            run: (Action::Skip, 0),
            progress,
        }
    }

    /// The next window with something to copy.
    fn next(&mut self) -> Result<Option<Window>> {
        while self.done.position < self.source.size() {
            let start = self.done.position - self.done.position % self.unit;
            let end = start + self.window - start % self.window;
            let ranges = self.gather(end.min(self.source.size()))?;
            self.done.copied += ranges
                .iter()
                .map(|range| range.end - range.start)
                .sum::<u64>();
            (self.progress)(self.done);
            if !ranges.is_empty() {
                return Ok(Some(Window { start, ranges }));
            }
        }
        Ok(None)
    }

    /// What there is to copy from the position to `end`. The position may come to lie behind that.
    fn gather(&mut self, end: u64) -> Result<Vec<Range<u64>>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        while self.done.position < end {
            let at = self.done.position;
            if self.run.1 <= at {
                self.look(at)?;
            }
            let (action, run_end) = self.run;
            if action != Action::Copy {
                self.done.position = run_end;
                continue;
            }
            let stop = run_end.min(end);
            let range = at - at % self.unit..stop.next_multiple_of(self.unit).min(end);
            match ranges.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => ranges.push(range),
            }
            self.done.position = stop;
        }
        Ok(ranges)
    }

    /// Finds out what to do from `at` on. Only whole units are zeros.
    fn look(&mut self, at: u64) -> Result<()> {
        let size = self.source.size();
        let extent = self.source.extent(at, size - at);
        let extent = extent.map_err(|e| from(e, self.source))?;
        let end = at + extent.length;
        let action = self.options.action(&extent);
        self.run = (action, end);
        if action != Action::Zero {
            return Ok(());
        }
        let whole = if end == size {
            end
        } else {
            end - end % self.unit
        };
        let next = at.next_multiple_of(self.unit);
        if next > at || whole <= at {
            // A part of a unit: it is copied with the rest of it.
            self.run = (Action::Copy, if next > at { next.min(end) } else { end });
            return Ok(());
        }
        self.run.1 = whole;
        let made = self.target.write_zeroes(at, whole - at, ZeroMode::MayUnmap);
        made.map_err(|e| from(e, self.target))
    }
}

// ---- plain copies -----------------------------------------------------------------------------

/// A run of a buffer that is all zeros, or to be written as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    range: Range<usize>,
    zero: bool,
}

impl Run {
    /// Writes the run of `data`, whose first byte belongs at `place`.
    fn write(
        &self,
        target: &dyn Image,
        data: &[u8],
        place: u64,
        before: TargetContents,
    ) -> Result<()> {
        let at = place + self.range.start as u64;
        match (self.zero, before) {
            (true, TargetContents::New) => Ok(()),
            (true, _) => target.write_zeroes(at, self.range.len() as u64, ZeroMode::MayUnmap),
            (false, _) => {
                let (_, from_start) = data.split_at(self.range.start);
                target.write_at(from_start.split_at(self.range.len()).0, at)
            }
        }
    }
}

/// The runs of zeros, by units of `sparse` bytes, and what lies between them.
fn runs(data: &[u8], sparse: u64) -> Vec<Run> {
    let unit = match sparse {
        0 => data.len(),
        _ => buffer_len(sparse),
    };
    let mut runs: Vec<Run> = Vec::new();
    let mut at = 0;
    for unit in data.chunks(unit.max(1)) {
        let zero = sparse > 0 && is_zero(unit);
        let end = at + unit.len();
        match runs.last_mut() {
            Some(last) if last.zero == zero => last.range.end = end,
            _ => runs.push(Run {
                range: at..end,
                zero,
            }),
        }
        at = end;
    }
    runs
}

/// Writes to a target, by several threads.
struct PlainCopy<'a> {
    source: &'a dyn Image,
    target: &'a dyn Image,
    options: ConvertOptions,
    /// Zeros are found in units of this many bytes.
    sparse: u64,
    /// Clusters are filled in units of this many bytes.
    unit: u64,
    /// The target, where its clusters can be taken before they are written.
    reserving: Option<&'a Qcow2>,
}

impl PlainCopy<'_> {
    fn copy(&self, buf: &mut Vec<u8>, window: &Window, turn: Turn<'_>) -> Result<()> {
        window.read(self.source, buf)?;
        let mut found = Vec::new();
        for range in &window.ranges {
            let start = range.start - window.start;
            let (_, data) = buf.split_at(buffer_len(start));
            let data = data.split_at(buffer_len(range.end - range.start)).0;
            found.push((data, range.start, runs(data, self.sparse)));
        }
        let in_turn = self.target.as_qcow2().is_some() && self.options.order == WriteOrder::Disk;
        let turn = in_turn.then_some(turn);
        if let Some(turn) = &turn {
            turn.wait();
        }
        if let (Some(_), Some(qcow2)) = (&turn, self.reserving) {
            for (_, place, runs) in &found {
                for run in runs.iter().filter(|run| !run.zero) {
                    let (start, end) =
                        (place + run.range.start as u64, place + run.range.end as u64);
                    // A cluster past whose middle the disk ends is filled when it is written.
                    let range = GuestOffset(start)..GuestOffset(end - end % self.unit);
                    let taken = qcow2.preallocate(range.start, range.end, Preallocation::Metadata);
                    taken.map_err(|e| from(e, self.target))?;
                }
            }
            drop(turn);
        }
        for (data, place, runs) in &found {
            for run in runs {
                run.write(self.target, data, *place, self.options.target)
                    .map_err(|e| from(e, self.target))?;
            }
        }
        Ok(())
    }
}

fn copy_plain(
    source: &dyn Image,
    target: &dyn Image,
    options: ConvertOptions,
    progress: Progress<'_>,
) -> Result<()> {
    let qcow2 = target.as_qcow2();
    let encrypted = qcow2.filter(|qcow2| qcow2.header().encryption != EncryptionMethod::None);
    // What an encrypted cluster holds is not zeros until zeros are encrypted.
    let unit = encrypted.map_or(1, |qcow2| qcow2.geometry().cluster_size());
    let reserving = qcow2.filter(|qcow2| {
        options.target == TargetContents::New && !qcow2.geometry().has_extended_l2()
    });
    let unit = if reserving.is_some() { unit } else { 1 };
    let copy = PlainCopy {
        source,
        target,
        options,
        sparse: match options.sparse {
            0 => 0,
            sparse => sparse.max(unit),
        },
        unit,
        reserving,
    };
    let mut survey = Survey::new(source, target, (options, unit), progress);
    pipeline::run(
        options.threads,
        &Vec::new,
        &mut || survey.next(),
        &|buf, window, turn| copy.copy(buf, &window, turn),
    )
}

// ---- compressed copies ------------------------------------------------------------------------

fn copy_compressed(
    source: &dyn Image,
    target: &Qcow2,
    options: ConvertOptions,
    progress: Progress<'_>,
) -> Result<()> {
    let cluster = target.geometry().cluster_size();
    let mut survey = Survey::new(source, target, (options, cluster), progress);
    pipeline::run(
        options.threads,
        &|| (Vec::new(), target.compressor_at(options.level)),
        &mut || survey.next(),
        &|(buf, compressor), window: Window, turn| {
            window.read(source, buf)?;
            buf.resize(buf.len().next_multiple_of(buffer_len(cluster)), 0);
            let mut found = Vec::new();
            for range in &window.ranges {
                let (_, data) = buf.split_at(buffer_len(range.start - window.start));
                let len = (range.end - range.start).next_multiple_of(cluster);
                let data = data.split_at(buffer_len(len)).0;
                for (data, number) in data.chunks(buffer_len(cluster)).zip(0..) {
                    let place = range.start + number * cluster;
                    found.push((place, data, Stored::of(data, options.sparse, compressor)));
                }
            }
            turn.wait();
            let mut stored = found.into_iter();
            let store =
                |(place, data, how): (_, _, Stored)| how.store(target, data, place, options);
            stored.try_for_each(store).map_err(|e| from(e, target))
        },
    )
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
    let mut compressor = target.compressor();
    for (part, number) in data.chunks(buffer_len(cluster)).zip(0..) {
        let mut padded = part.to_vec();
        padded.resize(buffer_len(cluster), 0);
        let at = offset + number * cluster;
        match compressor.compress(&padded) {
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
    /// Zeros are stored like anything else where `sparse` is 0.
    fn of(data: &[u8], sparse: u64, compressor: &mut Compressor) -> Self {
        if sparse > 0 && is_zero(data) {
            return Self::Nothing;
        }
        compressor.compress(data).map_or(Self::Plain, Self::Stream)
    }

    /// Stores the cluster at `place`, of which `data` may reach past the end of the disk.
    fn store(self, target: &Qcow2, data: &[u8], place: u64, options: ConvertOptions) -> Result<()> {
        let inside = (target.size() - place).min(data.len() as u64);
        match self {
            Self::Nothing if options.target == TargetContents::New => Ok(()),
            Self::Nothing => target.write_zeroes(place, inside, ZeroMode::MayUnmap),
            Self::Stream(stream) => target.write_compressed(GuestOffset(place), &stream),
            Self::Plain => target.write_at(data.split_at(buffer_len(inside)).0, place),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_found_by_whole_units() {
        let mut data = vec![0; 40_960];
        data[9000] = 1;
        let found: Vec<_> = runs(&data, 4096)
            .into_iter()
            .map(|run| (run.range, run.zero))
            .collect();
        assert_eq!(
            found,
            [
                (0..8192, true),
                (8192..12_288, false),
                (12_288..40_960, true)
            ]
        );
        assert_eq!(runs(&data, 0).len(), 1);
        assert!(runs(&[], 4096).is_empty());
    }
}
