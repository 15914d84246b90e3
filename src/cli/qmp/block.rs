//! `query-block`: the disks and the images behind them. (QEMU, qapi/block-core.json: BlockInfo,
//! BlockDeviceInfo, ImageInfo.)

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::disk::Disk;
use crate::image::Image;
use crate::image::qcow2::Qcow2;
use crate::image::qcow2::geometry::Version;
use crate::image::qcow2::header::{CORRUPT, EXTENDED_L2, EncryptionMethod, LAZY_REFCOUNTS};
use crate::machine::DrivePlace;

/// stat(2) counts in blocks of this size.
const STAT_BLOCK: u64 = 512;

/// A disk as QEMU describes one.
pub(super) fn describe(place: DrivePlace, disk: &Disk) -> Value {
    let device = match place {
        DrivePlace::Ide { channel, unit } => format!("ide{channel}-hd{unit}"),
        DrivePlace::Virtio { index } => format!("virtio{index}"),
    };
    json!({
        "device": device,
        "type": "unknown",
        "removable": false,
        "locked": false,
        "io-status": "ok",
        "inserted": inserted(disk),
    })
}

fn inserted(disk: &Disk) -> Value {
    let image = disk.image().as_ref();
    let depth = std::iter::successors(image.backing(), |image| image.backing()).count();
    let mut inserted = json!({
        "file": name(image),
        "ro": disk.is_read_only(),
        "drv": image.format().name(),
        "encrypted": image.as_qcow2().is_some_and(is_encrypted),
        "backing_file_depth": depth,
        "cache": { "writeback": true, "direct": false, "no-flush": false },
        "detect_zeroes": "off",
        "write_threshold": 0,
        "bps": 0, "bps_rd": 0, "bps_wr": 0,
        "iops": 0, "iops_rd": 0, "iops_wr": 0,
        "image": image_info(image),
    });
    if let Some(backing) = image.backing() {
        inserted["backing_file"] = name(&**backing).into();
    }
    inserted
}

/// An image and what shows through it. A throw-away overlay goes by the name of its base.
fn image_info(image: &dyn Image) -> Value {
    let mut info = json!({
        "filename": name(image),
        "format": image.format().name(),
        "virtual-size": image.size(),
        "dirty-flag": false,
    });
    if let Some(size) = image.path().and_then(occupied) {
        info["actual-size"] = size.into();
    }
    if let Some(qcow2) = image.as_qcow2() {
        info["cluster-size"] = qcow2.geometry().cluster_size().into();
        info["encrypted"] = is_encrypted(qcow2).into();
        info["format-specific"] = json!({ "type": "qcow2", "data": specific(qcow2) });
    }
    if let Some(backing) = image.backing() {
        info["backing-filename"] = name(&**backing).into();
        info["full-backing-filename"] = name(&**backing).into();
        info["backing-filename-format"] = backing.format().name().into();
        info["backing-image"] = image_info(&**backing);
    }
    info
}

/// What only qcow2 has.
fn specific(qcow2: &Qcow2) -> Value {
    let header = qcow2.header();
    let compat = match qcow2.geometry().version() {
        Version::V2 => "0.10",
        Version::V3 => "1.1",
    };
    json!({
        "compat": compat,
        "compression-type": header.compression.name(),
        "lazy-refcounts": header.compatible & LAZY_REFCOUNTS != 0,
        "refcount-bits": 1u32 << qcow2.geometry().refcount_order(),
        "corrupt": header.incompatible & CORRUPT != 0,
        "extended-l2": header.incompatible & EXTENDED_L2 != 0,
    })
}

fn is_encrypted(qcow2: &Qcow2) -> bool {
    qcow2.header().encryption != EncryptionMethod::None
}

/// The file's name; an embedded image has none.
fn name(image: &dyn Image) -> String {
    let path = image.path().map(Path::to_string_lossy);
    path.unwrap_or_default().into_owned()
}

/// What the file takes on the host, in bytes.
fn occupied(path: &Path) -> Option<u64> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(metadata.blocks() * STAT_BLOCK)
}
