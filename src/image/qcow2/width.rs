//! Refcounts inside a block: 1 to 64 bits wide, big endian from 16 bits on, below 8 bits packed
//! from the least significant bit of each byte.
//!
//! Format description, "Host cluster management".

use super::super::fields::buffer_len;

/// The count number `index` of `bytes`; 0 past the end.
pub(super) fn get(bytes: &[u8], index: u64, order: u32) -> u64 {
    let index = buffer_len(index);
    if order < 3 {
        let per_byte = 8 >> order;
        let shift = (index % per_byte) << order;
        let mask = u8::MAX >> (8 - (1 << order));
        let byte = bytes.get(index / per_byte).copied().unwrap_or(0);
        return u64::from((byte >> shift) & mask);
    }
    let width = 1usize << (order - 3);
    let field = bytes.get(index * width..(index + 1) * width).unwrap_or(&[]);
    field
        .iter()
        .fold(0, |value, &byte| (value << 8) | u64::from(byte))
}

/// Sets the count number `index` of `bytes` to `value`, which fits the width.
pub(super) fn set(bytes: &mut [u8], index: u64, order: u32, value: u64) {
    let index = buffer_len(index);
    let big_endian = value.to_be_bytes();
    if order < 3 {
        let per_byte = 8 >> order;
        let shift = (index % per_byte) << order;
        let mask = u8::MAX >> (8 - (1 << order));
        let [.., low] = big_endian;
        if let Some(byte) = bytes.get_mut(index / per_byte) {
            *byte = (*byte & !(mask << shift)) | ((low & mask) << shift);
        }
        return;
    }
    let width = 1usize << (order - 3);
    if let Some(field) = bytes.get_mut(index * width..(index + 1) * width) {
        field.copy_from_slice(big_endian.split_at(8 - width).1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_every_width_keep_to_their_place() {
        for order in 0..=6 {
            let max = u64::MAX >> (64 - (1u32 << order));
            let mut bytes = [0u8; 64];
            let count = (64 * 8) >> order;
            for i in 0..count {
                set(&mut bytes, i, order, (i * 7 + 1) & max);
            }
            for i in 0..count {
                assert_eq!(
                    get(&bytes, i, order),
                    (i * 7 + 1) & max,
                    "order {order} index {i}"
                );
            }
        }
    }

    #[test]
    fn narrow_counts_start_at_the_least_significant_bit() {
        let mut bytes = [0u8; 2];
        set(&mut bytes, 0, 1, 3);
        set(&mut bytes, 4, 1, 2);
        assert_eq!(bytes, [0b11, 0b10]);
    }
}
