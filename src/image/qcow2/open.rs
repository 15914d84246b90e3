//! Opening an image: reading the header, and refusing what cannot be handled safely.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};

use super::super::fields::zeroed;
use super::super::{ErrorKind, Image, ImageError, Result, Secret};
use super::Qcow2;
use super::check;
use super::crypt::Crypt;
use super::entry::{COPIED, L1Entry};
use super::geometry::Geometry;
use super::header::{
    AT_AUTOCLEAR, AT_INCOMPATIBLE, BITMAPS, CORRUPT, DIRTY, Header, RAW_EXTERNAL_DATA,
    first_cluster_len,
};
use super::host::{Barrier, Host};
use super::in_flight::InFlight;
use super::metadata::Metadata;
use super::overlap::Kind;
use super::tracking::{self, Tracking};
use super::{address::HostOffset, compress::Decompressed, repair, snapshot};
use crate::storage::Storage;

/// Whether an image may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// It may.
    Allowed,
    /// It may not, and nothing in its file changes.
    Refused,
}

/// What an image is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Its contents.
    Contents,
    /// Only what stands in its header.
    Inspection,
}

/// What opening an image takes besides its file.
#[derive(Debug)]
pub struct Parameters {
    /// Whether it may be changed.
    pub writing: Writing,
    /// The password of an encrypted image.
    pub secret: Option<Secret>,
    /// The open backing image.
    pub backing: Option<Arc<dyn Image>>,
    /// The external data file of an image that has one.
    pub data_file: Option<Arc<dyn Storage>>,
    /// The file's name, for messages.
    pub path: Option<PathBuf>,
    /// What becomes of the place of a discarded cluster.
    pub discarded_places: DiscardedPlaces,
    /// How much memory cached tables may take.
    pub caches: CacheSizes,
}

/// How much memory the cached tables of an image may take, in bytes. Only tables that are used
/// take any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSizes {
    /// L2 tables (`l2-cache-size`).
    pub l2: u64,
    /// Refcount blocks (`refcount-cache-size`), which only changes need.
    pub refcounts: u64,
}

impl Default for CacheSizes {
    /// 32 MiB of L2 tables, which map 256 GiB in clusters of 64 KiB, and 8 MiB of refcounts.
    fn default() -> Self {
        Self {
            l2: 32 << 20,
            refcounts: 8 << 20,
        }
    }
}

/// What becomes of the place of a discarded cluster (`discard-no-unref`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiscardedPlaces {
    /// It is free for others.
    #[default]
    Released,
    /// It stays with the cluster, as a hole, so that writing there again does not scatter the
    /// image over its file.
    Kept,
}

impl Header {
    /// Reads the header of the image in `storage` and checks that this version can do what
    /// `purpose` needs.
    pub fn read(storage: &dyn Storage, purpose: Purpose) -> Result<Self> {
        let mut start = [0; 24];
        let read = |buf: &mut [u8]| {
            storage
                .read_at(buf, 0)
                .map_err(|e| ImageError::io("read the header", e))
        };
        read(&mut start)?;
        let mut bytes = zeroed(first_cluster_len(&start));
        read(&mut bytes)?;
        let header = Self::parse(&bytes)?;
        if purpose == Purpose::Contents {
            header.check_supported()?;
        }
        Ok(header)
    }

    fn check_supported(&self) -> Result<()> {
        if self.has_raw_data_file() && self.backing_name.is_some() {
            return Err(ImageError::corrupt(
                "the image has a raw external data file and a backing file, which exclude each \
                 other",
            ));
        }
        Ok(())
    }
}

impl Qcow2 {
    /// Opens the image in `storage`, whose header was read. An image whose refcounts may be
    /// wrong is mended first, if it may be changed.
    pub fn open(storage: Arc<dyn Storage>, header: Header, with: Parameters) -> Result<Self> {
        header.check_supported()?;
        let host = open_host(storage, &header, with.data_file)?;
        let mut header = header;
        check_tables_inside(&header, host.len()?)?;
        if with.writing == Writing::Allowed {
            prepare_for_writing(&host, &mut header)?;
        }
        let mut metadata = Metadata::load(&host, &header, with.caches)?;
        check_l2_inside(&metadata, &header.geometry, host.len()?)?;
        check::check_end(&host, &header)?;
        note_fixed_tables(&mut metadata, &host, &header, with.writing)?;
        Ok(Self {
            tracks_changes: metadata.bitmaps.wants_marks(),
            crypt: Crypt::open(host.storage(), &header, with.secret.as_ref())?,
            geometry: header.geometry,
            active: Arc::clone(metadata.active()),
            backlog: Arc::clone(metadata.space.backlog()),
            caches: with.caches,
            metadata: Mutex::new(metadata),
            allocated: Condvar::new(),
            in_flight: InFlight::default(),
            decompressed: Decompressed::default(),
            backing: with.backing,
            writing: with.writing,
            path: with.path,
            discarded_places: with.discarded_places,
            header,
            host,
        })
    }
}

impl Parameters {
    /// Nothing besides the file.
    pub fn new(writing: Writing) -> Self {
        Self {
            writing,
            secret: None,
            backing: None,
            data_file: None,
            path: None,
            discarded_places: DiscardedPlaces::Released,
            caches: CacheSizes::default(),
        }
    }
}

