//! Changing what lies in the first cluster: header fields, extensions, the backing name.
//!
//! The new layout is the header, the extensions (feature names, which nobody needs, before those of
//! bitmaps and unknown ones, as other programs write them), the end marker, the backing name. It
//! takes force by one write of the first sector, behind everything else:
//!
//! ```text
//!   first sector: the same as before, without feature names │ rest of the cluster │ first sector
//! ```
//!
//! so that at any power cut the first cluster says all of the old or all of the new. The old name
//! stays where it is until then; where there is no room for that, the change is refused. Format
//! description, "Header extensions".

use std::ops::Range;

use super::super::fields::{buffer_len, put};
use super::super::{ErrorKind, ImageError, Result};
use super::Qcow2;
use super::address::HostOffset;
use super::extension::{
    BACKING_FORMAT, BITMAPS, DATA_FILE, Extension, FEATURE_NAMES, LUKS_HEADER, encode,
};
use super::geometry::Version;
use super::host::Barrier;

/// What is written in one piece.
const SECTOR: usize = 512;
/// Where the fields of the backing name stand.
const AT_BACKING: usize = 8;
/// Length of the header that is written in version 3.
const V3_LENGTH: u32 = 112;

/// What the first cluster is to say.
#[derive(Debug, Clone)]
pub(super) struct FirstCluster {
    /// The header without what follows it.
    fields: Vec<u8>,
    extensions: Vec<Extension>,
    /// Where the backing name stands, and the name.
    backing: Option<(u64, Vec<u8>)>,
    size: usize,
}

impl FirstCluster {
    /// Sets header fields.
    pub(super) fn set(&mut self, at: usize, field: &[u8]) {
        put(&mut self.fields, at, field);
    }

    /// Sets the data of an extension, or takes it away.
    pub(super) fn set_extension(&mut self, kind: u32, data: Option<Vec<u8>>) {
        self.extensions.retain(|e| e.kind != kind);
        self.extensions
            .extend(data.map(|data| Extension { kind, data }));
    }

    /// Sets the backing name, or takes it away.
    pub(super) fn set_backing(&mut self, name: Option<&[u8]>) {
        let place = self.backing.as_ref().map_or(0, |(at, _)| *at);
        self.backing = name.map(|name| (place, name.to_vec()));
    }

    /// Makes it a header of `version`.
    pub(super) fn set_version(&mut self, version: Version) {
        match version {
            Version::V2 => {
                self.fields.truncate(72);
                self.set(4, &2u32.to_be_bytes());
                self.extensions.retain(|e| e.kind != FEATURE_NAMES);
            }
            Version::V3 => {
                self.fields.resize(buffer_len(u64::from(V3_LENGTH)), 0);
                self.set(4, &3u32.to_be_bytes());
                self.set(96, &4u32.to_be_bytes());
                self.set(100, &V3_LENGTH.to_be_bytes());
                self.set_extension(FEATURE_NAMES, Some(super::extension::feature_names()));
            }
        }
    }

    /// The extensions in the order in which they are written, with their end marker.
    fn encode_extensions(&self, names: FeatureNames) -> Vec<u8> {
        let order = [
            BACKING_FORMAT,
            DATA_FILE,
            LUKS_HEADER,
            FEATURE_NAMES,
            BITMAPS,
        ];
        let rank = |extension: &&Extension| order.iter().position(|&k| k == extension.kind);
        let mut sorted: Vec<&Extension> = self.extensions.iter().collect();
        sorted.sort_by_key(|extension| rank(extension).unwrap_or(order.len()));
        let kept = sorted
            .into_iter()
            .filter(|e| names == FeatureNames::Kept || e.kind != FEATURE_NAMES);
        let mut bytes: Vec<u8> = kept.flat_map(|e| encode(e.kind, &e.data)).collect();
        bytes.extend([0; 8]);
        bytes
    }

    /// The bytes of the cluster with the backing name at `place`, behind the extensions.
    fn encode(&self, names: FeatureNames, place: u64) -> Vec<u8> {
        let mut bytes = self.fields.clone();
        put(&mut bytes, AT_BACKING, &[0; 12]);
        bytes.extend(self.encode_extensions(names));
        bytes.resize(self.size, 0);
        if let Some((_, name)) = &self.backing {
            let len = u32::try_from(name.len()).unwrap_or(u32::MAX);
            put(&mut bytes, AT_BACKING, &place.to_be_bytes());
            put(&mut bytes, AT_BACKING + 8, &len.to_be_bytes());
            put(&mut bytes, buffer_len(place), name);
        }
        bytes
    }

    /// Where the backing name stands.
    fn name_range(&self) -> Range<u64> {
        self.backing
            .as_ref()
            .map_or(0..0, |(at, name)| *at..*at + name.len() as u64)
    }
}

