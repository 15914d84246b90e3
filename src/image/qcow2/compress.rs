//! Compressed clusters: raw deflate streams or Zstandard frames of one cluster each.
//!
//! Deflate is written with a window of 4 KiB, because that is all that QEMU promises its decoder;
//! any window is read. What follows a stream in its last sector belongs to somebody else. Format
//! description, "Compressed Clusters Descriptor" and "compression_type"; RFC 1951, RFC 8878.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, RwLock, RwLockWriteGuard};

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress};
use zstd_safe::{CCtx, DCtx, InBuffer, OutBuffer, ResetDirective};

use super::super::fields::{buffer_len, zeroed};
use super::super::{ErrorKind, ImageError, Result};
use super::Qcow2;
use super::address::{GuestCluster, GuestOffset, HostOffset};
use super::entry::Mapping;
use super::header::Compression;
use super::write::Allocation;

/// log2 of the window.
const WINDOW_BITS: u8 = 12;
/// The levels that are called fast: results are at most 10 % and 6 % bigger than by default.
const FAST_DEFLATE: u32 = 2;
const FAST_ZSTD: i32 = 1;
/// So many bytes of decompressed clusters are kept, for readers that come in small steps; but at
/// least [`KEPT`] clusters.
const KEPT_BYTES: usize = 1 << 20;
const KEPT: usize = 4;

/// The clusters decompressed last, and decoders that nobody uses. Nobody waits here for another
/// reader: the clusters are locked for looks and changes in memory, and who does not get at the
/// decoders makes one.
#[derive(Debug, Default)]
pub(super) struct Decompressed {
    clusters: RwLock<VecDeque<(HostOffset, Arc<[u8]>)>>,
    decoders: Mutex<Vec<Decompressor>>,
}

impl Decompressed {
    fn get(&self, host: HostOffset) -> Option<Arc<[u8]>> {
        let clusters = self.clusters.read().unwrap_or_else(|e| e.into_inner());
        let found = clusters.iter().find(|(at, _)| *at == host);
        found.map(|(_, data)| Arc::clone(data))
    }

    fn change(&self) -> RwLockWriteGuard<'_, VecDeque<(HostOffset, Arc<[u8]>)>> {
        self.clusters.write().unwrap_or_else(|e| e.into_inner())
    }

    fn keep(&self, host: HostOffset, data: Arc<[u8]>) {
        let most = (KEPT_BYTES / data.len().max(1)).max(KEPT);
        let mut clusters = self.change();
        clusters.truncate(most - 1);
        clusters.push_front((host, data));
    }

    /// Forgets everything: host clusters are about to change their meaning.
    pub(super) fn clear(&self) {
        self.change().clear();
    }

    fn decoder(&self, kind: Compression) -> Option<Decompressor> {
        let idle = self.decoders.try_lock().ok();
        let idle = idle.and_then(|mut decoders| decoders.pop());
        idle.or_else(|| Decompressor::new(kind))
    }

    fn keep_decoder(&self, decoder: Decompressor) {
        if let Ok(mut decoders) = self.decoders.try_lock() {
            decoders.push(decoder);
        }
    }
}

/// How much work goes into compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// As much as other programs take by default: level 6 of deflate, 3 of Zstandard.
    #[default]
    Default,
    /// Less, for a result that is a little bigger.
    Fast,
    /// The level of this number: 1 to 9 of deflate, 1 to 22 of Zstandard.
    Number(u8),
}

impl Level {
    /// The level of this name or number.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "default" => Some(Self::Default),
            "fast" => Some(Self::Fast),
            _ => name
                .parse()
                .ok()
                .filter(|n| (1..=22).contains(n))
                .map(Self::Number),
        }
    }

    fn deflate(self) -> u32 {
        match self {
            Self::Default => 6,
            Self::Fast => FAST_DEFLATE,
            Self::Number(level) => u32::from(level).min(9),
        }
    }

    fn zstd(self) -> i32 {
        match self {
            Self::Default => zstd_safe::CLEVEL_DEFAULT,
            Self::Fast => FAST_ZSTD,
            Self::Number(level) => i32::from(level),
        }
    }
}

