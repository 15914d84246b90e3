/*
 * ACPI tables, as the host hands them over: fw_cfg's file etc/table-loader is a list of commands
 * that say which files to load where, which fields in them are pointers, and which bytes are
 * checksums (QEMU, hw/acpi/bios-linker-loader.c describes the format; entries of 128 bytes,
 * little-endian).
 *
 * The host's numbers are checked all the same: a command that reaches outside its file is refused,
 * and named, and the rest is carried out.
 */
#include "post.h"

enum { MAX_TABLE_FILES = 16, NAME_SIZE = 56, ZONE_FSEG = 2, MAX_ENTRIES = 1024 };

enum {
    COMMAND_ALLOCATE = 1, COMMAND_ADD_POINTER = 2, COMMAND_ADD_CHECKSUM = 3,
    COMMAND_WRITE_POINTER = 4,
};

struct entry {
    u32 command;
    union {
        struct {
            char file[NAME_SIZE];
            u32 alignment;
            u8 zone;
        } PACKED allocate;
        struct {
            char file[NAME_SIZE], target[NAME_SIZE];
            u32 offset;
            u8 size;
        } PACKED pointer;
        struct {
            char file[NAME_SIZE];
            u32 offset, start, length;
        } PACKED checksum;
        struct {
            char file[NAME_SIZE], target[NAME_SIZE];
            u32 offset, target_offset;
            u8 size;
        } PACKED write;
        u8 bytes[124];
    };
} PACKED;

struct table_file {
    char name[NAME_SIZE];
    u8 *base;
    u32 size;
};

static struct table_file files[MAX_TABLE_FILES];
static u32 file_count;

static struct table_file *loaded(const char *name)
{
    for (u32 i = 0; i < file_count; i++) {
        if (text_equal(files[i].name, name))
            return &files[i];
    }
    return NULL;
}

static bool within(const struct table_file *file, u32 offset, u32 size)
{
    return file && size <= file->size && offset <= file->size - size;
}

static bool allocate(struct entry *e)
{
    struct fw_file file;
    e->allocate.file[NAME_SIZE - 1] = 0;
    u32 alignment = e->allocate.alignment ? e->allocate.alignment : 1;
    if (file_count == MAX_TABLE_FILES || alignment & (alignment - 1) ||
        !fw_cfg_find(e->allocate.file, &file))
        return false;
    u8 *base = e->allocate.zone == ZONE_FSEG ? allocate_table(file.size, alignment)
                                             : allocate_high(file.size, alignment);
    if (!base)
        return false;
    fw_cfg_read(file.selector, base, file.size);
    struct table_file *new = &files[file_count++];
    memcpy(new->name, e->allocate.file, NAME_SIZE);
    new->base = base;
    new->size = file.size;
    return true;
}

static bool valid_pointer_size(u8 size)
{
    return size == 1 || size == 2 || size == 4 || size == 8;
}

static bool add_pointer(struct entry *e)
{
    const struct table_file *file = loaded(e->pointer.file), *target = loaded(e->pointer.target);
    u64 value = 0;
    if (!target || !valid_pointer_size(e->pointer.size) ||
        !within(file, e->pointer.offset, e->pointer.size))
        return false;
    memcpy(&value, file->base + e->pointer.offset, e->pointer.size);
    value += (u32)target->base;
    memcpy(file->base + e->pointer.offset, &value, e->pointer.size);
    return true;
}

static bool add_checksum(struct entry *e)
{
    const struct table_file *file = loaded(e->checksum.file);
    if (!within(file, e->checksum.start, e->checksum.length) ||
        !within(file, e->checksum.offset, 1))
        return false;
    file->base[e->checksum.offset] += checksum(file->base + e->checksum.start, e->checksum.length);
    return true;
}

/* Tells the host where a file has been put. */
static bool write_pointer(struct entry *e)
{
    const struct table_file *target = loaded(e->write.target);
    struct fw_file file;
    if (!within(target, e->write.target_offset, 0) || !valid_pointer_size(e->write.size) ||
        !fw_cfg_find(e->write.file, &file))
        return false;
    u64 value = (u32)target->base + e->write.target_offset;
    return fw_cfg_write(file.selector, e->write.offset, &value, e->write.size);
}

static bool carry_out(struct entry *e)
{
    switch (e->command) {
    case COMMAND_ALLOCATE:
        return allocate(e);
    case COMMAND_ADD_POINTER:
        return add_pointer(e);
    case COMMAND_ADD_CHECKSUM:
        return add_checksum(e);
    case COMMAND_WRITE_POINTER:
        return write_pointer(e);
    default:
        return true; /* unused entries */
    }
}

void acpi_load(void)
{
    struct fw_file script;
    if (!fw_cfg_find("etc/table-loader", &script))
        return;
    u32 count = script.size / sizeof(struct entry);
    struct entry *entries = (struct entry *)0x100000; /* RAM that nothing uses yet */
    if (count > MAX_ENTRIES)
        return;
    fw_cfg_read(script.selector, entries, script.size);
    for (u32 i = 0; i < count; i++) {
        if (!carry_out(&entries[i]))
            say("ACPI: command %u of etc/table-loader (%u) failed\n", i, entries[i].command);
    }
    const struct table_file *rsdp = loaded("etc/acpi/rsdp");
    if (rsdp)
        say("ACPI: RSDP at %05x, %u files\n", (u32)rsdp->base, file_count);
}
