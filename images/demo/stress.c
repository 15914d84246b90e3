/*
 * Random writes, in requests of 1 to MAX_TRANSFER sectors. Each sector says where it belongs and
 * carries its own CRC, so that a lost, torn or misplaced write shows, even after a new start:
 *
 *     word   0        1    2     3         4 ... 126     127
 *            "COWS"   LBA  seed  request   noise         CRC-32 of words 0-126
 *
 * Within one run the newest CRC of every sector is also kept in memory, where an old sector in the
 * place of a new one shows.
 */
#include "stress.h"

#include "crc32.h"
#include "layout.h"
#include "memory_map.h"
#include "random.h"
#include "text.h"

enum { MAGIC = 0x53574F43, WORDS = SECTOR / 4, MAX_AREA = 65536 };

static uint32_t buffer[MAX_TRANSFER][WORDS];
static uint32_t *const newest = (uint32_t *)SUMS_ADDRESS; /* 0: not written in this run */

static void fill(uint32_t *sector, uint32_t lba, uint32_t seed, uint32_t request)
{
    uint32_t state = (lba * 0x9E3779B1 ^ seed * 0x85EBCA6B ^ request) | 1;

    sector[0] = MAGIC;
    sector[1] = lba;
    sector[2] = seed;
    sector[3] = request;
    for (unsigned i = 4; i < WORDS - 1; i++)
        sector[i] = random_next(&state);
    sector[WORDS - 1] = crc32(0, sector, SECTOR - 4);
}

static bool whole(const uint32_t *sector, uint32_t lba)
{
    return sector[0] == MAGIC && sector[1] == lba &&
           sector[WORDS - 1] == crc32(0, sector, SECTOR - 4);
}

static uint32_t smaller(uint32_t a, uint32_t b) { return a < b ? a : b; }

static bool write_randomly(struct disk *disk, struct area area, uint32_t seed,
                           struct stress_result *result)
{
    uint32_t state = seed * 2 + 1;

    for (uint32_t request = 0; request < result->writes; request++) {
        uint32_t first = random_below(&state, area.count);
        uint32_t sectors = 1 + random_below(&state, smaller(MAX_TRANSFER, area.count - first));
        for (uint32_t i = 0; i < sectors; i++) {
            fill(buffer[i], area.first + first + i, seed, request);
            newest[first + i] = buffer[i][WORDS - 1];
        }
        result->bad_lba = area.first + first;
        if (!disk_write(disk, area.first + first, buffer, sectors))
            return false;
    }
    return true;
}

static bool read_back(struct disk *disk, struct area area, struct stress_result *result)
{
    for (uint32_t at = 0; at < area.count; at += MAX_TRANSFER) {
        uint32_t sectors = smaller(MAX_TRANSFER, area.count - at);
        result->bad_lba = area.first + at;
        if (!disk_read(disk, area.first + at, buffer, sectors))
            return false;
        for (uint32_t i = 0; i < sectors; i++) {
            if (!newest[at + i])
                continue;
            result->bad_lba = area.first + at + i;
            if (!whole(buffer[i], area.first + at + i) || buffer[i][WORDS - 1] != newest[at + i])
                return false;
            result->sectors++;
        }
    }
    result->sum = crc32(0, newest, area.count * 4);
    return true;
}

bool stress_run(struct disk *disk, struct area area, uint32_t writes, uint32_t seed,
                struct stress_result *result)
{
    *result = (struct stress_result){.writes = writes};
    area.count = smaller(area.count, MAX_AREA);
    if (!memory_has(SUMS_ADDRESS, area.count * 4))
        return false;
    memset(newest, 0, area.count * 4);
    return write_randomly(disk, area, seed, result) && disk->flush(disk) &&
           read_back(disk, area, result);
}

bool stress_verify(struct disk *disk, struct area area, struct stress_result *result)
{
    *result = (struct stress_result){0};
    for (uint32_t at = 0; at < area.count; at += MAX_TRANSFER) {
        uint32_t sectors = smaller(MAX_TRANSFER, area.count - at);
        result->bad_lba = area.first + at;
        if (!disk_read(disk, area.first + at, buffer, sectors))
            return false;
        for (uint32_t i = 0; i < sectors; i++) {
            if (buffer[i][0] != MAGIC)
                continue;
            result->bad_lba = area.first + at + i;
            if (!whole(buffer[i], area.first + at + i))
                return false;
            result->sectors++;
            result->sum = crc32(result->sum, &buffer[i][WORDS - 1], 4);
        }
    }
    return true;
}

bool stress_sum(struct disk *disk, struct area area, uint32_t *sum)
{
    *sum = 0;
    for (uint32_t at = 0; at < area.count; at += MAX_TRANSFER) {
        uint32_t sectors = smaller(MAX_TRANSFER, area.count - at);
        if (!disk_read(disk, area.first + at, buffer, sectors))
            return false;
        *sum = crc32(*sum, buffer, sectors * SECTOR);
    }
    return true;
}
