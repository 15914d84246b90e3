//! Compressed clusters: raw deflate streams of one cluster each.
//!
//! Written with a window of 4 KiB, because that is all that QEMU promises its decoder; any window
//! is read. Format description, "Compressed Clusters Descriptor".

use std::collections::VecDeque;
use std::sync::Arc;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::super::fields::{buffer_len, zeroed};
use super::super::{ErrorKind, ImageError, Result};
use super::Qcow2;
use super::address::{GuestCluster, GuestOffset, HostOffset};
use super::entry::Mapping;
use super::header;
use super::space::Reason;

/// log2 of the window.
const WINDOW_BITS: u8 = 12;
/// So many decompressed clusters are kept, for readers that come in small steps.
const KEPT: usize = 4;

/// The clusters decompressed last.
#[derive(Debug, Default)]
pub(super) struct Decompressed {
    clusters: VecDeque<(HostOffset, Arc<[u8]>)>,
}

impl Decompressed {
    fn get(&self, host: HostOffset) -> Option<Arc<[u8]>> {
        self.clusters
            .iter()
            .find(|(at, _)| *at == host)
            .map(|(_, data)| Arc::clone(data))
    }

    fn keep(&mut self, host: HostOffset, data: Arc<[u8]>) {
        self.clusters.truncate(KEPT - 1);
        self.clusters.push_front((host, data));
    }

    /// Forgets everything: host clusters are about to change their meaning.
    pub(super) fn clear(&mut self) {
        self.clusters.clear();
    }
}

/// Compresses `data`, one cluster, with deflate. `None` if that does not make it smaller.
pub fn compress(data: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(data.len());
    let mut deflate = Compress::new_with_window_bits(Compression::default(), false, WINDOW_BITS);
    let status = deflate
        .compress_vec(data, &mut out, FlushCompress::Finish)
        .ok()?;
    (status == flate2::Status::StreamEnd && out.len() < data.len()).then_some(out)
}

/// Decompresses `data` into `cluster`, exactly filling it.
fn decompress(data: &[u8], cluster: &mut [u8]) -> Option<()> {
    let mut inflate = Decompress::new(false);
    inflate
        .decompress(data, cluster, FlushDecompress::Finish)
        .ok()?;
    (inflate.total_out() == cluster.len() as u64).then_some(())
}

impl Qcow2 {
    /// Fills `buf` with the bytes at `offset`, which lie in the compressed cluster that takes at
    /// most `len` bytes at `host`.
    pub(super) fn read_compressed(
        &self,
        buf: &mut [u8],
        offset: GuestOffset,
        (host, len): (HostOffset, u64),
    ) -> Result<()> {
        let cluster = self.decompressed_cluster(offset, host, len)?;
        let start = buffer_len(offset.within(&self.geometry));
        if let Some(data) = cluster.get(start..start + buf.len()) {
            buf.copy_from_slice(data);
        }
        Ok(())
    }

    fn decompressed_cluster(
        &self,
        offset: GuestOffset,
        host: HostOffset,
        len: u64,
    ) -> Result<Arc<[u8]>> {
        let kept = self
            .decompressed
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .get(host);
        if let Some(data) = kept {
            return Ok(data);
        }
        if host.0 >= self.host.len()? {
            return Err(ImageError::corrupt(format!(
                "the compressed cluster of {offset} lies past the end of the file"
            ))
            .at(host.0));
        }
        let mut stream = zeroed(len);
        self.host.read(&mut stream, host, "a compressed cluster")?;
        let mut cluster = zeroed(self.geometry.cluster_size());
        if decompress(&stream, &mut cluster).is_none() {
            return Err(ImageError::corrupt(format!(
                "the compressed cluster of {offset} is not a valid deflate stream"
            ))
            .at(host.0));
        }
        let cluster: Arc<[u8]> = cluster.into();
        let mut decompressed = self.decompressed.lock().unwrap_or_else(|e| e.into_inner());
        decompressed.keep(host, Arc::clone(&cluster));
        Ok(cluster)
    }

    /// Stores `stream`, the compressed contents of the cluster at `offset`, in an image that has
    /// nothing there. An image with encryption is refused: it has no compressed clusters.
    pub fn write_compressed(&self, offset: GuestOffset, stream: &[u8]) -> Result<()> {
        self.check_write(offset.0, 1)?;
        if self.cipher.is_some() || self.header.compression != header::Compression::Deflate {
            return Err(ImageError::new(
                ErrorKind::Unsupported,
                "compressed clusters can be written with deflate and without encryption only",
            ));
        }
        let _request = self.in_flight.read().unwrap_or_else(|e| e.into_inner());
        let cluster = offset.cluster(&self.geometry);
        let mut metadata = self.lock();
        metadata.begin_change()?;
        let old = metadata.mapping(cluster)?;
        if old != Mapping::Unallocated || metadata.is_allocating(cluster) {
            return Err(ImageError::new(ErrorKind::Invalid, "the cluster is in use").at(offset.0));
        }
        let len = stream.len() as u64;
        let taken = metadata.space.allocate_bytes(len);
        let host = metadata.sealing(taken)?;
        self.host.write_data(stream, host, "a compressed cluster")?;
        let mapped = metadata.map(cluster, Mapping::Compressed { host, len }, Reason::Replaced);
        metadata.sealing(mapped)
    }

    /// The cluster that holds `offset`.
    pub fn cluster_of(&self, offset: u64) -> GuestCluster {
        GuestOffset(offset).cluster(&self.geometry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_survives_compression() {
        let data: Vec<u8> = (0..65536usize)
            .map(|i| (i / 100).to_le_bytes()[0])
            .collect();
        let stream = compress(&data).unwrap();
        let mut back = vec![0; data.len()];
        decompress(&stream, &mut back).unwrap();
        assert_eq!(back, data);
    }

    #[test]
    fn a_stream_that_is_too_short_or_broken_is_refused() {
        let stream = compress(&[7; 4096]).unwrap();
        assert!(decompress(&stream, &mut [0; 8192]).is_none());
        assert!(decompress(&[0xff; 100], &mut [0; 4096]).is_none());
    }
}
