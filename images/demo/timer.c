/* Time since the start: channel 0 of the 8254 in mode 2, 100 interrupts a second on IRQ 0. */
#include "timer.h"

#include "io.h"
#include "trap.h"

enum { CHANNEL_0 = 0x40, CONTROL = 0x43, INPUT_HERTZ = 1193182 };

static volatile uint32_t ticks;

void timer_init(void)
{
    uint16_t divisor = INPUT_HERTZ / TICKS_PER_SECOND;

    out8(CONTROL, 0x34); /* channel 0, low byte then high byte, mode 2, binary */
    out8(CHANNEL_0, (uint8_t)divisor);
    out8(CHANNEL_0, (uint8_t)(divisor >> 8));
    irq_enable(0);
}

void timer_interrupt(void) { ticks++; }

uint32_t timer_ticks(void) { return ticks; }

void timer_sleep(uint32_t count)
{
    uint32_t start = ticks;

    interrupts_off();
    while (ticks - start < count)
        sleep_until_interrupt();
    interrupts_on();
}