fn open_host(
    storage: Arc<dyn Storage>,
    header: &Header,
    data_file: Option<Arc<dyn Storage>>,
) -> Result<Arc<Host>> {
    let host = Host::new(storage)?;
    match (header.geometry.has_external_data(), data_file) {
        (false, _) => Ok(Arc::new(host)),
        (true, Some(data)) => Ok(Arc::new(host.with_data(data)?)),
        (true, None) => Err(ImageError::new(
            ErrorKind::Invalid,
            "the data of the image lies in another file, and none is given",
        )),
    }
}

fn truncated(what: &str, at: u64) -> ImageError {
    ImageError::corrupt(format!(
        "{what} lies past the end of the file; the file is truncated or not a whole image"
    ))
    .at(at)
}

fn check_tables_inside(header: &Header, file_len: u64) -> Result<()> {
    let tables = [
        ("the L1 table", header.l1_offset, header.l1_bytes()),
        (
            "the refcount table",
            header.refcount_table_offset,
            header.refcount_table_bytes(),
        ),
    ];
    match tables
        .into_iter()
        .find(|(_, at, len)| *len > 0 && at.plus(*len).0 > file_len)
    {
        Some((what, at, _)) => Err(truncated(what, at.0)),
        None => Ok(()),
    }
}

fn check_l2_inside(metadata: &Metadata, geometry: &Geometry, file_len: u64) -> Result<()> {
    for (index, &raw) in metadata.l1().iter().enumerate() {
        if let Ok(Some(entry)) = L1Entry::decode(raw & !COPIED, index, geometry)
            && entry.table.0 >= file_len
        {
            return Err(truncated("an L2 table", entry.table.0));
        }
    }
    Ok(())
}

/// Refuses a corrupt image, and mends the refcounts of one that was not closed.
fn prepare_for_writing(host: &Arc<Host>, header: &mut Header) -> Result<()> {
    if header.incompatible & CORRUPT != 0 {
        return Err(ImageError::new(
            ErrorKind::ReadOnly,
            "the image is marked as corrupt; it can be read, and `cowbox img check -r all` may \
             mend it",
        ));
    }
    clear_unknown_autoclear(host, header)?;
    if header.incompatible & DIRTY != 0 {
        let report = repair::repair(host, header, repair::Repair::Refcounts)?;
        if report.corruptions > 0 {
            let first = report.messages.last().map_or("", |line| line.as_str());
            return Err(ImageError::corrupt(format!(
                "the image was not closed and has errors beyond its refcounts ({first}); run \
                 `cowbox img check`"
            )));
        }
    }
    Ok(())
}

/// Clears the autoclear features that are not known: what is going to change may make them wrong.
pub(super) fn clear_unknown_autoclear(host: &Host, header: &mut Header) -> Result<()> {
    let known = header.autoclear & (BITMAPS | RAW_EXTERNAL_DATA);
    if known == header.autoclear {
        return Ok(());
    }
    header.autoclear = known;
    let at = HostOffset(AT_AUTOCLEAR);
    host.write(&known.to_be_bytes(), at, "the header")?;
    host.barrier(Barrier::FlagBeforeChange)
}

/// Clears the bits `gone` of the incompatible features, behind everything written before.
pub(super) fn clear_incompatible(host: &Host, header: &mut Header, gone: u64) -> Result<()> {
    if header.incompatible & gone == 0 {
        return Ok(());
    }
    header.incompatible &= !gone;
    host.barrier(Barrier::ChangesBeforeFlag)?;
    host.write(
        &header.incompatible.to_be_bytes(),
        HostOffset(AT_INCOMPATIBLE),
        "the header",
    )?;
    host.barrier(Barrier::GuestFlush)
}

/// Notes where the tables of snapshots and bitmaps and the keys lie, so that no write lands on
/// them, and which bitmaps follow changes.
pub(super) fn note_fixed_tables(
    metadata: &mut Metadata,
    host: &Host,
    header: &Header,
    writing: Writing,
) -> Result<()> {
    if writing == Writing::Refused {
        return Ok(());
    }
    metadata.space.check_blocks(host.len()?)?;
    let (snapshots, table_len) = snapshot::read_table(host.storage(), header)?;
    let mut tables = vec![(header.snapshots_offset, table_len, Kind::SnapshotTable)];
    for snapshot in &snapshots {
        let len = u64::from(snapshot.l1_size) * 8;
        tables.push((snapshot.l1_offset, len, Kind::InactiveL1));
    }
    if let Some((at, len)) = header.extensions.luks_header() {
        tables.push((at, len, Kind::EncryptionHeader));
    }
    metadata.space.overlap.add_fixed(tables);
    note_bitmaps(metadata, host, header)
}

/// Notes where the bitmap directory lies, and which bitmaps follow changes. A directory that lies
/// on another table or outside the file is none.
fn note_bitmaps(metadata: &mut Metadata, host: &Host, header: &Header) -> Result<()> {
    let overlap = &metadata.space.overlap;
    let Some((at, len)) = tracking::directory(host, header, overlap)? else {
        return Ok(());
    };
    overlap.add_fixed([(at, len, Kind::BitmapDirectory)]);
    if header.autoclear & BITMAPS != 0
        && let Some(tracking) = Tracking::load(host, header)?
    {
        metadata.bitmaps = tracking;
        metadata.bitmaps_kept = true;
    }
    Ok(())
}
