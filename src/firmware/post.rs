//! What firmware would have done before it starts a kernel, done by the host for direct boot:
//! A20 and the RAM under the BIOS area opened, PCI functions placed and routed, the display in
//! text mode, tables left where they are looked for.
//!
//! ```text
//!   F0000  SMBIOS entry point and structures     F0C00  PCI interrupt routing table ($PIR)
//!   F1000  ACPI tables, then the root pointer
//! ```
//!
//! It reaches the machine by its ports alone, as firmware does. (PCI Firmware Specification
//! 3.0; PCI IRQ Routing Table Specification 1.0.)

use super::text_mode::set_text_mode;
use super::{AcpiTables, BootError, BootState, LinuxBoot, PM_BASE, RamLayout, SmbiosTables};
use crate::bus::Size;
use crate::memory::Memory;

const SMBIOS: u32 = 0xf_0000;
const ROUTING_TABLE: u32 = 0xf_0c00;
const ACPI: u32 = 0xf_1000;

const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;
const PORT_92: u16 = 0x92;
const A20_OPEN: u32 = 2;
const ELCR: u16 = 0x4d0;

const HOST_BRIDGE: u8 = 0x00;
const ISA_BRIDGE: u8 = 0x08;
const POWER_MANAGEMENT: u8 = 0x0b;
const PIIX3_IDE: u32 = 0x7010_8086;

const COMMAND: u8 = 0x04;
const HEADER_TYPE: u8 = 0x0c;
const BAR0: u8 = 0x10;
const INTERRUPT: u8 = 0x3c;
const PAM0: u8 = 0x58;
const PIRQ_ROUTES: u8 = 0x60;
const PMBASE: u8 = 0x40;
const PMREGMISC: u8 = 0x80;
const IDE_TIMING: u8 = 0x40;

const MULTIFUNCTION: u32 = 0x80 << 16;
const ALL_ENABLED: u32 = 0b111;
const SHADOW_READ_WRITE: u32 = 0x30 << 8;
const BOTH_CHANNELS_DECODED: u32 = 0x8000_8000;

const FIRST_PORT: u32 = 0xc000;
const LAST_PORT: u32 = 0xffff;

/// The ISA interrupts of PIRQA# to PIRQD#, all level-triggered.
const PIRQ_IRQS: [u8; 4] = [10, 10, 11, 11];

/// The machine's I/O ports.
pub trait Ports {
    /// Reads `size` from `port`.
    fn read(&mut self, port: u16, size: Size) -> u32;
    /// Writes the low `size` of `value` to `port`.
    fn write(&mut self, port: u16, size: Size, value: u32);
}

/// A machine's memory and ports, for [`direct_boot`].
pub trait Machine: Ports {
    /// Physical memory as it is mapped now.
    fn memory(&mut self) -> &mut Memory;
}

/// Prepares the machine and loads the kernel; the CPU then enters as the state says.
pub fn direct_boot(
    machine: &mut dyn Machine,
    ram: &RamLayout,
    boot: &LinuxBoot<'_>,
) -> Result<BootState, BootError> {
    machine.write(PORT_92, Size::Byte, A20_OPEN);
    Config(machine).set_up(ram);
    set_level_triggered(machine);
    set_text_mode(machine);
    let (acpi, rsdp) = AcpiTables::new(ram).placed_at(ACPI);
    let smbios = SmbiosTables::new(ram).placed_at(SMBIOS);
    let memory = machine.memory();
    memory.write(u64::from(SMBIOS), &smbios);
    memory.write(u64::from(ROUTING_TABLE), &routing_table());
    memory.write(u64::from(ACPI), &acpi);
    boot.load(memory, &ram.e820(), rsdp)
}

fn set_level_triggered(machine: &mut dyn Machine) {
    let mask = PIRQ_IRQS.iter().fold(0, |mask, irq| mask | 1u32 << irq);
    machine.write(ELCR, Size::Byte, mask & 0xff);
    machine.write(ELCR + 1, Size::Byte, mask >> 8);
}

/// PCI configuration space through mechanism #1.
struct Config<'a>(&'a mut dyn Machine);

/// The next free addresses for base address registers.
struct Space {
    next: u32,
    last: u32,
}

impl Space {
    /// A block of `size`, a power of two, on its own boundary.
    fn take(&mut self, size: u32) -> Option<u32> {
        let base = self.next.checked_next_multiple_of(size)?;
        let last = base.checked_add(size - 1).filter(|l| *l <= self.last)?;
        self.next = last.checked_add(1)?;
        Some(base)
    }
}

