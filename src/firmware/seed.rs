//! The seed: what a machine without a source of entropy gives its guest as randomness.
//!
//! A run repeats exactly if its inputs do, so randomness is an input too. One number from the user
//! becomes as many independent byte strings as there are places that hand them out, each named by
//! its purpose.

use sha2::{Digest, Sha256};

/// The number that all randomness of a machine follows from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// How many bytes a purpose gets.
    pub const BYTES: usize = 32;

    /// The bytes for `purpose`: SHA-256 over its name, a zero, and the number in little-endian.
    pub fn bytes(self, purpose: &str) -> [u8; Self::BYTES] {
        let mut hash = Sha256::new();
        hash.update(purpose);
        hash.update([0]);
        hash.update(self.0.to_le_bytes());
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_follow_from_number_and_purpose() {
        assert_eq!(Seed(7).bytes("kernel"), Seed(7).bytes("kernel"));
        assert_ne!(Seed(7).bytes("kernel"), Seed(8).bytes("kernel"));
        assert_ne!(Seed(7).bytes("kernel"), Seed(7).bytes("other"));
    }
}
