//! How big the file of an image becomes.

use super::qcow2::bitmap::Bitmap;
use super::qcow2::create::{CreateOptions, L2Entries};
use super::{ExtentKind, Format, Image, Result};

/// Bytes of an entry of the bitmap directory in front of the name. Format description, "Bitmap
/// directory".
const BITMAP_ENTRY: u64 = 24;

/// Sizes of a file that is not there yet, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// With the contents that there are.
    pub required: u64,
    /// Once every part of the disk has been written.
    pub fully_allocated: u64,
}

/// What a new image holds.
#[derive(Debug, Clone, Copy)]
pub enum Contents<'a> {
    /// Nothing yet.
    Nothing,
    /// What this image holds.
    Of(&'a dyn Image),
    /// There is space behind all of the disk, or it cannot be told what shows through from below.
    Everything,
}

/// The file of a new image of `format` as `options` say, with these contents.
pub fn measure(format: Format, options: &CreateOptions, contents: Contents<'_>) -> Result<Measure> {
    match format {
        Format::Raw => Ok(Measure {
            required: options.size,
            fully_allocated: options.size,
        }),
        Format::Qcow2 => measure_qcow2(options, contents),
        // Zeros are encrypted too.
        Format::Luks => {
            let all = options.encryption.header_len() + options.size;
            Ok(Measure {
                required: all,
                fully_allocated: all,
            })
        }
    }
}

/// Bytes that copies of `bitmaps` of a disk of `size` bytes take in an image with clusters of
/// `cluster` bytes: their bits, if none are alike, their tables, and the directory.
pub fn measure_bitmaps(bitmaps: &[Bitmap], size: u64, cluster: u64) -> u64 {
    let (mut bytes, mut directory) = (0, 0);
    for bitmap in bitmaps {
        let clusters = bitmap.len(size).div_ceil(cluster);
        bytes += clusters * cluster + (clusters * 8).next_multiple_of(cluster);
        directory += (BITMAP_ENTRY + bitmap.name.len() as u64).next_multiple_of(8);
    }
    bytes + directory.next_multiple_of(cluster)
}

fn measure_qcow2(options: &CreateOptions, contents: Contents<'_>) -> Result<Measure> {
    options.check()?;
    let cluster = options.cluster_size;
    let size = options.size.next_multiple_of(cluster);
    let keys = options.encryption.header_len().next_multiple_of(cluster);
    let fully_allocated = full_size(options, size) + keys;
    let data = match contents {
        Contents::Nothing => 0,
        Contents::Of(source) => allocated(source, cluster)?,
        Contents::Everything => size,
    };
    Ok(Measure {
        required: fully_allocated - size + data.min(size),
        fully_allocated,
    })
}

/// Bytes in the clusters that hold data of `source`.
fn allocated(source: &dyn Image, cluster: u64) -> Result<u64> {
    let (mut at, mut counted_to, mut bytes) = (0, 0, 0);
    while at < source.size() {
        let extent = source.extent(at, source.size() - at)?;
        let end = at + extent.length;
        if matches!(
            extent.kind,
            ExtentKind::Data { .. } | ExtentKind::Compressed
        ) {
            let first = (at - at % cluster).max(counted_to);
            counted_to = end.next_multiple_of(cluster);
            bytes += counted_to.saturating_sub(first);
        }
        at = end;
    }
    Ok(bytes)
}

/// The file of a disk of `size` bytes, whole clusters, all of it allocated.
fn full_size(options: &CreateOptions, size: u64) -> u64 {
    let cluster = options.cluster_size;
    let per_table = match options.entries {
        L2Entries::Standard => cluster / 8,
        L2Entries::Extended => cluster / 16,
    };
    let tables = (size / cluster).div_ceil(per_table);
    let l1 = (tables * 8).next_multiple_of(cluster);
    let without_counts = cluster + tables * cluster + l1 + size;
    without_counts + refcounts(without_counts / cluster, options)
}

/// Bytes of the refcount structure that counts `clusters` and itself.
fn refcounts(clusters: u64, options: &CreateOptions) -> u64 {
    let per_block = options.cluster_size * 8 / u64::from(options.refcount_bits.max(1));
    let per_table_cluster = options.cluster_size / 8;
    let (mut blocks, mut table) = (0, 0);
    loop {
        let needed = (clusters + blocks + table).div_ceil(per_block);
        let needed_table = needed.div_ceil(per_table_cluster);
        if (needed, needed_table) == (blocks, table) {
            return (blocks + table) * options.cluster_size;
        }
        (blocks, table) = (needed, needed_table);
    }
}
