/*
 * virtio-blk as INT 13h needs it: one queue, one request at a time, polled (virtio 1.1, 2.6 split
 * virtqueues, 5.2 block device). POST has set the device up (post/virtio_setup.c).
 *
 * A modern device is notified through VIRTIO_PCI_CAP_PCI_CFG, the window in configuration space
 * (4.1.4.8): its BAR is above 1 MiB, out of reach for code in real or virtual-8086 mode.
 */
#include "../timer.h"
#include "../virtio.h"
#include "disk.h"

/* What the device reads and writes besides the data. */
static struct virtio_block_header header;
static volatile u8 device_status;

/* The small queues of modern devices; post/virtio_detect.c lays them out. */
u8 virtio_rings[MAX_DRIVES][128] __attribute__((aligned(16)));

enum { REQUEST_TIMEOUT_MS = 30000 };

static u32 physical(const volatile void *near)
{
    return RUNTIME_BASE + (u32)near;
}

static void set_descriptor(const struct virtio_drive *v, u16 index, u32 address, u32 length,
                           u16 flags)
{
    struct virtq_descriptor d = {address, length, flags, index + 1};
    far_copy_out(v->ring_segment, index * sizeof(d), &d, sizeof(d));
}

static void notify(const struct drive *drive)
{
    const struct virtio_drive *v = &drive->virtio;
    if (!v->modern) {
        outw(v->port + VIRTIO_QUEUE_NOTIFY, 0);
        return;
    }
    u8 cap = v->cfg_capability;
    pci_write8(drive->pci, cap + VIRTIO_CAP_BAR, v->notify_bar);
    pci_write32(drive->pci, cap + VIRTIO_CAP_OFFSET, v->notify_offset);
    pci_write32(drive->pci, cap + VIRTIO_CAP_LENGTH, 2);
    pci_write16(drive->pci, cap + VIRTIO_CAP_DATA, 0);
}

/* Makes the chain that starts at descriptor 0 available, and waits until it is used. */
static u8 submit(struct drive *drive)
{
    struct virtio_drive *v = &drive->virtio;
    u16 slot = v->next % v->queue_size;
    far_write_u16(v->ring_segment, v->available + 4 + slot * 2, 0);
    v->next++;
    far_write_u16(v->ring_segment, v->available + 2, v->next);
    device_status = 0xff;
    notify(drive);
    struct timeout timeout = timeout_ms(REQUEST_TIMEOUT_MS);
    while (far_read_u16(v->ring_segment, v->used + 2) != v->next) {
        if (timeout_expired(&timeout))
            return DISK_TIMEOUT;
    }
    return DISK_OK;
}

u8 virtio_transfer(struct drive *drive, struct transfer *t)
{
    struct virtio_drive *v = &drive->virtio;
    bool write = t->operation == DISK_WRITE;
    if (t->operation == DISK_VERIFY)
        return DISK_OK; /* in range; the device has no command to read without a buffer */
    u32 type = t->operation == DISK_READ ? VIRTIO_BLK_T_IN
               : write                  ? VIRTIO_BLK_T_OUT
                                        : VIRTIO_BLK_T_FLUSH;
    header = (struct virtio_block_header){type, 0, t->operation == DISK_FLUSH ? 0 : t->lba};
    u16 index = 0;
    set_descriptor(v, index++, physical(&header), sizeof(header), VIRTQ_DESC_F_NEXT);
    if (t->operation != DISK_FLUSH)
        set_descriptor(v, index++, ((u32)t->segment << 4) + t->offset,
                       (u32)t->count * SECTOR_SIZE,
                       write ? VIRTQ_DESC_F_NEXT : VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE);
    set_descriptor(v, index, physical(&device_status), 1, VIRTQ_DESC_F_WRITE);
    u8 result = submit(drive);
    if (result == DISK_OK) {
        if (device_status == VIRTIO_BLK_S_OK)
            return DISK_OK;
        result = t->operation == DISK_FLUSH && device_status == VIRTIO_BLK_S_UNSUPP ? DISK_OK
                 : write ? DISK_WRITE_FAULT
                         : DISK_BAD_READ;
    }
    t->count = 0;
    return result;
}
