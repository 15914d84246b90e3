//! Comparing what a guest would see of two images.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::extent::Extents;
use super::fields::{buffer_len, zeroed};
use super::pipeline::{self, Done, Progress};
use super::zeros::is_zero;
use super::{Image, Result};

/// Bytes that a thread compares at a time: two of them fit a processor's own cache.
const PIECE: u64 = 512 << 10;

/// What a comparison found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// The contents are the same; where one disk is longer, the rest of it is zeros.
    Same,
    /// The contents differ first in the sector at this byte.
    ContentAt(u64),
    /// The longer disk holds something other than zeros past the end of the other.
    RestAt(u64),
}

/// Compares the contents of `a` and `b`.
pub fn compare(a: &dyn Image, b: &dyn Image) -> Result<Comparison> {
    compare_with(a, b, &mut |_| {})
}

/// The same, and tells how far it is.
pub fn compare_with(a: &dyn Image, b: &dyn Image, progress: Progress<'_>) -> Result<Comparison> {
    let both = a.size().min(b.size());
    let pair = Pair {
        sides: [Some(a), Some(b)],
        span: 0..both,
    };
    if let Some(at) = pair.first_difference(progress)? {
        return Ok(Comparison::ContentAt(at));
    }
    let longer = if a.size() > b.size() { a } else { b };
    let rest = Pair {
        sides: [Some(longer), None],
        span: both..longer.size(),
    };
    let found = rest.first_difference(progress)?;
    Ok(found.map_or(Comparison::Same, Comparison::RestAt))
}

/// A span of two disks, one of which may be missing and reads as zeros.
struct Pair<'a> {
    sides: [Option<&'a dyn Image>; 2],
    span: Range<u64>,
}

/// A part to compare: where, how long, and which sides are not known to be zeros.
struct Piece {
    at: u64,
    len: u64,
    read: [bool; 2],
}

impl Pair<'_> {
    fn first_difference(&self, progress: Progress<'_>) -> Result<Option<u64>> {
        // Pieces are handed out in order and every one is finished, so that the lowest place found
        // is the first there is.
        let found = AtomicU64::new(u64::MAX);
        let mut done = Done {
            position: self.span.start,
            copied: 0,
        };
        let mut extents = self.sides.map(|side| side.map(Extents::new));
        let mut next = || {
            while done.position < self.span.end && found.load(Ordering::Relaxed) == u64::MAX {
                let piece = self.piece(&mut extents, done.position)?;
                done.position += piece.len;
                progress(done);
                if piece.read != [false; 2] {
                    return Ok(Some(piece));
                }
            }
            Ok(None)
        };
        pipeline::run(
            pipeline::usual_threads(),
            &|| [zeroed(PIECE), zeroed(PIECE)],
            &mut next,
            &|buffers, piece, _| {
                if let Some(byte) = self.difference(buffers, &piece)? {
                    let at = piece.at + byte;
                    found.fetch_min(at - at % super::SECTOR, Ordering::Relaxed);
                }
                Ok(())
            },
        )?;
        let found = found.into_inner();
        Ok((found != u64::MAX).then_some(found))
    }

    /// What there is to compare at `at`.
    fn piece(&self, extents: &mut [Option<Extents<'_>>; 2], at: u64) -> Result<Piece> {
        let mut piece = Piece {
            at,
            len: self.span.end - at,
            read: [false; 2],
        };
        for (side, read) in extents.iter_mut().zip(&mut piece.read) {
            if let Some(extents) = side {
                let extent = extents.at(at)?;
                piece.len = piece.len.min(extent.length);
                *read = !extent.kind.reads_zero();
            }
        }
        if piece.read != [false; 2] {
            piece.len = piece.len.min(PIECE - at % PIECE);
        }
        Ok(piece)
    }

    /// The first byte of `piece` that differs.
    fn difference(&self, buffers: &mut [Vec<u8>; 2], piece: &Piece) -> Result<Option<u64>> {
        let mut there = [None, None];
        let sides = self.sides.iter().zip(piece.read).zip(buffers);
        for (((side, read), buffer), there) in sides.zip(&mut there) {
            if let (Some(image), true) = (side, read) {
                let data = buffer.split_at_mut(buffer_len(piece.len)).0;
                image.read_at(data, piece.at)?;
                *there = Some(&*data);
            }
        }
        let byte = match there {
            [Some(a), Some(b)] if a != b => a.iter().zip(b).position(|(a, b)| a != b),
            [Some(data), None] | [None, Some(data)] if !is_zero(data) => {
                data.iter().position(|&byte| byte != 0)
            }
            _ => None,
        };
        Ok(byte.map(|byte| byte as u64))
    }
}
