//! The bytes of physical memory: a private mapping over a memfd.
//!
//! The memfd is the frozen base; what the guest writes becomes private pages over it. So a
//! copy of a running machine can share the base and keep only what differs. The mapping stays
//! where it is for the life of the machine.

use std::fs::File;
use std::os::fd::FromRawFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use vm_memory::bitmap::BitmapSlice;
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{FileOffset, MmapRegion, VolatileMemory, VolatileSlice};

use super::pages::ArenaOffset;

/// Why the host gave no memory for the guest.
#[derive(Debug)]
pub struct MemoryError {
    bytes: u64,
    reason: String,
}

impl std::fmt::Display for MemoryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "cannot reserve {} MiB of guest memory: {}; choose a smaller -m",
            self.bytes >> 20,
            self.reason
        )
    }
}

impl std::error::Error for MemoryError {}

/// One host mapping for all that the guest can address as plain memory.
#[derive(Debug)]
pub struct Arena {
    region: MmapRegion,
}

impl Arena {
    /// Maps `bytes` zero bytes, which take host memory only once they are written.
    pub(super) fn new(bytes: u64) -> Result<Self, MemoryError> {
        let fail = |reason: String| MemoryError { bytes, reason };
        let size = usize::try_from(bytes).map_err(|e| fail(e.to_string()))?;
        let base = frozen_base(bytes).map_err(|e| fail(e.to_string()))?;
        let region = MmapRegionBuilder::new(size)
            .with_file_offset(FileOffset::new(base, 0))
            .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
            .with_mmap_flags(libc::MAP_PRIVATE | libc::MAP_NORESERVE)
            .build()
            .map_err(|e| fail(e.to_string()))?;
        Ok(Self { region })
    }

    /// The size in bytes.
    pub fn len(&self) -> u64 {
        self.region.size() as u64
    }

    /// Whether it holds no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The host address of offset 0, for the CPU's TLB. Valid while the arena lives.
    pub fn host_base(&self) -> *mut u8 {
        self.region.as_ptr()
    }

    /// Copies `buffer.len()` bytes from `offset` on. Bytes past the end stay as they were.
    pub fn read(&self, offset: ArenaOffset, buffer: &mut [u8]) {
        if let Some(slice) = self.slice(offset, buffer.len()) {
            slice.copy_to(buffer);
        }
    }

    /// The little-endian number of 4 bytes at `offset`, which is aligned, read at once; `None` past
    /// the end.
    pub fn load_u32(&self, offset: ArenaOffset) -> Option<u32> {
        let offset = usize::try_from(offset).ok()?;
        let number = self.region.get_atomic_ref::<AtomicU32>(offset).ok()?;
        Some(u32::from_le(number.load(Ordering::Relaxed)))
    }

    /// As [`Arena::load_u32`], of 8 bytes.
    pub fn load_u64(&self, offset: ArenaOffset) -> Option<u64> {
        let offset = usize::try_from(offset).ok()?;
        let number = self.region.get_atomic_ref::<AtomicU64>(offset).ok()?;
        Some(u64::from_le(number.load(Ordering::Relaxed)))
    }

    /// Copies `bytes` to `offset`. Out-of-range writes do nothing.
    ///
    /// This is the raw store: callers that may replace decoded code or pages that are being
    /// tracked go through [`super::Memory::write_arena`].
    pub(super) fn write(&self, offset: ArenaOffset, bytes: &[u8]) {
        if let Some(slice) = self.slice(offset, bytes.len()) {
            slice.copy_from(bytes);
        }
    }

    fn slice(
        &self,
        offset: ArenaOffset,
        len: usize,
    ) -> Option<VolatileSlice<'_, impl BitmapSlice + use<'_>>> {
        let offset = usize::try_from(offset).ok()?;
        self.region.get_slice(offset, len).ok()
    }
}

/// An anonymous file of `bytes` zero bytes that nobody writes.
fn frozen_base(bytes: u64) -> std::io::Result<File> {
    // SAFETY: the name is a NUL-terminated literal, and the flags are plain numbers.
    let fd = unsafe { libc::memfd_create(c"cowbox-ram".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: memfd_create gave us this descriptor, and nobody else owns it.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(bytes)?;
    Ok(file)
}
