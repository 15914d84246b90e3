/*
 * INT 13h: disks by cylinder, head and sector, and by block number (edd.c). IBM PC/AT Technical
 * Reference for 00h-15h; Phoenix Enhanced Disk Drive Specification 3.0 for 41h-48h.
 *
 * Drives 80h and up are the table that POST made. There are no diskettes (DL below 80h), and no
 * CD-ROM emulation (4Bh): these answer as a machine without the device does.
 */
#include "disk.h"

struct drive drives[MAX_DRIVES];
u8 drive_count;

/* INT 41h and 46h point here; post/drives.c fills them. */
u8 disk_parameters[2][16];

u8 disk_transfer(struct drive *drive, struct transfer *t)
{
    if (t->operation != DISK_FLUSH && t->lba + t->count > drive->sectors) {
        t->count = 0;
        return DISK_SECTOR_NOT_FOUND;
    }
    normalise(t);
    return drive->kind == DRIVE_ATA ? ata_transfer(drive, t) : virtio_transfer(drive, t);
}

static u8 reset(struct drive *drive)
{
    return drive->kind == DRIVE_ATA ? ata_reset(drive) : DISK_OK;
}

/* CH: cylinder, CL: its bits 8-9 and the sector from 1, DH: head, AL: count, ES:BX: memory. */
static u8 transfer_by_geometry(struct drive *drive, struct registers *r, u8 operation)
{
    u16 cylinder = r->ch | (r->cl & 0xc0) << 2;
    u8 sector = r->cl & 0x3f;
    u8 count = r->al;
    r->al = 0;
    if (count == 0 || count > 128 || sector == 0 || sector > drive->sectors_per_track ||
        r->dh >= drive->heads || cylinder >= drive->cylinders)
        return DISK_BAD_COMMAND;
    u32 track = (u32)cylinder * drive->heads + r->dh;
    struct transfer t = {
        .operation = operation,
        .count = count,
        .lba = track * drive->sectors_per_track + sector - 1,
        .segment = r->es,
        .offset = r->bx,
    };
    u8 status = disk_transfer(drive, &t);
    r->al = t.count;
    return status;
}

static u8 get_parameters(const struct drive *drive, struct registers *r)
{
    u16 last = drive->cylinders - 1;
    r->ax = 0;
    r->bl = 0;
    r->ch = last;
    r->cl = (last >> 2 & 0xc0) | drive->sectors_per_track;
    r->dh = drive->heads - 1;
    r->dl = drive_count;
    return DISK_OK;
}

/* The one function that says "disk" in AH, so CF alone tells of success. */
static void get_type(const struct drive *drive, struct registers *r)
{
    u32 sectors = drive->sectors >> 32 ? 0xffffffff : (u32)drive->sectors;
    r->ah = 3;
    r->cx = sectors >> 16;
    r->dx = sectors;
}

static u8 disk_function(struct drive *drive, struct registers *r)
{
    switch (r->ah) {
    case 0x00:
    case 0x0d:
        return reset(drive);
    case 0x02:
        return transfer_by_geometry(drive, r, DISK_READ);
    case 0x03:
        return transfer_by_geometry(drive, r, DISK_WRITE);
    case 0x04:
        return transfer_by_geometry(drive, r, DISK_VERIFY);
    case 0x08:
        return get_parameters(drive, r);
    case 0x09: /* set the drive's parameters, */
    case 0x0c: /* seek, */
    case 0x10: /* test ready, */
    case 0x11: /* recalibrate, */
    case 0x14: /* diagnose: the drives do all that by themselves */
        return DISK_OK;
    case 0x41 ... 0x48:
        return edd_function(drive, r);
    default:
        return DISK_BAD_COMMAND;
    }
}

static void finish(struct registers *r, u8 status)
{
    bda.disk_status = status;
    r->ah = status;
    set_flag(r, FLAG_CARRY, status != DISK_OK);
}

static void no_drive(struct registers *r)
{
    if (r->ah == 0x15) { /* drive not present; not an error */
        r->ah = 0;
        set_flag(r, FLAG_CARRY, false);
        return;
    }
    if (r->ah == 0x08) {
        r->bx = r->cx = 0;
        r->dh = 0;
        r->dl = r->dl < 0x80 ? 0 : drive_count;
    }
    finish(r, DISK_BAD_COMMAND);
}

u8 int13(struct registers *r)
{
    u8 index = r->dl & 0x7f;
    if (r->ah == 0x01) {
        u8 last = bda.disk_status;
        r->ah = last;
        set_flag(r, FLAG_CARRY, last != DISK_OK);
        bda.disk_status = DISK_OK;
    } else if (r->dl < 0x80 || index >= drive_count) {
        no_drive(r);
    } else if (r->ah == 0x15) {
        get_type(&drives[index], r);
        set_flag(r, FLAG_CARRY, false);
    } else {
        bool by_edd = r->ah == 0x41; /* answers in AH itself */
        u8 status = disk_function(&drives[index], r);
        u8 version = r->ah;
        finish(r, status);
        if (by_edd && status == DISK_OK)
            r->ah = version;
    }
    return DONE;
}
