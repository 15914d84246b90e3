/*
 * The MP configuration table (Intel MultiProcessor Specification 1.4, 4): processors, buses, the
 * IOAPIC and how interrupts reach it, for systems that look here rather than at ACPI.
 *
 * ISA interrupts keep their numbers, except that IRQ 0 arrives at pin 2; PCI ones arrive where the
 * PIIX3 routes them, level-triggered and active high, as the board wires them.
 */
#include "post.h"

enum { PROCESSOR = 0, BUS = 1, IOAPIC = 2, IO_INTERRUPT = 3, LOCAL_INTERRUPT = 4 };
enum { TYPE_INT = 0, TYPE_NMI = 1, TYPE_EXTINT = 3 };
enum { BUS_PCI = 0, BUS_ISA = 1, IOAPIC_ID = 0, APIC_VERSION = 0x14, IOAPIC_VERSION = 0x11 };
enum { ACTIVE_HIGH = 1, LEVEL = 3 << 2 };
enum { CPU_ENABLED = 1, CPU_BOOT = 2, MAX_PROCESSORS = 64, OTHER_ENTRIES = 512 };

struct floating_pointer {
    char signature[4];
    u32 table;
    u8 length, version, checksum, features[5];
} PACKED;

struct table {
    char signature[4];
    u16 length;
    u8 version, checksum;
    char oem[8], product[12];
    u32 oem_table;
    u16 oem_size, entries;
    u32 local_apic;
    u16 extended_length;
    u8 extended_checksum, reserved;
} PACKED;

struct processor {
    u8 type, apic, version, flags;
    u32 signature, features;
    u64 reserved;
} PACKED;

struct bus {
    u8 type, id;
    char name[6];
} PACKED;

struct ioapic {
    u8 type, id, version, flags;
    u32 address;
} PACKED;

struct interrupt {
    u8 type, kind;
    u16 flags;
    u8 bus, irq, apic, pin;
} PACKED;

static u8 *next, *end;
static u16 entries;

static void add(const void *entry, u32 size)
{
    if (next + size > end)
        return;
    memcpy(next, entry, size);
    next += size;
    entries++;
}

static void add_processors(u32 count)
{
    u32 signature, features = processor_features(&signature);
    for (u32 i = 0; i < count; i++) {
        struct processor p = {
            .type = PROCESSOR,
            .apic = i,
            .version = APIC_VERSION,
            .flags = CPU_ENABLED | (i == 0 ? CPU_BOOT : 0),
            .signature = signature,
            .features = features,
        };
        add(&p, sizeof(p));
    }
}

static void add_interrupt(struct interrupt interrupt)
{
    add(&interrupt, sizeof(interrupt));
}

static void add_pci_interrupts(void)
{
    pci_address address = 0;
    while (pci_next(&address)) {
        u8 pin = pci_read8(address, PCI_INTERRUPT_PIN), line = pci_interrupt_line(address);
        if (pin == 0 || line == 0 || line > 15)
            continue;
        add_interrupt((struct interrupt){IO_INTERRUPT, TYPE_INT, ACTIVE_HIGH | LEVEL, BUS_PCI,
                                         (address >> 3 & 31) << 2 | (pin - 1), IOAPIC_ID, line});
    }
}

/* IRQ 2 is the cascade; 9, 10 and 11 are PCI's. */
static void add_isa_interrupts(void)
{
    for (u8 irq = 0; irq < 16; irq++) {
        if (irq != 2 && (irq < 9 || irq > 11))
            add_interrupt((struct interrupt){IO_INTERRUPT, TYPE_INT, 0, BUS_ISA, irq, IOAPIC_ID,
                                             irq == 0 ? 2 : irq});
    }
    add_interrupt((struct interrupt){LOCAL_INTERRUPT, TYPE_EXTINT, 0, BUS_ISA, 0, 0, 0});
    add_interrupt((struct interrupt){LOCAL_INTERRUPT, TYPE_NMI, 0, BUS_ISA, 0, 0xff, 1});
}

void mp_table_build(void)
{
    u32 processors = fw_cfg_processors();
    struct floating_pointer *pointer;
    u32 signature;
    if (processors > MAX_PROCESSORS || !(processor_features(&signature) & CPUID_APIC))
        return;
    u32 room = sizeof(struct table) + processors * sizeof(struct processor) + OTHER_ENTRIES;
    pointer = allocate_table(sizeof(*pointer), 16);
    struct table *table = pointer ? allocate_table(room, 16) : NULL;
    if (!table)
        return;
    *table = (struct table){
        .signature = "PCMP",
        .version = 4,
        .oem = "COWBOX  ",
        .product = "PC          ",
        .local_apic = 0xfee00000,
    };
    next = (u8 *)(table + 1);
    end = (u8 *)table + room;
    add_processors(processors);
    add(&(struct bus){BUS, BUS_PCI, "PCI   "}, sizeof(struct bus));
    add(&(struct bus){BUS, BUS_ISA, "ISA   "}, sizeof(struct bus));
    add(&(struct ioapic){IOAPIC, IOAPIC_ID, IOAPIC_VERSION, 1, 0xfec00000}, sizeof(struct ioapic));
    add_pci_interrupts();
    add_isa_interrupts();
    table->entries = entries;
    table->length = next - (u8 *)table;
    table->checksum = checksum(table, table->length);
    *pointer = (struct floating_pointer){
        .signature = "_MP_",
        .table = (u32)table,
        .length = 1,
        .version = 4,
    };
    pointer->checksum = checksum(pointer, sizeof(*pointer));
}
