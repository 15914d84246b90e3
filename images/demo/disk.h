/* Disks, whatever bus they hang on. */
#ifndef DISK_H
#define DISK_H

#include <stdbool.h>
#include <stdint.h>

enum { SECTOR = 512, MAX_DISKS = 6, MAX_TRANSFER = 64 };

enum direction { READ, WRITE };

/* How data moves between an IDE disk and memory; other disks know DMA only. */
enum method { PIO, DMA };

struct disk {
    char name[24];
    char model[41];
    uint32_t sectors;
    unsigned unit; /* the driver's own number for it */
    bool has_pio, has_dma;
    enum method method;
    /* Moves up to MAX_TRANSFER sectors; false if the disk reports an error. */
    bool (*transfer)(struct disk *disk, enum direction direction, uint32_t lba, void *buffer,
                     uint32_t count);
    bool (*flush)(struct disk *disk);
};

/* A run of sectors: partition 1 of type SCRATCH_TYPE, the only place this guest writes to. */
struct area {
    uint32_t first, count;
};

void disk_init(void);
unsigned disk_count(void);
struct disk *disk_get(unsigned number);

/* An IDE disk is one that can move data by PIO. */
static inline bool disk_is_ide(const struct disk *disk) { return disk->has_pio; }

/* Called by drivers for each disk they find; a null pointer when there are too many. */
struct disk *disk_add(void);

bool disk_read(struct disk *disk, uint32_t lba, void *buffer, uint32_t count);
bool disk_write(struct disk *disk, uint32_t lba, const void *buffer, uint32_t count);

/* False if the disk has no scratch area. */
bool disk_scratch(struct disk *disk, struct area *area);

#endif
