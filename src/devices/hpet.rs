//! The high precision event timer at FED00000h: a 64-bit counter of 10 ns and three timers.
//!
//! With legacy replacement on, timer 0 has IRQ 0 and timer 1 has IRQ 8, and the board takes the
//! wires away from the 8254 and the real-time clock. Otherwise a timer drives one of the
//! IOAPIC's pins 16 to 23. Left out: FSB (message) delivery, which no timer claims.
//!
//! Source: IA-PC HPET specification 1.0a.

use serde::{Deserialize, Serialize};

use super::{BoardRequest, Cx, Mmio, Remap, Timed};
use crate::bus::{NEVER, Size, Tick, Wire};

const TICKS_PER_COUNT: Tick = 10;
const PERIOD_FEMTOSECONDS: u64 = 10_000_000;

/// Vendor 8086h, legacy replacement, 64-bit counter, three timers, revision 1.
const CAPABILITIES: u64 = PERIOD_FEMTOSECONDS << 32 | 0x8086 << 16 | 1 << 15 | 1 << 13 | 2 << 8 | 1;

const CONFIG_ENABLE: u64 = 1 << 0;
const CONFIG_LEGACY: u64 = 1 << 1;

const TIMER_LEVEL: u64 = 1 << 1;
const TIMER_INTERRUPT: u64 = 1 << 2;
const TIMER_PERIODIC: u64 = 1 << 3;
const TIMER_SETS_VALUE: u64 = 1 << 6;
const TIMER_32_BIT: u64 = 1 << 8;
const TIMER_WRITABLE: u64 =
    TIMER_LEVEL | TIMER_INTERRUPT | TIMER_PERIODIC | TIMER_SETS_VALUE | TIMER_32_BIT | 0x3e00;
/// Pins 16 to 23, 64 bits wide, periodic.
const TIMER_CAPABILITIES: u64 = 0x00ff_0000 << 32 | 1 << 5 | 1 << 4;

/// One comparator.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Comparator {
    config: u64,
    value: u64,
    period: u64,
    /// The main counter's value up to which matches were seen.
    seen: u64,
}

impl Comparator {
    fn mask(&self) -> u64 {
        if self.config & TIMER_32_BIT != 0 {
            0xffff_ffff
        } else {
            u64::MAX
        }
    }

    fn is_periodic(&self) -> bool {
        self.config & TIMER_PERIODIC != 0
    }

    /// How many counts after `seen` it matches next; the counter wraps at its width.
    fn distance(&self) -> u64 {
        let distance = self.value.wrapping_sub(self.seen) & self.mask();
        match distance {
            0 => self.mask(),
            n => n,
        }
    }

    /// Steps a periodic comparator past the match.
    fn advance(&mut self, counter: u64) {
        self.seen = counter;
        if !self.is_periodic() || self.period == 0 {
            return;
        }
        let late = counter.wrapping_sub(self.value) & self.mask();
        let periods = late / self.period + 1;
        self.value = self.value.wrapping_add(periods.wrapping_mul(self.period)) & self.mask();
    }

    fn write_value(&mut self, value: u64, lanes: u64) {
        let merged = |old: u64| old & !lanes | value & lanes;
        if !self.is_periodic() {
            self.value = merged(self.value) & self.mask();
            return;
        }
        // Until the value-set bit is spent, a write sets the comparator as well as the period.
        if self.config & TIMER_SETS_VALUE != 0 {
            self.value = merged(self.value) & self.mask();
            self.config &= !TIMER_SETS_VALUE;
        }
        self.period = merged(self.period) & self.mask();
    }
}

/// The block of timers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hpet {
    config: u64,
    status: u64,
    /// The counter: its value while halted, or its value at `since`.
    counter: u64,
    since: Tick,
    timers: [Comparator; 3],
}

impl Default for Hpet {
    fn default() -> Self {
        Self::new()
    }
}

impl Hpet {
    /// Where the registers lie.
    pub const BASE: u64 = 0xfed0_0000;
    /// How many bytes they take.
    pub const WINDOW: u64 = 0x400;

    /// The counter halted at 0, every timer off.
    pub fn new() -> Self {
        let timer = Comparator {
            config: TIMER_CAPABILITIES,
            value: u64::MAX,
            period: 0,
            seen: 0,
        };
        Self {
            config: 0,
            status: 0,
            counter: 0,
            since: 0,
            timers: [timer.clone(), timer.clone(), timer],
        }
    }

    /// Whether timers 0 and 1 stand in for the 8254 and the real-time clock.
    pub fn replaces_legacy(&self) -> bool {
        self.config & CONFIG_LEGACY != 0
    }

    fn runs(&self) -> bool {
        self.config & CONFIG_ENABLE != 0
    }

    fn count(&self, now: Tick) -> u64 {
        if self.runs() {
            let counts = now.saturating_sub(self.since) / TICKS_PER_COUNT;
            self.counter.wrapping_add(counts)
        } else {
            self.counter
        }
    }

