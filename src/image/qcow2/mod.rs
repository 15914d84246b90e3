//! qcow2, QEMU's copy-on-write image format, versions 2 and 3: reading and writing.
//!
//! ```text
//!   guest offset ──L1──> L2 table ──L2──> host cluster | compressed bytes | zeros | nothing
//!                                                                                     │
//!   host cluster ──refcount table──> refcount block ──> how often it is referred to   v
//!                                                                              backing image
//! ```
//!
//! - [`header`], [`extension`], [`geometry`], [`entry`], [`subcluster`], [`snapshot`], [`bitmap`]:
//!   what stands on disk;
//! - [`active`]: the mapping tables as requests read them, over [`cache`];
//! - [`metadata`]: changes of them and the order of writes, over [`space`] (allocation),
//!   [`refcount`], [`overlap`] and [`host`];
//! - [`read`], [`write`], [`zero`]: guest requests; [`compress`] and [`crypt`]: what data looks like;
//! - [`check`], [`repair`], [`create`], [`compact`]: whole images; [`layout`], [`census`],
//!   [`explain`]: what they consist of.
//!
//! *Threads.* Many requests run at a time, each in the thread that asks for it.
//!
//! - Reads, and writes to clusters that are in place, take shared locks and atomics only, and none
//!   of them while the host reads or writes data or an L2 table ([`active`], [`cache`]).
//! - Whoever allocates or changes a mapping holds the mutex around [`metadata`] while doing so,
//!   but not while writing its data: what is being allocated is announced instead ([`write`]). A
//!   flush holds it while tables are written back; reads go on meanwhile.
//! - Clusters that were given back are free only after every request has ended that may have looked
//!   them up ([`in_flight`]): none ever reads or writes a cluster that has changed its meaning.
//!
//! Locks are taken in this order: [`in_flight`], `metadata`, those inside the caches and
//! [`overlap`]; the last are held for looks into memory, and nothing is waited for under them.
//!
//! Specification: QEMU's `docs/interop/qcow2`.

mod active;
pub mod address;
mod amend;
pub mod bitmap;
pub mod bitmaps;
mod bits;
mod cache;
pub mod census;
pub mod check;
pub mod compact;
mod compress;
pub mod create;
pub(super) mod crypt;
mod emptied;
pub mod entry;
pub mod explain;
pub mod extension;
mod first_cluster;
pub mod geometry;
pub mod header;
mod host;
mod in_flight;
pub mod layout;
mod metadata;
mod open;
mod ordinary;
mod overlap;

#[cfg(test)]
mod power_cut;
pub mod preallocate;
mod read;
mod refcount;
mod references;
pub mod repair;
mod resize;
mod rewrite;
pub mod snapshot;
mod snapshots;
mod space;
mod sparse;
pub mod subcluster;
mod tracking;
mod tree;
mod vm_state;
mod width;
mod write;
mod zero;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::{ErrorKind, Extent, Format, Image, ImageError, Result, ZeroMode, check_range};
use active::ActiveTables;
use compress::Decompressed;
use crypt::Crypt;
use geometry::Geometry;
use header::Header;
use host::{Barrier, Host};
use in_flight::InFlight;
use metadata::Metadata;
use space::Cleared;

pub use compress::{Compressor, Level};
pub use open::{CacheSizes, DiscardedPlaces, Parameters, Purpose, Writing};

/// So many notes about released clusters may wait for a flush.
const MAX_PENDING_RELEASES: usize = 16 * 1024;

/// An open qcow2 image.
#[derive(Debug)]
pub struct Qcow2 {
    host: Arc<Host>,
    header: Header,
    geometry: Geometry,
    active: Arc<ActiveTables>,
    metadata: Mutex<Metadata>,
    /// How many notes about released clusters wait.
    backlog: Arc<AtomicUsize>,
    /// Woken when a request has mapped, or given up, what it was allocating.
    allocated: Condvar,
    in_flight: InFlight,
    caches: CacheSizes,
    decompressed: Decompressed,
    crypt: Option<Crypt>,
    backing: Option<Arc<dyn Image>>,
    writing: Writing,
    /// Whether there are dirty bitmaps to keep.
    tracks_changes: bool,
    path: Option<PathBuf>,
    discarded_places: DiscardedPlaces,
}

