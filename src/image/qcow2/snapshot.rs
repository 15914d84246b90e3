//! Internal snapshots: the table that names them.
//!
//! An image with snapshots is read and written with their clusters left intact (a cluster whose
//! refcount is not 1 is never written in place); making, applying and deleting them is in
//! [`super::snapshots`]. An entry is kept byte for byte when the table is written again, with
//! whatever extra data it has; where the fields are missing that version 3 demands, they are added.
//! Format description, "Snapshots".

use super::super::fields::{buffer_len, put, u16_at, u32_at, u64_at, zeroed};
use super::super::{ErrorKind, Escaped, ImageError, Result};
use super::address::HostOffset;
use super::geometry::Version;
use super::header::{Header, MAX_L1_BYTES};
use crate::storage::Storage;

const ENTRY: u64 = 40;
/// Where an entry says how much extra data it has.
const AT_EXTRA_LEN: usize = 36;
/// Extra data of the entries made here: size of the machine state, of the disk, instructions.
const EXTRA: u64 = 24;
/// The extra data that version 3 demands: size of the machine state, and of the disk.
const DEMANDED_EXTRA: u64 = 16;
const MAX_EXTRA: u64 = 1024;
const MAX_TABLE: u64 = 64 << 20;

/// One internal snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Where its L1 table starts.
    pub l1_offset: HostOffset,
    /// Entries of its L1 table.
    pub l1_size: u32,
    /// The identifier, a decimal number as text.
    pub id: Vec<u8>,
    /// The name.
    pub name: Vec<u8>,
    /// When it was made: seconds since 1970, and nanoseconds.
    pub date: (u32, u32),
    /// How long the guest had run, in nanoseconds.
    pub vm_clock: u64,
    /// Bytes of saved machine state.
    pub vm_state_size: u64,
    /// Length of the disk in bytes at that time, where the entry says so.
    pub disk_size: Option<u64>,
    /// Instructions that the guest had executed, where the entry says so.
    pub instructions: Option<u64>,
    /// The entry as it stands in the table, without padding.
    entry: Vec<u8>,
}

/// What a new entry of the table says.
#[derive(Debug, Clone)]
pub(super) struct NewEntry<'a> {
    pub(super) l1_offset: HostOffset,
    pub(super) l1_size: u32,
    pub(super) id: &'a [u8],
    pub(super) name: &'a [u8],
    /// Seconds since 1970, and nanoseconds.
    pub(super) date: (u32, u32),
    pub(super) disk_size: u64,
}

impl NewEntry<'_> {
    /// The bytes of the entry, without saved machine state.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut entry = zeroed(ENTRY + EXTRA);
        let length = |text: &[u8]| u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes();
        put(&mut entry, 0, &self.l1_offset.0.to_be_bytes());
        put(&mut entry, 8, &self.l1_size.to_be_bytes());
        put(&mut entry, 12, &length(self.id));
        put(&mut entry, 14, &length(self.name));
        put(&mut entry, 16, &self.date.0.to_be_bytes());
        put(&mut entry, 20, &self.date.1.to_be_bytes());
        put(&mut entry, AT_EXTRA_LEN, &24u32.to_be_bytes());
        put(&mut entry, 48, &self.disk_size.to_be_bytes());
        put(&mut entry, 56, &u64::MAX.to_be_bytes());
        entry.extend_from_slice(self.id);
        entry.extend_from_slice(self.name);
        entry
    }
}

impl Snapshot {
    /// The entry as it stands in the table, without padding.
    pub(super) fn entry(&self) -> &[u8] {
        &self.entry
    }

    fn extra_len(&self) -> u64 {
        u32_at(&self.entry, AT_EXTRA_LEN).map_or(0, u64::from)
    }

    /// Whether the entry lacks what an image of this version has in it.
    pub(super) fn is_incomplete(&self, version: Version) -> bool {
        version == Version::V3 && self.extra_len() < DEMANDED_EXTRA
    }

