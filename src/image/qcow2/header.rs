//! The header: what the first bytes of an image say, checked before anything is believed.
//!
//! Format description, "Header" and "Header extensions". Fields that this version does not know
//! are kept, because a header is changed field by field and never written anew.

use super::super::fields::{u32_at, u64_at};
use super::super::{ErrorKind, Escaped, ImageError, Result, SECTOR};
use super::address::HostOffset;
use super::extension::Extensions;
use super::geometry::{CLUSTER_BITS, Geometry, Version};

/// The first four bytes.
pub(super) const MAGIC: u32 = 0x5146_49fb;
/// Length of the version 2 header, and of the shortest of version 3.
pub(super) const V2_LENGTH: u32 = 72;
const V3_LENGTH: u32 = 104;

/// The largest active L1 table, in bytes.
pub(super) const MAX_L1_BYTES: u64 = 32 << 20;
/// The largest refcount table, in bytes.
pub(super) const MAX_REFCOUNT_TABLE_BYTES: u64 = 8 << 20;
pub(super) const MAX_SNAPSHOTS: u32 = 65_536;
const MAX_BACKING_NAME: u32 = 1023;

/// Offsets of the fields that are changed in an existing image.
pub(super) const AT_SIZE: u64 = 24;
pub(super) const AT_L1: u64 = 36;
pub(super) const AT_REFCOUNT_TABLE: u64 = 48;
pub(super) const AT_SNAPSHOTS: u64 = 60;
pub(super) const AT_INCOMPATIBLE: u64 = 72;
pub(super) const AT_REFCOUNT_ORDER: usize = 96;
pub(super) const AT_COMPATIBLE: usize = 80;
pub(super) const AT_AUTOCLEAR: u64 = 88;

/// Incompatible feature: refcounts may be wrong.
pub const DIRTY: u64 = 1 << 0;
/// Incompatible feature: tables contradict each other.
pub const CORRUPT: u64 = 1 << 1;
/// Incompatible feature: guest data lies in another file.
pub const EXTERNAL_DATA: u64 = 1 << 2;
/// Incompatible feature: the compression type is not deflate.
pub const COMPRESSION_TYPE: u64 = 1 << 3;
/// Incompatible feature: L2 entries of 128 bits.
pub const EXTENDED_L2: u64 = 1 << 4;
const KNOWN_INCOMPATIBLE: u64 = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION_TYPE | EXTENDED_L2;
/// Compatible feature: refcounts may be written late.
pub const LAZY_REFCOUNTS: u64 = 1 << 0;
/// Autoclear feature: the persistent bitmaps are right.
pub const BITMAPS: u64 = 1 << 0;
/// Autoclear feature: the external data file is the disk, byte for byte.
pub const RAW_EXTERNAL_DATA: u64 = 1 << 1;

/// What the header of an image says.
#[derive(Debug, Clone)]
pub struct Header {
    /// Sizes of clusters, tables and counts.
    pub geometry: Geometry,
    /// Length of the disk in bytes, down to whole sectors.
    pub size: u64,
    /// Name of the backing image as it stands in the file.
    pub backing_name: Option<Vec<u8>>,
    /// How guest data is encrypted.
    pub encryption: EncryptionMethod,
    /// Entries of the active L1 table.
    pub l1_size: u32,
    /// Where the active L1 table starts.
    pub l1_offset: HostOffset,
    /// Where the refcount table starts.
    pub refcount_table_offset: HostOffset,
    /// Its length in clusters.
    pub refcount_table_clusters: u32,
    /// How many internal snapshots there are.
    pub snapshots: u32,
    /// Where the snapshot table starts.
    pub snapshots_offset: HostOffset,
    /// Features without which the image must not be opened.
    pub incompatible: u64,
    /// Features that may be ignored.
    pub compatible: u64,
    /// Features that a writer without them must clear.
    pub autoclear: u64,
    /// How compressed clusters are compressed.
    pub compression: Compression,
    /// Length of the header in bytes.
    pub header_length: u32,
    /// The header extensions.
    pub extensions: Extensions,
}

/// Encryption methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncryptionMethod {
    /// Plain text.
    None = 0,
    /// AES-128-CBC with the password as key (legacy).
    Aes = 1,
    /// LUKS version 1.
    Luks = 2,
}

/// Compression types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Raw deflate streams.
    Deflate,
    /// Zstandard frames.
    Zstd,
}

