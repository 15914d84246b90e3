//! Subclusters that a discard has emptied while their cluster stays: the host gets their bytes
//! back, and never those of what is written there again.
//!
//! ```text
//!   noted, when the entry changes in memory │ flush: durable │ earlier requests ended: punched,
//!                                                              as far as they are still empty
//! ```

use super::Qcow2;
use super::Result;
use super::address::GuestCluster;
use super::metadata::Metadata;
use super::subcluster::PartSet;

/// So many notes are kept; what is not noted stays with the host's file, and costs only space.
const MAX_NOTES: usize = 16 * 1024;

/// The emptied subclusters of an image.
#[derive(Debug, Default)]
pub(super) struct Emptied {
    noted: Vec<(GuestCluster, PartSet)>,
    durable: Vec<(GuestCluster, PartSet)>,
}

impl Emptied {
    /// Notes that `parts` of `cluster` are empty now.
    pub(super) fn note(&mut self, cluster: GuestCluster, parts: PartSet) {
        if self.len() < MAX_NOTES {
            self.noted.push((cluster, parts));
        }
    }

    /// Everything noted so far is durable.
    pub(super) fn note_durable(&mut self) {
        self.durable.append(&mut self.noted);
    }

    /// How many notes wait.
    pub(super) fn len(&self) -> usize {
        self.noted.len() + self.durable.len()
    }
}

impl Qcow2 {
    /// Gives the host the bytes of what is durably empty, and empty still. What a request is
    /// writing to stays: nobody begins that while the metadata is held.
    pub(super) fn punch_emptied(&self, metadata: &mut Metadata) -> Result<()> {
        for (cluster, parts) in std::mem::take(&mut metadata.emptied.durable) {
            if metadata.is_allocating(cluster) {
                continue;
            }
            let mapping = metadata.mapping(cluster)?;
            let Some((host, true)) = mapping.place() else {
                continue;
            };
            let empty = parts.without(mapping.parts().data());
            for run in empty.runs(&self.geometry) {
                let data = self.host.data();
                data.discard(host.plus(run.start), run.end - run.start);
            }
        }
        Ok(())
    }
}
