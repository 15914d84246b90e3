/*
 * Which ATA disks there are: reset each channel of the IDE controller, look at the signatures, ask
 * for IDENTIFY DEVICE (ATA/ATAPI-6, 8.15, 9.1, 9.12), and set READ MULTIPLE (8.39). A packet device
 * (CD-ROM) is named and left for later.
 */
#include "../drive.h"
#include "../timer.h"
#include "post.h"

enum { CLASS_IDE = 0x0101 };
enum { STATUS_ERR = 0x01, STATUS_DRQ = 0x08, STATUS_DF = 0x20, STATUS_BSY = 0x80 };
enum { CONTROL_NIEN = 0x02, CONTROL_SRST = 0x04 };
enum { RESET_MS = 5000, COMMAND_MS = 5000 };
enum { IDENTIFY_DEVICE = 0xec, SET_MULTIPLE_MODE = 0xc6 };

/* Words of the IDENTIFY data (ATA/ATAPI-6, table 27). */
enum {
    ID_CYLINDERS = 1,
    ID_HEADS = 3,
    ID_SECTORS_PER_TRACK = 6,
    ID_MULTIPLE_MAXIMUM = 47,
    ID_CAPABILITIES = 49,
    ID_SECTORS_28 = 60,
    ID_COMMAND_SETS = 83,
    ID_SECTORS_48 = 100,
};
enum { CAPABILITY_LBA = 0x0200, COMMAND_SET_48 = 0x0400 };

struct channel {
    u16 command, control;
    u8 irq;
};

static bool wait_not_busy(const struct channel *c, u32 ms, u8 *status)
{
    struct timeout timeout = timeout_ms(ms);
    while ((*status = inb(c->control)) & STATUS_BSY) {
        if (timeout_expired(&timeout))
            return false;
    }
    return true;
}

/* A register that holds what is written is a device; a floating bus reads FFh or 7Fh. */
static bool channel_present(const struct channel *c)
{
    outb(c->command + 6, 0xa0);
    u8 status = inb(c->command + 7);
    if (status == 0xff || status == 0x7f)
        return false;
    outb(c->command + 2, 0x55);
    outb(c->command + 3, 0xaa);
    if (inb(c->command + 2) == 0x55 && inb(c->command + 3) == 0xaa)
        return true;
    outb(c->command + 6, 0xb0);
    outb(c->command + 2, 0x55);
    outb(c->command + 3, 0xaa);
    return inb(c->command + 2) == 0x55 && inb(c->command + 3) == 0xaa;
}

static bool reset(const struct channel *c)
{
    u8 status;
    outb(c->control, CONTROL_NIEN | CONTROL_SRST);
    struct timeout pulse = timeout_ms(1);
    while (!timeout_expired(&pulse))
        ;
    outb(c->control, CONTROL_NIEN);
    struct timeout settle = timeout_ms(2);
    while (!timeout_expired(&settle))
        ;
    return wait_not_busy(c, RESET_MS, &status);
}

static bool command(const struct channel *c, u8 code, bool data)
{
    u8 status;
    outb(c->command + 7, code);
    inb(c->control);
    if (!wait_not_busy(c, COMMAND_MS, &status) || status & (STATUS_ERR | STATUS_DF))
        return false;
    return !data || status & STATUS_DRQ;
}

static bool identify(const struct channel *c, u16 *words)
{
    if (!command(c, IDENTIFY_DEVICE, true))
        return false;
    u32 count = 256;
    asm volatile("rep insw" : "+D"(words), "+c"(count) : "d"(c->command) : "memory");
    return true;
}

static u8 set_multiple(const struct channel *c, u8 maximum)
{
    if (maximum < 2)
        return 0;
    outb(c->command + 2, maximum);
    return command(c, SET_MULTIPLE_MODE, false) ? maximum : 0;
}

static void add_disk(pci_address address, u8 index, const struct channel *c, u8 device)
{
    u16 id[256];
    if (!identify(c, id)) {
        say("IDE %u.%u: IDENTIFY DEVICE failed\n", index, device);
        return;
    }
    u64 sectors = id[ID_SECTORS_28] | (u32)id[ID_SECTORS_28 + 1] << 16;
    bool lba48 = id[ID_COMMAND_SETS] & COMMAND_SET_48;
    if (lba48)
        memcpy(&sectors, &id[ID_SECTORS_48], sizeof(sectors));
    if (!(id[ID_CAPABILITIES] & CAPABILITY_LBA) || sectors == 0) {
        say("IDE %u.%u: a disk without LBA is not supported\n", index, device);
        return;
    }
    struct drive *drive = drive_add();
    if (!drive)
        return;
    drive->kind = DRIVE_ATA;
    drive->pci = address;
    drive->sectors = sectors;
    drive->channel = index;
    drive->device = device;
    drive->ata = (struct ata_drive){
        .command_port = c->command,
        .control_port = c->control,
        .select = 0xe0 | device << 4,
        .multiple = set_multiple(c, id[ID_MULTIPLE_MAXIMUM]),
        .lba48 = lba48,
        .irq = c->irq,
    };
    drive_set_geometry(drive, id[ID_CYLINDERS], id[ID_HEADS], id[ID_SECTORS_PER_TRACK]);
}

static void select_device(const struct channel *c, u8 device)
{
    outb(c->command + 6, 0xa0 | device << 4);
    inb(c->control);
}

/* The signature stands in the registers after a reset, until any of them is written: in both
   devices, whichever is selected. */
static bool is_disk(u8 index, const struct channel *c, u8 device)
{
    select_device(c, device);
    u8 status = inb(c->control);
    u16 signature = inb(c->command + 4) | inb(c->command + 5) << 8;
    if (status == 0xff || inb(c->command + 2) != 1)
        return false;
    if (signature == 0xeb14) {
        say("IDE %u.%u: a CD-ROM; booting from it is not supported\n", index, device);
        return false;
    }
    return signature == 0x0000 && status != 0;
}

void ata_detect(void)
{
    static const struct channel channels[2] = {{0x1f0, 0x3f6, 14}, {0x170, 0x376, 15}};
    pci_address address = 0;
    if (!pci_find_class(CLASS_IDE, &address))
        return;
    pci_write16(address, PCI_COMMAND,
                pci_read16(address, PCI_COMMAND) | PCI_COMMAND_IO | PCI_COMMAND_MASTER);
    pci_write32(address, 0x40, 0x80008000); /* PIIX3 IDETIM: decode both channels */
    for (u8 index = 0; index < 2; index++) {
        const struct channel *c = &channels[index];
        if (!channel_present(c))
            continue;
        if (!reset(c)) {
            say("IDE %u: channel stays busy after a reset\n", index);
            continue;
        }
        bool disks[2];
        for (u8 device = 0; device < 2; device++)
            disks[device] = is_disk(index, c, device);
        for (u8 device = 0; device < 2; device++) {
            if (!disks[device])
                continue;
            select_device(c, device);
            add_disk(address, index, c, device);
        }
    }
}
