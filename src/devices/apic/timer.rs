//! The timer of a local APIC: a count that is a function of guest time.
//!
//! Its input clock runs at one period a tick (1 GHz), before the divider.
//! Source: Intel SDM volume 3, section 11.5.4.

use serde::{Deserialize, Serialize};

use crate::bus::Tick;

/// The down-counter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Timer {
    initial: u32,
    divide: u32,
    periodic: bool,
    /// The count was `from` at this tick.
    since: Tick,
    from: u32,
}

impl Timer {
    pub(super) fn new() -> Self {
        Self {
            initial: 0,
            divide: 0,
            periodic: false,
            since: 0,
            from: 0,
        }
    }

    pub(super) fn initial(&self) -> u32 {
        self.initial
    }

    /// Starts a countdown; 0 stops the timer.
    pub(super) fn start(&mut self, now: Tick, initial: u32) {
        self.initial = initial;
        self.since = now;
        self.from = initial;
    }

    pub(super) fn set_periodic(&mut self, now: Tick, periodic: bool) {
        self.anchor(now);
        self.periodic = periodic;
    }

    /// The divide configuration register as written.
    pub(super) fn divide_configuration(&self) -> u32 {
        self.divide
    }

    pub(super) fn set_divide_configuration(&mut self, now: Tick, value: u32) {
        self.anchor(now);
        self.divide = value & 0b1011;
    }

    /// Goes on from the present count, before the rate or the mode changes.
    fn anchor(&mut self, now: Tick) {
        self.from = self.count(now);
        self.since = now;
    }

    /// Ticks for one count: 1, 2, 4 … 128.
    fn ticks_per_count(&self) -> Tick {
        let code = (self.divide >> 1 & 4) | (self.divide & 3);
        if code == 7 { 1 } else { 2 << code }
    }

    /// The current count register.
    pub(super) fn count(&self, now: Tick) -> u32 {
        let elapsed = now.saturating_sub(self.since) / self.ticks_per_count();
        let left = match u64::from(self.from).checked_sub(elapsed) {
            Some(left) if left > 0 => left,
            _ if !self.periodic || self.initial == 0 => 0,
            _ => {
                let initial = u64::from(self.initial);
                initial - (elapsed - u64::from(self.from)) % initial
            }
        };
        u32::try_from(left).unwrap_or(0)
    }

    /// The first tick after `now` at which the count reaches 0.
    pub(super) fn next_expiry(&self, now: Tick) -> Option<Tick> {
        let per_count = self.ticks_per_count();
        let first = self.since + u64::from(self.from) * per_count;
        if self.from != 0 && first > now {
            return Some(first);
        }
        let period = u64::from(self.initial) * per_count;
        if !self.periodic || period == 0 {
            return None;
        }
        Some(first + ((now - first) / period + 1) * period)
    }
}
