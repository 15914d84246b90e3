//! Making a new, empty image.
//!
//! Layout: header, refcount table, first refcount block(s), L1 table, LUKS header, each on whole
//! clusters. The first sector is written last, and what the file held before is gone before
//! anything is written, so that an interrupted creation leaves no image.

use super::super::crypt::luks::Luks;
use super::super::crypt::options::LuksOptions;
use super::super::fields::{buffer_len, put, zeroed};
use super::super::{ErrorKind, ImageError, Result, SECTOR, Secret};
use super::extension::{
    BACKING_FORMAT, DATA_FILE, FEATURE_NAMES, LUKS_HEADER, encode, feature_names,
};
use super::geometry::{Geometry, Version};
use super::header::{
    COMPRESSION_TYPE, Compression, EXTENDED_L2, EXTERNAL_DATA, EncryptionMethod, LAZY_REFCOUNTS,
    MAGIC, MAX_L1_BYTES, MAX_REFCOUNT_TABLE_BYTES, RAW_EXTERNAL_DATA, V2_LENGTH,
};
use super::width;
use crate::storage::{Durability, Storage};

/// Length of the header that is written in version 3: with the compression type.
const V3_LENGTH: u32 = 112;

/// What a new image is to be.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// Length of the disk in bytes; rounded up to whole sectors.
    pub size: u64,
    /// `compat`
    pub version: Version,
    /// `cluster_size`, in bytes: a power of two from 512 to 2 MiB.
    pub cluster_size: u64,
    /// `refcount_bits`: a power of two from 1 to 64.
    pub refcount_bits: u32,
    /// `lazy_refcounts`
    pub refcounts: RefcountUpdates,
    /// `extended_l2`
    pub entries: L2Entries,
    /// `compression_type`
    pub compression: Compression,
    /// `data_file` and `data_file_raw`
    pub data_file: Option<DataFile>,
    /// Name and format of the backing image, recorded as they are.
    pub backing: Option<(String, String)>,
    /// `encrypt.format` and what belongs to it.
    pub encryption: Encryption,
}

/// When refcounts are to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefcountUpdates {
    /// In order with everything else.
    InOrder,
    /// Late: the image is marked as dirty while it is written.
    Lazy,
}

/// The external data file of a new image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Its name, recorded as it is; a relative one counts from the directory of the image.
    pub name: String,
    /// Whether it can be read as a raw image of the disk.
    pub contents: DataFileContents,
}

/// What an external data file is by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataFileContents {
    /// Nothing without its image, which says what is zero or shows through from below.
    Mapped,
    /// The disk, byte for byte.
    Raw,
}

/// The L2 entries of a new image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum L2Entries {
    /// One word for each cluster.
    Standard,
    /// Two, which tell its 32 subclusters apart.
    Extended,
}

/// How a new image is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// Not at all.
    None,
    /// AES-128-CBC; the password is given when the image is opened. Offers little protection.
    Aes,
    /// LUKS1.
    Luks(LuksOptions),
}

impl Encryption {
    /// The crypt_method of the header.
    fn method(&self) -> EncryptionMethod {
        match self {
            Self::None => EncryptionMethod::None,
            Self::Aes => EncryptionMethod::Aes,
            Self::Luks(_) => EncryptionMethod::Luks,
        }
    }

    /// The password with which the new image opens: any, where only later ones count.
    pub(in crate::image) fn secret(&self) -> Option<Secret> {
        match self {
            Self::None => None,
            Self::Aes => Some(Secret::new("")),
            Self::Luks(options) => Some(options.secret.clone()),
        }
    }

    /// Bytes of the header with the keys.
    pub(in super::super) fn header_len(&self) -> u64 {
        match self {
            Self::None | Self::Aes => 0,
            Self::Luks(options) => Luks::area_len(&options.cipher),
        }
    }
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            size: 0,
            version: Version::V3,
            cluster_size: 64 * 1024,
            refcount_bits: 16,
            refcounts: RefcountUpdates::InOrder,
            entries: L2Entries::Standard,
            compression: Compression::Deflate,
            data_file: None,
            backing: None,
            encryption: Encryption::None,
        }
    }
}

/// Where everything of a new image lies, in clusters.
struct Layout {
    geometry: Geometry,
    size: u64,
    table_clusters: u64,
    blocks: u64,
    l1_entries: u64,
    l1_clusters: u64,
    /// Bytes of the encryption header.
    crypt_len: u64,
}

impl Layout {
    fn new(options: &CreateOptions) -> Result<Self> {
        let geometry = geometry(options)?;
        let size = options.size.checked_next_multiple_of(SECTOR);
        let size = size.filter(|&size| geometry.l1_entries(size) * 8 <= MAX_L1_BYTES);
        let Some(size) = size else {
            return Err(invalid(format!(
                "a disk of {} bytes is too big for clusters of {} bytes",
                options.size, options.cluster_size
            )));
        };
        let l1_entries = geometry.l1_entries(size);
        let l1_clusters = geometry.clusters(l1_entries * 8);
        let crypt_len = options.encryption.header_len();
        let (mut table_clusters, mut blocks) = (1, 1);
        loop {
            let used = 1 + table_clusters + blocks + l1_clusters + geometry.clusters(crypt_len);
            let needed = used.div_ceil(geometry.block_entries());
            let table = geometry.clusters(needed * 8);
            if needed <= blocks && table <= table_clusters {
                break;
            }
            (blocks, table_clusters) = (needed.max(blocks), table.max(table_clusters));
        }
        if table_clusters << geometry.cluster_bits() > MAX_REFCOUNT_TABLE_BYTES {
            return Err(invalid("the refcount table would be too big".to_owned()));
        }
        Ok(Self {
            geometry,
            size,
            table_clusters,
            blocks,
            l1_entries,
            l1_clusters,
            crypt_len,
        })
    }

