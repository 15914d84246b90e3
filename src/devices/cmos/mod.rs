//! The MC146818 real-time clock with its CMOS memory (ports 70h-71h, upper bank 72h-73h).
//!
//! The date is a function of guest time: it was set once, and seconds pass with the ticks.
//! Flags of register C that nobody waits for are worked out when the register is read; only an
//! enabled interrupt sets a deadline. The cells a BIOS reads (memory size, boot order) are
//! filled in at power-on.
//!
//! Left out: daylight saving (register B bit 0 is stored) and the square-wave pin.
//!
//! Source: Motorola MC146818 datasheet; 82371SB datasheet, section 2.4.7; the cell numbers
//! beyond 0Eh are convention (Ralf Brown's CMOS list; QEMU's and SeaBIOS's use).

mod calendar;
mod clock;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::{Cx, PortIo, Timed};
use crate::bus::{NEVER, Size, TICKS_PER_SECOND, Tick, Wire, rescale};
pub use calendar::{Calendar, UnixSeconds};
use clock::WallClock;

const OSCILLATOR_HZ: u64 = 32_768;

/// UIP rises this long before the seconds move (244 us; datasheet figure 15).
const UPDATE_WARNING: Tick = 244_140;

const B_SET: u8 = 0x80;
const B_DATE_MODE_BINARY: u8 = 0x04;
const B_SQUARE_WAVE: u8 = 0x08;
const B_24_HOURS: u8 = 0x02;

const FLAG_PERIODIC: u8 = 0x40;
const FLAG_ALARM: u8 = 0x20;
const FLAG_UPDATE: u8 = 0x10;
const INTERRUPTS: u8 = FLAG_PERIODIC | FLAG_ALARM | FLAG_UPDATE;

/// What the cells tell a BIOS.
#[derive(Clone, Copy, Debug, Default)]
pub struct CmosSetup {
    /// The date at power-on.
    pub date: UnixSeconds,
    /// RAM below 4 GiB, in bytes.
    pub ram_below_4g: u64,
    /// RAM above 4 GiB, in bytes.
    pub ram_above_4g: u64,
    /// First, second and third boot device: 0 none, 1 floppy, 2 disk, 3 CD, 4 network.
    pub boot_order: [u8; 3],
}

/// The clock and its memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cmos {
    cells: Vec<u8>,
    index: u8,
    upper_index: u8,
    clock: WallClock,
    /// Flags of register C that were set and not read yet.
    flags: u8,
    /// The flags are worked out up to this tick.
    flags_until: Tick,
    drives_irq8: bool,
}

impl Cmos {
    /// The clock set and the cells filled as a factory would.
    pub fn new(setup: &CmosSetup) -> Self {
        let mut cmos = Self {
            cells: vec![0; 256],
            index: 0,
            upper_index: 0,
            clock: WallClock::set(0, setup.date),
            flags: 0,
            flags_until: 0,
            drives_irq8: true,
        };
        cmos.set_cell(0x0a, 0x26);
        cmos.set_cell(0x0b, B_24_HOURS);
        cmos.set_cell(0x14, 0x06);
        cmos.describe_memory(setup);
        let [first, second, third] = setup.boot_order.map(|device| device & 15);
        cmos.set_cell(0x3d, second << 4 | first);
        // Bit 0 of cell 38h: do not ask a floppy for its boot signature.
        cmos.set_cell(0x38, third << 4 | 1);
        cmos.set_checksum();
        cmos
    }

    fn describe_memory(&mut self, setup: &CmosSetup) {
        let capped = |value: u64| u16::try_from(value).unwrap_or(u16::MAX);
        let kib_above_1m = capped((setup.ram_below_4g >> 10).saturating_sub(1024));
        let blocks_above_16m = capped((setup.ram_below_4g >> 16).saturating_sub(256));
        self.set_cells(0x15, &640_u16.to_le_bytes());
        self.set_cells(0x17, &kib_above_1m.to_le_bytes());
        self.set_cells(0x30, &kib_above_1m.to_le_bytes());
        self.set_cells(0x34, &blocks_above_16m.to_le_bytes());
        let [low, mid, high, ..] = (setup.ram_above_4g >> 16).to_le_bytes();
        self.set_cells(0x5b, &[low, mid, high]);
    }

    /// Cells 2Eh-2Fh hold the sum of 10h-2Dh, which a BIOS may check.
    fn set_checksum(&mut self) {
        let sum: u16 = (0x10..=0x2d).map(|at| u16::from(self.cell(at))).sum();
        self.set_cells(0x2e, &sum.to_be_bytes());
    }

    /// The reset line: interrupts are disabled, the date and the cells stay.
    pub fn reset(&mut self, cx: &mut Cx<'_>) {
        self.set_cell(0x0b, self.register_b() & !(INTERRUPTS | B_SQUARE_WAVE));
        (self.flags, self.drives_irq8) = (0, true);
        self.drive_irq(cx);
    }

