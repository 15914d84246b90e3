//! The two 8259A interrupt controllers of a PC, cascaded through IR2 of the master.
//!
//! Ports 20h-21h (master), A0h-A1h (slave), and the edge/level control registers of the PIIX3
//! at 4D0h-4D1h, which replace ICW1's LTIM bit. The 8080 modes (ICW4 bit 0 clear) and the
//! buffered modes change nothing that a PC can see and are accepted only.
//!
//! ```text
//!   IR0..7 --> IRR --(IMR)--> priority resolver --> INT
//!                                 ^     |
//!                                 +-ISR-+  acknowledge moves IRR to ISR, EOI clears ISR
//! ```
//!
//! Source: Intel 8259A datasheet (231468); 82371SB datasheet, section 2.4.10 (ELCR).

use serde::{Deserialize, Serialize};

use super::{Cx, PortIo};
use crate::bus::{IsaIrq, Size};

const CASCADE: u8 = 1 << 2;

/// Which initialization word the next write to the data port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Expects {
    Mask,
    Icw2,
    Icw3,
    Icw4,
}

/// One 8259A.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Chip {
    lines: u8,
    irr: u8,
    isr: u8,
    imr: u8,
    level_triggered: u8,
    vector_base: u8,
    lowest_priority: u8,
    expects: Expects,
    single: bool,
    has_icw4: bool,
    auto_eoi: bool,
    rotate_on_auto_eoi: bool,
    special_mask: bool,
    special_fully_nested: bool,
    reads_isr: bool,
    polled: bool,
}

impl Chip {
    fn new() -> Self {
        Self {
            lines: 0,
            irr: 0,
            isr: 0,
            imr: 0,
            level_triggered: 0,
            vector_base: 0,
            lowest_priority: 7,
            expects: Expects::Mask,
            single: false,
            has_icw4: false,
            auto_eoi: false,
            rotate_on_auto_eoi: false,
            special_mask: false,
            special_fully_nested: false,
            reads_isr: false,
            polled: false,
        }
    }

    fn set_line(&mut self, bit: u8, asserted: bool) {
        let rises = asserted && self.lines & bit == 0;
        if asserted {
            self.lines |= bit;
        } else {
            self.lines &= !bit;
            // The input has to stay high until it is acknowledged, in both trigger modes.
            self.irr &= !bit;
        }
        if rises || (asserted && self.level_triggered & bit != 0) {
            self.irr |= bit;
        }
    }

    fn set_triggers(&mut self, level_triggered: u8) {
        let now_level = level_triggered & !self.level_triggered;
        self.level_triggered = level_triggered;
        self.irr |= now_level & self.lines;
    }

    /// How many steps `irq` stands below the highest priority.
    fn rank(&self, irq: u8) -> u8 {
        irq.wrapping_sub(self.lowest_priority).wrapping_sub(1) & 7
    }

    fn most_urgent(&self, bits: u8) -> Option<u8> {
        let set = (0..8).filter(|irq| bits & (1 << irq) != 0);
        set.min_by_key(|irq| self.rank(*irq))
    }

    /// The request that drives INT, if any.
    fn pending(&self) -> Option<u8> {
        let unmasked = self.irr & !self.imr;
        if unmasked == 0 {
            return None;
        }
        let request = self.most_urgent(unmasked)?;
        let mut blocking = self.isr;
        if self.special_mask {
            blocking &= !self.imr;
        }
        if self.special_fully_nested {
            blocking &= !CASCADE;
        }
        match self.most_urgent(blocking) {
            Some(served) if self.rank(served) <= self.rank(request) => None,
            _ => Some(request),
        }
    }

    fn acknowledge(&mut self, irq: u8) {
        let bit = 1 << irq;
        if self.auto_eoi {
            if self.rotate_on_auto_eoi {
                self.lowest_priority = irq;
            }
        } else {
            self.isr |= bit;
        }
        if self.level_triggered & bit == 0 {
            self.irr &= !bit;
        }
    }

    fn read_command(&mut self) -> u8 {
        if std::mem::take(&mut self.polled) {
            return match self.pending() {
                Some(irq) => {
                    self.acknowledge(irq);
                    0x80 | irq
                }
                None => 0,
            };
        }
        if self.reads_isr { self.isr } else { self.irr }
    }

    fn write_command(&mut self, value: u8) {
        if value & 0x10 != 0 {
            self.begin_initialization(value);
        } else if value & 0x08 != 0 {
            self.write_ocw3(value);
        } else {
            self.write_ocw2(value);
        }
    }

    fn begin_initialization(&mut self, icw1: u8) {
        *self = Self {
            lines: self.lines,
            level_triggered: self.level_triggered,
            irr: self.lines & self.level_triggered,
            expects: Expects::Icw2,
            single: icw1 & 0x02 != 0,
            has_icw4: icw1 & 0x01 != 0,
            ..Self::new()
        };
    }

