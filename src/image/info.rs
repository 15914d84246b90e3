//! What an image says about itself: the facts behind `info`, read from its header only.

use std::path::{Path, PathBuf};

use super::chain::{self, Seen};
use super::crypt::luks::Luks;
use super::luks;
use super::open::{decide_format, open_file};
use super::qcow2::Purpose;
use super::qcow2::bitmap::{Bitmap, Directory};
use super::qcow2::crypt::read_luks;
use super::qcow2::geometry::Version;
use super::qcow2::header::{
    BITMAPS, CORRUPT, DIRTY, EXTENDED_L2, EncryptionMethod, Header, LAZY_REFCOUNTS,
    RAW_EXTERNAL_DATA,
};
use super::qcow2::snapshot::{self, Snapshot};
use super::{Format, ImageError, OpenOptions, Result, SECTOR};
use crate::storage::Storage;

/// The facts about one image.
#[derive(Debug, Clone)]
pub struct Info {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// Length of the disk in bytes.
    pub size: u64,
    /// Bytes that the file occupies on the host.
    pub occupied: u64,
    /// How guest data is encrypted.
    pub encryption: EncryptionFacts,
    /// The file that carries it.
    pub file: FileFacts,
    /// What only qcow2 has.
    pub qcow2: Option<Qcow2Facts>,
}

/// How guest data is encrypted.
#[derive(Debug, Clone)]
pub enum EncryptionFacts {
    /// Not at all.
    None,
    /// The legacy method of qcow2.
    Aes,
    /// With the keys in this header.
    Luks(Box<Luks>),
}

/// The facts about the file that carries an image.
#[derive(Debug, Clone, Copy)]
pub struct FileFacts {
    /// Its length in bytes, rounded up to whole sectors.
    pub len: u64,
    /// Whether it is a device of the host.
    pub is_device: bool,
}

/// The facts that only a qcow2 image has.
#[derive(Debug, Clone)]
pub struct Qcow2Facts {
    /// Bytes in a cluster.
    pub cluster_size: u64,
    /// `0.10` or `1.1`.
    pub compat: &'static str,
    /// `zlib` or `zstd`.
    pub compression: &'static str,
    /// Bits in a refcount.
    pub refcount_bits: u32,
    /// Whether refcounts may be written late.
    pub lazy_refcounts: bool,
    /// Whether refcounts may be wrong.
    pub dirty: bool,
    /// Whether the image is marked as corrupt.
    pub corrupt: bool,
    /// Whether it has subclusters.
    pub extended_l2: bool,
    /// The backing file's name as it stands in the image.
    pub backing_name: Option<Vec<u8>>,
    /// The backing file's format as it stands in the image.
    pub backing_format: Option<Vec<u8>>,
    /// The name of the external data file, and whether that is a raw image by itself.
    pub data_file: Option<(Vec<u8>, bool)>,
    /// The internal snapshots.
    pub snapshots: Vec<Snapshot>,
    /// The dirty bitmaps; none where the directory is not valid, which a check reports.
    pub bitmaps: Vec<Bitmap>,
}

/// The facts about the image at `path`. No other file is opened.
pub fn info(path: &Path, options: &OpenOptions) -> Result<Info> {
    read(path, options, &mut Seen::default())
        .map(|(info, _)| info)
        .map_err(|e| e.in_file(path))
}

/// The facts about the image at `path` and all its backing images, from the top down.
pub fn chain(path: &Path, options: &OpenOptions) -> Result<Vec<Info>> {
    let mut seen = Seen::default();
    let mut images = Vec::new();
    let mut next = Some((path.to_path_buf(), options.clone()));
    while let Some((path, options)) = next {
        let (info, below) = read(&path, &options, &mut seen).map_err(|e| e.in_file(&path))?;
        next = match &info.qcow2 {
            Some(Qcow2Facts {
                backing_name: Some(name),
                ..
            }) => {
                let below = below.as_deref();
                let format = chain::format(below, &options, name).map_err(|e| e.in_file(&path))?;
                let base = chain::resolve(name, Some(&path), options.backing)
                    .map_err(|e| e.in_file(&path))?;
                Some((base, options.with_format(format)))
            }
            _ => None,
        };
        images.push(info);
    }
    Ok(images)
}

