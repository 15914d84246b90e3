//! The timer, driven as a BIOS and as a kernel's calibration drive it.

use super::*;
use crate::devices::Workbench;

struct Host {
    pit: Pit,
    bench: Workbench,
}

impl Host {
    fn new() -> Self {
        Self {
            pit: Pit::new(),
            bench: Workbench::new(),
        }
    }

    fn out(&mut self, port: u16, value: u8) {
        self.pit
            .write(&mut self.bench.cx(), port, Size::Byte, value.into());
    }

    fn read(&mut self, port: u16) -> u8 {
        self.pit
            .read(&mut self.bench.cx(), port, Size::Byte)
            .to_le_bytes()[0]
    }

    /// Loads a counter with a control word and both bytes of a count.
    fn load(&mut self, control: u8, count: u16) {
        let port = 0x40 + u16::from(control >> 6);
        self.out(0x43, control);
        let [low, high] = count.to_le_bytes();
        self.out(port, low);
        self.out(port, high);
    }

    fn latched(&mut self, counter: u8) -> u16 {
        self.out(0x43, counter << 6);
        let port = 0x40 + u16::from(counter);
        u16::from_le_bytes([self.read(port), self.read(port)])
    }

    /// Lets `clocks` periods of the input pass.
    fn pass(&mut self, clocks: u64) {
        let clock = clock_at(self.bench.now) + clocks;
        self.bench.now = tick_of(clock);
    }

    fn speaker_out(&mut self) -> bool {
        self.read(0x61) & 0x20 != 0
    }
}

#[test]
fn rate_generator_interrupts_at_its_exact_rate_without_drift() {
    let mut host = Host::new();
    host.load(0x34, 11_932);
    let first = host.bench.deadline;
    for period in 1..=1000_u64 {
        host.bench.now = host.bench.deadline;
        host.bench.irq.take_edges();
        host.pit.expire(&mut host.bench.cx());
        let (rose, _) = host.bench.irq.take_edges();
        assert_eq!(rose, 1, "an edge at every period");
        assert_eq!(host.bench.deadline, tick_of(1 + (period + 1) * 11_932));
    }
    assert_eq!(first, tick_of(1 + 11_932));
}

#[test]
fn software_strobe_interrupts_once_for_each_count() {
    let mut host = Host::new();
    host.load(0x38, 11_932);
    for _ in 0..3 {
        host.bench.now = host.bench.deadline;
        host.bench.irq.take_edges();
        host.pit.expire(&mut host.bench.cx());
        let (rose, _) = host.bench.irq.take_edges();
        assert_eq!(rose, 1, "an edge at the end of the strobe");
        assert_eq!(host.bench.deadline, NEVER, "one interrupt a count");
        let [low, high] = 11_932_u16.to_le_bytes();
        host.out(0x40, low);
        host.out(0x40, high);
    }
}

#[test]
fn a_latched_count_stays_while_time_goes_on() {
    let mut host = Host::new();
    host.load(0x34, 1000);
    host.pass(101);
    host.out(0x43, 0);
    host.pass(50);
    let latched = u16::from_le_bytes([host.read(0x40), host.read(0x40)]);
    assert_eq!(latched, 900);
    assert_eq!(host.latched(0), 850);
}

#[test]
fn terminal_count_drives_the_speaker_pin_once_and_wraps() {
    let mut host = Host::new();
    host.out(0x61, 1);
    host.load(0xb0, 500);
    assert!(!host.speaker_out());
    host.pass(500);
    assert!(!host.speaker_out());
    host.pass(1);
    assert!(host.speaker_out());
    host.pass(10);
    assert_eq!(host.latched(2), 0xfff6);
    assert!(host.speaker_out());
}

#[test]
fn the_gate_stops_and_continues_a_terminal_count() {
    let mut host = Host::new();
    host.out(0x61, 1);
    host.load(0xb0, 500);
    host.pass(101);
    host.out(0x61, 0);
    host.pass(10_000);
    assert_eq!(host.latched(2), 400);
    host.out(0x61, 1);
    host.pass(101);
    assert_eq!(host.latched(2), 300);
}

