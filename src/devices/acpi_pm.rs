//! ACPI power management as the PIIX4's function 3 has it: PM1a event and control blocks, PM
//! timer and GPE0 block at PMBASE, and the APM ports B2h-B3h.
//!
//! There is no system management mode. APMC_EN is therefore preset in the PCI function, and a
//! write of ACPI_ENABLE to SMI_CMD (B2h) switches to ACPI mode at once, as the handler would.
//!
//! Source: ACPI 6.4 section 4.8.3; 82371AB datasheet (290562), section 7.2.

use serde::{Deserialize, Serialize};

use super::{BoardRequest, Cx, PortIo, Timed};
use crate::bus::{NEVER, Size, TICKS_PER_SECOND, Tick, Wire, rescale};

/// The frequency of the PM timer in Hz.
pub const PM_TIMER_HZ: u64 = 3_579_545;
/// The value to write to SMI_CMD for ACPI mode (FADT field ACPI_ENABLE).
pub const ACPI_ENABLE: u8 = 0xf1;
/// The value to write to SMI_CMD for legacy mode (FADT field ACPI_DISABLE).
pub const ACPI_DISABLE: u8 = 0xf0;
/// The interrupt of ACPI events (FADT field SCI_INT).
pub const SCI_IRQ: u8 = 9;
/// How many ports the block at PMBASE takes.
pub const PM_PORTS: u16 = 64;

const TIMER_BITS: u32 = 24;

const STATUS_TIMER: u16 = 1 << 0;
const STATUS_GLOBAL: u16 = 1 << 5;
const STATUS_POWER_BUTTON: u16 = 1 << 8;
const STATUS_BITS: u16 = 0x8d31;
const INTERRUPTS: u16 = 0x0521;

const CONTROL_SCI_ENABLE: u16 = 1 << 0;
const CONTROL_GLOBAL_RELEASE: u16 = 1 << 2;
const CONTROL_SLEEP_ENABLE: u16 = 1 << 13;
/// SLP_TYP of soft-off, as the DSDT's `_S5` says.
const SLEEP_TYPE_SOFT_OFF: u16 = 0;

/// The registers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AcpiPm {
    status: u16,
    enable: u16,
    control: u16,
    gpe_status: u16,
    gpe_enable: u16,
    apm_control: u8,
    apm_status: u8,
    /// The timer's overflow flag is worked out up to this tick.
    timer_seen: Tick,
}

impl AcpiPm {
    /// The registers after reset.
    pub fn new() -> Self {
        Self::default()
    }

    /// Presses the power button: an event for a guest in ACPI mode, nothing for another.
    pub fn press_power_button(&mut self, cx: &mut Cx<'_>) {
        self.status |= STATUS_POWER_BUTTON;
        self.drive_sci(cx);
    }

    /// The PM timer sets its flag whenever its highest bit changes.
    fn update_timer_status(&mut self, now: Tick) {
        let half = |tick| timer_clock(tick) >> (TIMER_BITS - 1);
        if half(self.timer_seen) != half(now) {
            self.status |= STATUS_TIMER;
        }
        self.timer_seen = now;
    }

    fn drive_sci(&mut self, cx: &mut Cx<'_>) {
        let events = self.status & self.enable & INTERRUPTS != 0;
        let general = self.gpe_status & self.gpe_enable != 0;
        let acpi_mode = self.control & CONTROL_SCI_ENABLE != 0;
        cx.set_irq(Wire::Isa(SCI_IRQ), acpi_mode && (events || general));
        let waits = self.enable & STATUS_TIMER != 0 && self.status & STATUS_TIMER == 0;
        if waits {
            let half = 1 << (TIMER_BITS - 1);
            let next = (timer_clock(cx.now) / half + 1) * half;
            cx.wake_at(tick_of(next));
        } else {
            cx.sleep();
        }
    }

