/* The memory map: ACPI specification, section 15, "INT 15H, E820H". */
#include "memory_map.h"

#include "console.h"
#include "layout.h"

struct boot_info {
    uint32_t count;
    uint32_t boot_drive;
    struct {
        uint64_t base, length;
        uint32_t type, attributes;
    } __attribute__((packed)) entry[E820_ENTRIES];
};

enum { USABLE = 1 };

extern const struct boot_info boot_info; /* placed at BOOT_INFO by kernel.ld.S */

static const char *type_name(uint32_t type)
{
    static const char *const names[] = {"?", "usable", "reserved", "ACPI data", "ACPI NVS",
                                        "defective"};

    return names[type < sizeof names / sizeof *names ? type : 0];
}

uint32_t memory_usable(void)
{
    uint32_t total = 0;

    for (uint32_t i = 0; i < boot_info.count; i++)
        if (boot_info.entry[i].type == USABLE)
            total += (uint32_t)(boot_info.entry[i].length >> 10);
    return total;
}

int memory_has(uint32_t address, uint32_t size)
{
    for (uint32_t i = 0; i < boot_info.count; i++)
        if (boot_info.entry[i].type == USABLE && boot_info.entry[i].base <= address &&
            boot_info.entry[i].base + boot_info.entry[i].length >= (uint64_t)address + size)
            return 1;
    return 0;
}

void memory_map_show(void)
{
    print("first address    last address     kind\n");
    for (uint32_t i = 0; i < boot_info.count; i++) {
        uint64_t base = boot_info.entry[i].base;
        print("%016llx %016llx %s\n", base, base + boot_info.entry[i].length - 1,
              type_name(boot_info.entry[i].type));
    }
    print("%u KiB usable\n", memory_usable());
}
