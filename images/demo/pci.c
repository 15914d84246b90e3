/*
 * PCI configuration space by configuration mechanism 1 (PCI Local Bus 3.0, section 3.2.2.3.2).
 * Bus 0 only: the PC of this guest has no bridges to other buses.
 */
#include "pci.h"

#include "console.h"
#include "io.h"

enum { CONFIG_ADDRESS = 0xCF8, CONFIG_DATA = 0xCFC, NO_DEVICE = 0xFFFF, BARS = 6 };
enum { HEADER_TYPE = 0x0C, MULTIFUNCTION = 0x800000 };

static void select(struct pci_address at, uint8_t offset)
{
    out32(CONFIG_ADDRESS, 0x80000000U | (uint32_t)at.device << 11 | (uint32_t)at.function << 8 |
                              (offset & 0xFC));
}

uint32_t pci_read(struct pci_address at, uint8_t offset)
{
    select(at, offset);
    return in32(CONFIG_DATA);
}

void pci_write(struct pci_address at, uint8_t offset, uint32_t value)
{
    select(at, offset);
    out32(CONFIG_DATA, value);
}

static bool present(struct pci_address at) { return (pci_read(at, PCI_ID) & 0xFFFF) != NO_DEVICE; }

static bool has_functions(uint8_t device)
{
    struct pci_address zero = {device, 0};

    return present(zero) && pci_read(zero, HEADER_TYPE) & MULTIFUNCTION;
}

bool pci_next(struct pci_address *at, bool first)
{
    struct pci_address next = *at;

    if (first)
        next = (struct pci_address){0, 0};
    else if (has_functions(next.device) && next.function < 7)
        next.function++;
    else
        next = (struct pci_address){(uint8_t)(next.device + 1), 0};
    while (next.device < 32) {
        if (present(next)) {
            *at = next;
            return true;
        }
        if (next.function < 7 && has_functions(next.device))
            next.function++;
        else
            next = (struct pci_address){(uint8_t)(next.device + 1), 0};
    }
    return false;
}

bool pci_find(uint8_t offset, uint32_t mask, uint32_t value, struct pci_address *found)
{
    struct pci_address at = {0, 0};

    for (bool more = pci_next(&at, true); more; more = pci_next(&at, false))
        if ((pci_read(at, offset) & mask) == value) {
            *found = at;
            return true;
        }
    return false;
}

static const char *class_name(uint16_t class)
{
    static const struct {
        uint16_t class;
        const char *name;
    } names[] = {
        {0x0100, "SCSI storage"},      {0x0101, "IDE controller"},  {0x0106, "SATA controller"},
        {0x0108, "NVMe controller"},   {0x0180, "mass storage"},    {0x0200, "Ethernet"},
        {0x0300, "VGA display"},       {0x0380, "display"},         {0x0401, "audio"},
        {0x0403, "HD audio"},          {0x0600, "host bridge"},     {0x0601, "ISA bridge"},
        {0x0604, "PCI bridge"},        {0x0680, "bridge"},          {0x0780, "communication"},
        {0x0C03, "USB controller"},    {0x0C05, "SMBus"},           {0x00FF, "miscellaneous"},
    };

    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].class == class)
            return names[i].name;
    return "other";
}

static void show_bars(struct pci_address at)
{
    for (uint8_t i = 0; i < BARS; i++) {
        uint32_t bar = pci_read(at, (uint8_t)(PCI_BAR_0 + 4 * i));
        if (!bar)
            continue;
        if (bar & 1) {
            print("        BAR %u: ports at %04x\n", i, bar & ~3U);
        } else if ((bar & 6) == 4) {
            uint64_t high = pci_read(at, (uint8_t)(PCI_BAR_0 + 4 * i + 4));
            print("        BAR %u: memory at %llx, 64-bit\n", i, high << 32 | (bar & ~15U));
            i++;
        } else {
            print("        BAR %u: memory at %08x\n", i, bar & ~15U);
        }
    }
}

void pci_show(void)
{
    struct pci_address at = {0, 0};

    for (bool more = pci_next(&at, true); more; more = pci_next(&at, false)) {
        uint32_t id = pci_read(at, PCI_ID), interrupt = pci_read(at, PCI_INTERRUPT);
        uint16_t class = (uint16_t)(pci_read(at, PCI_CLASS) >> 16);
        print("00:%02x.%u %04x:%04x %s", at.device, at.function, id & 0xFFFF, id >> 16,
              class_name(class));
        if (interrupt & 0xFF00)
            print(", INT%c on IRQ %u", (char)('@' + (interrupt >> 8 & 7)), interrupt & 0xFF);
        print("\n");
        if (!(pci_read(at, HEADER_TYPE) & 0x7F0000))
            show_bars(at);
    }
}