    fn write_control(&mut self, cx: &mut Cx<'_>, value: u16) {
        self.control = value & !(CONTROL_SLEEP_ENABLE | CONTROL_GLOBAL_RELEASE);
        if value & CONTROL_GLOBAL_RELEASE != 0 {
            self.status |= STATUS_GLOBAL;
        }
        if value & CONTROL_SLEEP_ENABLE == 0 {
            return;
        }
        match value >> 10 & 7 {
            SLEEP_TYPE_SOFT_OFF => cx.request(BoardRequest::PowerOff),
            other => cx.outlet.misuse.push(format!(
                "acpi: sleep type {other} is not supported, ignored"
            )),
        }
    }

    fn write_apm(&mut self, command: u8) {
        self.apm_control = command;
        match command {
            ACPI_ENABLE => self.control |= CONTROL_SCI_ENABLE,
            ACPI_DISABLE => self.control &= !CONTROL_SCI_ENABLE,
            _ => {}
        }
    }

    /// The 16-bit register at an even offset from PMBASE.
    fn read_register(&mut self, now: Tick, offset: u16) -> u16 {
        let [t0, t1, t2, _] = timer_value(now).to_le_bytes();
        match offset {
            0x00 => {
                self.update_timer_status(now);
                self.status
            }
            0x02 => self.enable,
            0x04 => self.control,
            0x08 => u16::from_le_bytes([t0, t1]),
            0x0a => u16::from(t2),
            0x0c => self.gpe_status,
            0x0e => self.gpe_enable,
            _ => 0,
        }
    }

    fn write_register(&mut self, cx: &mut Cx<'_>, offset: u16, value: u16, lanes: u16) {
        self.update_timer_status(cx.now);
        let merged = |old: u16| old & !lanes | value & lanes;
        match offset {
            0x00 => self.status &= !(value & lanes & STATUS_BITS),
            0x02 => self.enable = merged(self.enable) & INTERRUPTS,
            0x04 => {
                let control = merged(self.control);
                self.write_control(cx, control);
            }
            0x0c => self.gpe_status &= !(value & lanes),
            0x0e => self.gpe_enable = merged(self.gpe_enable),
            _ => {}
        }
        self.drive_sci(cx);
    }
}

/// The ports are B2h and B3h, or an offset from PMBASE (below [`PM_PORTS`]).
impl PortIo for AcpiPm {
    fn read(&mut self, cx: &mut Cx<'_>, port: u16, size: Size) -> u32 {
        match port {
            0xb2 => self.apm_control.into(),
            0xb3 => self.apm_status.into(),
            offset => {
                let even = offset & !1;
                let low = u32::from(self.read_register(cx.now, even));
                let high = if size == Size::Dword {
                    u32::from(self.read_register(cx.now, even + 2))
                } else {
                    0
                };
                (high << 16 | low) >> ((offset & 1) * 8)
            }
        }
    }

    fn write(&mut self, cx: &mut Cx<'_>, port: u16, size: Size, value: u32) {
        let [byte, ..] = value.to_le_bytes();
        match port {
            0xb2 => {
                self.write_apm(byte);
                self.drive_sci(cx);
            }
            0xb3 => self.apm_status = byte,
            offset => {
                let [b0, b1, b2, b3] = value.to_le_bytes();
                let even = offset & !1;
                match size {
                    Size::Byte if offset & 1 == 0 => {
                        self.write_register(cx, even, b0.into(), 0x00ff);
                    }
                    Size::Byte => self.write_register(cx, even, u16::from(b0) << 8, 0xff00),
                    Size::Word => {
                        self.write_register(cx, even, u16::from_le_bytes([b0, b1]), 0xffff);
                    }
                    Size::Dword | Size::Qword => {
                        self.write_register(cx, even, u16::from_le_bytes([b0, b1]), 0xffff);
                        self.write_register(cx, even + 2, u16::from_le_bytes([b2, b3]), 0xffff);
                    }
                }
            }
        }
    }
}

impl Timed for AcpiPm {
    fn expire(&mut self, cx: &mut Cx<'_>) {
        self.update_timer_status(cx.now);
        self.drive_sci(cx);
    }
}

/// How many periods of the PM timer have passed by `tick`.
fn timer_clock(tick: Tick) -> u64 {
    rescale(tick, TICKS_PER_SECOND, PM_TIMER_HZ)
}