impl Config<'_> {
    fn read(&mut self, devfn: u8, offset: u8) -> u32 {
        self.select(devfn, offset);
        self.0.read(CONFIG_DATA, Size::Dword)
    }

    fn write(&mut self, devfn: u8, offset: u8, value: u32) {
        self.select(devfn, offset);
        self.0.write(CONFIG_DATA, Size::Dword, value);
    }

    fn select(&mut self, devfn: u8, offset: u8) {
        let address = 1 << 31 | u32::from(devfn) << 8 | u32::from(offset);
        self.0.write(CONFIG_ADDRESS, Size::Dword, address);
    }

    fn set_up(&mut self, ram: &RamLayout) {
        let pam = self.read(HOST_BRIDGE, PAM0);
        self.write(HOST_BRIDGE, PAM0, pam | SHADOW_READ_WRITE);
        self.write(ISA_BRIDGE, PIRQ_ROUTES, u32::from_le_bytes(PIRQ_IRQS));
        self.write(POWER_MANAGEMENT, PMBASE, u32::from(PM_BASE));
        self.write(POWER_MANAGEMENT, PMREGMISC, 1);
        let window = ram.pci_window();
        let mut ports = Space {
            next: FIRST_PORT,
            last: LAST_PORT,
        };
        let mut memory = Space {
            next: window.start,
            last: window.end - 1,
        };
        for slot in 0..32 {
            let multifunction = self.read(slot << 3, HEADER_TYPE) & MULTIFUNCTION != 0;
            for function in 0..if multifunction { 8 } else { 1 } {
                let devfn = slot << 3 | function;
                let id = self.read(devfn, 0);
                if id & 0xffff != 0xffff {
                    self.place(devfn, &mut ports, &mut memory);
                }
                if id == PIIX3_IDE {
                    self.write(devfn, IDE_TIMING, BOTH_CHANNELS_DECODED);
                }
            }
        }
    }

    /// Gives addresses to a function's base address registers, says which interrupt it has, and
    /// enables it.
    fn place(&mut self, devfn: u8, ports: &mut Space, memory: &mut Space) {
        let mut bar = BAR0;
        while bar < BAR0 + 24 {
            bar += 4 * self.place_bar(devfn, bar, ports, memory);
        }
        let interrupt = self.read(devfn, INTERRUPT);
        if interrupt & 0xff00 != 0 && devfn != POWER_MANAGEMENT {
            let pirq = usize::from((devfn >> 3).wrapping_sub(1) & 3);
            self.write(
                devfn,
                INTERRUPT,
                interrupt & !0xff | u32::from(PIRQ_IRQS[pirq]),
            );
        }
        let command = self.read(devfn, COMMAND) & 0xffff;
        self.write(devfn, COMMAND, command | ALL_ENABLED);
    }

    /// Places one base address register; returns how many registers it takes.
    fn place_bar(&mut self, devfn: u8, bar: u8, ports: &mut Space, memory: &mut Space) -> u8 {
        self.write(devfn, bar, u32::MAX);
        let sized = self.read(devfn, bar);
        self.write(devfn, bar, 0);
        if sized == 0 {
            return 1;
        }
        let (space, flags, registers) = match sized {
            _ if sized & 1 != 0 => (ports, 3, 1),
            _ if sized & 6 == 4 => (memory, 15, 2),
            _ => (memory, 15, 1),
        };
        let size = (!(sized & !flags)).wrapping_add(1);
        let size = if sized & 1 != 0 { size & 0xffff } else { size };
        if size.is_power_of_two()
            && let Some(base) = space.take(size)
        {
            self.write(devfn, bar, base);
            if registers == 2 {
                self.write(devfn, bar + 4, 0);
            }
        }
        registers
    }
}

