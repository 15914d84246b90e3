//! Adding, removing and changing dirty bitmaps.
//!
//! A change makes a new directory, with new tables and bits where those change, all of it durable
//! before the header refers to it; what it replaces is freed after. Format description, "Bitmaps".

use super::super::fields::{buffer_len, put, zeroed};
use super::super::{ErrorKind, Escaped, Image, ImageError, Result};
use super::Qcow2;
use super::address::HostOffset;
use super::bitmap::{AUTO, Bitmap, Directory, IN_USE, MAX_BITMAPS, cluster_of};
use super::extension::BITMAPS as EXTENSION;
use super::geometry::Version;
use super::header::{AT_AUTOCLEAR, BITMAPS};
use super::tracking::Tracking;

/// The bits of a bitmap, for merging.
#[derive(Debug, Clone)]
pub struct Bits {
    /// From the least significant bit of the first byte on.
    pub bytes: Vec<u8>,
    /// log2 of the bytes of the disk that a bit stands for.
    pub granularity_bits: u8,
}

/// A bitmap with its bits, for another image.
#[derive(Debug, Clone)]
pub struct NamedBits {
    name: Vec<u8>,
    bits: Bits,
    recording: Recording,
}

/// Host bytes that a change gives up: where, and how many.
type Freed = Vec<(HostOffset, u64)>;

impl Qcow2 {
    /// The bitmaps; those of an image that was written by a program without them are in use.
    pub fn bitmaps(&self) -> Result<Vec<Bitmap>> {
        let mut all = Directory::read(self.host.storage(), &self.header)?.bitmaps;
        if self.header.autoclear & BITMAPS == 0 {
            all.iter_mut().for_each(|bitmap| bitmap.flags |= IN_USE);
        }
        Ok(all)
    }

    /// A bitmap with its bits.
    pub fn named_bits(&self, name: &[u8]) -> Result<NamedBits> {
        let mut all = self.bitmaps()?;
        let bitmap = usable(&mut all, name)?;
        Ok(NamedBits {
            name: name.to_vec(),
            bits: self.bitmap_bits(name)?,
            recording: match bitmap.flags & AUTO {
                0 => Recording::Disabled,
                _ => Recording::Enabled,
            },
        })
    }

    /// Adds a bitmap of another image.
    pub fn copy_bitmap(&mut self, bitmap: NamedBits) -> Result<()> {
        let NamedBits {
            name,
            bits,
            recording,
        } = bitmap;
        self.add_bitmap(&name, Some(1 << bits.granularity_bits))?;
        self.merge_bitmap(&name, &bits)?;
        self.record_bitmap(&name, recording)
    }

    /// Adds an enabled bitmap with no bit set, a bit for each `granularity` bytes (a power of two
    /// from 512 to 2 GiB); without one, for each cluster, at least 4 and at most 64 KiB.
    pub fn add_bitmap(&mut self, name: &[u8], granularity: Option<u64>) -> Result<()> {
        let mut all = self.prepare_bitmaps()?;
        if self.geometry.version() == Version::V2 {
            return Err(unsupported("Cannot store dirty bitmaps in qcow2 v2 files"));
        }
        if all.iter().any(|bitmap| bitmap.name == name) {
            let text = format!("Bitmap already exists: {}", Escaped(name));
            return Err(ImageError::new(ErrorKind::Invalid, text));
        }
        let usual = self.geometry.cluster_size().clamp(4096, 65536);
        let granularity = granularity.unwrap_or(usual);
        let possible = granularity.is_power_of_two() && (512..=1 << 31).contains(&granularity);
        if !possible || name.is_empty() || name.len() > 1023 || all.len() >= MAX_BITMAPS as usize {
            return Err(ImageError::new(
                ErrorKind::Invalid,
                "a bitmap has a name of 1 to 1023 bytes and a granularity that is a power of two \
                 from 512 bytes to 2 GiB",
            ));
        }
        let mut bitmap = Bitmap {
            table: HostOffset(0),
            table_entries: 0,
            flags: AUTO,
            kind: 1,
            granularity_bits: u8::try_from(granularity.trailing_zeros()).unwrap_or(16),
            name: name.to_vec(),
            extra: Vec::new(),
        };
        self.write_bits(&mut bitmap, &[])?;
        all.push(bitmap);
        self.switch_bitmaps(&all, Vec::new())
    }

    /// Removes a bitmap; the only thing that can be done to one that is not consistent.
    pub fn remove_bitmap(&mut self, name: &[u8]) -> Result<()> {
        let mut all = self.prepare_bitmaps()?;
        let at = find(&all, name)?;
        let gone = all.remove(at);
        let freed = self.places(&gone)?;
        self.switch_bitmaps(&all, freed)
    }

