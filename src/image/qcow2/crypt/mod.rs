//! Encryption of guest data: the legacy method (AES-128-CBC with the password as key) and LUKS1.
//!
//! ```text
//!   password ──derive──> slot key ──sector──> key material ──split──> master key
//!                                                                         │
//!   guest sectors <──────────────── sector (AES, XTS or CBC, an IV per sector) <──┘
//! ```
//!
//! [`luks`] is the LUKS header with its key slots, [`split`] the anti-forensic splitter, [`derive`]
//! passwords to keys, [`sector`] the ciphers. Keys are wiped from memory when they are dropped. In
//! the legacy method a sector's number is that of the guest's sector; with LUKS it is where the
//! sector lies in the file. Compressed clusters are not encrypted. Format description, "Header"
//! (crypt_method), "Full disk encryption header pointer" and "Data encryption".

pub mod derive;
pub mod luks;
pub mod sector;
mod split;

use super::super::{ErrorKind, ImageError, Result, SECTOR, Secret};
use super::address::{GuestOffset, HostOffset};
use super::header::{EncryptionMethod, Header};
use crate::storage::Storage;
use sector::SectorCipher;

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

impl Crypt {
    /// The encryption of the image in `storage`, unlocked with its password; `None` if it has
    /// none.
    pub(super) fn open(
        storage: &dyn Storage,
        header: &Header,
        secret: Option<&Secret>,
    ) -> Result<Option<Self>> {
        let wanted = |method: &str| {
            ImageError::new(
                ErrorKind::Password,
                format!("the image is encrypted ({method}); give its password"),
            )
        };
        match header.encryption {
            EncryptionMethod::None => Ok(None),
            EncryptionMethod::Aes => Ok(Some(Self {
                cipher: SectorCipher::legacy(secret.ok_or_else(|| wanted("AES"))?),
                numbering: Numbering::Guest,
            })),
            EncryptionMethod::Luks => {
                let luks = luks::Luks::read(storage, header)?;
                let secret = secret.ok_or_else(|| wanted("LUKS"))?;
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
