//! Compacting an image in place: clusters move from the end of the file into free places, and the
//! file is cut.
//!
//! A pass takes what lies behind the place where the file would end if it had no holes, gives each
//! piece a place in front of it ([`plan`]), and moves it level by level, what is pointed at before
//! what points, so that no pointer moves while it is being changed:
//!
//! ```text
//!   data, compressed bytes, bits │ L2 tables, bitmap tables │ L1 tables of snapshots │
//!   L1 table, snapshot table, bitmap directory │ refcount blocks, refcount table │ end of the file
//! ```
//!
//! A batch of each level is copied with its refcounts, then the pointers are switched, then the
//! old places are freed, with barriers in between. So at any power cut the image holds what it
//! held, and at worst leaks clusters. A cluster that several tables refer to moves with all its
//! pointers; one whose pointers do not account for its refcount stays. Data of LUKS images is
//! encrypted anew, because its sectors are numbered by their place in the file.
//!
//! Passes go on while the file gets shorter: what had no room of its own size in front of it, such
//! as a table of several clusters, finds it in what the pass before has freed. Left out on purpose:
//! packing compressed clusters closer that lie in front of that place.

mod counts;
mod free_zeros;
mod plan;

use super::super::fields::{buffer_len, zeroed};
use super::super::{Image, ImageError, Result};
use super::Qcow2;
use super::address::HostOffset;
use super::check;
use super::compress::stream_len;
use super::entry::{Mapping, OFFSET};
use super::host::Barrier;
use super::layout::{self, Role};
use super::repair::{self, Repair};
use super::space::Reason;
use super::tracking::Tracking;
use plan::{Level, Move, Plan, Used};

/// So many bytes are copied between two barriers, and at least one piece.
const BATCH_BYTES: u64 = 32 << 20;
/// And so many pieces at most.
const BATCH_MOVES: usize = 4096;

/// What becomes of clusters that hold nothing but zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zeros {
    /// They stay.
    Kept,
    /// They give up their place where that is allowed: not where a snapshot shares it, and not in
    /// version 2 over a backing image.
    Freed,
}

/// What compacting did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Length of the file in bytes before.
    pub before: u64,
    /// Length of the file in bytes now.
    pub after: u64,
    /// Clusters, tables and compressed clusters that moved.
    pub moved: u64,
    /// Leaked clusters that were freed.
    pub leaks: u64,
    /// Clusters of zeros that gave up their place.
    pub zeros: u64,
    /// Free clusters that are left in the file, in front of something that could not move.
    pub holes: u64,
}

