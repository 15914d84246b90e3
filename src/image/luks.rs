//! The luks format: a LUKS1 header with key slots, and behind it the disk, encrypted.
//!
//! ```text
//!   LUKS header and key material │ payload: the sectors of the disk, numbered from 0
//! ```
//!
//! The disk is as long as the payload, rounded up to whole sectors. It is read and written in whole
//! sectors; [`super::sector_wise`] is for other requests. A hole in the file reads as what zeros
//! decrypt to, so every byte of a disk counts as data, zeros have to be written, and discards are
//! ignored. LUKS1 On-Disk Format Specification 1.2.3.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::crypt::luks::Luks;
use super::crypt::options::LuksOptions;
use super::crypt::sector::SectorCipher;
use super::crypt::slots::{Caution, KeyChange};
use super::fields::{buffer_len, zeroed};
use super::qcow2::Writing;
use super::qcow2::preallocate::Preallocation;
use super::resize::resize_raw;
use super::{
    ErrorKind, Extent, ExtentKind, Format, Image, ImageError, Result, SECTOR, Secret, ZeroMode,
    check_range,
};
use crate::storage::{Durability, Storage};

/// Bytes that are encrypted and written, or read and decrypted, at a time: they stay in the cache
/// of a processor core.
const PIECE: u64 = 256 << 10;

/// An open image of the luks format.
#[derive(Debug)]
pub struct LuksImage {
    storage: Arc<dyn Storage>,
    cipher: SectorCipher,
    payload: u64,
    size: u64,
    writing: Writing,
    path: Option<PathBuf>,
}

/// The header of the image in `storage`, and the length of its disk.
pub(super) fn inspect(storage: &dyn Storage) -> Result<(Luks, u64)> {
    let len = storage
        .len()
        .map_err(|e| ImageError::io("find the length of the file", e))?;
    let luks = Luks::read_with_payload(storage, len)?;
    let size = len - luks.payload_offset();
    let size = size
        .checked_next_multiple_of(SECTOR)
        .unwrap_or(size - size % SECTOR);
    Ok((luks, size))
}

/// Makes an image in `storage` with a disk of `size` bytes, in place of what it held.
pub(super) fn create(storage: &dyn Storage, size: u64, options: &LuksOptions) -> Result<()> {
    let (area, _) = Luks::format(options)?;
    let failed = |e| ImageError::io("create the image", e);
    let len = file_len(area.len() as u64, size)?;
    storage.set_len(0).map_err(failed)?;
    storage.set_len(len).map_err(failed)?;
    storage.write_at(&area, 0).map_err(failed)?;
    storage.flush(Durability::All).map_err(failed)
}

/// Makes the disk of the image in `storage` `size` bytes long.
pub(super) fn resize(storage: &dyn Storage, size: u64, with: Preallocation) -> Result<()> {
    let (luks, _) = inspect(storage)?;
    let with = match with {
        // There is none.
        Preallocation::Metadata => Preallocation::Off,
        other => other,
    };
    resize_raw(storage, file_len(luks.payload_offset(), size)?, with)
}

fn file_len(payload: u64, size: u64) -> Result<u64> {
    payload
        .checked_add(size)
        .filter(|&len| i64::try_from(len).is_ok())
        .ok_or_else(|| ImageError::new(ErrorKind::Invalid, "The requested file size is too large"))
}

fn wanted() -> ImageError {
    ImageError::new(
        ErrorKind::Password,
        "the luks image is encrypted; give its password",
    )
}

impl LuksImage {
    /// Opens the image in `storage`, unlocked with its password.
    pub fn open(
        storage: Arc<dyn Storage>,
        secret: Option<&Secret>,
        writing: Writing,
        path: Option<&Path>,
    ) -> Result<Self> {
        let (luks, size) = inspect(&*storage)?;
        let master = luks.unlock(&*storage, secret.ok_or_else(wanted)?)?;
        Ok(Self {
            cipher: master.cipher(),
            payload: luks.payload_offset(),
            size,
            storage,
            writing,
            path: path.map(Path::to_path_buf),
        })
    }

