//! Legacy encryption, method 1: AES-128 in CBC mode, sector by sector.
//!
//! The key is the password, cut or padded with zeros to 16 bytes; the initialisation vector is the
//! number of the guest's 512-byte sector, little endian ("plain64"). It offers little protection
//! and exists for images that have it. Format description, "Header" (crypt_method) and "AES".

use std::fmt;

use aes::Aes128;
use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};

use super::super::fields::buffer_len;
use super::super::{SECTOR, Secret};
use super::address::GuestOffset;

const BLOCK: usize = 16;

/// The cipher of one image.
pub(super) struct AesCbc {
    cipher: Aes128,
}

impl AesCbc {
    /// The cipher for a password.
    pub(super) fn new(password: &Secret) -> Self {
        let mut key = [0; BLOCK];
        key.iter_mut()
            .zip(password.bytes())
            .for_each(|(byte, given)| *byte = *given);
        Self {
            cipher: Aes128::new(&GenericArray::from(key)),
        }
    }

    /// Decrypts whole sectors, the first of which is the guest's sector at `offset`.
    pub(super) fn decrypt(&self, sectors: &mut [u8], offset: GuestOffset) {
        for (sector, number) in sectors
            .chunks_mut(buffer_len(SECTOR))
            .zip(offset.0 / SECTOR..)
        {
            let mut chain = vector(number);
            for block in sector.as_chunks_mut::<BLOCK>().0 {
                let encrypted = *block;
                self.cipher
                    .decrypt_block(GenericArray::from_mut_slice(block));
                xor(block, &chain);
                chain = encrypted;
            }
        }
    }

    /// Encrypts whole sectors, the first of which is the guest's sector at `offset`.
    pub(super) fn encrypt(&self, sectors: &mut [u8], offset: GuestOffset) {
        for (sector, number) in sectors
            .chunks_mut(buffer_len(SECTOR))
            .zip(offset.0 / SECTOR..)
        {
            let mut chain = vector(number);
            for block in sector.as_chunks_mut::<BLOCK>().0 {
                xor(block, &chain);
                self.cipher
                    .encrypt_block(GenericArray::from_mut_slice(block));
                chain = *block;
            }
        }
    }
}

impl fmt::Debug for AesCbc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AesCbc")
    }
}

/// The initialisation vector of a sector.
fn vector(sector: u64) -> [u8; BLOCK] {
    u128::from(sector).to_le_bytes()
}

fn xor(block: &mut [u8; BLOCK], with: &[u8; BLOCK]) {
    block
        .iter_mut()
        .zip(with)
        .for_each(|(byte, with)| *byte ^= with);
}
