/*
 * A disk as INT 13h knows it. POST finds the disks and fills the table; the runtime transfers.
 * A later CD-ROM (ATAPI, El Torito) is one more kind, with sectors of 2,048 bytes.
 */
#ifndef DRIVE_H
#define DRIVE_H

#include "pci_config.h"
#include "types.h"

#define MAX_DRIVES 8
#define SECTOR_SIZE 512

enum drive_kind { DRIVE_NONE, DRIVE_ATA, DRIVE_VIRTIO };

struct ata_drive {
    u16 command_port, control_port;
    u8 select;                  /* 0xe0, or 0xf0 for device 1 */
    u8 multiple;                /* sectors per DRQ block; 0: READ MULTIPLE is not set */
    bool lba48;
    u8 irq;
};

/* One virtqueue, polled; the ring lies below 1 MiB. */
struct virtio_drive {
    bool modern;
    u8 cfg_capability;          /* modern: VIRTIO_PCI_CAP_PCI_CFG, and where notify is through it */
    u8 notify_bar;
    u32 notify_offset;
    u16 port;                   /* transitional: I/O base */
    u16 queue_size;
    u16 next;                   /* the ring's index that the driver writes next */
    u16 ring_segment;           /* descriptors at offset 0 */
    u16 available, used;        /* offsets in that segment */
};

struct drive {
    u8 kind;
    pci_address pci;
    u64 sectors;
    u16 cylinders;              /* logical geometry; at most 1024 x 255 x 63 */
    u16 heads;
    u8 sectors_per_track;
    u16 physical_cylinders;     /* what the device itself reports, for EDD */
    u8 channel;                 /* ATA: which of the controller's two channels, and which device */
    u8 device;
    union {
        struct ata_drive ata;
        struct virtio_drive virtio;
    };
};

extern struct drive drives[MAX_DRIVES];
extern u8 drive_count;

#endif
