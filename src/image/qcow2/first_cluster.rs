//! The bytes of the first cluster by name: header fields, extensions, the backing file name.
//!
//! Format description, "Header" and "Header extensions".

use super::super::fields::{buffer_len, u64_at, zeroed};
use super::super::{ImageError, Result};
use super::explain::Step;
use super::extension::{BACKING_FORMAT, BITMAPS, DATA_FILE, END, FEATURE_NAMES, LUKS_HEADER};
use super::header::Header;
use crate::storage::Storage;

/// The fields of the header: first byte, length, name.
const FIELDS: [(u64, u64, &str); 20] = [
    (0, 4, "magic"),
    (4, 4, "version"),
    (8, 8, "backing_file_offset"),
    (16, 4, "backing_file_size"),
    (20, 4, "cluster_bits"),
    (24, 8, "size of the disk"),
    (32, 4, "crypt_method"),
    (36, 4, "l1_size"),
    (40, 8, "l1_table_offset"),
    (48, 8, "refcount_table_offset"),
    (56, 4, "refcount_table_clusters"),
    (60, 4, "nb_snapshots"),
    (64, 8, "snapshots_offset"),
    (72, 8, "incompatible_features"),
    (80, 8, "compatible_features"),
    (88, 8, "autoclear_features"),
    (96, 4, "refcount_order"),
    (100, 4, "header_length"),
    (104, 1, "compression_type"),
    (105, 7, "padding"),
];

/// Says what byte `at` of the first cluster is.
pub(super) fn explain(
    step: &mut Step,
    storage: &dyn Storage,
    header: &Header,
    at: u64,
) -> Result<()> {
    let mut bytes = zeroed(header.geometry.cluster_size());
    let done = storage.read_at(&mut bytes, 0);
    done.map_err(|e| ImageError::io("read the header", e))?;
    let length = u64::from(header.header_length);
    if at < length {
        let found = FIELDS
            .iter()
            .find(|(first, len, _)| (*first..first + len).contains(&at));
        let Some(&(first, len, name)) = found else {
            step.field(
                "this byte",
                format!("header byte {at}"),
                "of a field not known here",
            );
            return Ok(());
        };
        let value = u64_at(&bytes, buffer_len(first)).unwrap_or(0) >> (64 - 8 * len);
        step.field(
            "this byte",
            format!("header field {name}"),
            format!("{value:#x}"),
        );
        return Ok(());
    }
    let mut start = length;
    for extension in header.extensions.iter() {
        let end = start + 8 + (extension.data.len() as u64).next_multiple_of(8);
        if (start..end).contains(&at) {
            let name = format!("header extension {:#010x}", extension.kind);
            let what = extension_name(extension.kind);
            step.field("this byte", name, format!("{what}, from {start:#x}"));
            return Ok(());
        }
        start = end;
    }
    let name_at = u64_at(&bytes, 8).unwrap_or(0);
    let name_len = header.backing_name.as_ref().map_or(0, |n| n.len() as u64);
    let what = match at {
        _ if (name_at..name_at + name_len).contains(&at) => "the backing file name",
        _ if (start..start + 8).contains(&at) => "the end of the header extensions",
        _ => "not used",
    };
    step.field("this byte", what, "");
    Ok(())
}

fn extension_name(kind: u32) -> &'static str {
    match kind {
        END => "end",
        BACKING_FORMAT => "format of the backing file",
        FEATURE_NAMES => "names of feature bits",
        BITMAPS => "where the bitmap directory lies",
        LUKS_HEADER => "where the LUKS header lies",
        DATA_FILE => "name of the external data file",
        _ => "not known here, and kept",
    }
}
