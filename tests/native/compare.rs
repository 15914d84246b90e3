//! Two outcomes of one case, the host's and ours, compared.

use super::case::Case;
use super::layout::WINDOW_START;
use super::rules::{self, Judgement, Precision, Vendor};
use super::state::{End, FLAGS_COMPARED, Registers, State, image};

/// What is compared, and how.
pub(crate) struct Comparison {
    pub(crate) vendor: Vendor,
    pub(crate) judgement: Judgement,
    pub(crate) precision: Precision,
}

/// How an instruction ended, and what it left.
pub(crate) struct Outcome<'a> {
    pub(crate) end: End,
    pub(crate) state: &'a State,
}

impl Comparison {
    pub(crate) fn new(code: iced_x86::Code, bits: u32, vendor: Vendor) -> Self {
        Self {
            vendor,
            judgement: rules::judgement(code, bits, vendor),
            precision: rules::precision(code),
        }
    }

    /// The first difference, if there is one.
    pub(crate) fn difference(
        &self,
        case: &Case,
        before: &State,
        theirs: &Outcome<'_>,
        ours: &Outcome<'_>,
    ) -> Option<String> {
        if rules::returns_past_limit(case, theirs.end, ours.end) {
            return None;
        }
        if !rules::ends_agree(case, &before.registers, theirs.end, ours.end) {
            return Some(format!("host {:x?} ours {:x?}", theirs.end, ours.end));
        }
        let (a, b) = (&theirs.state.registers, &ours.state.registers);
        let undefined = match theirs.end {
            End::Fault { .. } => 0,
            _ => rules::undefined_flags(case, &before.registers),
        };
        let end = theirs.end;
        let open_mxcsr = rules::undefined_mxcsr(case, end);
        self.general(case, end, &before.registers, (a, b))
            .or_else(|| flags(a, b, undefined))
            .or_else(|| segments(case, a, b))
            .or_else(|| mxcsr(a, b, open_mxcsr))
            .or_else(|| self.vectors(a, b))
            .or_else(|| {
                let before = &before.registers;
                let difference = self.x87(case, before, (a, b))?;
                let may_enter = matches!(end, End::Fault { .. }) && case.uses_mmx();
                let entered = may_enter.then(|| rules::entered_mmx(b, a));
                entered.map_or(Some(difference), |b| self.x87(case, before, (a, &b)))
            })
            .or_else(|| self.memory(case, &before.registers, theirs, ours))
    }

    fn general(
        &self,
        case: &Case,
        end: End,
        before: &Registers,
        (a, b): (&Registers, &Registers),
    ) -> Option<String> {
        let (count, mask) = match case.bits {
            64 if rules::clears_high_halves(case, before, (end, self.vendor)) => (16, 0xffff_ffff),
            64 => (16, u64::MAX),
            _ => (8, 0xffff_ffff),
        };
        for n in 0..count {
            let own = match self.judgement {
                Judgement::Property => rules::own_bits(case, n),
                _ => 0,
            };
            let mask = mask & !rules::undefined_bits(case, n, end) & !own;
            let (x, y) = (a.general[n] & mask, b.general[n] & mask);
            if x != y {
                return Some(format!("r{n}: host {x:x} ours {y:x}"));
            }
        }
        None
    }

    fn vectors(&self, a: &Registers, b: &Registers) -> Option<String> {
        let same = |range: std::ops::Range<usize>| a.image[range.clone()] == b.image[range];
        if same(image::XMM..image::AFTER_XMM) && same(image::YMM_HIGH..image::BYTES) {
            return None;
        }
        for n in 0..16 {
            let [x, y] = [a, b].map(|r| [r.lane(n, 0), r.lane(n, 1)].concat());
            let close = match self.precision {
                Precision::Reciprocal => rules::reciprocals_agree(&x, &y),
                _ => x == y,
            };
            if !close {
                let [x, y] = [a, b].map(|r| [1, 0].map(|h| u128::from_le_bytes(r.lane(n, h))));
                return Some(format!("ymm{n}: host {x:032x?} ours {y:032x?}"));
            }
        }
        None
    }

