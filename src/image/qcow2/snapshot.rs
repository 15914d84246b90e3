//! Internal snapshots: the table that names them.
//!
//! An image with snapshots is read and written with their clusters left intact (a cluster whose
//! refcount is not 1 is never written in place); making, applying and deleting them is in
//! [`super::snapshots`]. An entry is kept byte for byte when the table is written again, with
//! whatever extra data it has. Format description, "Snapshots".

use super::super::fields::{buffer_len, put, u16_at, u32_at, u64_at, zeroed};
use super::super::{ErrorKind, Escaped, ImageError, Result};
use super::address::HostOffset;
use super::header::{Header, MAX_L1_BYTES};
use crate::storage::Storage;

const ENTRY: u64 = 40;
/// Extra data of the entries made here: size of the machine state, of the disk, instructions.
const EXTRA: u64 = 24;
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
        put(&mut entry, 36, &24u32.to_be_bytes());
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
pub(super) fn encode_table<'a>(entries: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut table = Vec::new();
    for entry in entries {
        table.resize(table.len().next_multiple_of(8), 0);
        table.extend_from_slice(entry);
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
    let file_len = storage
        .len()
        .map_err(|e| ImageError::io("find the length of the file", e))?;
    let mut at = start;
    for index in 0..header.snapshots {
        let (snapshot, next) = read_entry(storage, at).map_err(|e| e.at(at.0))?;
        if next.0 > file_len || next.0 - start.0 > MAX_TABLE {
            return Err(ImageError::corrupt(format!(
                "snapshot {index} of {} lies outside the file or the table is too big",
                header.snapshots
            ))
            .at(at.0));
        }
        check_l1(&snapshot, header, file_len)?;
        snapshots.push(snapshot);
        at = HostOffset(next.0.next_multiple_of(8));
    }
    Ok((snapshots, at.0 - start.0))
}

/// Reads one entry and gives where it ends.
fn read_entry(storage: &dyn Storage, at: HostOffset) -> Result<(Snapshot, HostOffset)> {
    let mut fixed = zeroed(ENTRY);
    read(storage, &mut fixed, at)?;
    let word = |field| u32_at(&fixed, field).unwrap_or(0);
    let id_len = u64::from(u16_at(&fixed, 12).unwrap_or(0));
    let name_len = u64::from(u16_at(&fixed, 14).unwrap_or(0));
    let extra_len = u64::from(word(36));
    if extra_len > MAX_EXTRA {
        return Err(ImageError::corrupt(format!(
            "a snapshot has {extra_len} bytes of extra data"
        )));
    }
    let mut rest = zeroed(extra_len + id_len + name_len);
    read(storage, &mut rest, at.plus(ENTRY))?;
    let (extra, names) = rest.split_at(buffer_len(extra_len));
    let (id, name) = names.split_at(buffer_len(id_len));
    let snapshot = Snapshot {
        l1_offset: HostOffset(u64_at(&fixed, 0).unwrap_or(0)),
        l1_size: word(8),
        id: id.to_vec(),
        name: name.to_vec(),
        date: (word(16), word(20)),
        vm_clock: u64_at(&fixed, 24).unwrap_or(0),
        vm_state_size: u64_at(extra, 0).unwrap_or_else(|| u64::from(word(32))),
        disk_size: u64_at(extra, 8),
        instructions: u64_at(extra, 16).filter(|&count| count != u64::MAX),
        entry: [&*fixed, &*rest].concat(),
    };
    Ok((snapshot, at.plus(ENTRY + rest.len() as u64)))
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