impl Compression {
    /// The name that `qemu-img` uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deflate => "zlib",
            Self::Zstd => "zstd",
        }
    }

    /// The type that a name of `qemu-img` means.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "zlib" => Some(Self::Deflate),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The number in byte 104 of the header.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Deflate => 0,
            Self::Zstd => 1,
        }
    }
}

/// Whether `start`, the first bytes of a file, are those of a qcow2 image, of whatever version.
pub fn is_qcow2(start: &[u8]) -> bool {
    u32_at(start, 0) == Some(MAGIC)
}

impl Header {
    /// Reads a header from `bytes`, the first cluster of the file (or as much of it as the file
    /// has, then zeros), and checks each field by itself.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let word = |at| u32_at(bytes, at).unwrap_or(0);
        let long = |at| u64_at(bytes, at).unwrap_or(0);
        if word(0) != MAGIC {
            return Err(ImageError::corrupt(
                "the file does not start with a qcow2 header",
            ));
        }
        let version = match word(4) {
            2 => Version::V2,
            3 => Version::V3,
            other => {
                return Err(unsupported(format!("qcow2 version {other} is not 2 or 3")));
            }
        };
        let v3 = version == Version::V3;
        let refcount_order = if v3 { word(96) } else { 4 };
        let geometry = Geometry::new(version, word(20), refcount_order)?;
        let header_length = if v3 { word(100) } else { V2_LENGTH };
        check_length(header_length, v3, &geometry)?;
        let v3_field = |value| if v3 { value } else { 0 };
        let mut header = Self {
            geometry,
            size: long(24) - long(24) % SECTOR,
            backing_name: None,
            encryption: encryption(word(32))?,
            l1_size: word(36),
            l1_offset: HostOffset(long(40)),
            refcount_table_offset: HostOffset(long(48)),
            refcount_table_clusters: word(56),
            snapshots: word(60),
            snapshots_offset: HostOffset(long(64)),
            incompatible: v3_field(long(72)),
            compatible: v3_field(long(80)),
            autoclear: v3_field(long(88)),
            compression: Compression::Deflate,
            header_length,
            extensions: Extensions::default(),
        };
        let end = header.parse_backing_name(bytes, long(8), word(16))?;
        header.extensions = Extensions::parse(bytes, u64::from(header_length), end)?;
        header.check_features()?;
        if header.incompatible & EXTENDED_L2 != 0 {
            header.geometry = geometry.with_extended_l2()?;
        }
        if header.incompatible & EXTERNAL_DATA != 0 {
            header.geometry = header.geometry.with_external_data();
        }
        if v3 && header_length > V3_LENGTH {
            header.compression = compression(bytes.get(104).copied().unwrap_or(0))?;
        }
        header.check_compression()?;
        header.check_tables()?;
        Ok(header)
    }

    /// Reads the backing name and gives the byte where extensions must end.
    fn parse_backing_name(&mut self, bytes: &[u8], at: u64, len: u32) -> Result<u64> {
        let cluster = self.geometry.cluster_size();
        if at == 0 {
            return Ok(cluster);
        }
        let end = at.saturating_add(u64::from(len));
        if len > MAX_BACKING_NAME || end > cluster || at < u64::from(self.header_length) {
            return Err(ImageError::corrupt(format!(
                "the backing file name ({len} bytes) does not lie inside the first cluster"
            ))
            .at(at));
        }
        let (start, end) = (usize::try_from(at), usize::try_from(end));
        if let (Ok(start), Ok(end)) = (start, end) {
            self.backing_name = bytes.get(start..end).map(<[u8]>::to_vec);
        }
        self.backing_name = self.backing_name.take().filter(|name| !name.is_empty());
        Ok(at)
    }

    fn check_features(&self) -> Result<()> {
        let unknown = self.incompatible & !KNOWN_INCOMPATIBLE;
        if unknown == 0 {
            return Ok(());
        }
        let names: Vec<String> = (0..64u8)
            .filter(|bit| unknown & (1 << bit) != 0)
            .map(|bit| match self.extensions.feature_name(0, bit) {
                Some(name) => format!("\"{}\" (bit {bit})", Escaped(name)),
                None => format!("bit {bit}, which the image does not name"),
            })
            .collect();
        Err(unsupported(format!(
            "the image uses incompatible features that this version does not know: {}",
            names.join(", ")
        )))
    }

    fn check_compression(&self) -> Result<()> {
        let flagged = self.incompatible & COMPRESSION_TYPE != 0;
        if flagged == (self.compression != Compression::Deflate) {
            return Ok(());
        }
        Err(ImageError::corrupt(
            "the compression type and its incompatible feature bit contradict each other",
        ))
    }

    fn check_tables(&self) -> Result<()> {
        let l1_bytes = u64::from(self.l1_size) * 8;
        if l1_bytes > MAX_L1_BYTES {
            return Err(ImageError::corrupt(format!(
                "the L1 table of {l1_bytes} bytes is too big"
            )));
        }
        if self.geometry.l1_entries(self.size) > i32::MAX.unsigned_abs().into() {
            return Err(ImageError::corrupt(format!(
                "a disk of {} bytes is too big for any L1 table",
                self.size
            )));
        }
        if u64::from(self.l1_size) < self.geometry.l1_entries(self.size) {
            return Err(ImageError::corrupt(format!(
                "the L1 table of {} entries is too small for a disk of {} bytes",
                self.l1_size, self.size
            )));
        }
        let clusters = u64::from(self.refcount_table_clusters);
        let refcount_bytes = clusters << self.geometry.cluster_bits();
        if clusters == 0 || refcount_bytes > MAX_REFCOUNT_TABLE_BYTES {
            return Err(ImageError::corrupt(format!(
                "a refcount table of {refcount_bytes} bytes is impossible"
            )));
        }
        if self.snapshots > MAX_SNAPSHOTS {
            return Err(ImageError::corrupt(format!(
                "{} snapshots are too many",
                self.snapshots
            )));
        }
        self.check_offset("L1 table", self.l1_offset, l1_bytes)?;
        self.check_offset("refcount table", self.refcount_table_offset, refcount_bytes)?;
        self.check_offset(
            "snapshot table",
            self.snapshots_offset,
            u64::from(self.snapshots),
        )
    }

    fn check_offset(&self, what: &str, at: HostOffset, len: u64) -> Result<()> {
        if len == 0 {
            return Ok(());
        }
        if !at.is_aligned(&self.geometry) || at.0 == 0 || at.0 >= 1 << 56 {
            return Err(
                ImageError::corrupt(format!("the {what} starts at an impossible place")).at(at.0),
            );
        }
        Ok(())
    }

    /// Whether the external data file can be read as a raw image of the disk.
    pub fn has_raw_data_file(&self) -> bool {
        self.geometry.has_external_data() && self.autoclear & RAW_EXTERNAL_DATA != 0
    }

    /// The bytes of the L1 table.
    pub fn l1_bytes(&self) -> u64 {
        u64::from(self.l1_size) * 8
    }

    /// The bytes of the refcount table.
    pub fn refcount_table_bytes(&self) -> u64 {
        u64::from(self.refcount_table_clusters) << self.geometry.cluster_bits()
    }
}

