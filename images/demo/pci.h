/* PCI configuration space. */
#ifndef PCI_H
#define PCI_H

#include <stdbool.h>
#include <stdint.h>

/* Bus 0: a device and function. */
struct pci_address {
    uint8_t device, function;
};

enum {
    PCI_ID = 0x00,
    PCI_COMMAND = 0x04,
    PCI_CLASS = 0x08,
    PCI_BAR_0 = 0x10,
    PCI_BAR_4 = 0x20,
    PCI_INTERRUPT = 0x3C,
    PCI_COMMAND_IO = 1,
    PCI_COMMAND_MEMORY = 2,
    PCI_COMMAND_MASTER = 4,
};

uint32_t pci_read(struct pci_address at, uint8_t offset);
void pci_write(struct pci_address at, uint8_t offset, uint32_t value);

/* Steps through the functions of bus 0; start with `first` true. False after the last. */
bool pci_next(struct pci_address *at, bool first);

/* Finds the first function for which (register & mask) == value. */
bool pci_find(uint8_t offset, uint32_t mask, uint32_t value, struct pci_address *at);

/* Lists bus 0. */
void pci_show(void);

#endif
