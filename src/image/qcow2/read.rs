//! Guest reads: from guest offsets to host bytes, and what a run of the disk is made of.

use std::ops::ControlFlow;

use super::super::fields::zeroed;
use super::super::{Extent, ExtentKind, Result};
use super::Qcow2;
use super::active::ActiveTables;
use super::address::{GuestOffset, HostOffset};
use super::entry::Mapping;
use super::geometry::Geometry;
use super::subcluster::Part;

/// A run of guest bytes of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// The bytes lie at this host offset, one after the other.
    Data(HostOffset),
    /// The bytes are part of the compressed cluster of at most this many bytes at this offset.
    Compressed(HostOffset, u64),
    /// Zeros, with the host bytes kept for them.
    Zero(Option<HostOffset>),
    /// Nothing in this image.
    Unallocated,
}

impl Qcow2 {
    /// Fills `buf` from `offset`. The caller holds `in_flight`; bytes past the end of the disk
    /// (the rest of its last cluster) are zeros.
    pub(super) fn read_guest(&self, mut buf: &mut [u8], mut offset: GuestOffset) -> Result<()> {
        while !buf.is_empty() {
            let found = self.active.next_piece(offset, buf.len() as u64);
            let (piece, len) = self.noting(found)?;
            let (now, rest) = buf.split_at_mut(super::super::fields::buffer_len(len));
            match piece {
                Piece::Data(host) => self.read_data(now, offset, host)?,
                Piece::Compressed(host, len) => self.read_compressed(now, offset, (host, len))?,
                Piece::Zero(_) => now.fill(0),
                Piece::Unallocated => self.read_backing(now, offset)?,
            }
            buf = rest;
            offset = offset.plus(len);
        }
        Ok(())
    }

    /// Reads bytes of ordinary clusters and decrypts them.
    fn read_data(&self, buf: &mut [u8], offset: GuestOffset, host: HostOffset) -> Result<()> {
        let Some(crypt) = &self.crypt else {
            return self.host.data().read(buf, host, "guest data");
        };
        let before = offset.0 % super::super::SECTOR;
        let len = (before + buf.len() as u64).next_multiple_of(super::super::SECTOR);
        let mut sectors = zeroed(len);
        let (guest, host) = (GuestOffset(offset.0 - before), HostOffset(host.0 - before));
        self.host.data().read(&mut sectors, host, "guest data")?;
        crypt.decrypt(&mut sectors, guest, host);
        let (_, plain) = sectors.split_at(super::super::fields::buffer_len(before));
        buf.copy_from_slice(plain.split_at(buf.len()).0);
        Ok(())
    }

    /// Reads from the backing image, and zeros past its end or without one.
    fn read_backing(&self, buf: &mut [u8], offset: GuestOffset) -> Result<()> {
        let there = self
            .backing_size()
            .saturating_sub(offset.0)
            .min(buf.len() as u64);
        let (below, past) = buf.split_at_mut(super::super::fields::buffer_len(there));
        past.fill(0);
        match &self.backing {
            Some(backing) if !below.is_empty() => backing.read_at(below, offset.0),
            _ => Ok(()),
        }
    }

    /// Whether `len` bytes from `offset` are known to read as zeros without reading data.
    pub(super) fn is_known_zero(&self, offset: GuestOffset, len: u64) -> Result<bool> {
        let end = offset.0.saturating_add(len);
        // The rest of the last cluster counts as zeros; machine state lies behind that.
        let end = match offset.0 < self.vm_state_start() {
            true => end.min(self.header.size),
            false => end,
        };
        let mut at = offset;
        while at.0 < end {
            let extent = self.find_extent(at, end - at.0)?;
            if !extent.kind.reads_zero() {
                return Ok(false);
            }
            at = at.plus(extent.length);
        }
        Ok(true)
    }

