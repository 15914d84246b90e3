//! Configuration mechanism #1: the address port CF8h and the data ports CFCh to CFFh.
//! (PCI Local Bus Specification 3.0, section 3.2.2.3.2.)
//!
//! The address port takes dwords only; narrower accesses to CF8h to CFBh belong to other
//! devices (CF9h is the reset control register), so the board routes by size. Forwarding to
//! buses behind bridges is left out: there are none.

use serde::{Deserialize, Serialize};

use super::DevFn;

const ENABLE: u32 = 1 << 31;
const IMPLEMENTED: u32 = 0x80ff_fffc;

/// The configuration address register.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ConfigPorts {
    address: u32,
}

/// The register that a data port access means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigTarget {
    /// The function on bus 0.
    pub devfn: DevFn,
    /// The byte offset in its configuration space.
    pub offset: u8,
}

impl ConfigPorts {
    /// The address port, as a dword read sees it.
    pub fn address(&self) -> u32 {
        self.address
    }

    /// A dword write to the address port.
    pub fn set_address(&mut self, value: u32) {
        self.address = value & IMPLEMENTED;
    }

    /// What an access to data port `port` (CFCh to CFFh) reaches. `None`: the mechanism is
    /// disabled or the bus does not exist; reads give ones and writes do nothing.
    pub fn target(&self, port: u16) -> Option<ConfigTarget> {
        let [register, devfn, bus, _] = self.address.to_le_bytes();
        let [low, _] = port.to_le_bytes();
        (self.address & ENABLE != 0 && bus == 0).then_some(ConfigTarget {
            devfn,
            offset: register | low & 3,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_accesses_to_the_data_ports_reach_the_bytes_of_the_register() {
        let mut ports = ConfigPorts::default();
        ports.set_address(0x8000_0b40);
        let target = ConfigTarget {
            devfn: 0x0b,
            offset: 0x43,
        };
        assert_eq!(ports.target(0xcff), Some(target));
        assert_eq!(ports.address(), 0x8000_0b40);
    }

    #[test]
    fn other_buses_and_a_disabled_mechanism_reach_nothing() {
        let mut ports = ConfigPorts::default();
        assert_eq!(ports.target(0xcfc), None);
        ports.set_address(0x8001_0000);
        assert_eq!(ports.target(0xcfc), None);
        ports.set_address(0x0000_0b40);
        assert_eq!(ports.target(0xcfc), None);
    }

    #[test]
    fn reserved_address_bits_read_as_zero() {
        let mut ports = ConfigPorts::default();
        ports.set_address(0xffff_ffff);
        assert_eq!(ports.address(), 0x80ff_fffc);
    }
}
