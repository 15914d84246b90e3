//! Persistent dirty bitmaps as they stand on disk: the directory that names them, and their bits.
//!
//! A bitmap has a bit for each `granularity` bytes of the disk, set where the disk has changed. Its
//! table has an entry for each cluster of bits: where the cluster lies, or that all its bits are 0
//! or 1. What keeps a bitmap right while the disk is written is [`super::tracking`]. Format
//! description, "Bitmaps".

use super::super::fields::{buffer_len, put, u16_at, u32_at, u64_at, zeroed};
use super::super::{ImageError, Result};
use super::address::HostOffset;
use super::entry::OFFSET;
use super::extension::BitmapsExtension;
use super::geometry::Geometry;
use super::header::Header;
use crate::storage::Storage;

/// The bitmap was not stored after the last change of the disk; it may only be removed.
pub const IN_USE: u32 = 1 << 0;
/// The bitmap is to follow every change of the disk.
pub const AUTO: u32 = 1 << 1;
/// Who does not know the extra data may use the bitmap all the same.
pub const EXTRA_DATA_COMPATIBLE: u32 = 1 << 2;
const KNOWN_FLAGS: u32 = IN_USE | AUTO | EXTRA_DATA_COMPATIBLE;

/// The only type of bitmap that there is: a dirty tracking bitmap.
const DIRTY_TRACKING: u8 = 1;
/// The granularities that there are, as powers of two.
const GRANULARITY_BITS: std::ops::RangeInclusive<u8> = 9..=31;
/// Most bitmaps of an image, and bytes of its directory.
pub(super) const MAX_BITMAPS: u32 = 65_535;
pub(super) const MAX_DIRECTORY: u64 = 64 << 20;
/// The largest bitmap whose bits are handled, in bytes.
const MAX_BITS: u64 = 64 << 20;
const MAX_NAME: usize = 1023;
/// Bytes of a directory entry in front of extra data and name.
const ENTRY: usize = 24;
pub(super) const AT_FLAGS: usize = 12;
/// A table entry without a cluster: all bits are set.
pub(super) const ALL_ONES: u64 = 1;

/// One bitmap of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bitmap {
    /// Where its table lies.
    pub table: HostOffset,
    /// Entries of the table.
    pub table_entries: u32,
    /// [`IN_USE`], [`AUTO`], [`EXTRA_DATA_COMPATIBLE`], and what is not known.
    pub flags: u32,
    /// The type; 1 is a dirty tracking bitmap.
    pub kind: u8,
    /// log2 of the bytes of the disk that a bit stands for.
    pub granularity_bits: u8,
    /// The name.
    pub name: Vec<u8>,
    /// Extra data, kept as it is.
    pub extra: Vec<u8>,
}

impl Bitmap {
    /// Whether the bitmap says what has changed, in an image whose bitmaps count as right.
    pub fn is_consistent(&self) -> bool {
        self.flags & IN_USE == 0
    }

    /// Whether all about the bitmap is known, so that its bits may be read and changed.
    pub fn is_known(&self) -> bool {
        let extra = self.extra.is_empty() || self.flags & EXTRA_DATA_COMPATIBLE != 0;
        self.flags & !KNOWN_FLAGS == 0 && self.kind == DIRTY_TRACKING && extra
    }

    /// Bytes of bits that a disk of `size` bytes has.
    pub fn len(&self, size: u64) -> u64 {
        let granularity = 1u64.checked_shl(self.granularity_bits.into());
        size.div_ceil(granularity.unwrap_or(u64::MAX)).div_ceil(8)
    }

    /// Whether the table is as long as the bits of a disk of `size` bytes need, and not too long.
    pub(super) fn fits(&self, size: u64, geometry: &Geometry) -> bool {
        let len = self.len(size);
        GRANULARITY_BITS.contains(&self.granularity_bits)
            && len <= MAX_BITS
            && u64::from(self.table_entries) == geometry.clusters(len)
            && self.table.is_aligned(geometry)
    }

    /// Whether a disk of `size` bytes has no more bits than are handled.
    pub(super) fn can_be_for(&self, size: u64) -> bool {
        self.len(size) <= MAX_BITS
    }

    /// The table.
    pub(super) fn read_table(&self, storage: &dyn Storage) -> Result<Vec<u64>> {
        let mut bytes = zeroed(u64::from(self.table_entries) * 8);
        read(storage, &mut bytes, self.table, "a bitmap table")?;
        let words = bytes.as_chunks::<8>().0.iter();
        Ok(words.map(|&word| u64::from_be_bytes(word)).collect())
    }

    /// The bits for the disk of the image in `storage`, from the least significant bit of the
    /// first byte on.
    ///
    /// Errors: [`super::super::ErrorKind::Corrupt`] for a table that does not fit the disk.
    pub fn bits(&self, storage: &dyn Storage, header: &Header) -> Result<Vec<u8>> {
        self.bits_of(storage, &header.geometry, header.size)
    }

    /// The same for a disk of `size` bytes.
    pub(super) fn bits_of(
        &self,
        storage: &dyn Storage,
        geometry: &Geometry,
        size: u64,
    ) -> Result<Vec<u8>> {
        if !self.fits(size, geometry) {
            return Err(ImageError::corrupt(
                "the table of a bitmap does not fit the disk, or is too big",
            ));
        }
        let mut bits = zeroed(self.len(size));
        let pages = bits.chunks_mut(buffer_len(geometry.cluster_size()));
        for (page, entry) in pages.zip(self.read_table(storage)?) {
            match cluster_of(entry, geometry)? {
                Some(at) => read(storage, page, at, "a bitmap")?,
                None if entry == ALL_ONES => page.fill(u8::MAX),
                None => {}
            }
        }
        // What lies behind the disk counts for nothing.
        let used = size.div_ceil(1 << self.granularity_bits) % 8;
        if let Some(last) = bits.last_mut().filter(|_| used > 0) {
            *last &= u8::MAX >> (8 - used);
        }
        Ok(bits)
    }

