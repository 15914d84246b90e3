//! How a new LUKS header encrypts: QEMU's options and what they are without being given.

use std::time::Duration;

use super::super::{ErrorKind, ImageError, Result, Secret};
use super::derive::Hash;
use super::sector::{CipherSpec, IvKind, KeyLength, Mode};

/// How the data of a new image is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LuksOptions {
    /// `key-secret`
    pub secret: Secret,
    /// `cipher-alg`, `cipher-mode`, `ivgen-alg`, `ivgen-hash-alg`
    pub cipher: CipherSpec,
    /// `hash-alg`
    pub hash: Hash,
    /// `iter-time`: how long deriving the key from the password takes.
    pub iteration_time: Duration,
}

impl LuksOptions {
    /// How long deriving a key takes by default.
    pub const ITERATION_TIME: Duration = Duration::from_secs(2);

    /// QEMU's choices for an image with this password.
    pub fn new(secret: Secret) -> Self {
        Self {
            secret,
            cipher: CipherSpec {
                key: KeyLength::Aes256,
                mode: Mode::Xts,
                iv: IvKind::Plain64,
            },
            hash: Hash::Sha256,
            iteration_time: Self::ITERATION_TIME,
        }
    }

    /// Sets one of QEMU's options except the password: `cipher-alg`, `cipher-mode`, `ivgen-alg`,
    /// `ivgen-hash-alg`, `hash-alg`, `iter-time` (milliseconds).
    ///
    /// Errors: [`ErrorKind::Invalid`] for an option or value that is not known, which it names.
    pub fn set(&mut self, option: &str, value: &str) -> Result<()> {
        let cipher = &mut self.cipher;
        let known = match option {
            "cipher-alg" => value.parse().map(|key| cipher.key = key).is_ok(),
            "cipher-mode" => value.parse().map(|mode| cipher.mode = mode).is_ok(),
            "ivgen-alg" if value == "essiv" => {
                cipher.iv = IvKind::EssivSha256;
                true
            }
            "ivgen-alg" => value.parse().map(|iv| cipher.iv = iv).is_ok(),
            // The only one with a digest that is a key of AES; without essiv it means nothing.
            "ivgen-hash-alg" => value == "sha256",
            "hash-alg" => value.parse().map(|hash| self.hash = hash).is_ok(),
            "iter-time" => {
                let time = value.parse().map(Duration::from_millis);
                time.map(|time| self.iteration_time = time).is_ok()
            }
            "detached-header" => value == "off",
            _ => false,
        };
        if known {
            return Ok(());
        }
        Err(ImageError::new(
            ErrorKind::Invalid,
            format!(
                "option {}={} is not known or not supported; there are cipher-alg=aes-128|aes-192|\
                 aes-256, cipher-mode=xts|cbc, ivgen-alg=plain|plain64|essiv, \
                 ivgen-hash-alg=sha256, hash-alg=sha1|sha256|sha512 and iter-time=MILLISECONDS",
                option.escape_debug(),
                value.escape_debug()
            ),
        ))
    }
}
