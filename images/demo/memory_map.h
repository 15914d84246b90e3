/* The memory map that the boot sector asked the BIOS for (E820). */
#ifndef MEMORY_MAP_H
#define MEMORY_MAP_H

#include <stdint.h>

void memory_map_show(void);

/* Usable memory in KiB. */
uint32_t memory_usable(void);

/* True if the map says that `size` bytes at `address` are usable. */
int memory_has(uint32_t address, uint32_t size);

#endif
