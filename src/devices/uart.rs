//! A 16550A serial port: COM1 at 3F8h, IRQ 4.
//!
//! A byte leaves the moment it is written, whatever the divisor says: the transmitter is always
//! empty, and a guest that waits for it never waits. Received bytes queue on the line until
//! the FIFO has room, so that nothing typed or pasted is lost. The divisor still decides how
//! long the character timeout of the receive FIFO is.
//!
//! Left out: break, parity and framing errors, which the line never makes.
//!
//! Source: National Semiconductor PC16550D datasheet (TL/C/8652).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Cx, PortIo, Timed};
use crate::bus::{IsaIrq, Size, TICKS_PER_SECOND, Tick, Wire, rescale};

const FIFO_BYTES: usize = 16;
const CRYSTAL_HZ: u64 = 1_843_200;

const LCR_DLAB: u8 = 0x80;

const IER_RECEIVED: u8 = 0x01;
const IER_TRANSMIT_EMPTY: u8 = 0x02;
const IER_LINE_STATUS: u8 = 0x04;
const IER_MODEM_STATUS: u8 = 0x08;

const LSR_DATA_READY: u8 = 0x01;
const LSR_OVERRUN: u8 = 0x02;
const LSR_TRANSMITTER_EMPTY: u8 = 0x60;

const MCR_OUT2: u8 = 0x08;
const MCR_LOOP: u8 = 0x10;

/// CTS, DSR and DCD: a terminal that is always there.
const MSR_CONNECTED: u8 = 0xb0;

/// Why the port interrupts, by priority; the values are those of IIR bits 3..0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    LineStatus = 0x06,
    Received = 0x04,
    Timeout = 0x0c,
    TransmitEmpty = 0x02,
    ModemStatus = 0x00,
}

/// A serial port.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Uart {
    irq: IsaIrq,
    line: VecDeque<u8>,
    received: VecDeque<u8>,
    fifo_enabled: bool,
    trigger: usize,
    timed_out: bool,
    transmit_empty_pending: bool,
    overrun: bool,
    ier: u8,
    lcr: u8,
    mcr: u8,
    modem_deltas: u8,
    scratch: u8,
    divisor: u16,
}

impl Uart {
    /// The port after reset, with its interrupt on `irq`.
    pub fn new(irq: IsaIrq) -> Self {
        Self {
            irq,
            line: VecDeque::new(),
            received: VecDeque::new(),
            fifo_enabled: false,
            trigger: 1,
            timed_out: false,
            transmit_empty_pending: false,
            overrun: false,
            ier: 0,
            lcr: 0,
            mcr: 0,
            modem_deltas: 0,
            scratch: 0,
            divisor: 12,
        }
    }

    /// A byte arrives on the line.
    pub fn receive(&mut self, cx: &mut Cx<'_>, byte: u8) {
        self.line.push_back(byte);
        self.fill(cx);
        self.drive_irq(cx);
    }

    /// Moves bytes from the line while there is room.
    fn fill(&mut self, cx: &mut Cx<'_>) {
        let room = if self.fifo_enabled { FIFO_BYTES } else { 1 };
        if self.mcr & MCR_LOOP != 0 {
            return;
        }
        while self.received.len() < room
            && let Some(byte) = self.line.pop_front()
        {
            self.received.push_back(byte);
            self.timed_out = false;
        }
        self.schedule_timeout(cx);
    }

    /// The receive FIFO below its trigger level reports after four silent character times.
    fn schedule_timeout(&self, cx: &mut Cx<'_>) {
        let waits = self.fifo_enabled
            && !self.received.is_empty()
            && self.received.len() < self.trigger
            && !self.timed_out;
        if waits {
            cx.wake_at(cx.now + self.timeout_ticks());
        } else {
            cx.sleep();
        }
    }

    /// Four times a start bit, the data bits, parity and stop bits.
    fn timeout_ticks(&self) -> Tick {
        let bits = 1 + 5 + u64::from(self.lcr & 3) + u64::from(self.lcr >> 3 & 1) + 1;
        let clocks = 4 * bits * 16 * u64::from(self.divisor.max(1));
        rescale(clocks, CRYSTAL_HZ, TICKS_PER_SECOND)
    }

    fn cause(&self) -> Option<Cause> {
        let enabled = |bit: u8| self.ier & bit != 0;
        if enabled(IER_LINE_STATUS) && self.overrun {
            Some(Cause::LineStatus)
        } else if enabled(IER_RECEIVED) && self.received.len() >= self.trigger {
            Some(Cause::Received)
        } else if enabled(IER_RECEIVED) && self.timed_out {
            Some(Cause::Timeout)
        } else if enabled(IER_TRANSMIT_EMPTY) && self.transmit_empty_pending {
            Some(Cause::TransmitEmpty)
        } else if enabled(IER_MODEM_STATUS) && self.modem_deltas != 0 {
            Some(Cause::ModemStatus)
        } else {
            None
        }
    }

