//! Explaining a place of an image: what a guest offset maps to, entry by entry, and what a byte of
//! the file is.
//!
//! Each word on the way is read from the file where it stands, and taken apart into its bits, so
//! that also damaged images are explained as far as they go. Nothing is cached or changed, and an
//! image that another program is writing may be looked at. A guest offset costs a few reads;
//! finding out what refers to a place of the file takes one walk over its tables. Format
//! description, all of it.

use serde::Serialize;

use super::super::fields::{u64_at, zeroed};
use super::super::{Escaped, ImageError, Result, SECTOR};
use super::address::{GuestOffset, HostCluster, HostOffset};
use super::entry::{L1Entry, Mapping, RawEntry};
use super::geometry::Geometry;
use super::header::{EncryptionMethod, Header};
use super::layout::{self, Reference, Role, Tree};
use super::read::{Piece, piece};
use super::refcount::BLOCK_OFFSET;
use super::{bits, first_cluster, width};
use crate::storage::Storage;

/// One thing that was looked at on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What it is: "L2 entry 16".
    pub what: String,
    /// The byte of the file where it stands, if it stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// The word that was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Its parts.
    pub fields: Vec<Field>,
}

/// A part of a word, or a number that follows from others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Its name: "bit 63, COPIED".
    pub name: String,
    /// Its value.
    pub value: String,
    /// What that means.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub meaning: String,
}

/// What a guest offset is in one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Place {
    /// Data at this byte of the file, or of the external data file.
    Data {
        /// The byte.
        host: u64,
    },
    /// In compressed bytes that start here.
    Compressed {
        /// The first byte of the stream.
        host: u64,
        /// The most bytes it can take.
        length: u64,
    },
    /// Zeros.
    Zero,
    /// Nothing: the backing image shows through, or zeros without one.
    Unallocated,
    /// Past the end of the disk: zeros, for an overlay that is longer.
    PastTheEnd,
    /// The tables contradict themselves.
    Corrupt,
}

impl Step {
    pub(in super::super) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            at: None,
            value: None,
            fields: Vec::new(),
        }
    }

    fn word(what: impl Into<String>, at: HostOffset, raw: u64) -> Self {
        Self {
            at: Some(at.0),
            value: Some(format!("{raw:#018x}")),
            ..Self::new(what)
        }
    }

    pub(in super::super) fn field(
        &mut self,
        name: impl Into<String>,
        value: impl ToString,
        meaning: impl Into<String>,
    ) {
        self.fields.push(Field {
            name: name.into(),
            value: value.to_string(),
            meaning: meaning.into(),
        });
    }
}

/// What explains the places of one image.
#[derive(Debug)]
pub struct Explainer<'a> {
    storage: &'a dyn Storage,
    header: &'a Header,
    geometry: Geometry,
    file_len: u64,
    /// What was looked at so far.
    pub steps: Vec<Step>,
}

impl<'a> Explainer<'a> {
    /// For the image in `storage`.
    pub fn new(storage: &'a dyn Storage, header: &'a Header) -> Result<Self> {
        let file_len = storage
            .len()
            .map_err(|e| ImageError::io("find the length of the file", e))?;
        Ok(Self {
            storage,
            header,
            geometry: header.geometry,
            file_len,
            steps: Vec::new(),
        })
    }

    fn word(&self, at: HostOffset) -> Result<u64> {
        let mut bytes = [0; 8];
        let done = self.storage.read_at(&mut bytes, at.0);
        done.map_err(|e| ImageError::io("read a table entry", e).at(at.0))?;
        Ok(u64::from_be_bytes(bytes))
    }

    /// Says of a table entry that the file ends before it.
    fn note_end(&self, step: &mut Step, at: HostOffset) {
        if at.0.saturating_add(8) > self.file_len {
            let end = format!("{:#x}", self.file_len);
            step.field(
                "end of the file",
                end,
                "before this entry: it reads as zeros",
            );
        }
    }

