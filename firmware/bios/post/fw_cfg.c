/*
 * fw_cfg, the host's files for the firmware (QEMU, docs/specs/fw_cfg): a selector port, a data
 * port, and DMA where the device offers it. Numbers in files' headers are big-endian.
 */
#include "post.h"

enum { SELECTOR_PORT = 0x510, DATA_PORT = 0x511, DMA_PORT_HIGH = 0x514, DMA_PORT_LOW = 0x518 };
enum { SIGNATURE = 0x00, IDENTIFICATION = 0x01, PROCESSORS = 0x05, FILE_DIRECTORY = 0x19 };
enum { ID_DMA = 2 };
enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16 };

/* A directory is the host's, but a broken one must not keep POST busy. */
enum { MAX_FILES = 1024 };

static bool present, dma;
static u32 file_count;

struct dma_access {
    u32 control, length;
    u32 address_high, address_low;
} PACKED;

static bool dma_transfer(u32 control, void *address, u32 length)
{
    static volatile struct dma_access access;
    access.control = swap32(control);
    access.length = swap32(length);
    access.address_high = 0;
    access.address_low = swap32((u32)address);
    outl(DMA_PORT_HIGH, 0);
    outl(DMA_PORT_LOW, swap32((u32)&access));
    while (access.control & swap32(~DMA_ERROR))
        ;
    return !(access.control & swap32(DMA_ERROR));
}

static void select_item(u16 selector)
{
    outw(SELECTOR_PORT, selector);
}

/* The next bytes of the selected item. */
static void read_more(void *to, u32 size)
{
    if (size == 0)
        return;
    if (dma)
        dma_transfer(DMA_READ, to, size);
    else
        asm volatile("rep insb" : "+D"(to), "+c"(size) : "d"(DATA_PORT) : "memory");
}

void fw_cfg_read(u16 selector, void *to, u32 size)
{
    memset(to, 0, size);
    if (!present)
        return;
    select_item(selector);
    read_more(to, size);
}

bool fw_cfg_write(u16 selector, u32 offset, const void *from, u32 size)
{
    if (!dma)
        return false;
    return dma_transfer((u32)selector << 16 | DMA_SELECT | DMA_SKIP, NULL, offset) &&
           dma_transfer(DMA_WRITE, (void *)from, size);
}

void fw_cfg_detect(void)
{
    char signature[4];
    u32 identification;
    present = true;
    fw_cfg_read(SIGNATURE, signature, sizeof(signature));
    present = memcmp(signature, "QEMU", 4) == 0;
    if (!present) {
        say("No fw_cfg device: sizes from CMOS, no ACPI\n");
        return;
    }
    fw_cfg_read(IDENTIFICATION, &identification, sizeof(identification));
    dma = identification & ID_DMA;
    fw_cfg_read(FILE_DIRECTORY, &file_count, sizeof(file_count));
    file_count = swap32(file_count);
    if (file_count > MAX_FILES)
        file_count = MAX_FILES;
}

/* Walks the directory; begin with a position of 0. */
bool fw_cfg_next(u32 *position, struct fw_file *file)
{
    struct {
        u32 size;
        u16 selector, reserved;
        char name[56];
    } PACKED entry;
    if (*position >= file_count)
        return false;
    select_item(FILE_DIRECTORY);
    read_more(&entry, 4);
    for (u32 i = 0; i <= *position; i++)
        read_more(&entry, sizeof(entry));
    ++*position;
    file->size = swap32(entry.size);
    file->selector = entry.selector >> 8 | entry.selector << 8;
    memcpy(file->name, entry.name, sizeof(entry.name));
    file->name[sizeof(file->name) - 1] = 0;
    return true;
}

bool fw_cfg_find(const char *name, struct fw_file *file)
{
    u32 position = 0;
    while (fw_cfg_next(&position, file)) {
        if (text_equal(file->name, name))
            return true;
    }
    return false;
}

u32 fw_cfg_processors(void)
{
    u16 count;
    fw_cfg_read(PROCESSORS, &count, sizeof(count));
    return count ? count : 1;
}
