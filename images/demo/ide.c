/*
 * IDE disks on the two legacy channels, by PIO and by bus-master DMA, with interrupts.
 * Leaves out CD-ROMs. References: ATA/ATAPI-6, chapters 8 and 9; SFF-8038i (bus master).
 */
#include "ide.h"

#include "disk.h"
#include "io.h"
#include "pci.h"
#include "text.h"
#include "timer.h"
#include "trap.h"

enum { CHANNELS = 2, TIMEOUT = 5 * TICKS_PER_SECOND };

/* Offsets from the channel's command block. */
enum { DATA, FEATURES, COUNT, LBA_LOW, LBA_MID, LBA_HIGH, DEVICE, COMMAND, STATUS = COMMAND };

enum { BUSY = 0x80, FAULT = 0x20, DRQ = 0x08, ERROR = 0x01 };
enum { NO_INTERRUPT = 2, DEVICE_LBA = 0xE0, DEVICE_SLAVE = 0x10 };

enum {
    READ_SECTORS = 0x20,
    READ_SECTORS_EXT = 0x24,
    READ_DMA_EXT = 0x25,
    WRITE_SECTORS = 0x30,
    WRITE_SECTORS_EXT = 0x34,
    WRITE_DMA_EXT = 0x35,
    READ_DMA = 0xC8,
    WRITE_DMA = 0xCA,
    FLUSH_CACHE = 0xE7,
    FLUSH_CACHE_EXT = 0xEA,
    IDENTIFY_DEVICE = 0xEC,
};

/* Offsets from the channel's bus-master block, and bits there. */
enum { BM_COMMAND = 0, BM_STATUS = 2, BM_TABLE = 4 };
enum { BM_START = 1, BM_TO_MEMORY = 8, BM_ERROR = 2, BM_INTERRUPT = 4 };

struct region {
    uint32_t address;
    uint16_t bytes;
    uint16_t last;
};

struct channel {
    uint16_t base, control, irq;
    uint16_t bus_master; /* 0: none */
    volatile bool fired;
    volatile uint8_t status;
    struct region regions[2] __attribute__((aligned(16)));
};

static struct channel channels[CHANNELS] = {
    {.base = 0x1F0, .control = 0x3F6, .irq = 14},
    {.base = 0x170, .control = 0x376, .irq = 15},
};
static bool lba48[2 * CHANNELS];

static void interrupt(unsigned number)
{
    struct channel *channel = &channels[number];

    channel->status = in8((uint16_t)(channel->base + STATUS)); /* also takes the request back */
    if (channel->bus_master)
        out8((uint16_t)(channel->bus_master + BM_STATUS), BM_INTERRUPT);
    channel->fired = true;
}

static void primary(void) { interrupt(0); }
static void secondary(void) { interrupt(1); }

/* Sleeps until the channel's interrupt; false after TIMEOUT or when the drive says error. */
static bool wait_interrupt(struct channel *channel)
{
    uint32_t start = timer_ticks();

    interrupts_off();
    while (!channel->fired && timer_ticks() - start < TIMEOUT)
        sleep_until_interrupt();
    interrupts_on();
    return channel->fired && !(channel->status & (BUSY | FAULT | ERROR));
}

/* Polls until the drive is not busy; returns its status. */
static uint8_t wait_ready(struct channel *channel)
{
    uint32_t start = timer_ticks();
    uint8_t status;

    do
        status = in8(channel->control); /* the alternate status leaves interrupts alone */
    while (status & BUSY && timer_ticks() - start < TIMEOUT);
    return status;
}

static void select_drive(struct channel *channel, unsigned unit)
{
    out8((uint16_t)(channel->base + DEVICE),
         (uint8_t)(DEVICE_LBA | (unit & 1 ? DEVICE_SLAVE : 0)));
    for (unsigned i = 0; i < 4; i++)
        in8(channel->control); /* 400 ns */
}

