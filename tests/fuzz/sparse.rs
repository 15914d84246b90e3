//! A storage in memory that is sparse, as host files are, and takes only so much.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard};

use cowbox::storage::{Access, Allocation, Durability, LockError, Occupancy, Storage};

const PAGE: u64 = 16 << 10;
/// The host's largest file.
const MAX_LEN: u64 = i64::MAX as u64;

/// Pages that were written, and a length.
#[derive(Debug)]
pub(crate) struct SparseStorage {
    contents: Mutex<Contents>,
    /// Pages that may be there.
    limit: usize,
}

#[derive(Debug, Default)]
struct Contents {
    pages: BTreeMap<u64, Box<[u8]>>,
    len: u64,
}

impl SparseStorage {
    /// Holds `bytes`, and at most `limit` bytes in all.
    pub(crate) fn new(bytes: &[u8], limit: u64) -> Self {
        let limit = (limit / PAGE) as usize;
        let contents = Mutex::default();
        let storage = Self { contents, limit };
        storage.write_at(bytes, 0).expect("the start fits");
        storage
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().expect("no test panics in here")
    }
}

/// The parts of `len` bytes at `offset`: the page, where in it, and how much.
fn parts(offset: u64, len: u64) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut at = offset;
    std::iter::from_fn(move || {
        let left = offset + len - at;
        let start = at % PAGE;
        let part = left.min(PAGE - start);
        let page = at / PAGE;
        at += part;
        (part > 0).then_some((page, start as usize, part as usize))
    })
}

fn check(offset: u64, len: u64) -> io::Result<()> {
    match offset.checked_add(len) {
        Some(end) if end <= MAX_LEN => Ok(()),
        _ => Err(io::ErrorKind::FileTooLarge.into()),
    }
}

impl Storage for SparseStorage {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        check(offset, 0)?;
        let len = (buf.len() as u64).min(MAX_LEN - offset);
        buf.fill(0);
        let contents = self.contents();
        let mut rest = buf;
        for (page, start, part) in parts(offset, len) {
            let (now, after) = rest.split_at_mut(part);
            if let Some(page) = contents.pages.get(&page) {
                now.copy_from_slice(&page[start..start + part]);
            }
            rest = after;
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let len = buf.len() as u64;
        check(offset, len)?;
        let mut contents = self.contents();
        let mut rest = buf;
        for (page, start, part) in parts(offset, len) {
            let (now, after) = rest.split_at(part);
            if !contents.pages.contains_key(&page) && contents.pages.len() >= self.limit {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let empty = || vec![0; PAGE as usize].into_boxed_slice();
            let page = contents.pages.entry(page).or_insert_with(empty);
            page[start..start + part].copy_from_slice(now);
            rest = after;
        }
        contents.len = contents.len.max(offset + len);
        Ok(())
    }

    fn zero(&self, offset: u64, len: u64, _: Allocation) -> io::Result<()> {
        check(offset, len)?;
        let mut contents = self.contents();
        let end = offset + len;
        let pages = contents.pages.range_mut(offset / PAGE..end.div_ceil(PAGE));
        for (page, bytes) in pages {
            let first = page * PAGE;
            let start = offset.max(first) - first;
            let stop = end.min(first + PAGE) - first;
            bytes[start as usize..stop as usize].fill(0);
        }
        contents.len = contents.len.max(end);
        Ok(())
    }

    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        let end = offset.saturating_add(len).min(self.contents().len);
        match end > offset {
            true => self.zero(offset, end - offset, Allocation::MayFree),
            false => Ok(()),
        }
    }

    fn flush(&self, _: Durability) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.contents().len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        check(len, 0)?;
        let old = self.contents().len;
        if len < old {
            self.zero(len, old - len, Allocation::MayFree)?;
            self.contents().pages.split_off(&len.div_ceil(PAGE));
        }
        self.contents().len = len;
        Ok(())
    }

    fn lock(&self, _: Access) -> Result<(), LockError> {
        Ok(())
    }

    fn extent(&self, offset: u64, len: u64) -> io::Result<(Occupancy, u64)> {
        let contents = self.contents();
        let page = offset / PAGE;
        let (what, end) = match contents.pages.contains_key(&page) {
            true => (Occupancy::Data, (page + 1) * PAGE),
            false => {
                let next = contents.pages.range(page..).next();
                let next = next.map_or(u64::MAX, |(page, _)| page * PAGE);
                (Occupancy::Hole, next)
            }
        };
        Ok((what, len.min(end - offset)))
    }
}
