//! One of the three counters of an 8254: a function of the clock, not a thing that counts.
//!
//! A counter remembers when it was loaded and with what; its count and its OUT pin at any
//! later clock follow from that. So reading it costs one division, and nothing has to run
//! while nobody looks.
//!
//! Source: Intel 8254 datasheet (231164), "Mode Definitions" and "Read Operations".

use serde::{Deserialize, Serialize};

/// A number of periods of the counters' input clock since power-on.
pub(super) type Clock = u64;

/// The six modes; 6 and 7 of the control word are 2 and 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Mode {
    TerminalCount,
    OneShot,
    RateGenerator,
    SquareWave,
    SoftwareStrobe,
    HardwareStrobe,
}

impl Mode {
    pub(super) fn from_control(control: u8) -> Self {
        match control >> 1 & 7 {
            0 => Self::TerminalCount,
            1 => Self::OneShot,
            2 | 6 => Self::RateGenerator,
            3 | 7 => Self::SquareWave,
            4 => Self::SoftwareStrobe,
            _ => Self::HardwareStrobe,
        }
    }

    fn is_periodic(self) -> bool {
        matches!(self, Self::RateGenerator | Self::SquareWave)
    }

    /// Whether a rising gate, not the count, starts it.
    fn is_triggered(self) -> bool {
        matches!(self, Self::OneShot | Self::HardwareStrobe)
    }
}

/// Which bytes of the count the guest writes and reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Access {
    Low,
    High,
    LowThenHigh,
}

/// What the counting element does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Element {
    /// No count was loaded since the control word.
    Idle,
    /// Counts down from `from`, which it held at clock `since`.
    Counting { since: Clock, from: u32 },
    /// The gate holds it at this count.
    Held { count: u32 },
}

/// A counter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Counter {
    mode: Mode,
    access: Access,
    bcd: bool,
    gate: bool,
    /// The count register: what the next load takes, 1 to 65536.
    reload: u32,
    element: Element,
    /// A periodic counter takes `reload` at this clock.
    reload_at: Option<Clock>,
    null_count: bool,
    low_written: Option<u8>,
    high_is_next: bool,
    latched_count: Option<u16>,
    latched_status: Option<u8>,
}

impl Counter {
    pub(super) fn new(gate: bool) -> Self {
        Self {
            mode: Mode::SquareWave,
            access: Access::LowThenHigh,
            bcd: false,
            gate,
            reload: 0x1_0000,
            element: Element::Idle,
            reload_at: None,
            null_count: true,
            low_written: None,
            high_is_next: false,
            latched_count: None,
            latched_status: None,
        }
    }

    /// A control word that is neither a latch nor a read-back command.
    pub(super) fn write_control(&mut self, control: u8) {
        *self = Self {
            mode: Mode::from_control(control),
            access: match control >> 4 & 3 {
                1 => Access::Low,
                2 => Access::High,
                _ => Access::LowThenHigh,
            },
            bcd: control & 1 != 0,
            reload: self.reload,
            ..Self::new(self.gate)
        };
    }

    /// A byte of a new count.
    pub(super) fn write(&mut self, clock: Clock, value: u8) {
        self.settle(clock);
        let raw = match (self.access, self.low_written.take()) {
            (Access::Low, _) => u16::from(value),
            (Access::High, _) => u16::from(value) << 8,
            (Access::LowThenHigh, Some(low)) => u16::from_le_bytes([low, value]),
            (Access::LowThenHigh, None) => {
                self.low_written = Some(value);
                if self.mode == Mode::TerminalCount {
                    self.element = Element::Idle;
                }
                return;
            }
        };
        self.reload = self.to_periods(raw);
        self.null_count = true;
        match (self.mode, self.element) {
            (Mode::OneShot | Mode::HardwareStrobe, _) => {}
            (Mode::RateGenerator | Mode::SquareWave, Element::Counting { since, from }) => {
                self.reload_at = Some(self.next_reload(clock, since, from));
            }
            _ => self.load(clock + 1),
        }
    }