impl Qcow2 {
    /// What the header said when the image was opened.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The sizes of the image.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Whether guest data is encrypted, and read and written in whole sectors.
    pub fn is_encrypted(&self) -> bool {
        self.crypt.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Metadata> {
        // A panic while the lock was held is a bug that has been reported; the tables in memory
        // may be half changed, so nothing more is written.
        self.metadata.lock().unwrap_or_else(|poisoned| {
            let mut metadata = poisoned.into_inner();
            metadata.fail(&ImageError::corrupt("a panic inside a request"));
            metadata
        })
    }

    fn check_write(&self, offset: u64, len: u64) -> Result<()> {
        check_range(offset, len, self.header.size)?;
        match self.writing {
            Writing::Allowed => Ok(()),
            Writing::Refused => Err(ImageError::new(
                ErrorKind::ReadOnly,
                "the image is open for reading only",
            )),
        }
    }

    /// Passes on what a look at the tables came to. A contradiction that a reader finds in an image
    /// that may be changed ends all writing, as one that a writer finds does; reading goes on.
    fn noting<T>(&self, found: Result<T>) -> Result<T> {
        match &found {
            Err(error) if error.kind() == ErrorKind::Corrupt => match self.writing {
                Writing::Allowed => self.lock().sealing(found),
                Writing::Refused => found,
            },
            _ => found,
        }
    }

    /// Before a request changes `len` bytes from `offset` on: notes that in the dirty bitmaps.
    fn note_change(&self, offset: u64, len: u64) -> Result<()> {
        if !self.tracks_changes {
            return Ok(());
        }
        let mut metadata = self.lock();
        metadata.begin_change()?;
        let offset = address::GuestOffset(offset);
        metadata.bitmaps.note(offset, len, &self.geometry);
        Ok(())
    }

    /// The length of what shows through from below.
    fn backing_size(&self) -> u64 {
        self.backing.as_ref().map_or(0, |backing| backing.size())
    }

    /// Writes back all metadata in order and makes everything durable; then gives back released
    /// clusters, if no request is under way or `releases` says to wait for that.
    fn flush_all(&self, releases: Releases) -> Result<()> {
        let mut metadata = self.lock();
        if !metadata.is_dirty() {
            drop(metadata);
            return self.host.barrier(Barrier::GuestFlush);
        }
        metadata.write_back()?;
        self.host.barrier(match metadata.waiting() {
            0 => Barrier::GuestFlush,
            _ => Barrier::ClearedBeforeReuse,
        })?;
        let cleared = metadata.space.note_cleared();
        metadata.emptied.note_durable();
        if metadata.waiting() == 0 {
            return Ok(());
        }
        drop(metadata);
        self.give_back(cleared, releases)
    }

    /// Gives back clusters whose release is durable.
    fn give_back(&self, cleared: Cleared, releases: Releases) -> Result<()> {
        match releases {
            Releases::IfIdle if !self.in_flight.have_ended() => return Ok(()),
            Releases::IfIdle => {}
            Releases::Wait => self.in_flight.wait(),
        }
        // Requests that found these clusters have ended, and those to come cannot find them.
        self.decompressed.clear();
        let mut metadata = self.lock();
        self.punch_emptied(&mut metadata)?;
        metadata.apply_releases(cleared)
    }

    /// The tables, for whoever has the image to himself.
    fn tables(&mut self) -> &mut Metadata {
        self.metadata.get_mut().unwrap_or_else(|e| e.into_inner())
    }

    /// Writes everything back and gives back what is released, before the tables are changed in
    /// the file; marks what such a change makes wrong.
    fn settle(&mut self) -> Result<()> {
        self.close()?;
        let begun = self.tables().begin_change();
        self.tables().sealing(begun)
    }

    /// Goes on with what the file says now.
    fn reload(&mut self) -> Result<()> {
        self.close()?;
        self.header = Header::read(self.host.storage(), Purpose::Contents)?;
        let mut metadata = Metadata::load(&self.host, &self.header, self.caches)?;
        open::note_fixed_tables(&mut metadata, &self.host, &self.header, self.writing)?;
        self.tracks_changes = metadata.bitmaps.wants_marks();
        self.active = Arc::clone(metadata.active());
        self.backlog = Arc::clone(metadata.space.backlog());
        self.metadata = Mutex::new(metadata);
        Ok(())
    }

    /// Goes on over another backing image, which is not recorded yet, and gives the one before.
    pub(super) fn replace_backing(
        &mut self,
        backing: Option<Arc<dyn Image>>,
    ) -> Option<Arc<dyn Image>> {
        std::mem::replace(&mut self.backing, backing)
    }

    /// Notes that the one reference to each cluster of `len` bytes at `at` is gone.
    fn release_range(&mut self, at: address::HostOffset, len: u64) {
        let count = self.geometry.clusters(len);
        let first = at.cluster(&self.geometry);
        if count > 0 {
            let space = &mut self.tables().space;
            space.release(first, count, space::Reason::Discarded);
        }
    }

    /// Before a request that may release clusters: bounds how many wait for a flush.
    fn relieve(&self) -> Result<()> {
        if self.backlog.load(Ordering::Relaxed) < MAX_PENDING_RELEASES {
            return Ok(());
        }
        self.flush_all(Releases::Wait)
    }
}

/// When released clusters are given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Releases {
    /// Only if no request is under way.
    IfIdle,
    /// After waiting for the requests under way.
    Wait,
}