    /// A PC gates the request with OUT2, which the loop-back mode holds inactive.
    fn drive_irq(&self, cx: &mut Cx<'_>) {
        let gated = self.mcr & (MCR_OUT2 | MCR_LOOP) == MCR_OUT2;
        cx.set_irq(Wire::Isa(self.irq), gated && self.cause().is_some());
    }

    fn read_received(&mut self, cx: &mut Cx<'_>) -> u8 {
        let byte = self.received.pop_front().unwrap_or(0);
        self.timed_out = false;
        self.fill(cx);
        byte
    }

    fn transmit(&mut self, cx: &mut Cx<'_>, byte: u8) {
        if self.mcr & MCR_LOOP == 0 {
            cx.outlet.serial.push(byte);
        } else {
            let room = if self.fifo_enabled { FIFO_BYTES } else { 1 };
            if self.received.len() < room {
                self.received.push_back(byte);
            } else {
                self.overrun = true;
            }
            self.schedule_timeout(cx);
        }
        // The holding register fills and empties: the request drops and comes again, which
        // an edge-triggered controller has to see.
        self.transmit_empty_pending = false;
        self.drive_irq(cx);
        self.transmit_empty_pending = true;
    }

    fn read_iir(&mut self) -> u8 {
        let fifos = if self.fifo_enabled { 0xc0 } else { 0 };
        let cause = self.cause();
        if cause == Some(Cause::TransmitEmpty) {
            self.transmit_empty_pending = false;
        }
        fifos | cause.map_or(1, |cause| cause as u8)
    }

    fn read_lsr(&mut self) -> u8 {
        let ready = if self.received.is_empty() {
            0
        } else {
            LSR_DATA_READY
        };
        let overrun = if std::mem::take(&mut self.overrun) {
            LSR_OVERRUN
        } else {
            0
        };
        ready | overrun | LSR_TRANSMITTER_EMPTY
    }

    fn modem_lines(&self) -> u8 {
        if self.mcr & MCR_LOOP == 0 {
            return MSR_CONNECTED;
        }
        // DTR shows as DSR, RTS as CTS, OUT1 as RI, OUT2 as DCD.
        let bit = |from: u8, to: u8| (self.mcr >> from & 1) << to;
        bit(0, 5) | bit(1, 4) | bit(2, 6) | bit(3, 7)
    }

    fn read_msr(&mut self) -> u8 {
        self.modem_lines() | std::mem::take(&mut self.modem_deltas)
    }

    fn write_ier(&mut self, value: u8) {
        let enables_transmit = value & !self.ier & IER_TRANSMIT_EMPTY != 0;
        self.ier = value & 0x0f;
        // The holding register is empty, so enabling its interrupt raises it.
        self.transmit_empty_pending |= enables_transmit;
    }

    fn write_fcr(&mut self, cx: &mut Cx<'_>, value: u8) {
        let enabled = value & 1 != 0;
        if enabled != self.fifo_enabled || value & 2 != 0 {
            self.received.clear();
            self.timed_out = false;
        }
        if value & 4 != 0 {
            self.transmit_empty_pending = true;
        }
        self.fifo_enabled = enabled;
        self.trigger = match (enabled, value >> 6) {
            (false, _) | (true, 0) => 1,
            (true, 1) => 4,
            (true, 2) => 8,
            (true, _) => 14,
        };
        self.fill(cx);
    }

    fn write_mcr(&mut self, cx: &mut Cx<'_>, value: u8) {
        let before = self.modem_lines();
        self.mcr = value & 0x1f;
        let after = self.modem_lines();
        let changed = (before ^ after) >> 4;
        // RI reports its falling edge only.
        let ring = changed & 4 & before >> 4;
        self.modem_deltas |= changed & 0x0b | ring;
        self.fill(cx);
    }
}

impl PortIo for Uart {
    fn read(&mut self, cx: &mut Cx<'_>, port: u16, _size: Size) -> u32 {
        let dlab = self.lcr & LCR_DLAB != 0;
        let value = match port & 7 {
            0 if dlab => self.divisor.to_le_bytes()[0],
            0 => self.read_received(cx),
            1 if dlab => self.divisor.to_le_bytes()[1],
            1 => self.ier,
            2 => self.read_iir(),
            3 => self.lcr,
            4 => self.mcr,
            5 => self.read_lsr(),
            6 => self.read_msr(),
            _ => self.scratch,
        };
        self.drive_irq(cx);
        value.into()
    }

    fn write(&mut self, cx: &mut Cx<'_>, port: u16, _size: Size, value: u32) {
        let value = value.to_le_bytes()[0];
        let dlab = self.lcr & LCR_DLAB != 0;
        let [low, high] = self.divisor.to_le_bytes();
        match port & 7 {
            0 if dlab => self.divisor = u16::from_le_bytes([value, high]),
            0 => self.transmit(cx, value),
            1 if dlab => self.divisor = u16::from_le_bytes([low, value]),
            1 => self.write_ier(value),
            2 => self.write_fcr(cx, value),
            3 => self.lcr = value,
            4 => self.write_mcr(cx, value),
            7 => self.scratch = value,
            _ => {}
        }
        self.drive_irq(cx);
    }
}

