//! Repairing an image: refcounts that are right again.
//!
//! Leaks are mended in place, by lowering counts. Anything worse gets a complete new refcount
//! structure, counted from the references, behind everything else in the file, because no wrong
//! count can be trusted to find room; the header is switched over in one write. Then the COPIED
//! flags are set right. Entries that point nowhere are reported and left alone: which data they
//! meant is not known. A snapshot table that breaks a limit is written anew, and switched to
//! together with the refcounts; where it cannot be read, nothing is changed, because everything
//! that its snapshots hold would look like lost space.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::fields::{buffer_len, put, zeroed};
use super::super::{ErrorKind, ImageError, Result, SECTOR};
use super::address::{HostCluster, HostOffset};
use super::check::{self, OwnTables, Report};
use super::entry::{COPIED, L1Entry};
use super::geometry::Geometry;
use super::header::{
    AT_REFCOUNT_ORDER, AT_REFCOUNT_TABLE, CORRUPT, DIRTY, Header, MAX_REFCOUNT_TABLE_BYTES,
};
use super::host::{Barrier, Host};
use super::open::{clear_incompatible, clear_unknown_autoclear};
use super::refcount::Refcounts;
use super::references::Counts;
use super::snapshot::{self, encode_table};
use super::tree::flag_table;
use super::{Purpose, width};
use crate::storage::Storage;

/// What to mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// Lost space only.
    Leaks,
    /// Refcounts and COPIED flags, which an image that was not closed may have wrong.
    Refcounts,
    /// Everything that can be mended.
    All,
}

/// Checks the image in `storage`, and mends what `what` says.
pub fn check_storage(storage: Arc<dyn Storage>, what: Option<Repair>) -> Result<Report> {
    let mut header = Header::read(&*storage, Purpose::Contents)?;
    let host = Arc::new(Host::new(storage)?);
    match what {
        None => check::check(&host, &header),
        Some(what) => repair(&host, &mut header, what),
    }
}

/// Checks and mends; the report is about what is left, and what was mended.
pub(super) fn repair(host: &Arc<Host>, header: &mut Header, what: Repair) -> Result<Report> {
    clear_unknown_autoclear(host, header)?;
    let before = check::check(host, header)?;
    let mended = what == Repair::All && mend_snapshots(host, header)?;
    if before.snapshots_unread && !mended {
        return Ok(before);
    }
    // With the table, the refcounts were written anew.
    if before.corruptions > 0 && what != Repair::Leaks && !mended {
        rebuild(host, header)?;
    } else if before.leaks > 0 && !mended {
        lower_leaks(host, header)?;
    }
    let mut after = check::check(host, header)?;
    after.leaks_fixed = before.leaks.saturating_sub(after.leaks);
    after.corruptions_fixed = before.corruptions.saturating_sub(after.corruptions);
    if after.corruptions == 0 && (what != Repair::Leaks || before.corruptions == 0) {
        clear_incompatible(host, header, DIRTY | CORRUPT)?;
    }
    let mut messages = before.messages;
    messages.retain(|line| !after.messages.contains(line));
    messages.append(&mut after.messages);
    after.messages = messages;
    Ok(after)
}

/// Writes the snapshot table anew, if something is wrong with it that can be mended, and with it
/// the refcounts. Says whether it did.
fn mend_snapshots(host: &Arc<Host>, header: &mut Header) -> Result<bool> {
    let mended = match snapshot::mended_table(host.storage(), header) {
        Ok(mended) if mended.faults > 0 => mended,
        Ok(_) => return Ok(false),
        // The check has said so.
        Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(false),
        Err(error) => return Err(error),
    };
    let end = HostCluster(header.geometry.clusters(host.len()?));
    let mut new = header.clone();
    new.snapshots_offset = end.offset(&header.geometry);
    new.snapshots = u32::try_from(mended.entries.len()).unwrap_or(u32::MAX);
    let table = encode_table(mended.entries.into_iter());
    host.write(&table, new.snapshots_offset, "the snapshot table")?;
    rebuild(host, &mut new)?;
    *header = new;
    Ok(true)
}

