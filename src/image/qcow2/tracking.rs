//! Keeping enabled dirty bitmaps right while the disk is written.
//!
//! Before the first change, the bitmaps that follow changes are marked as in use on disk. Changes
//! are noted in memory, a page for each cluster of bits that they touch. When the image is closed
//! the bits are stored, made durable, and the marks are taken away:
//!
//! ```text
//!   in use │ changes of the disk … │ bits, counts │ bitmap tables │ not in use
//! ```
//!
//! After a power cut in between, a bitmap is marked and counts for nothing. A bitmap of unknown
//! make, or one that is too big to follow, stays marked. Format description, "Bitmaps".

use std::collections::BTreeMap;

use super::super::fields::{buffer_len, zeroed};
use super::super::{ErrorKind, Result};
use super::address::{GuestOffset, HostOffset};
use super::bitmap::{ALL_ONES, AUTO, Bitmap, Directory, IN_USE, MAX_DIRECTORY, cluster_of};
use super::geometry::Geometry;
use super::header::Header;
use super::host::{Barrier, Host};
use super::metadata::Metadata;
use super::overlap::Overlap;

/// The enabled bitmaps of an image.
#[derive(Debug, Default)]
pub(super) struct Tracking {
    bitmaps: Vec<Tracked>,
    /// Whether the marks are on disk.
    marked: bool,
}

/// An enabled bitmap.
#[derive(Debug)]
struct Tracked {
    bitmap: Bitmap,
    flags_at: HostOffset,
    /// The clusters of bits that have changed; `None` if they cannot be kept.
    pages: Option<BTreeMap<u64, Page>>,
}

/// Which bits of a cluster of bits were set.
#[derive(Debug)]
enum Page {
    /// All.
    Ones,
    /// Those that are set here.
    Bits(Box<[u8]>),
}

impl Tracking {
    /// The bitmaps of the image in `host` that follow changes. None if the directory contradicts
    /// itself: then no bitmap of the image survives the first change.
    pub(super) fn load(host: &Host, header: &Header) -> Result<Option<Self>> {
        let directory = match Directory::read(host.storage(), header) {
            Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(None),
            directory => directory?,
        };
        let file_len = host.len()?;
        let usable = |bitmap: &Bitmap| {
            let end = bitmap.table.plus(u64::from(bitmap.table_entries) * 8);
            bitmap.is_known() && bitmap.fits(header.size, &header.geometry) && end.0 <= file_len
        };
        let entries = directory.bitmaps.into_iter().zip(directory.flags_at);
        let enabled = entries.filter(|(b, _)| b.flags & AUTO != 0 && b.is_consistent());
        let tracked = enabled.map(|(bitmap, flags_at)| Tracked {
            pages: usable(&bitmap).then(BTreeMap::new),
            bitmap,
            flags_at,
        });
        Ok(Some(Self {
            bitmaps: tracked.collect(),
            marked: false,
        }))
    }

    /// Whether the marks have to be written before a change.
    pub(super) fn wants_marks(&self) -> bool {
        !self.marked && !self.bitmaps.is_empty()
    }

    /// Marks the bitmaps as in use.
    pub(super) fn write_marks(&mut self, host: &Host) -> Result<()> {
        for tracked in &self.bitmaps {
            tracked.write_flags(host, tracked.bitmap.flags | IN_USE)?;
        }
        self.marked = true;
        Ok(())
    }

    /// Gives up following changes, for a disk that becomes another one: the marks stay.
    pub(super) fn give_up(&mut self) {
        self.bitmaps.iter_mut().for_each(Tracked::give_up);
    }

    /// Notes that `len` bytes of the disk from `offset` on change.
    pub(super) fn note(&mut self, offset: GuestOffset, len: u64, geometry: &Geometry) {
        if len == 0 {
            return;
        }
        for tracked in &mut self.bitmaps {
            // Only of a bitmap with pages is the granularity known to make sense.
            if let Some(pages) = &mut tracked.pages {
                let bits = tracked.bitmap.granularity_bits;
                let (first, last) = (offset.0 >> bits, offset.plus(len - 1).0 >> bits);
                note_bits(pages, first, last, geometry);
            }
        }
    }
}

/// Where the directory of the image in `host` lies, and its length; `None` if there is none, or if it
/// is too big, or lies outside the file or on another table.
pub(super) fn directory(
    host: &Host,
    header: &Header,
    others: &Overlap,
) -> Result<Option<(HostOffset, u64)>> {
    let geometry = &header.geometry;
    let file_len = host.len()?.next_multiple_of(geometry.cluster_size());
    let found = header.extensions.bitmaps();
    let found = found.map(|bitmaps| (bitmaps.directory, bitmaps.directory_size));
    Ok(found.filter(|&(at, len)| {
        let inside = at.0.checked_add(len).is_some_and(|end| end <= file_len);
        len <= MAX_DIRECTORY
            && inside
            && at.is_aligned(geometry)
            && others.check_free(at, len, geometry).is_ok()
    }))
}

/// Sets the bits from `first` to `last`.
fn note_bits(pages: &mut BTreeMap<u64, Page>, first: u64, last: u64, geometry: &Geometry) {
    let per_page = geometry.cluster_size() * 8;
    for index in first / per_page..=last / per_page {
        let start = index * per_page;
        let (from, to) = (
            first.max(start) - start,
            last.min(start + per_page - 1) - start,
        );
        if (from, to) == (0, per_page - 1) {
            pages.insert(index, Page::Ones);
            continue;
        }
        let empty = || Page::Bits(zeroed(geometry.cluster_size()).into_boxed_slice());
        if let Page::Bits(bytes) = pages.entry(index).or_insert_with(empty) {
            set_bits(bytes, from, to);
        }
    }
}