    fn at(&self, cluster: u64) -> u64 {
        cluster << self.geometry.cluster_bits()
    }

    fn l1(&self) -> u64 {
        1 + self.table_clusters + self.blocks
    }

    fn crypt(&self) -> u64 {
        self.l1() + self.l1_clusters
    }

    /// The bytes of the file: the L1 table, if that is the last, does not take all of its cluster.
    fn file_len(&self) -> u64 {
        match self.crypt_len {
            0 => self.at(self.l1()) + self.l1_entries * 8,
            _ => self.at(self.end()),
        }
    }

    fn end(&self) -> u64 {
        self.crypt() + self.geometry.clusters(self.crypt_len)
    }
}

impl CreateOptions {
    /// Fails if there is no image of this size with these options.
    pub fn check(&self) -> Result<()> {
        Layout::new(self).map(|_| ())
    }
}

/// Makes the image in `storage`, replacing what it held.
pub fn create(storage: &dyn Storage, options: &CreateOptions) -> Result<()> {
    let layout = Layout::new(options)?;
    let header = header(&layout, options)?;
    let failed = |e| ImageError::io("create the image", e);
    clear(storage).map_err(failed)?;
    storage.set_len(layout.file_len()).map_err(failed)?;
    if !storage.grows() {
        let all = layout.at(layout.end());
        storage
            .zero(0, all, crate::storage::Allocation::Keep)
            .map_err(failed)?;
    }
    write_refcounts(storage, &layout).map_err(failed)?;
    if let Encryption::Luks(luks) = &options.encryption {
        let at = layout.at(layout.crypt());
        let (area, _) = Luks::format(luks)?;
        storage.write_at(&area, at).map_err(failed)?;
    }
    let (first, rest) = header.split_at(header.len().min(buffer_len(SECTOR)));
    storage.write_at(rest, SECTOR).map_err(failed)?;
    storage.flush(Durability::Data).map_err(failed)?;
    storage.write_at(first, 0).map_err(failed)?;
    storage.flush(Durability::All).map_err(failed)
}

/// Sees to it that an image that is there is none any more, before parts of another take its place.
fn clear(storage: &dyn Storage) -> std::io::Result<()> {
    if storage.is_empty()? {
        return Ok(());
    }
    if !storage.grows() {
        storage.zero(0, SECTOR, crate::storage::Allocation::Keep)?;
    }
    storage.set_len(0)?;
    storage.flush(Durability::All)
}

fn write_refcounts(storage: &dyn Storage, layout: &Layout) -> std::io::Result<()> {
    let geometry = &layout.geometry;
    let mut table = Vec::new();
    for block in 0..layout.blocks {
        let at = layout.at(1 + layout.table_clusters + block);
        table.extend_from_slice(&at.to_be_bytes());
        let before = block * geometry.block_entries();
        let mut counts = zeroed(geometry.cluster_size());
        for i in 0..layout
            .end()
            .saturating_sub(before)
            .min(geometry.block_entries())
        {
            width::set(&mut counts, i, geometry.refcount_order(), 1);
        }
        storage.write_at(&counts, at)?;
    }
    storage.write_at(&table, layout.at(1))
}

fn header(layout: &Layout, options: &CreateOptions) -> Result<Vec<u8>> {
    let v3 = options.version == Version::V3;
    let length = if v3 { V3_LENGTH } else { V2_LENGTH };
    let count = |value: u64| u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes();
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    put(&mut bytes, 0, &MAGIC.to_be_bytes());
    put(&mut bytes, 4, &if v3 { 3u32 } else { 2 }.to_be_bytes());
    put(
        &mut bytes,
        20,
        &layout.geometry.cluster_bits().to_be_bytes(),
    );
    put(&mut bytes, 24, &layout.size.to_be_bytes());
    put(
        &mut bytes,
        32,
        &(options.encryption.method() as u32).to_be_bytes(),
    );
    put(&mut bytes, 36, &count(layout.l1_entries));
    put(&mut bytes, 40, &layout.at(layout.l1()).to_be_bytes());
    put(&mut bytes, 48, &layout.at(1).to_be_bytes());
    put(&mut bytes, 56, &count(layout.table_clusters));
    if v3 {
        let lazy = if options.refcounts == RefcountUpdates::Lazy {
            LAZY_REFCOUNTS
        } else {
            0
        };
        put(&mut bytes, 80, &lazy.to_be_bytes());
        put(
            &mut bytes,
            96,
            &layout.geometry.refcount_order().to_be_bytes(),
        );
        put(&mut bytes, 100, &V3_LENGTH.to_be_bytes());
        put(&mut bytes, 72, &incompatible(options).to_be_bytes());
        put(&mut bytes, 88, &autoclear(options).to_be_bytes());
        put(&mut bytes, 104, &[options.compression.number()]);
    }
    add_extensions(&mut bytes, options, layout)?;
    Ok(bytes)
}