/// Lowers every count that is above its references, and sets COPIED where that makes it 1.
fn lower_leaks(host: &Arc<Host>, header: &Header) -> Result<()> {
    let (_, counts) = check::count(host, header, OwnTables::Counted)?;
    let mut refcounts = Refcounts::load(host, header)?;
    let geometry = header.geometry;
    let blocks: Vec<_> = refcounts.blocks().collect();
    let mut known = BTreeSet::new();
    for (index, block) in blocks {
        // In a block that two entries lead to, the counts are those of the first.
        let usable = block.is_aligned(&geometry) && block.0 < host.len()?;
        if !usable || !known.insert(block) {
            continue;
        }
        let first = index as u64 * geometry.block_entries();
        for cluster in (first..first + geometry.block_entries()).map(HostCluster) {
            let references = counts.get(cluster);
            if refcounts.get(cluster)? > references {
                refcounts.set(cluster, references)?;
            }
        }
    }
    refcounts.write_blocks()?;
    host.barrier(Barrier::LoweredBeforeUse)?;
    // What only seemed to be shared is the image's own again.
    mend_copied_flags(&counts, host, header)
}

/// Where a new refcount structure goes: blocks first, then the table.
struct Plan {
    first: HostCluster,
    /// The table entries that have a block.
    indices: BTreeSet<u64>,
    table_clusters: u64,
}

/// Writes a new refcount structure, switches over to it, and sets the COPIED flags right.
fn rebuild(host: &Arc<Host>, header: &mut Header) -> Result<()> {
    let (_, counts) = check::count(host, header, OwnTables::Ignored)?;
    replace_refcounts(&counts, host, header, header.geometry.refcount_order())?;
    mend_copied_flags(&counts, host, header)
}

/// Writes a refcount structure with counts of 1 << `order` bits behind everything else, and
/// switches over to it, and to the snapshot table of `header`; `counts` has everything but the
/// refcount structure. That of before is not counted any more, and so is free.
pub(super) fn replace_refcounts(
    counts: &Counts,
    host: &Arc<Host>,
    header: &mut Header,
    order: u32,
) -> Result<()> {
    let mut new = header.clone();
    new.geometry = header.geometry.with_refcount_order(order);
    let plan = plan(counts, host, &new)?;
    let table = write_structure(&plan, counts, host, &new)?;
    host.barrier(Barrier::TableBeforeHeader)?;
    let clusters = u32::try_from(plan.table_clusters).unwrap_or(u32::MAX);
    let fields = [
        &table.0.to_be_bytes()[..],
        &clusters.to_be_bytes()[..],
        &header.snapshots.to_be_bytes()[..],
        &header.snapshots_offset.0.to_be_bytes()[..],
    ];
    let fields = fields.concat();
    match order == header.geometry.refcount_order() {
        true => host.write(&fields, HostOffset(AT_REFCOUNT_TABLE), "the header")?,
        false => {
            // The place and the width change together, in one sector.
            let mut sector = zeroed(SECTOR);
            host.read(&mut sector, HostOffset(0), "the header")?;
            put(&mut sector, buffer_len(AT_REFCOUNT_TABLE), &fields);
            put(&mut sector, AT_REFCOUNT_ORDER, &order.to_be_bytes());
            host.write(&sector, HostOffset(0), "the header")?;
        }
    }
    host.barrier(Barrier::HeaderBeforeRelease)?;
    new.refcount_table_offset = table;
    new.refcount_table_clusters = clusters;
    *header = new;
    Ok(())
}