    /// The entry with all the fields that are written here. What is missing gets the value that
    /// its absence stands for in a disk of `size` bytes.
    pub(super) fn completed(&self, size: u64) -> Vec<u8> {
        let extra_len = self.extra_len();
        if extra_len >= EXTRA {
            return self.entry.clone();
        }
        let (fixed, rest) = self.entry.split_at(buffer_len(ENTRY));
        let names = rest.split_at(buffer_len(extra_len)).1;
        let mut fixed = fixed.to_vec();
        put(&mut fixed, AT_EXTRA_LEN, &24u32.to_be_bytes());
        let extra = [
            self.vm_state_size,
            self.disk_size.unwrap_or(size),
            self.instructions.unwrap_or(u64::MAX),
        ];
        [&*fixed, extra.map(u64::to_be_bytes).as_flattened(), names].concat()
    }

    /// Whether `wanted` is the identifier or the name of this snapshot.
    pub fn is_called(&self, wanted: &[u8]) -> bool {
        self.id == wanted || self.name == wanted
    }

    /// The header with which the image shows what the snapshot holds.
    pub fn header(&self, image: &Header) -> Header {
        Header {
            size: self.disk_size.unwrap_or(image.size),
            l1_size: self.l1_size,
            l1_offset: self.l1_offset,
            ..image.clone()
        }
    }
}

/// The snapshot called `wanted`: by its identifier, else by its name.
pub fn find<'a>(snapshots: &'a [Snapshot], wanted: &[u8]) -> Option<&'a Snapshot> {
    let by_id = snapshots.iter().find(|snapshot| snapshot.id == wanted);
    by_id.or_else(|| snapshots.iter().find(|snapshot| snapshot.name == wanted))
}

/// The snapshot called `wanted`, or an error that says that there is none.
pub fn find_or_fail<'a>(snapshots: &'a [Snapshot], wanted: &[u8]) -> Result<&'a Snapshot> {
    find(snapshots, wanted).ok_or_else(|| {
        ImageError::new(
            ErrorKind::NotFound,
            format!("there is no snapshot \"{}\"", Escaped(wanted)),
        )
    })
}

/// The bytes of a table of `entries`.
pub(super) fn encode_table(entries: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut table = Vec::new();
    for entry in entries {
        table.resize(table.len().next_multiple_of(8), 0);
        table.extend(entry);
    }
    table
}

/// Reads the snapshots of the image in `storage`.
pub fn read_all(storage: &dyn Storage, header: &Header) -> Result<Vec<Snapshot>> {
    read_table(storage, header).map(|(snapshots, _)| snapshots)
}

/// Reads the snapshot table. Gives the snapshots and the bytes that the table takes.
pub(super) fn read_table(storage: &dyn Storage, header: &Header) -> Result<(Vec<Snapshot>, u64)> {
    let mut snapshots = Vec::new();
    let start = header.snapshots_offset;
    let file_len = file_len(storage)?;
    let (mut at, count) = (start, header.snapshots);
    for index in 0..count {
        let entry = read_entry(storage, at).map_err(|e| e.at(at.0))?;
        let wrong = if entry.cut > 0 {
            let extra = entry.cut + MAX_EXTRA;
            format!("snapshot {index} has {extra} bytes of extra data; `check -r all` cuts them")
        } else if entry.end.0 > file_len {
            outside(index, header)
        } else if entry.end.0 - start.0 > MAX_TABLE {
            format!(
                "the snapshot table is too big from snapshot {index} of {count} on; `check -r all` cuts it"
            )
        } else {
            check_l1(&entry.snapshot, header, file_len)?;
            snapshots.push(entry.snapshot);
            at = HostOffset(entry.end.0.next_multiple_of(8));
            continue;
        };
        return Err(ImageError::corrupt(wrong).at(at.0));
    }
    Ok((snapshots, at.0 - start.0))
}

/// A snapshot table as it should be.
#[derive(Debug, Default)]
pub(super) struct Mended {
    /// The entries, without padding.
    pub(super) entries: Vec<Vec<u8>>,
    /// How many faults of the table are not in `entries`.
    pub(super) faults: u64,
}