    fn x87(
        &self,
        case: &Case,
        before: &Registers,
        (a, b): (&Registers, &Registers),
    ) -> Option<String> {
        let same = |range: std::ops::Range<usize>| a.image[range.clone()] == b.image[range];
        if same(0..image::OPCODE) && same(image::ST..image::XMM) {
            return self.pointers(before, (a, b));
        }
        if self.precision == Precision::Transcendental && rules::transcendentals_agree(a, b) {
            return self.pointers(before, (a, b));
        }
        let open = rules::undefined_status(case, self.vendor);
        let fields = [
            ("cw", image::CONTROL, 0),
            ("sw", image::STATUS, open),
            ("tags", image::TAGS, 0),
        ];
        for (name, at, open) in fields {
            let [x, y] = [a, b].map(|r| r.word(at) & !open);
            if x != y {
                return Some(format!("{name}: host {x:x} ours {y:x}"));
            }
        }
        let i = (0..8).find(|&i| a.st(i) != b.st(i))?;
        Some(format!("st{i}: host {:x?} ours {:x?}", a.st(i), b.st(i)))
    }

    fn memory(
        &self,
        case: &Case,
        before: &Registers,
        theirs: &Outcome<'_>,
        ours: &Outcome<'_>,
    ) -> Option<String> {
        let (a, b) = (&theirs.state.memory, &ours.state.memory);
        if a == b {
            return None;
        }
        let after = &ours.state.registers;
        let open = rules::undefined_memory(case, before, after, (theirs.end, self.vendor));
        let (start, bytes) = open.unwrap_or((WINDOW_START, 0));
        let is_open = |at: usize| (WINDOW_START + at as u64).wrapping_sub(start) < bytes;
        let at = (0..a.len()).find(|&at| a[at] != b[at] && !is_open(at))?;
        let end = a.len().min(at + 16);
        let [x, y] = [a, b].map(|memory| &memory[at..end]);
        Some(format!("memory +{at:#x}: host {x:02x?} ours {y:02x?}"))
    }

    fn pointers(&self, before: &Registers, (a, b): (&Registers, &Registers)) -> Option<String> {
        let range = rules::compared_pointers(self.vendor, before, a);
        let [x, y] = [a, b].map(|r| &r.image[range.clone()]);
        (x != y).then(|| format!("FOP, FIP, FDP: host {x:02x?} ours {y:02x?}"))
    }
}

fn flags(a: &Registers, b: &Registers, undefined: u64) -> Option<String> {
    let [x, y] = [a, b].map(|r| r.flags & FLAGS_COMPARED & !undefined);
    (x != y).then(|| format!("flags: host {x:x} ours {y:x}"))
}

fn segments(case: &Case, a: &Registers, b: &Registers) -> Option<String> {
    // The host's kernel makes null selectors 0 when it switches tasks.
    let shown = |r: &Registers, n: usize| match r.selectors[n] {
        0..4 => 0,
        selector => selector,
    };
    // CS shows in where the instruction goes on.
    for n in [0, 2, 3, 4, 5] {
        let [x, y] = [a, b].map(|r| shown(r, n));
        if x != y {
            return Some(format!("segment register {n}: host {x:x} ours {y:x}"));
        }
    }
    let differ = case.bits == 64 && a.bases != b.bases;
    differ.then(|| format!("bases: host {:x?} ours {:x?}", a.bases, b.bases))
}

fn mxcsr(a: &Registers, b: &Registers, open: u32) -> Option<String> {
    let [x, y] = [a, b].map(|r| r.mxcsr() & !open);
    (x != y).then(|| format!("mxcsr: host {x:x} ours {y:x}"))
}
