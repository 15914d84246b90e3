//! Checking an image: every reference is counted and compared with the refcounts.
//!
//! The work and the memory are bounded by what the file holds, whatever its header claims: tables
//! are read only where the file has them, and counts are kept in pages that exist where something
//! is referred to. Nothing is changed here; that is [`super::repair`].

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::super::fields::zeroed;
use super::super::{ImageError, Result};
use super::address::{GuestCluster, HostCluster, HostOffset};
use super::bitmap::{Directory, MAX_DIRECTORY};
use super::entry::{L1_RESERVED, L1Entry, Mapping, RawEntry};
use super::geometry::Geometry;
use super::header::{BITMAPS, Header};
use super::host::Host;
use super::ordinary::OrdinaryRun;
use super::refcount::Refcounts;
use super::references::{Counts, Ones, PAGE};
use super::{snapshot, width};

/// So many findings are described; the rest is only counted.
const MAX_MESSAGES: usize = 200;

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Contradictions that can cost data.
    pub corruptions: u64,
    /// Of these, entries without the COPIED flag whose cluster has refcount 1: harmless, and
    /// left by a power cut.
    pub copied_missing: u64,
    /// Clusters with a refcount above their references: lost space.
    pub leaks: u64,
    /// References past the end of the file, which a truncated image has.
    pub past_end: u64,
    /// The snapshot table cannot be read. What its snapshots refer to is not known, and so not
    /// what is lost space: refcounts were not compared.
    pub snapshots_unread: bool,
    /// One line for each of the first findings.
    pub messages: Vec<String>,
    /// Guest clusters with a place of their own.
    pub allocated_clusters: u64,
    /// Guest clusters of the disk.
    pub total_clusters: u64,
    /// Of the allocated ones, those that are compressed.
    pub compressed_clusters: u64,
    /// Of the allocated ones, those that do not follow the one before in the file.
    pub fragmented_clusters: u64,
    /// The end of the last cluster in use, in bytes of the file.
    pub image_end: u64,
    /// Leaks that were mended.
    pub leaks_fixed: u64,
    /// Contradictions that were mended.
    pub corruptions_fixed: u64,
}

impl Report {
    fn note(&mut self, message: fmt::Arguments<'_>) {
        if self.messages.len() < MAX_MESSAGES {
            self.messages.push(message.to_string());
        }
    }

    fn corruption(&mut self, message: fmt::Arguments<'_>) {
        self.corruptions += 1;
        self.note(format_args!("ERROR {message}"));
    }

    /// What is left of this report without what `other` does not have. Findings are told apart by
    /// their descriptions; of those without one, as many are left as both reports have.
    #[must_use]
    pub fn also_in(mut self, other: &Self) -> Self {
        let undescribed = |report: &Self| {
            (report.corruptions + report.leaks).saturating_sub(report.messages.len() as u64)
        };
        let exact = undescribed(&self) == 0 && undescribed(other) == 0;
        self.messages.retain(|line| other.messages.contains(line));
        let described = |kind: &str| {
            let lines = self.messages.iter();
            lines.filter(|line| line.starts_with(kind)).count() as u64
        };
        (self.corruptions, self.leaks) = match exact {
            true => (described("ERROR"), described("Leaked")),
            false => (
                self.corruptions.min(other.corruptions),
                self.leaks.min(other.leaks),
            ),
        };
        self
    }
}

/// Whether the refcount table and its blocks count as references.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnTables {
    Counted,
    /// They are about to be replaced.
    Ignored,
}

/// Checks the image in `host`.
pub(super) fn check(host: &Arc<Host>, header: &Header) -> Result<Report> {
    let mut walk = Walk::new(host, header)?;
    walk.references(OwnTables::Counted)?;
    if !walk.report.snapshots_unread {
        walk.compare()?;
    }
    Ok(walk.report)
}

