/* Disks: the list of them, bounds, and the scratch area in the partition table. */
#include "disk.h"

#include "ide.h"
#include "layout.h"
#include "text.h"
#include "virtio_blk.h"

static struct disk disks[MAX_DISKS];
static unsigned count;

void disk_init(void)
{
    ide_init();
    virtio_blk_init();
}

unsigned disk_count(void) { return count; }

struct disk *disk_get(unsigned number) { return number < count ? &disks[number] : 0; }

struct disk *disk_add(void) { return count < MAX_DISKS ? &disks[count++] : 0; }

static bool within(const struct disk *disk, uint32_t lba, uint32_t sectors)
{
    return sectors && sectors <= MAX_TRANSFER && lba < disk->sectors &&
           sectors <= disk->sectors - lba;
}

bool disk_read(struct disk *disk, uint32_t lba, void *buffer, uint32_t sectors)
{
    return within(disk, lba, sectors) && disk->transfer(disk, READ, lba, buffer, sectors);
}

bool disk_write(struct disk *disk, uint32_t lba, const void *buffer, uint32_t sectors)
{
    return within(disk, lba, sectors) && disk->transfer(disk, WRITE, lba, (void *)buffer, sectors);
}

bool disk_scratch(struct disk *disk, struct area *area)
{
    static uint8_t mbr[SECTOR];

    if (!disk_read(disk, 0, mbr, 1) || mbr[510] != 0x55 || mbr[511] != 0xAA ||
        mbr[446 + 4] != SCRATCH_TYPE)
        return false;
    memcpy(&area->first, mbr + 446 + 8, 4);
    memcpy(&area->count, mbr + 446 + 12, 4);
    return area->first && area->first < disk->sectors && area->count &&
           area->count <= disk->sectors - area->first;
}
