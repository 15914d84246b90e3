//! Space for guest data before it is written.
//!
//! An image with a raw external data file is made this way, so that whatever is written to the
//! file by itself shows through the image.

use super::super::Result;
use super::Qcow2;
use super::address::{GuestCluster, GuestOffset, HostCluster};
use super::entry::Mapping;
use super::space::{Reason, Run};
use crate::storage::Allocation;

/// The lock is given up after so many bytes.
const STEP: u64 = 64 << 20;

/// What stands behind the new part of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preallocation {
    /// Nothing.
    #[default]
    Off,
    /// Clusters of the image.
    Metadata,
    /// Clusters with blocks of the host behind them.
    Falloc,
    /// Clusters that zeros have been written to.
    Full,
}

impl Preallocation {
    /// The name on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Metadata => "metadata",
            Self::Falloc => "falloc",
            Self::Full => "full",
        }
    }

    /// What a name means.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Off, Self::Metadata, Self::Falloc, Self::Full];
        all.into_iter().find(|mode| mode.name() == name)
    }
}

impl Qcow2 {
    /// Gives every cluster from `start` to `end` that has no place one of its own, with zeros in
    /// it.
    pub fn preallocate(
        &self,
        start: GuestOffset,
        end: GuestOffset,
        how: Preallocation,
    ) -> Result<()> {
        if how == Preallocation::Off {
            return Ok(());
        }
        let mut cluster = start.cluster(&self.geometry);
        let end = GuestCluster(self.geometry.clusters(end.0));
        while cluster < end {
            self.relieve()?;
            cluster = self.preallocate_step(cluster, end, how)?;
        }
        Ok(())
    }

    /// Does the next clusters and gives the one to go on with.
    fn preallocate_step(
        &self,
        first: GuestCluster,
        end: GuestCluster,
        how: Preallocation,
    ) -> Result<GuestCluster> {
        let geometry = &self.geometry;
        let mut metadata = self.lock();
        metadata.begin_change()?;
        if metadata.mapping(first)? != Mapping::Unallocated {
            return Ok(first.plus(1));
        }
        let to_table_end = geometry.l2_entries() - first.0 % geometry.l2_entries();
        let limit = (STEP >> geometry.cluster_bits()).max(1);
        let limit = limit.min(to_table_end).min(end.0 - first.0);
        let mut want = 1;
        while want < limit && metadata.mapping(first.plus(want))? == Mapping::Unallocated {
            want += 1;
        }
        metadata.own_table(first)?;
        let run = match geometry.has_external_data() {
            true => Run {
                first: HostCluster(first.0),
                count: want,
                fresh: true,
            },
            false => metadata.space.allocate(want)?,
        };
        self.fill_with_zeros(run, how)?;
        for i in 0..run.count {
            let host = run.first.plus(i).offset(geometry);
            let mapping = Mapping::Data { host, copied: true };
            let mapped = metadata.map(first.plus(i), mapping, Reason::Replaced);
            metadata.sealing(mapped)?;
        }
        Ok(first.plus(run.count))
    }

    fn fill_with_zeros(&self, run: Run, how: Preallocation) -> Result<()> {
        let at = run.first.offset(&self.geometry);
        let len = run.count << self.geometry.cluster_bits();
        let host = self.host.data();
        match how {
            Preallocation::Full => host.write_zeros(at, len),
            Preallocation::Falloc => host.zero_data(at, len, Allocation::Keep),
            Preallocation::Metadata if run.fresh => host.reach(at.plus(len)),
            Preallocation::Metadata => host.zero_data(at, len, Allocation::MayFree),
            Preallocation::Off => Ok(()),
        }
    }
}
