/*
 * SMBIOS (DMTF DSP0134): the host's files etc/smbios/smbios-anchor (the entry point, "_SM_" or
 * "_SM3_") and smbios-tables. The tables get a type 0 record, what this BIOS is, if they have none.
 */
#include "post.h"

/* Entry point, 32-bit form (5.2.1). */
struct anchor_32 {
    char signature[4];
    u8 checksum, length, major, minor;
    u16 largest;
    u8 revision, formatted[5];
    char intermediate[5];
    u8 intermediate_checksum;
    u16 table_length;
    u32 table;
    u16 count;
    u8 bcd_revision;
} PACKED;

/* Entry point, 64-bit form (5.2.2). */
struct anchor_64 {
    char signature[5];
    u8 checksum, length, major, minor, docrev, revision, reserved;
    u32 table_length;
    u64 table;
} PACKED;

struct header {
    u8 type, length;
    u16 handle;
} PACKED;

/* Type 0, BIOS information (7.1), with its three strings. */
static const struct {
    struct header header;
    u8 vendor, version;
    u16 segment;
    u8 date, rom_size;
    u64 characteristics;
    u8 extension[2], major, minor, ec_major, ec_minor;
    char strings[31];
} PACKED bios_information = {
    .header = {0, 24, 0},
    .vendor = 1,
    .version = 2,
    .segment = 0xe000,
    .date = 3,
    .rom_size = ROM_SIZE / 65536 - 1,
    .characteristics = 1 << 7 | 1 << 11 | 1 << 19, /* PCI, flash-like ROM shadowed, EDD */
    .extension = {0x01, 0x04},                     /* ACPI; targeted content */
    .major = 0xff,
    .minor = 0xff,
    .ec_major = 0xff,
    .ec_minor = 0xff,
    .strings = "Cowbox\0Cowbox BIOS\0" "01/01/2026\0",
};

static bool has_bios_information(const u8 *table, u32 size)
{
    for (u32 at = 0; at + sizeof(struct header) <= size;) {
        const struct header *h = (const struct header *)(table + at);
        if (h->type == 0)
            return true;
        if (h->length < sizeof(*h))
            return false;
        for (at += h->length; at + 1 < size && (table[at] || table[at + 1]); at++)
            ;
        at += 2;
    }
    return false;
}

static void finish_32(struct anchor_32 *anchor, const void *table, u32 size, bool added)
{
    anchor->table = (u32)table;
    anchor->table_length = size;
    anchor->count += added;
    if (anchor->largest < sizeof(bios_information))
        anchor->largest = sizeof(bios_information);
    anchor->intermediate_checksum = 0;
    anchor->intermediate_checksum = checksum(anchor->intermediate, 15);
    anchor->checksum = 0;
    anchor->checksum = checksum(anchor, anchor->length);
}

static void finish_64(struct anchor_64 *anchor, const void *table, u32 size)
{
    anchor->table = (u32)table;
    anchor->table_length = size;
    anchor->checksum = 0;
    anchor->checksum = checksum(anchor, anchor->length);
}

static u8 *load_tables(const struct fw_file *tables, u32 *size, bool *added)
{
    u32 extra = sizeof(bios_information);
    u8 *base = allocate_high(tables->size + extra, 16);
    if (!base)
        return NULL;
    fw_cfg_read(tables->selector, base + extra, tables->size);
    *size = tables->size;
    *added = !has_bios_information(base + extra, tables->size);
    if (!*added)
        return base + extra;
    memcpy(base, &bios_information, extra);
    *size += extra;
    return base;
}

void smbios_build(void)
{
    struct fw_file anchor_file, tables;
    u32 size;
    bool added;
    if (!fw_cfg_find("etc/smbios/smbios-anchor", &anchor_file) ||
        !fw_cfg_find("etc/smbios/smbios-tables", &tables))
        return;
    if (anchor_file.size < sizeof(struct anchor_64) || anchor_file.size > 64)
        return;
    u8 *anchor = allocate_table(anchor_file.size, 16);
    u8 *table = anchor ? load_tables(&tables, &size, &added) : NULL;
    if (!table)
        return;
    fw_cfg_read(anchor_file.selector, anchor, anchor_file.size);
    if (memcmp(anchor, "_SM3_", 5) == 0 && anchor[6] <= anchor_file.size)
        finish_64((struct anchor_64 *)anchor, table, size);
    else if (memcmp(anchor, "_SM_", 4) == 0 && anchor_file.size >= sizeof(struct anchor_32) &&
             anchor[5] <= anchor_file.size)
        finish_32((struct anchor_32 *)anchor, table, size, added);
    else
        memset(anchor, 0, anchor_file.size);
}
