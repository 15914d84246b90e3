/* What INT 13h asks of a disk driver. */
#ifndef DISK_H
#define DISK_H

#include "../drive.h"
#include "runtime.h"

enum disk_status {
    DISK_OK = 0x00,
    DISK_BAD_COMMAND = 0x01,
    DISK_SECTOR_NOT_FOUND = 0x04,
    DISK_RESET_FAILED = 0x05,
    DISK_BAD_READ = 0x10,
    DISK_CONTROLLER_FAILURE = 0x20,
    DISK_TIMEOUT = 0x80,
    DISK_NOT_READY = 0xaa,
    DISK_WRITE_FAULT = 0xcc,
};

enum disk_operation { DISK_READ, DISK_WRITE, DISK_VERIFY, DISK_FLUSH };

/* Up to 127 sectors between a disk and memory below 1 MiB; a far address of the caller's. */
struct transfer {
    u8 operation;
    u16 count;                  /* sectors; a driver lowers it to what it has moved */
    u64 lba;
    u16 segment, offset;
};

u8 ata_transfer(const struct drive *drive, struct transfer *t);
u8 ata_reset(const struct drive *drive);
u8 virtio_transfer(struct drive *drive, struct transfer *t);

/* Makes the offset small, so that a transfer of 64 KiB less 16 bytes does not wrap. */
static inline void normalise(struct transfer *t)
{
    t->segment += t->offset >> 4;
    t->offset &= 15;
}

/* EDD functions 41h-48h (edd.c); the status goes to AH. */
u8 edd_function(struct drive *drive, struct registers *r);
u8 disk_transfer(struct drive *drive, struct transfer *t);

#endif
