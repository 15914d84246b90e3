//! Encryption of guest data in qcow2: the legacy method (AES-128-CBC with the password as key) and
//! LUKS1.
//!
//! In the legacy method a sector's number is that of the guest's sector; with LUKS it is where the
//! sector lies in the file. Compressed clusters are not encrypted. Format description, "Header"
//! (crypt_method), "Full disk encryption header pointer" and "Data encryption".

use super::super::crypt::luks::{Area, Luks};
use super::super::crypt::sector::SectorCipher;
use super::super::crypt::slots::{Caution, KeyChange};
use super::super::info::{EncryptionFacts, encryption_of};
use super::super::{ErrorKind, Image, ImageError, Result, SECTOR, Secret};
use super::Qcow2;
use super::address::{GuestOffset, HostOffset};
use super::header::{EncryptionMethod, Header};
use super::host::Barrier;
use crate::storage::Storage;

/// The largest area that is looked at: eight slots of the longest key take 2 MiB.
const MAX_AREA: u64 = 64 << 20;

/// What the guest data of one image is encrypted with.
#[derive(Debug)]
pub(super) struct Crypt {
    cipher: SectorCipher,
    numbering: Numbering,
}

/// What the number of a sector counts, on which its encryption depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Numbering {
    /// Sectors of the guest's disk.
    Guest,
    /// Sectors of the file that holds the data.
    Host,
}

/// The LUKS header of the image in `storage`.
pub(in super::super) fn read_luks(storage: &dyn Storage, header: &Header) -> Result<Luks> {
    let Some((at, len)) = header.extensions.luks_header() else {
        return Err(ImageError::corrupt(
            "the image is encrypted with LUKS, but does not say where its LUKS header lies",
        ));
    };
    if !at.is_aligned(&header.geometry) || len > MAX_AREA {
        let text = format!("a LUKS header of {len} bytes cannot lie there");
        return Err(ImageError::corrupt(text).at(at.0));
    }
    Luks::read(storage, Area { start: at.0, len })
}

fn password_wanted(method: &str) -> ImageError {
    ImageError::new(
        ErrorKind::Password,
        format!("the image is encrypted ({method}); give its password"),
    )
}

impl Crypt {
    /// The encryption of the image in `storage`, unlocked with its password; `None` if it has
    /// none.
    pub(super) fn open(
        storage: &dyn Storage,
        header: &Header,
        secret: Option<&Secret>,
    ) -> Result<Option<Self>> {
        match header.encryption {
            EncryptionMethod::None => Ok(None),
            EncryptionMethod::Aes => Ok(Some(Self {
                cipher: SectorCipher::legacy(secret.ok_or_else(|| password_wanted("AES"))?),
                numbering: Numbering::Guest,
            })),
            EncryptionMethod::Luks => {
                let luks = read_luks(storage, header)?;
                let secret = secret.ok_or_else(|| password_wanted("LUKS"))?;
                Ok(Some(Self {
                    cipher: luks.unlock(storage, secret)?.cipher(),
                    numbering: Numbering::Host,
                }))
            }
        }
    }

    fn number(&self, guest: GuestOffset, host: HostOffset) -> u64 {
        match self.numbering {
            Numbering::Guest => guest.0 / SECTOR,
            Numbering::Host => host.0 / SECTOR,
        }
    }

    /// Decrypts whole sectors, of which the first is at `guest` of the disk and at `host` of the
    /// file.
    pub(super) fn decrypt(&self, sectors: &mut [u8], guest: GuestOffset, host: HostOffset) {
        self.cipher.decrypt(sectors, self.number(guest, host));
    }

    /// Encrypts whole sectors, as [`Self::decrypt`] decrypts them.
    pub(super) fn encrypt(&self, sectors: &mut [u8], guest: GuestOffset, host: HostOffset) {
        self.cipher.encrypt(sectors, self.number(guest, host));
    }
}

impl Qcow2 {
    /// How guest data is encrypted.
    pub fn encryption(&self) -> Result<EncryptionFacts> {
        encryption_of(self.host.storage(), &self.header)
    }

    /// Adds or erases keys of the LUKS header; `secret` opens it now.
    ///
    /// Errors: [`ErrorKind::Unsupported`] for an image without a LUKS header; else those of
    /// [`Luks::change`].
    pub fn change_keys(
        &mut self,
        secret: Option<&Secret>,
        change: &KeyChange,
        caution: Caution,
    ) -> Result<()> {
        self.check_write(0, 0)?;
        if self.header.encryption != EncryptionMethod::Luks {
            return Err(ImageError::new(
                ErrorKind::Unsupported,
                "the image has no key slots: it is not encrypted with LUKS",
            ));
        }
        let secret = secret.ok_or_else(|| password_wanted("LUKS"))?;
        self.close()?;
        let mut luks = read_luks(self.host.storage(), &self.header)?;
        self.check_keys_apart(&luks)?;
        luks.change(self.host.storage(), secret, change, caution)?;
        self.host.barrier(Barrier::GuestFlush)
    }

    /// Fails if the area of the keys lies on other tables, which a change would destroy.
    fn check_keys_apart(&self, luks: &Luks) -> Result<()> {
        let Area { start, len } = luks.area();
        let overlap = &self.lock().space.overlap;
        overlap.check_keys(HostOffset(start), len, &self.geometry)
    }
}