/// The facts, and the recorded format of the backing image.
fn read(path: &Path, options: &OpenOptions, seen: &mut Seen) -> Result<(Info, Option<Vec<u8>>)> {
    let storage = open_file(path, options)?;
    seen.add(storage.identity())?;
    let failed = |e| ImageError::io("look at the file", e);
    let occupied = storage.occupied().map_err(failed)?;
    let file = FileFacts {
        len: storage.len().map_err(failed)?.next_multiple_of(SECTOR),
        is_device: !storage.grows(),
    };
    let format = decide_format(&*storage, options)?;
    let path = path.to_path_buf();
    let (size, encryption) = match format {
        Format::Raw => (file.len, EncryptionFacts::None),
        Format::Luks => {
            let (luks, size) = luks::inspect(&*storage)?;
            (size, EncryptionFacts::Luks(Box::new(luks)))
        }
        Format::Qcow2 => return qcow2_info(&*storage, path, (occupied, file)),
    };
    let info = Info {
        path,
        format,
        size,
        occupied,
        encryption,
        file,
        qcow2: None,
    };
    Ok((info, None))
}

fn qcow2_info(
    storage: &dyn Storage,
    path: PathBuf,
    (occupied, file): (u64, FileFacts),
) -> Result<(Info, Option<Vec<u8>>)> {
    let header = Header::read(storage, Purpose::Inspection)?;
    let facts = facts(storage, &header)?;
    let backing_format = facts.backing_format.clone();
    let encryption = encryption_of(storage, &header)?;
    let info = Info {
        path,
        format: Format::Qcow2,
        size: header.size,
        occupied,
        encryption,
        file,
        qcow2: Some(facts),
    };
    Ok((info, backing_format))
}

/// How the qcow2 image in `storage` is encrypted.
pub(super) fn encryption_of(storage: &dyn Storage, header: &Header) -> Result<EncryptionFacts> {
    Ok(match header.encryption {
        EncryptionMethod::None => EncryptionFacts::None,
        EncryptionMethod::Aes => EncryptionFacts::Aes,
        EncryptionMethod::Luks => EncryptionFacts::Luks(Box::new(read_luks(storage, header)?)),
    })
}

fn facts(storage: &dyn Storage, header: &Header) -> Result<Qcow2Facts> {
    Ok(Qcow2Facts {
        snapshots: snapshot::read_all(storage, header)?,
        bitmaps: match header.autoclear & BITMAPS {
            0 => Vec::new(),
            _ => Directory::read(storage, header).unwrap_or_default().bitmaps,
        },
        ..facts_of(header)
    })
}

/// The facts that stand in a header; which snapshots and bitmaps there are does not.
pub fn facts_of(header: &Header) -> Qcow2Facts {
    Qcow2Facts {
        cluster_size: header.geometry.cluster_size(),
        compat: match header.geometry.version() {
            Version::V2 => "0.10",
            Version::V3 => "1.1",
        },
        compression: header.compression.name(),
        refcount_bits: 1 << header.geometry.refcount_order(),
        lazy_refcounts: header.compatible & LAZY_REFCOUNTS != 0,
        dirty: header.incompatible & DIRTY != 0,
        corrupt: header.incompatible & CORRUPT != 0,
        extended_l2: header.incompatible & EXTENDED_L2 != 0,
        backing_name: header.backing_name.clone(),
        backing_format: header.extensions.backing_format().map(<[u8]>::to_vec),
        data_file: header.extensions.data_file().map(|name| {
            let raw = header.autoclear & RAW_EXTERNAL_DATA != 0;
            (name.to_vec(), raw)
        }),
        snapshots: Vec::new(),
        bitmaps: Vec::new(),
    }
}
