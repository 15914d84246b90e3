//! The segments that 32-bit and 16-bit code runs with: Linux's own flat ones, and an LDT in which
//! is everything that user code can meet. Intel SDM volume 3, section 3.4.5.

use cowbox::cpu::Segment;
use cowbox::cpu::segment::Attributes;

use super::layout::{CODE, SCRATCH};
use super::random::Random;

/// 64-bit code, 32-bit code and data of the GDT.
pub(crate) const CODE64: u16 = 0x33;
pub(crate) const CODE32: u16 = 0x23;
pub(crate) const FLAT: u16 = 0x2b;

/// Numbers of segment registers.
pub(crate) const ES: usize = 0;
pub(crate) const CS: usize = 1;
pub(crate) const SS: usize = 2;
pub(crate) const DS: usize = 3;
pub(crate) const FS: usize = 4;
pub(crate) const GS: usize = 5;

/// The GDT as Linux has it, up to its user segments.
pub(crate) const GDT: [u64; 16] = {
    let mut table = [0; 16];
    table[1] = 0x00cf_9b00_0000_ffff;
    table[2] = 0x00af_9b00_0000_ffff;
    table[3] = 0x00cf_9300_0000_ffff;
    table[4] = 0x00cf_fb00_0000_ffff;
    table[5] = 0x00cf_f300_0000_ffff;
    table[6] = 0x00af_fb00_0000_ffff;
    table
};

/// An entry of the LDT.
pub(crate) struct Entry {
    pub(crate) base: u32,
    /// In bytes, or in pages if `granular`.
    pub(crate) limit: u32,
    pub(crate) kind: Kind,
    pub(crate) big: bool,
    pub(crate) granular: bool,
    pub(crate) present: bool,
}

/// What kind of segment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    ReadOnly,
    Data,
    ReadOnlyDown,
    DataDown,
    ExecuteOnly,
    Code,
}

impl Kind {
    /// The type field of the descriptor, accessed.
    fn bits(self) -> u64 {
        match self {
            Self::ReadOnly => 1,
            Self::Data => 3,
            Self::ReadOnlyDown => 5,
            Self::DataDown => 7,
            Self::ExecuteOnly => 9,
            Self::Code => 11,
        }
    }
}

const fn entry(base: u64, limit: u32, kind: Kind, size: Size) -> Entry {
    Entry {
        base: base as u32,
        limit,
        kind,
        big: !matches!(size, Size::Small),
        granular: matches!(size, Size::BigPages),
        present: true,
    }
}

/// D/B and G.
#[derive(Clone, Copy)]
enum Size {
    Small,
    Big,
    BigPages,
}
use Size::{Big, BigPages, Small};

/// Where a linear address wraps at 4 GiB within the segment.
const WRAPPING: u64 = SCRATCH + 0x8000_0000;

/// The LDT.
pub(crate) const ENTRIES: [Entry; 21] = [
    entry(CODE, 0xffff, Kind::Code, Small),
    entry(CODE - 0x400, 0xffff, Kind::Code, Small),
    entry(CODE, 0xffff, Kind::ExecuteOnly, Small),
    entry(CODE, 0xf_ffff, Kind::Code, BigPages),
    entry(CODE - 0x400, 0x1_0fff, Kind::Code, Big),
    entry(CODE, 0xffff, Kind::ExecuteOnly, Big),
    // Data that reaches the window.
    entry(SCRATCH, 0xffff, Kind::Data, Small),
    entry(SCRATCH + 0x20, 0xffff, Kind::Data, Big),
    entry(SCRATCH - 0x1000, 0xf_ffff, Kind::Data, BigPages),
    entry(SCRATCH + 0x13, 0xffff, Kind::Data, Small),
    // Data that ends in the middle of the window, or begins there.
    entry(SCRATCH, 0x8007, Kind::Data, Small),
    entry(SCRATCH, 0x8007, Kind::Data, Big),
    entry(SCRATCH, 0x8003, Kind::DataDown, Small),
    entry(SCRATCH, 0x8003, Kind::DataDown, Big),
    entry(SCRATCH - 0xc00, 8, Kind::DataDown, BigPages),
    entry(WRAPPING, 0xf_ffff, Kind::Data, BigPages),
    // What cannot be written, or read.
    entry(SCRATCH, 0xffff, Kind::ReadOnly, Big),
    entry(SCRATCH, 0x7fff, Kind::ReadOnlyDown, Small),
    entry(SCRATCH, 0xffff, Kind::ExecuteOnly, Small),
    entry(SCRATCH, 0xffff, Kind::Code, Big),
    Entry {
        present: false,
        ..entry(SCRATCH, 0xffff, Kind::Data, Small)
    },
];