impl Image for Qcow2 {
    fn size(&self) -> u64 {
        self.header.size
    }

    fn format(&self) -> Format {
        Format::Qcow2
    }

    fn read_only(&self) -> bool {
        self.writing == Writing::Refused
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(offset, buf.len() as u64, self.header.size)?;
        let _request = self.in_flight.enter();
        self.read_guest(buf, address::GuestOffset(offset))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.check_write(offset, buf.len() as u64)?;
        self.relieve()?;
        self.note_change(offset, buf.len() as u64)?;
        let _request = self.in_flight.enter();
        self.write_guest(buf, address::GuestOffset(offset))
    }

    fn write_zeroes(&self, offset: u64, len: u64, mode: ZeroMode) -> Result<()> {
        self.check_write(offset, len)?;
        self.relieve()?;
        self.note_change(offset, len)?;
        let _request = self.in_flight.enter();
        self.zero_guest(address::GuestOffset(offset), len, mode)
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.check_write(offset, len)?;
        self.relieve()?;
        self.note_change(offset, len)?;
        let _request = self.in_flight.enter();
        self.discard_guest(address::GuestOffset(offset), len)
    }

    fn flush(&self) -> Result<()> {
        match self.writing {
            Writing::Allowed => self.flush_all(Releases::IfIdle),
            Writing::Refused => Ok(()),
        }
    }

    fn extent(&self, offset: u64, len: u64) -> Result<Extent> {
        check_range(offset, 1, self.header.size)?;
        let _request = self.in_flight.enter();
        self.find_extent(
            address::GuestOffset(offset),
            len.min(self.header.size - offset),
        )
    }

    fn backing(&self) -> Option<&Arc<dyn Image>> {
        self.backing.as_ref()
    }

    fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    fn as_qcow2(&self) -> Option<&Self> {
        Some(self)
    }

    fn close(&self) -> Result<()> {
        if self.writing == Writing::Refused {
            return Ok(());
        }
        self.flush_all(Releases::Wait)?;
        // Lowered counts that are still in the cache; without them there would be leaks.
        self.lock().finish()?;
        self.host.barrier(Barrier::GuestFlush)
    }
}

impl Drop for Qcow2 {
    fn drop(&mut self) {
        // Whoever wants to know calls `close` first; then nothing is left to fail here.
        let _ = self.close();
    }
}