    /// Sets the date, as the machine does when the outside says what time it is.
    pub fn set_date(&mut self, cx: &mut Cx<'_>, date: UnixSeconds) {
        self.update_flags(cx.now);
        self.clock.reset(cx.now, date);
        self.schedule(cx);
    }

    /// Connects the interrupt to IRQ 8, or leaves the wire to the HPET's legacy replacement.
    pub fn connect_irq8(&mut self, cx: &mut Cx<'_>, connected: bool) {
        self.drives_irq8 = connected;
        self.drive_irq(cx);
    }

    fn cell(&self, at: u8) -> u8 {
        self.cells.get(usize::from(at)).copied().unwrap_or(0xff)
    }

    fn set_cell(&mut self, at: u8, value: u8) {
        if let Some(cell) = self.cells.get_mut(usize::from(at)) {
            *cell = value;
        }
    }

    fn set_cells(&mut self, first: u8, values: &[u8]) {
        for (at, value) in (first..).zip(values) {
            self.set_cell(at, *value);
        }
    }

    fn register_b(&self) -> u8 {
        self.cell(0x0b)
    }

    fn read_data(&mut self, cx: &mut Cx<'_>) -> u8 {
        match self.index {
            0x00 | 0x02 | 0x04 | 0x06..=0x09 | 0x32 => self.read_date(cx.now),
            0x0a => self.cell(0x0a) & 0x7f | self.update_in_progress(cx.now),
            0x0c => self.take_flags(cx),
            0x0d => 0x80,
            at => self.cell(at),
        }
    }

    fn write_data(&mut self, cx: &mut Cx<'_>, value: u8) {
        self.update_flags(cx.now);
        match self.index {
            0x00 | 0x02 | 0x04 | 0x06..=0x09 | 0x32 => self.write_date(cx.now, value),
            0x0a => {
                self.set_cell(0x0a, value & 0x7f);
                self.hold_or_run(cx.now);
            }
            0x0b => {
                // Setting SET clears the update interrupt enable.
                let cleared = if value & B_SET != 0 { FLAG_UPDATE } else { 0 };
                self.set_cell(0x0b, value & !cleared);
                self.hold_or_run(cx.now);
            }
            0x0c | 0x0d => {}
            at => self.set_cell(at, value),
        }
        self.drive_irq(cx);
    }

    /// The divider chain runs and SET does not hold the date.
    fn should_run(&self) -> bool {
        self.cell(0x0a) & 0x70 == 0x20 && self.register_b() & B_SET == 0
    }

    fn hold_or_run(&mut self, now: Tick) {
        if self.should_run() {
            self.clock.run(now);
        } else {
            self.clock.hold(now);
        }
    }

    fn update_in_progress(&self, now: Tick) -> u8 {
        let soon = self.clock.ticks_to_update(now);
        if soon.is_some_and(|ticks| ticks <= UPDATE_WARNING) {
            0x80
        } else {
            0
        }
    }

    fn read_date(&self, now: Tick) -> u8 {
        let date = self.clock.date(now);
        match self.index {
            0x00 => self.encode(date.second),
            0x02 => self.encode(date.minute),
            0x04 => self.encode_hour(date.hour),
            0x06 => self.encode(date.weekday),
            0x07 => self.encode(date.day),
            0x08 => self.encode(date.month),
            0x09 => self.encode(in_byte(date.year % 100)),
            _ => self.encode(in_byte(date.year / 100)),
        }
    }

    fn write_date(&mut self, now: Tick, value: u8) {
        let mut date = self.clock.date(now);
        let number = self.decode(value);
        match self.index {
            0x00 => date.second = number,
            0x02 => date.minute = number,
            0x04 => date.hour = self.decode_hour(value),
            0x06 => date.weekday = number,
            0x07 => date.day = number,
            0x08 => date.month = number,
            0x09 => date.year = date.year / 100 * 100 + u32::from(number),
            _ => date.year = u32::from(number) * 100 + date.year % 100,
        }
        self.clock.set_date(now, date);
    }

    fn encode(&self, value: u8) -> u8 {
        if self.register_b() & B_DATE_MODE_BINARY != 0 {
            value
        } else {
            ((value / 10 % 10) << 4) | (value % 10)
        }
    }

    fn decode(&self, value: u8) -> u8 {
        if self.register_b() & B_DATE_MODE_BINARY != 0 {
            value
        } else {
            (value >> 4).min(9) * 10 + (value & 15).min(9)
        }
    }

    fn encode_hour(&self, hour: u8) -> u8 {
        if self.register_b() & B_24_HOURS != 0 {
            return self.encode(hour);
        }
        let pm = if hour >= 12 { 0x80 } else { 0 };
        let twelve = if hour.is_multiple_of(12) {
            12
        } else {
            hour % 12
        };
        self.encode(twelve) | pm
    }

    fn decode_hour(&self, value: u8) -> u8 {
        if self.register_b() & B_24_HOURS != 0 {
            return self.decode(value);
        }
        let pm = if value & 0x80 != 0 { 12 } else { 0 };
        self.decode(value & 0x7f) % 12 + pm
    }

