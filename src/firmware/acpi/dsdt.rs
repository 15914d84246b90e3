//! The DSDT: the devices that a PCI bus scan does not find, and how PCI interrupts are routed.
//!
//! Interrupt link devices A to D stand for the four route registers of the ISA bridge, so that
//! the operating system sees and sets the same routes as firmware did. (ACPI specification 6.4,
//! sections 6.2.13 and 5.2.6.)

use super::aml::{AddressSpace, Aml, Resources};
use crate::firmware::RamLayout;

const LINKS: [(&str, &str, u64); 4] = [
    ("LNKA", "PRQA", 1),
    ("LNKB", "PRQB", 2),
    ("LNKC", "PRQC", 3),
    ("LNKD", "PRQD", 4),
];
const LINK_CHOICES: [u32; 3] = [5, 10, 11];

/// Where the interrupt number lies in a template that holds one extended interrupt.
const INTERRUPT_OFFSET: u8 = 5;

const ROUTE_OFF: u8 = 0x80;
const STA_PRESENT_DISABLED: u64 = 0x09;
const STA_ENABLED: u64 = 0x0b;

const HPET_BASE: u32 = 0xfed0_0000;

/// The AML of the DSDT, without the table header.
pub(super) fn dsdt(ram: &RamLayout) -> Vec<u8> {
    let mut aml = Aml::default();
    aml.name("\\_S5", |a| {
        a.package(4, |a| (0..4).for_each(|_| a.integer(0)))
    });
    aml.scope("\\_SB", |sb| {
        sb.device("CPU0", |cpu| {
            cpu.name("_HID", |a| a.string("ACPI0007"));
            cpu.name("_UID", |a| a.integer(0));
        });
        sb.device("PCI0", |pci| {
            pci.name("_HID", |a| a.eisa_id("PNP0A03"));
            pci.name("_UID", |a| a.integer(0));
            pci.name("_CRS", |a| a.resources(host_bridge_windows(ram)));
            pci.name("_PRT", routing_table);
            pci.device("ISA", isa_bridge);
        });
        for link in LINKS {
            link_device(sb, link);
        }
        sb.device("HPET", |hpet| {
            hpet.name("_HID", |a| a.eisa_id("PNP0103"));
            hpet.name("_UID", |a| a.integer(0));
            let registers = Resources::default().memory(HPET_BASE, 0x400);
            hpet.name("_CRS", |a| a.resources(registers));
        });
    });
    aml.into_bytes()
}

fn host_bridge_windows(ram: &RamLayout) -> Resources {
    let pci = ram.pci_window();
    Resources::default()
        .word_window(AddressSpace::Bus, 0, 0xff)
        .io(0xcf8, 8)
        .word_window(AddressSpace::Io, 0, 0xcf7)
        .word_window(AddressSpace::Io, 0xd00, 0xffff)
        .dword_window(0xa_0000, 0xb_ffff)
        .dword_window(pci.start, pci.end - 1)
}

/// Pin p of slot s is wired to link (s - 1 + p) mod 4.
fn routing_table(aml: &mut Aml) {
    const SLOTS: u8 = 31;
    aml.package(SLOTS * 4, |table| {
        for slot in 1..=SLOTS {
            for pin in 0..4 {
                let (link, ..) = LINKS[usize::from((slot - 1 + pin) % 4)];
                table.package(4, |entry| {
                    entry.integer(u64::from(slot) << 16 | 0xffff);
                    entry.integer(u64::from(pin));
                    entry.path(link);
                    entry.integer(0);
                });
            }
        }
    });
}

fn isa_bridge(isa: &mut Aml) {
    isa.name("_ADR", |a| a.integer(0x1_0000));
    isa.pci_config_bytes("ROUT", 0x60, &LINKS.map(|(_, register, _)| register));
    let mut legacy = |name: &str, id: &str, resources: Resources| {
        isa.device(name, |device| {
            device.name("_HID", |a| a.eisa_id(id));
            device.name("_CRS", |a| a.resources(resources));
        });
    };
    let none = Resources::default;
    legacy(
        "PIC",
        "PNP0000",
        none().io(0x20, 2).io(0xa0, 2).io(0x4d0, 2),
    );
    legacy(
        "DMA",
        "PNP0200",
        none().io(0x00, 16).io(0x80, 16).io(0xc0, 32),
    );
    legacy("PIT", "PNP0100", none().io(0x40, 4).irq(0));
    legacy("RTC", "PNP0B00", none().io(0x70, 2).irq(8));
    legacy("KBD", "PNP0303", none().io(0x60, 1).io(0x64, 1).irq(1));
    legacy("MOU", "PNP0F13", none().irq(12));
    legacy("COM1", "PNP0501", none().io(0x3f8, 8).irq(4));
}

/// A link device over one route register.
fn link_device(aml: &mut Aml, (name, route, uid): (&str, &str, u64)) {
    let register = format!("\\_SB.PCI0.ISA.{route}");
    aml.device(name, |link| {
        link.name("_HID", |a| a.eisa_id("PNP0C0F"));
        link.name("_UID", |a| a.integer(uid));
        let choices = Resources::default().shared_interrupts(&LINK_CHOICES);
        link.name("_PRS", |a| a.resources(choices));
        let current = Resources::default().shared_interrupts(&[0]);
        link.name("BUFF", |a| a.resources(current));
        link.method("_STA", 0, |method| {
            method.if_any_bit(&register, ROUTE_OFF, |a| {
                a.ret(|a| a.integer(STA_PRESENT_DISABLED));
            });
            method.ret(|a| a.integer(STA_ENABLED));
        });
        link.method("_DIS", 0, |method| method.set_bits(&register, ROUTE_OFF));
        link.method("_CRS", 0, |method| {
            method.dword_field("BUFF", INTERRUPT_OFFSET, "IRQW");
            method.store(&register, "IRQW");
            method.if_any_bit(&register, ROUTE_OFF, |a| {
                a.clear("IRQW");
            });
            method.ret(|a| a.path("BUFF"));
        });
        link.method("_SRS", 1, |method| {
            method.dword_field_of_argument(INTERRUPT_OFFSET, "IRQS");
            method.store("IRQS", &register);
        });
    });
}
