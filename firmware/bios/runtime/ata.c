/*
 * ATA disks on the PIIX3's two channels, by PIO (ATA/ATAPI-6, 9.5 and 9.6; commands in 8). The
 * device's interrupt is off (nIEN) and its status polled. With READ MULTIPLE the drive hands over
 * up to 128 sectors a block, and a block is one REP INSW.
 *
 * PIO rather than bus-master DMA: the caller may run in virtual-8086 mode, where the BIOS cannot
 * know the physical address behind a far pointer.
 */
#include "../timer.h"
#include "disk.h"

enum {
    DATA = 0, ERROR = 1, COUNT_REGISTER = 2, LBA_LOW = 3, LBA_MID = 4, LBA_HIGH = 5, DEVICE = 6,
    COMMAND = 7,
};
enum {
    STATUS_ERR = 0x01, STATUS_DRQ = 0x08, STATUS_DF = 0x20, STATUS_DRDY = 0x40, STATUS_BSY = 0x80,
};
enum { CONTROL_NIEN = 0x02, CONTROL_SRST = 0x04 };
enum { ERROR_ABRT = 0x04, ERROR_IDNF = 0x10, ERROR_UNC = 0x40 };

/* An internal drive answers within 31 s of a reset, and much sooner after a command. */
enum { COMMAND_TIMEOUT_MS = 10000, RESET_TIMEOUT_MS = 31000 };

/* Polls the alternate status, which leaves the interrupt alone, until BSY is clear. */
static u8 wait_not_busy(const struct ata_drive *ata, u32 ms, u8 *status)
{
    struct timeout timeout = timeout_ms(ms);
    for (;;) {
        *status = inb(ata->control_port);
        if (!(*status & STATUS_BSY))
            return DISK_OK;
        if (timeout_expired(&timeout))
            return DISK_TIMEOUT;
    }
}

static u8 failure(const struct ata_drive *ata, u8 status, bool write)
{
    if (status & STATUS_DF)
        return DISK_CONTROLLER_FAILURE;
    u8 error = inb(ata->command_port + ERROR);
    if (error & ERROR_IDNF)
        return DISK_SECTOR_NOT_FOUND;
    if (error & ERROR_UNC)
        return DISK_BAD_READ;
    if (error & ERROR_ABRT)
        return DISK_BAD_COMMAND;
    return write ? DISK_WRITE_FAULT : DISK_BAD_READ;
}

static u8 select(const struct ata_drive *ata)
{
    u8 status;
    u8 result = wait_not_busy(ata, COMMAND_TIMEOUT_MS, &status);
    if (result != DISK_OK)
        return result;
    outb(ata->control_port, CONTROL_NIEN);
    outb(ata->command_port + DEVICE, ata->select);
    inb(ata->control_port); /* 400 ns until the status is the selected device's */
    result = wait_not_busy(ata, COMMAND_TIMEOUT_MS, &status);
    if (result == DISK_OK && !(status & STATUS_DRDY))
        return DISK_NOT_READY;
    return result;
}

static u8 command_for(const struct ata_drive *ata, u8 operation, bool lba48)
{
    switch (operation) {
    case DISK_READ:
        return ata->multiple ? (lba48 ? 0x29 : 0xc4) : (lba48 ? 0x24 : 0x20);
    case DISK_WRITE:
        return ata->multiple ? (lba48 ? 0x39 : 0xc5) : (lba48 ? 0x34 : 0x30);
    case DISK_VERIFY:
        return lba48 ? 0x42 : 0x40;
    default:
        return lba48 ? 0xea : 0xe7;
    }
}

