//! How big the file of an image becomes.

use super::qcow2::create::CreateOptions;
use super::{ExtentKind, Format, Image, Result};

/// Sizes of a file that is not there yet, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// With the contents that there are.
    pub required: u64,
    /// Once every part of the disk has been written.
    pub fully_allocated: u64,
}

/// The file of a new image of `format` as `options` say, which is to hold the contents of
/// `source`, or, without one, is empty.
pub fn measure(
    format: Format,
    options: &CreateOptions,
    source: Option<&dyn Image>,
) -> Result<Measure> {
    match format {
        Format::Raw => Ok(Measure {
            required: options.size,
            fully_allocated: options.size,
        }),
        Format::Qcow2 => measure_qcow2(options, source),
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

fn measure_qcow2(options: &CreateOptions, source: Option<&dyn Image>) -> Result<Measure> {
    let cluster = options.cluster_size;
    let size = options.size.next_multiple_of(cluster);
    let keys = options.encryption.header_len().next_multiple_of(cluster);
    let fully_allocated = full_size(options, size) + keys;
    let data = match source {
        Some(source) => allocated(source, cluster)?,
        None => 0,
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
    let per_table = cluster / 8;
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
