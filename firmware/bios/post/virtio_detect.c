/*
 * Sets up virtio-blk devices for the runtime (virtio 1.1, 3.1 initialization; 4.1 PCI). The modern
 * interface is used where the device has it, with a small queue of the runtime's; a device that is
 * transitional only gets one of two rings of its own size below 1 MiB (4.1.5.1.3, legacy layout).
 */
#include "../drive.h"
#include "../virtio.h"
#include "post.h"

enum { VENDOR = 0x1af4, TRANSITIONAL_BLOCK = 0x1001, MODERN_BLOCK = 0x1042 };
enum { CAPABILITY_VENDOR = 9, STATUS_CAPABILITIES = 0x10, MAX_CAPABILITIES = 48 };
enum { LEGACY_ALIGN = 4096 };

/* A queue of four is enough for one request of three descriptors. */
enum { SMALL_QUEUE = 4, RING_BYTES = 128, AVAILABLE_OFFSET = 64, USED_OFFSET = 80 };

extern u8 virtio_rings[MAX_DRIVES][RING_BYTES];

struct capability {
    u8 position, bar;
    u32 offset, multiplier;
};

static u32 ring_next = RING_BASE;

static bool find_capability(pci_address address, u8 type, struct capability *found)
{
    if (!(pci_read16(address, PCI_STATUS) & STATUS_CAPABILITIES))
        return false;
    u8 cap = pci_read8(address, PCI_CAPABILITIES) & ~3;
    for (u32 i = 0; cap && i < MAX_CAPABILITIES; i++) {
        if (pci_read8(address, cap) == CAPABILITY_VENDOR &&
            pci_read8(address, cap + VIRTIO_CAP_TYPE) == type) {
            found->position = cap;
            found->bar = pci_read8(address, cap + VIRTIO_CAP_BAR);
            found->offset = pci_read32(address, cap + VIRTIO_CAP_OFFSET);
            found->multiplier = pci_read32(address, cap + VIRTIO_CAP_NOTIFY_MULTIPLIER);
            return true;
        }
        cap = pci_read8(address, cap + 1) & ~3;
    }
    return false;
}

static volatile u8 *mapped(pci_address address, const struct capability *cap)
{
    u32 base = pci_bar_memory(address, cap->bar);
    return base ? (volatile u8 *)base + cap->offset : NULL;
}

static void set16(volatile u8 *common, u8 offset, u16 value)
{
    *(volatile u16 *)(common + offset) = value;
}

static void set32(volatile u8 *common, u8 offset, u32 value)
{
    *(volatile u32 *)(common + offset) = value;
}

static u16 get16(volatile u8 *common, u8 offset)
{
    return *(volatile u16 *)(common + offset);
}

static void set_queue_address(volatile u8 *common, u8 offset, u32 address)
{
    set32(common, offset, address);
    set32(common, offset + 4, 0);
}

/* Reset, then feature negotiation: VERSION_1 alone. */
static bool negotiate(volatile u8 *common)
{
    volatile u8 *status = common + COMMON_DEVICE_STATUS;
    *status = 0;
    for (u32 tries = 0; *status && tries < 1000000; tries++)
        ;
    *status = VIRTIO_STATUS_ACKNOWLEDGE;
    *status = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER;
    set32(common, COMMON_DRIVER_FEATURE_SELECT, 0);
    set32(common, COMMON_DRIVER_FEATURE, 0);
    set32(common, COMMON_DRIVER_FEATURE_SELECT, 1);
    set32(common, COMMON_DRIVER_FEATURE, VIRTIO_F_VERSION_1_HIGH);
    *status = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK;
    return *status & VIRTIO_STATUS_FEATURES_OK;
}

static void disable_interrupts(u32 available)
{
    *(volatile u16 *)available = VIRTQ_AVAIL_F_NO_INTERRUPT;
}

/* Queue 0 of the modern interface; false if the device refuses. */
static bool start_modern(volatile u8 *common, u32 ring, u16 *notify_off)
{
    if (!negotiate(common))
        return false;
    set16(common, COMMON_QUEUE_SELECT, 0);
    if (get16(common, COMMON_QUEUE_SIZE) < SMALL_QUEUE)
        return false;
    set16(common, COMMON_QUEUE_SIZE, SMALL_QUEUE);
    set_queue_address(common, COMMON_QUEUE_DESC, ring);
    set_queue_address(common, COMMON_QUEUE_DRIVER, ring + AVAILABLE_OFFSET);
    set_queue_address(common, COMMON_QUEUE_DEVICE, ring + USED_OFFSET);
    disable_interrupts(ring + AVAILABLE_OFFSET);
    *notify_off = get16(common, COMMON_QUEUE_NOTIFY_OFF);
    set16(common, COMMON_QUEUE_ENABLE, 1);
    common[COMMON_DEVICE_STATUS] = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
                                   VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK;
    return true;
}