    /// Fixes the counter's value at `now`, from which it goes on or stands still. The part of a
    /// count that has passed stays passed.
    fn anchor(&mut self, now: Tick) {
        self.counter = self.count(now);
        let part = now.saturating_sub(self.since) % TICKS_PER_COUNT;
        self.since = if self.runs() { now - part } else { now };
    }

    /// Handles every match up to now, then waits for the next one that can interrupt.
    fn update(&mut self, cx: &mut Cx<'_>) {
        let counter = self.count(cx.now);
        let mut next = NEVER;
        for index in 0..3 {
            let Some(timer) = self.timers.get_mut(index) else {
                continue;
            };
            let passed = counter.wrapping_sub(timer.seen) & timer.mask();
            if passed >= timer.distance() {
                timer.advance(counter);
                self.interrupt(cx, index);
            } else {
                timer.seen = counter;
            }
            next = next.min(self.next_match(index, cx.now));
        }
        cx.wake_at(next);
    }

    fn next_match(&self, index: usize, now: Tick) -> Tick {
        let observed = |timer: &&Comparator| timer.config & TIMER_INTERRUPT != 0 && self.runs();
        let Some(timer) = self.timers.get(index).filter(observed) else {
            return NEVER;
        };
        let begun = now - now.saturating_sub(self.since) % TICKS_PER_COUNT;
        let wait = timer.distance().saturating_mul(TICKS_PER_COUNT);
        begun.saturating_add(wait)
    }

    fn interrupt(&mut self, cx: &mut Cx<'_>, index: usize) {
        let Some(timer) = self.timers.get(index) else {
            return;
        };
        let config = timer.config;
        if config & TIMER_LEVEL != 0 {
            self.status |= 1 << index;
        }
        if config & TIMER_INTERRUPT == 0 || !self.runs() {
            return;
        }
        let Some(wire) = self.wire(index) else {
            return;
        };
        if config & TIMER_LEVEL == 0 {
            // An edge; the wire then stays up, since an 8259 wants to see it until it answers.
            cx.set_irq(wire, false);
        }
        cx.set_irq(wire, true);
    }

    /// The wire that a timer drives.
    fn wire(&self, index: usize) -> Option<Wire> {
        match (self.replaces_legacy(), index) {
            (true, 0) => return Some(Wire::Isa(0)),
            (true, 1) => return Some(Wire::Isa(8)),
            _ => {}
        }
        let pin = (self.timers.get(index)?.config >> 9 & 31) as u8;
        (16..24).contains(&pin).then_some(Wire::Pin(pin))
    }

    fn release(&self, cx: &mut Cx<'_>, index: usize) {
        if let Some(wire) = self.wire(index) {
            cx.set_irq(wire, false);
        }
    }

    fn write_config(&mut self, cx: &mut Cx<'_>, value: u64) {
        self.anchor(cx.now);
        let changed = self.config ^ value;
        if changed & CONFIG_LEGACY != 0 {
            (0..3).for_each(|index| self.release(cx, index));
        }
        self.config = value & (CONFIG_ENABLE | CONFIG_LEGACY);
        self.since = cx.now;
        if changed & CONFIG_LEGACY != 0 {
            cx.request(BoardRequest::Remap(Remap::Hpet));
        }
    }

    fn write_status(&mut self, cx: &mut Cx<'_>, value: u64) {
        for index in 0..3 {
            if self.status & value & 1 << index != 0 {
                self.release(cx, index);
            }
        }
        self.status &= !value;
    }

    fn write_timer(&mut self, cx: &mut Cx<'_>, offset: u64, value: u64, lanes: u64) {
        let index = (((offset - 0x100) / 0x20) & 0xff) as usize;
        let Some(timer) = self.timers.get_mut(index) else {
            return;
        };
        match offset & 0x18 {
            0x00 => {
                let lanes = lanes & TIMER_WRITABLE;
                timer.config = timer.config & !lanes | value & lanes;
                timer.value &= timer.mask();
                timer.period &= timer.mask();
                if timer.config & TIMER_INTERRUPT == 0 {
                    self.release(cx, index);
                }
            }
            0x08 => timer.write_value(value, lanes),
            _ => {}
        }
    }

    fn read_register(&self, now: Tick, offset: u64) -> u64 {
        match offset {
            0x000 => CAPABILITIES,
            0x010 => self.config,
            0x020 => self.status,
            0x0f0 => self.count(now),
            0x100..=0x15f => {
                let index = (((offset - 0x100) / 0x20) & 0xff) as usize;
                match (self.timers.get(index), offset & 0x18) {
                    (Some(timer), 0x00) => timer.config,
                    (Some(timer), 0x08) => timer.value,
                    _ => 0,
                }
            }
            _ => 0,
        }
    }
}