    /// The entry of the directory.
    fn encode(&self) -> Vec<u8> {
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let name_len = u16::try_from(self.name.len()).unwrap_or(u16::MAX);
        let mut bytes = vec![0; ENTRY];
        put(&mut bytes, 0, &self.table.0.to_be_bytes());
        put(&mut bytes, 8, &self.table_entries.to_be_bytes());
        put(&mut bytes, AT_FLAGS, &self.flags.to_be_bytes());
        put(&mut bytes, 16, &[self.kind, self.granularity_bits]);
        put(&mut bytes, 18, &name_len.to_be_bytes());
        put(&mut bytes, 20, &len(&self.extra).to_be_bytes());
        bytes.extend_from_slice(&self.extra);
        bytes.extend_from_slice(&self.name);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }
}

/// Where the bits of a table entry lie; `None` if all are alike.
pub(super) fn cluster_of(entry: u64, geometry: &Geometry) -> Result<Option<HostOffset>> {
    let at = HostOffset(entry & OFFSET);
    let known = if at.0 == 0 { ALL_ONES } else { OFFSET };
    if entry & !known != 0 || !at.is_aligned(geometry) {
        return Err(ImageError::corrupt("a bitmap table has an impossible entry").at(at.0));
    }
    Ok((at.0 != 0).then_some(at))
}

/// A directory, and where the flags of each bitmap stand in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    /// The bitmaps, in their order.
    pub bitmaps: Vec<Bitmap>,
    pub(super) flags_at: Vec<HostOffset>,
}

impl Directory {
    /// Reads the directory of the image in `storage`.
    pub fn read(storage: &dyn Storage, header: &Header) -> Result<Self> {
        let Some(extension) = header.extensions.bitmaps() else {
            return Ok(Self::default());
        };
        let BitmapsExtension {
            count,
            directory_size,
            directory,
        } = extension;
        if count > MAX_BITMAPS || directory_size > MAX_DIRECTORY {
            return Err(ImageError::corrupt("the bitmap directory is too big").at(directory.0));
        }
        let mut bytes = zeroed(directory_size);
        read(storage, &mut bytes, directory, "the bitmap directory")?;
        Self::parse(&bytes, count, directory)
    }

    fn parse(bytes: &[u8], count: u32, directory: HostOffset) -> Result<Self> {
        let mut found = Self::default();
        let mut at = 0;
        for _ in 0..count {
            let Some((bitmap, len)) = parse_entry(bytes.get(at..).unwrap_or(&[])) else {
                return Err(ImageError::corrupt(
                    "the bitmap directory ends inside an entry, or a name is too long",
                )
                .at(directory.plus(at as u64).0));
            };
            found.bitmaps.push(bitmap);
            found.flags_at.push(directory.plus((at + AT_FLAGS) as u64));
            at += len;
        }
        Ok(found)
    }

    /// The bytes of the directory.
    pub(super) fn encode(bitmaps: &[Bitmap]) -> Vec<u8> {
        bitmaps.iter().flat_map(Bitmap::encode).collect()
    }
}

/// The first entry of `bytes`, and how long it is.
fn parse_entry(bytes: &[u8]) -> Option<(Bitmap, usize)> {
    let extra_len = usize::try_from(u32_at(bytes, 20)?).ok()?;
    let name_len = usize::from(u16_at(bytes, 18)?);
    let extra_end = ENTRY.checked_add(extra_len)?;
    let end = extra_end.checked_add(name_len)?;
    let bitmap = Bitmap {
        table: HostOffset(u64_at(bytes, 0)?),
        table_entries: u32_at(bytes, 8)?,
        flags: u32_at(bytes, AT_FLAGS)?,
        kind: *bytes.get(16)?,
        granularity_bits: *bytes.get(17)?,
        name: bytes.get(extra_end..end)?.to_vec(),
        extra: bytes.get(ENTRY..extra_end)?.to_vec(),
    };
    (name_len <= MAX_NAME).then_some((bitmap, end.next_multiple_of(8)))
}

fn read(storage: &dyn Storage, buf: &mut [u8], at: HostOffset, what: &str) -> Result<()> {
    let done = storage.read_at(buf, at.0);
    done.map_err(|e| ImageError::io(&format!("read {what}"), e).at(at.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bitmap(name: &str, extra: &[u8]) -> Bitmap {
        Bitmap {
            table: HostOffset(0x50000),
            table_entries: 3,
            flags: AUTO,
            kind: DIRTY_TRACKING,
            granularity_bits: 16,
            name: name.into(),
            extra: extra.to_vec(),
        }
    }

    #[test]
    fn a_directory_survives_encoding_with_its_extra_data() {
        let bitmaps = [bitmap("a", b""), bitmap("bitmap of tuesday", b"12345")];
        let bytes = Directory::encode(&bitmaps);
        let found = Directory::parse(&bytes, 2, HostOffset(0x10000)).unwrap();
        assert_eq!(found.bitmaps, bitmaps);
        assert_eq!(found.flags_at[1], HostOffset(0x10000 + 32 + 12));
        assert!(bitmaps[0].is_known());
        assert!(!bitmaps[1].is_known(), "unknown extra data");
    }

    #[test]
    fn a_directory_that_ends_early_is_refused() {
        let mut bytes = Directory::encode(&[bitmap("a", b"")]);
        assert!(Directory::parse(&bytes, 2, HostOffset(0)).is_err());
        bytes[20..24].fill(0xff);
        assert!(Directory::parse(&bytes, 1, HostOffset(0)).is_err());
    }
}
