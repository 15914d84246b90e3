/* Writing to the scratch area and proving that it reads back. */
#ifndef STRESS_H
#define STRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "disk.h"

struct stress_result {
    uint32_t writes;  /* requests */
    uint32_t sectors; /* different sectors written */
    uint32_t sum;     /* CRC-32 over the sectors' own sums: the same for the same N and SEED */
    uint32_t bad_lba; /* where it failed */
};

/* Writes at random places, flushes, reads everything back. False if a sector differs. */
bool stress_run(struct disk *disk, struct area area, uint32_t writes, uint32_t seed,
                struct stress_result *result);

/* Reads the whole area: sectors that a stress run wrote, now or before, must be whole. */
bool stress_verify(struct disk *disk, struct area area, struct stress_result *result);

/* CRC-32 of all bytes of a run of sectors. */
bool stress_sum(struct disk *disk, struct area area, uint32_t *sum);

#endif
