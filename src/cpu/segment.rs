//! Segment registers and their descriptor caches (Intel SDM volume 3, sections 3.4 and 5.2).
//!
//! Beside base, limit and attributes a cache holds two precomputed bounds, so that the common
//! access needs one comparison: an access of n bytes at offset o is fine if o + n is at most
//! the bound. A segment that cannot be decided so (not readable, expand-down) has bound 0 and
//! takes the slow path.

use serde::{Deserialize, Serialize};

/// Index of ES.
pub const ES: u8 = 0;
/// Index of CS.
pub const CS: u8 = 1;
/// Index of SS.
pub const SS: u8 = 2;
/// Index of DS.
pub const DS: u8 = 3;
/// Index of FS.
pub const FS: u8 = 4;
/// Index of GS.
pub const GS: u8 = 5;
/// The flat data segment of 64-bit mode: what DS, ES and CS overrides mean there.
pub const FLAT: u8 = 6;
/// The flat stack segment of 64-bit mode: as [`FLAT`], but faults are #SS.
pub const FLAT_STACK: u8 = 7;

/// Descriptor attributes: bits 7..0 are byte 5 of the descriptor (type, S, DPL, P), bits
/// 15..12 the upper half of byte 6 (AVL, L, D/B, G).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes(pub u16);

impl Attributes {
    /// The type field, 0 to 15.
    pub fn kind(self) -> u8 {
        (self.0 & 15) as u8
    }

    /// S: a code or data segment, not a system one.
    pub fn is_code_or_data(self) -> bool {
        self.0 & 0x10 != 0
    }

    /// Descriptor privilege level.
    pub fn dpl(self) -> u8 {
        ((self.0 >> 5) & 3) as u8
    }

    /// P.
    pub fn present(self) -> bool {
        self.0 & 0x80 != 0
    }

    /// A code segment.
    pub fn is_code(self) -> bool {
        self.is_code_or_data() && self.0 & 8 != 0
    }

    /// A code segment that runs at its caller's privilege.
    pub fn is_conforming(self) -> bool {
        self.is_code() && self.0 & 4 != 0
    }

    /// Data, or code that may be read.
    pub fn is_readable(self) -> bool {
        self.is_code_or_data() && (self.0 & 8 == 0 || self.0 & 2 != 0)
    }

    /// Writable data.
    pub fn is_writable(self) -> bool {
        self.is_code_or_data() && self.0 & 10 == 2
    }

    /// Data whose valid offsets lie above the limit.
    pub fn is_expand_down(self) -> bool {
        self.is_code_or_data() && self.0 & 12 == 4
    }

    /// L: 64-bit code.
    pub fn long(self) -> bool {
        self.0 & 0x2000 != 0
    }

    /// D/B: 32-bit code, stack or upper bound.
    pub fn big(self) -> bool {
        self.0 & 0x4000 != 0
    }

    /// G: the limit counts 4 KiB pages.
    pub fn granular(self) -> bool {
        self.0 & 0x8000 != 0
    }
}

/// A segment register: the selector and the descriptor behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The visible selector.
    pub selector: u16,
    /// The base, as a linear address.
    pub base: u64,
    /// The last valid offset (of expand-down segments: the last invalid one).
    pub limit: u32,
    /// The attributes. All zero: the null selector.
    pub attributes: Attributes,
    read_end: u64,
    write_end: u64,
}

impl Default for Segment {
    fn default() -> Self {
        Self::new(0, 0, 0, Attributes(0))
    }
}

impl Segment {
    /// A segment with these properties; the limit is in bytes.
    pub fn new(selector: u16, base: u64, limit: u32, attributes: Attributes) -> Self {
        let usable = attributes.present() && !attributes.is_expand_down();
        let end = u64::from(limit) + 1;
        let bound = |allowed: bool| if usable && allowed { end } else { 0 };
        Self {
            selector,
            base,
            limit,
            attributes,
            read_end: bound(attributes.is_readable()),
            write_end: bound(attributes.is_writable()),
        }
    }

    /// A segment of real or virtual-8086 mode: base from the selector, 64 KiB.
    pub fn real(selector: u16) -> Self {
        Self::new(selector, u64::from(selector) << 4, 0xffff, Attributes(0x93))
    }

    /// A segment of virtual-8086 mode: as in real mode, at privilege 3.
    pub fn virtual_8086(selector: u16) -> Self {
        Self::new(selector, u64::from(selector) << 4, 0xffff, Attributes(0xf3))
    }

    /// A null selector: no access through it is allowed.
    pub fn null(selector: u16) -> Self {
        Self::new(selector, 0, 0, Attributes(0))
    }

    /// The null SS of 64-bit mode, at the privilege of its RPL.
    pub fn null_stack(selector: u16) -> Self {
        let dpl = (selector & 3) << 5;
        Self::new(selector, 0, 0, Attributes(dpl))
    }

    /// A segment of 64-bit mode: no limit, no rights to check.
    pub fn flat(selector: u16, base: u64) -> Self {
        Self {
            read_end: u64::MAX,
            write_end: u64::MAX,
            ..Self::new(selector, base, u32::MAX, Attributes(0xa093))
        }
    }

    /// The same segment without its bounds, as FS and GS are in 64-bit mode.
    pub fn unbounded(self) -> Self {
        Self {
            read_end: u64::MAX,
            write_end: u64::MAX,
            ..self
        }
    }

    /// Offsets plus sizes up to here can be read without further checks.
    #[inline(always)]
    pub fn read_end(&self) -> u64 {
        self.read_end
    }

    /// Offsets plus sizes up to here can be written without further checks.
    #[inline(always)]
    pub fn write_end(&self) -> u64 {
        self.write_end
    }

    /// Whether `bytes` bytes at `offset` lie within the limit (section 5.3).
    pub fn covers(&self, offset: u64, bytes: u64) -> bool {
        let last = offset.wrapping_add(bytes - 1);
        if self.attributes.is_expand_down() {
            let top = if self.attributes.big() {
                0xffff_ffff
            } else {
                0xffff
            };
            offset > u64::from(self.limit) && last <= top && last >= offset
        } else {
            last <= u64::from(self.limit) && last >= offset
        }
    }

    /// The selector's requested privilege level.
    pub fn rpl(&self) -> u8 {
        (self.selector & 3) as u8
    }

    /// Whether the register holds a null selector.
    pub fn is_null(&self) -> bool {
        !self.attributes.present()
    }
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRegister {
    /// The linear address of entry 0.
    pub base: u64,
    /// The offset of the last valid byte.
    pub limit: u16,
}
