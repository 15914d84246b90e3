//! The images on which workloads run, and how they are opened.

use std::sync::Arc;

use super::super::create::{CreateOptions, create};
use super::super::geometry::Version;
use super::super::header::Header;
use super::super::{Parameters, Purpose, Qcow2, Writing};
use super::files::Files;
use super::sectors::{BASE, pattern};
use crate::image::{Format, Image, RawAccess, RawImage, Result, Secret};
use crate::storage::{MemoryStorage, Storage};

#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) version: Version,
    pub(super) cluster_size: u64,
    pub(super) refcount_bits: u32,
    pub(super) sectors: usize,
    /// The format of the image below, if there is one.
    pub(super) below: Option<Format>,
    /// Whether snapshots are made, applied and deleted too.
    pub(super) snapshots: bool,
    /// Whether the disk gets shorter and longer too.
    pub(super) resizes: bool,
    /// Whether the image is compacted too.
    pub(super) compacts: bool,
    /// Whether the image is committed, rebased and amended too, and its bitmaps are changed.
    pub(super) maintained: bool,
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

impl Case {
    /// A disk that is to get longer starts so short that its L1 table has to grow.
    pub(super) fn sectors_at_first(&self) -> usize {
        match self.resizes {
            true => self.sectors / 4,
            false => self.sectors,
        }
    }
}

/// How the backing file is called in an image that names it; a longer name for the same; and an
/// image that never changes.
pub(super) const BELOW: &str = "below";
pub(super) const BELOW_BY_ANOTHER_NAME: &str = "below-by-another-and-much-longer-name";
pub(super) const OTHER: &str = "other";
/// What the sectors of that other image say they were written by.
const OTHER_WRITER: u32 = u32::MAX;

/// What the file below holds at first.
pub(super) fn below_at_first(case: &Case) -> Vec<u8> {
    let data = pattern(BASE, 0..case.sectors / 2);
    if case.below != Some(Format::Qcow2) {
        return data;
    }
    let storage = Arc::new(MemoryStorage::new(Vec::new()));
    let options = CreateOptions {
        size: data.len() as u64,
        cluster_size: 4096,
        ..CreateOptions::default()
    };
    create(&*storage, &options).unwrap();
    let header = Header::read(&*storage, Purpose::Contents).unwrap();
    let with = Parameters::new(Writing::Allowed);
    let file = Arc::clone(&storage) as Arc<dyn Storage>;
    let image = Qcow2::open(file, header, with).unwrap();
    image.write_at(&data, 0).unwrap();
    image.close().unwrap();
    storage.to_vec()
}

/// The image below, for reading or for writing.
pub(super) fn open_below(files: &Files, case: &Case, writing: Writing) -> Result<Arc<dyn Image>> {
    let storage = Arc::clone(&files.below);
    let access = match writing {
        Writing::Allowed => RawAccess::ReadWrite,
        Writing::Refused => RawAccess::ReadOnly,
    };
    Ok(match case.below {
        Some(Format::Qcow2) => {
            let header = Header::read(&*storage, Purpose::Contents)?;
            Arc::new(Qcow2::open(storage, header, Parameters::new(writing))?)
        }
        _ => Arc::new(RawImage::new(storage, access, None)?),
    })
}

/// The backing image of a name in a header.
pub(super) fn backing(
    name: Option<&[u8]>,
    files: &Files,
    case: &Case,
) -> Result<Option<Arc<dyn Image>>> {
    if name == Some(OTHER.as_bytes()) {
        let bytes = pattern(OTHER_WRITER, 0..case.sectors * 3 / 4);
        let storage = Arc::new(MemoryStorage::new(bytes));
        let image = RawImage::new(storage, RawAccess::ReadOnly, None)?;
        return Ok(Some(Arc::new(image)));
    }
    // Images that are not maintained do not name what is below them.
    let there = case.below.is_some() && (name.is_some() || !case.maintained);
    there
        .then(|| open_below(files, case, Writing::Refused))
        .transpose()
}

pub(super) fn open(files: &Files, case: &Case) -> Result<Qcow2> {
    let header = Header::read(&*files.image, Purpose::Contents)?;
    let with = parameters(files, case, &header, Writing::Allowed)?;
    open_with(files, header, with)
}

/// Opens the image, and has what it writes noted in the journal.
pub(super) fn open_with(files: &Files, header: Header, with: Parameters) -> Result<Qcow2> {
    let image = Qcow2::open(Arc::clone(&files.image), header, with)?;
    image
        .host
        .journal
        .lock()
        .unwrap()
        .clone_from(&files.journal);
    let data = image.host.data();
    data.journal.lock().unwrap().clone_from(&files.journal);
    Ok(image)
}

pub(super) fn parameters(
    files: &Files,
    case: &Case,
    header: &Header,
    writing: Writing,
) -> Result<Parameters> {
    Ok(Parameters {
        backing: backing(header.backing_name.as_deref(), files, case)?,
        data_file: (case.format == Variant::ExternalData).then(|| Arc::clone(&files.data)),
        secret: (case.format == Variant::Luks).then(password),
        ..Parameters::new(writing)
    })
}

pub(super) fn password() -> Secret {
    Secret::new("secret")
}

pub(super) fn cases() -> [Case; 15] {
    let v3 = Version::V3;
    let plain = |version, cluster_size, refcount_bits, sectors, backed: bool, ops| Case {
        version,
        cluster_size,
        refcount_bits,
        sectors,
        below: backed.then_some(Format::Raw),
        maintained: false,
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
        below: None,
        maintained: false,
        snapshots: false,
        format: Variant::Plain,
        resizes: false,
        compacts: false,
        ops: 60,
    }
}

/// The cases in which the disk changes its length.
pub(super) fn resizing() -> Vec<Case> {
    let with_resizes = cases().map(|case| Case {
        resizes: true,
        ..case
    });
    with_resizes.to_vec()
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

/// The cases of version 3 in which snapshots are made, applied and deleted while the disk changes
/// its length: version 2 does not say how long the disk of a snapshot is.
pub(super) fn branching_and_resizing() -> Vec<Case> {
    let of_version_3 = |case: &Case| case.version == Version::V3;
    let with_resizes = |case| Case {
        resizes: true,
        ..case
    };
    let branching = branching().into_iter().filter(of_version_3);
    branching.map(with_resizes).collect()
}

/// The cases whose image is committed, rebased and amended, and whose bitmaps are changed. Those
/// with nothing below them have snapshots, and keep their length; what shows through in a snapshot
/// is not kept by a commit or a rebase.
pub(super) fn maintained() -> Vec<Case> {
    let maintained = cases().into_iter().zip(0..).map(|(case, number)| {
        let snapshots = case.below.is_none() && case.format != Variant::ExternalData;
        Case {
            maintained: true,
            snapshots,
            resizes: !snapshots && number % 2 == 0,
            below: match case.below {
                Some(_) if number % 4 == 1 => Some(Format::Qcow2),
                below => below,
            },
            ..case
        }
    });
    maintained.collect()
}

/// The cases whose image is compacted, with snapshots too.
pub(super) fn compacting() -> Vec<Case> {
    let with_compaction = cases().map(|case| Case {
        compacts: true,
        snapshots: case.format != Variant::ExternalData,
        ..case
    });
    with_compaction.to_vec()
}
