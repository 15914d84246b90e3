//! Keys from passwords: PBKDF2 over HMAC with the hashes that LUKS1 names.
//!
//! RFC 8018, section 5.2.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroizing;

/// Hashes that a LUKS header may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SHA-1
    Sha1,
    /// SHA-256
    Sha256,
    /// SHA-512
    Sha512,
}

impl Hash {
    /// The digest of the pieces, one after the other.
    pub(super) fn digest(self, pieces: &[&[u8]]) -> Zeroizing<Vec<u8>> {
        fn of<D: Digest>(pieces: &[&[u8]]) -> Vec<u8> {
            let mut digest = D::new();
            pieces.iter().for_each(|piece| digest.update(piece));
            digest.finalize().to_vec()
        }
        Zeroizing::new(match self {
            Self::Sha1 => of::<Sha1>(pieces),
            Self::Sha256 => of::<Sha256>(pieces),
            Self::Sha512 => of::<Sha512>(pieces),
        })
    }

    /// Bytes of a digest.
    pub(super) fn len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// A key of `len` bytes from a password.
    pub(super) fn derive(
        self,
        password: &[u8],
        salt: &[u8],
        iterations: u32,
        len: usize,
    ) -> Zeroizing<Vec<u8>> {
        let mut key = Zeroizing::new(vec![0; len]);
        match self {
            Self::Sha1 => pbkdf2::pbkdf2_hmac::<Sha1>(password, salt, iterations, &mut key),
            Self::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut key),
            Self::Sha512 => pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, iterations, &mut key),
        }
        key
    }

    /// How many iterations a key of `len` bytes can have in `time` on this machine.
    pub(super) fn iterations_in(self, time: Duration, len: usize) -> u64 {
        let mut tried = 1000;
        loop {
            let start = Instant::now();
            self.derive(b"password", b"salt", tried, len);
            let spent = start.elapsed();
            if spent >= Duration::from_millis(5) || tried > 1 << 24 {
                let nanos = u128::from(tried) * time.as_nanos() / spent.as_nanos().max(1);
                return u64::try_from(nanos).unwrap_or(u64::MAX);
            }
            tried *= 4;
        }
    }
}

impl FromStr for Hash {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "sha1" => Ok(Self::Sha1),
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ => Err(()),
        }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6070, the second vector.
    #[test]
    fn pbkdf2_gives_the_vector_of_the_rfc() {
        let key = Hash::Sha1.derive(b"password", b"salt", 2, 20);
        let expected = 0xea6c_014d_c72d_2d1e_u64.to_be_bytes();
        assert_eq!(key[..4], expected[..4]);
        assert_eq!(key.len(), 20);
    }

    #[test]
    fn a_longer_time_has_more_iterations() {
        let short = Hash::Sha256.iterations_in(Duration::from_millis(1), 32);
        let long = Hash::Sha256.iterations_in(Duration::from_millis(1000), 32);
        assert!(long > short);
    }
}