    // ---- guest offsets ----------------------------------------------------------------------

    /// Follows the tables of the disk to `offset`.
    pub fn guest(&mut self, offset: u64) -> Result<Place> {
        let geometry = self.geometry;
        let offset = GuestOffset(offset);
        if offset.0 >= self.header.size {
            let mut step = Step::new("guest offset");
            step.field(
                "size of the disk",
                self.header.size,
                "the offset lies behind it",
            );
            self.steps.push(step);
            return Ok(Place::PastTheEnd);
        }
        let cluster = offset.cluster(&geometry);
        let (l1, l2) = (
            cluster.0 >> geometry.l2_bits(),
            cluster.0 % geometry.l2_entries(),
        );
        let mut step = Step::new("guest offset");
        let size = geometry.cluster_size();
        let how = format!("{:#x} / cluster size {size:#x}", offset.0);
        step.field("guest cluster", cluster.0, how);
        let within = format!("{:#x}", offset.within(&geometry));
        step.field("byte in the cluster", within, "");
        let per_table = geometry.l2_entries();
        let how = format!("guest cluster / {per_table} entries of an L2 table");
        step.field("L1 index", l1, how);
        step.field("L2 index", l2, "what is left over");
        self.steps.push(step);
        match self.l1_entry(l1)? {
            Ok(entry) => self.l2_entry(entry.table, l2, offset),
            Err(place) => Ok(place),
        }
    }

    fn l1_entry(&mut self, index: u64) -> Result<Result<L1Entry, Place>> {
        let at = self.header.l1_offset.plus(index * 8);
        let raw = self.word(at)?;
        let mut step = Step::word(format!("L1 entry {index}"), at, raw);
        self.note_end(&mut step, at);
        bits::l1_entry(&mut step, raw);
        let decoded = L1Entry::decode(raw, 0, &self.geometry);
        if let Err(error) = &decoded {
            step.field("corrupt", error.detail(), "the tables lead no further");
        }
        self.steps.push(step);
        Ok(match decoded {
            Ok(Some(entry)) if entry.table.0 >= self.file_len => {
                let mut step = Step::new("L2 table");
                let end = format!("{:#x}", self.file_len);
                step.field(
                    "end of the file",
                    end,
                    "before the table: the file is truncated",
                );
                self.steps.push(step);
                Err(Place::Corrupt)
            }
            Ok(Some(entry)) => {
                self.refcount(
                    "refcount of the L2 table",
                    entry.table.cluster(&self.geometry),
                )?;
                Ok(entry)
            }
            Ok(None) => Err(Place::Unallocated),
            Err(_) => Err(Place::Corrupt),
        })
    }

    fn l2_entry(&mut self, table: HostOffset, index: u64, offset: GuestOffset) -> Result<Place> {
        let geometry = self.geometry;
        let at = table.plus(index * geometry.l2_entry_size());
        let raw = RawEntry {
            word: self.word(at)?,
            bitmap: match geometry.has_extended_l2() {
                true => self.word(at.plus(8))?,
                false => 0,
            },
        };
        let mut step = Step::word(format!("L2 entry {index}"), at, raw.word);
        self.note_end(&mut step, at);
        bits::l2_entry(&mut step, raw, &geometry);
        if geometry.has_extended_l2() && !raw.is_compressed() {
            bits::subclusters(&mut step, raw, offset, &geometry);
        }
        let decoded = Mapping::decode(raw, offset.cluster(&geometry), &geometry);
        if let Err(error) = &decoded {
            step.field("corrupt", error.detail(), "the tables lead no further");
        }
        self.steps.push(step);
        let Ok(mapping) = decoded else {
            return Ok(Place::Corrupt);
        };
        if let Some((first, count)) = mapping.clusters(&geometry) {
            for cluster in (0..count).map(|i| first.plus(i)) {
                self.refcount("refcount of the host cluster", cluster)?;
            }
        }
        let place = match piece(mapping, offset.within(&geometry), &geometry).0 {
            Piece::Data(host) => {
                self.encryption(offset, host);
                Place::Data { host: host.0 }
            }
            Piece::Compressed(host, length) => {
                let host = host.0;
                Place::Compressed { host, length }
            }
            Piece::Zero(_) => Place::Zero,
            Piece::Unallocated => Place::Unallocated,
        };
        Ok(place)
    }

