//! What stands in the sectors of the guest's disk: who wrote each, and where it belongs.

use std::ops::Range;

pub(super) const SECTOR: usize = 512;
/// What a sector that was there before, in the image or its backing image, says it was written by.
pub(super) const BASE: u32 = 1;

/// A sector that says who wrote it, and where.
pub(super) fn sector(writer: u32, number: usize) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    if writer != 0 {
        for word in bytes.as_chunks_mut::<8>().0 {
            *word = ((u64::from(writer) << 32) | number as u64).to_le_bytes();
        }
    }
    bytes
}

pub(super) fn pattern(writer: u32, range: Range<usize>) -> Vec<u8> {
    range.flat_map(|number| sector(writer, number)).collect()
}

/// Whether each sector of `disk` is of one of the writers that `may` names for it.
pub(super) fn holds(disk: &[u8], may: &[Vec<u32>]) -> Result<(), String> {
    for (number, (found, may)) in disk.as_chunks::<SECTOR>().0.iter().zip(may).enumerate() {
        if !may.iter().any(|&writer| *found == sector(writer, number)) {
            return Err(format!(
                "sector {number} is none of {may:?}: {:?}",
                &found[..8]
            ));
        }
    }
    Ok(())
}