/// Places in [`ENTRIES`].
const CODE16_ENTRIES: [usize; 3] = [0, 1, 2];
const CODE32_ENTRIES: [usize; 3] = [3, 4, 5];
const PLAIN_DATA: [usize; 4] = [6, 7, 8, 9];
const ODD_DATA: [usize; 9] = [10, 11, 12, 13, 14, 15, 16, 17, 19];
const ODD_STACKS: [usize; 6] = [10, 11, 12, 13, 14, 15];

impl Entry {
    /// The descriptor.
    pub(crate) fn descriptor(&self) -> u64 {
        let (base, limit) = (u64::from(self.base), u64::from(self.limit));
        let flags = u64::from(self.granular) << 3 | u64::from(self.big) << 2;
        let access = 0x70 | self.kind.bits() | u64::from(self.present) << 7;
        limit & 0xffff
            | (base & 0xff_ffff) << 16
            | access << 40
            | (limit >> 16) << 48
            | flags << 52
            | (base >> 24) << 56
    }
}

/// The selector of an entry of the LDT.
fn selector(entry: usize) -> u16 {
    (entry as u16) << 3 | 7
}

fn descriptor(selector: u16) -> u64 {
    let index = usize::from(selector >> 3);
    match selector & 4 {
        0 => GDT[index],
        _ => ENTRIES[index].descriptor(),
    }
}

/// The segment register after a selector was loaded. Null selectors are allowed.
pub(crate) fn segment(selector: u16) -> Segment {
    if selector < 4 {
        return Segment::null(selector);
    }
    let descriptor = descriptor(selector);
    let attributes = Attributes((descriptor >> 40 & 0xf0ff) as u16);
    let limit = (descriptor & 0xffff | descriptor >> 32 & 0xf_0000) as u32;
    let limit = match attributes.granular() {
        true => limit << 12 | 0xfff,
        false => limit,
    };
    Segment::new(selector, base(selector), limit, attributes)
}

/// The base of a selector's segment.
pub(crate) fn base(selector: u16) -> u64 {
    if selector < 4 {
        return 0;
    }
    let descriptor = descriptor(selector);
    descriptor >> 16 & 0xff_ffff | descriptor >> 56 << 24
}

/// A code segment for code of `bits` bits. `low`: instruction pointers fit into 16 bits.
pub(crate) fn draw_code(bits: u32, low: bool, random: &mut Random) -> u16 {
    match bits {
        64 => CODE64,
        32 if !low && !random.one_in(4) => CODE32,
        32 => selector(random.pick(&CODE32_ENTRIES)),
        _ => selector(random.pick(&CODE16_ENTRIES)),
    }
}

/// Selectors for all six registers: mostly ones through which the window can be reached.
pub(crate) fn draw(bits: u32, code: u16, random: &mut Random) -> [u16; 6] {
    let mut selectors = [0; 6];
    if bits == 64 {
        selectors[CS] = CODE64;
        selectors[SS] = FLAT;
        return selectors;
    }
    let flat = bits == 32 && !random.one_in(3);
    for (n, chosen) in selectors.iter_mut().enumerate() {
        *chosen = match n {
            CS => code,
            SS if random.one_in(24) => selector(random.pick(&ODD_STACKS)),
            DS | ES | FS | GS if random.one_in(24) => selector(random.pick(&ODD_DATA)),
            FS | GS if random.one_in(16) => random.below(4) as u16,
            _ if flat => FLAT,
            _ => selector(random.pick(&PLAIN_DATA)),
        };
    }
    selectors
}

/// A selector that a program loads into a segment register, good or bad.
pub(crate) fn draw_selector(random: &mut Random) -> u16 {
    match random.below(16) {
        0 => random.below(4) as u16,
        1 => random.pick(&[8, 0x10, 0x18, 0x1b]),
        2 => random.pick(&[CODE32, CODE64]),
        // Behind the end of the LDT, and a hole in it.
        3 => random.pick(&[0xffff, selector(ENTRIES.len())]),
        4 => selector(random.below(ENTRIES.len() as u64) as usize) & !3 | random.below(4) as u16,
        5 | 6 => FLAT,
        7 | 8 => selector(random.pick(&ODD_STACKS)),
        _ => selector(random.pick(&PLAIN_DATA)),
    }
}

/// A selector that may be loaded into SS, mostly.
pub(crate) fn draw_stack_selector(random: &mut Random) -> u16 {
    match random.below(24) {
        0 => draw_selector(random),
        1..6 => FLAT,
        6..10 => selector(random.pick(&ODD_STACKS)),
        _ => selector(random.pick(&PLAIN_DATA)),
    }
}
