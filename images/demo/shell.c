/* The shell: one line, split into words, looked up in the table at the end. */
#include "shell.h"

#include "console.h"
#include "cpu.h"
#include "disk.h"
#include "input.h"
#include "memory_map.h"
#include "pci.h"
#include "power.h"
#include "rtc.h"
#include "selftest.h"
#include "snow.h"
#include "stress.h"
#include "text.h"
#include "timer.h"
#include "trap.h"

enum { LINE = 128, WORDS = 8, ROW = 16 };

struct command {
    const char *name, *arguments, *help;
    void (*run)(unsigned count, char **words);
};

static unsigned current; /* the disk that commands work on */
static uint8_t sector[SECTOR];

/* The word at `index` as a number, or `otherwise` if there are not so many words. */
static bool number_or(unsigned count, char **words, unsigned index, uint32_t otherwise,
                      uint32_t *number)
{
    if (index >= count) {
        *number = otherwise;
        return true;
    }
    if (parse_number(words[index], number))
        return true;
    print("%s is no number\n", words[index]);
    return false;
}

static struct disk *current_disk(void)
{
    struct disk *disk = disk_get(current);

    if (!disk)
        print("no disk\n");
    return disk;
}

/* The current disk and its scratch area, or a null pointer and a message. */
static struct disk *scratch_disk(struct area *area)
{
    struct disk *disk = current_disk();

    if (disk && !disk_scratch(disk, area)) {
        print("%s has no scratch area (partition 1 of type da): nothing is written to it\n",
              disk->name);
        return 0;
    }
    return disk;
}

static void show_memory(unsigned count, char **words)
{
    (void)count, (void)words;
    memory_map_show();
}

static void show_pci(unsigned count, char **words)
{
    (void)count, (void)words;
    pci_show();
}

static void show_cpu(unsigned count, char **words)
{
    (void)count, (void)words;
    cpu_show();
}

static void show_disks(void)
{
    for (unsigned i = 0; i < disk_count(); i++) {
        struct disk *disk = disk_get(i);
        struct area area;
        print("%c %u  %s: %s, %u sectors (%u MiB), %s", i == current ? '*' : ' ', i, disk->name,
              disk->model, disk->sectors, disk->sectors / 2048, disk->method == DMA ? "DMA" : "PIO");
        if (disk_scratch(disk, &area))
            print(", scratch area %u-%u", area.first, area.first + area.count - 1);
        print("\n");
    }
}

static void disks(unsigned count, char **words)
{
    uint32_t number;

    if (!number_or(count, words, 1, current, &number))
        return;
    if (disk_get(number))
        current = number;
    else
        print("no disk %u\n", number);
    show_disks();
}

static void set_method(unsigned count, char **words)
{
    struct disk *disk = current_disk();
    bool dma = count > 1 && text_equal(words[1], "dma");

    if (!disk)
        return;
    if (!dma && !(count > 1 && text_equal(words[1], "pio")))
        print("pio or dma\n");
    else if (!(dma ? disk->has_dma : disk->has_pio))
        print("%s knows no %s\n", disk->name, words[1]);
    else
        disk->method = dma ? DMA : PIO;
}

static void dump_row(unsigned offset)
{
    print("%03x ", offset);
    for (unsigned i = 0; i < ROW; i++)
        print(" %02x", sector[offset + i]);
    print("  ");
    for (unsigned i = 0; i < ROW; i++) {
        uint8_t byte = sector[offset + i];
        console_put(byte >= ' ' && byte < 0x7F ? (char)byte : '.');
    }
    print("\n");
}

static void read(unsigned count, char **words)
{
    struct disk *disk = current_disk();
    uint32_t lba;

    if (!disk || !number_or(count, words, 1, 0, &lba))
        return;
    if (!disk_read(disk, lba, sector, 1)) {
        print("cannot read sector %u\n", lba);
        return;
    }
    for (unsigned offset = 0; offset < SECTOR; offset += ROW)
        if (offset == 0 || memcmp(sector + offset - ROW, sector + offset, ROW))
            dump_row(offset);
}

static void write(unsigned count, char **words)
{
    struct area area;
    struct disk *disk = scratch_disk(&area);
    size_t used = 0;
    uint32_t lba;

    if (!disk)
        return;
    if (!number_or(count, words, 1, area.first, &lba))
        return;
    if (lba < area.first || lba - area.first >= area.count) {
        print("sector %u is not in the scratch area %u-%u\n", lba, area.first,
              area.first + area.count - 1);
        return;
    }
    memset(sector, 0, SECTOR);
    for (unsigned i = 2; i < count; i++) {
        memcpy(sector + used, words[i], strlen(words[i]));
        used += strlen(words[i]) + 1;
        sector[used - 1] = i + 1 < count ? ' ' : 0;
    }
    if (disk_write(disk, lba, sector, 1) && disk->flush(disk))
        print("sector %u written and flushed\n", lba);
    else
        print("cannot write sector %u\n", lba);
}

static void verify(unsigned count, char **words)
{
    struct stress_result result;
    struct area area;
    struct disk *disk = scratch_disk(&area);

    (void)count, (void)words;
    if (!disk)
        return;
    if (stress_verify(disk, area, &result))
        print("verify: %u stress sectors whole, sum %08x\n", result.sectors, result.sum);
    else
        print_in(RED, "verify: sector %u is damaged\n", result.bad_lba);
}

