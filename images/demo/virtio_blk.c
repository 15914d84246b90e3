/*
 * virtio block devices through the legacy interface of a transitional PCI device, one request at a
 * time. Reference: Virtual I/O Device (VIRTIO) 1.2, sections 2.7 (split virtqueues, with the legacy
 * layout), 4.1.4.10 (legacy registers) and 5.2 (block device).
 */
#include "virtio_blk.h"

#include "disk.h"
#include "io.h"
#include "pci.h"
#include "text.h"
#include "timer.h"
#include "trap.h"

enum { MAX_DEVICES = 2, MAX_QUEUE = 1024, PAGE = 4096, TIMEOUT = 5 * TICKS_PER_SECOND };
enum { TRANSITIONAL_BLOCK = 0x10011AF4 };

/* Offsets in BAR 0. */
enum {
    DEVICE_FEATURES = 0x00,
    DRIVER_FEATURES = 0x04,
    QUEUE_ADDRESS = 0x08,
    QUEUE_SIZE = 0x0C,
    QUEUE_SELECT = 0x0E,
    QUEUE_NOTIFY = 0x10,
    DEVICE_STATUS = 0x12,
    ISR_STATUS = 0x13,
    CAPACITY = 0x14,
};

enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4 };
enum { FEATURE_FLUSH = 1 << 9 };
enum { TYPE_IN = 0, TYPE_OUT = 1, TYPE_FLUSH = 4 };
enum { NEXT = 1, DEVICE_WRITES = 2 };

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

struct available {
    uint16_t flags, index, ring[];
};

struct used {
    uint16_t flags, index;
};

struct header {
    uint32_t type, reserved;
    uint64_t sector;
};

struct device {
    uint16_t base, size, seen;
    bool has_flush;
    struct descriptor *descriptors;
    struct available *available;
    volatile struct used *used;
    struct header header;
    volatile uint8_t status;
};

/* Descriptors and available ring, then the used ring on the next page: 28 KiB at the most. */
static uint8_t queues[MAX_DEVICES][8 * PAGE] __attribute__((aligned(PAGE)));
static struct device devices[MAX_DEVICES];
static unsigned count;

static void interrupt(void)
{
    for (unsigned i = 0; i < count; i++)
        in8((uint16_t)(devices[i].base + ISR_STATUS)); /* reading takes the request back */
}

/* Hands the chain at descriptor 0 to the device and sleeps until it comes back. */
static bool submit(struct device *device)
{
    uint32_t start = timer_ticks();

    device->status = 0xFF;
    device->available->ring[device->available->index % device->size] = 0;
    __asm__ volatile("" : : : "memory");
    device->available->index++;
    __asm__ volatile("" : : : "memory");
    out16((uint16_t)(device->base + QUEUE_NOTIFY), 0);
    interrupts_off();
    while (device->used->index == device->seen && timer_ticks() - start < TIMEOUT)
        sleep_until_interrupt();
    interrupts_on();
    device->seen = device->used->index;
    return device->status == 0;
}

static bool transfer(struct disk *disk, enum direction direction, uint32_t lba, void *buffer,
                     uint32_t sectors)
{
    struct device *device = &devices[disk->unit];
    struct descriptor *descriptors = device->descriptors;
    uint16_t way = direction == READ ? DEVICE_WRITES : 0;

    device->header = (struct header){direction == READ ? TYPE_IN : TYPE_OUT, 0, lba};
    descriptors[0] = (struct descriptor){(uint32_t)&device->header, sizeof device->header, NEXT, 1};
    descriptors[1] = (struct descriptor){(uint32_t)buffer, sectors * SECTOR, way | NEXT, 2};
    descriptors[2] = (struct descriptor){(uint32_t)&device->status, 1, DEVICE_WRITES, 0};
    return submit(device);
}

static bool flush(struct disk *disk)
{
    struct device *device = &devices[disk->unit];

    if (!device->has_flush)
        return true; /* no volatile cache */
    device->header = (struct header){TYPE_FLUSH, 0, 0};
    device->descriptors[0] =
        (struct descriptor){(uint32_t)&device->header, sizeof device->header, NEXT, 1};
    device->descriptors[1] = (struct descriptor){(uint32_t)&device->status, 1, DEVICE_WRITES, 0};
    return submit(device);
}

static bool init_queue(struct device *device, uint8_t *memory)
{
    uint32_t rings;

    out16((uint16_t)(device->base + QUEUE_SELECT), 0);
    device->size = in16((uint16_t)(device->base + QUEUE_SIZE));
    if (device->size < 4 || device->size > MAX_QUEUE)
        return false;
    rings = device->size * sizeof(struct descriptor) + 6 + 2U * device->size;
    device->descriptors = (struct descriptor *)memory;
    device->available = (struct available *)(memory + device->size * sizeof(struct descriptor));
    device->used = (volatile struct used *)(memory + ((rings + PAGE - 1) & ~(PAGE - 1U)));
    out32((uint16_t)(device->base + QUEUE_ADDRESS), (uint32_t)memory / PAGE);
    return true;
}

static bool init_device(struct device *device, struct pci_address at, uint8_t *memory)
{
    uint32_t bar = pci_read(at, PCI_BAR_0), features;

    if (!(bar & 1) || !(bar & ~3U))
        return false;
    pci_write(at, PCI_COMMAND,
              (pci_read(at, PCI_COMMAND) & 0xFFFF) | PCI_COMMAND_IO | PCI_COMMAND_MASTER);
    device->base = (uint16_t)(bar & ~3U);
    out8((uint16_t)(device->base + DEVICE_STATUS), 0);
    out8((uint16_t)(device->base + DEVICE_STATUS), ACKNOWLEDGE);
    out8((uint16_t)(device->base + DEVICE_STATUS), ACKNOWLEDGE | DRIVER);
    features = in32((uint16_t)(device->base + DEVICE_FEATURES)) & FEATURE_FLUSH;
    out32((uint16_t)(device->base + DRIVER_FEATURES), features);
    device->has_flush = features & FEATURE_FLUSH;
    if (!init_queue(device, memory))
        return false;
    out8((uint16_t)(device->base + DEVICE_STATUS), ACKNOWLEDGE | DRIVER | DRIVER_OK);
    return true;
}

static void add(unsigned unit)
{
    uint16_t base = devices[unit].base;
    struct disk *disk = disk_add();

    if (!disk)
        return;
    memcpy(disk->name, "virtio 0", 9);
    disk->name[7] = (char)('0' + unit);
    memcpy(disk->model, "virtio-blk", 11);
    disk->sectors = in32((uint16_t)(base + CAPACITY + 4)) ? UINT32_MAX
                                                          : in32((uint16_t)(base + CAPACITY));
    disk->unit = unit;
    disk->has_dma = true;
    disk->method = DMA;
    disk->transfer = transfer;
    disk->flush = flush;
}

void virtio_blk_init(void)
{
    struct pci_address at = {0, 0};

    for (bool more = pci_next(&at, true); more; more = pci_next(&at, false)) {
        uint8_t irq = (uint8_t)pci_read(at, PCI_INTERRUPT);
        if (pci_read(at, PCI_ID) != TRANSITIONAL_BLOCK || count == MAX_DEVICES || irq > 15)
            continue;
        if (!init_device(&devices[count], at, queues[count]))
            continue;
        add(count++);
        irq_attach(irq, interrupt);
    }
}