impl Timed for Uart {
    fn expire(&mut self, cx: &mut Cx<'_>) {
        self.timed_out = true;
        self.drive_irq(cx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Workbench;

    struct Host {
        uart: Uart,
        bench: Workbench,
    }

    impl Host {
        /// FIFOs on, OUT2 on, 115200 baud.
        fn new() -> Self {
            let mut host = Self {
                uart: Uart::new(4),
                bench: Workbench::new(),
            };
            for (register, value) in [(3, 0x83), (0, 1), (1, 0), (3, 3), (2, 0xc7), (4, 0x0b)] {
                host.out(register, value);
            }
            host
        }

        fn out(&mut self, register: u16, value: u8) {
            let mut cx = self.bench.cx();
            self.uart
                .write(&mut cx, 0x3f8 + register, Size::Byte, value.into());
        }

        fn read(&mut self, register: u16) -> u8 {
            let mut cx = self.bench.cx();
            self.uart
                .read(&mut cx, 0x3f8 + register, Size::Byte)
                .to_le_bytes()[0]
        }

        fn receive(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.uart.receive(&mut self.bench.cx(), *byte);
            }
        }

        fn requests(&self) -> bool {
            self.bench.irq.levels() & 1 << 4 != 0
        }
    }

    #[test]
    fn written_bytes_leave_and_each_raises_the_empty_interrupt() {
        let mut host = Host::new();
        host.out(1, IER_TRANSMIT_EMPTY);
        assert!(host.requests());
        assert_eq!(host.read(2), 0xc2);
        assert!(!host.requests());
        host.out(0, b'a');
        assert!(host.requests());
        assert_eq!(host.read(5), 0x60);
        assert_eq!(host.bench.outlet.serial, b"a");
    }

    #[test]
    fn enabling_the_empty_interrupt_again_raises_it_again() {
        let mut host = Host::new();
        host.out(1, IER_TRANSMIT_EMPTY);
        host.read(2);
        host.out(1, 0);
        host.out(1, IER_TRANSMIT_EMPTY);
        assert_eq!(host.read(2), 0xc2);
    }

    #[test]
    fn a_second_byte_without_reading_iir_makes_a_new_edge() {
        let mut host = Host::new();
        host.out(1, IER_TRANSMIT_EMPTY);
        host.bench.irq.take_edges();
        host.out(0, b'b');
        assert_eq!(host.bench.irq.take_edges(), (1 << 4, 1 << 4));
    }

    #[test]
    fn received_bytes_interrupt_at_the_trigger_level() {
        let mut host = Host::new();
        host.out(1, IER_RECEIVED);
        host.receive(&[7; 13]);
        assert!(!host.requests());
        host.receive(&[8]);
        assert_eq!(host.read(2), 0xc4);
        assert_eq!(host.read(0), 7);
        assert!(!host.requests());
    }

    #[test]
    fn a_short_message_is_told_after_four_character_times() {
        let mut host = Host::new();
        host.out(1, IER_RECEIVED);
        host.receive(b"l");
        assert_eq!(
            host.bench.deadline,
            4 * 10 * 16 * TICKS_PER_SECOND / CRYSTAL_HZ
        );
        host.bench.now = host.bench.deadline;
        host.uart.expire(&mut host.bench.cx());
        assert_eq!(host.read(2), 0xcc);
        assert_eq!(host.read(0), b'l');
        assert_eq!(host.read(2), 0xc1);
    }

    #[test]
    fn pasted_text_waits_on_the_line_until_there_is_room() {
        let mut host = Host::new();
        let text: Vec<u8> = (0..100).collect();
        host.receive(&text);
        let read: Vec<u8> = (0..100).map(|_| host.read(0)).collect();
        assert_eq!(read, text);
        assert_eq!(host.read(5), 0x60);
    }

    #[test]
    fn loop_back_returns_bytes_and_modem_lines_and_holds_the_request() {
        let mut host = Host::new();
        host.out(1, IER_RECEIVED);
        host.out(4, 0x1f);
        assert_eq!(host.read(6) & 0xf0, 0xf0);
        host.out(4, 0x1a);
        assert_eq!(host.read(6) & 0xf0, 0x90);
        host.out(0, 0x5a);
        assert!(!host.requests());
        assert_eq!((host.read(5), host.read(0)), (0x61, 0x5a));
        assert!(host.bench.outlet.serial.is_empty());
    }

    #[test]
    fn the_divisor_hides_behind_dlab_and_scratch_remembers() {
        let mut host = Host::new();
        host.out(3, 0x83);
        host.out(0, 0x34);
        host.out(1, 0x12);
        assert_eq!((host.read(0), host.read(1)), (0x34, 0x12));
        host.out(3, 0x03);
        assert_eq!(host.read(1), 0);
        host.out(7, 0xa5);
        assert_eq!(host.read(7), 0xa5);
    }

    #[test]
    fn without_out2_the_request_does_not_reach_the_wire() {
        let mut host = Host::new();
        host.out(4, 0x03);
        host.out(1, IER_TRANSMIT_EMPTY);
        assert!(!host.requests());
        host.out(4, 0x0b);
        assert!(host.requests());
    }
}
