//! The clock, driven as a BIOS and as Linux's rtc driver drive it.

use super::*;
use crate::devices::Workbench;

/// 2024-02-29 23:59:58, a Thursday.
const LEAP_DAY: UnixSeconds = 1_709_251_198;

struct Host {
    cmos: Cmos,
    bench: Workbench,
}

impl Host {
    fn new() -> Self {
        let setup = CmosSetup {
            date: LEAP_DAY,
            ram_below_4g: 3 << 30,
            ram_above_4g: 1 << 30,
            boot_order: [2, 1, 0],
        };
        Self {
            cmos: Cmos::new(&setup),
            bench: Workbench::new(),
        }
    }

    fn get(&mut self, cell: u8) -> u8 {
        let mut cx = self.bench.cx();
        self.cmos.write(&mut cx, 0x70, Size::Byte, cell.into());
        self.cmos.read(&mut cx, 0x71, Size::Byte).to_le_bytes()[0]
    }

    fn set(&mut self, cell: u8, value: u8) {
        let mut cx = self.bench.cx();
        self.cmos.write(&mut cx, 0x70, Size::Byte, cell.into());
        self.cmos.write(&mut cx, 0x71, Size::Byte, value.into());
    }

    /// Hour, minute, second, day, month, year, century.
    fn date(&mut self) -> [u8; 7] {
        [4, 2, 0, 7, 8, 9, 0x32].map(|cell| self.get(cell))
    }

    /// Waits for the deadline and takes the interrupt: register C.
    fn interrupt(&mut self) -> u8 {
        assert_ne!(self.bench.deadline, NEVER, "nothing to wait for");
        self.bench.now = self.bench.deadline;
        self.bench.deadline = NEVER;
        self.cmos.expire(&mut self.bench.cx());
        assert_eq!(self.bench.irq.levels(), 1 << 8);
        let flags = self.get(0x0c);
        assert_eq!(self.bench.irq.levels(), 0);
        flags
    }
}

#[test]
fn the_date_runs_with_the_ticks_across_a_leap_day() {
    let mut host = Host::new();
    assert_eq!(host.date(), [0x23, 0x59, 0x58, 0x29, 0x02, 0x24, 0x20]);
    assert_eq!(host.get(6), 5);
    host.bench.now = 2 * TICKS_PER_SECOND;
    assert_eq!(host.date(), [0x00, 0x00, 0x00, 0x01, 0x03, 0x24, 0x20]);
}

#[test]
fn binary_and_twelve_hour_modes_show_the_same_time() {
    let mut host = Host::new();
    host.set(0x0b, 0x06);
    assert_eq!(host.date(), [23, 59, 58, 29, 2, 24, 20]);
    host.set(0x0b, 0x00);
    assert_eq!(host.get(4), 0x91);
    host.bench.now = 2 * TICKS_PER_SECOND;
    assert_eq!(host.get(4), 0x12);
}

#[test]
fn setting_the_date_holds_it_until_set_is_released() {
    let mut host = Host::new();
    host.set(0x0b, 0x82);
    for (cell, value) in [
        (4, 0x12),
        (2, 0x30),
        (0, 0x00),
        (7, 0x25),
        (8, 0x12),
        (9, 0x99),
    ] {
        host.set(cell, value);
    }
    host.set(0x32, 0x19);
    host.bench.now = 5 * TICKS_PER_SECOND;
    assert_eq!(host.get(0), 0x00);
    host.set(0x0b, 0x02);
    host.bench.now += TICKS_PER_SECOND;
    assert_eq!(host.date(), [0x12, 0x30, 0x01, 0x25, 0x12, 0x99, 0x19]);
    assert_eq!(host.get(6), 7, "Christmas 1999 was a Saturday");
}

#[test]
fn update_in_progress_warns_before_the_seconds_move() {
    let mut host = Host::new();
    host.bench.now = TICKS_PER_SECOND - UPDATE_WARNING - 1;
    assert_eq!(host.get(0x0a), 0x26);
    host.bench.now += 1;
    assert_eq!(host.get(0x0a), 0xa6);
    host.bench.now = TICKS_PER_SECOND;
    assert_eq!(host.get(0x0a), 0x26);
}

#[test]
fn periodic_interrupt_comes_at_1024_hz_exactly() {
    let mut host = Host::new();
    host.set(0x0b, 0x42);
    for count in 1..=1024 {
        assert_eq!(host.interrupt() & 0xc0, 0xc0, "at {count}");
    }
    assert_eq!(host.bench.now, TICKS_PER_SECOND);
}

#[test]
fn update_interrupt_comes_each_second() {
    let mut host = Host::new();
    host.set(0x0b, 0x12);
    for second in 1..=3 {
        assert_eq!(host.interrupt() & 0x90, 0x90);
        assert_eq!(host.bench.now, second * TICKS_PER_SECOND);
    }
}

#[test]
fn alarm_fires_at_its_time_and_wild_cells_match_all() {
    let mut host = Host::new();
    for (cell, value) in [(1, 0x05), (3, 0x01), (5, 0x00)] {
        host.set(cell, value);
    }
    host.set(0x0b, 0x22);
    assert_eq!(host.interrupt() & 0xa0, 0xa0);
    assert_eq!(host.bench.now, 67 * TICKS_PER_SECOND);
    host.set(3, 0xff);
    assert_eq!(host.interrupt() & 0xa0, 0xa0);
    assert_eq!(host.bench.now, 127 * TICKS_PER_SECOND);
}

#[test]
fn an_alarm_that_names_no_time_never_fires() {
    let mut host = Host::new();
    host.set(5, 0x77);
    host.set(0x0b, 0x22);
    assert_eq!(host.bench.deadline, NEVER);
}

#[test]
fn flags_that_nobody_waits_for_still_show_in_register_c() {
    let mut host = Host::new();
    assert_eq!(host.get(0x0c), 0);
    host.bench.now = TICKS_PER_SECOND;
    assert_eq!(host.get(0x0c), 0x50);
    assert_eq!(host.get(0x0c), 0);
}

#[test]
fn cells_describe_memory_and_boot_order() {
    let mut host = Host::new();
    let cells = [0x15, 0x16, 0x17, 0x18, 0x30, 0x31].map(|cell| host.get(cell));
    assert_eq!(cells, [0x80, 0x02, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!([0x34, 0x35].map(|cell| host.get(cell)), [0x00, 0xbf]);
    assert_eq!([0x5b, 0x5c, 0x5d].map(|cell| host.get(cell)), [0, 0x40, 0]);
    assert_eq!((host.get(0x3d), host.get(0x0d)), (0x12, 0x80));
    let sum: u16 = (0x10..=0x2d).map(|cell| u16::from(host.get(cell))).sum();
    assert_eq!(sum.to_be_bytes(), [0x2e, 0x2f].map(|cell| host.get(cell)));
}