    /// The seconds after `after` at which the alarm fires, if its cells name any time at all.
    fn next_alarm(&self, after: UnixSeconds) -> Option<UnixSeconds> {
        let wild = |value: u8| value >= 0xc0;
        let matches = |cell: u8, wanted: u8, now: u8| wild(cell) || wanted == now;
        let (second, minute, hour) = (self.cell(0x01), self.cell(0x03), self.cell(0x05));
        let mut at = after + 1;
        let last = after + 86_400;
        while at <= last {
            let date = Calendar::at(at);
            if !matches(hour, self.decode_hour(hour), date.hour) {
                at += 3600 - at % 3600;
            } else if !matches(minute, self.decode(minute), date.minute) {
                at += 60 - at % 60;
            } else if !matches(second, self.decode(second), date.second) {
                at += 1;
            } else {
                return Some(at);
            }
        }
        None
    }

    /// The period of the periodic flag in oscillations; `None` if it is off.
    fn period(&self) -> Option<u64> {
        match self.cell(0x0a) & 15 {
            0 => None,
            // The first two rates repeat those of 8 and 9.
            rate @ 1..=2 => Some(1 << (rate + 6)),
            rate => Some(1 << (rate - 1)),
        }
    }

    /// Sets the flags of everything that happened since this was last called.
    fn update_flags(&mut self, now: Tick) {
        let then = std::mem::replace(&mut self.flags_until, now);
        if let Some(period) = self.period()
            && oscillations(then) / period != oscillations(now) / period
        {
            self.flags |= FLAG_PERIODIC;
        }
        let (before, after) = (self.clock.seconds(then), self.clock.seconds(now));
        if self.clock.runs() && after > before {
            self.flags |= FLAG_UPDATE;
            if self.next_alarm(before).is_some_and(|at| at <= after) {
                self.flags |= FLAG_ALARM;
            }
        }
    }

    fn take_flags(&mut self, cx: &mut Cx<'_>) -> u8 {
        self.update_flags(cx.now);
        let requests = self.requests();
        let flags = std::mem::take(&mut self.flags);
        self.drive_irq(cx);
        flags | if requests { 0x80 } else { 0 }
    }

    fn requests(&self) -> bool {
        self.flags & self.register_b() & INTERRUPTS != 0
    }

    fn drive_irq(&mut self, cx: &mut Cx<'_>) {
        if self.drives_irq8 {
            let requests = self.requests();
            cx.set_irq(Wire::Isa(8), requests);
        }
        self.schedule(cx);
    }

    /// Waits for the next enabled interrupt, unless one is waiting to be taken already.
    fn schedule(&mut self, cx: &mut Cx<'_>) {
        if self.requests() || !self.drives_irq8 {
            cx.sleep();
            return;
        }
        let enabled = self.register_b();
        let mut next = NEVER;
        if let Some(period) = self.period().filter(|_| enabled & FLAG_PERIODIC != 0) {
            let count = oscillations(cx.now) / period + 1;
            next = next.min(tick_of(count * period));
        }
        if enabled & FLAG_UPDATE != 0 {
            let seconds = self.clock.seconds(cx.now);
            next = next.min(self.clock.tick_of(seconds + 1));
        }
        if enabled & FLAG_ALARM != 0
            && let Some(seconds) = self.next_alarm(self.clock.seconds(cx.now))
        {
            next = next.min(self.clock.tick_of(seconds));
        }
        cx.wake_at(next);
    }
}

impl PortIo for Cmos {
    fn read(&mut self, cx: &mut Cx<'_>, port: u16, _size: Size) -> u32 {
        match port {
            0x71 => self.read_data(cx).into(),
            0x72 => self.upper_index.into(),
            0x73 => self.cell(self.upper_index | 0x80).into(),
            _ => 0xff,
        }
    }

    fn write(&mut self, cx: &mut Cx<'_>, port: u16, _size: Size, value: u32) {
        let value = value.to_le_bytes()[0];
        match port {
            // Bit 7 masks NMI, which nothing on this board raises through port 61h.
            0x70 => self.index = value & 0x7f,
            0x71 => self.write_data(cx, value),
            0x72 => self.upper_index = value & 0x7f,
            0x73 => self.set_cell(self.upper_index | 0x80, value),
            _ => {}
        }
    }
}

impl Timed for Cmos {
    fn expire(&mut self, cx: &mut Cx<'_>) {
        self.update_flags(cx.now);
        self.drive_irq(cx);
    }
}

fn oscillations(tick: Tick) -> u64 {
    rescale(tick, TICKS_PER_SECOND, OSCILLATOR_HZ)
}

/// The first tick at which `count` oscillations have passed.
fn tick_of(count: u64) -> Tick {
    let ticks = u128::from(count) * u128::from(TICKS_PER_SECOND);
    u64::try_from(ticks.div_ceil(u128::from(OSCILLATOR_HZ))).unwrap_or(NEVER)
}

/// A number that its caller has kept below 256.
fn in_byte(value: u32) -> u8 {
    value.to_le_bytes()[0]
}