    fn write_ocw2(&mut self, value: u8) {
        let level = value & 7;
        match value >> 5 {
            0b000 => self.rotate_on_auto_eoi = false,
            0b100 => self.rotate_on_auto_eoi = true,
            0b001 => {
                self.end_most_urgent();
            }
            0b101 => {
                if let Some(irq) = self.end_most_urgent() {
                    self.lowest_priority = irq;
                }
            }
            0b011 => self.isr &= !(1 << level),
            0b111 => {
                self.isr &= !(1 << level);
                self.lowest_priority = level;
            }
            0b110 => self.lowest_priority = level,
            _ => {}
        }
    }

    fn end_most_urgent(&mut self) -> Option<u8> {
        let mut ending = self.isr;
        if self.special_mask {
            ending &= !self.imr;
        }
        let irq = self.most_urgent(ending)?;
        self.isr &= !(1 << irq);
        Some(irq)
    }

    fn write_ocw3(&mut self, value: u8) {
        match value & 0x60 {
            0x40 => self.special_mask = false,
            0x60 => self.special_mask = true,
            _ => {}
        }
        self.polled = value & 0x04 != 0;
        match value & 0x03 {
            2 => self.reads_isr = false,
            3 => self.reads_isr = true,
            _ => {}
        }
    }

    fn write_data(&mut self, value: u8) {
        match self.expects {
            Expects::Mask => self.imr = value,
            Expects::Icw2 => {
                self.vector_base = value & 0xf8;
                self.expects = match (self.single, self.has_icw4) {
                    (false, _) => Expects::Icw3,
                    (true, true) => Expects::Icw4,
                    (true, false) => Expects::Mask,
                };
            }
            Expects::Icw3 => {
                self.expects = if self.has_icw4 {
                    Expects::Icw4
                } else {
                    Expects::Mask
                };
            }
            Expects::Icw4 => {
                self.auto_eoi = value & 0x02 != 0;
                self.special_fully_nested = value & 0x10 != 0;
                self.expects = Expects::Mask;
            }
        }
    }
}

/// The master and the slave, as the PC wires them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pic {
    master: Chip,
    slave: Chip,
}

impl Default for Pic {
    fn default() -> Self {
        Self::new()
    }
}

impl Pic {
    /// Both chips as they are before the first ICW1.
    pub fn new() -> Self {
        Self {
            master: Chip::new(),
            slave: Chip::new(),
        }
    }

    /// Drives one of the sixteen request inputs. IRQ 2 is the cascade and cannot be driven.
    pub fn set_line(&mut self, irq: IsaIrq, asserted: bool) {
        match irq {
            2 => return,
            0..=7 => self.master.set_line(1 << irq, asserted),
            8..=15 => self.slave.set_line(1 << (irq - 8), asserted),
            _ => return,
        }
        self.cascade();
    }

    /// The INT output of the master.
    pub fn output(&self) -> bool {
        self.master.pending().is_some()
    }

    /// The interrupt acknowledge cycle. Without a request the vector is the spurious one.
    pub fn acknowledge(&mut self) -> u8 {
        let Some(irq) = self.master.pending() else {
            return self.master.vector_base | 7;
        };
        self.master.acknowledge(irq);
        if irq != 2 {
            return self.master.vector_base | irq;
        }
        let vector = match self.slave.pending() {
            Some(irq) => {
                self.slave.acknowledge(irq);
                self.slave.vector_base | irq
            }
            None => self.slave.vector_base | 7,
        };
        self.cascade();
        vector
    }

    /// Carries the slave's INT to IR2 of the master. The input follows it as a level: the
    /// slave drops and raises INT between two requests, which is an edge each time.
    fn cascade(&mut self) {
        if self.slave.pending().is_some() {
            self.master.lines |= CASCADE;
            self.master.irr |= CASCADE;
        } else {
            self.master.set_line(CASCADE, false);
        }
    }
}

impl PortIo for Pic {
    fn read(&mut self, _cx: &mut Cx<'_>, port: u16, _size: Size) -> u32 {
        let value = match port {
            0x20 => self.master.read_command(),
            0x21 => self.master.imr,
            0xa0 => self.slave.read_command(),
            0xa1 => self.slave.imr,
            0x4d0 => self.master.level_triggered,
            0x4d1 => self.slave.level_triggered,
            _ => 0xff,
        };
        self.cascade();
        value.into()
    }

