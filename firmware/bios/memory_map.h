/* The memory map that INT 15h AX=E820h hands out (ACPI 15.1). */
#ifndef MEMORY_MAP_H
#define MEMORY_MAP_H

#include "types.h"

#define MAX_MEMORY_RANGES 64

enum { MEMORY_RAM = 1, MEMORY_RESERVED = 2, MEMORY_ACPI = 3, MEMORY_NVS = 4 };

struct memory_range {
    u64 base, length;
    u32 kind;
} PACKED;

extern struct memory_range memory_map[MAX_MEMORY_RANGES];
extern u16 memory_range_count;
/* RAM from 1 MiB up to the first reserved range below 4 GiB, in KiB: INT 15h 88h, E801h. */
extern u32 extended_memory_kib;

#endif
