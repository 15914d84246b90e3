/*
 * The drive table: geometry for INT 13h's cylinders, heads and sectors, the fixed disk parameter
 * tables of INT 41h and 46h, and what is said of each disk.
 */
#include "../drive.h"
#include "post.h"

/* The parameter table of a PC/AT's disk, with the extended fields of a translated geometry. */
struct fixed_disk_parameters {
    u16 cylinders;
    u8 heads, signature;
    u8 physical_sectors;
    u16 precompensation;
    u8 reserved, control;
    u16 physical_cylinders;
    u8 physical_heads;
    u16 landing_zone;
    u8 sectors, checksum;
} PACKED;

extern struct fixed_disk_parameters disk_parameters[2];

struct drive *drive_add(void)
{
    u8 *count = &RUNTIME(drive_count);
    if (*count == MAX_DRIVES) {
        say("More than %u disks: the others stay unused\n", MAX_DRIVES);
        return NULL;
    }
    return &(&RUNTIME(drives[0]))[(*count)++];
}

static u16 least(u32 a, u32 b)
{
    return a < b ? a : b;
}

/* The device's own geometry if INT 13h can express it, else 63 sectors and as few heads as will do
   (LBA-assisted translation). A device without a geometry passes 0 cylinders. */
void drive_set_geometry(struct drive *drive, u16 cylinders, u16 heads, u16 sectors_per_track)
{
    static const u8 head_counts[] = {16, 32, 64, 128, 255};
    drive->physical_cylinders = cylinders;
    if (cylinders && cylinders <= 1024 && heads && heads <= 16 && sectors_per_track &&
        sectors_per_track <= 63) {
        drive->cylinders = cylinders;
        drive->heads = heads;
        drive->sectors_per_track = sectors_per_track;
        return;
    }
    u32 sectors = drive->sectors >> 32 ? 0xffffffff : (u32)drive->sectors;
    u32 tracks = sectors / 63, choice = 0;
    while (choice < COUNT(head_counts) - 1 && tracks / head_counts[choice] > 1024)
        choice++;
    drive->sectors_per_track = 63;
    drive->heads = head_counts[choice];
    drive->cylinders = least(1024, tracks / drive->heads);
    if (drive->cylinders == 0)
        drive->cylinders = 1;
    if (cylinders == 0)
        drive->physical_cylinders = least(16383, tracks / drive->heads);
}

void drive_name(const struct drive *drive, char *text)
{
    static const char *const ata[] = {"IDE primary master", "IDE primary slave",
                                      "IDE secondary master", "IDE secondary slave"};
    const char *name = drive->kind == DRIVE_ATA ? ata[drive->channel * 2 + drive->device]
                                                : "virtio-blk";
    memcpy(text, name, text_length(name) + 1);
}

static void fill_parameters(u32 index)
{
    const struct drive *drive = &(&RUNTIME(drives[0]))[index];
    struct fixed_disk_parameters *p = &(&RUNTIME(disk_parameters[0]))[index];
    p->cylinders = drive->cylinders;
    p->heads = p->physical_heads = drive->heads;
    p->sectors = p->physical_sectors = drive->sectors_per_track;
    p->physical_cylinders = p->landing_zone = drive->physical_cylinders;
    p->signature = 0xa0;
    p->control = drive->heads > 8 ? 0x08 : 0;
    p->checksum = checksum(p, sizeof(*p) - 1);
    volatile u32 *vectors = NULL;
    asm("" : "+r"(vectors));
    vectors[index ? 0x46 : 0x41] =
        (u32)RUNTIME_SEGMENT << 16 | RUNTIME_OFFSET(&disk_parameters[index]);
}

void drives_finish(void)
{
    u32 count = RUNTIME(drive_count);
    BDA.disk_count = count;
    for (u32 i = 0; i < count && i < 2; i++)
        fill_parameters(i);
    for (u32 i = 0; i < count; i++) {
        const struct drive *drive = &(&RUNTIME(drives[0]))[i];
        char name[32];
        drive_name(drive, name);
        say("Disk %u: %s at PCI %02x.%x, %u MiB\n", i, name, drive->pci >> 3 & 31, drive->pci & 7,
            (u32)(drive->sectors >> 11));
    }
    if (count == 0)
        say("No disk\n");
}