/// An encoder, to be used for many clusters.
pub enum Compressor {
    /// Raw deflate streams.
    Deflate(Deflate),
    /// Zstandard frames.
    Zstd(CCtx<'static>, i32),
}

/// An encoder of raw deflate streams.
pub struct Deflate {
    level: u32,
    /// Ready for a new stream. That of zlib-rs 0.6 cannot be reset in the middle of a stream, where
    /// a cluster that does not get smaller leaves it.
    ready: Option<Compress>,
}

impl Deflate {
    fn compress(&mut self, data: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let mut encoder = self.ready.take().unwrap_or_else(|| {
            let level = flate2::Compression::new(self.level);
            Compress::new_with_window_bits(level, false, WINDOW_BITS)
        });
        let done = encoder.compress_vec(data, out, FlushCompress::Finish);
        if done.ok()? != flate2::Status::StreamEnd {
            return None;
        }
        encoder.reset();
        self.ready = Some(encoder);
        Some(())
    }
}

impl Compressor {
    /// An encoder for images with this compression type.
    pub fn new(kind: Compression, level: Level) -> Self {
        match kind {
            Compression::Deflate => Self::Deflate(Deflate {
                level: level.deflate(),
                ready: None,
            }),
            Compression::Zstd => Self::Zstd(CCtx::create(), level.zstd()),
        }
    }

    /// Compresses `data`, one cluster. `None` if that does not make it smaller.
    pub fn compress(&mut self, data: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(data.len().checked_sub(1)?);
        match self {
            Self::Deflate(deflate) => deflate.compress(data, &mut out)?,
            // An encoder that runs out of room has not made the data smaller.
            Self::Zstd(context, level) => {
                context.compress(&mut out, data, *level).ok()?;
            }
        }
        out.shrink_to_fit();
        Some(out)
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deflate(_) => "Compressor(deflate)",
            Self::Zstd(..) => "Compressor(zstd)",
        })
    }
}

/// A decoder, to be used for many clusters.
enum Decompressor {
    Deflate(Decompress),
    Zstd(DCtx<'static>),
}

impl Decompressor {
    fn new(kind: Compression) -> Option<Self> {
        Some(match kind {
            Compression::Deflate => Self::Deflate(Decompress::new(false)),
            Compression::Zstd => Self::Zstd(DCtx::try_create()?),
        })
    }

    /// Decompresses `data` into `cluster`, exactly filling it.
    fn decompress(&mut self, data: &[u8], cluster: &mut [u8]) -> Option<()> {
        match self {
            Self::Deflate(decoder) => {
                decoder.reset(false);
                let finish = FlushDecompress::Finish;
                decoder.decompress(data, cluster, finish).ok()?;
                (decoder.total_out() == cluster.len() as u64).then_some(())
            }
            Self::Zstd(context) => {
                context.reset(ResetDirective::SessionOnly).ok()?;
                decode_frames(context, data, cluster).map(|_| ())
            }
        }
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decompressor")
    }
}

/// How many bytes of `data` the stream takes that holds a cluster of `size` bytes; `None` if it
/// does not end there.
pub(super) fn stream_len(kind: Compression, data: &[u8], size: usize) -> Option<usize> {
    if kind == Compression::Zstd {
        return decode_frames(&mut DCtx::try_create()?, data, &mut vec![0; size]);
    }
    let mut inflate = Decompress::new(false);
    // With room for more, so that the decoder goes on to the end of the stream.
    let mut room = vec![0; size + 1];
    let done = inflate.decompress(data, &mut room, FlushDecompress::Finish);
    let whole = done.ok()? == flate2::Status::StreamEnd && inflate.total_out() == size as u64;
    usize::try_from(inflate.total_in()).ok().filter(|_| whole)
}

/// Decodes Zstandard frames until `cluster` is full, where a frame must end; gives how many bytes
/// of `data` they take.
fn decode_frames(context: &mut DCtx<'_>, data: &[u8], cluster: &mut [u8]) -> Option<usize> {
    let wanted = cluster.len();
    let mut input = InBuffer::around(data);
    let mut output = OutBuffer::around(cluster);
    loop {
        let before = (input.pos(), output.pos());
        let more = context.decompress_stream(&mut output, &mut input).ok()?;
        if output.pos() == wanted && more == 0 {
            return Some(input.pos());
        }
        if (input.pos(), output.pos()) == before {
            return None;
        }
    }
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
        let kept = self.decompressed.get(host);
        let start = buffer_len(offset.within(&self.geometry));
        if kept.is_none() && buf.len() as u64 == self.geometry.cluster_size() {
            return self.decompress(buf, offset, (host, len));
        }
        let cluster = match kept {
            Some(cluster) => cluster,
            None => {
                let mut cluster = zeroed(self.geometry.cluster_size());
                self.decompress(&mut cluster, offset, (host, len))?;
                let cluster: Arc<[u8]> = cluster.into();
                self.decompressed.keep(host, Arc::clone(&cluster));
                cluster
            }
        };
        if let Some(data) = cluster.get(start..start + buf.len()) {
            buf.copy_from_slice(data);
        }
        Ok(())
    }