    /// Says how the bytes there are encrypted.
    fn encryption(&mut self, guest: GuestOffset, host: HostOffset) {
        let mut step = Step::new("encryption");
        match self.header.encryption {
            EncryptionMethod::None => return,
            EncryptionMethod::Aes => {
                let why = "the initialisation vector is the number of the guest's sector";
                step.field("AES sector", guest.0 / SECTOR, why);
            }
            EncryptionMethod::Luks => {
                let why = "sectors are numbered by their place in the file, not by guest offset";
                step.field("LUKS sector", host.0 / SECTOR, why);
            }
        }
        self.steps.push(step);
    }

    // ---- refcounts --------------------------------------------------------------------------

    /// Looks the refcount of a host cluster up.
    fn refcount(&mut self, what: &str, cluster: HostCluster) -> Result<u64> {
        let geometry = self.geometry;
        let (index, entry) = (
            cluster.0 / geometry.block_entries(),
            cluster.0 % geometry.block_entries(),
        );
        let mut step = Step::new(what);
        let at = cluster.offset(&geometry);
        step.field("host cluster", cluster.0, format!("at {:#x}", at.0));
        let mut count = 0;
        let in_table = index * 8 < self.header.refcount_table_bytes();
        let at = self.header.refcount_table_offset.plus(index * 8);
        let block = match in_table {
            true => HostOffset(self.word(at)? & BLOCK_OFFSET),
            false => HostOffset(0),
        };
        let name = format!("refcount table entry {index}");
        if block.0 == 0 {
            step.field(name, "0", "no refcount block: nothing there is in use");
        } else {
            let value = format!("{:#x}", block.0);
            step.field(name, value, format!("at {:#x}: the block", at.0));
            let width = 1u64 << geometry.refcount_order();
            let byte = block.plus(entry * width / 8);
            let mut bytes = zeroed(geometry.slice_size());
            let slice = HostOffset(byte.0 - byte.0 % geometry.slice_size());
            let done = self.storage.read_at(&mut bytes, slice.0);
            done.map_err(|e| ImageError::io("read a refcount block", e).at(slice.0))?;
            let in_slice = entry % geometry.slice_refcounts();
            count = width::get(&bytes, in_slice, geometry.refcount_order());
            let name = format!("block entry {entry}");
            step.field(name, count, format!("at {:#x}, {width} bits", byte.0));
        }
        self.steps.push(step);
        Ok(count)
    }

    // ---- places of the file -----------------------------------------------------------------

    /// Says what the byte `host` of the file is.
    pub fn host(&mut self, host: u64) -> Result<Verdict> {
        let host = HostOffset(host);
        let cluster = host.cluster(&self.geometry);
        let mut step = Step::new("host offset");
        let size = self.geometry.cluster_size();
        let how = format!("{:#x} / cluster size {size:#x}", host.0);
        step.field("host cluster", cluster.0, how);
        let within = host.0 % size;
        step.field("byte in the cluster", format!("{within:#x}"), "");
        self.steps.push(step);
        if host.0 >= self.file_len {
            let mut step = Step::new("end of the file");
            let end = format!("{:#x}", self.file_len);
            step.field("length of the file", end, "the offset lies behind it");
            self.steps.push(step);
        }
        let count = self.refcount("refcount", cluster)?;
        let mut uses = Vec::new();
        let mut references = 0;
        let geometry = self.geometry;
        layout::visit(self.storage, self.header, &mut |found| {
            let first = found.at.cluster(&geometry);
            let last = found.at.plus(found.len - 1).cluster(&geometry);
            if (first..=last).contains(&cluster) {
                references += found.weight;
                // A hostile image may have millions.
                if uses.len() < MAX_USES {
                    uses.push(found);
                }
            }
        })?;
        for found in &uses {
            let step = self.use_of(found, host)?;
            self.steps.push(step);
        }
        if references > uses.len() as u64 {
            let mut step = Step::new("references");
            let why = "entries of a table that several trees share count for each";
            step.field("all in all", references, why);
            self.steps.push(step);
        }
        Ok(match (references, count) {
            _ if host.0 >= self.file_len => Verdict::PastTheEnd,
            (0, 0) => Verdict::Free,
            (0, _) => Verdict::Leaked,
            (n, count) if n == count => Verdict::Used,
            (n, count) if n > count => Verdict::CountedTooLow,
            _ => Verdict::CountedTooHigh,
        })
    }

