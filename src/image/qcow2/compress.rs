//! Compressed clusters: raw deflate streams or Zstandard frames of one cluster each.
//!
//! Deflate is written with a window of 4 KiB, because that is all that QEMU promises its decoder;
//! any window is read. What follows a stream in its last sector belongs to somebody else. Format
//! description, "Compressed Clusters Descriptor" and "compression_type"; RFC 1951, RFC 8878.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress};
use zstd_safe::{CCtx, DCtx, InBuffer, OutBuffer};

use super::super::fields::{buffer_len, zeroed};
use super::super::{ErrorKind, ImageError, Result};
use super::Qcow2;
use super::address::{GuestCluster, GuestOffset, HostOffset};
use super::entry::Mapping;
use super::header::Compression;
use super::write::Allocation;

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

/// An encoder, to be used for many clusters.
pub enum Compressor {
    /// Raw deflate streams. Each has an encoder of its own: that of zlib-rs 0.6 cannot be reset in
    /// the middle of a stream, where a cluster that does not get smaller leaves it.
    Deflate,
    /// Zstandard frames.
    Zstd(CCtx<'static>),
}

impl Compressor {
    /// An encoder for images with this compression type.
    pub fn new(kind: Compression) -> Self {
        match kind {
            Compression::Deflate => Self::Deflate,
            Compression::Zstd => Self::Zstd(CCtx::create()),
        }
    }

    /// Compresses `data`, one cluster. `None` if that does not make it smaller.
    pub fn compress(&mut self, data: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(data.len().checked_sub(1)?);
        match self {
            Self::Deflate => {
                let level = flate2::Compression::default();
                let mut deflate = Compress::new_with_window_bits(level, false, WINDOW_BITS);
                let done = deflate.compress_vec(data, &mut out, FlushCompress::Finish);
                (done.ok()? == flate2::Status::StreamEnd).then_some(out)
            }
            Self::Zstd(context) => {
                // An encoder that runs out of room has not made the data smaller.
                let level = zstd_safe::CLEVEL_DEFAULT;
                context.compress(&mut out, data, level).ok()?;
                Some(out)
            }
        }
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deflate => "Compressor(deflate)",
            Self::Zstd(_) => "Compressor(zstd)",
        })
    }
}

/// Decompresses `data` into `cluster`, exactly filling it.
fn decompress(kind: Compression, data: &[u8], cluster: &mut [u8]) -> Option<()> {
    match kind {
        Compression::Deflate => inflate(data, cluster),
        Compression::Zstd => decode_frames(data, cluster),
    }
}

/// Decodes Zstandard frames until `cluster` is full, where a frame must end.
fn decode_frames(data: &[u8], cluster: &mut [u8]) -> Option<()> {
    let mut context = DCtx::try_create()?;
    let wanted = cluster.len();
    let mut input = InBuffer::around(data);
    let mut output = OutBuffer::around(cluster);
    loop {
        let before = (input.pos(), output.pos());
        let more = context.decompress_stream(&mut output, &mut input).ok()?;
        if output.pos() == wanted && more == 0 {
            return Some(());
        }
        if (input.pos(), output.pos()) == before {
            return None;
        }
    }
}

