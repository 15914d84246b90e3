//! A set of interrupt vectors: what IRR, ISR and TMR of a local APIC are.

use serde::{Deserialize, Serialize};

/// 256 bits, one a vector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VectorSet {
    words: [u32; 8],
}

impl VectorSet {
    pub(super) fn insert(&mut self, vector: u8) {
        if let Some(word) = self.words.get_mut(usize::from(vector >> 5)) {
            *word |= 1 << (vector & 31);
        }
    }

    pub(super) fn remove(&mut self, vector: u8) {
        if let Some(word) = self.words.get_mut(usize::from(vector >> 5)) {
            *word &= !(1 << (vector & 31));
        }
    }

    pub(super) fn contains(&self, vector: u8) -> bool {
        self.word(vector >> 5) & 1 << (vector & 31) != 0
    }

    /// The highest vector, which is the most urgent.
    pub(super) fn highest(&self) -> Option<u8> {
        let (index, word) = (0_u8..8).zip(self.words).rfind(|(_, w)| *w != 0)?;
        Some(index << 5 | (word.ilog2() & 31) as u8)
    }

    /// One of the eight 32-bit registers that show the set.
    pub(super) fn word(&self, index: u8) -> u32 {
        self.words.get(usize::from(index)).copied().unwrap_or(0)
    }
}
