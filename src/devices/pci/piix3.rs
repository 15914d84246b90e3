//! The ISA bridge, 82371SB (PIIX3), at 00:01.0: which ISA interrupt each PCI interrupt wire
//! drives.
//!
//! ```text
//!   INTA# of slot s --> PIRQ ((s - 1) mod 4) --> PIRQRC[60h..63h] --> IRQ 3..7, 9..12, 14, 15
//! ```
//!
//! The IDE function (00:01.1) and the PIIX4 power management function (00:01.3) are devices of
//! their own. The edge/level registers (4D0h) belong to the interrupt controllers and port CF9h
//! to the board. Positive decode of the X-bus, DMA and timers by software: stored, no effect.
//! (Intel 82371FB/82371SB datasheet, 290550, section 2.2.)

use serde::{Deserialize, Serialize};

use super::{ConfigSpace, Identity, PciFunction};
use crate::bus::{IsaIrq, PciSlot, Size};
use crate::devices::{BoardRequest, Cx, Remap};

const COMMAND: u8 = 0x04;
const STATUS: u8 = 0x06;
const PIRQ_ROUTE: u8 = 0x60;

const ROUTE_DISABLED: u8 = 0x80;
const ROUTABLE: u16 = 0b1101_1110_1111_1000;

/// One of the bridge's four PCI interrupt inputs, PIRQA# (0) to PIRQD# (3).
pub type Pirq = u8;

/// The ISA bridge.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IsaBridge {
    config: ConfigSpace,
}

impl Default for IsaBridge {
    fn default() -> Self {
        Self::new()
    }
}

impl IsaBridge {
    /// The bridge after reset: no PCI interrupt is routed.
    pub fn new() -> Self {
        let mut config = ConfigSpace::new(
            0x08,
            Identity {
                vendor: 0x8086,
                device: 0x7000,
                revision: 0,
                class: 0x06_0100,
                subsystem: (0x1af4, 0x1100),
            },
        );
        config.set_multifunction();
        config.set_u16(COMMAND, 0x0007);
        config.allow_writes(COMMAND, &[0x08, 0x01]);
        config.set_u16(STATUS, 0x0200);
        let resets: [(u8, u8, u8); 10] = [
            (0x4c, 0x4d, 0x7f),
            (0x4e, 0x03, 0xff),
            (0x4f, 0x00, 0x01),
            (0x69, 0x02, 0xfe),
            (0x70, 0x80, 0xef),
            (0x76, 0x0c, 0x8f),
            (0x77, 0x0c, 0x8f),
            (0x78, 0x02, 0xff),
            (0x82, 0x00, 0x0f),
            (0xa0, 0x08, 0x1f),
        ];
        for (offset, reset, writable) in resets {
            config.set_u8(offset, reset);
            config.allow_writes(offset, &[writable]);
        }
        for pirq in 0..4 {
            config.set_u8(PIRQ_ROUTE + pirq, ROUTE_DISABLED);
            config.allow_writes(PIRQ_ROUTE + pirq, &[0x8f]);
        }
        Self { config }
    }

    /// The input that INTA# of `slot` is wired to.
    pub const fn pirq_of(slot: PciSlot) -> Pirq {
        slot.wrapping_sub(1) & 3
    }

    /// The ISA interrupt that `pirq` drives now, if any.
    pub fn route(&self, pirq: Pirq) -> Option<IsaIrq> {
        let register = self.config.byte(PIRQ_ROUTE + (pirq & 3));
        let irq = register & 0x0f;
        let routed = register & ROUTE_DISABLED == 0 && ROUTABLE & (1 << irq) != 0;
        routed.then_some(irq)
    }

    fn routes(&self) -> [Option<IsaIrq>; 4] {
        [0, 1, 2, 3].map(|pirq| self.route(pirq))
    }
}

impl PciFunction for IsaBridge {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn write_config(&mut self, cx: &mut Cx<'_>, offset: u8, size: Size, value: u32) {
        let routes = self.routes();
        self.config.write(cx, offset, size, value);
        if self.routes() != routes {
            cx.request(BoardRequest::Remap(Remap::InterruptRoutes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Workbench;

    #[test]
    fn slots_take_the_four_inputs_in_turn() {
        assert_eq!([1, 2, 3, 4, 5].map(IsaBridge::pirq_of), [0, 1, 2, 3, 0]);
    }

    #[test]
    fn a_route_takes_effect_when_enabled_and_names_an_interrupt_of_the_bus() {
        let mut bridge = IsaBridge::new();
        let mut bench = Workbench::new();
        assert_eq!(bridge.route(2), None);
        bridge.write_config(&mut bench.cx(), 0x60, Size::Dword, 0x0d0b_8a0a);
        assert_eq!(
            [0, 1, 2, 3].map(|p| bridge.route(p)),
            [Some(10), None, Some(11), None]
        );
        assert_eq!(
            bench.requests,
            [BoardRequest::Remap(Remap::InterruptRoutes)]
        );
    }
}