/// Counts the references of the image in `host`.
pub(super) fn count(host: &Arc<Host>, header: &Header, own: OwnTables) -> Result<(Report, Counts)> {
    let mut walk = Walk::new(host, header)?;
    walk.references(own)?;
    Ok((walk.report, walk.counts))
}

/// Fails if the file is shorter than what its tables refer to. Cheap unless the refcounts say
/// that there is something past the end.
pub(super) fn check_end(host: &Arc<Host>, header: &Header) -> Result<()> {
    let refcounts = Refcounts::load(host, header)?;
    let geometry = &header.geometry;
    let file_len = host.len()?;
    let blocks: Vec<_> = refcounts.blocks().collect();
    let mut bytes = zeroed(geometry.cluster_size());
    let (mut used_past_end, mut known) = (false, BTreeSet::new());
    for (index, block) in blocks.into_iter().rev() {
        let first = HostCluster(index as u64 * geometry.block_entries());
        let end = first.plus(geometry.block_entries()).offset(geometry);
        if end.0 <= file_len || used_past_end {
            break;
        }
        // Each block is read once, however many entries lead to it: the file bounds the work.
        if block.0 >= file_len || !known.insert(block) {
            continue;
        }
        host.read(&mut bytes, block, "a refcount block")?;
        let inside = geometry.clusters(file_len).saturating_sub(first.0);
        used_past_end = (inside..geometry.block_entries())
            .any(|i| width::get(&bytes, i, geometry.refcount_order()) != 0);
    }
    if !used_past_end {
        return Ok(());
    }
    let (report, _) = count(host, header, OwnTables::Ignored)?;
    match report.past_end {
        0 => Ok(()),
        n => Err(ImageError::corrupt(format!(
            "{n} clusters lie past the end of the file ({file_len} bytes); the file is truncated"
        ))),
    }
}

/// Which tables are being followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tables {
    /// Those of the disk: their flags and statistics count.
    Active,
    /// Those of a snapshot.
    Snapshot,
}

struct Walk<'a> {
    host: &'a Host,
    header: &'a Header,
    geometry: Geometry,
    file_len: u64,
    refcounts: Refcounts,
    /// The clusters whose refcount is 1.
    ones: Ones,
    counts: Counts,
    report: Report,
    /// Where the ordinary cluster before, of the same L2 table, ends in the file.
    previous_end: Option<u64>,
}

impl<'a> Walk<'a> {
    fn new(host: &'a Arc<Host>, header: &'a Header) -> Result<Self> {
        let total_clusters = header.geometry.clusters(header.size);
        let refcounts = Refcounts::load(host, header)?;
        Ok(Self {
            host,
            header,
            geometry: header.geometry,
            file_len: host.len()?,
            ones: Ones::read(host, &header.geometry, &refcounts)?,
            refcounts,
            counts: Counts::default(),
            report: Report {
                total_clusters,
                ..Report::default()
            },
            previous_end: None,
        })
    }

    fn references(&mut self, own: OwnTables) -> Result<()> {
        let header = self.header;
        self.refer(HostOffset(0), 1, "the header");
        self.refer(header.l1_offset, header.l1_bytes(), "the L1 table");
        self.follow_l1(header.l1_offset, header.l1_size, Tables::Active)?;
        self.snapshots()?;
        self.bitmaps()?;
        if let Some((at, len)) = header.extensions.luks_header() {
            self.refer(at, len, "the LUKS header");
        }
        if own == OwnTables::Counted {
            self.refcount_tables();
        }
        self.report.image_end = self.counts.end() << self.geometry.cluster_bits();
        Ok(())
    }

