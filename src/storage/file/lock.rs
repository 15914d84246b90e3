//! Image locking between processes, by the protocol that QEMU and its tools use.
//!
//! Each permission has a number n: 0 consistent read, 1 write, 2 write unchanged, 3 resize. Who
//! holds it has a shared OFD lock on byte 100+n of the file; who does not share it with others
//! has one on byte 200+n. An opener first takes all its locks, then tests for others' on the
//! opposite bytes, and on a conflict lets go of what it took. OFD locks belong to the open file
//! description, so two openings in one process exclude each other too.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::super::{Access, FileId, LockError};
use super::holder;

const CONSISTENT_READ: u8 = 1 << 0;
const WRITE: u8 = 1 << 1;
const RESIZE: u8 = 1 << 3;

/// The byte of permission 0 held, and of permission 0 not shared.
const HELD_BASE: i64 = 100;
const UNSHARED_BASE: i64 = 200;

/// What an open file has announced: bit n for permission n.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    permissions: u8,
    unshared: u8,
}

impl Held {
    fn of(access: Access) -> Self {
        match access {
            Access::Read => Self {
                permissions: CONSISTENT_READ,
                unshared: WRITE | RESIZE,
            },
            Access::Write => Self {
                permissions: CONSISTENT_READ | WRITE | RESIZE,
                unshared: WRITE | RESIZE,
            },
            Access::ShareAll => Self {
                permissions: CONSISTENT_READ,
                unshared: 0,
            },
            Access::None => Self::default(),
        }
    }

    fn bytes(self) -> impl Iterator<Item = i64> {
        let base = [
            (self.permissions, HELD_BASE),
            (self.unshared, UNSHARED_BASE),
        ];
        base.into_iter().flat_map(|(bits, base)| {
            (0..4i64)
                .filter(move |n| bits & (1 << n) != 0)
                .map(move |n| base + n)
        })
    }

    /// Gives up all of them.
    pub(super) fn release(&mut self, file: &File) {
        let held = std::mem::take(self);
        release(file, &held.bytes().collect::<Vec<_>>());
    }

    /// The bytes on which somebody else's lock excludes this use.
    fn opposite(self) -> impl Iterator<Item = i64> {
        Self {
            permissions: self.unshared,
            unshared: self.permissions,
        }
        .bytes()
    }
}

/// Changes what `file` holds from `held` to `access`: new bytes first, then the test, then the
/// bytes no longer needed. A file system without locks is used without.
pub(super) fn change(
    file: &File,
    id: FileId,
    held: &mut Held,
    access: Access,
) -> Result<(), LockError> {
    let wanted = Held::of(access);
    let keep: Vec<i64> = held.bytes().collect();
    let new: Vec<i64> = wanted.bytes().filter(|byte| !keep.contains(byte)).collect();
    for &byte in &new {
        match set(file, byte, libc::F_RDLCK) {
            Ok(()) => {}
            Err(e) if no_locks_here(&e) => return Ok(()),
            Err(e) => {
                release(file, &new);
                return Err(LockError::Io(e));
            }
        }
    }
    for byte in wanted.opposite() {
        if test(file, byte).map_err(LockError::Io)? {
            release(file, &new);
            return Err(LockError::Held {
                holder: holder::describe(id),
                conflict: if byte < UNSHARED_BASE {
                    "writes to it"
                } else {
                    "needs it unchanged"
                },
            });
        }
    }
    let now: Vec<i64> = wanted.bytes().collect();
    let old: Vec<i64> = keep
        .into_iter()
        .filter(|byte| !now.contains(byte))
        .collect();
    release(file, &old);
    *held = wanted;
    Ok(())
}

fn release(file: &File, bytes: &[i64]) {
    for &byte in bytes {
        // Giving up a lock fails only on a descriptor that is not open.
        let _ = set(file, byte, libc::F_UNLCK);
    }
}

fn set(file: &File, byte: i64, kind: libc::c_int) -> io::Result<()> {
    fcntl(file, libc::F_OFD_SETLK, &mut request(byte, kind)?)
}

/// Whether somebody else holds any lock on `byte`.
fn test(file: &File, byte: i64) -> io::Result<bool> {
    let mut lock = request(byte, libc::F_WRLCK)?;
    fcntl(file, libc::F_OFD_GETLK, &mut lock)?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

fn request(byte: i64, kind: libc::c_int) -> io::Result<libc::flock> {
    let invalid = |_| io::Error::from(io::ErrorKind::InvalidInput);
    Ok(libc::flock {
        l_type: libc::c_short::try_from(kind).map_err(invalid)?,
        l_whence: libc::c_short::try_from(libc::SEEK_SET).map_err(invalid)?,
        l_start: byte,
        l_len: 1,
        l_pid: 0,
    })
}

fn fcntl(file: &File, command: libc::c_int, lock: &mut libc::flock) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as `file`; the kernel reads and writes one
    // `flock`, which `lock` is, and keeps no pointer to it.
    let rc = unsafe { libc::fcntl(file.as_raw_fd(), command, std::ptr::from_mut(lock)) };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn no_locks_here(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::ENOLCK | libc::ENOSYS | libc::EOPNOTSUPP)
    )
}
