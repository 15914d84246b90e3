//! Big-endian fields of on-disk structures, and lengths of buffers.

/// The big-endian 64-bit field at byte `at`, if it lies inside `bytes`.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_be_bytes(field.try_into().ok()?))
}

/// The big-endian 32-bit field at byte `at`, if it lies inside `bytes`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(field.try_into().ok()?))
}

/// The big-endian 16-bit field at byte `at`, if it lies inside `bytes`.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(field.try_into().ok()?))
}

/// Writes `field` at byte `at`, which the caller knows to lie inside `bytes`.
pub(crate) fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes
        .split_at_mut(at)
        .1
        .split_at_mut(field.len())
        .0
        .copy_from_slice(field);
}

/// A length that was bounded before as the length of a buffer.
pub(crate) fn buffer_len(len: u64) -> usize {
    usize::try_from(len).expect("a bounded length fits the address space")
}

/// A buffer of `len` zero bytes; `len` was bounded before.
pub(crate) fn zeroed(len: u64) -> Vec<u8> {
    vec![0; buffer_len(len)]
}
