//! The 8254 timer (ports 40h-43h) and port 61h, through which a PC gates its third counter.
//!
//! Counter 0 drives IRQ 0, counter 1 would refresh DRAM, counter 2 drives the speaker. No
//! sound is made. OUT of counter 0 is carried to its wire as rising edges only: an edge is all
//! that an interrupt controller takes from it, and the timer tick of an idle guest stays one
//! event.
//!
//! Source: Intel 8254 datasheet (231164); 82371SB datasheet, section 2.4.6 (port 61h).

mod counter;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::{Cx, PortIo, Timed};
use crate::bus::{NEVER, Size, TICKS_PER_SECOND, Tick, Wire, rescale};
use counter::{Clock, Counter};

/// The input clock of the counters in Hz.
pub const PIT_HZ: u64 = 1_193_182;

/// Half the period of the refresh request that port 61h bit 4 shows, in ticks.
const REFRESH_TICKS: Tick = 15_085;

/// The timer with its three counters.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pit {
    counters: [Counter; 3],
    speaker_data: bool,
    gate2: bool,
    drives_irq0: bool,
}

impl Default for Pit {
    fn default() -> Self {
        Self::new()
    }
}

impl Pit {
    /// The timer at power-on: nothing counts.
    pub fn new() -> Self {
        Self {
            counters: [Counter::new(true), Counter::new(true), Counter::new(false)],
            speaker_data: false,
            gate2: false,
            drives_irq0: true,
        }
    }

    /// Connects counter 0 to IRQ 0, or leaves the wire to the HPET's legacy replacement.
    pub fn connect_irq0(&mut self, cx: &mut Cx<'_>, connected: bool) {
        self.drives_irq0 = connected;
        self.schedule(cx);
    }

    fn write_control(&mut self, cx: &mut Cx<'_>, control: u8) {
        let clock = clock_at(cx.now);
        let select = control >> 6;
        if select == 3 {
            self.read_back(clock, control);
            return;
        }
        let Some(counter) = self.counters.get_mut(usize::from(select)) else {
            return;
        };
        if control & 0x30 == 0 {
            counter.latch_count(clock);
            return;
        }
        counter.write_control(control);
        if select == 0 {
            self.drive_irq0(cx);
        }
    }

    fn read_back(&mut self, clock: Clock, command: u8) {
        for (index, counter) in self.counters.iter_mut().enumerate() {
            if command & (2 << index) == 0 {
                continue;
            }
            if command & 0x20 == 0 {
                counter.latch_count(clock);
            }
            if command & 0x10 == 0 {
                counter.latch_status(clock);
            }
        }
    }

    /// Puts OUT of counter 0 on its wire after the guest changed the counter.
    fn drive_irq0(&mut self, cx: &mut Cx<'_>) {
        let [counter, ..] = &mut self.counters;
        if self.drives_irq0 {
            let out = counter.out(clock_at(cx.now));
            cx.set_irq(Wire::Isa(0), out);
        }
        self.schedule(cx);
    }

    fn schedule(&mut self, cx: &mut Cx<'_>) {
        let [counter, ..] = &mut self.counters;
        let rise = counter.next_rise(clock_at(cx.now));
        match rise {
            Some(clock) if self.drives_irq0 => cx.wake_at(tick_of(clock)),
            _ => cx.sleep(),
        }
    }

    fn read_port61(&mut self, now: Tick) -> u8 {
        let [_, _, speaker] = &mut self.counters;
        let out = speaker.out(clock_at(now));
        u8::from(self.gate2)
            | u8::from(self.speaker_data) << 1
            | u8::from(now / REFRESH_TICKS % 2 == 1) << 4
            | u8::from(out) << 5
    }

    fn write_port61(&mut self, now: Tick, value: u8) {
        let [_, _, speaker] = &mut self.counters;
        self.speaker_data = value & 2 != 0;
        self.gate2 = value & 1 != 0;
        speaker.set_gate(clock_at(now), self.gate2);
    }
}

impl PortIo for Pit {
    fn read(&mut self, cx: &mut Cx<'_>, port: u16, _size: Size) -> u32 {
        if port == 0x61 {
            return self.read_port61(cx.now).into();
        }
        match self.counters.get_mut(usize::from(port & 3)) {
            Some(counter) => counter.read(clock_at(cx.now)).into(),
            None => 0xff,
        }
    }

    fn write(&mut self, cx: &mut Cx<'_>, port: u16, _size: Size, value: u32) {
        let value = value.to_le_bytes()[0];
        match port {
            0x61 => self.write_port61(cx.now, value),
            0x43 => self.write_control(cx, value),
            _ => {
                if let Some(counter) = self.counters.get_mut(usize::from(port & 3)) {
                    counter.write(clock_at(cx.now), value);
                }
                if port == 0x40 {
                    self.drive_irq0(cx);
                }
            }
        }
    }
}

impl Timed for Pit {
    fn expire(&mut self, cx: &mut Cx<'_>) {
        // Waves and strobes were low until now; modes 0 and 1 have been low since they were loaded.
        cx.set_irq(Wire::Isa(0), false);
        cx.set_irq(Wire::Isa(0), true);
        self.schedule(cx);
    }
}

/// How many periods of the input clock have begun by `tick`.
fn clock_at(tick: Tick) -> Clock {
    rescale(tick, TICKS_PER_SECOND, PIT_HZ)
}

/// The first tick at which `clock` periods have begun.
fn tick_of(clock: Clock) -> Tick {
    let ticks = u128::from(clock) * u128::from(TICKS_PER_SECOND);
    u64::try_from(ticks.div_ceil(u128::from(PIT_HZ))).unwrap_or(NEVER)
}
