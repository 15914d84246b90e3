/*
 * The checks: processor, interrupts, clocks and ports once, then every disk by every way it has.
 * Only scratch areas are written to.
 */
#include "selftest.h"

#include "console.h"
#include "cpu.h"
#include "crc32.h"
#include "disk.h"
#include "io.h"
#include "keyboard.h"
#include "memory_map.h"
#include "paging.h"
#include "pci.h"
#include "power.h"
#include "rtc.h"
#include "serial.h"
#include "stress.h"
#include "text.h"
#include "timer.h"
#include "trap.h"

enum { STRESS_WRITES = 64, STRESS_SEED = 1 };

static unsigned passed, failed;

static void report(bool holds, const char *what)
{
    print_in(holds ? GREEN : RED, holds ? "[ ok ] " : "[FAIL] ");
    print("%s", what);
    if (holds)
        passed++;
    else
        failed++;
}

static bool check_memory(void)
{
    volatile uint32_t *low = (volatile uint32_t *)0x8000;
    volatile uint32_t *high = (volatile uint32_t *)0x108000;

    *low = 0x12345678;
    *high = 0x9ABCDEF0; /* with A20 closed this is the same place */
    return memory_usable() > 1024 && *low == 0x12345678 && *high == 0x9ABCDEF0;
}

static bool check_cpu(void)
{
    char vendor[13];

    cpu_vendor(vendor);
    return strlen(vendor) == 12;
}

static bool check_arithmetic(void)
{
    static const char digits[] = "123456789";

    return crc32(0, digits, 9) == 0xCBF43926;
}

static bool raised(uint32_t vector)
{
    bool right = expected.vector == vector;

    expected.vector = NO_VECTOR;
    return right;
}

static bool check_exceptions(void)
{
    bool divide, breakpoint, invalid, protection;

    expected.vector = NO_VECTOR;
    TRY("xorl %%ecx, %%ecx; xorl %%edx, %%edx; divl %%ecx");
    divide = raised(0);
    TRY("int3");
    breakpoint = raised(3);
    TRY("ud2");
    invalid = raised(6);
    TRY("movl $0x1234, %%eax; movw %%ax, %%fs");
    protection = expected.error == 0x1234 && raised(13);
    return divide && breakpoint && invalid && protection;
}

static bool check_timer(void)
{
    uint32_t start = timer_ticks();
    uint64_t before = read_tsc();

    timer_sleep(5);
    return timer_ticks() - start >= 5 && read_tsc() > before;
}

static bool check_acpi_timer(void)
{
    uint32_t before, after;

    if (!power_timer(&before))
        return false;
    timer_sleep(2);
    power_timer(&after);
    return after != before;
}

static bool check_date(void)
{
    struct date date;

    return rtc_read(&date) && date.year >= 1980;
}

static bool check_pci(void)
{
    struct pci_address at;

    return pci_find(PCI_CLASS, 0xFFFF0000, 0x06000000, &at) && at.device == 0;
}

static void check_machine(void)
{
    static const struct {
        bool (*run)(void);
        const char *what;
    } checks[] = {
        {check_cpu, "processor: CPUID names its vendor\n"},
        {check_arithmetic, "processor: CRC-32 of 123456789 is cbf43926\n"},
        {check_exceptions, "processor: #DE, #BP, #UD and #GP come where they should\n"},
        {paging_check, "processor: paging maps, protects and sets accessed and dirty\n"},
        {check_memory, "memory: present above 1 MiB, and A20 is open\n"},
        {check_timer, "interval timer: interrupts 100 times a second\n"},
        {check_acpi_timer, "ACPI timer: counts\n"},
        {check_date, "real-time clock: shows a date\n"},
        {check_pci, "PCI: host bridge at 00:00.0\n"},
        {screen_check, "screen: text buffer and cursor keep what is written\n"},
        {serial_check, "serial port: loops a byte back\n"},
        {keyboard_check, "keyboard: answers echo\n"},
    };

    for (unsigned i = 0; i < sizeof checks / sizeof *checks; i++)
        report(checks[i].run(), checks[i].what);
}

/* The same sectors by PIO and by DMA. */
static void check_methods(struct disk *disk)
{
    static uint8_t by_pio[8 * SECTOR], by_dma[8 * SECTOR];
    enum method kept = disk->method;
    bool holds;

    disk->method = PIO;
    holds = disk_read(disk, 0, by_pio, 8);
    disk->method = DMA;
    holds = holds && disk_read(disk, 0, by_dma, 8) && !memcmp(by_pio, by_dma, sizeof by_pio);
    disk->method = kept;
    report(holds, disk->name);
    print(": PIO and DMA read the same\n");
}

static const char *method_name(const struct disk *disk)
{
    if (!disk_is_ide(disk))
        return "";
    return disk->method == PIO ? " PIO" : " DMA";
}

static void check_writes(struct disk *disk, struct area area, enum method method)
{
    struct stress_result result;
    enum method kept = disk->method;
    bool holds;

    disk->method = method;
    holds = stress_run(disk, area, STRESS_WRITES, STRESS_SEED, &result);
    report(holds, disk->name);
    if (holds)
        print(": %u random%s writes read back, %u sectors, sum %08x\n", result.writes,
              method_name(disk), result.sectors, result.sum);
    else
        print(": random%s writes fail at sector %u\n", method_name(disk), result.bad_lba);
    disk->method = kept;
}

static void check_disk(struct disk *disk)
{
    static uint8_t sector[SECTOR];
    struct area area;

    report(disk_read(disk, disk->sectors - 1, sector, 1), disk->name);
    print(": reads its last sector, %u\n", disk->sectors - 1);
    report(!disk->transfer(disk, READ, disk->sectors, sector, 1), disk->name);
    print(": reports an error past it\n");
    if (disk_is_ide(disk) && disk->has_dma)
        check_methods(disk);
    if (!disk_scratch(disk, &area))
        return;
    if (disk_is_ide(disk))
        check_writes(disk, area, PIO);
    if (disk->has_dma)
        check_writes(disk, area, DMA);
    report(disk->flush(disk), disk->name);
    print(": flushes its cache\n");
}

bool selftest(void)
{
    passed = failed = 0;
    check_machine();
    for (unsigned i = 0; i < disk_count(); i++)
        check_disk(disk_get(i));
    if (!disk_count())
        report(false, "disks: none found\n");
    print("selftest: %u passed, %u failed\n", passed, failed);
    return !failed;
}