/// Whether the feature name table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FeatureNames {
    Kept,
    LeftOut,
}

impl Qcow2 {
    /// What the first cluster says now.
    pub(super) fn first_cluster(&self) -> Result<FirstCluster> {
        let bytes = self.read_first_cluster()?;
        let fields = bytes
            .split_at(buffer_len(u64::from(self.header.header_length)))
            .0;
        let at = super::super::fields::u64_at(&bytes, AT_BACKING).unwrap_or(0);
        Ok(FirstCluster {
            fields: fields.to_vec(),
            extensions: self.header.extensions.iter().cloned().collect(),
            backing: self.header.backing_name.clone().map(|name| (at, name)),
            size: bytes.len(),
        })
    }

    fn read_first_cluster(&self) -> Result<Vec<u8>> {
        let mut bytes = super::super::fields::zeroed(self.geometry.cluster_size());
        self.host.read(&mut bytes, HostOffset(0), "the header")?;
        Ok(bytes)
    }

    /// Makes the first cluster say `new`, and goes on with that.
    pub(super) fn rewrite(&mut self, new: &FirstCluster) -> Result<()> {
        let old = self.read_first_cluster()?;
        let was = self.first_cluster()?;
        let bytes = layout(&was, new, &old).ok_or_else(no_room)?;
        if bytes.get(SECTOR..) != old.get(SECTOR..) {
            let between = was.without_feature_names(&old).ok_or_else(no_room)?;
            self.write_first(between.split_at(SECTOR).0)?;
            self.host.barrier(Barrier::HeaderBeforeRelease)?;
            let rest = bytes.split_at(SECTOR).1;
            let at = HostOffset(SECTOR as u64);
            self.host.write(rest, at, "the header")?;
        }
        self.host.barrier(Barrier::TableBeforeHeader)?;
        self.write_first(bytes.split_at(SECTOR.min(bytes.len())).0)?;
        self.host.barrier(Barrier::HeaderBeforeRelease)?;
        self.reload()
    }

    fn write_first(&self, sector: &[u8]) -> Result<()> {
        self.host.write(sector, HostOffset(0), "the header")
    }
}

impl FirstCluster {
    /// The first sector of `old`, which says this, changed so that it needs nothing behind it but
    /// the backing name. `None` if it does need more.
    fn without_feature_names(&self, old: &[u8]) -> Option<Vec<u8>> {
        let extensions = self.encode_extensions(FeatureNames::LeftOut);
        let mut bytes = old.to_vec();
        let end = self.fields.len() + extensions.len();
        let place = self.backing.as_ref().map_or(u64::MAX, |(at, _)| *at);
        if end > SECTOR || place < end as u64 {
            return None;
        }
        put(&mut bytes, self.fields.len(), &extensions);
        Some(bytes)
    }
}

/// The bytes of the new first cluster. What of the old backing name lies behind the first sector
/// stays as it is. Feature names go where there is no room for them.
fn layout(was: &FirstCluster, new: &FirstCluster, old: &[u8]) -> Option<Vec<u8>> {
    let name = was.name_range();
    let kept = name.start.max(SECTOR as u64)..name.end;
    for names in [FeatureNames::Kept, FeatureNames::LeftOut] {
        let end = (new.fields.len() + new.encode_extensions(names).len()) as u64;
        if end > new.size as u64 || !kept.is_empty() && kept.start < end {
            continue;
        }
        let Some(place) = new.place(was, &kept, end) else {
            continue;
        };
        let mut bytes = new.encode(names, place);
        let range = buffer_len(kept.start)..buffer_len(kept.end.max(kept.start));
        if let Some(kept) = old.get(range) {
            put(&mut bytes, buffer_len(name.start.max(SECTOR as u64)), kept);
        }
        return Some(bytes);
    }
    None
}

impl FirstCluster {
    /// Where the backing name goes: behind `end`, where the extensions end, and not onto `kept`,
    /// unless it is the name that stands there.
    fn place(&self, was: &Self, kept: &Range<u64>, end: u64) -> Option<u64> {
        let Some((_, name)) = &self.backing else {
            return Some(0);
        };
        let old = was.name_range();
        let same = was
            .backing
            .as_ref()
            .is_some_and(|(_, before)| before == name);
        if same && old.start >= end {
            return Some(old.start);
        }
        let len = name.len() as u64;
        [end, old.end].into_iter().find(|&place| {
            let clear = kept.is_empty() || place >= kept.end || place + len <= kept.start;
            clear && place >= end && place + len <= self.size as u64
        })
    }
}

fn no_room() -> ImageError {
    ImageError::new(
        ErrorKind::Unsupported,
        "the first cluster has no room to change the header safely; convert the image to one with \
         larger clusters",
    )
}
