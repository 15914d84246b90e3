//! The anti-forensic splitter: a key spread over thousands of stripes, all of which are needed to
//! get it back, so that overwriting any part of them on the disk destroys it.
//!
//! LUKS1 On-Disk Format Specification 1.2.3, section 2.4 and figure 2.

use zeroize::Zeroizing;

use super::derive::Hash;

/// The key in `material`, which holds whole stripes of `len` bytes.
pub(super) fn merge(material: &[u8], len: usize, hash: Hash) -> Zeroizing<Vec<u8>> {
    let mut state = Zeroizing::new(vec![0; len]);
    let mut stripes = material.chunks_exact(len);
    let last = stripes.next_back().unwrap_or(&[]);
    for stripe in stripes {
        xor(&mut state, stripe);
        state = diffuse(&state, hash);
    }
    xor(&mut state, last);
    state
}

/// Spreads `key` over the stripes in `material`, which is filled with random bytes: the last
/// stripe is set.
pub(super) fn split(key: &[u8], material: &mut [u8], hash: Hash) {
    let mut state = Zeroizing::new(vec![0; key.len()]);
    let mut stripes = material.chunks_exact_mut(key.len());
    let Some(last) = stripes.next_back() else {
        return;
    };
    for stripe in stripes {
        xor(&mut state, stripe);
        state = diffuse(&state, hash);
    }
    last.copy_from_slice(&state);
    xor(last, key);
}

/// Hashes each piece of a digest's length together with its number.
fn diffuse(bytes: &[u8], hash: Hash) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(bytes.len()));
    for (piece, number) in bytes.chunks(hash.len()).zip(0u32..) {
        let digest = hash.digest(&[&number.to_be_bytes(), piece]);
        out.extend(digest.iter().take(piece.len()));
    }
    out
}

fn xor(bytes: &mut [u8], with: &[u8]) {
    bytes.iter_mut().zip(with).for_each(|(a, b)| *a ^= b);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_all_its_stripes_only() {
        let key: Vec<u8> = (0..48).collect();
        for hash in [Hash::Sha1, Hash::Sha256, Hash::Sha512] {
            let mut material = vec![0x5a; 48 * 100];
            split(&key, &mut material, hash);
            assert_eq!(*merge(&material, 48, hash), key);
            material[48 * 50] ^= 1;
            assert_ne!(*merge(&material, 48, hash), key);
        }
    }
}