fn plan(counts: &Counts, host: &Host, header: &Header) -> Result<Plan> {
    let geometry = &header.geometry;
    let per_block = geometry.block_entries();
    let first = counts.end().max(geometry.clusters(host.len()?));
    let mut indices: BTreeSet<u64> = counts.iter().map(|(c, _)| c.0 / per_block).collect();
    let mut table_clusters = 1;
    loop {
        let used = indices.len() as u64 + table_clusters;
        let own: Vec<u64> = (first / per_block..=(first + used - 1) / per_block).collect();
        let last = own.last().copied().unwrap_or(0);
        let table = geometry.clusters((last + 1) * 8);
        let complete = own.iter().all(|index| indices.contains(index)) && table <= table_clusters;
        if table << geometry.cluster_bits() > MAX_REFCOUNT_TABLE_BYTES {
            return Err(ImageError::new(
                ErrorKind::Unsupported,
                "the refcount table would be too big; the image cannot be repaired in place",
            ));
        }
        if complete {
            return Ok(Plan {
                first: HostCluster(first),
                indices,
                table_clusters,
            });
        }
        indices.extend(own);
        table_clusters = table_clusters.max(table);
    }
}

fn write_structure(
    plan: &Plan,
    counts: &Counts,
    host: &Host,
    header: &Header,
) -> Result<HostOffset> {
    let geometry = &header.geometry;
    let own = plan.indices.len() as u64 + plan.table_clusters;
    let own = plan.first.0..plan.first.0 + own;
    let mut by_block: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    let all = counts
        .iter()
        .chain(own.map(|cluster| (HostCluster(cluster), 1)));
    for (cluster, count) in all {
        let index = cluster.0 / geometry.block_entries();
        by_block
            .entry(index)
            .or_default()
            .push((cluster.0 % geometry.block_entries(), count));
    }
    let mut table = zeroed(plan.table_clusters << geometry.cluster_bits());
    for (index, place) in plan.indices.iter().zip(plan.first.0..) {
        let mut bytes = zeroed(geometry.cluster_size());
        for &(i, count) in by_block.get(index).map_or(&[][..], Vec::as_slice) {
            if count > geometry.refcount_max() {
                let at = index * geometry.block_entries() + i;
                return Err(too_many(HostCluster(at), count, geometry));
            }
            width::set(&mut bytes, i, geometry.refcount_order(), count);
        }
        let at = HostCluster(place).offset(geometry);
        host.write(&bytes, at, "a refcount block")?;
        put(&mut table, buffer_len(index * 8), &at.0.to_be_bytes());
    }
    let at = plan.first.plus(plan.indices.len() as u64).offset(geometry);
    host.write(&table, at, "the refcount table")?;
    Ok(at)
}

fn too_many(cluster: HostCluster, count: u64, geometry: &Geometry) -> ImageError {
    ImageError::new(
        ErrorKind::Unsupported,
        format!(
            "Cannot decrease refcount entry width to {} bits: Cluster at offset {:#x} has a \
             refcount of {count}",
            1u64 << geometry.refcount_order(),
            cluster.offset(geometry).0
        ),
    )
}

/// Sets COPIED where the count is 1, and clears it elsewhere, in the active tables.
fn mend_copied_flags(counts: &Counts, host: &Host, header: &Header) -> Result<()> {
    let geometry = &header.geometry;
    let file_len = host.len()?;
    let once = |cluster: HostCluster| counts.get(cluster) == 1;
    let alone = |first: HostCluster, count: u64| {
        let known = once(first);
        let same = (1..count).all(|i| once(first.plus(i)) == known);
        same.then_some(known)
    };
    let mut l1 = zeroed(header.l1_bytes());
    host.read(&mut l1, header.l1_offset, "the L1 table")?;
    let mut table = zeroed(geometry.cluster_size());
    for (word, index) in l1.as_chunks_mut::<8>().0.iter_mut().zip(0..) {
        let raw = u64::from_be_bytes(*word);
        let Ok(Some(entry)) = L1Entry::decode(raw, index, geometry) else {
            continue;
        };
        if entry.table.0 >= file_len {
            continue;
        }
        *word = flagged(raw, once(entry.table.cluster(geometry))).to_be_bytes();
        host.read(&mut table, entry.table, "an L2 table")?;
        if flag_table(&mut table, geometry, &alone) {
            host.write(&table, entry.table, "an L2 table")?;
        }
    }
    host.write(&l1, header.l1_offset, "the L1 table")?;
    host.barrier(Barrier::GuestFlush)
}

fn flagged(raw: u64, copied: bool) -> u64 {
    if copied { raw | COPIED } else { raw & !COPIED }
}
