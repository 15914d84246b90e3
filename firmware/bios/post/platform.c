/*
 * The board's fixed parts: interrupt controllers, timer, clock, keyboard controller, power
 * management, the interrupt table and the data area. 8259A, 8254, MC146818A, 8042, PIIX4 PM.
 */
#include "../timer.h"
#include "post.h"

enum { MASTER = 0x20, SLAVE = 0xa0 };
enum { PIIX4_PM_ID = 0x71138086 };

/* IRQ 0-7 at vectors 08h-0Fh, 8-15 at 70h-77h, as the PC/AT has them. */
static void interrupt_controllers_init(void)
{
    outb(MASTER, 0x11);
    outb(SLAVE, 0x11);
    outb(MASTER + 1, 0x08);
    outb(SLAVE + 1, 0x70);
    outb(MASTER + 1, 0x04);
    outb(SLAVE + 1, 0x02);
    outb(MASTER + 1, 0x01);
    outb(SLAVE + 1, 0x01);
    outb(MASTER + 1, 0xf8); /* timer, keyboard, cascade */
    outb(SLAVE + 1, 0xde);  /* clock, coprocessor */
}

static void timer_init(void)
{
    outb(0x43, 0x36); /* channel 0: mode 3, 65,536: 18.2 Hz */
    outb(0x40, 0);
    outb(0x40, 0);
    outb(0x43, 0x54); /* channel 1: refresh */
    outb(0x41, 18);
    outb(0x61, inb(0x61) & 0xfc);
}

static void clock_init(void)
{
    cmos_write(0x0a, 0x26); /* 32,768 Hz, periodic rate 1,024 Hz */
    cmos_write(0x0b, 0x02); /* 24 hours, BCD, no interrupts */
    cmos_read(0x0c);
    u32 seconds = bcd_to_binary(cmos_read(0)) +
                  60 * (bcd_to_binary(cmos_read(2)) + 60 * bcd_to_binary(cmos_read(4)));
    BDA.ticks = seconds * 18 + seconds * 2065 / 10000; /* 18.2065 a second */
}

/* The ports at 600h and 700h that ACPI's tables name, the SCI on IRQ 9. */
static void power_management_init(void)
{
    pci_address pm = 0;
    while (pci_next(&pm)) {
        if (pci_read32(pm, PCI_VENDOR) != PIIX4_PM_ID)
            continue;
        pci_write8(pm, PCI_INTERRUPT_LINE, 9);
        pci_write32(pm, 0x40, PM_BASE | 1);
        pci_write8(pm, 0x80, 1);
        pci_write32(pm, 0x90, 0x700 | 1);
        pci_write8(pm, 0xd2, 0x09);
        return;
    }
    say("No PIIX4 power management (8086:7113): disks will not time out\n");
}

void platform_init(void)
{
    interrupt_controllers_init();
    power_management_init();
    memset((void *)&BDA, 0, 0x100);
    timer_init();
    clock_init();
}

static void set_vector(u32 number, u16 segment, u32 offset)
{
    volatile u32 *table = NULL;
    asm("" : "+r"(table)); /* address 0 is where the table is */
    table[number] = (u32)segment << 16 | (offset & 0xffff);
}

/* The services' addresses are those of the PC's ROM (fixed.S); the rest leads to an IRET. */
void vectors_init(void)
{
    static const struct {
        u8 number;
        u16 offset;
    } fixed[] = {
        {0x02, 0xe2c3}, {0x05, 0xff54}, {0x08, 0xfea5}, {0x09, 0xe987}, {0x10, 0xf065},
        {0x11, 0xf84d}, {0x12, 0xf841}, {0x13, 0xe3fe}, {0x14, 0xe739}, {0x15, 0xf859},
        {0x16, 0xe82e}, {0x17, 0xefd2}, {0x19, 0xe6f2}, {0x1a, 0xfe6e}, {0x1e, 0xefc7},
        {0x40, 0xec59},
    };
    extern const u8 irq_master_entry[], irq_slave_entry[], irq8_entry[], irq13_entry[],
        int18_entry[];
    for (u32 i = 0; i < 0x100; i++)
        set_vector(i, FIXED_SEGMENT, 0xff53);
    for (u32 irq = 0; irq < 8; irq++) {
        set_vector(0x08 + irq, RUNTIME_SEGMENT, RUNTIME_OFFSET(irq_master_entry));
        set_vector(0x70 + irq, RUNTIME_SEGMENT, RUNTIME_OFFSET(irq_slave_entry));
    }
    set_vector(0x70, RUNTIME_SEGMENT, RUNTIME_OFFSET(irq8_entry));
    set_vector(0x75, RUNTIME_SEGMENT, RUNTIME_OFFSET(irq13_entry));
    set_vector(0x18, RUNTIME_SEGMENT, RUNTIME_OFFSET(int18_entry));
    for (u32 i = 0; i < COUNT(fixed); i++)
        set_vector(fixed[i].number, FIXED_SEGMENT, fixed[i].offset);
    set_vector(0x1d, 0, 0); /* tables of a VGA BIOS, the disks and the user: none yet */
    for (u32 i = 0x60; i < 0x68; i++)
        set_vector(i, 0, 0);

    BDA.ebda_segment = EBDA_SEGMENT;
    BDA.base_memory_kib = BASE_MEMORY_KIB;
    BDA.equipment = EQUIPMENT_FPU | EQUIPMENT_COLOUR_80;
    BDA.key_head = BDA.key_tail = BDA.key_buffer_start = 0x1e;
    BDA.key_buffer_end = 0x3e;
    BDA.key_mode = 0x10; /* 101 keys */
    memset((void *)(EBDA_SEGMENT << 4), 0, 1024);
    *(volatile u8 *)(EBDA_SEGMENT << 4) = 1; /* KiB */
}
