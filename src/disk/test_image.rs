//! An image in memory for the tests of disks and their controllers: it can fail on chosen
//! sectors, be slow, and panic.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::request::SECTOR_SIZE;
use crate::image::{ErrorKind, Extent, ExtentKind, Format, Image, ImageError, Result, ZeroMode};

/// An image whose sector `n` holds `n` in every eight bytes, until it is written.
#[derive(Debug, Default)]
pub(crate) struct TestImage {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    count: u64,
    written: HashMap<u64, Vec<u8>>,
    bad: HashSet<u64>,
    delay: Duration,
    panics: bool,
    read_only: bool,
    flushes_fail: bool,
    log: Vec<String>,
}

/// What an untouched sector holds.
pub(crate) fn pattern(sector: u64) -> Vec<u8> {
    sector.to_le_bytes().repeat(SECTOR_SIZE / 8)
}

impl TestImage {
    pub(crate) fn with_sectors(sectors: u64) -> Arc<Self> {
        let image = Self::default();
        image.inner().count = sectors;
        Arc::new(image)
    }

    /// Lets every access to `sector` fail from now on.
    pub(crate) fn spoil(&self, sector: u64) {
        self.inner().bad.insert(sector);
    }

    /// Lets every access take that long on the host.
    pub(crate) fn slow_down(&self, delay: Duration) {
        self.inner().delay = delay;
    }

    /// Lets every access panic.
    pub(crate) fn break_down(&self) {
        self.inner().panics = true;
    }

    /// Lets every flush fail.
    pub(crate) fn fail_flushes(&self) {
        self.inner().flushes_fail = true;
    }

    pub(crate) fn protect(&self) {
        self.inner().read_only = true;
    }

    /// The bytes of `count` sectors from `sector` on.
    pub(crate) fn sectors(&self, sector: u64, count: u64) -> Vec<u8> {
        let inner = self.inner();
        (sector..sector + count)
            .flat_map(|s| inner.sector(s))
            .collect()
    }

    /// What was asked of the image so far, but for reads.
    pub(crate) fn log(&self) -> Vec<String> {
        self.inner().log.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn touch(&self, offset: u64, len: u64) -> Result<()> {
        let delay = self.inner().delay;
        std::thread::sleep(delay);
        assert!(!self.inner().panics, "the test asked for it");
        let sectors = offset / 512..(offset + len).div_ceil(512);
        match self.inner().bad.iter().find(|s| sectors.contains(s)) {
            Some(_) => Err(ImageError::new(ErrorKind::Io, "the test spoiled it")),
            None => Ok(()),
        }
    }
}

impl Inner {
    fn sector(&self, sector: u64) -> Vec<u8> {
        let written = self.written.get(&sector);
        written.cloned().unwrap_or_else(|| pattern(sector))
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (sector, bytes) in (offset / 512..).zip(bytes.chunks(SECTOR_SIZE)) {
            assert!(sector < self.count);
            self.written.insert(sector, bytes.to_vec());
        }
    }
}

impl Image for TestImage {
    fn size(&self) -> u64 {
        self.inner().count * 512
    }

    fn format(&self) -> Format {
        Format::Raw
    }

    fn path(&self) -> Option<&Path> {
        None
    }

    fn extent(&self, offset: u64, length: u64) -> Result<Extent> {
        Ok(Extent {
            offset,
            length,
            kind: ExtentKind::Data { host: offset },
            depth: 0,
        })
    }

    fn read_only(&self) -> bool {
        self.inner().read_only
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.touch(offset, buf.len() as u64)?;
        buf.copy_from_slice(&self.sectors(offset / 512, buf.len() as u64 / 512));
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.touch(offset, buf.len() as u64)?;
        let mut inner = self.inner();
        inner.write(offset, buf);
        inner
            .log
            .push(format!("write {} {}", offset / 512, buf.len() / 512));
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, len: u64, mode: ZeroMode) -> Result<()> {
        self.touch(offset, len)?;
        let mut inner = self.inner();
        inner.write(offset, &vec![0; usize::try_from(len).unwrap()]);
        inner
            .log
            .push(format!("zero {} {} {mode:?}", offset / 512, len / 512));
        Ok(())
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.touch(offset, len)?;
        self.inner()
            .log
            .push(format!("discard {} {}", offset / 512, len / 512));
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.touch(0, 0)?;
        if self.inner().flushes_fail {
            return Err(ImageError::new(ErrorKind::Io, "the test fails flushes"));
        }
        self.inner().log.push("flush".to_owned());
        Ok(())
    }
}
