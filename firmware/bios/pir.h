/* PCI interrupt routing table (Microsoft, PCI IRQ Routing Table 1.0): one entry a slot. */
#ifndef PIR_H
#define PIR_H

#include "types.h"

#define PCI_SLOTS 32

struct pir_slot {
    u8 bus, device;
    struct {
        u8 link;
        u16 irqs;
    } PACKED pins[4];
    u8 slot, reserved;
} PACKED;

struct pir_table_data {
    u16 size;                   /* bytes in use */
    u16 exclusive_irqs;
    struct pir_slot slots[PCI_SLOTS];
};

extern struct pir_table_data pir_slots;

#endif
