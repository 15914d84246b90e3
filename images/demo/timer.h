/* Time since the start, from the interval timer's interrupt. */
#ifndef TIMER_H
#define TIMER_H

#include <stdbool.h>
#include <stdint.h>

enum { TICKS_PER_SECOND = 100 };

void timer_init(void);
void timer_interrupt(void);
uint32_t timer_ticks(void);

/* Sleeps, halted, for a number of ticks. */
void timer_sleep(uint32_t ticks);

#endif