    /// Clears every bit of a bitmap.
    pub fn clear_bitmap(&mut self, name: &[u8]) -> Result<()> {
        self.replace_bits(name, &[])
    }

    /// Makes a bitmap follow changes of the disk, or lets it be.
    pub fn record_bitmap(&mut self, name: &[u8], recording: Recording) -> Result<()> {
        let mut all = self.prepare_bitmaps()?;
        let bitmap = usable(&mut all, name)?;
        match recording {
            Recording::Enabled => bitmap.flags |= AUTO,
            Recording::Disabled => bitmap.flags &= !AUTO,
        }
        self.switch_bitmaps(&all, Vec::new())
    }

    /// The bits of a bitmap.
    pub fn bitmap_bits(&self, name: &[u8]) -> Result<Bits> {
        let mut all = self.bitmaps()?;
        let bitmap = usable(&mut all, name)?;
        Ok(Bits {
            bytes: bitmap.bits(self.host.storage(), &self.header)?,
            granularity_bits: bitmap.granularity_bits,
        })
    }

    /// Sets in a bitmap what is set in `other`, which may have another granularity.
    pub fn merge_bitmap(&mut self, name: &[u8], other: &Bits) -> Result<()> {
        let Bits {
            mut bytes,
            granularity_bits,
        } = self.bitmap_bits(name)?;
        let own = 1u64 << granularity_bits;
        let theirs = 1u64 << other.granularity_bits;
        for (index, byte) in (0..).zip(&other.bytes) {
            for bit in (0..8u64).filter(|bit| byte >> bit & 1 != 0) {
                let start = (index * 8 + bit) * theirs;
                let end = (start + theirs).min(self.header.size);
                for unit in start / own..end.div_ceil(own) {
                    if let Some(byte) = bytes.get_mut(buffer_len(unit / 8)) {
                        *byte |= 1 << (unit % 8);
                    }
                }
            }
        }
        self.replace_bits(name, &bytes)
    }

    /// Before the length of the disk becomes `size`: lets the bitmaps count for nothing, and gives
    /// them; `None` if there are none that count.
    ///
    /// Errors: [`ErrorKind::Unsupported`] if one cannot be resized.
    pub(super) fn suspend_bitmaps(&mut self, size: u64) -> Result<Option<Vec<Bitmap>>> {
        if self.header.autoclear & BITMAPS == 0 {
            return Ok(None);
        }
        let mut all = self.bitmaps()?;
        let names: Vec<Vec<u8>> = all.iter().map(|bitmap| bitmap.name.clone()).collect();
        for name in names {
            let bitmap = usable(&mut all, &name)?;
            if !bitmap.fits(self.header.size, &self.geometry) || !bitmap.can_be_for(size) {
                return Err(unsupported(&format!(
                    "bitmap '{}' does not fit the disk, or would get too big; remove it first",
                    Escaped(&name)
                )));
            }
        }
        let tables = self.tables();
        tables.bitmaps = Tracking::default();
        tables.bitmaps_kept = false;
        let begun = tables.begin_change();
        tables.sealing(begun)?;
        self.tracks_changes = false;
        self.header.autoclear &= !BITMAPS;
        Ok(Some(all))
    }

    /// Makes `bitmaps`, which were suspended when the disk had `old` bytes, as long as the disk is
    /// now: new bits are clear. They count again.
    pub(super) fn resume_bitmaps(&mut self, mut bitmaps: Vec<Bitmap>, old: u64) -> Result<()> {
        self.close()?;
        let mut freed = Freed::new();
        for bitmap in &mut bitmaps {
            freed.extend(self.places(bitmap)?);
            let mut bits = bitmap.bits_of(self.host.storage(), &self.geometry, old)?;
            cut_bits(&mut bits, self.header.size, bitmap.granularity_bits);
            self.write_bits(bitmap, &bits)?;
        }
        self.switch_bitmaps(&bitmaps, freed)
    }

    fn replace_bits(&mut self, name: &[u8], bits: &[u8]) -> Result<()> {
        let mut all = self.prepare_bitmaps()?;
        let bitmap = usable(&mut all, name)?;
        let freed = self.places(bitmap)?;
        self.write_bits(bitmap, bits)?;
        self.switch_bitmaps(&all, freed)
    }

    /// The bitmaps, with everything about them on disk.
    fn prepare_bitmaps(&mut self) -> Result<Vec<Bitmap>> {
        self.check_write(0, 0)?;
        self.close()?;
        self.bitmaps()
    }

    /// The table of a bitmap and the clusters of its bits.
    fn places(&self, bitmap: &Bitmap) -> Result<Freed> {
        let mut places = vec![(bitmap.table, u64::from(bitmap.table_entries) * 8)];
        for entry in bitmap.read_table(self.host.storage())? {
            if let Some(at) = cluster_of(entry, &self.geometry)? {
                places.push((at, self.geometry.cluster_size()));
            }
        }
        Ok(places)
    }

