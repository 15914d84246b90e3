//! The capabilities that say where the registers of virtio 1 lie, and the window through
//! configuration space by which firmware reaches them without memory accesses.
//! (Virtio 1.2, sections 4.1.4 and 4.1.4.9.)

use super::registers::{LEGACY, MODERN, MSIX};
use super::transport::{Event, LEGACY_BYTES, MODERN_BYTES, MSIX_BYTES, Transport};
use crate::bus::Size;
use crate::devices::Cx;
use crate::devices::pci::{ConfigSpace, Region};

/// PCI capability: vendor specific.
const VENDOR_SPECIFIC: u8 = 9;

/// Offsets in the capability for access through configuration space.
const ACCESS_BAR: u8 = 4;
const ACCESS_OFFSET: u8 = 8;
const ACCESS_LENGTH: u8 = 12;
const ACCESS_DATA: u8 = 16;

/// Says where the registers of virtio 1 lie. Returns the place of the capability for access
/// through configuration space.
pub(super) fn add_capabilities(config: &mut ConfigSpace) -> u8 {
    const COMMON: u8 = 1;
    const NOTIFY: u8 = 2;
    const ISR: u8 = 3;
    const DEVICE: u8 = 4;
    const ACCESS: u8 = 5;
    for (kind, page) in [(COMMON, 0_u8), (ISR, 1), (DEVICE, 2)] {
        let offset = [0, page << 4, 0, 0];
        let length = [0, 0x10, 0, 0];
        let head = [16, kind, 4, 0, 0, 0];
        config.add_capability(VENDOR_SPECIFIC, &[&head[..], &offset, &length].concat());
    }
    let notify = [
        20, NOTIFY, 4, 0, 0, 0, 0, 0x30, 0, 0, 0, 0x10, 0, 0, 4, 0, 0, 0,
    ];
    config.add_capability(VENDOR_SPECIFIC, &notify);
    let mut access = [0; 18];
    let (head, _) = access.split_at_mut(2);
    head.copy_from_slice(&[20, ACCESS]);
    let at = config.add_capability(VENDOR_SPECIFIC, &access);
    config.allow_writes(at + ACCESS_BAR, &[0xff]);
    config.allow_writes(at + ACCESS_OFFSET, &[0xff; 12]);
    at
}

impl Transport {
    /// Reads configuration space; the window through it shows what it points at.
    pub(super) fn read_config(
        &mut self,
        cx: &mut Cx<'_>,
        (offset, size): (u8, Size),
        device: &[u8],
    ) -> u32 {
        if offset == self.access + ACCESS_DATA
            && let Some((target, size)) = self.access_target()
        {
            let value = self.read(cx, target, size, device);
            let value = u32::try_from(value & 0xffff_ffff).unwrap_or(0);
            self.config.set_u32(offset, value);
        }
        self.config.read(offset, size)
    }

    /// Writes configuration space; the window through it writes where it points.
    pub(super) fn write_config(
        &mut self,
        cx: &mut Cx<'_>,
        (offset, size): (u8, Size),
        value: u32,
    ) -> Event {
        self.config.write(cx, offset, size, value);
        self.msix.flush(cx, &self.config);
        if offset == self.access + ACCESS_DATA
            && let Some((target, size)) = self.access_target()
        {
            return self.write(cx, target, size, u64::from(value));
        }
        Event::None
    }

    /// Where the window through configuration space points, if that makes sense.
    fn access_target(&self) -> Option<((Region, u64), Size)> {
        let bar = self.config.byte(self.access + ACCESS_BAR);
        let offset = u64::from(self.config.dword(self.access + ACCESS_OFFSET));
        let length = u64::from(self.config.dword(self.access + ACCESS_LENGTH));
        let size = Size::from_bytes(length).filter(|size| *size <= Size::Dword)?;
        let inside = match Region::Bar(bar) {
            LEGACY => u64::from(LEGACY_BYTES),
            MSIX => u64::from(MSIX_BYTES),
            MODERN => MODERN_BYTES,
            _ => 0,
        };
        let aligned = offset.is_multiple_of(length);
        (aligned && offset < inside).then_some(((Region::Bar(bar), offset), size))
    }
}
