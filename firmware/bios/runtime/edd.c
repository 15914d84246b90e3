/*
 * Enhanced disk drive services, INT 13h AH=41h to 48h (Phoenix EDD 3.0; device paths as T13 EDD-3
 * gives them): block numbers of 64 bits, and what a drive is. Fixed disk access subset and EDD
 * support subset; nothing is removable or lockable.
 */
#include "disk.h"

enum { EDD_VERSION_3 = 0x30, SUBSET_ACCESS = 1, SUBSET_EDD = 4 };

struct disk_address_packet {
    u8 size, reserved;
    u16 count;
    u16 offset, segment;
    u64 lba;
} PACKED;

struct device_parameters {
    u16 size, flags;
    u32 cylinders, heads, sectors_per_track;
    u64 sectors;
    u16 sector_size;
    u16 dpte_offset, dpte_segment;      /* 26 bytes so far: EDD 1.1 ends here with 30 */
    u16 path_key;
    u8 path_size;
    u8 reserved[3];
    char bus[4], interface[8];
    u64 interface_path, device_path;
    u8 reserved_end, checksum;
} PACKED;

_Static_assert(sizeof(struct device_parameters) == 66, "EDD 3.0 device parameters");

enum { PARAMETERS_GEOMETRY_VALID = 2 };
enum { SIZE_EDD_10 = 26, SIZE_EDD_11 = 30, PATH_OFFSET = 30 };

/* EDD 1.1's view of an ATA drive. */
struct dpte {
    u16 command_port, control_port;
    u8 select, vendor, irq, block_count, dma, pio;
    u16 options, reserved;
    u8 revision, checksum;
} PACKED;

static struct dpte dpte;

static u8 checksum(const void *from, u8 size)
{
    u8 sum = 0;
    for (const u8 *byte = from; size--; byte++)
        sum += *byte;
    return -sum;
}

static u8 transfer_by_block(struct drive *drive, struct registers *r, u8 operation)
{
    struct disk_address_packet packet;
    far_copy_in(&packet, r->ds, r->si, sizeof(packet));
    u16 count = packet.count;
    bool flat = packet.segment == 0xffff && packet.offset == 0xffff;
    if (packet.size < sizeof(packet) || count > 127 || flat)
        return DISK_BAD_COMMAND;
    struct transfer t = {operation, count, packet.lba, packet.segment, packet.offset};
    u8 status = count ? disk_transfer(drive, &t) : DISK_OK;
    if (operation != DISK_FLUSH)
        far_write_u16(r->ds, r->si + 2, t.count);
    return status;
}

static void fill_dpte(const struct drive *drive)
{
    const struct ata_drive *ata = &drive->ata;
    dpte = (struct dpte){
        .command_port = ata->command_port,
        .control_port = ata->control_port,
        .select = ata->select,
        .vendor = 0xcb,
        .irq = ata->irq,
        .block_count = ata->multiple,
        .options = 0x10 | (drive->cylinders != drive->physical_cylinders ? 0x08 : 0) |
                   (ata->multiple ? 0x04 : 0),
        .revision = 0x11,
    };
    dpte.checksum = checksum(&dpte, sizeof(dpte) - 1);
}

static void fill_path(const struct drive *drive, struct device_parameters *p)
{
    static const char interfaces[2][8] = {"ATA     ", "SCSI    "};
    bool ata = drive->kind == DRIVE_ATA;
    p->path_key = 0xbedd;
    p->path_size = sizeof(*p) - PATH_OFFSET;
    memcpy(p->bus, "PCI ", 4);
    memcpy(p->interface, interfaces[!ata], 8);
    p->interface_path = (drive->pci >> 8) | (drive->pci >> 3 & 31) << 8 |
                        (u32)(drive->pci & 7) << 16 | (u32)drive->channel << 24;
    p->device_path = drive->device;
    p->checksum = checksum(&p->path_key, p->path_size - 1);
}

/* DS:SI: the caller's buffer, which begins with its size; as much as fits is filled. */
static u8 get_device_parameters(const struct drive *drive, struct registers *r)
{
    u16 room = far_read_u16(r->ds, r->si);
    struct device_parameters p = {
        .flags = PARAMETERS_GEOMETRY_VALID,
        .cylinders = drive->physical_cylinders,
        .heads = drive->heads,
        .sectors_per_track = drive->sectors_per_track,
        .sectors = drive->sectors,
        .sector_size = SECTOR_SIZE,
        .dpte_offset = 0xffff,
        .dpte_segment = 0xffff,
    };
    if (room < SIZE_EDD_10)
        return DISK_BAD_COMMAND;
    if (drive->kind == DRIVE_ATA) {
        fill_dpte(drive);
        p.dpte_offset = (u32)&dpte;
        p.dpte_segment = RUNTIME_SEGMENT;
    }
    fill_path(drive, &p);
    p.size = room >= sizeof(p) ? sizeof(p) : room >= SIZE_EDD_11 ? SIZE_EDD_11 : SIZE_EDD_10;
    far_copy_out(r->ds, r->si, &p, p.size);
    return DISK_OK;
}

static u8 installation_check(struct registers *r)
{
    if (r->bx != 0x55aa)
        return DISK_BAD_COMMAND;
    r->bx = 0xaa55;
    r->cx = SUBSET_ACCESS | SUBSET_EDD;
    r->ah = EDD_VERSION_3;
    return DISK_OK;
}

/* A write with verification (AL bit 1) ends when the data has left the drive's cache. */
static u8 write_by_block(struct drive *drive, struct registers *r)
{
    u8 status = transfer_by_block(drive, r, DISK_WRITE);
    if (status == DISK_OK && r->al & 2) {
        struct transfer flush = {.operation = DISK_FLUSH};
        status = disk_transfer(drive, &flush);
    }
    return status;
}

u8 edd_function(struct drive *drive, struct registers *r)
{
    switch (r->ah) {
    case 0x41:
        return installation_check(r);
    case 0x42:
        return transfer_by_block(drive, r, DISK_READ);
    case 0x43:
        return write_by_block(drive, r);
    case 0x44:
        return transfer_by_block(drive, r, DISK_VERIFY);
    case 0x47: /* extended seek */
        return DISK_OK;
    case 0x48:
        return get_device_parameters(drive, r);
    default:
        return DISK_BAD_COMMAND;
    }
}