/* Loads the address registers; 48-bit commands take each twice, high byte first. */
static void load_address(struct channel *channel, unsigned unit, uint32_t lba, uint32_t count)
{
    uint16_t base = channel->base;

    select_drive(channel, unit);
    if (lba48[unit]) {
        out8((uint16_t)(base + COUNT), (uint8_t)(count >> 8));
        out8((uint16_t)(base + LBA_LOW), (uint8_t)(lba >> 24));
        out8((uint16_t)(base + LBA_MID), 0);
        out8((uint16_t)(base + LBA_HIGH), 0);
    } else {
        out8((uint16_t)(base + DEVICE),
             (uint8_t)(DEVICE_LBA | (unit & 1 ? DEVICE_SLAVE : 0) | (lba >> 24 & 15)));
    }
    out8((uint16_t)(base + COUNT), (uint8_t)count);
    out8((uint16_t)(base + LBA_LOW), (uint8_t)lba);
    out8((uint16_t)(base + LBA_MID), (uint8_t)(lba >> 8));
    out8((uint16_t)(base + LBA_HIGH), (uint8_t)(lba >> 16));
}

static void command(struct channel *channel, uint8_t code)
{
    channel->fired = false;
    out8(channel->control, 0);
    out8((uint16_t)(channel->base + COMMAND), code);
}

static bool read_pio(struct channel *channel, unsigned unit, uint8_t *buffer, uint32_t count)
{
    command(channel, lba48[unit] ? READ_SECTORS_EXT : READ_SECTORS);
    for (; count--; buffer += SECTOR) {
        if (!wait_interrupt(channel) || !(channel->status & DRQ))
            return false;
        channel->fired = false;
        in16_block((uint16_t)(channel->base + DATA), buffer, SECTOR / 2);
    }
    return true;
}

static bool write_pio(struct channel *channel, unsigned unit, const uint8_t *buffer, uint32_t count)
{
    command(channel, lba48[unit] ? WRITE_SECTORS_EXT : WRITE_SECTORS);
    for (; count--; buffer += SECTOR) {
        if (!(wait_ready(channel) & DRQ))
            return false;
        channel->fired = false;
        out16_block((uint16_t)(channel->base + DATA), buffer, SECTOR / 2);
        if (!wait_interrupt(channel))
            return false;
    }
    return true;
}

/* Describes a buffer to the bus master: no region may cross a 64 KiB boundary. */
static void fill_regions(struct channel *channel, uint32_t address, uint32_t bytes)
{
    uint32_t room = 0x10000 - (address & 0xFFFF);
    uint32_t first = bytes < room ? bytes : room;

    channel->regions[0] = (struct region){address, (uint16_t)first, first == bytes ? 0x8000 : 0};
    channel->regions[1] =
        (struct region){address + first, (uint16_t)(bytes - first), 0x8000};
}

static bool transfer_dma(struct channel *channel, unsigned unit, enum direction direction,
                         void *buffer, uint32_t count)
{
    uint16_t bm = channel->bus_master;
    uint8_t way = direction == READ ? BM_TO_MEMORY : 0, status;
    bool done;

    fill_regions(channel, (uint32_t)buffer, count * SECTOR);
    out32((uint16_t)(bm + BM_TABLE), (uint32_t)channel->regions);
    out8((uint16_t)(bm + BM_COMMAND), way);
    out8((uint16_t)(bm + BM_STATUS), BM_ERROR | BM_INTERRUPT);
    if (direction == READ)
        command(channel, lba48[unit] ? READ_DMA_EXT : READ_DMA);
    else
        command(channel, lba48[unit] ? WRITE_DMA_EXT : WRITE_DMA);
    out8((uint16_t)(bm + BM_COMMAND), way | BM_START);
    done = wait_interrupt(channel);
    status = in8((uint16_t)(bm + BM_STATUS));
    out8((uint16_t)(bm + BM_COMMAND), 0);
    return done && !(status & BM_ERROR);
}

