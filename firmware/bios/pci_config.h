/* PCI configuration mechanism 1 (PCI Local Bus 2.1, 3.2.2.3.2): ports CF8 and CFC. */
#ifndef PCI_CONFIG_H
#define PCI_CONFIG_H

#include "io.h"

/* A function's address: bus << 8 | device << 3 | function, as the PCI BIOS passes it. */
typedef u16 pci_address;

enum {
    PCI_VENDOR = 0x00,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_CLASS = 0x08, /* class << 24 | subclass << 16 | interface << 8 | revision */
    PCI_HEADER_TYPE = 0x0e,
    PCI_BAR0 = 0x10,
    PCI_SUBSYSTEM = 0x2c,
    PCI_ROM_BAR = 0x30,
    PCI_CAPABILITIES = 0x34,
    PCI_INTERRUPT_LINE = 0x3c,
    PCI_INTERRUPT_PIN = 0x3d,
};

enum { PCI_COMMAND_IO = 1, PCI_COMMAND_MEMORY = 2, PCI_COMMAND_MASTER = 4 };

static inline u16 pci_select(pci_address address, u8 offset)
{
    outl(0xcf8, 0x80000000 | (u32)address << 8 | (offset & 0xfc));
    return 0xcfc | (offset & 3);
}

static inline u8 pci_read8(pci_address address, u8 offset)
{
    return inb(pci_select(address, offset));
}

static inline u16 pci_read16(pci_address address, u8 offset)
{
    return inw(pci_select(address, offset));
}

static inline u32 pci_read32(pci_address address, u8 offset)
{
    return inl(pci_select(address, offset));
}

static inline void pci_write8(pci_address address, u8 offset, u8 value)
{
    outb(pci_select(address, offset), value);
}

static inline void pci_write16(pci_address address, u8 offset, u16 value)
{
    outw(pci_select(address, offset), value);
}

static inline void pci_write32(pci_address address, u8 offset, u32 value)
{
    outl(pci_select(address, offset), value);
}

#endif
