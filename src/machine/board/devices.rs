//! Every device of the board, each a plain field.

use serde::{Deserialize, Serialize};

use super::wiring::Slot;
use super::{ArenaLayout, BoardConfig, VGA_RAM_BYTES};
use crate::devices::acpi_pm::AcpiPm;
use crate::devices::apic::{IoApic, LocalApic};
use crate::devices::cmos::Cmos;
use crate::devices::debug_exit::DebugExit;
use crate::devices::debugcon::DebugConsole;
use crate::devices::dma::Dma;
use crate::devices::fw_cfg::FwCfg;
use crate::devices::hpet::Hpet;
use crate::devices::ide::Ide;
use crate::devices::pci::{
    ConfigPorts, DevFn, HostBridge, IsaBridge, PciFunction, PowerManagement,
};
use crate::devices::pic::Pic;
use crate::devices::pit::Pit;
use crate::devices::port92::Port92;
use crate::devices::post::PostCode;
use crate::devices::ps2::Ps2;
use crate::devices::reset_control::ResetControl;
use crate::devices::uart::Uart;
use crate::devices::vga::{VGA_DEVFN, Vga};
use crate::devices::virtio::VirtioBlock;
use crate::devices::{Cx, DiskUser, Timed};
use crate::disk::{Completion, DiskId, Disks};
use crate::firmware::fw_cfg_items;

const COM1_IRQ: u8 = 4;

/// The PCI slot of the first virtio disk; slots 1 and 2 are the chipset's and the VGA's.
pub const FIRST_VIRTIO_SLOT: u8 = 3;
/// How many virtio disks there can be.
pub const MOST_VIRTIO_DISKS: usize = 29;

/// Which disk is behind which controller.
#[derive(Clone, Debug, Default)]
pub(super) struct DriveIds {
    pub(super) ide: [Option<DiskId>; 4],
    pub(super) virtio: Vec<DiskId>,
}

/// The devices.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Devices {
    pub(super) pic: Pic,
    pub(super) pit: Pit,
    pub(super) cmos: Cmos,
    pub(super) dma: Dma,
    pub(super) ps2: Ps2,
    pub(super) port92: Port92,
    pub(super) uart: Uart,
    pub(super) post: PostCode,
    pub(super) debug_console: DebugConsole,
    pub(super) debug_exit: DebugExit,
    pub(super) reset_control: ResetControl,
    pub(super) power: AcpiPm,
    pub(super) hpet: Hpet,
    pub(super) local_apic: LocalApic,
    pub(super) io_apic: IoApic,
    pub(super) fw_cfg: FwCfg,
    pub(super) pci_ports: ConfigPorts,
    pub(super) host_bridge: HostBridge,
    pub(super) isa_bridge: IsaBridge,
    pub(super) vga: Vga,
    pub(super) ide: Ide,
    /// In the slots from [`FIRST_VIRTIO_SLOT`] on.
    pub(super) virtio: Vec<VirtioBlock>,
    pub(super) power_function: PowerManagement,
}

impl Devices {
    pub(super) fn new(
        config: &BoardConfig,
        layout: &ArenaLayout,
        drives: &DriveIds,
        disks: &Disks,
    ) -> Self {
        let vga_rom = layout.vga_bios_len();
        let virtio = (FIRST_VIRTIO_SLOT..32).zip(&drives.virtio);
        let virtio = virtio.filter_map(|(slot, id)| {
            let disk = disks.get(*id)?;
            Some(VirtioBlock::new(slot << 3, *id, disk))
        });
        Self {
            pic: Pic::new(),
            pit: Pit::new(),
            cmos: Cmos::new(&config.cmos()),
            dma: Dma::new(),
            ps2: Ps2::new(),
            port92: Port92::new(),
            uart: Uart::new(COM1_IRQ),
            post: PostCode::default(),
            debug_console: DebugConsole,
            debug_exit: DebugExit,
            reset_control: ResetControl::default(),
            power: AcpiPm::new(),
            hpet: Hpet::new(),
            local_apic: LocalApic::new(),
            io_apic: IoApic::new(),
            fw_cfg: FwCfg::new(fw_cfg_items(&config.ram, &config.boot_order)),
            pci_ports: ConfigPorts::default(),
            host_bridge: HostBridge::new(),
            isa_bridge: IsaBridge::new(),
            vga: Vga::new(layout.vga_ram(), VGA_RAM_BYTES as u32, vga_rom as u32),
            ide: Ide::new(drives.ide),
            virtio: virtio.collect(),
            power_function: PowerManagement::new(),
        }
    }

    /// The slots and functions of PCI bus 0 that are taken.
    pub(super) fn functions(&self) -> Vec<DevFn> {
        let virtio = self.virtio.iter().map(|disk| disk.config().devfn());
        [0x00, 0x08, 0x09, 0x0b, VGA_DEVFN]
            .into_iter()
            .chain(virtio)
            .collect()
    }

    /// The PCI function at `devfn`.
    pub(super) fn function(&mut self, devfn: DevFn) -> Option<(&mut dyn PciFunction, Slot)> {
        Some(match devfn {
            0x00 => (&mut self.host_bridge, Slot::Untimed),
            0x08 => (&mut self.isa_bridge, Slot::Untimed),
            0x09 => (&mut self.ide, Slot::Untimed),
            0x0b => (&mut self.power_function, Slot::Untimed),
            VGA_DEVFN => (&mut self.vga, Slot::Untimed),
            devfn if devfn & 7 == 0 => {
                let index = (devfn >> 3).checked_sub(FIRST_VIRTIO_SLOT)?;
                let disk = self.virtio.get_mut(usize::from(index))?;
                (disk, Slot::Untimed)
            }
            _ => return None,
        })
    }

    /// Lets the device in `slot` act at its deadline.
    pub(super) fn expire(&mut self, slot: Slot, cx: &mut Cx<'_>) {
        match slot {
            Slot::Untimed => {}
            Slot::Pit => self.pit.expire(cx),
            Slot::Cmos => self.cmos.expire(cx),
            Slot::Ps2 => self.ps2.expire(cx),
            Slot::Uart => self.uart.expire(cx),
            Slot::PowerManagement => self.power.expire(cx),
            Slot::Hpet => self.hpet.expire(cx),
            Slot::LocalApic => self.local_apic.expire(cx),
        }
    }

    /// Hands a completed request to the controller of its disk.
    pub(super) fn complete(&mut self, cx: &mut Cx<'_>, disk: DiskId, completion: Completion) {
        if self.ide.owns(disk) {
            self.ide.complete(cx, disk, completion);
        } else if let Some(device) = self.virtio.iter_mut().find(|d| d.owns(disk)) {
            device.complete(cx, disk, completion);
        }
    }

    /// The reset line: every device as in `fresh`, but the clock goes on and its memory stays.
    pub(super) fn reset(&mut self, fresh: Self) {
        let before = std::mem::replace(self, fresh);
        self.cmos = before.cmos;
    }
}
