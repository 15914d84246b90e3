//! What an instruction can see and change, and how two outcomes are compared.

use std::fmt;
use std::sync::OnceLock;

use super::random::Random;

/// The size of the scratch memory.
pub(crate) const MEMORY_BYTES: u64 = 4096;
/// The part of it that is filled, compared and restored, in its middle.
pub(crate) const WINDOW: u64 = 1024;

/// The flags that are set and compared.
pub(crate) const FLAGS: u64 = 0xcd5;

/// Registers and memory around one instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) general: [u64; 16],
    pub(crate) flags: u64,
    pub(crate) ymm: [[u128; 2]; 16],
    pub(crate) mxcsr: u32,
    pub(crate) mmx: [u64; 8],
    pub(crate) memory: Vec<u8>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The exception's vector, if there was one.
    pub(crate) fault: Option<u8>,
    pub(crate) state: State,
}

impl State {
    pub(crate) fn random(random: &mut Random) -> Self {
        let ymm = std::array::from_fn(|_| [vector(random), vector(random)]);
        // All exceptions masked, mostly; any rounding, DAZ and FTZ.
        let modes = random.next() as u32 & 0xe07f;
        let masks = match random.below(8) {
            0 => random.next() as u32 & 0x1f80,
            _ => 0x1f80,
        };
        let memory = (0..WINDOW / 8).flat_map(|_| random.value().to_le_bytes());
        let memory = memory.collect();
        Self {
            memory,
            ymm,
            mxcsr: modes | masks,
            mmx: std::array::from_fn(|_| random.value()),
            general: std::array::from_fn(|_| random.value()),
            flags: random.next() & FLAGS | 2,
        }
    }
}

/// Makes every NaN among the numbers of `bits` bits in a register the same one.
pub(crate) fn unite_nans(vector: &mut [u128; 2], bits: u32) {
    let infinity: u128 = if bits == 32 { 0x7f80_0000 } else { 0x7ff << 52 };
    let magnitude = (1 << (bits - 1)) - 1;
    for lane in vector {
        for at in (0..128).step_by(bits as usize) {
            if *lane >> at & magnitude > infinity {
                *lane |= (magnitude << 1 | 1) << at;
            }
        }
    }
}

/// 128 bits: quadwords, or singles or doubles among which the special ones are frequent.
fn vector(random: &mut Random) -> u128 {
    const SINGLES: [u32; 12] = [
        0,
        1,
        0x7f_ffff,
        0x80_0000,
        0x3f80_0000,
        0x7f7f_ffff,
        0x7f80_0000,
        0x7f80_0001,
        0x7fc0_0000,
        0x7fff_ffff,
        0x4b00_0001,
        0x4f00_0000,
    ];
    let double = |random: &mut Random| {
        let exponent = match random.below(4) {
            0 => [0, 1, 0x7ff, 0x3ff, 0x41e, 0x43e][random.below(6) as usize],
            _ => 0x3f0 + random.below(32),
        };
        let fraction = match random.below(4) {
            0 => [0, 1, 1 << 51, (1 << 52) - 1][random.below(4) as usize],
            _ => random.next() >> 12,
        };
        random.below(2) << 63 | exponent << 52 | fraction
    };
    let single = |random: &mut Random| {
        let magnitude = match random.below(3) {
            0 => SINGLES[random.below(12) as usize],
            _ => (random.next() as u32 & 0x7fff_ffff) % 0x1000_0000 + 0x3800_0000,
        };
        u64::from(magnitude | (random.next() as u32) << 31)
    };
    let quadword = |random: &mut Random| random.value();
    let kind = random.below(3);
    let mut half = || match kind {
        0 => quadword(random),
        1 => double(random),
        _ => single(random) | single(random) << 32,
    };
    u128::from(half()) << 64 | u128::from(half())
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "regs {:x?} flags {:x}", self.general, self.flags)?;
        write!(f, "\n  ymm {:x?}", self.ymm)?;
        write!(f, "\n  mmx {:x?} mxcsr {:x}", self.mmx, self.mxcsr)
    }
}

/// Where the scratch memory lies, natively and in our guest.
pub(crate) fn memory_address() -> u64 {
    static ADDRESS: OnceLock<u64> = OnceLock::new();
    *ADDRESS.get_or_init(|| super::native::map_pages(MEMORY_BYTES as usize) as u64)
}

/// Where the part of it lies that is filled and compared: a multiple of 64.
pub(crate) fn window_address() -> u64 {
    memory_address() + MEMORY_BYTES / 2 - WINDOW / 2
}

/// The first difference between the two, if there is one.
pub(crate) fn difference(theirs: &Outcome, ours: &Outcome, undefined_flags: u64) -> Option<String> {
    if theirs.fault != ours.fault {
        let (x, y) = (theirs.fault, ours.fault);
        return Some(format!("fault: host {x:?} ours {y:?}"));
    }
    let (a, b) = (&theirs.state, &ours.state);
    for n in 0..16 {
        if a.general[n] != b.general[n] {
            let (x, y) = (a.general[n], b.general[n]);
            return Some(format!("r{n}: host {x:x} ours {y:x}"));
        }
    }
    for n in 0..16 {
        if a.ymm[n] != b.ymm[n] {
            let (x, y) = (a.ymm[n], b.ymm[n]);
            return Some(format!("ymm{n}: host {x:032x?} ours {y:032x?}"));
        }
    }
    if a.mxcsr != b.mxcsr {
        return Some(format!("mxcsr: host {:x} ours {:x}", a.mxcsr, b.mxcsr));
    }
    let flags = |s: &State| s.flags & FLAGS & !undefined_flags;
    if flags(a) != flags(b) {
        return Some(format!("flags: host {:x} ours {:x}", flags(a), flags(b)));
    }
    for n in 0..8 {
        if a.mmx[n] != b.mmx[n] {
            return Some(format!("mm{n}: host {:x} ours {:x}", a.mmx[n], b.mmx[n]));
        }
    }
    let differs = a.memory.iter().zip(&b.memory).position(|(x, y)| x != y)?;
    let (x, y) = (a.memory[differs], b.memory[differs]);
    Some(format!("memory +{differs:#x}: host {x:02x} ours {y:02x}"))
}