    /// Reads the latched status, the latched count, or the count as it is now.
    pub(super) fn read(&mut self, clock: Clock) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        self.settle(clock);
        let count = self
            .latched_count
            .unwrap_or_else(|| self.visible_count(clock));
        let [low, high] = count.to_le_bytes();
        let (value, done) = match (self.access, self.high_is_next) {
            (Access::Low, _) => (low, true),
            (Access::High, _) => (high, true),
            (Access::LowThenHigh, false) => (low, false),
            (Access::LowThenHigh, true) => (high, true),
        };
        self.high_is_next = !done;
        if done {
            self.latched_count = None;
        }
        value
    }

    pub(super) fn latch_count(&mut self, clock: Clock) {
        self.settle(clock);
        if self.latched_count.is_none() {
            self.latched_count = Some(self.visible_count(clock));
        }
    }

    pub(super) fn latch_status(&mut self, clock: Clock) {
        self.settle(clock);
        if self.latched_status.is_some() {
            return;
        }
        let access = match self.access {
            Access::Low => 0x10,
            Access::High => 0x20,
            Access::LowThenHigh => 0x30,
        };
        let mode = match self.mode {
            Mode::TerminalCount => 0,
            Mode::OneShot => 1 << 1,
            Mode::RateGenerator => 2 << 1,
            Mode::SquareWave => 3 << 1,
            Mode::SoftwareStrobe => 4 << 1,
            Mode::HardwareStrobe => 5 << 1,
        };
        let out = u8::from(self.out(clock)) << 7;
        let null = u8::from(self.null_count) << 6;
        self.latched_status = Some(out | null | access | mode | u8::from(self.bcd));
    }

    /// Drives the GATE pin.
    pub(super) fn set_gate(&mut self, clock: Clock, gate: bool) {
        self.settle(clock);
        let rises = gate && !self.gate;
        let falls = !gate && self.gate;
        self.gate = gate;
        if self.mode.is_triggered() {
            if rises {
                self.load(clock + 1);
            }
        } else if self.mode.is_periodic() {
            if rises && self.element != Element::Idle {
                self.load(clock + 1);
            } else if falls && self.element != Element::Idle {
                self.hold(clock);
            }
        } else if falls {
            self.hold(clock);
        } else if let (true, Element::Held { count }) = (rises, self.element) {
            self.element = Element::Counting {
                since: clock + 1,
                from: count,
            };
        }
    }

    /// The OUT pin.
    pub(super) fn out(&mut self, clock: Clock) -> bool {
        self.settle(clock);
        let Element::Counting { since, from } = self.element else {
            return self.mode != Mode::TerminalCount;
        };
        let elapsed = clock.saturating_sub(since);
        let from = u64::from(from);
        match self.mode {
            Mode::TerminalCount => elapsed >= from,
            Mode::OneShot => clock < since || elapsed >= from,
            Mode::RateGenerator => elapsed % from != from - 1 || from == 1,
            Mode::SquareWave => elapsed % from < from.div_ceil(2),
            Mode::SoftwareStrobe | Mode::HardwareStrobe => elapsed != from,
        }
    }

    /// The first clock after `clock` at which OUT rises.
    pub(super) fn next_rise(&mut self, clock: Clock) -> Option<Clock> {
        self.settle(clock);
        let Element::Counting { since, from } = self.element else {
            return None;
        };
        let from = u64::from(from);
        let elapsed = clock.saturating_sub(since);
        let rise = match self.mode {
            Mode::TerminalCount | Mode::OneShot => since + from,
            Mode::SoftwareStrobe | Mode::HardwareStrobe => since + from + 1,
            Mode::RateGenerator | Mode::SquareWave => match self.reload_at {
                Some(at) => self.first_rise_from(at),
                None => since + (elapsed / from + 1) * from,
            },
        };
        (rise > clock).then_some(rise)
    }

    /// Where a periodic counter rises next that takes its new count at `at`.
    fn first_rise_from(&self, at: Clock) -> Clock {
        match self.element {
            Element::Counting { since, from } if self.is_mid_wave(at, since, from) => {
                at + u64::from(self.reload / 2)
            }
            _ => at,
        }
    }

    /// Whether `at` is the end of a square wave's high half.
    fn is_mid_wave(&self, at: Clock, since: Clock, from: u32) -> bool {
        self.mode == Mode::SquareWave && !(at - since).is_multiple_of(u64::from(from))
    }

    /// When a periodic counter takes a count that is written at `clock`: a rate generator at
    /// the end of its period, a square wave at the end of its half.
    fn next_reload(&self, clock: Clock, since: Clock, from: u32) -> Clock {
        let from = u64::from(from);
        let elapsed = clock.saturating_sub(since);
        let period_start = since + elapsed / from * from;
        let half = from.div_ceil(2);
        if self.mode == Mode::SquareWave && clock < period_start + half {
            period_start + half
        } else {
            period_start + from
        }
    }

    /// Carries out a reload that is due.
    fn settle(&mut self, clock: Clock) {
        let Some(at) = self.reload_at.filter(|at| *at <= clock) else {
            return;
        };
        let Element::Counting { since, from } = self.element else {
            self.reload_at = None;
            return;
        };
        let mid_wave = self.is_mid_wave(at, since, from);
        self.load(at);
        if mid_wave {
            // The low half comes next: as if the wave had begun a high half earlier.
            let high = u64::from(self.reload.div_ceil(2));
            self.element = Element::Counting {
                since: at.saturating_sub(high),
                from: self.reload,
            };
        }
    }

    fn load(&mut self, since: Clock) {
        self.reload_at = None;
        self.null_count = false;
        self.element = if self.gate || self.mode.is_triggered() {
            Element::Counting {
                since,
                from: self.reload,
            }
        } else {
            Element::Held { count: self.reload }
        };
    }

    fn hold(&mut self, clock: Clock) {
        if let Element::Counting { since, from } = self.element {
            let expired = clock.saturating_sub(since) >= u64::from(from);
            // OUT of mode 0 stays high once it is; the element goes on from its wrapped count.
            if !(self.mode == Mode::TerminalCount && expired) {
                self.element = Element::Held {
                    count: self.count(clock),
                };
            }
        }
    }

    fn count(&self, clock: Clock) -> u32 {
        let (since, from) = match self.element {
            Element::Idle => return self.reload,
            Element::Held { count } => return count,
            Element::Counting { since, from } => (since, u64::from(from)),
        };
        let elapsed = clock.saturating_sub(since);
        let modulus = self.modulus();
        let count = match self.mode {
            Mode::RateGenerator => from - elapsed % from,
            Mode::SquareWave => {
                let high = from.div_ceil(2);
                let place = elapsed % from;
                let in_half = if place < high { place } else { place - high };
                (from & !1).saturating_sub(2 * in_half)
            }
            _ => (from + modulus - elapsed % modulus) % modulus,
        };
        u32::try_from(count).unwrap_or(0)
    }

    fn modulus(&self) -> u64 {
        if self.bcd { 10_000 } else { 0x1_0000 }
    }

    /// The count as the guest reads it: binary or four decimal digits.
    fn visible_count(&self, clock: Clock) -> u16 {
        let count = u64::from(self.count(clock)) % self.modulus();
        let count = u16::try_from(count).unwrap_or(0);
        if !self.bcd {
            return count;
        }
        (count % 10)
            | ((count / 10 % 10) << 4)
            | (count / 100 % 10) << 8
            | (count / 1000 % 10) << 12
    }

    /// The periods that a written count stands for; zero is the whole range.
    fn to_periods(&self, raw: u16) -> u32 {
        let raw = u32::from(raw);
        let count = if self.bcd {
            (raw >> 12) * 1000 + (raw >> 8 & 15) * 100 + (raw >> 4 & 15) * 10 + (raw & 15)
        } else {
            raw
        };
        match count {
            0 if self.bcd => 10_000,
            0 => 0x1_0000,
            n => n,
        }
    }
}