fn incompatible(options: &CreateOptions) -> u64 {
    let compression = match options.compression {
        Compression::Deflate => 0,
        Compression::Zstd => COMPRESSION_TYPE,
    };
    let entries = match options.entries {
        L2Entries::Standard => 0,
        L2Entries::Extended => EXTENDED_L2,
    };
    let data = options.data_file.as_ref().map_or(0, |_| EXTERNAL_DATA);
    compression | entries | data
}

fn autoclear(options: &CreateOptions) -> u64 {
    match options.data_file.as_ref().map(|file| file.contents) {
        Some(DataFileContents::Raw) => RAW_EXTERNAL_DATA,
        Some(DataFileContents::Mapped) | None => 0,
    }
}

/// Appends the extensions and the backing name. Feature names are left out where clusters are
/// so small that they would not fit.
fn add_extensions(bytes: &mut Vec<u8>, options: &CreateOptions, layout: &Layout) -> Result<()> {
    let cluster = layout.geometry.cluster_size();
    let name = options
        .backing
        .as_ref()
        .map_or("", |(name, _)| name.as_str());
    if name.len() > 1023 {
        return Err(invalid(
            "the backing file name is longer than 1023 bytes".to_owned(),
        ));
    }
    if let Some((_, format)) = &options.backing {
        bytes.extend(encode(BACKING_FORMAT, format.as_bytes()));
    }
    if layout.crypt_len > 0 {
        let at = layout.at(layout.crypt());
        let pointer = [at.to_be_bytes(), layout.crypt_len.to_be_bytes()].concat();
        bytes.extend(encode(LUKS_HEADER, &pointer));
    }
    if let Some(file) = &options.data_file {
        bytes.extend(encode(DATA_FILE, file.name.as_bytes()));
    }
    let names = encode(FEATURE_NAMES, &feature_names());
    let room = cluster.saturating_sub((bytes.len() + names.len() + 8 + name.len()) as u64);
    if options.version == Version::V3 && room > 0 {
        bytes.extend(names);
    }
    bytes.extend([0; 8]);
    if options.backing.is_some() {
        let at = bytes.len() as u64;
        let len = u32::try_from(name.len()).unwrap_or(u32::MAX);
        put(bytes, 8, &at.to_be_bytes());
        put(bytes, 16, &len.to_be_bytes());
        bytes.extend_from_slice(name.as_bytes());
    }
    if bytes.len() as u64 > cluster {
        return Err(invalid(format!(
            "the backing file name does not fit the first cluster of {cluster} bytes"
        )));
    }
    Ok(())
}

fn geometry(options: &CreateOptions) -> Result<Geometry> {
    let size = options.cluster_size;
    if !size.is_power_of_two() || !(512..=2 << 20).contains(&size) {
        return Err(invalid(format!(
            "cluster size {size} is not a power of two between 512 and 2M"
        )));
    }
    let bits = options.refcount_bits;
    if !bits.is_power_of_two() || bits > 64 {
        return Err(invalid(format!(
            "refcount width {bits} is not a power of two of at most 64 bits"
        )));
    }
    let v2 = options.version == Version::V2;
    if v2 && bits != 16 {
        return Err(invalid(
            "refcount widths other than 16 bits need compat=1.1".to_owned(),
        ));
    }
    if v2 && options.refcounts == RefcountUpdates::Lazy {
        return Err(invalid("lazy refcounts need compat=1.1".to_owned()));
    }
    check_data_file(options)?;
    if v2 && options.compression != Compression::Deflate {
        return Err(invalid(
            "compression types other than zlib need compat=1.1".to_owned(),
        ));
    }
    let plain = Geometry::new(
        options.version,
        size.trailing_zeros(),
        bits.trailing_zeros(),
    )?;
    match options.entries {
        L2Entries::Standard => Ok(plain),
        L2Entries::Extended => plain.with_extended_l2().map_err(|_| {
            invalid("extended L2 entries need compat=1.1 and clusters of 16k or more".to_owned())
        }),
    }
}

fn check_data_file(options: &CreateOptions) -> Result<()> {
    let Some(file) = &options.data_file else {
        return Ok(());
    };
    let refused = if options.version == Version::V2 {
        "an external data file needs compat=1.1"
    } else if file.name.is_empty() || file.name.len() > 1023 {
        "the name of the external data file is empty or longer than 1023 bytes"
    } else if file.contents == DataFileContents::Raw && options.backing.is_some() {
        "a raw external data file and a backing file exclude each other"
    } else {
        return Ok(());
    };
    Err(invalid(refused.to_owned()))
}

fn invalid(detail: String) -> ImageError {
    ImageError::new(ErrorKind::Invalid, detail)
}