/// What a repair makes of the snapshot table: entries have what version 3 demands, and no more
/// extra data than is kept; those for which the table has no room are left out.
///
/// Errors: [`ErrorKind::Corrupt`] where it cannot be told what a snapshot refers to.
pub(super) fn mended_table(storage: &dyn Storage, header: &Header) -> Result<Mended> {
    let mut mended = Mended::default();
    let file_len = file_len(storage)?;
    let (mut at, mut len) = (header.snapshots_offset, 0);
    for index in 0..header.snapshots {
        let Entry { snapshot, cut, end } = read_entry(storage, at)?;
        if end.0 > file_len {
            return Err(ImageError::corrupt(outside(index, header)).at(at.0));
        }
        let bytes = snapshot.completed(header.size);
        len = u64::next_multiple_of(len, 8) + bytes.len() as u64;
        if len > MAX_TABLE {
            mended.faults += 1;
            break;
        }
        check_l1(&snapshot, header, file_len)?;
        let faulty = cut > 0 || snapshot.is_incomplete(header.geometry.version());
        mended.faults += u64::from(faulty);
        mended.entries.push(bytes);
        at = HostOffset(end.0.next_multiple_of(8));
    }
    Ok(mended)
}

fn file_len(storage: &dyn Storage) -> Result<u64> {
    let len = storage.len();
    len.map_err(|e| ImageError::io("find the length of the file", e))
}

fn outside(index: u32, header: &Header) -> String {
    let count = header.snapshots;
    format!("snapshot {index} of {count} lies outside the file")
}

/// An entry of the table as it is read.
struct Entry {
    snapshot: Snapshot,
    /// So many bytes of extra data are left out.
    cut: u64,
    /// Where the entry ends.
    end: HostOffset,
}

/// Reads one entry, and at most [`MAX_EXTRA`] bytes of its extra data.
fn read_entry(storage: &dyn Storage, at: HostOffset) -> Result<Entry> {
    let mut fixed = zeroed(ENTRY);
    read(storage, &mut fixed, at)?;
    let word = |field| u32_at(&fixed, field).unwrap_or(0);
    let id_len = u64::from(u16_at(&fixed, 12).unwrap_or(0));
    let names_len = id_len + u64::from(u16_at(&fixed, 14).unwrap_or(0));
    let extra_len = u64::from(word(AT_EXTRA_LEN));
    let kept = extra_len.min(MAX_EXTRA);
    let (mut extra, mut names) = (zeroed(kept), zeroed(names_len));
    read(storage, &mut extra, at.plus(ENTRY))?;
    read(storage, &mut names, at.plus(ENTRY + extra_len))?;
    let (id, name) = names.split_at(buffer_len(id_len));
    let mut snapshot = Snapshot {
        l1_offset: HostOffset(u64_at(&fixed, 0).unwrap_or(0)),
        l1_size: word(8),
        id: id.to_vec(),
        name: name.to_vec(),
        date: (word(16), word(20)),
        vm_clock: u64_at(&fixed, 24).unwrap_or(0),
        vm_state_size: u64_at(&extra, 0).unwrap_or_else(|| u64::from(word(32))),
        disk_size: u64_at(&extra, 8),
        instructions: u64_at(&extra, 16).filter(|&count| count != u64::MAX),
        entry: [&*fixed, &*extra, &*names].concat(),
    };
    let kept_field = u32::try_from(kept).unwrap_or(u32::MAX).to_be_bytes();
    put(&mut snapshot.entry, AT_EXTRA_LEN, &kept_field);
    Ok(Entry {
        snapshot,
        cut: extra_len - kept,
        end: at.plus(ENTRY + extra_len + names_len),
    })
}

fn read(storage: &dyn Storage, buf: &mut [u8], at: HostOffset) -> Result<()> {
    let done = storage.read_at(buf, at.0);
    done.map_err(|e| ImageError::io("read the snapshot table", e).at(at.0))
}

fn check_l1(snapshot: &Snapshot, header: &Header, file_len: u64) -> Result<()> {
    let bytes = u64::from(snapshot.l1_size) * 8;
    let inside = snapshot
        .l1_offset
        .0
        .checked_add(bytes)
        .is_some_and(|end| end <= file_len);
    if bytes <= MAX_L1_BYTES && inside && snapshot.l1_offset.is_aligned(&header.geometry) {
        return Ok(());
    }
    Err(ImageError::corrupt(format!(
        "the L1 table of a snapshot ({bytes} bytes) does not lie inside the file"
    ))
    .at(snapshot.l1_offset.0))
}