static bool transfer(struct disk *disk, enum direction direction, uint32_t lba, void *buffer,
                     uint32_t count)
{
    struct channel *channel = &channels[disk->unit / 2];

    if (wait_ready(channel) & BUSY)
        return false;
    load_address(channel, disk->unit, lba, count);
    if (disk->method == DMA)
        return transfer_dma(channel, disk->unit, direction, buffer, count);
    if (direction == READ)
        return read_pio(channel, disk->unit, buffer, count);
    return write_pio(channel, disk->unit, buffer, count);
}

static bool flush(struct disk *disk)
{
    struct channel *channel = &channels[disk->unit / 2];

    if (wait_ready(channel) & BUSY)
        return false;
    select_drive(channel, disk->unit);
    command(channel, lba48[disk->unit] ? FLUSH_CACHE_EXT : FLUSH_CACHE);
    return wait_interrupt(channel);
}

/* IDENTIFY DEVICE, by polling: an empty place on the channel answers nothing. */
static bool identify(struct channel *channel, unsigned unit, uint16_t words[256])
{
    uint8_t status;

    out8(channel->control, NO_INTERRUPT);
    select_drive(channel, unit);
    status = in8(channel->control);
    if (status == 0 || status == 0xFF || status & BUSY)
        return false;
    out8((uint16_t)(channel->base + COMMAND), IDENTIFY_DEVICE);
    wait_ready(channel);
    status = in8((uint16_t)(channel->base + STATUS)); /* and no interrupt stays pending */
    if (status & (BUSY | ERROR) || !(status & DRQ))
        return false;
    in16_block((uint16_t)(channel->base + DATA), words, 256);
    return true;
}

/* Words 27-46: letters in pairs, high byte first, padded with spaces. */
static void copy_model(char model[41], const uint16_t *words)
{
    unsigned length = 40;

    for (unsigned i = 0; i < 20; i++) {
        model[2 * i] = (char)(words[27 + i] >> 8);
        model[2 * i + 1] = (char)words[27 + i];
    }
    while (length && model[length - 1] == ' ')
        length--;
    model[length] = 0;
}

static void add(unsigned unit, const uint16_t *words)
{
    static const char *const names[] = {"IDE primary master", "IDE primary slave",
                                        "IDE secondary master", "IDE secondary slave"};
    bool extended = words[83] & 1 << 10, huge = extended && (words[102] || words[103]);
    uint32_t sectors = extended ? (uint32_t)words[101] << 16 | words[100]
                                : (uint32_t)words[61] << 16 | words[60];
    struct disk *disk = disk_add();

    if (!disk)
        return;
    memcpy(disk->name, names[unit], strlen(names[unit]) + 1);
    copy_model(disk->model, words);
    disk->sectors = huge ? UINT32_MAX : sectors;
    disk->unit = unit;
    disk->has_pio = true;
    disk->has_dma = channels[unit / 2].bus_master && words[49] & 1 << 8;
    disk->method = disk->has_dma ? DMA : PIO;
    disk->transfer = transfer;
    disk->flush = flush;
    lba48[unit] = extended;
}

static void find_bus_master(void)
{
    struct pci_address at;
    uint16_t base;

    if (!pci_find(PCI_CLASS, 0xFFFF0000, 0x01010000, &at))
        return;
    base = (uint16_t)(pci_read(at, PCI_BAR_4) & 0xFFF0);
    if (!base)
        return;
    pci_write(at, PCI_COMMAND,
              (pci_read(at, PCI_COMMAND) & 0xFFFF) | PCI_COMMAND_IO | PCI_COMMAND_MASTER);
    channels[0].bus_master = base;
    channels[1].bus_master = (uint16_t)(base + 8);
}

void ide_init(void)
{
    static uint16_t words[256];

    find_bus_master();
    for (unsigned unit = 0; unit < 2 * CHANNELS; unit++)
        if (identify(&channels[unit / 2], unit, words))
            add(unit, words);
    for (unsigned i = 0; i < CHANNELS; i++)
        irq_attach(channels[i].irq, i ? secondary : primary);
}
