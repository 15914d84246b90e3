//! What an instruction can see and change, and how two outcomes are compared.

use std::fmt;
use std::sync::OnceLock;

use super::random::Random;

/// The size of the scratch memory.
pub(crate) const MEMORY_BYTES: u64 = 4096;
/// The part of it that is filled, compared and restored, in its middle.
pub(crate) const WINDOW: u64 = 256;

/// The flags that are set and compared.
pub(crate) const FLAGS: u64 = 0x8d5;

/// Registers and memory around one instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) general: [u64; 16],
    pub(crate) flags: u64,
    pub(crate) xmm: [u128; 16],
    pub(crate) mmx: [u64; 8],
    pub(crate) memory: Vec<u8>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done(Box<State>),
    /// The exception's vector.
    Fault(u8),
}

impl State {
    pub(crate) fn random(random: &mut Random) -> Self {
        let mut vector = || {
            let (low, high) = (random.value(), random.value());
            u128::from(high) << 64 | u128::from(low)
        };
        let xmm = std::array::from_fn(|_| vector());
        let memory = (0..WINDOW / 8).flat_map(|_| random.value().to_le_bytes());
        let memory = memory.collect();
        Self {
            memory,
            xmm,
            mmx: std::array::from_fn(|_| random.value()),
            general: std::array::from_fn(|_| random.value()),
            flags: random.next() & FLAGS | 2,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "regs {:x?} flags {:x}", self.general, self.flags)?;
        write!(f, "\n  xmm {:x?} mmx {:x?}", self.xmm, self.mmx)
    }
}

/// Where the scratch memory lies, natively and in our guest.
pub(crate) fn memory_address() -> u64 {
    static ADDRESS: OnceLock<u64> = OnceLock::new();
    *ADDRESS.get_or_init(|| super::native::map_pages(MEMORY_BYTES as usize) as u64)
}

/// The first difference between the two, if there is one.
pub(crate) fn difference(theirs: &Outcome, ours: &Outcome, undefined_flags: u64) -> Option<String> {
    let (a, b) = match (theirs, ours) {
        (Outcome::Done(a), Outcome::Done(b)) => (a, b),
        _ if theirs == ours => return None,
        (Outcome::Fault(vector), _) => return Some(format!("host faults with {vector}, not we")),
        (_, Outcome::Fault(vector)) => {
            return Some(format!("we fault with {vector}, not the host"));
        }
    };
    for n in (0..16).filter(|&n| n != 4) {
        if a.general[n] != b.general[n] {
            return Some(format!(
                "r{n}: host {:x} ours {:x}",
                a.general[n], b.general[n]
            ));
        }
        if a.xmm[n] != b.xmm[n] {
            return Some(format!("xmm{n}: host {:x} ours {:x}", a.xmm[n], b.xmm[n]));
        }
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