    /// Counts a reference to each cluster that `len` bytes at `at` touch. False if they do not
    /// lie in the file.
    fn refer(&mut self, at: HostOffset, len: u64, what: &str) -> bool {
        if len == 0 {
            return true;
        }
        let end = self.file_len.next_multiple_of(self.geometry.cluster_size());
        if at.0.checked_add(len).is_none_or(|last| last > end) {
            self.report.past_end += 1;
            self.report.corruption(format_args!(
                "{what} at {:#x} ({len} bytes) reaches past the end of the file",
                at.0
            ));
            return false;
        }
        let (first, last) = (
            at.cluster(&self.geometry).0,
            at.plus(len - 1).cluster(&self.geometry).0,
        );
        self.counts.add(HostCluster(first), last - first + 1);
        true
    }

    /// Counts a reference to one whole cluster, which must be aligned.
    fn refer_cluster(&mut self, at: HostOffset, what: &str) -> bool {
        if at.is_aligned(&self.geometry) {
            return self.refer(at, 1, what);
        }
        self.report.corruption(format_args!(
            "{what} at {:#x} is not aligned to a cluster",
            at.0
        ));
        false
    }

    fn follow_l1(&mut self, at: HostOffset, entries: u32, tables: Tables) -> Result<()> {
        let len = u64::from(entries) * 8;
        if at.plus(len).0 > self.file_len {
            return Ok(());
        }
        let mut bytes = zeroed(len);
        self.host.read(&mut bytes, at, "an L1 table")?;
        let mut table = zeroed(self.geometry.cluster_size());
        for (index, word) in bytes.as_chunks::<8>().0.iter().enumerate() {
            let raw = u64::from_be_bytes(*word);
            if raw & L1_RESERVED != 0 {
                self.report.corruption(format_args!(
                    "reserved bits in L1 entry {index}: {raw:#018x}"
                ));
            }
            match L1Entry::decode(raw, index, &self.geometry) {
                Ok(None) => {}
                Ok(Some(entry)) => self.follow_l2(entry, index, tables, &mut table)?,
                Err(error) => self.report.corruption(format_args!("{error}")),
            }
        }
        Ok(())
    }

    fn follow_l2(
        &mut self,
        entry: L1Entry,
        index: usize,
        tables: Tables,
        table: &mut [u8],
    ) -> Result<()> {
        if entry.table.0 >= self.file_len || !self.refer_cluster(entry.table, "an L2 table") {
            if entry.table.0 >= self.file_len {
                self.report.past_end += 1;
                self.report.corruption(format_args!(
                    "L1 entry {index} points past the end of the file"
                ));
            }
            return Ok(());
        }
        self.copied_flag(entry.copied, entry.table, tables, "L2 table");
        self.host.read(table, entry.table, "an L2 table")?;
        let first = (index as u64) << self.geometry.l2_bits();
        self.previous_end = None;
        let mut at = 0;
        while at < self.geometry.l2_entries() {
            let cluster = GuestCluster(first + at);
            let run = OrdinaryRun::at(table, at, &self.geometry);
            let count = run.map_or(1, |run| run.count);
            if !run.is_some_and(|run| self.follow_run(run, cluster, tables)) {
                for i in 0..count {
                    let raw = RawEntry::read(table, at + i, &self.geometry);
                    if raw.word != 0 || raw.bitmap != 0 {
                        self.follow_entry(raw, cluster.plus(i), tables);
                    }
                }
            }
            at += count;
        }
        Ok(())
    }

    /// Follows the entries of `run`, the first of which is that of `cluster`, if all of them are
    /// without a fault.
    fn follow_run(&mut self, run: OrdinaryRun, cluster: GuestCluster, tables: Tables) -> bool {
        let geometry = &self.geometry;
        let OrdinaryRun { start, count, .. } = run;
        let len = count << geometry.cluster_bits();
        let first = start.cluster(geometry);
        let good = start.plus(len).0 <= self.file_len
            && cluster.plus(count).offset(geometry).0 <= self.header.size
            && (tables == Tables::Snapshot || self.ones.all_are(first, count, run.copied));
        if !good {
            return false;
        }
        self.counts.add(first, count);
        if tables == Tables::Active {
            self.statistics(start.0);
            self.report.allocated_clusters += count - 1;
            self.previous_end = Some(start.plus(len).0);
        }
        true
    }