    /// Writes bits (zeros behind the end of `bits`) and a table for them to new places.
    fn write_bits(&mut self, bitmap: &mut Bitmap, bits: &[u8]) -> Result<()> {
        let cluster = self.geometry.cluster_size();
        let entries = self.geometry.clusters(bitmap.len(self.header.size));
        let mut table = zeroed(entries * 8);
        for (page, at) in bits.chunks(buffer_len(cluster)).zip((0..).step_by(8)) {
            if page.iter().all(|&byte| byte == 0) {
                continue;
            }
            let place = self.tables().space.allocate_together(1)?;
            let place = place.offset(&self.geometry);
            let mut whole = page.to_vec();
            whole.resize(buffer_len(cluster), 0);
            self.host.write(&whole, place, "a bitmap")?;
            put(&mut table, at, &place.0.to_be_bytes());
        }
        let count = self.geometry.clusters(table.len() as u64).max(1);
        let first = self.tables().space.allocate_together(count)?;
        bitmap.table = first.offset(&self.geometry);
        bitmap.table_entries = u32::try_from(entries).unwrap_or(u32::MAX);
        self.host.write(&table, bitmap.table, "a bitmap table")
    }

    /// Writes the directory of `bitmaps`, switches the header over, and gives back the old one
    /// and what is `freed` besides.
    fn switch_bitmaps(&mut self, bitmaps: &[Bitmap], mut freed: Freed) -> Result<()> {
        if let Some(old) = self.header.extensions.bitmaps() {
            freed.push((old.directory, old.directory_size));
        }
        let mut first = self.first_cluster()?;
        let features = match bitmaps.is_empty() {
            true => {
                first.set_extension(EXTENSION, None);
                self.header.autoclear & !BITMAPS
            }
            false => {
                let extension = self.write_directory(bitmaps)?;
                first.set_extension(EXTENSION, Some(extension));
                self.header.autoclear | BITMAPS
            }
        };
        self.tables().write_back()?;
        // Also those of lazy refcounts: nothing marks the image as dirty here.
        self.tables().write_counts()?;
        first.set(buffer_len(AT_AUTOCLEAR), &features.to_be_bytes());
        self.rewrite(&first)?;
        for (at, len) in freed {
            self.release_range(at, len);
        }
        self.settle_releases(0)?;
        self.reload()
    }

    /// Writes a directory, and gives the extension that refers to it.
    fn write_directory(&mut self, bitmaps: &[Bitmap]) -> Result<Vec<u8>> {
        let bytes = Directory::encode(bitmaps);
        let count = self.geometry.clusters(bytes.len() as u64);
        let place = self.tables().space.allocate_together(count)?;
        let place = place.offset(&self.geometry);
        self.host.write(&bytes, place, "the bitmap directory")?;
        let mut extension = zeroed(24);
        let count = u32::try_from(bitmaps.len()).unwrap_or(u32::MAX);
        put(&mut extension, 0, &count.to_be_bytes());
        put(&mut extension, 8, &(bytes.len() as u64).to_be_bytes());
        put(&mut extension, 16, &place.0.to_be_bytes());
        Ok(extension)
    }
}

/// Whether a bitmap follows changes of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recording {
    /// It does.
    Enabled,
    /// It does not.
    Disabled,
}

/// Leaves the bits of the first `size` bytes of the disk.
fn cut_bits(bits: &mut Vec<u8>, size: u64, granularity_bits: u8) {
    let count = size.div_ceil(1 << granularity_bits);
    bits.truncate(buffer_len(count.div_ceil(8)));
    if let Some(last) = bits.get_mut(buffer_len(count / 8)) {
        *last &= (1 << (count % 8)) - 1;
    }
}

fn find(bitmaps: &[Bitmap], name: &[u8]) -> Result<usize> {
    let found = bitmaps.iter().position(|bitmap| bitmap.name == name);
    found.ok_or_else(|| {
        let text = format!("Dirty bitmap '{}' not found", Escaped(name));
        ImageError::new(ErrorKind::NotFound, text)
    })
}

/// The bitmap called `name`, if it may be read and changed.
fn usable<'a>(bitmaps: &'a mut [Bitmap], name: &[u8]) -> Result<&'a mut Bitmap> {
    let at = find(bitmaps, name)?;
    let bitmap = bitmaps
        .get_mut(at)
        .filter(|b| b.is_consistent() && b.is_known());
    bitmap.ok_or_else(|| {
        unsupported(&format!(
            "bitmap '{}' is inconsistent or of unknown make, and can only be removed",
            Escaped(name)
        ))
    })
}

fn unsupported(detail: &str) -> ImageError {
    ImageError::new(ErrorKind::Unsupported, detail)
}
