/*
 * PCI: finding functions, giving their BARs addresses, routing their interrupts. PCI Local Bus 2.1,
 * 6.2.5 (base addresses); 82371SB (PIIX3) for PIRQRC 60h-63h and ELCR 4D0h.
 *
 * Bus 0 only: the board has no bridges, and one that is there is named and left alone. BARs of each
 * space are placed from the largest down, so that alignment wastes nothing; a 64-bit BAR goes above
 * 4 GiB only when it does not fit below.
 */
#include "../pir.h"
#include "post.h"

enum { BAR_IO = 1, BAR_64 = 4, ROM_ENABLE = 1, MAX_BARS = 128 };
enum { CLASS_BRIDGE_PCI = 0x0604 };
enum { PIIX4_PM_ID = 0x71138086, PIIX3_ID = 0x70008086 };

enum { IO_START = 0xc000, IO_END = 0x10000 };
static const u32 memory_end = 0xfec00000; /* the IOAPIC */

/* PIRQA-D. Two lines, so that a polled and a busy device need not share one. */
static const u8 pirq_irqs[4] = {10, 11, 10, 11};

struct bar {
    pci_address address;
    u8 offset;
    bool io, wide;
    u64 size;
};

static struct bar bars[MAX_BARS];
static u32 bar_count;

/* The next function after *address, which begins with 0 and is the host bridge then. */
bool pci_next(pci_address *address)
{
    while (++*address < PCI_FUNCTIONS) {
        if (*address & 7 && !(pci_read8(*address & ~7, PCI_HEADER_TYPE) & 0x80))
            continue;
        if (pci_read16(*address, PCI_VENDOR) != 0xffff)
            return true;
    }
    return false;
}

bool pci_find_class(u16 class, pci_address *address)
{
    while (pci_next(address)) {
        if (pci_read32(*address, PCI_CLASS) >> 16 == class)
            return true;
    }
    return false;
}

/* Where a memory BAR leads; 0 if it is not a memory BAR, or out of POST's reach. */
u32 pci_bar_memory(pci_address address, u8 bar)
{
    u8 offset = PCI_BAR0 + bar * 4;
    u32 low = pci_read32(address, offset);
    if (bar > 5 || low & BAR_IO || (low & BAR_64 && pci_read32(address, offset + 4)))
        return 0;
    return low & ~15;
}

u8 pci_interrupt_line(pci_address address)
{
    return pci_read8(address, PCI_INTERRUPT_LINE);
}

static u64 bar_size(pci_address address, u8 offset, bool wide, u32 mask)
{
    u32 old = pci_read32(address, offset);
    pci_write32(address, offset, offset == PCI_ROM_BAR ? ~ROM_ENABLE : ~0);
    u64 bits = pci_read32(address, offset) & mask;
    pci_write32(address, offset, old);
    if (bits == 0)
        return 0;
    if (!(mask & 0xffff0000 & bits)) /* I/O BARs may decode 16 bits only */
        bits |= 0xffff0000;
    if (!wide)
        return (u32)(-bits);
    old = pci_read32(address, offset + 4);
    pci_write32(address, offset + 4, ~0);
    bits |= (u64)pci_read32(address, offset + 4) << 32;
    pci_write32(address, offset + 4, old);
    return -bits;
}

static void collect_bar(struct bar bar, u32 mask)
{
    bar.size = bar_size(bar.address, bar.offset, bar.wide, mask);
    if (bar.size && bar_count < MAX_BARS)
        bars[bar_count++] = bar;
}