fn timer_value(now: Tick) -> u32 {
    (timer_clock(now) & 0x00ff_ffff) as u32
}

/// The first tick at which `clock` periods have passed.
fn tick_of(clock: u64) -> Tick {
    let ticks = u128::from(clock) * u128::from(TICKS_PER_SECOND);
    u64::try_from(ticks.div_ceil(u128::from(PM_TIMER_HZ))).unwrap_or(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Workbench;

    struct Host {
        power: AcpiPm,
        bench: Workbench,
    }

    impl Host {
        /// In ACPI mode, as a kernel switches to it.
        fn new() -> Self {
            let mut host = Self {
                power: AcpiPm::new(),
                bench: Workbench::new(),
            };
            host.out(0xb2, Size::Byte, ACPI_ENABLE.into());
            host
        }

        fn out(&mut self, port: u16, size: Size, value: u32) {
            self.power.write(&mut self.bench.cx(), port, size, value);
        }

        fn read(&mut self, port: u16, size: Size) -> u32 {
            self.power.read(&mut self.bench.cx(), port, size)
        }

        fn sci(&self) -> bool {
            self.bench.irq.levels() & 1 << SCI_IRQ != 0
        }
    }

    #[test]
    fn smi_command_switches_acpi_mode_on_and_off() {
        let mut host = Host::new();
        assert_eq!(host.read(4, Size::Word), 1);
        host.out(0xb2, Size::Byte, ACPI_DISABLE.into());
        assert_eq!(host.read(4, Size::Word), 0);
    }

    #[test]
    fn sleep_type_0_with_sleep_enable_powers_off() {
        let mut host = Host::new();
        host.out(4, Size::Word, 1);
        assert!(host.bench.requests.is_empty());
        host.out(4, Size::Word, 0x2001);
        assert_eq!(host.bench.requests, [BoardRequest::PowerOff]);
        assert_eq!(host.read(4, Size::Word), 1);
    }

    #[test]
    fn another_sleep_type_is_told_and_ignored() {
        let mut host = Host::new();
        host.out(4, Size::Word, 0x2401);
        assert!(host.bench.requests.is_empty());
        assert_eq!(host.bench.outlet.misuse.len(), 1);
    }

    #[test]
    fn power_button_raises_sci_until_its_status_is_written() {
        let mut host = Host::new();
        host.out(2, Size::Word, 0x0120);
        host.power.press_power_button(&mut host.bench.cx());
        assert!(host.sci());
        assert_eq!(host.read(0, Size::Word), 0x0100);
        host.out(1, Size::Byte, 0x01);
        assert!(!host.sci());
        assert_eq!(host.read(0, Size::Word), 0);
    }

    #[test]
    fn the_timer_counts_24_bits_at_its_exact_rate() {
        let mut host = Host::new();
        host.bench.now = TICKS_PER_SECOND;
        assert_eq!(host.read(8, Size::Dword), 3_579_545);
        host.bench.now = 5 * TICKS_PER_SECOND;
        assert_eq!(host.read(8, Size::Dword), 5 * 3_579_545 % (1 << 24));
        assert_eq!(
            host.read(9, Size::Byte) & 0xff,
            ((5 * 3_579_545) >> 8) & 0xff
        );
    }

    #[test]
    fn timer_overflow_interrupts_whenever_the_top_bit_moves() {
        let mut host = Host::new();
        host.out(2, Size::Word, 1);
        for half in 1..=3 {
            assert_eq!(host.bench.deadline, tick_of(half << 23));
            host.bench.now = host.bench.deadline;
            host.power.expire(&mut host.bench.cx());
            assert!(host.sci());
            host.out(0, Size::Word, 1);
            assert!(!host.sci());
        }
    }

    #[test]
    fn an_overflow_that_nobody_waits_for_shows_in_the_status() {
        let mut host = Host::new();
        assert_eq!(host.bench.deadline, NEVER);
        host.bench.now = 3 * TICKS_PER_SECOND;
        assert_eq!(host.read(0, Size::Word), 1);
    }
}
