/*
 * Option ROMs (PCI Local Bus 2.1, 6.3; Plug and Play BIOS 1.0A, 3): the VGA BIOS at C0000, from the
 * display's ROM BAR, from fw_cfg's vgaroms/..., or as the board has it there by itself; and what
 * the host offers as fw_cfg files genroms/..., from C8000 up. A ROM with a boot entry vector is
 * asked to boot before the disks (the host's own loader of kernels is one).
 */
#include "post.h"

enum {
    VIDEO_BASE = 0xc0000, VIDEO_SIZE = 0x10000, EXPANSION_BASE = 0xc8000, EXPANSION_END = 0xe0000,
};
enum { CLASS_VGA = 0x0300, ROM_ENABLE = 1, SIGNATURE = 0xaa55, TEXT_MODE = 3 };
enum { ROM_SIZE_OFFSET = 2, ROM_ENTRY = 3, ROM_PNP = 0x1a };
enum { PNP_BOOT_ENTRY = 0x1a };

extern u16 boot_entry_segment, boot_entry_offset;

static u32 rom_size(const u8 *rom)
{
    return *(const u16 *)rom == SIGNATURE ? rom[ROM_SIZE_OFFSET] * 512 : 0;
}

/* AX: the device's address for a PCI ROM; the entry is at offset 3. */
static void start_rom(u32 base, pci_address address)
{
    struct real_call call = {.eax = address, .edx = 0xffff, .ebx = 0xffff, .es = FIXED_SEGMENT};
    real_far_call(base >> 4, ROM_ENTRY, &call);
}

/* Puts RAM under C0000-DFFFF; a ROM that the board has at C0000 by itself is kept. */
static void shadow_expansion_area(void)
{
    u8 *buffer = (u8 *)0x100000; /* RAM that nothing uses yet */
    u32 size = rom_size((const u8 *)VIDEO_BASE);
    if (size > VIDEO_SIZE)
        size = 0;
    memcpy(buffer, (const u8 *)VIDEO_BASE, size);
    pci_write32(0, 0x58, (pci_read32(0, 0x58) & 0xff) | PAM_LOW_RW);
    pci_write32(0, 0x5c, PAM_HIGH_RW);
    memset((void *)VIDEO_BASE, 0, EXPANSION_END - VIDEO_BASE);
    memcpy((void *)VIDEO_BASE, buffer, size);
}

static bool copy_rom(u32 base, u32 room, const u8 *from, const char *name)
{
    u32 size = rom_size(from);
    if (size == 0 || size > room) {
        say("%s: no option ROM, or too large (%u bytes)\n", name, size);
        return false;
    }
    memcpy((void *)base, from, size);
    return true;
}

static bool video_rom_from_bar(pci_address address)
{
    u32 bar = pci_read32(address, PCI_ROM_BAR) & ~0x7ff;
    if (bar == 0)
        return false;
    pci_write32(address, PCI_ROM_BAR, bar | ROM_ENABLE);
    bool good = copy_rom(VIDEO_BASE, VIDEO_SIZE, (const u8 *)bar, "VGA ROM BAR");
    pci_write32(address, PCI_ROM_BAR, bar);
    return good;
}

/* A file is read to RAM at 1 MiB, where nothing is yet. */
static bool rom_from_file(const struct fw_file *file, u32 base, u32 room)
{
    u8 *buffer = (u8 *)0x100000;
    if (file->size < 512 || file->size > 0x40000)
        return false;
    fw_cfg_read(file->selector, buffer, file->size);
    return copy_rom(base, room, buffer, file->name);
}

static bool video_rom_from_file(void)
{
    struct fw_file file;
    u32 position = 0;
    while (fw_cfg_next(&position, &file)) {
        if (text_starts(file.name, "vgaroms/") && rom_from_file(&file, VIDEO_BASE, VIDEO_SIZE))
            return true;
    }
    return false;
}

void video_rom_start(void)
{
    pci_address address = 0;
    bool display = pci_find_class(CLASS_VGA, &address);
    shadow_expansion_area();
    if (!(display && video_rom_from_bar(address)) && !video_rom_from_file() &&
        !rom_size((const u8 *)VIDEO_BASE)) {
        say("No VGA BIOS: no screen\n");
        return;
    }
    start_rom(VIDEO_BASE, display ? address : 0);
    /* Not every VGA BIOS leaves a mode set: it is the system BIOS that asks for the first one. */
    struct real_call call = {.eax = TEXT_MODE};
    real_interrupt(0x10, &call);
    screen_on();
    say("Cowbox BIOS\n");
}

static void note_boot_entry(u32 base)
{
    u16 header = *(const u16 *)(base + ROM_PNP);
    const u8 *pnp = (const u8 *)base + header;
    if (header == 0 || header > rom_size((const u8 *)base) - 32 || memcmp(pnp, "$PnP", 4) != 0)
        return;
    u16 entry = *(const u16 *)(pnp + PNP_BOOT_ENTRY);
    if (entry == 0 || RUNTIME(boot_entry_segment))
        return;
    RUNTIME(boot_entry_segment) = base >> 4;
    RUNTIME(boot_entry_offset) = entry;
}

void option_roms_start(void)
{
    struct fw_file file;
    u32 position = 0, base = EXPANSION_BASE;
    u32 video = VIDEO_BASE + rom_size((const u8 *)VIDEO_BASE);
    if (base < video)
        base = (video + 0x7ff) & ~0x7ff;
    while (fw_cfg_next(&position, &file)) {
        if (!text_starts(file.name, "genroms/") ||
            !rom_from_file(&file, base, EXPANSION_END - base))
            continue;
        say("Option ROM %s\n", file.name);
        start_rom(base, 0);
        note_boot_entry(base);
        base += (rom_size((const u8 *)base) + 0x7ff) & ~0x7ff;
    }
}