impl Mmio for Hpet {
    fn read(&mut self, cx: &mut Cx<'_>, offset: u64, size: Size) -> u64 {
        self.update(cx);
        let value = self.read_register(cx.now, offset & !7);
        value >> (offset % 8 * 8) & size.mask()
    }

    fn write(&mut self, cx: &mut Cx<'_>, offset: u64, size: Size, value: u64) {
        self.update(cx);
        let shift = offset % 8 * 8;
        let (value, lanes) = (value << shift, size.mask() << shift);
        let merged = |old: u64| old & !lanes | value & lanes;
        match offset & !7 {
            0x010 => self.write_config(cx, merged(self.config)),
            0x020 => self.write_status(cx, value & lanes),
            0x0f0 if !self.runs() => {
                self.counter = merged(self.counter);
                let counter = self.counter;
                self.timers.iter_mut().for_each(|t| t.seen = counter);
            }
            offset @ 0x100..=0x15f => self.write_timer(cx, offset, value, lanes),
            _ => {}
        }
        self.update(cx);
    }
}

impl Timed for Hpet {
    fn expire(&mut self, cx: &mut Cx<'_>) {
        self.update(cx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Workbench;

    struct Host {
        hpet: Hpet,
        bench: Workbench,
    }

    impl Host {
        fn new() -> Self {
            Self {
                hpet: Hpet::new(),
                bench: Workbench::new(),
            }
        }

        fn store(&mut self, offset: u64, size: Size, value: u64) {
            self.hpet.write(&mut self.bench.cx(), offset, size, value);
        }

        fn load(&mut self, offset: u64, size: Size) -> u64 {
            self.hpet.read(&mut self.bench.cx(), offset, size)
        }

        /// Waits for the deadline; the wires that rose.
        fn expire(&mut self) -> u64 {
            self.bench.irq.take_edges();
            self.bench.now = self.bench.deadline;
            self.bench.deadline = NEVER;
            self.hpet.expire(&mut self.bench.cx());
            self.bench.irq.take_edges().0
        }
    }

    #[test]
    fn the_counter_runs_at_ten_nanoseconds_while_enabled() {
        let mut host = Host::new();
        assert_eq!(host.load(0, Size::Qword), 0x0098_9680_8086_a201);
        host.bench.now = 1000;
        assert_eq!(host.load(0xf0, Size::Qword), 0);
        host.store(0x10, Size::Dword, 1);
        host.bench.now = 1995;
        assert_eq!(host.load(0xf0, Size::Dword), 99);
        host.store(0x10, Size::Dword, 0);
        host.bench.now = 9000;
        assert_eq!(host.load(0xf0, Size::Dword), 99);
        host.store(0xf0, Size::Qword, 0xffff_ffff);
        assert_eq!(host.load(0xf4, Size::Dword), 0);
        host.store(0x10, Size::Dword, 1);
        host.bench.now = 9010;
        assert_eq!(host.load(0xf4, Size::Dword), 1);
    }

    #[test]
    fn a_one_shot_match_makes_one_edge_as_linux_sets_it_up() {
        let mut host = Host::new();
        host.store(0x100, Size::Dword, 0x104);
        host.store(0x10, Size::Dword, 3);
        host.bench.now = 500;
        host.store(0x108, Size::Dword, 150);
        assert_eq!(host.bench.deadline, 1500);
        assert_eq!(host.expire(), 1);
        assert_eq!(host.bench.deadline, 1500 + 0xffff_ffff * 10);
    }

    #[test]
    fn a_periodic_timer_keeps_its_period() {
        let mut host = Host::new();
        host.store(0x10, Size::Dword, 3);
        host.store(0x120, Size::Dword, 0x14c);
        host.store(0x128, Size::Dword, 1000);
        host.store(0x128, Size::Dword, 250);
        let mut ticks = Vec::new();
        for _ in 0..4 {
            assert_eq!(host.expire(), 1 << 8);
            ticks.push(host.bench.now);
        }
        assert_eq!(ticks, [10_000, 12_500, 15_000, 17_500]);
    }

    #[test]
    fn a_level_interrupt_stays_until_its_status_is_cleared() {
        let mut host = Host::new();
        host.store(0x140, Size::Dword, 0x106 | 20 << 9);
        host.store(0x148, Size::Dword, 10);
        host.store(0x10, Size::Dword, 1);
        host.expire();
        assert_eq!(host.bench.irq.levels(), Wire::Pin(20).bit());
        assert_eq!(host.load(0x20, Size::Dword), 4);
        host.store(0x20, Size::Dword, 4);
        assert_eq!(host.bench.irq.levels(), 0);
        assert_eq!(host.load(0x20, Size::Dword), 0);
    }

    #[test]
    fn legacy_replacement_is_told_to_the_board() {
        let mut host = Host::new();
        host.store(0x10, Size::Dword, 3);
        assert!(host.hpet.replaces_legacy());
        assert_eq!(host.bench.requests, [BoardRequest::Remap(Remap::Hpet)]);
    }
}
