/*
 * fw_cfg's file bootorder: one OpenFirmware device path a line, the first to boot first. Disks
 * named there move to the front of the drive table, so that the first is drive 80h; the others
 * follow. Which kind of device comes first is in CMOS (runtime/boot.c).
 *
 *   /pci@i0cf8/ide@1,1/drive@0/disk@0     channel 0, device 0
 *   /pci@i0cf8/scsi@4/disk@0,0            virtio-blk in slot 4
 */
#include "../drive.h"
#include "post.h"

enum { MAX_SIZE = 4096 };

static char order[MAX_SIZE];

/* The number after `name@`, in hexadecimal; false if the path does not go on with it. */
static bool node(const char **path, const char *name, u32 *number)
{
    if (!text_starts(*path, name))
        return false;
    const char *p = *path + text_length(name);
    for (*number = 0;; p++) {
        char c = *p;
        u32 digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
        if (digit == 16)
            break;
        *number = *number << 4 | digit;
    }
    *path = p;
    return true;
}

static bool names_drive(const char *path, const struct drive *drive)
{
    u32 bus, slot, function = 0, channel, device;
    if (!node(&path, "/pci@i", &bus))
        return false;
    if (drive->kind == DRIVE_VIRTIO) {
        if (!node(&path, "/scsi@", &slot))
            return false;
        node(&path, ",", &function);
        return drive->pci == (slot << 3 | function);
    }
    return node(&path, "/ide@", &slot) && node(&path, ",", &function) &&
           node(&path, "/drive@", &channel) && node(&path, "/disk@", &device) &&
           drive->pci == (slot << 3 | function) && drive->channel == channel &&
           drive->device == device;
}

static void move_to(struct drive *table, u32 from, u32 to)
{
    struct drive moved = table[from];
    for (; from > to; from--)
        table[from] = table[from - 1];
    table[to] = moved;
}

void boot_order_apply(void)
{
    struct fw_file file;
    struct drive *table = &RUNTIME(drives[0]);
    u32 count = RUNTIME(drive_count), placed = 0;
    if (!fw_cfg_find("bootorder", &file))
        return;
    fw_cfg_read(file.selector, order, file.size < MAX_SIZE ? file.size : MAX_SIZE - 1);
    for (const char *line = order; *line && placed < count;) {
        for (u32 i = placed; i < count; i++) {
            if (names_drive(line, &table[i])) {
                move_to(table, i, placed++);
                break;
            }
        }
        while (*line && *line != '\n')
            line++;
        if (*line)
            line++;
    }
}
