/*
 * Time-outs by the ACPI PM timer (ACPI 4.8.3.3): 24 bits at 3.579545 MHz, read in one access,
 * whatever the operating system has done to the 8254. POST puts it at PMBASE + 8.
 */
#ifndef TIMER_H
#define TIMER_H

#include "io.h"

#define PM_BASE 0x600
#define PM_TIMER (PM_BASE + 8)
#define PM_TICKS_PER_MS 3580

struct timeout {
    u32 last;
    u32 remaining;
};

static inline struct timeout timeout_ms(u32 ms)
{
    return (struct timeout){inl(PM_TIMER), ms * PM_TICKS_PER_MS};
}

static inline bool timeout_expired(struct timeout *timeout)
{
    u32 now = inl(PM_TIMER);
    u32 elapsed = (now - timeout->last) & 0xffffff;
    timeout->last = now;
    if (elapsed >= timeout->remaining)
        return true;
    timeout->remaining -= elapsed;
    return false;
}

#endif