    /// What a use of the cluster of `host` makes of that byte.
    fn use_of(&self, found: &Reference, host: HostOffset) -> Result<Step> {
        let mut step = Step::new(name_of(found.role));
        if found.pointer.0 != 0 {
            let value = format!("{:#x}", found.pointer.0);
            step.field("pointer", value, pointer_of(found.role));
        }
        let value = format!("{:#x}", found.at.0);
        step.field("starts at", value, format!("{} bytes", found.len));
        if found.weight > 1 {
            let why = "so many trees share the table that the pointer stands in";
            step.field("counts", found.weight, why);
        }
        let Some(within) = host.0.checked_sub(found.at.0).filter(|&n| n < found.len) else {
            step.field(
                "this byte",
                "none of it",
                "the use begins or ends in the same cluster",
            );
            return Ok(step);
        };
        match found.role {
            Role::Header => first_cluster::explain(&mut step, self.storage, self.header, host.0)?,
            Role::L1(_) => {
                let raw = self.word(HostOffset(host.0 - within % 8))?;
                step.field("this byte", format!("L1 entry {}", within / 8), "");
                bits::l1_entry(&mut step, raw);
            }
            Role::L2(_, l1_index) => self.l2_byte(&mut step, l1_index, (host, within))?,
            Role::RefcountTable => {
                let raw = self.word(HostOffset(host.0 - within % 8))?;
                let entry = format!("refcount table entry {}", within / 8);
                let block = format!("block at {:#x}", raw & BLOCK_OFFSET);
                step.field(
                    "this byte",
                    entry,
                    if raw == 0 { "no block".into() } else { block },
                );
            }
            Role::RefcountBlock(index) => {
                let entry = (within * 8) >> self.geometry.refcount_order();
                let counted = index * self.geometry.block_entries() + entry;
                step.field(
                    "this byte",
                    format!("entry {entry}"),
                    format!("host cluster {counted}"),
                );
            }
            Role::Data(_, guest) | Role::Kept(_, guest) => {
                let guest = guest.plus(within);
                let sector = format!("lba {}", guest.0 / SECTOR);
                step.field("this byte", format!("guest offset {:#x}", guest.0), sector);
            }
            Role::BitmapTable(_) => {
                let raw = self.word(HostOffset(host.0 - within % 8))?;
                step.field(
                    "this byte",
                    format!("entry {}", within / 8),
                    format!("{raw:#018x}"),
                );
            }
            _ => step.field("this byte", format!("byte {within:#x} of it"), ""),
        }
        Ok(step)
    }

    fn l2_byte(
        &self,
        step: &mut Step,
        l1_index: u64,
        (host, within): (HostOffset, u64),
    ) -> Result<()> {
        let geometry = &self.geometry;
        let size = geometry.l2_entry_size();
        let index = within / size;
        let at = HostOffset(host.0 - within % size);
        let guest = ((l1_index << geometry.l2_bits()) + index) << geometry.cluster_bits();
        let value = format!("L2 entry {index}");
        step.field("this byte", value, format!("of guest offset {guest:#x}"));
        let mut bytes = zeroed(size);
        let done = self.storage.read_at(&mut bytes, at.0);
        done.map_err(|e| ImageError::io("read an L2 entry", e).at(at.0))?;
        let raw = RawEntry {
            word: u64_at(&bytes, 0).unwrap_or(0),
            bitmap: u64_at(&bytes, 8).unwrap_or(0),
        };
        bits::l2_entry(step, raw, geometry);
        Ok(())
    }
}