    /// What starts at `offset`, through the whole chain.
    pub(super) fn find_extent(&self, offset: GuestOffset, len: u64) -> Result<Extent> {
        let found = self.active.next_piece(offset, len);
        let (piece, length) = self.noting(found)?;
        let kind = match piece {
            Piece::Data(host) => ExtentKind::Data { host: host.0 },
            Piece::Compressed(..) => ExtentKind::Compressed,
            Piece::Zero(kept) => ExtentKind::Zero {
                host: kept.map(|host| host.0),
            },
            Piece::Unallocated => return self.extent_below(offset, length),
        };
        Ok(Extent {
            offset: offset.0,
            length,
            kind,
            depth: 0,
        })
    }

    fn extent_below(&self, offset: GuestOffset, length: u64) -> Result<Extent> {
        let there = self.backing_size().saturating_sub(offset.0);
        match &self.backing {
            Some(backing) if there > 0 => {
                let below = backing.extent(offset.0, length.min(there))?;
                Ok(Extent {
                    depth: below.depth + 1,
                    ..below
                })
            }
            _ => {
                let kind = ExtentKind::Unallocated;
                Ok(Extent {
                    offset: offset.0,
                    length,
                    kind,
                    depth: 0,
                })
            }
        }
    }
}

impl ActiveTables {
    /// The run that starts at `offset`, at most `len` bytes long and to the end of its L2 table,
    /// and its length.
    pub(super) fn next_piece(&self, offset: GuestOffset, len: u64) -> Result<(Piece, u64)> {
        let geometry = self.geometry();
        let cluster = offset.cluster(geometry);
        let within = offset.within(geometry);
        let wanted = geometry.clusters(within.saturating_add(len));
        let absent = self.clusters_without_table(cluster, wanted);
        if absent > 0 {
            let run = absent.saturating_mul(geometry.cluster_size()) - within;
            return Ok((Piece::Unallocated, run.min(len)));
        }
        if let Some((host, count)) = self.ordinary_run(cluster, wanted)? {
            let run = (count << geometry.cluster_bits()) - within;
            return Ok((Piece::Data(host.plus(within)), run.min(len)));
        }
        let mut run = None;
        self.each_mapping(cluster, wanted, |mapping| {
            let Some((first, end)) = run else {
                let (piece, end) = piece(mapping, within, geometry);
                run = Some((piece, end));
                return go_on(end.is_multiple_of(geometry.cluster_size()));
            };
            let (next, next_end) = piece(mapping, 0, geometry);
            let goes_on = first.continues_with(next, end - within);
            if goes_on {
                run = Some((first, end + next_end));
            }
            go_on(goes_on && next_end == geometry.cluster_size())
        })?;
        let (piece, end) = run.unwrap_or((Piece::Unallocated, within + len));
        Ok((piece, (end - within).min(len)))
    }
}

/// Whether an [`ActiveTables::each_mapping`] goes on.
pub(super) fn go_on(more: bool) -> ControlFlow<()> {
    match more {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    }
}

/// What starts at byte `within` of a cluster, and the byte of the cluster where it ends.
pub(super) fn piece(mapping: Mapping, within: u64, geometry: &Geometry) -> (Piece, u64) {
    if let Mapping::Compressed { host, len } = mapping {
        return (Piece::Compressed(host, len), geometry.cluster_size());
    }
    let host = mapping.place().map(|(host, _)| host.plus(within));
    let (part, end) = mapping.parts().run(within, geometry);
    let piece = match (part, host) {
        (Part::Data, Some(host)) => Piece::Data(host),
        (Part::Zero, host) => Piece::Zero(host),
        (Part::Unallocated, _) | (Part::Data, None) => Piece::Unallocated,
    };
    (piece, end)
}

impl Piece {
    /// Whether `next`, `distance` bytes on, goes on with this run.
    fn continues_with(self, next: Self, distance: u64) -> bool {
        match (self, next) {
            (Self::Data(host), Self::Data(next)) => next == host.plus(distance),
            (Self::Zero(host), Self::Zero(next)) => next == host.map(|host| host.plus(distance)),
            (Self::Unallocated, Self::Unallocated) => true,
            _ => false,
        }
    }
}
