//! The bits of table entries by name, for people who look at them.
//!
//! Format description, "Cluster mapping", "Extended L2 Entries".

use super::address::GuestOffset;
use super::entry::{COPIED, L1_RESERVED, OFFSET, RawEntry, compressed_fields};
use super::explain::Step;
use super::geometry::{Geometry, Version};

/// The bits of an L1 entry.
pub(super) fn l1_entry(step: &mut Step, raw: u64) {
    copied(step, raw, "L2 table");
    let offset = raw & OFFSET;
    step.field(
        "bits 9-55, offset",
        format!("{offset:#x}"),
        match offset {
            0 => "no L2 table: nothing here is allocated",
            _ => "where the L2 table starts",
        },
    );
    reserved(step, raw & L1_RESERVED);
}

/// The bits of an L2 entry.
pub(super) fn l2_entry(step: &mut Step, raw: RawEntry, geometry: &Geometry) {
    copied(step, raw.word, "cluster");
    if raw.is_compressed() {
        step.field(
            "bit 62, compressed",
            1,
            "an offset in bytes and a count of sectors follow",
        );
        let (shift, offset, sectors) = compressed_fields(raw.word, geometry);
        let value = format!("{offset:#x}");
        step.field(
            format!("bits 0-{}, offset", shift - 1),
            value,
            "the first compressed byte",
        );
        let why = "so many more sectors of 512 bytes, after the one of the first byte";
        step.field(format!("bits {shift}-61, sectors"), sectors, why);
        return;
    }
    step.field("bit 62, compressed", 0, "an ordinary cluster");
    let offset = raw.word & OFFSET;
    let meaning = match (offset, geometry.has_external_data()) {
        (_, true) => "where the cluster starts, in the external data file",
        (0, false) => "no cluster",
        _ => "where the cluster starts",
    };
    step.field("bits 9-55, offset", format!("{offset:#x}"), meaning);
    let zero = raw.word & 1;
    match (geometry.version(), geometry.has_extended_l2()) {
        (Version::V3, false) if zero == 1 => step.field("bit 0, zero", 1, "reads as zeros"),
        (Version::V3, false) => step.field("bit 0, zero", 0, ""),
        _ if zero == 1 => step.field("bit 0", 1, "reserved, must be 0"),
        _ => {}
    }
    reserved(step, raw.word & !(COPIED | OFFSET | 1));
}

/// The second word of an extended L2 entry, and the subcluster of `offset`.
pub(super) fn subclusters(
    step: &mut Step,
    raw: RawEntry,
    offset: GuestOffset,
    geometry: &Geometry,
) {
    let (data, zero) = (raw.bitmap & u64::from(u32::MAX), raw.bitmap >> 32);
    let why = "a bit for each of 32 subclusters: it has data in the cluster";
    step.field("bits 0-31 of the second word", format!("{data:#010x}"), why);
    let why = "it reads as zeros";
    step.field(
        "bits 32-63 of the second word",
        format!("{zero:#010x}"),
        why,
    );
    let part = offset.within(geometry) / geometry.subcluster_size();
    let state = match (data >> part & 1, zero >> part & 1) {
        (0, 0) => "nothing in this image",
        (1, 0) => "data",
        (0, 1) => "zeros",
        _ => "both data and zeros, which is corruption",
    };
    step.field(
        format!("subcluster {part}"),
        state,
        "the one of this offset",
    );
}

fn copied(step: &mut Step, raw: u64, what: &str) {
    let (value, meaning) = match (raw & COPIED != 0, raw & OFFSET) {
        (true, _) => (
            1,
            format!("the {what} has refcount 1, and is written in place"),
        ),
        (false, 0) => (0, String::new()),
        (false, _) => (
            0,
            format!("the {what} is shared: who writes makes a copy first"),
        ),
    };
    step.field("bit 63, COPIED", value, meaning);
}

fn reserved(step: &mut Step, bits: u64) {
    if bits != 0 {
        step.field(
            "reserved bits",
            format!("{bits:#x}"),
            "must be 0; `img check` reports them",
        );
    }
}
