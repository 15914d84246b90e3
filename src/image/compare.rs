//! Comparing what a guest would see of two images.

use super::fields::{buffer_len, zeroed};
use super::{Image, Result};

/// Bytes compared at a time.
const PIECE: u64 = 1 << 20;

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
    let both = a.size().min(b.size());
    if let Some(at) = first_difference(a, b, both)? {
        return Ok(Comparison::ContentAt(at));
    }
    let longer = if a.size() > b.size() { a } else { b };
    Ok(first_content(longer, both)?.map_or(Comparison::Same, Comparison::RestAt))
}

fn first_difference(a: &dyn Image, b: &dyn Image, end: u64) -> Result<Option<u64>> {
    let (mut left, mut right) = (zeroed(PIECE), zeroed(PIECE));
    let mut at = 0;
    while at < end {
        let (in_a, in_b) = (a.extent(at, end - at)?, b.extent(at, end - at)?);
        let len = in_a.length.min(in_b.length);
        if in_a.kind.reads_zero() && in_b.kind.reads_zero() {
            at += len;
            continue;
        }
        let len = buffer_len(len.min(PIECE));
        let ((left, _), (right, _)) = (left.split_at_mut(len), right.split_at_mut(len));
        a.read_at(left, at)?;
        b.read_at(right, at)?;
        if left != right {
            return Ok(Some(at + differing_sector(left, right)));
        }
        at += len as u64;
    }
    Ok(None)
}

/// The first byte of `image` from `start` on, by sectors, that is not zero.
fn first_content(image: &dyn Image, start: u64) -> Result<Option<u64>> {
    let mut buf = zeroed(PIECE);
    let zeros = zeroed(PIECE);
    let mut at = start;
    while at < image.size() {
        let extent = image.extent(at, image.size() - at)?;
        if extent.kind.reads_zero() {
            at += extent.length;
            continue;
        }
        let len = buffer_len(extent.length.min(PIECE));
        let (data, _) = buf.split_at_mut(len);
        image.read_at(data, at)?;
        if data != zeros.split_at(len).0 {
            return Ok(Some(at + differing_sector(data, &zeros)));
        }
        at += len as u64;
    }
    Ok(None)
}

fn differing_sector(a: &[u8], b: &[u8]) -> u64 {
    let byte = a.iter().zip(b).position(|(a, b)| a != b).unwrap_or(0) as u64;
    byte - byte % super::SECTOR
}