    /// Adds or erases keys; `secret` opens the image now.
    ///
    /// Errors: those of [`Luks::change`].
    pub fn change_keys(
        &mut self,
        secret: Option<&Secret>,
        change: &KeyChange,
        caution: Caution,
    ) -> Result<()> {
        self.check_write(0, 0)?;
        let (mut luks, _) = inspect(&*self.storage)?;
        let secret = secret.ok_or_else(wanted)?;
        luks.change(&*self.storage, secret, change, caution)
    }

    fn check_write(&self, offset: u64, len: u64) -> Result<()> {
        self.check_sectors(offset, len)?;
        match self.writing {
            Writing::Allowed => Ok(()),
            Writing::Refused => Err(ImageError::new(
                ErrorKind::ReadOnly,
                "the image is open for reading only",
            )),
        }
    }

    fn check_sectors(&self, offset: u64, len: u64) -> Result<()> {
        check_range(offset, len, self.size)?;
        match offset.is_multiple_of(SECTOR) && len.is_multiple_of(SECTOR) {
            true => Ok(()),
            false => Err(ImageError::new(
                ErrorKind::Invalid,
                "an encrypted image is read and written in whole sectors of 512 bytes",
            )
            .at(offset)),
        }
    }

    /// Encrypts `piece`, which stands at `at` of the disk, and writes it.
    fn write_piece(&self, piece: &mut [u8], at: u64) -> Result<()> {
        self.cipher.encrypt(piece, at / SECTOR);
        let done = self.storage.write_at(piece, self.payload + at);
        done.map_err(|e| ImageError::io("write", e).at(at))
    }
}

impl Image for LuksImage {
    fn size(&self) -> u64 {
        self.size
    }

    fn format(&self) -> Format {
        Format::Luks
    }

    fn read_only(&self) -> bool {
        self.writing == Writing::Refused
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.check_sectors(offset, buf.len() as u64)?;
        let pieces = buf.chunks_mut(buffer_len(PIECE));
        for (piece, index) in pieces.zip(0..) {
            let at = offset + index * PIECE;
            let done = self.storage.read_at(piece, self.payload + at);
            done.map_err(|e| ImageError::io("read", e).at(at))?;
            self.cipher.decrypt(piece, at / SECTOR);
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.check_write(offset, buf.len() as u64)?;
        let mut scratch = zeroed(PIECE.min(buf.len() as u64));
        for (piece, index) in buf.chunks(buffer_len(PIECE)).zip(0..) {
            let (sectors, _) = scratch.split_at_mut(piece.len());
            sectors.copy_from_slice(piece);
            self.write_piece(sectors, offset + index * PIECE)?;
        }
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, len: u64, _mode: ZeroMode) -> Result<()> {
        self.check_write(offset, len)?;
        let mut scratch = zeroed(PIECE.min(len));
        let mut done = 0;
        while done < len {
            let (sectors, _) = scratch.split_at_mut(buffer_len((len - done).min(PIECE)));
            sectors.fill(0);
            self.write_piece(sectors, offset + done)?;
            done += sectors.len() as u64;
        }
        Ok(())
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        check_range(offset, len, self.size)
    }

    fn flush(&self) -> Result<()> {
        match self.writing {
            Writing::Refused => Ok(()),
            Writing::Allowed => self
                .storage
                .flush(Durability::Data)
                .map_err(|e| ImageError::io("flush", e)),
        }
    }

    fn extent(&self, offset: u64, len: u64) -> Result<Extent> {
        check_range(offset, 1, self.size)?;
        Ok(Extent {
            offset,
            length: len.min(self.size - offset),
            kind: ExtentKind::Data {
                host: self.payload + offset,
            },
            depth: 0,
        })
    }

    fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}