    fn follow_entry(&mut self, raw: RawEntry, cluster: GuestCluster, tables: Tables) {
        let guest = cluster.offset(&self.geometry);
        if raw.has_reserved_bits(&self.geometry) {
            let RawEntry { word, bitmap } = raw;
            self.report.corruption(format_args!(
                "reserved bits in the L2 entry of {guest}: {word:#018x} {bitmap:#018x}"
            ));
        }
        let mapping = match Mapping::decode(raw, cluster, &self.geometry) {
            Ok(mapping) => mapping,
            Err(error) => return self.report.corruption(format_args!("{error}")),
        };
        match (mapping, mapping.place()) {
            (Mapping::Compressed { host, len }, _) => {
                // The last sector may be cut off where the file ends inside the cluster.
                let len = len.min(self.file_len.saturating_sub(host.0).max(1));
                if !self.refer(host, len, "a compressed cluster") {
                    return;
                }
                if tables == Tables::Active {
                    self.report.allocated_clusters += 1;
                    self.report.compressed_clusters += 1;
                    // Neighbours share sectors, which are read twice: never in one piece.
                    self.report.fragmented_clusters += 1;
                }
            }
            (_, Some((host, copied))) => {
                let external = self.geometry.has_external_data();
                if !external && !self.refer_cluster(host, "a data cluster") {
                    return;
                }
                if !external {
                    self.copied_flag(copied, host, tables, "data cluster");
                }
                if tables == Tables::Active {
                    self.statistics(host.0);
                }
            }
            (_, None) => return,
        }
        let machine_state = self.header.size.next_multiple_of(self.geometry.l2_reach());
        let between = self.header.size..machine_state;
        if between.contains(&guest.0) && tables == Tables::Active && self.header.snapshots == 0 {
            self.report.note(format_args!(
                "a cluster is mapped at {guest}, past the end of the disk"
            ));
        }
    }

    fn statistics(&mut self, at: u64) {
        self.report.allocated_clusters += 1;
        let follows = self.previous_end.is_none_or(|end| end == at);
        self.report.fragmented_clusters += u64::from(!follows);
        self.previous_end = Some(at + self.geometry.cluster_size());
    }

    /// COPIED stands for refcount 1 exactly, in the active tables.
    fn copied_flag(&mut self, copied: bool, at: HostOffset, tables: Tables, what: &str) {
        if tables == Tables::Snapshot {
            return;
        }
        if copied == self.ones.has(at.cluster(&self.geometry)) {
            return;
        }
        let count = self.refcounts.get(at.cluster(&self.geometry)).unwrap_or(0);
        self.report.copied_missing += u64::from(!copied);
        let flag = if copied { "set" } else { "not set" };
        self.report.corruption(format_args!(
            "COPIED is {flag} for the {what} at {:#x}, which has refcount {count}",
            at.0
        ));
    }

    fn snapshots(&mut self) -> Result<()> {
        let (snapshots, len) = match snapshot::read_table(self.host.storage(), self.header) {
            Ok(found) => found,
            Err(error) => {
                self.report.corruption(format_args!("{error}"));
                self.report.snapshots_unread = true;
                return Ok(());
            }
        };
        self.refer(self.header.snapshots_offset, len, "the snapshot table");
        for (index, snapshot) in snapshots.iter().enumerate() {
            if snapshot.is_incomplete(self.geometry.version()) {
                self.report
                    .corruption(format_args!("snapshot table entry {index} is incomplete"));
            }
            let bytes = u64::from(snapshot.l1_size) * 8;
            if self.refer(snapshot.l1_offset, bytes, "the L1 table of a snapshot") {
                self.follow_l1(snapshot.l1_offset, snapshot.l1_size, Tables::Snapshot)?;
            }
        }
        Ok(())
    }

