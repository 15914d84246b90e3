/* CRC-32 as in ISO 3309, zlib and PNG. */
#ifndef CRC32_H
#define CRC32_H

#include <stddef.h>
#include <stdint.h>

void crc32_init(void);

/* Continues a sum; start with 0. */
uint32_t crc32(uint32_t sum, const void *data, size_t size);

#endif
