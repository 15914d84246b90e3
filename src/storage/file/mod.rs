//! A host file or block device as a [`Storage`]: pread, pwrite, fallocate and fdatasync.
//!
//! Opening is safe against hostile names: it does not block on a FIFO and refuses whatever is
//! neither a regular file nor a block device. Locking is in [`lock`], finding the process behind
//! somebody else's lock in [`holder`], going around the page cache in [`direct`].
#![expect(
    unsafe_code,
    reason = "fallocate, fcntl, lseek, statx and OFD locks have no safe wrapper in std"
)]

mod direct;
mod holder;
mod lock;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Mutex;

use super::{Access, Allocation, Durability, FileId, LockError, Occupancy, Storage};
use direct::Direct;

/// Zeros are written in pieces of this size where the host cannot make them itself.
const ZERO_PIECE: usize = 64 * 1024;

/// An open host file.
#[derive(Debug)]
pub struct FileStorage {
    file: File,
    kind: Kind,
    id: FileId,
    held: Mutex<lock::Held>,
    /// If the file is open with O_DIRECT.
    direct: Option<Direct>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Regular,
    /// A block device, or a character device where that was asked for.
    Device,
}

/// How to open a host file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// For reading.
    Read,
    /// For reading and writing; the file exists.
    Write,
    /// For reading and writing; a missing file is created. An existing one is kept as it is: cut
    /// it with [`Storage::set_len`] once it is locked.
    Create,
}

impl FileStorage {
    /// Opens `path`. Anything but a regular file or a block device is refused with
    /// [`io::ErrorKind::InvalidInput`] and a text that names what it is; nothing blocks.
    pub fn open(path: &Path, mode: Mode) -> io::Result<Self> {
        Self::from_file(open_file(path, mode)?)
    }

    /// Opens `path`, which may be a character device too.
    pub fn open_device(path: &Path, mode: Mode) -> io::Result<Self> {
        let file = open_file(path, mode)?;
        match file.metadata()?.file_type().is_char_device() {
            true => Self::of_kind(file, Kind::Device),
            false => Self::from_file(file),
        }
    }

    /// Opens `path` so that reads and writes go around the host's page cache (O_DIRECT). Fails with
    /// [`io::ErrorKind::Unsupported`] where the file system cannot.
    pub fn open_direct(path: &Path, mode: Mode) -> io::Result<Self> {
        let mut storage = Self::open(path, mode)?;
        let fd = storage.file.as_raw_fd();
        // SAFETY: the descriptor is open for as long as `storage.file`, and both calls take only
        // integers.
        let set = unsafe {
            let flags = libc::fcntl(fd, libc::F_GETFL);
            libc::fcntl(fd, libc::F_SETFL, flags | libc::O_DIRECT)
        };
        if set != 0 {
            let error = io::Error::last_os_error();
            return Err(match error.raw_os_error() {
                Some(libc::EINVAL) => io::Error::new(
                    io::ErrorKind::Unsupported,
                    "the file system has no O_DIRECT, which cache=none and cache=directsync need; \
                     use cache=writeback",
                ),
                _ => error,
            });
        }
        storage.direct = Some(Direct::new(&storage.file));
        Ok(storage)
    }

    /// An unnamed file in `dir` that disappears with the last use of it.
    pub fn temporary(dir: &Path) -> io::Result<Self> {
        let flags = libc::O_TMPFILE | libc::O_CLOEXEC;
        let unnamed = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags)
            .mode(0o600)
            .open(dir);
        match unnamed {
            Ok(file) => Self::from_file(file),
            Err(_) => Self::from_file(unlinked(dir)?),
        }
    }

    fn from_file(file: File) -> io::Result<Self> {
        let meta = file.metadata()?;
        let kind = match meta.file_type() {
            t if t.is_file() => Kind::Regular,
            t if t.is_block_device() => Kind::Device,
            t => return Err(not_a_disk(&t)),
        };
        Self::of_kind(file, kind)
    }

    fn of_kind(file: File, kind: Kind) -> io::Result<Self> {
        let meta = file.metadata()?;
        let id = FileId {
            device: meta.dev(),
            inode: meta.ino(),
        };
        Ok(Self {
            file,
            kind,
            id,
            held: Mutex::default(),
            direct: None,
        })
    }

    fn write_zeros(&self, mut offset: u64, mut len: u64) -> io::Result<()> {
        let zeros = [0; ZERO_PIECE];
        while len > 0 {
            let piece = usize::try_from(len).unwrap_or(ZERO_PIECE).min(ZERO_PIECE);
            let (zeros, _) = zeros.split_at(piece);
            self.write_at(zeros, offset)?;
            offset += zeros.len() as u64;
            len -= zeros.len() as u64;
        }
        Ok(())
    }

    /// Makes a change of the file; under O_DIRECT, while no block is being changed in part.
    fn change<T>(&self, change: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match &self.direct {
            Some(direct) => direct.alone(change),
            None => change(),
        }
    }

    fn fallocate(&self, mode: libc::c_int, offset: u64, len: u64) -> io::Result<()> {
        self.change(|| self.fallocate_now(mode, offset, len))
    }

    fn fallocate_now(&self, mode: libc::c_int, offset: u64, len: u64) -> io::Result<()> {
        let (offset, len) = (signed(offset)?, signed(len)?);
        loop {
            // SAFETY: the descriptor is open for as long as `self.file`, and the call takes only
            // integers.
            let rc = unsafe { libc::fallocate(self.file.as_raw_fd(), mode, offset, len) };
            if rc == 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    fn seek(&self, offset: u64, whence: libc::c_int) -> io::Result<u64> {
        // SAFETY: the descriptor is open for as long as `self.file`, and the call takes only
        // integers. The file position that it moves is used by nobody (pread and pwrite do not).
        let found = unsafe { libc::lseek(self.file.as_raw_fd(), signed(offset)?, whence) };
        u64::try_from(found).map_err(|_| io::Error::last_os_error())
    }
}

/// Gives up the locks. Closing alone would leave them to a child process that is just being made: it
/// has the same open file description until its exec.
impl Drop for FileStorage {
    fn drop(&mut self) {
        let held = self.held.get_mut().unwrap_or_else(|e| e.into_inner());
        held.release(&self.file);
    }
}

/// Opens a host file of whatever kind, without waiting for anything.
fn open_file(path: &Path, mode: Mode) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(mode != Mode::Read)
        .create(mode == Mode::Create)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY)
        .open(path)
}