    /// Bitmaps: the directory, and the table and clusters of each.
    fn bitmaps(&mut self) -> Result<()> {
        let Some(bitmaps) = self.header.extensions.bitmaps() else {
            return Ok(());
        };
        if self.header.autoclear & BITMAPS == 0 && bitmaps.count == 0 {
            return Ok(());
        }
        let size = bitmaps.directory_size;
        if size > MAX_DIRECTORY || !self.refer(bitmaps.directory, size, "the bitmap directory") {
            return Ok(());
        }
        match Directory::read(self.host.storage(), self.header) {
            Ok(directory) => directory.bitmaps.iter().try_for_each(|bitmap| {
                self.bitmap_table(bitmap.table, u64::from(bitmap.table_entries) * 8)
            }),
            Err(error) => {
                self.report.corruption(format_args!("{error}"));
                Ok(())
            }
        }
    }

    fn bitmap_table(&mut self, at: HostOffset, len: u64) -> Result<()> {
        if len > 64 << 20 || !self.refer(at, len, "a bitmap table") {
            return Ok(());
        }
        let mut bytes = zeroed(len);
        self.host.read(&mut bytes, at, "a bitmap table")?;
        for word in bytes.as_chunks::<8>().0 {
            let cluster = u64::from_be_bytes(*word) & super::entry::OFFSET;
            if cluster != 0 {
                self.refer_cluster(HostOffset(cluster), "a bitmap cluster");
            }
        }
        Ok(())
    }

    fn refcount_tables(&mut self) {
        let header = self.header;
        let len = header.refcount_table_bytes();
        self.refer(header.refcount_table_offset, len, "the refcount table");
        let blocks: Vec<_> = self.refcounts.blocks().collect();
        for (_, block) in blocks {
            self.refer_cluster(block, "a refcount block");
        }
    }

    /// Compares every refcount with the references counted.
    fn compare(&mut self) -> Result<()> {
        let per_block = self.geometry.block_entries();
        let blocks: Vec<_> = self.refcounts.blocks().collect();
        let mut bytes = zeroed(self.geometry.cluster_size());
        let mut known = BTreeSet::new();
        for &(index, block) in &blocks {
            if !block.is_aligned(&self.geometry) || block.0 >= self.file_len {
                continue;
            }
            // A block that two entries of the table share has been reported; it is read once.
            if known.insert(block) {
                self.host.read(&mut bytes, block, "a refcount block")?;
                self.compare_block(index as u64 * per_block, &bytes);
            }
        }
        let covered: BTreeSet<u64> = blocks.iter().map(|&(index, _)| index as u64).collect();
        let lost = self.counts.outside(&covered, per_block);
        lost.into_iter()
            .for_each(|(cluster, references)| self.mismatch(cluster, 0, references));
        Ok(())
    }

    /// Compares the counts in `block`, the first of which is that of cluster `first`.
    fn compare_block(&mut self, first: u64, block: &[u8]) {
        let order = self.geometry.refcount_order();
        let per_block = self.geometry.block_entries();
        let mut at = 0;
        while at < per_block {
            let run = (per_block - at).min(PAGE - (first + at) % PAGE);
            if !self
                .counts
                .agree(HostCluster(first + at), run, (block, at, order))
            {
                for i in at..at + run {
                    let count = width::get(block, i, order);
                    let cluster = HostCluster(first + i);
                    let references = self.counts.get(cluster);
                    if count != references {
                        self.mismatch(cluster, count, references);
                    }
                }
            }
            at += run;
        }
    }

    fn mismatch(&mut self, cluster: HostCluster, count: u64, references: u64) {
        let cluster = cluster.0;
        if count > references {
            self.report.leaks += 1;
            self.report.note(format_args!(
                "Leaked cluster {cluster} refcount={count} reference={references}"
            ));
        } else {
            self.report.corruption(format_args!(
                "cluster {cluster} refcount={count} reference={references}"
            ));
        }
    }
}