#[test]
fn a_rising_gate_triggers_the_one_shot_again() {
    let mut host = Host::new();
    host.load(0xb2, 100);
    assert!(host.speaker_out());
    host.out(0x61, 1);
    host.pass(60);
    assert!(!host.speaker_out());
    host.out(0x61, 0);
    host.out(0x61, 1);
    host.pass(60);
    assert!(!host.speaker_out());
    host.pass(41);
    assert!(host.speaker_out());
}

#[test]
fn square_wave_is_high_for_the_longer_half() {
    let mut host = Host::new();
    host.out(0x61, 1);
    host.load(0xb6, 5);
    host.pass(1);
    let wave: Vec<bool> = (0..10)
        .map(|_| {
            let out = host.speaker_out();
            host.pass(1);
            out
        })
        .collect();
    let period = [true, true, true, false, false];
    assert_eq!(wave, [period, period].concat());
}

#[test]
fn strobe_is_low_for_one_clock() {
    let mut host = Host::new();
    host.out(0x61, 1);
    host.load(0xb8, 10);
    host.pass(11);
    assert!(!host.speaker_out());
    host.pass(1);
    assert!(host.speaker_out());
}

#[test]
fn bcd_counts_in_decimal_and_zero_is_ten_thousand() {
    let mut host = Host::new();
    host.load(0x35, 0x1000);
    host.pass(2);
    assert_eq!(host.latched(0), 0x0999);
    host.load(0x35, 0);
    host.pass(2);
    assert_eq!(host.latched(0), 0x9999);
}

#[test]
fn a_new_rate_begins_when_the_period_ends() {
    let mut host = Host::new();
    host.load(0x34, 1000);
    host.pass(501);
    host.out(0x40, 100);
    host.out(0x40, 0);
    assert_eq!(host.latched(0), 500);
    assert_eq!(host.bench.deadline, tick_of(1001));
    host.pass(501);
    assert_eq!(host.latched(0), 99);
}

#[test]
fn read_back_latches_status_and_count_of_several_counters() {
    let mut host = Host::new();
    host.load(0x34, 1000);
    host.load(0xb0, 77);
    host.pass(11);
    host.out(0x43, 0xc0 | 0x0a);
    let status = [host.read(0x40), host.read(0x42)];
    assert_eq!(status, [0xb4, 0x30]);
    let counts = [
        host.read(0x40),
        host.read(0x40),
        host.read(0x42),
        host.read(0x42),
    ];
    assert_eq!(counts, [0xde, 0x03, 77, 0]);
}

#[test]
fn status_tells_that_a_count_was_not_taken_yet() {
    let mut host = Host::new();
    host.out(0x43, 0x34);
    host.out(0x43, 0xe2);
    assert_eq!(host.read(0x40) & 0x40, 0x40);
    host.out(0x40, 10);
    host.out(0x40, 0);
    host.pass(1);
    host.out(0x43, 0xe2);
    assert_eq!(host.read(0x40) & 0x40, 0);
}

#[test]
fn the_refresh_bit_toggles_every_fifteen_microseconds() {
    let mut host = Host::new();
    let bits = (0..4).map(|_| {
        let bit = host.read(0x61) & 0x10;
        host.bench.now += REFRESH_TICKS;
        bit
    });
    assert_eq!(bits.collect::<Vec<_>>(), [0, 0x10, 0, 0x10]);
}

#[test]
fn a_one_shot_interrupt_leaves_no_deadline() {
    let mut host = Host::new();
    host.load(0x30, 100);
    assert_eq!(host.bench.deadline, tick_of(101));
    host.bench.now = host.bench.deadline;
    host.bench.deadline = NEVER;
    host.pit.expire(&mut host.bench.cx());
    assert_eq!(host.bench.irq.levels(), 1);
    assert_eq!(host.bench.deadline, NEVER);
}
