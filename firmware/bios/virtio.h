/* virtio over PCI and virtio-blk: the words of the specification (virtio 1.1: 2.6, 4.1, 5.2). */
#ifndef VIRTIO_H
#define VIRTIO_H

#include "types.h"

/* 4.1.4: struct virtio_pci_cap, offsets from the capability. */
enum {
    VIRTIO_CAP_TYPE = 3,
    VIRTIO_CAP_BAR = 4,
    VIRTIO_CAP_OFFSET = 8,
    VIRTIO_CAP_LENGTH = 12,
    VIRTIO_CAP_NOTIFY_MULTIPLIER = 16,
    VIRTIO_CAP_DATA = 16,       /* of VIRTIO_PCI_CAP_PCI_CFG */
};

enum {
    VIRTIO_PCI_CAP_COMMON_CFG = 1,
    VIRTIO_PCI_CAP_NOTIFY_CFG = 2,
    VIRTIO_PCI_CAP_DEVICE_CFG = 4,
    VIRTIO_PCI_CAP_PCI_CFG = 5,
};

/* 4.1.4.3: struct virtio_pci_common_cfg. */
enum {
    COMMON_DEVICE_FEATURE_SELECT = 0,
    COMMON_DEVICE_FEATURE = 4,
    COMMON_DRIVER_FEATURE_SELECT = 8,
    COMMON_DRIVER_FEATURE = 12,
    COMMON_DEVICE_STATUS = 20,
    COMMON_QUEUE_SELECT = 22,
    COMMON_QUEUE_SIZE = 24,
    COMMON_QUEUE_ENABLE = 28,
    COMMON_QUEUE_NOTIFY_OFF = 30,
    COMMON_QUEUE_DESC = 32,
    COMMON_QUEUE_DRIVER = 40,
    COMMON_QUEUE_DEVICE = 48,
};

/* 4.1.4.10: the transitional device's I/O registers. */
enum {
    VIRTIO_DRIVER_FEATURES = 4,
    VIRTIO_QUEUE_ADDRESS = 8,
    VIRTIO_QUEUE_SIZE = 12,
    VIRTIO_QUEUE_SELECT = 14,
    VIRTIO_QUEUE_NOTIFY = 16,
    VIRTIO_DEVICE_STATUS = 18,
    VIRTIO_DEVICE_CONFIG = 20,
};

enum {
    VIRTIO_STATUS_ACKNOWLEDGE = 1,
    VIRTIO_STATUS_DRIVER = 2,
    VIRTIO_STATUS_DRIVER_OK = 4,
    VIRTIO_STATUS_FEATURES_OK = 8,
    VIRTIO_STATUS_FAILED = 128,
};

enum { VIRTIO_F_VERSION_1_HIGH = 1 }; /* bit 32: bit 0 of the upper word */

enum { VIRTQ_DESC_F_NEXT = 1, VIRTQ_DESC_F_WRITE = 2, VIRTQ_AVAIL_F_NO_INTERRUPT = 1 };

struct virtq_descriptor {
    u64 address;
    u32 length;
    u16 flags, next;
} PACKED;

enum { VIRTIO_BLK_T_IN = 0, VIRTIO_BLK_T_OUT = 1, VIRTIO_BLK_T_FLUSH = 4 };
enum { VIRTIO_BLK_S_OK = 0, VIRTIO_BLK_S_UNSUPP = 2 };

struct virtio_block_header {
    u32 type, reserved;
    u64 sector;
} PACKED;

#endif
