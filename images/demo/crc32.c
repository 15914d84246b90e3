/* CRC-32, a byte at a time by table: polynomial EDB88320h, reflected. */
#include "crc32.h"

static uint32_t table[256];

void crc32_init(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (unsigned bit = 0; bit < 8; bit++)
            value = value >> 1 ^ (value & 1 ? 0xEDB88320 : 0);
        table[i] = value;
    }
}

uint32_t crc32(uint32_t sum, const void *data, size_t size)
{
    sum = ~sum;
    for (const uint8_t *byte = data; size--; byte++)
        sum = table[(sum ^ *byte) & 0xFF] ^ sum >> 8;
    return ~sum;
}