static struct drive *add_drive(pci_address address, u64 sectors)
{
    struct drive *drive = drive_add();
    if (drive) {
        drive->kind = DRIVE_VIRTIO;
        drive->pci = address;
        drive->sectors = sectors;
        drive_set_geometry(drive, 0, 0, 0);
    }
    return drive;
}

static bool modern_device(pci_address address)
{
    struct capability common, notify, config, window;
    if (!find_capability(address, VIRTIO_PCI_CAP_COMMON_CFG, &common) ||
        !find_capability(address, VIRTIO_PCI_CAP_NOTIFY_CFG, &notify) ||
        !find_capability(address, VIRTIO_PCI_CAP_DEVICE_CFG, &config) ||
        !find_capability(address, VIRTIO_PCI_CAP_PCI_CFG, &window))
        return false;
    volatile u8 *registers = mapped(address, &common), *device = mapped(address, &config);
    u8 index = RUNTIME(drive_count);
    if (!registers || !device || index == MAX_DRIVES)
        return false;
    u32 ring = (u32)&RUNTIME(virtio_rings[index][0]);
    u16 notify_off;
    if (!start_modern(registers, ring, &notify_off)) {
        registers[COMMON_DEVICE_STATUS] = VIRTIO_STATUS_FAILED;
        return false;
    }
    u64 sectors = *(volatile u32 *)device | (u64) * (volatile u32 *)(device + 4) << 32;
    struct drive *drive = add_drive(address, sectors);
    drive->virtio = (struct virtio_drive){
        .modern = true,
        .cfg_capability = window.position,
        .notify_bar = notify.bar,
        .notify_offset = notify.offset + notify_off * notify.multiplier,
        .queue_size = SMALL_QUEUE,
        .ring_segment = ring >> 4,
        .available = AVAILABLE_OFFSET,
        .used = USED_OFFSET,
    };
    return true;
}

static bool start_transitional(u16 port, u32 ring, u16 size)
{
    u32 available = size * sizeof(struct virtq_descriptor);
    u32 used = (available + 6 + 2 * size + LEGACY_ALIGN - 1) & ~(LEGACY_ALIGN - 1);
    u32 bytes = used + 6 + 8 * size;
    if (size < SMALL_QUEUE || ring + bytes > RING_END)
        return false;
    memset((void *)ring, 0, bytes);
    disable_interrupts(ring + available);
    outl(port + VIRTIO_QUEUE_ADDRESS, ring / LEGACY_ALIGN);
    ring_next = (ring + bytes + LEGACY_ALIGN - 1) & ~(LEGACY_ALIGN - 1);
    return true;
}

static bool transitional_device(pci_address address)
{
    u32 bar = pci_read32(address, PCI_BAR0);
    u16 port = bar & ~3;
    if (!(bar & 1) || port == 0)
        return false;
    outb(port + VIRTIO_DEVICE_STATUS, 0);
    outb(port + VIRTIO_DEVICE_STATUS, VIRTIO_STATUS_ACKNOWLEDGE);
    outb(port + VIRTIO_DEVICE_STATUS, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
    outl(port + VIRTIO_DRIVER_FEATURES, 0);
    outw(port + VIRTIO_QUEUE_SELECT, 0);
    u16 size = inw(port + VIRTIO_QUEUE_SIZE);
    u32 ring = ring_next;
    if (!start_transitional(port, ring, size)) {
        outb(port + VIRTIO_DEVICE_STATUS, VIRTIO_STATUS_FAILED);
        return false;
    }
    outb(port + VIRTIO_DEVICE_STATUS,
         VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK);
    u64 sectors = inl(port + VIRTIO_DEVICE_CONFIG) |
                  (u64)inl(port + VIRTIO_DEVICE_CONFIG + 4) << 32;
    struct drive *drive = add_drive(address, sectors);
    if (!drive)
        return true;
    u16 available = size * sizeof(struct virtq_descriptor);
    drive->virtio = (struct virtio_drive){
        .port = port,
        .queue_size = size,
        .ring_segment = ring >> 4,
        .available = available,
        .used = (available + 6 + 2 * size + LEGACY_ALIGN - 1) & ~(LEGACY_ALIGN - 1),
    };
    return true;
}

void virtio_detect(void)
{
    pci_address address = 0;
    while (pci_next(&address)) {
        u32 id = pci_read32(address, PCI_VENDOR);
        bool transitional = id == (VENDOR | TRANSITIONAL_BLOCK << 16);
        if (!transitional && id != (VENDOR | MODERN_BLOCK << 16))
            continue;
        pci_write16(address, PCI_COMMAND,
                    pci_read16(address, PCI_COMMAND) | PCI_COMMAND_MASTER);
        if (!modern_device(address) && !(transitional && transitional_device(address)))
            say("virtio-blk at PCI %02x.%x: cannot be set up\n", address >> 3 & 31, address & 7);
    }
}