/// The routing table that kernels without ACPI read: for each slot, which route register each
/// pin drives and which interrupts it may take.
fn routing_table() -> Vec<u8> {
    const HEADER: usize = 32;
    const ENTRY: usize = 16;
    const SLOTS: u8 = 31;
    const ROUTABLE: u16 = 1 << 5 | 1 << 10 | 1 << 11;
    const COMPATIBLE_ROUTER: u32 = 0x122e_8086;
    const CHECKSUM: usize = 31;

    let mut table = b"$PIR".to_vec();
    table.extend([0x00, 0x01]);
    table.extend(((HEADER + ENTRY * usize::from(SLOTS)) as u16).to_le_bytes());
    table.extend([0, ISA_BRIDGE, 0, 0]);
    table.extend(COMPATIBLE_ROUTER.to_le_bytes());
    table.resize(HEADER, 0);
    for slot in 1..=SLOTS {
        table.extend([0, slot << 3]);
        for pin in 0..4 {
            table.push(PIRQ_ROUTES + (slot - 1 + pin) % 4);
            table.extend(ROUTABLE.to_le_bytes());
        }
        table.extend([0, 0]);
    }
    table[CHECKSUM] = table.iter().fold(0u8, |sum, b| sum.wrapping_sub(*b));
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A machine whose PCI registers all take what is written, under a mask if there is one.
    struct Bench {
        memory: Memory,
        address: u32,
        registers: BTreeMap<u32, (u32, u32)>,
        ports: BTreeMap<u16, u32>,
    }

    impl Bench {
        fn new() -> Self {
            let mut memory = Memory::new(32 << 20).unwrap();
            memory.map.map_ram(0, 32 << 20, 0);
            Self {
                memory,
                address: 0,
                registers: BTreeMap::new(),
                ports: BTreeMap::new(),
            }
        }

        fn with_register(mut self, devfn: u32, offset: u32, value: u32, mask: u32) -> Self {
            self.registers
                .insert(1 << 31 | devfn << 8 | offset, (value, mask));
            self
        }

        fn register(&self, devfn: u32, offset: u32) -> u32 {
            self.registers[&(1 << 31 | devfn << 8 | offset)].0
        }
    }

    impl Ports for Bench {
        fn read(&mut self, _port: u16, _size: Size) -> u32 {
            match self.registers.get(&self.address) {
                Some((value, _)) => *value,
                None if self.address & 0xfc == 0 => u32::MAX,
                None => 0,
            }
        }

        fn write(&mut self, port: u16, _size: Size, value: u32) {
            match port {
                CONFIG_ADDRESS => self.address = value,
                CONFIG_DATA => {
                    if let Some((held, mask)) = self.registers.get_mut(&self.address) {
                        *held = *held & !*mask | value & *mask;
                    }
                }
                _ => {
                    self.ports.insert(port, value);
                }
            }
        }
    }

    impl Machine for Bench {
        fn memory(&mut self) -> &mut Memory {
            &mut self.memory
        }
    }

    #[test]
    fn functions_get_addresses_on_their_boundaries_and_the_interrupt_of_their_slot() {
        let mut bench = Bench::new()
            .with_register(0x00, 0x00, 0x1237_8086, 0)
            .with_register(0x20, 0x00, 0x1001_1af4, 0)
            .with_register(0x20, 0x04, 0, u32::MAX)
            .with_register(0x20, 0x10, 1, 0xffff_ff80)
            .with_register(0x20, 0x14, 0, 0xffff_f000)
            .with_register(0x20, 0x20, 12, 0xffff_c000)
            .with_register(0x20, 0x24, 0, u32::MAX)
            .with_register(0x20, 0x3c, 0x0100, 0xff);
        Config(&mut bench).set_up(&RamLayout::new(32 << 20));
        assert_eq!(bench.register(0x20, 0x10), 0xc001);
        assert_eq!(bench.register(0x20, 0x14), 0x8000_0000);
        assert_eq!(bench.register(0x20, 0x20), 0x8000_400c);
        assert_eq!(bench.register(0x20, 0x24), 0);
        assert_eq!(bench.register(0x20, 0x3c), 0x010b);
        assert_eq!(bench.register(0x20, 0x04), 7);
    }

    #[test]
    fn tables_lie_in_the_bios_area_and_do_not_overlap() {
        let mut bench = Bench::new();
        let boot = LinuxBoot {
            kernel: &[],
            initrd: &[],
            command_line: &[],
            seed: crate::firmware::Seed::default(),
        };
        let ram = RamLayout::new(32 << 20);
        assert_eq!(
            direct_boot(&mut bench, &ram, &boot),
            Err(BootError::NotBzImage)
        );
        assert_eq!(bench.memory.read_array(u64::from(SMBIOS)), *b"_SM_");
        let table = routing_table();
        let mut routing = vec![0; table.len()];
        bench.memory.read(u64::from(ROUTING_TABLE), &mut routing);
        assert_eq!(routing, table);
        let (acpi, rsdp) = AcpiTables::new(&ram).placed_at(ACPI);
        assert_eq!(bench.memory.read_array(rsdp), *b"RSD PTR ");
        assert!(ACPI as usize + acpi.len() < 0x10_0000);
        let smbios = SmbiosTables::new(&ram).placed_at(SMBIOS);
        assert!(SMBIOS as usize + smbios.len() < ROUTING_TABLE as usize);
        assert!(ROUTING_TABLE as usize + table.len() <= ACPI as usize);
        assert_eq!((bench.ports[&0x92], bench.ports[&0x4d1]), (2, 0x0c));
    }
}
