/*
 * The first serial port: a 16550A at 0x3F8 on IRQ 4. Sends by polling, receives by interrupt.
 * Reference: National Semiconductor PC16550D data sheet, section 8.
 */
#include "serial.h"

#include "input.h"
#include "io.h"
#include "trap.h"

enum {
    BASE = 0x3F8,
    DATA = BASE,
    IER = BASE + 1,
    FCR = BASE + 2,
    LCR = BASE + 3,
    MCR = BASE + 4,
    LSR = BASE + 5,
    LSR_DATA_READY = 1,
    LSR_THR_EMPTY = 0x20,
    MCR_DTR_RTS_OUT2 = 0x0B, /* OUT2 lets the interrupt through */
    MCR_LOOP = 0x10,
    IER_RECEIVED = 1,
};

/* A port that is not there answers FFh; a stuck one must not hold the guest up for ever. */
static void wait_for(uint8_t bit)
{
    for (unsigned i = 0; i < 100000 && !(in8(LSR) & bit); i++)
        ;
}

void serial_init(void)
{
    out8(IER, 0);
    out8(LCR, 0x80); /* divisor latch: 115200 / 1 */
    out8(DATA, 1);
    out8(IER, 0);
    out8(LCR, 3); /* 8 data bits, no parity, 1 stop bit */
    out8(FCR, 7); /* FIFOs on and empty, interrupt at every byte */
    out8(MCR, MCR_DTR_RTS_OUT2);
    out8(IER, IER_RECEIVED);
    irq_enable(4);
}

void serial_put(char character)
{
    wait_for(LSR_THR_EMPTY);
    out8(DATA, (uint8_t)character);
}

void serial_interrupt(void)
{
    for (unsigned i = 0; i < 256 && in8(LSR) & LSR_DATA_READY; i++)
        input_push((char)in8(DATA));
}

bool serial_check(void)
{
    bool holds;

    interrupts_off();
    out8(IER, 0);
    wait_for(LSR_THR_EMPTY);
    out8(MCR, MCR_LOOP);
    out8(DATA, 0xC0);
    wait_for(LSR_DATA_READY);
    holds = in8(DATA) == 0xC0;
    out8(MCR, MCR_DTR_RTS_OUT2);
    out8(IER, IER_RECEIVED);
    interrupts_on();
    return holds;
}
