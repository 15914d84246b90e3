/*
 * How much RAM there is, what POST takes of it, and the map of it for INT 15h.
 *
 * The sizes come from fw_cfg's etc/e820 (records of base, length, kind), else from CMOS: 34h-35h
 * 64 KiB blocks above 16 MiB, 5Bh-5Dh above 4 GiB, 30h-31h KiB above 1 MiB. Tables that need not be
 * found by scanning are kept at the top of low RAM; the map calls that part reserved.
 */
#include "../memory_map.h"
#include "post.h"

struct memory_size memory;

/* The lowest byte taken at the top of low RAM, and the next one in the F-segment's table area. */
static u32 high_bottom;
static u32 table_next = TABLES_BASE;

static const u64 four_gib = 0x100000000;

static void sizes_from_cmos(void)
{
    u32 blocks = cmos_read(0x34) | cmos_read(0x35) << 8;
    u32 kib = cmos_read(0x30) | cmos_read(0x31) << 8;
    memory.low = blocks ? (blocks << 16) + 0x1000000 : (kib << 10) + 0x100000;
    u32 high = cmos_read(0x5b) | cmos_read(0x5c) << 8 | cmos_read(0x5d) << 16;
    memory.high = (u64)high << 16;
}

static void sizes_from_ranges(const struct memory_range *ranges, u32 count)
{
    for (u32 i = 0; i < count; i++) {
        u64 end = ranges[i].base + ranges[i].length;
        if (ranges[i].kind != MEMORY_RAM)
            continue;
        if (ranges[i].base < four_gib && end <= four_gib && end > memory.low)
            memory.low = end;
        if (ranges[i].base >= four_gib)
            memory.high += ranges[i].length;
    }
}

void memory_detect(void)
{
    static struct memory_range ranges[MAX_MEMORY_RANGES];
    struct fw_file file;
    if (fw_cfg_find("etc/e820", &file) && file.size <= sizeof(ranges)) {
        fw_cfg_read(file.selector, ranges, file.size);
        sizes_from_ranges(ranges, file.size / sizeof(ranges[0]));
    }
    if (memory.low < 0x100000)
        sizes_from_cmos();
    high_bottom = memory.low;
}

void *allocate_high(u32 size, u32 alignment)
{
    u32 base = (high_bottom - size) & ~(alignment - 1);
    if (size > high_bottom || base < 0x200000) {
        say("No memory left for tables of %u bytes\n", size);
        return NULL;
    }
    high_bottom = base;
    return memset((void *)base, 0, size);
}

void *allocate_table(u32 size, u32 alignment)
{
    u32 base = (table_next + alignment - 1) & ~(alignment - 1);
    if (size > TABLES_END - TABLES_BASE || base + size > TABLES_END) {
        say("No room below 1 MiB for a table of %u bytes\n", size);
        return NULL;
    }
    table_next = base + size;
    return memset((void *)base, 0, size);
}

static void add_range(u64 base, u64 end, u32 kind)
{
    u16 *count = &RUNTIME(memory_range_count);
    if (end <= base || *count == MAX_MEMORY_RANGES)
        return;
    (&RUNTIME(memory_map[0]))[(*count)++] = (struct memory_range){base, end - base, kind};
}

/* Ranges that the host reserves, beyond RAM: those that begin at 4 GiB or in the PCI hole. */
static void add_host_ranges(void)
{
    struct memory_range range;
    struct fw_file file;
    if (!fw_cfg_find("etc/e820", &file) || file.size > sizeof(range) * MAX_MEMORY_RANGES)
        return;
    static struct memory_range ranges[MAX_MEMORY_RANGES];
    fw_cfg_read(file.selector, ranges, file.size);
    for (u32 i = 0; i < file.size / sizeof(range); i++) {
        range = ranges[i];
        bool above = range.base >= four_gib;
        if (range.kind != MEMORY_RAM || above)
            add_range(range.base, range.base + range.length, range.kind);
    }
}

void memory_map_build(void)
{
    u32 top = high_bottom & ~0xfff;
    struct fw_file file;
    add_range(0, EBDA_SEGMENT << 4, MEMORY_RAM);
    add_range(EBDA_SEGMENT << 4, 0xa0000, MEMORY_RESERVED);
    add_range(ROM_BASE, ROM_BASE + ROM_SIZE, MEMORY_RESERVED);
    add_range(0x100000, top, MEMORY_RAM);
    add_range(top, memory.low, MEMORY_RESERVED);
    add_range(four_gib - 0x40000, four_gib, MEMORY_RESERVED);
    add_host_ranges();
    if (!fw_cfg_find("etc/e820", &file))
        add_range(four_gib, four_gib + memory.high, MEMORY_RAM);
    RUNTIME(extended_memory_kib) = (top - 0x100000) >> 10;
}
