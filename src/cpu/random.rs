//! What RDRAND and RDSEED give: a stream of numbers that follows from the machine's seed, so that
//! a run repeats exactly (Intel SDM volume 1, section 7.3.17).
//!
//! The stream never runs dry; CF is always set. It serves guests in a laboratory, not secrets.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The stream, and how much of it was drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RandomStream {
    key: [u8; 32],
    drawn: u64,
}

impl RandomStream {
    /// The stream that follows from `key`.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key, drawn: 0 }
    }

    /// The next number: from SHA-256 over the key and how many there were before.
    pub fn draw(&mut self) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(self.drawn.to_le_bytes());
        self.drawn += 1;
        let digest: [u8; 32] = hash.finalize().into();
        digest
            .iter()
            .take(8)
            .fold(0, |number, &byte| number << 8 | u64::from(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_follows_from_its_key() {
        let draw = |key| {
            let mut stream = RandomStream::new([key; 32]);
            [stream.draw(), stream.draw(), stream.draw()]
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let [first, second, third] = draw(1);
        assert!(first != second && second != third);
    }
}