    /// Fills `cluster` with the whole compressed cluster of `offset`.
    fn decompress(
        &self,
        cluster: &mut [u8],
        offset: GuestOffset,
        (host, len): (HostOffset, u64),
    ) -> Result<()> {
        if host.0 >= self.host.len()? {
            return Err(ImageError::corrupt(format!(
                "the compressed cluster of {offset} lies past the end of the file"
            ))
            .at(host.0));
        }
        let mut stream = zeroed(len);
        self.host.read(&mut stream, host, "a compressed cluster")?;
        let kind = self.header.compression;
        let mut decoder = self.decompressed.decoder(kind);
        let done = decoder
            .as_mut()
            .and_then(|decoder| decoder.decompress(&stream, cluster));
        if let Some(decoder) = decoder {
            self.decompressed.keep_decoder(decoder);
        }
        done.ok_or_else(|| {
            ImageError::corrupt(format!(
                "the compressed cluster of {offset} is not a valid {} stream",
                kind.name()
            ))
            .at(host.0)
        })
    }

    /// An encoder for the compressed clusters of this image.
    pub fn compressor(&self) -> Compressor {
        self.compressor_at(Level::Default)
    }

    /// The same at some level.
    pub fn compressor_at(&self, level: Level) -> Compressor {
        Compressor::new(self.header.compression, level)
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
        let _request = self.in_flight.enter();
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

    fn encoder(kind: Compression) -> Compressor {
        Compressor::new(kind, Level::Default)
    }

    fn decompress(kind: Compression, data: &[u8], cluster: &mut [u8]) -> Option<()> {
        Decompressor::new(kind)?.decompress(data, cluster)
    }

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
            let mut compressor = encoder(kind);
            assert!(compressor.compress(&noise()).is_none());
            let mut stream = compressor.compress(&data).unwrap();
            stream.extend_from_slice(b"the next stream in the same sector");
            let mut back = vec![0; data.len()];
            decompress(kind, &stream, &mut back).unwrap();
            assert_eq!(back, data);
            let own = stream.len() - b"the next stream in the same sector".len();
            assert_eq!(stream_len(kind, &stream, data.len()), Some(own));
        }
    }

    #[test]
    fn coders_serve_many_clusters_of_all_kinds() {
        let text: Vec<u8> = (0..65536usize)
            .map(|i| (i % 251).to_le_bytes()[0])
            .collect();
        for kind in KINDS {
            let (mut encoder, mut decoder) = (encoder(kind), Decompressor::new(kind).unwrap());
            for _ in 0..3 {
                let stream = encoder.compress(&text).unwrap();
                assert!(encoder.compress(&noise()).is_none());
                assert!(decoder.decompress(&[0xff; 40], &mut [0; 4096]).is_none());
                let mut back = vec![0; text.len()];
                decoder.decompress(&stream, &mut back).unwrap();
                assert_eq!(back, text);
            }
        }
    }

    #[test]
    fn what_does_not_get_smaller_is_not_compressed() {
        for kind in KINDS {
            assert!(encoder(kind).compress(&noise()).is_none());
            assert!(encoder(kind).compress(&[]).is_none());
        }
    }

    #[test]
    fn several_frames_may_make_up_a_cluster() {
        let mut compressor = encoder(Compression::Zstd);
        let frames = [[1; 2048], [2; 2048]].map(|half| compressor.compress(&half).unwrap());
        let mut back = [0; 4096];
        decompress(Compression::Zstd, &frames.concat(), &mut back).unwrap();
        assert_eq!((back[2047], back[2048]), (1, 2));
    }

    #[test]
    fn a_stream_that_is_too_short_or_broken_is_refused() {
        for kind in KINDS {
            let stream = encoder(kind).compress(&[7; 4096]).unwrap();
            assert!(decompress(kind, &stream, &mut [0; 8192]).is_none());
            assert!(decompress(kind, &stream[..stream.len() / 2], &mut [0; 4096]).is_none());
            assert!(decompress(kind, &[0xff; 100], &mut [0; 4096]).is_none());
            assert!(decompress(kind, &[], &mut [0; 4096]).is_none());
        }
        let long = encoder(Compression::Zstd).compress(&[7; 8192]).unwrap();
        assert!(decompress(Compression::Zstd, &long, &mut [0; 4096]).is_none());
    }
}