impl Storage for FileStorage {
    fn read_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        if let Some(direct) = &self.direct {
            return direct.read(&self.file, buf, offset);
        }
        while !buf.is_empty() {
            match self.file.read_at(buf, offset) {
                Ok(0) => {
                    buf.fill(0);
                    return Ok(());
                }
                Ok(n) => {
                    buf = buf.split_at_mut(n).1;
                    offset += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        match &self.direct {
            Some(direct) => direct.write(&self.file, buf, offset),
            None => self.file.write_all_at(buf, offset),
        }
    }

    fn zero(&self, offset: u64, len: u64, allocation: Allocation) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        let end = offset.checked_add(len).ok_or(io::ErrorKind::InvalidInput)?;
        if self.kind == Kind::Regular && allocation == Allocation::MayFree {
            let now = self.len()?;
            if end > now {
                self.change(|| self.file.set_len(end))?;
            }
            if offset >= now {
                return Ok(());
            }
        }
        let mode = match allocation {
            Allocation::Keep => libc::FALLOC_FL_ZERO_RANGE,
            Allocation::MayFree => libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
        };
        match self.fallocate(mode, offset, len) {
            Err(e) if unsupported(&e) => self.write_zeros(offset, len),
            done => done,
        }
    }

    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        match self.fallocate(mode, offset, len) {
            Err(e) if unsupported(&e) => Ok(()),
            done => done,
        }
    }

    fn flush(&self, what: Durability) -> io::Result<()> {
        let flushed = match what {
            Durability::Data => self.file.sync_data(),
            Durability::All => self.file.sync_all(),
        };
        match flushed {
            // What a device has no notion of (fsync(2), EINVAL) cannot fail.
            Err(e) if self.kind == Kind::Device && e.raw_os_error() == Some(libc::EINVAL) => Ok(()),
            done => done,
        }
    }

    fn len(&self) -> io::Result<u64> {
        match self.kind {
            Kind::Regular => Ok(self.file.metadata()?.len()),
            Kind::Device => self.seek(0, libc::SEEK_END),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match self.kind {
            Kind::Regular => self.change(|| self.file.set_len(len)),
            Kind::Device if len <= self.len()? => Ok(()),
            Kind::Device => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn lock(&self, access: Access) -> Result<(), LockError> {
        let mut held = self.held.lock().unwrap_or_else(|e| e.into_inner());
        lock::change(&self.file, self.id, &mut held, access)
    }

    fn extent(&self, offset: u64, len: u64) -> io::Result<(Occupancy, u64)> {
        if self.kind == Kind::Device {
            return Ok((Occupancy::Data, len));
        }
        let data = match self.seek(offset, libc::SEEK_DATA) {
            Ok(data) => data,
            Err(e) if e.raw_os_error() == Some(libc::ENXIO) => return Ok((Occupancy::Hole, len)),
            Err(_) => return Ok((Occupancy::Data, len)),
        };
        if data > offset {
            return Ok((Occupancy::Hole, len.min(data - offset)));
        }
        let hole = self.seek(offset, libc::SEEK_HOLE)?;
        Ok((Occupancy::Data, len.min(hole.saturating_sub(offset).max(1))))
    }

    fn occupied(&self) -> io::Result<u64> {
        // st_blocks counts in units of 512 bytes on Linux whatever the block size.
        Ok(self.file.metadata()?.blocks().saturating_mul(512))
    }

    fn identity(&self) -> Option<FileId> {
        Some(self.id)
    }

    fn grows(&self) -> bool {
        self.kind == Kind::Regular
    }
}

/// A file created and unlinked in `dir`, for file systems without O_TMPFILE.
fn unlinked(dir: &Path) -> io::Result<File> {
    for attempt in 0..100 {
        let path = dir.join(format!(".cowbox-{}-{attempt}", std::process::id()));
        match OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
        {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn not_a_disk(found: &std::fs::FileType) -> io::Error {
    let what = match found {
        t if t.is_dir() => "is a directory",
        t if t.is_fifo() => "is a FIFO",
        t if t.is_socket() => "is a socket",
        _ => "is a character device",
    };
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{what}; a disk image is a regular file or a block device"),
    )
}

fn unsupported(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(libc::EOPNOTSUPP) || code == Some(libc::ENOSYS) || code == Some(libc::ENODEV)
}

fn signed(value: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(value).map_err(|_| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_file_is_unlocked_even_if_its_description_lives_on() {
        let file = unlinked(&std::env::temp_dir()).unwrap();
        let storage = |file: &File| FileStorage::from_file(file.try_clone().unwrap()).unwrap();
        let reopened = File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        let other = storage(&reopened);
        let first = storage(&file);
        first.lock(Access::Read).unwrap();
        assert!(other.lock(Access::Write).is_err());
        drop(first);
        other.lock(Access::Write).unwrap();
    }
}