/// Sets the bits from `from` to `to`, the least significant of a byte first.
fn set_bits(bytes: &mut [u8], from: u64, to: u64) {
    let (first, last) = (buffer_len(from / 8), buffer_len(to / 8));
    let (head, tail) = (u8::MAX << (from % 8), u8::MAX >> (7 - to % 8));
    for (byte, index) in bytes.iter_mut().zip(0..).take(last + 1).skip(first) {
        let head = if index == first { head } else { u8::MAX };
        let tail = if index == last { tail } else { u8::MAX };
        *byte |= head & tail;
    }
}

impl Tracked {
    fn write_flags(&self, host: &Host, flags: u32) -> Result<()> {
        host.write(&flags.to_be_bytes(), self.flags_at, "the bitmap directory")
    }

    /// Gives up following changes: the mark stays.
    fn give_up(&mut self) {
        self.pages = None;
    }
}

impl Metadata {
    /// Stores the noted bits. The tables that refer to them are durable on return, the marks are
    /// still there.
    pub(super) fn store_bitmaps(&mut self) -> Result<()> {
        if !self.bitmaps.marked {
            return Ok(());
        }
        let mut tracking = std::mem::take(&mut self.bitmaps);
        let stored = self.store_all(&mut tracking.bitmaps);
        self.bitmaps = tracking;
        stored
    }

    fn store_all(&mut self, bitmaps: &mut [Tracked]) -> Result<()> {
        let mut tables = Vec::new();
        for tracked in bitmaps {
            let Some(pages) = &tracked.pages else {
                continue;
            };
            match self.store_pages(&tracked.bitmap, pages) {
                // A bitmap that contradicts itself is no reason to call the disk corrupt.
                Err(error) if error.kind() == ErrorKind::Corrupt => tracked.give_up(),
                Err(error) => return Err(error),
                Ok(table) => {
                    tables.push((tracked.bitmap.table, table));
                    tracked.pages = Some(BTreeMap::new());
                }
            }
        }
        self.write_back()?;
        self.host().barrier(Barrier::ClusterBeforeReference)?;
        for (at, table) in tables {
            let bytes: Vec<u8> = table.iter().flat_map(|entry| entry.to_be_bytes()).collect();
            self.host().write(&bytes, at, "a bitmap table")?;
        }
        Ok(())
    }

    /// Writes the bits of changed pages, and gives the table that refers to them.
    fn store_pages(&mut self, bitmap: &Bitmap, pages: &BTreeMap<u64, Page>) -> Result<Vec<u64>> {
        let geometry = self.geometry();
        let mut table = bitmap.read_table(self.host().storage())?;
        let len = table.len() as u64 * 8;
        let overlap = &self.space.overlap;
        overlap.check_free(bitmap.table, len, &geometry)?;
        for (&index, page) in pages {
            let Some(entry) = table.get_mut(buffer_len(index)) else {
                continue;
            };
            match (cluster_of(*entry, &geometry)?, page) {
                (None, Page::Ones) => *entry = ALL_ONES,
                (None, Page::Bits(_)) if *entry == ALL_ONES => {}
                (None, Page::Bits(bits)) => {
                    let at = self.space.allocate(1)?.first.offset(&geometry);
                    self.host().write(bits, at, "a bitmap")?;
                    *entry = at.0;
                }
                (Some(at), page) => self.add_bits(at, page)?,
            }
        }
        Ok(table)
    }

    /// Sets the bits of `page` in the cluster of bits at `at`.
    fn add_bits(&mut self, at: HostOffset, page: &Page) -> Result<()> {
        let geometry = self.geometry();
        let size = geometry.cluster_size();
        self.space.overlap.check_free(at, size, &geometry)?;
        let mut bytes = zeroed(size);
        self.host().read(&mut bytes, at, "a bitmap")?;
        match page {
            Page::Ones => bytes.fill(u8::MAX),
            Page::Bits(bits) => {
                let both = bytes.iter_mut().zip(bits);
                both.for_each(|(byte, set)| *byte |= set);
            }
        }
        self.host().write(&bytes, at, "a bitmap")
    }

    /// Takes the marks away, after everything is durable.
    pub(super) fn clear_bitmap_marks(&mut self) -> Result<()> {
        if !self.bitmaps.marked {
            return Ok(());
        }
        for tracked in self.bitmaps.bitmaps.iter().filter(|t| t.pages.is_some()) {
            tracked.write_flags(self.host(), tracked.bitmap.flags)?;
        }
        self.bitmaps.marked = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::geometry::Version;
    use super::*;

    #[test]
    fn noted_changes_set_the_bits_that_they_touch() {
        let geometry = Geometry::new(Version::V3, 9, 4).unwrap();
        let mut pages = BTreeMap::new();
        note_bits(&mut pages, 3, 3, &geometry);
        note_bits(&mut pages, 6, 17, &geometry);
        note_bits(&mut pages, 4090, 3 * 4096, &geometry);
        let Some(Page::Bits(first)) = pages.get(&0) else {
            panic!("the first page has single bits");
        };
        assert_eq!(first[..3], [0b1100_1000, 0xff, 0b11]);
        assert_eq!(first[511], 0b1111_1100);
        assert!(matches!(pages.get(&1), Some(Page::Ones)));
        let Some(Page::Bits(last)) = pages.get(&3) else {
            panic!("the last page has single bits");
        };
        assert_eq!(last[..2], [1, 0]);
    }
}
