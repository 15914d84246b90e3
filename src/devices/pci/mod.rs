//! PCI bus 0: configuration space, configuration mechanism #1, and what a function offers to
//! the board.
//!
//! ```text
//!   port CF8h/CFCh --> ConfigPorts::target --> board --> PciFunction::{read,write}_config
//!   BAR access --> board's tables (from ConfigSpace::windows) --> PciFunction::{read,write}_bar
//! ```
//!
//! Left out on purpose: bridges, other buses than 0, extended configuration space (MMCONFIG),
//! power management capabilities. (PCI Local Bus Specification 3.0.)

mod config;
mod i440fx;
mod msix;
mod piix3;
mod piix4_pm;
mod ports;

pub use config::{Bar, ConfigSpace, Identity, Region, Space, Window};
pub use i440fx::{HostBridge, ShadowArea};
pub use msix::{Msix, MsixPlace};
pub use piix3::{IsaBridge, Pirq};
pub use piix4_pm::PowerManagement;
pub use ports::{ConfigPorts, ConfigTarget};

use super::Cx;
use crate::bus::Size;

/// A PCI function's place on bus 0: `slot << 3 | function`.
pub type DevFn = u8;

/// One PCI function, as the board and the configuration ports see it.
///
/// The access methods for regions have bodies for functions without base address registers.
pub trait PciFunction {
    /// The configuration space.
    fn config(&self) -> &ConfigSpace;

    /// Reads `size` (up to a dword) of configuration space.
    fn read_config(&mut self, cx: &mut Cx<'_>, offset: u8, size: Size) -> u32 {
        let _ = cx;
        self.config().read(offset, size)
    }

    /// Writes the low `size` of `value` to configuration space. An address range that moved is
    /// left as a [`super::BoardRequest`].
    fn write_config(&mut self, cx: &mut Cx<'_>, offset: u8, size: Size, value: u32);

    /// Reads `size` at `offset` in the window of a base address register.
    fn read_region(&mut self, cx: &mut Cx<'_>, region: Region, offset: u64, size: Size) -> u64 {
        let _ = (cx, region, offset);
        size.mask()
    }

    /// Writes the low `size` of `value` at `offset` in the window of a base address register.
    fn write_region(
        &mut self,
        cx: &mut Cx<'_>,
        region: Region,
        offset: u64,
        size: Size,
        value: u64,
    ) {
        let _ = (cx, region, offset, size, value);
    }
}