/// How many bytes of a file [`Header::parse`] needs, seen from its first 24; 0 if they are not
/// those of a qcow2 image.
pub(super) fn first_cluster_len(start: &[u8]) -> u64 {
    match u32_at(start, 20) {
        Some(bits) if CLUSTER_BITS.contains(&bits) => 1 << bits,
        _ => SECTOR,
    }
}

fn check_length(len: u32, v3: bool, geometry: &Geometry) -> Result<()> {
    let fits = u64::from(len) <= geometry.cluster_size() && len.is_multiple_of(8);
    if !v3 || (len >= V3_LENGTH && fits) {
        return Ok(());
    }
    Err(ImageError::corrupt(format!(
        "a header of {len} bytes is impossible"
    )))
}

fn encryption(method: u32) -> Result<EncryptionMethod> {
    match method {
        0 => Ok(EncryptionMethod::None),
        1 => Ok(EncryptionMethod::Aes),
        2 => Ok(EncryptionMethod::Luks),
        other => Err(unsupported(format!(
            "encryption method {other} is not known"
        ))),
    }
}

fn compression(kind: u8) -> Result<Compression> {
    match kind {
        0 => Ok(Compression::Deflate),
        1 => Ok(Compression::Zstd),
        other => Err(unsupported(format!(
            "compression type {other} is not known"
        ))),
    }
}

fn unsupported(detail: String) -> ImageError {
    ImageError::new(ErrorKind::Unsupported, detail)
}