fn inflate(data: &[u8], cluster: &mut [u8]) -> Option<()> {
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
        let kind = self.header.compression;
        if decompress(kind, &stream, &mut cluster).is_none() {
            return Err(ImageError::corrupt(format!(
                "the compressed cluster of {offset} is not a valid {} stream",
                kind.name()
            ))
            .at(host.0));
        }
        let cluster: Arc<[u8]> = cluster.into();
        let mut decompressed = self.decompressed.lock().unwrap_or_else(|e| e.into_inner());
        decompressed.keep(host, Arc::clone(&cluster));
        Ok(cluster)
    }

    /// An encoder for the compressed clusters of this image.
    pub fn compressor(&self) -> Compressor {
        Compressor::new(self.header.compression)
    }

    /// Stores `stream`, the compressed contents of the cluster at `offset`, in an image that has
    /// nothing there. An image with encryption is refused: it has no compressed clusters.
    pub fn write_compressed(&self, offset: GuestOffset, stream: &[u8]) -> Result<()> {
        self.check_write(offset.0, 1)?;
        if self.crypt.is_some() || self.geometry.has_external_data() {
            return Err(ImageError::new(
                ErrorKind::Unsupported,
                "an image that is encrypted or has an external data file cannot take compressed \
                 clusters",
            ));
        }
        let _request = self.in_flight.read().unwrap_or_else(|e| e.into_inner());
        let cluster = offset.cluster(&self.geometry);
        self.note_change(offset.0, self.geometry.cluster_size())?;
        self.active.warm(cluster, 1)?;
        let (host, len) = (
            self.take_bytes(cluster, stream.len() as u64)?,
            stream.len() as u64,
        );
        let allocation = Allocation::of_bytes(self, cluster, (host, len));
        self.host.write_data(stream, host, "a compressed cluster")?;
        allocation.map_compressed(Mapping::Compressed { host, len })
    }

    /// Takes room for the compressed data of `cluster`, and announces that it is being allocated.
    fn take_bytes(&self, cluster: GuestCluster, len: u64) -> Result<HostOffset> {
        let mut metadata = self.lock();
        metadata.begin_change()?;
        let old = metadata.mapping(cluster)?;
        if old != Mapping::Unallocated || metadata.is_allocating(cluster) {
            let at = cluster.offset(&self.geometry).0;
            return Err(ImageError::new(ErrorKind::Invalid, "the cluster is in use").at(at));
        }
        let taken = metadata.space.allocate_bytes(len);
        let host = metadata.sealing(taken)?;
        metadata.allocating.push(cluster.0..cluster.0 + 1);
        Ok(host)
    }

    /// The cluster that holds `offset`.
    pub fn cluster_of(&self, offset: u64) -> GuestCluster {
        GuestOffset(offset).cluster(&self.geometry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Compression; 2] = [Compression::Deflate, Compression::Zstd];

    fn noise() -> Vec<u8> {
        let mut state = 1u64;
        let bytes = std::iter::repeat_with(|| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            state.to_be_bytes()[0]
        });
        bytes.take(65536).collect()
    }

    #[test]
    fn a_cluster_survives_compression() {
        let data: Vec<u8> = (0..65536usize)
            .map(|i| (i / 100).to_le_bytes()[0])
            .collect();
        for kind in KINDS {
            let mut compressor = Compressor::new(kind);
            assert!(compressor.compress(&noise()).is_none());
            let mut stream = compressor.compress(&data).unwrap();
            stream.extend_from_slice(b"the next stream in the same sector");
            let mut back = vec![0; data.len()];
            decompress(kind, &stream, &mut back).unwrap();
            assert_eq!(back, data);
        }
    }

    #[test]
    fn what_does_not_get_smaller_is_not_compressed() {
        for kind in KINDS {
            assert!(Compressor::new(kind).compress(&noise()).is_none());
            assert!(Compressor::new(kind).compress(&[]).is_none());
        }
    }

    #[test]
    fn several_frames_may_make_up_a_cluster() {
        let mut compressor = Compressor::new(Compression::Zstd);
        let frames = [[1; 2048], [2; 2048]].map(|half| compressor.compress(&half).unwrap());
        let mut back = [0; 4096];
        decompress(Compression::Zstd, &frames.concat(), &mut back).unwrap();
        assert_eq!((back[2047], back[2048]), (1, 2));
    }

    #[test]
    fn a_stream_that_is_too_short_or_broken_is_refused() {
        for kind in KINDS {
            let stream = Compressor::new(kind).compress(&[7; 4096]).unwrap();
            assert!(decompress(kind, &stream, &mut [0; 8192]).is_none());
            assert!(decompress(kind, &stream[..stream.len() / 2], &mut [0; 4096]).is_none());
            assert!(decompress(kind, &[0xff; 100], &mut [0; 4096]).is_none());
            assert!(decompress(kind, &[], &mut [0; 4096]).is_none());
        }
        let long = Compressor::new(Compression::Zstd)
            .compress(&[7; 8192])
            .unwrap();
        assert!(decompress(Compression::Zstd, &long, &mut [0; 4096]).is_none());
    }
}