static void stress(unsigned count, char **words)
{
    struct stress_result result;
    struct area area;
    struct disk *disk = scratch_disk(&area);
    uint32_t writes, seed;

    if (!disk || !number_or(count, words, 1, 256, &writes) ||
        !number_or(count, words, 2, 1, &seed))
        return;
    if (stress_run(disk, area, writes, seed, &result))
        print("stress: %u writes, %u sectors read back, sum %08x\n", result.writes,
              result.sectors, result.sum);
    else
        print_in(RED, "stress: failed at sector %u\n", result.bad_lba);
}

static void sum(unsigned count, char **words)
{
    struct disk *disk = current_disk();
    struct area area;
    uint32_t result;

    if (!disk || !number_or(count, words, 1, 0, &area.first) ||
        !number_or(count, words, 2, disk->sectors - area.first, &area.count))
        return;
    if (area.first < disk->sectors && area.count <= disk->sectors - area.first &&
        stress_sum(disk, area, &result))
        print("sum: %u sectors from %u, CRC-32 %08x\n", area.count, area.first, result);
    else
        print("cannot read %u sectors from %u\n", area.count, area.first);
}

static void show_time(unsigned count, char **words)
{
    struct date date;

    (void)count, (void)words;
    if (rtc_read(&date))
        print("%u-%02u-%02u %02u:%02u:%02u\n", date.year, date.month, date.day, date.hour,
              date.minute, date.second);
    else
        print("the clock shows no date\n");
}

static void uptime(unsigned count, char **words)
{
    uint32_t ticks = timer_ticks();

    (void)count, (void)words;
    print("%u.%02u s\n", ticks / TICKS_PER_SECOND, ticks % TICKS_PER_SECOND);
}

static void let_it_snow(unsigned count, char **words)
{
    (void)count, (void)words;
    snow();
}

static void halt(unsigned count, char **words)
{
    (void)count, (void)words;
    print("power off\n");
    power_off();
    timer_sleep(TICKS_PER_SECOND); /* the machine may take its time */
    print("the machine stays on: no PIIX4 power management\n");
}

static void reboot(unsigned count, char **words)
{
    (void)count, (void)words;
    power_reset();
    timer_sleep(TICKS_PER_SECOND);
    print("the machine goes on: no reset port\n");
}

static void crash(unsigned count, char **words)
{
    (void)count, (void)words;
    print("triple fault\n");
    triple_fault();
}

static void leave(unsigned count, char **words)
{
    uint32_t value;

    if (!number_or(count, words, 1, 0, &value))
        return;
    power_exit((uint8_t)value);
    print("the machine goes on: no debug exit port\n");
}

void shell_selftest(void)
{
    uint8_t status = selftest() ? 0 : 1;

    if (status)
        power_exit(status);
    halt(0, 0);
}

static void run_selftest(unsigned count, char **words)
{
    (void)count, (void)words;
    shell_selftest();
}

static void help(unsigned count, char **words);

static const struct command commands[] = {
    {"help", "", "this list", help},
    {"mem", "", "the memory map from the BIOS", show_memory},
    {"pci", "", "devices on the PCI bus", show_pci},
    {"cpuid", "", "what the processor says about itself", show_cpu},
    {"disk", "[N]", "the disks; make N the current one", disks},
    {"mode", "pio|dma", "how the current IDE disk moves data", set_method},
    {"read", "LBA", "a sector, in hexadecimal; repeated rows left out", read},
    {"write", "LBA TEXT", "text into a sector of the scratch area", write},
    {"stress", "[N [SEED]]", "N random writes, read back and compared", stress},
    {"verify", "", "are all sectors of stress runs whole?", verify},
    {"sum", "[LBA [N]]", "CRC-32 of the disk, or of N sectors", sum},
    {"time", "", "the date and time", show_time},
    {"uptime", "", "seconds since the start", uptime},
    {"snow", "", "snow on the screen", let_it_snow},
    {"selftest", "", "check everything, then power off", run_selftest},
    {"halt", "", "power off through ACPI", halt},
    {"reboot", "", "reset by port cf9", reboot},
    {"exit", "N", "leave through the debug exit port", leave},
    {"triple", "", "crash the processor: a triple fault", crash},
};

static void help(unsigned count, char **words)
{
    (void)count, (void)words;
    for (unsigned i = 0; i < sizeof commands / sizeof *commands; i++)
        print("  %-9s%-12s%s\n", commands[i].name, commands[i].arguments, commands[i].help);
}

static unsigned split(char *line, char *words[WORDS])
{
    unsigned count = 0;

    while (count < WORDS) {
        while (*line == ' ')
            *line++ = 0;
        if (!*line)
            break;
        words[count++] = line;
        if (count == WORDS)
            break; /* the last word keeps its spaces */
        while (*line && *line != ' ')
            line++;
    }
    return count;
}

static void run(char *line)
{
    char *words[WORDS];
    unsigned count = split(line, words);

    if (!count)
        return;
    for (unsigned i = 0; i < sizeof commands / sizeof *commands; i++)
        if (text_equal(words[0], commands[i].name)) {
            commands[i].run(count, words);
            return;
        }
    print("%s: no such command; help lists them\n", words[0]);
}

void shell(void)
{
    char line[LINE];

    for (;;) {
        print_in(GREEN, "cow> ");
        input_line(line, sizeof line);
        run(line);
    }
}
