//! Operand widths: 8, 16, 32 and 64 bits as types, so that each instruction stands once.

mod sealed {
    /// Only here may be said which types are widths: the fast path of memory reads and writes
    /// them through host pointers, for which any bytes have to be a value.
    pub trait Integer {}
}

/// An operand width, one of the four. All arithmetic wraps; all truncation of guest values goes
/// through here.
pub trait Width: sealed::Integer + Copy + Eq + std::fmt::Debug + 'static {
    /// The width in bits.
    const BITS: u32;
    /// The width in bytes.
    const BYTES: u64;
    /// The low bits of `value`.
    fn truncate(value: u64) -> Self;
    /// Zero-extended to 64 bits.
    fn zero_extend(self) -> u64;
    /// Sign-extended to 64 bits.
    fn sign_extend(self) -> u64;
    /// `N` little-endian bytes, zero-extended to a full word.
    fn from_bytes(bytes: [u8; 8]) -> Self {
        Self::truncate(u64::from_le_bytes(bytes))
    }
}

macro_rules! width {
    ($unsigned:ty, $signed:ty) => {
        impl sealed::Integer for $unsigned {}

        impl Width for $unsigned {
            const BITS: u32 = <$unsigned>::BITS;
            const BYTES: u64 = (<$unsigned>::BITS / 8) as u64;

            #[inline(always)]
            fn truncate(value: u64) -> Self {
                value as $unsigned
            }

            #[inline(always)]
            fn zero_extend(self) -> u64 {
                u64::from(self)
            }

            #[inline(always)]
            fn sign_extend(self) -> u64 {
                self as $signed as i64 as u64
            }
        }
    };
}

width!(u8, i8);
width!(u16, i16);
width!(u32, i32);
width!(u64, i64);