static void collect_bars(pci_address address)
{
    u16 command = pci_read16(address, PCI_COMMAND);
    pci_write16(address, PCI_COMMAND, command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
    for (u8 offset = PCI_BAR0; offset < PCI_BAR0 + 6 * 4; offset += 4) {
        u32 kind = pci_read32(address, offset);
        bool io = kind & BAR_IO, wide = !io && kind & BAR_64;
        collect_bar((struct bar){address, offset, io, wide, 0}, io ? ~3 : ~15);
        if (wide)
            offset += 4;
    }
    collect_bar((struct bar){.address = address, .offset = PCI_ROM_BAR}, 0xfffff800);
    pci_write16(address, PCI_COMMAND, command);
}

static void sort_bars(void)
{
    for (u32 i = 1; i < bar_count; i++) {
        struct bar moved = bars[i];
        u32 place = i;
        for (; place > 0 && bars[place - 1].size < moved.size; place--)
            bars[place] = bars[place - 1];
        bars[place] = moved;
    }
}

static bool take(u64 *next, u64 end, u64 size, u64 *base)
{
    *base = (*next + size - 1) & -size;
    if (*base + size > end || *base + size < size)
        return false;
    *next = *base + size;
    return true;
}

static void place_bars(void)
{
    u64 io = IO_START;
    u64 low = memory.low > 0xe0000000 ? memory.low : 0xe0000000;
    u64 high = 0x100000000 + ((memory.high + 0x3fffffff) & ~(u64)0x3fffffff);
    for (u32 i = 0; i < bar_count; i++) {
        struct bar *bar = &bars[i];
        u64 base;
        bool placed = bar->io ? take(&io, IO_END, bar->size, &base)
                              : take(&low, memory_end, bar->size, &base) ||
                                    (bar->wide && take(&high, -1, bar->size, &base));
        if (!placed) {
            say("PCI %02x.%x: no room for BAR %02x\n", bar->address >> 3, bar->address & 7,
                bar->offset);
            continue;
        }
        pci_write32(bar->address, bar->offset, base);
        if (bar->wide)
            pci_write32(bar->address, bar->offset + 4, base >> 32);
        u16 command = pci_read16(bar->address, PCI_COMMAND);
        if (bar->offset != PCI_ROM_BAR)
            pci_write16(bar->address, PCI_COMMAND,
                        command | (bar->io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY));
    }
}

/* PIIX3: PIRQ lines to IRQs, and those IRQs level-triggered. */
static void route_interrupts(pci_address bridge)
{
    u16 level = 0;
    for (u8 i = 0; i < 4; i++) {
        pci_write8(bridge, 0x60 + i, pirq_irqs[i]);
        level |= 1 << pirq_irqs[i];
    }
    level |= 1 << 9; /* the SCI */
    outb(0x4d0, level);
    outb(0x4d1, level >> 8);
}

/* The board wires pin n of slot s to PIRQ (s + n - 1) mod 4, slot 1 pin A being PIRQA. */
static u8 pirq_of(u8 device, u8 pin)
{
    return (device - 1 + pin - 1) & 3;
}

static void set_up_function(pci_address address)
{
    u32 id = pci_read32(address, PCI_VENDOR);
    u16 class = pci_read32(address, PCI_CLASS) >> 16;
    if (class == CLASS_BRIDGE_PCI) {
        say("PCI %02x.%x: bridges are not supported, what is behind stays off\n", address >> 3,
            address & 7);
        return;
    }
    if (id == PIIX3_ID)
        route_interrupts(address);
    collect_bars(address);
    u8 pin = pci_read8(address, PCI_INTERRUPT_PIN);
    if (pin && id != PIIX4_PM_ID)
        pci_write8(address, PCI_INTERRUPT_LINE, pirq_irqs[pirq_of(address >> 3 & 31, pin)]);
}

void pci_assign(void)
{
    u32 functions = 1;
    pci_address address = 0;
    while (pci_next(&address)) {
        set_up_function(address);
        functions++;
    }
    sort_bars();
    place_bars();
    say("PCI: %u functions, %u BARs\n", functions, bar_count);
}

static void fill_slot(struct pir_slot *slot, u8 device)
{
    slot->device = device << 3;
    for (u8 pin = 0; pin < 4; pin++) {
        slot->pins[pin].link = 0x60 + pirq_of(device, pin + 1);
        slot->pins[pin].irqs = 0x0c00 | 1 << 5;
    }
}

/* $PIR, for the PCI BIOS and for systems that scan for it. */
void pir_table_build(void)
{
    struct {
        u32 signature;
        u16 version, size;
        u8 router_bus, router_address;
        u16 exclusive_irqs;
        u32 compatible_router, miniport_data;
        u8 reserved[11], checksum;
        struct pir_slot slots[];
    } PACKED *table;
    struct pir_table_data *data = &RUNTIME(pir_slots);
    u32 count = 0;
    for (u8 device = 1; device < PCI_SLOTS; device++) {
        if (pci_read16(device << 3, PCI_VENDOR) != 0xffff)
            fill_slot(&data->slots[count++], device);
    }
    data->size = count * sizeof(struct pir_slot);
    u32 size = sizeof(*table) + data->size;
    table = allocate_table(size, 16);
    if (!table)
        return;
    table->signature = 0x52495024; /* "$PIR" */
    table->version = 0x0100;
    table->size = size;
    table->router_address = 1 << 3;
    table->compatible_router = PIIX3_ID;
    memcpy(table->slots, data->slots, data->size);
    table->checksum = checksum(table, size);
}