impl Qcow2 {
    /// Makes the file as short as it can be without changing what the image holds. `progress` is
    /// told how many clusters have moved and how many there are to move.
    ///
    /// Errors: [`super::super::ErrorKind::Corrupt`] for an image that a check finds errors in.
    pub fn compact(
        &mut self,
        zeros: Zeros,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Compacted> {
        self.check_write(0, 0)?;
        self.close()?;
        let mut done = Compacted {
            before: self.host.len()?,
            ..Compacted::default()
        };
        done.leaks = self.free_leaks()?;
        if zeros == Zeros::Freed {
            done.zeros = self.free_zeros()?;
            self.close()?;
        }
        let (mut end, mut moved, mut total) = (u64::MAX, 0, None);
        loop {
            let used = self.used()?;
            let to_move = used.behind(used.count());
            let total = *total.get_or_insert(to_move);
            progress(total.saturating_sub(to_move), total);
            done.holes = used.end() - used.count();
            if used.end() >= end && moved == 0 {
                break;
            }
            end = used.end();
            let passed = self.pass(&used, &mut |moved| {
                progress((total.saturating_sub(to_move) + moved).min(total), total);
            });
            let passed = self.tables().sealing(passed);
            moved = passed.inspect_err(|error| self.tables().fail(error))?;
            done.moved += moved;
        }
        done.after = self.host.len()?;
        Ok(done)
    }

    /// Fails if the image has errors; frees what is leaked, and gives how many clusters that were.
    fn free_leaks(&mut self) -> Result<u64> {
        let report = check::check(&self.host, &self.header)?;
        let errors = report.corruptions - report.copied_missing;
        if errors > 0 {
            return Err(ImageError::corrupt(format!(
                "the image has {errors} errors; mend them first with `cowbox img check -r all`"
            )));
        }
        if report.leaks > 0 {
            let mut header = self.header.clone();
            repair::repair(&self.host, &mut header, Repair::Leaks)?;
            self.reload()?;
        }
        Ok(report.leaks)
    }

    /// Moves what lies at the end of the file, as far as there is room in front of it, and cuts
    /// the file. Gives how many pieces moved.
    fn pass(&mut self, used: &Used, progress: &mut dyn FnMut(u64)) -> Result<u64> {
        self.begin_moving()?;
        let start = used.start_of_end();
        let mut found = Vec::new();
        let geometry = self.geometry;
        let file_len = self.host.len()?;
        layout::visit(self.host.storage(), &self.header, &mut |mut reference| {
            if let Role::Compressed(..) = reference.role {
                // The last sector may be cut off where the file ends inside the cluster.
                let left = file_len.saturating_sub(reference.at.0).max(1);
                reference.len = reference.len.min(left);
            }
            let last = reference.at.plus(reference.len - 1).cluster(&geometry);
            if last.0 >= start {
                found.push(reference);
            }
        })?;
        let mut places = used.places(start, &geometry);
        let plan = Plan::new(found, &mut places, self)?;
        let mut moved = 0;
        for level in Level::ALL {
            let moves = plan.of_level(level);
            let mut rest = moves;
            while !rest.is_empty() {
                let batch = batch(rest);
                let (now, later) = rest.split_at(batch);
                self.move_batch(now)?;
                moved += now.len() as u64;
                progress(moved);
                rest = later;
            }
        }
        moved += self.move_counts(start, &mut places)?;
        self.end_moving()?;
        Ok(moved)
    }

    /// Before the tables in the file are changed. The contents of the disk stay, so bitmaps that
    /// follow its changes stay right without a mark.
    fn begin_moving(&mut self) -> Result<()> {
        self.close()?;
        let tables = self.tables();
        tables.bitmaps = Tracking::default();
        let begun = tables.begin_change();
        tables.sealing(begun)
    }

    /// Goes on with what the file says now, and cuts it behind what is in use.
    fn end_moving(&mut self) -> Result<()> {
        self.decompressed.clear();
        self.make_durable(Barrier::LoweredBeforeUse)?;
        self.reload()?;
        let end = self.tables().space.end()?;
        self.host.cut(end.offset(&self.geometry))?;
        self.host.barrier(Barrier::GuestFlush)
    }

    /// Copies, switches the pointers, frees.
    fn move_batch(&mut self, moves: &[Move]) -> Result<()> {
        let geometry = self.geometry;
        for one in moves {
            self.copy(one)?;
            let space = &mut self.tables().space;
            for cluster in one.new_clusters(&geometry) {
                let count = space.refcounts.get(cluster)?;
                space.refcounts.set(cluster, count + one.weight)?;
            }
        }
        self.tables().space.refcounts.write_blocks()?;
        self.host.barrier(Barrier::ClusterBeforeReference)?;
        for one in moves {
            for &pointer in &one.pointers {
                self.switch(one, pointer)?;
            }
        }
        self.host.barrier(Barrier::ClearedBeforeReuse)?;
        for one in moves {
            let space = &mut self.tables().space;
            for cluster in one.old_clusters(&geometry) {
                (0..one.weight).for_each(|_| space.release(cluster, 1, Reason::Discarded));
            }
        }
        self.settle_releases(0)
    }

    /// Copies the bytes of a piece to their new place.
    fn copy(&self, one: &Move) -> Result<()> {
        if let Role::Kept(..) = one.role {
            // Nobody ever sees what is in there.
            return Ok(());
        }
        let mut bytes = zeroed(one.len);
        self.host.read(&mut bytes, one.from, "a cluster")?;
        if let (Some(crypt), Role::Data(_, guest)) = (&self.crypt, one.role) {
            crypt.decrypt(&mut bytes, guest, one.from);
            crypt.encrypt(&mut bytes, guest, one.to);
        }
        self.host.write(&bytes, one.to, "a cluster")
    }

    /// Makes the word at `pointer` point to the new place, with the flags it has.
    fn switch(&self, one: &Move, pointer: HostOffset) -> Result<()> {
        let word = match one.role {
            Role::Compressed(..) => {
                let (host, len) = (one.to, one.len);
                Mapping::Compressed { host, len }
                    .encode(&self.geometry)
                    .word
            }
            _ => {
                let mut bytes = [0; 8];
                self.host.read(&mut bytes, pointer, "a pointer")?;
                u64::from_be_bytes(bytes) & !OFFSET | one.to.0
            }
        };
        self.host.write(&word.to_be_bytes(), pointer, "a pointer")
    }

    /// How many bytes the compressed stream takes that has room for `len` bytes at `at`.
    fn length_of_stream(&self, at: HostOffset, len: u64) -> Result<u64> {
        let mut stream = zeroed(len);
        self.host.read(&mut stream, at, "a compressed cluster")?;
        let used = stream_len(
            self.header.compression,
            &stream,
            buffer_len(self.geometry.cluster_size()),
        );
        // One that cannot be read is moved as it is.
        Ok(used.map_or(len, |used| (used as u64).clamp(1, len)))
    }
}

/// How many of `moves` are made at a time.
fn batch(moves: &[Move]) -> usize {
    let mut bytes = 0;
    let fits = moves.iter().take(BATCH_MOVES).take_while(|one| {
        bytes += one.len;
        bytes <= BATCH_BYTES
    });
    fits.count().max(1)
}
