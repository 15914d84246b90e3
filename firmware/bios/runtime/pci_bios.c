/*
 * The PCI BIOS, INT 1Ah AH=B1h (PCI BIOS Specification 2.1), real-mode interface. Bus 0 only: the
 * board has no bridges. Special cycles and setting interrupt routes are refused.
 */
#include "../pci_config.h"
#include "../pir.h"
#include "clock.h"

enum {
    SUCCESSFUL = 0x00,
    FUNC_NOT_SUPPORTED = 0x81,
    BAD_VENDOR_ID = 0x83,
    DEVICE_NOT_FOUND = 0x86,
    BAD_REGISTER_NUMBER = 0x87,
    BUFFER_TOO_SMALL = 0x89,
};

struct pir_table_data pir_slots;

/* The functions of bus 0 in order; those of a single-function device end after the first. */
static bool next_function(pci_address *address)
{
    while (++*address < 0x100) {
        if (*address & 7 && !(pci_read8(*address & ~7, PCI_HEADER_TYPE) & 0x80))
            continue;
        if (pci_read16(*address, PCI_VENDOR) != 0xffff)
            return true;
    }
    return false;
}

static u8 find(struct registers *r, u8 offset, u8 shift, u32 wanted)
{
    u16 skip = r->si;
    pci_address address = 0xffff;
    while (next_function(&address)) {
        if (pci_read32(address, offset) >> shift == wanted && skip-- == 0) {
            r->bx = address;
            return SUCCESSFUL;
        }
    }
    return DEVICE_NOT_FOUND;
}

static u8 access(struct registers *r)
{
    u8 width = (r->al - 8) % 3; /* 0: byte, 1: word, 2: dword */
    if (r->di > 0xff || r->di & ((1 << width) - 1))
        return BAD_REGISTER_NUMBER;
    switch (r->al) {
    case 0x08:
        r->cl = pci_read8(r->bx, r->di);
        break;
    case 0x09:
        r->cx = pci_read16(r->bx, r->di);
        break;
    case 0x0a:
        r->ecx = pci_read32(r->bx, r->di);
        break;
    case 0x0b:
        pci_write8(r->bx, r->di, r->cl);
        break;
    case 0x0c:
        pci_write16(r->bx, r->di, r->cx);
        break;
    default:
        pci_write32(r->bx, r->di, r->ecx);
        break;
    }
    return SUCCESSFUL;
}

/* ES:DI is a route buffer: its size, and the far address of the table. */
static u8 routing_options(struct registers *r)
{
    u16 room = far_read_u16(r->es, r->di);
    far_write_u16(r->es, r->di, pir_slots.size);
    if (room < pir_slots.size)
        return BUFFER_TOO_SMALL;
    u16 offset = far_read_u16(r->es, r->di + 2);
    u16 segment = far_read_u16(r->es, r->di + 4);
    far_copy_out(segment, offset, pir_slots.slots, pir_slots.size);
    r->bx = pir_slots.exclusive_irqs;
    return SUCCESSFUL;
}

static u8 dispatch(struct registers *r)
{
    switch (r->al) {
    case 0x01:
        r->edx = 0x20494350; /* "PCI " */
        r->bx = 0x0210;
        r->cl = 0; /* last bus */
        r->al = 0x01; /* configuration mechanism 1, no special cycles */
        return SUCCESSFUL;
    case 0x02:
        if (r->dx == 0xffff)
            return BAD_VENDOR_ID;
        return find(r, PCI_VENDOR, 0, (u32)r->cx << 16 | r->dx);
    case 0x03:
        return find(r, PCI_CLASS, 8, r->ecx & 0xffffff);
    case 0x08 ... 0x0d:
        return access(r);
    case 0x0e:
        return routing_options(r);
    default:
        return FUNC_NOT_SUPPORTED;
    }
}

bool pci_bios(struct registers *r)
{
    r->ah = dispatch(r);
    return r->ah == SUCCESSFUL;
}