    fn write(&mut self, _cx: &mut Cx<'_>, port: u16, _size: Size, value: u32) {
        let value = value.to_le_bytes()[0];
        match port {
            0x20 => self.master.write_command(value),
            0x21 => self.master.write_data(value),
            0xa0 => self.slave.write_command(value),
            0xa1 => self.slave.write_data(value),
            // IRQ 0, 1, 2, 8 and 13 are always edge-triggered.
            0x4d0 => self.master.set_triggers(value & 0xf8),
            0x4d1 => self.slave.set_triggers(value & 0xde),
            _ => {}
        }
        self.cascade();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Workbench;

    struct Host {
        pic: Pic,
        bench: Workbench,
    }

    impl Host {
        /// Initialized as a PC BIOS does, with `icw4` for the master.
        fn with_icw4(icw4: u8) -> Self {
            let mut host = Self {
                pic: Pic::new(),
                bench: Workbench::new(),
            };
            for (port, words) in [
                (0x20, [0x11, 0x08, 0x04, icw4]),
                (0xa0, [0x11, 0x70, 0x02, 1]),
            ] {
                let [icw1, rest @ ..] = words;
                host.out(port, icw1);
                rest.into_iter().for_each(|word| host.out(port + 1, word));
            }
            host
        }

        fn new() -> Self {
            Self::with_icw4(1)
        }

        fn out(&mut self, port: u16, value: u8) {
            self.pic
                .write(&mut self.bench.cx(), port, Size::Byte, value.into());
        }

        fn read(&mut self, port: u16) -> u32 {
            self.pic.read(&mut self.bench.cx(), port, Size::Byte)
        }

        fn raise(&mut self, irqs: &[IsaIrq]) {
            irqs.iter().for_each(|irq| self.pic.set_line(*irq, true));
        }
    }

    #[test]
    fn lower_requests_wait_until_the_one_in_service_ends() {
        let mut host = Host::new();
        host.raise(&[4, 1]);
        assert_eq!(host.pic.acknowledge(), 0x09);
        assert!(!host.pic.output());
        host.raise(&[0]);
        assert_eq!(host.pic.acknowledge(), 0x08);
        host.out(0x20, 0x20);
        host.out(0x20, 0x20);
        assert_eq!(host.pic.acknowledge(), 0x0c);
    }

    #[test]
    fn slave_requests_come_through_the_cascade_and_need_two_ends() {
        let mut host = Host::new();
        host.raise(&[8, 14]);
        assert_eq!(host.pic.acknowledge(), 0x70);
        host.out(0xa0, 0x20);
        assert!(!host.pic.output());
        host.out(0x20, 0x20);
        assert_eq!(host.pic.acknowledge(), 0x76);
    }

    #[test]
    fn an_edge_input_interrupts_once_and_a_level_input_again() {
        let mut host = Host::new();
        host.out(0x4d0, 0x20);
        host.raise(&[4, 5]);
        for vector in [0x0c, 0x0d, 0x0d] {
            assert_eq!(host.pic.acknowledge(), vector);
            host.out(0x20, 0x20);
        }
        host.pic.set_line(5, false);
        assert!(!host.pic.output());
    }

    #[test]
    fn a_request_that_goes_away_leaves_the_spurious_vector() {
        let mut host = Host::new();
        host.raise(&[3]);
        host.pic.set_line(3, false);
        assert!(!host.pic.output());
        assert_eq!(host.pic.acknowledge(), 0x0f);
        host.out(0x20, 0x0b);
        assert_eq!(host.read(0x20), 0, "a spurious interrupt is not in service");
    }

    #[test]
    fn masked_requests_stay_and_show_in_irr() {
        let mut host = Host::new();
        host.out(0x21, 0x02);
        host.raise(&[1]);
        assert!(!host.pic.output());
        host.out(0x20, 0x0a);
        assert_eq!(host.read(0x20), 0x02);
        host.out(0x21, 0);
        assert_eq!(host.pic.acknowledge(), 0x09);
        host.out(0x20, 0x0b);
        assert_eq!(host.read(0x20), 0x02);
    }

    #[test]
    fn special_mask_mode_lets_lower_requests_past_a_masked_service() {
        let mut host = Host::new();
        host.raise(&[1]);
        host.pic.acknowledge();
        host.raise(&[6]);
        assert!(!host.pic.output());
        host.out(0x21, 0x02);
        host.out(0x20, 0x68);
        assert_eq!(host.pic.acknowledge(), 0x0e);
    }

    #[test]
    fn rotation_gives_the_served_input_the_lowest_priority() {
        let mut host = Host::new();
        host.raise(&[3]);
        host.pic.acknowledge();
        host.out(0x20, 0xa0);
        host.pic.set_line(3, false);
        host.raise(&[3, 4]);
        assert_eq!(host.pic.acknowledge(), 0x0c);
        host.out(0x20, 0x20);
        host.out(0x20, 0xc6);
        host.pic.set_line(3, false);
        host.raise(&[0, 7]);
        assert_eq!(host.pic.acknowledge(), 0x0f);
    }

    #[test]
    fn automatic_end_leaves_nothing_in_service() {
        let mut host = Host::with_icw4(3);
        host.raise(&[0, 1]);
        assert_eq!(host.pic.acknowledge(), 0x08);
        assert_eq!(host.pic.acknowledge(), 0x09);
    }

    #[test]
    fn a_poll_acknowledges_like_the_cpu() {
        let mut host = Host::new();
        host.raise(&[5]);
        host.out(0x20, 0x0c);
        assert_eq!(host.read(0x20), 0x85);
        host.out(0x20, 0x0c);
        assert_eq!(host.read(0x20), 0);
        host.out(0x20, 0x0b);
        assert_eq!(host.read(0x20), 0x20);
    }

    #[test]
    fn inputs_that_are_always_edges_cannot_be_made_levels() {
        let mut host = Host::new();
        host.out(0x4d0, 0xff);
        host.out(0x4d1, 0xff);
        assert_eq!((host.read(0x4d0), host.read(0x4d1)), (0xf8, 0xde));
    }
}
