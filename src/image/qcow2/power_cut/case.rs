//! The images on which workloads run, and how they are opened.

use std::sync::Arc;

use super::super::geometry::Version;
use super::super::header::Header;
use super::super::{Parameters, Purpose, Qcow2, Writing};
use super::files::Files;
use super::sectors::{BASE, pattern};
use crate::image::{Image, RawAccess, RawImage, Secret};
use crate::storage::MemoryStorage;

#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) version: Version,
    pub(super) cluster_size: u64,
    pub(super) refcount_bits: u32,
    pub(super) sectors: usize,
    pub(super) backed: bool,
    /// Whether snapshots are made, applied and deleted too.
    pub(super) snapshots: bool,
    /// Whether the disk gets shorter and longer too.
    pub(super) resizes: bool,
    /// Whether the image is compacted too.
    pub(super) compacts: bool,
    pub(super) format: Variant,
    pub(super) ops: usize,
}

/// What an image has beyond the ordinary.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Variant {
    Plain,
    LazyRefcounts,
    Subclusters,
    ExternalData,
    Luks,
    /// With an enabled dirty bitmap.
    Bitmap,
}

/// Bytes for the external data file, in front of the image file, of a case that has one.
pub(super) const DATA_BYTES: u64 = 2 << 20;

impl Case {
    /// Where the image file starts among the recorded bytes.
    pub(super) fn image_start(&self) -> u64 {
        match self.format {
            Variant::ExternalData => DATA_BYTES,
            _ => 0,
        }
    }

    /// A disk that is to get longer starts so short that its L1 table has to grow.
    pub(super) fn sectors_at_first(&self) -> usize {
        match self.resizes {
            true => self.sectors / 4,
            false => self.sectors,
        }
    }
}

pub(super) fn base(case: &Case) -> Option<Arc<dyn Image>> {
    let bytes = pattern(BASE, 0..case.sectors / 2);
    let storage = Arc::new(MemoryStorage::new(bytes));
    case.backed.then(|| {
        Arc::new(RawImage::new(storage, RawAccess::ReadOnly, None).unwrap()) as Arc<dyn Image>
    })
}

pub(super) fn open(files: &Files, case: &Case) -> crate::image::Result<Qcow2> {
    let header = Header::read(&*files.image, Purpose::Contents)?;
    let with = parameters(files, case, Writing::Allowed);
    Qcow2::open(Arc::clone(&files.image), header, with)
}

pub(super) fn parameters(files: &Files, case: &Case, writing: Writing) -> Parameters {
    Parameters {
        backing: base(case),
        data_file: files.data.clone(),
        secret: (case.format == Variant::Luks).then(password),
        ..Parameters::new(writing)
    }
}

pub(super) fn password() -> Secret {
    Secret::new("secret")
}

pub(super) fn cases() -> [Case; 15] {
    let v3 = Version::V3;
    let plain = |version, cluster_size, refcount_bits, sectors, backed, ops| Case {
        version,
        cluster_size,
        refcount_bits,
        sectors,
        backed,
        snapshots: false,
        format: Variant::Plain,
        resizes: false,
        compacts: false,
        ops,
    };
    let with = |format, case| Case { format, ..case };
    [
        plain(v3, 512, 64, 400, true, 60),
        plain(v3, 4096, 16, 1000, true, 50),
        plain(v3, 4096, 1, 1000, false, 50),
        plain(v3, 65536, 16, 2000, true, 30),
        plain(Version::V2, 512, 16, 300, false, 60),
        plain(Version::V2, 4096, 16, 800, true, 50),
        with(Variant::LazyRefcounts, plain(v3, 512, 16, 400, true, 60)),
        with(Variant::LazyRefcounts, plain(v3, 4096, 16, 1000, false, 50)),
        with(Variant::Subclusters, plain(v3, 16384, 16, 1500, true, 50)),
        with(Variant::Subclusters, plain(v3, 65536, 16, 2000, false, 30)),
        with(Variant::ExternalData, plain(v3, 4096, 16, 1000, true, 50)),
        with(Variant::ExternalData, plain(v3, 65536, 16, 2000, false, 30)),
        with(Variant::Luks, plain(v3, 4096, 16, 800, true, 25)),
        with(Variant::Bitmap, plain(v3, 512, 16, 400, true, 50)),
        with(Variant::Bitmap, plain(v3, 4096, 16, 1000, false, 50)),
    ]
}

/// A disk whose refcount table has to grow several times.
pub(super) fn growing() -> Case {
    let version = Version::V3;
    Case {
        version,
        cluster_size: 512,
        refcount_bits: 64,
        sectors: 9000,
        backed: false,
        snapshots: false,
        format: Variant::Plain,
        resizes: false,
        compacts: false,
        ops: 60,
    }
}

/// The cases in which the disk changes its length. An external data file stands in front of the
/// image file here, and cannot.
pub(super) fn resizing() -> Vec<Case> {
    let with_resizes = cases().map(|case| Case {
        resizes: true,
        ..case
    });
    let can = |case: &Case| case.format != Variant::ExternalData;
    with_resizes.into_iter().filter(can).collect()
}

/// The cases with snapshots.
pub(super) fn branching() -> Vec<Case> {
    let with_snapshots = cases().map(|case| Case {
        snapshots: true,
        ..case
    });
    // An image with an external data file has no snapshots.
    let can_have = |case: &Case| case.format != Variant::ExternalData;
    with_snapshots.into_iter().filter(can_have).collect()
}
