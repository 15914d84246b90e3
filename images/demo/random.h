/* Numbers that look random and are the same in every run. */
#ifndef RANDOM_H
#define RANDOM_H

#include <stdint.h>

/* Marsaglia's xorshift with 32 bits of state, which must not be 0. */
static inline uint32_t random_next(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* A number below `limit`. */
static inline uint32_t random_below(uint32_t *state, uint32_t limit)
{
    return random_next(state) % limit;
}

#endif