static void issue(const struct ata_drive *ata, const struct transfer *t)
{
    u16 port = ata->command_port;
    u32 low = t->lba;
    bool lba48 = ata->lba48 && t->lba + t->count > 0x10000000;
    if (lba48) {
        outb(port + COUNT_REGISTER, t->count >> 8);
        outb(port + LBA_LOW, low >> 24);
        outb(port + LBA_MID, t->lba >> 32);
        outb(port + LBA_HIGH, t->lba >> 40);
    }
    outb(port + COUNT_REGISTER, t->count);
    outb(port + LBA_LOW, low);
    outb(port + LBA_MID, low >> 8);
    outb(port + LBA_HIGH, low >> 16);
    outb(port + DEVICE, lba48 ? ata->select : ata->select | (low >> 24 & 15));
    outb(port + COMMAND, command_for(ata, t->operation, lba48));
    inb(ata->control_port);
}

static void move_block(const struct ata_drive *ata, const struct transfer *t, u16 sectors)
{
    u32 words = sectors * (SECTOR_SIZE / 2), address = t->offset;
    if (t->operation == DISK_WRITE)
        asm volatile("pushw %%ds\n\tmovw %w2, %%ds\n\trep outsw\n\tpopw %%ds"
                     : "+S"(address), "+c"(words)
                     : "a"(t->segment), "d"(ata->command_port)
                     : "memory");
    else
        asm volatile("pushw %%es\n\tmovw %w2, %%es\n\trep insw\n\tpopw %%es"
                     : "+D"(address), "+c"(words)
                     : "a"(t->segment), "d"(ata->command_port)
                     : "memory");
}

u8 ata_transfer(const struct drive *drive, struct transfer *t)
{
    const struct ata_drive *ata = &drive->ata;
    struct transfer part = *t;
    u16 left = t->operation == DISK_READ || t->operation == DISK_WRITE ? t->count : 0;
    t->count = 0;
    u8 result = select(ata);
    if (result != DISK_OK)
        return result;
    issue(ata, &part);
    for (;;) {
        u8 status;
        result = wait_not_busy(ata, COMMAND_TIMEOUT_MS, &status);
        if (result != DISK_OK)
            return result;
        if (status & (STATUS_ERR | STATUS_DF))
            return failure(ata, status, part.operation == DISK_WRITE);
        if (left == 0)
            return DISK_OK;
        if (!(status & STATUS_DRQ))
            return DISK_CONTROLLER_FAILURE;
        u16 sectors = ata->multiple ? ata->multiple : 1;
        if (sectors > left)
            sectors = left;
        normalise(&part);
        move_block(ata, &part, sectors);
        part.offset += sectors * SECTOR_SIZE;
        left -= sectors;
        t->count += sectors;
        inb(ata->control_port);
    }
}

/* A reset may have undone SET MULTIPLE MODE (ATA 6.2, "software reset"): it is made again. */
static u8 restore_multiple(const struct ata_drive *ata)
{
    u8 status;
    u8 result = select(ata);
    if (result != DISK_OK || !ata->multiple)
        return result;
    outb(ata->command_port + COUNT_REGISTER, ata->multiple);
    outb(ata->command_port + COMMAND, 0xc6);
    inb(ata->control_port);
    return wait_not_busy(ata, COMMAND_TIMEOUT_MS, &status);
}

/* SRST is for the channel: both of its devices start anew. */
u8 ata_reset(const struct drive *drive)
{
    const struct ata_drive *ata = &drive->ata;
    u8 status;
    outb(ata->control_port, CONTROL_NIEN | CONTROL_SRST);
    struct timeout pulse = timeout_ms(1);
    while (!timeout_expired(&pulse))
        ;
    outb(ata->control_port, CONTROL_NIEN);
    if (wait_not_busy(ata, RESET_TIMEOUT_MS, &status) != DISK_OK)
        return DISK_RESET_FAILED;
    u8 result = DISK_OK;
    for (u8 i = 0; i < drive_count; i++) {
        const struct ata_drive *other = &drives[i].ata;
        if (drives[i].kind != DRIVE_ATA || other->command_port != ata->command_port)
            continue;
        u8 restored = restore_multiple(other);
        if (other == ata)
            result = restored;
    }
    return result;
}
