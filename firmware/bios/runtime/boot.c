/*
 * INT 19h loads the operating system: sector 0 of the first disk that has a boot record (bytes 55h
 * AAh at its end) goes to 0000:7C00 and is jumped to with the drive's number in DL. INT 18h is
 * what remains when there is none: a message, and a new start at a key.
 *
 * CMOS cells 3Dh and 38h name up to three kinds of device, first to last (QEMU's -boot). Disks are
 * tried at the end if they are not named.
 */
#include "../real_call.h"
#include "disk.h"

enum { BOOT_SEGMENT = 0x07c0, BOOT_ADDRESS = 0x7c00, SIGNATURE_OFFSET = 510 };

static void call_interrupt(u8 number)
{
    extern void far_call(void);
    real_call.flags = FLAG_INTERRUPT;
    real_call.target_offset = far_read_u16(0, number * 4);
    real_call.target_segment = far_read_u16(0, number * 4 + 2);
    far_call();
}

static bool load_boot_sector(u8 drive)
{
    real_call = (struct real_call){
        .eax = 0x0201,
        .ecx = 1,
        .edx = drive,
        .ebx = BOOT_ADDRESS,
    };
    call_interrupt(0x13);
    return !(real_call.flags & FLAG_CARRY);
}

static void announce_drive(const char *before, u8 index, const char *after)
{
    char number[2] = {'0' + index, 0};
    announce(before);
    announce(number);
    announce(after);
}

/* Leaves through the frame on the runtime's stack: the new CS:IP is the boot sector's. */
static void start(struct registers *r, u8 drive)
{
    memset(r, 0, __builtin_offsetof(struct registers, handler));
    r->edx = drive;
    r->cs = 0;
    r->ip = BOOT_ADDRESS;
    r->flags = FLAG_INTERRUPT | 2;
}

/* The boot entry vector of an option ROM; segment 0: none (post/option_rom.c). */
u16 boot_entry_segment, boot_entry_offset;

static void try_option_rom(void)
{
    extern void far_call(void);
    if (!boot_entry_segment)
        return;
    announce("Booting from an option ROM\n");
    real_call = (struct real_call){
        .es = FIXED_SEGMENT,
        .target_segment = boot_entry_segment,
        .target_offset = boot_entry_offset,
    };
    far_call();
}

static bool try_disks(struct registers *r)
{
    for (u8 i = 0; i < drive_count; i++) {
        if (!load_boot_sector(0x80 + i)) {
            announce_drive("Disk ", i, ": sector 0 cannot be read\n");
            continue;
        }
        if (far_read_u16(BOOT_SEGMENT, SIGNATURE_OFFSET) != 0xaa55) {
            announce_drive("Disk ", i, ": no boot record (55 AA is missing)\n");
            continue;
        }
        announce_drive("Booting from disk ", i, "\n\n");
        start(r, 0x80 + i);
        return true;
    }
    return false;
}

enum { CMOS_BOOT_THIRD = 0x38, CMOS_BOOT_FIRST = 0x3d, TURNS = 3 };
enum boot_kind { BOOT_NONE, BOOT_FLOPPY, BOOT_DISK, BOOT_CDROM, BOOT_NETWORK };

static enum boot_kind boot_kind(u8 turn)
{
    u8 cell = cmos_read(turn < 2 ? CMOS_BOOT_FIRST : CMOS_BOOT_THIRD);
    return turn == 0 ? cell & 15 : cell >> 4;
}

u8 int19(struct registers *r)
{
    bool disks_tried = false;
    try_option_rom();
    for (u8 turn = 0; turn < TURNS; turn++) {
        switch (boot_kind(turn)) {
        case BOOT_FLOPPY:
            announce("No floppy drive to boot from\n");
            break;
        case BOOT_DISK:
            if (drive_count == 0)
                announce("No disk to boot from\n");
            if (try_disks(r))
                return DONE;
            disks_tried = true;
            break;
        case BOOT_CDROM:
            announce("No CD-ROM drive to boot from\n");
            break;
        case BOOT_NETWORK:
            announce("No network to boot from\n");
            break;
        case BOOT_NONE:
            break;
        }
    }
    if (!disks_tried && try_disks(r))
        return DONE;
    call_interrupt(0x18);
    return DONE;
}

static u8 restart_on_key(struct registers *r)
{
    (void)r;
    if (bda.key_head == bda.key_tail)
        return WAIT;
    bda.key_head = bda.key_tail;
    outb(0xcf9, 0x02);
    outb(0xcf9, 0x06);
    return WAIT;
}

u8 int18(struct registers *r)
{
    announce("\nNothing to boot from. Attach a disk with a boot record, "
             "then press a key to restart.\n");
    bda.key_head = bda.key_tail;
    r->handler = (u32)restart_on_key;
    return WAIT;
}