/// So many uses of one cluster are told.
const MAX_USES: usize = 32;

/// What a place of the file is, seen from its references and its refcount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Referred to as often as counted.
    Used,
    /// Not referred to, not counted.
    Free,
    /// Not referred to, but counted.
    Leaked,
    /// Referred to more often than counted: corruption.
    CountedTooLow,
    /// Referred to, and counted too high: part of a leak.
    CountedTooHigh,
    /// Past the end of the file.
    PastTheEnd,
}

impl Verdict {
    /// The verdict in a sentence.
    pub fn text(self) -> &'static str {
        match self {
            Self::Used => "in use, and its refcount is right",
            Self::Free => "free: nothing refers to it, and its refcount is 0",
            Self::Leaked => {
                "leaked: nothing refers to it, but its refcount is not 0 (`img check -r leaks` \
                 frees it)"
            }
            Self::CountedTooLow => {
                "corrupt: more references than the refcount says (`img check -r all` mends it)"
            }
            Self::CountedTooHigh => {
                "in use, and counted too high (`img check -r leaks` mends that)"
            }
            Self::PastTheEnd => "past the end of the file",
        }
    }
}

fn owner(tree: Tree) -> String {
    match tree {
        Tree::Disk => "the disk".to_owned(),
        Tree::Snapshot(number) => format!("snapshot {number} of the table (from 0)"),
    }
}

fn name_of(role: Role) -> String {
    match role {
        Role::Header => "the first cluster: header, extensions, backing file name".to_owned(),
        Role::L1(tree) => format!("L1 table of {}", owner(tree)),
        Role::L2(tree, index) => format!("L2 table of L1 entry {index} of {}", owner(tree)),
        Role::Data(tree, guest) => format!("data of {guest} of {}", owner(tree)),
        Role::Kept(tree, guest) => format!("kept for {guest} of {}, all zeros", owner(tree)),
        Role::Compressed(tree, guest) => {
            format!("compressed data of {guest} of {}", owner(tree))
        }
        Role::RefcountTable => "refcount table".to_owned(),
        Role::RefcountBlock(index) => format!("refcount block {index}"),
        Role::SnapshotTable => "snapshot table".to_owned(),
        Role::BitmapDirectory => "bitmap directory".to_owned(),
        Role::BitmapTable(number) => format!("table of bitmap {number}"),
        Role::BitmapBits(number, index) => format!("bits of bitmap {number}, table entry {index}"),
        Role::EncryptionHeader => "LUKS header and key material".to_owned(),
    }
}

/// What holds the pointer to something.
fn pointer_of(role: Role) -> &'static str {
    match role {
        Role::L1(Tree::Disk) | Role::RefcountTable | Role::SnapshotTable => "a header field",
        Role::BitmapDirectory | Role::EncryptionHeader | Role::Header => "a header extension",
        Role::L1(Tree::Snapshot(_)) => "an entry of the snapshot table",
        Role::L2(..) => "an L1 entry",
        Role::Data(..) | Role::Kept(..) | Role::Compressed(..) => "an L2 entry",
        Role::RefcountBlock(_) => "an entry of the refcount table",
        Role::BitmapTable(_) => "an entry of the bitmap directory",
        Role::BitmapBits(..) => "an entry of the bitmap's table",
    }
}

/// The name of a backing file as a header has it, safe to print.
pub fn backing_name(header: &Header) -> Option<String> {
    let name = header.backing_name.as_ref()?;
    Some(Escaped(name).to_string())
}
