//! O_DIRECT: reads and writes that go around the host's page cache.
//!
//! Such requests must start, end and lie in memory at multiples of a block that the file system
//! names (`statx`; 4096 bytes where it does not). Requests that do are passed on as they are.
//! Others go through an aligned buffer: a read fetches the blocks around it; a write reads the
//! blocks at its edges, changes them and writes whole blocks back, alone, so that no write to the
//! rest of such a block is lost. A file whose last block is not whole keeps its length.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::RwLock;

/// The block where the file system does not say: as large as those of any disk.
const BLOCK: u64 = 4096;
/// Buffers are at most this long, a multiple of any block.
const PIECE: u64 = 1 << 20;

/// What requests to a file that is open with O_DIRECT need.
#[derive(Debug)]
pub(super) struct Direct {
    /// Offsets, lengths and addresses are multiples of this.
    block: u64,
    /// Held for writing while blocks are read, changed and written back, for reading by other
    /// changes.
    edges: RwLock<()>,
}

/// Part of a vector, at a multiple of a block.
struct Aligned {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    fn new(len: u64, block: u64) -> Self {
        let [len, block] = [len, block].map(length);
        let bytes = vec![0; len + block];
        let start = bytes.as_ptr().align_offset(block);
        Self { bytes, start, len }
    }

    fn get(&mut self) -> &mut [u8] {
        let (_, rest) = self.bytes.split_at_mut(self.start);
        rest.split_at_mut(self.len).0
    }
}

fn length(len: u64) -> usize {
    usize::try_from(len).expect("a piece fits the address space")
}

impl Direct {
    /// For `file`, which is open with O_DIRECT.
    pub(super) fn new(file: &File) -> Self {
        Self {
            block: block_of(file).unwrap_or(BLOCK).max(512),
            edges: RwLock::default(),
        }
    }

    fn fits(&self, buf: &[u8], offset: u64) -> bool {
        let whole = (buf.len() as u64).is_multiple_of(self.block);
        let in_memory = buf.as_ptr().align_offset(length(self.block)) == 0;
        whole && offset.is_multiple_of(self.block) && in_memory
    }

    /// Fills `buf`; bytes past the end of the file are zeros.
    pub(super) fn read(&self, file: &File, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if self.fits(buf, offset) {
            return self.read_blocks(file, buf, offset);
        }
        let mut at = offset;
        for piece in buf.chunks_mut(length(PIECE)) {
            let end = at + piece.len() as u64;
            let first = at - at % self.block;
            let mut blocks = Aligned::new(end.next_multiple_of(self.block) - first, self.block);
            self.read_blocks(file, blocks.get(), first)?;
            let (_, wanted) = blocks.get().split_at(length(at - first));
            piece.copy_from_slice(wanted.split_at(piece.len()).0);
            at = end;
        }
        Ok(())
    }

    /// Fills whole blocks.
    fn read_blocks(&self, file: &File, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            let n = match file.read_at(buf, offset) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            buf = buf.split_at_mut(n).1;
            offset += n as u64;
            // Only at its end does a file give less than whole blocks.
            if n == 0 || !offset.is_multiple_of(self.block) {
                buf.fill(0);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Writes all of `buf`.
    pub(super) fn write(&self, file: &File, buf: &[u8], offset: u64) -> io::Result<()> {
        let whole = (buf.len() as u64).is_multiple_of(self.block);
        if !whole || !offset.is_multiple_of(self.block) {
            return self.alone(|| self.write_edges(file, buf, offset));
        }
        let _others = self.edges.read().unwrap_or_else(|e| e.into_inner());
        if self.fits(buf, offset) {
            return file.write_all_at(buf, offset);
        }
        let mut at = offset;
        for piece in buf.chunks(length(PIECE)) {
            let mut blocks = Aligned::new(piece.len() as u64, self.block);
            blocks.get().copy_from_slice(piece);
            file.write_all_at(blocks.get(), at)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Does something while no other change is under way.
    pub(super) fn alone<T>(&self, change: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let _alone = self.edges.write().unwrap_or_else(|e| e.into_inner());
        change()
    }

    /// Writes what does not begin and end with whole blocks.
    fn write_edges(&self, file: &File, buf: &[u8], offset: u64) -> io::Result<()> {
        let meta = file.metadata()?;
        let keeps_length = meta.is_file();
        let len = meta.len().max(offset + buf.len() as u64);
        let mut at = offset;
        for piece in buf.chunks(length(PIECE)) {
            let end = at + piece.len() as u64;
            let first = at - at % self.block;
            let last = end.next_multiple_of(self.block);
            let mut blocks = Aligned::new(last - first, self.block);
            let whole = blocks.get();
            self.read_blocks(file, whole, first)?;
            let (_, changed) = whole.split_at_mut(length(at - first));
            changed.split_at_mut(piece.len()).0.copy_from_slice(piece);
            file.write_all_at(whole, first)?;
            if keeps_length && last > len {
                file.set_len(len)?;
            }
            at = end;
        }
        Ok(())
    }
}

/// The block that the file system names for direct requests.
fn block_of(file: &File) -> Option<u64> {
    let mut found = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the descriptor is open for as long as `file`, the empty name is a C string, and
    // statx writes one statx, for which there is room.
    let status = unsafe {
        libc::statx(
            file.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            libc::STATX_DIOALIGN,
            found.as_mut_ptr(),
        )
    };
    // SAFETY: zeroes are a valid statx, and the kernel overwrites as much of it as it knows.
    let found = unsafe { found.assume_init() };
    let known = status == 0 && found.stx_mask & libc::STATX_DIOALIGN != 0;
    let block = found.stx_dio_offset_align.max(found.stx_dio_mem_align);
    (known && block.is_power_of_two()).then_some(u64::from(block))
}
