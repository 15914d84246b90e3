/*
 * INT 14h (serial ports, 16550A) and INT 17h (parallel ports). IBM PC/AT Technical Reference. The
 * data area lists the ports that POST found; a port that is not there answers with a time-out.
 */
#include "../timer.h"
#include "runtime.h"

enum { SERIAL_TIMEOUT = 0x80, DATA_READY = 0x01, HOLDING_EMPTY = 0x20, DIVISOR_LATCH = 0x80 };

static bool wait_line(u16 port, u8 bit, u8 seconds)
{
    struct timeout timeout = timeout_ms(seconds * 1000);
    while (!(inb(port + 5) & bit)) {
        if (timeout_expired(&timeout))
            return false;
    }
    return true;
}

/* AL: rate in bits 7-5, parity 4-3, stop bits 2, length 1-0. */
static void serial_initialise(u16 port, u8 parameters)
{
    static const u16 divisors[] = {1047, 768, 384, 192, 96, 48, 24, 12};
    u16 divisor = divisors[parameters >> 5];
    outb(port + 3, DIVISOR_LATCH);
    outb(port, divisor);
    outb(port + 1, divisor >> 8);
    outb(port + 3, parameters & 0x1f);
    outb(port + 1, 0);
}

static void serial_status(struct registers *r, u16 port)
{
    r->ah = inb(port + 5);
    r->al = inb(port + 6);
}

static void serial_function(struct registers *r, u16 port, u8 seconds)
{
    switch (r->ah) {
    case 0x00:
        serial_initialise(port, r->al);
        serial_status(r, port);
        return;
    case 0x01:
        outb(port + 4, 0x03); /* DTR, RTS */
        if (wait_line(port, HOLDING_EMPTY, seconds)) {
            outb(port, r->al);
            r->ah = inb(port + 5);
        } else {
            r->ah |= SERIAL_TIMEOUT;
        }
        return;
    case 0x02:
        outb(port + 4, 0x01);
        if (wait_line(port, DATA_READY, seconds)) {
            r->ah = inb(port + 5) & 0x1e;
            r->al = inb(port);
        } else {
            r->ah = SERIAL_TIMEOUT;
        }
        return;
    case 0x03:
        serial_status(r, port);
        return;
    default:
        return;
    }
}

u8 int14(struct registers *r)
{
    u16 port = r->dx < 4 ? bda.serial_ports[r->dx] : 0;
    if (port == 0)
        r->ah = SERIAL_TIMEOUT;
    else
        serial_function(r, port, bda.serial_timeout[r->dx]);
    return DONE;
}

enum { PRINTER_TIMEOUT = 0x01, PRINTER_BUSY = 0x80 };

static u8 printer_status(u16 port)
{
    return (inb(port + 1) & 0xf8) ^ 0x48;
}

static void print_character(struct registers *r, u16 port, u8 seconds)
{
    struct timeout timeout = timeout_ms(seconds * 1000);
    outb(port, r->al);
    while (!(inb(port + 1) & PRINTER_BUSY)) {
        if (timeout_expired(&timeout)) {
            r->ah = printer_status(port) | PRINTER_TIMEOUT;
            return;
        }
    }
    u8 control = inb(port + 2);
    outb(port + 2, control | 0x01); /* strobe */
    outb(port + 2, control & ~0x01);
    r->ah = printer_status(port);
}

u8 int17(struct registers *r)
{
    u16 port = r->dx < 3 ? bda.parallel_ports[r->dx] : 0;
    if (port == 0) {
        r->ah = PRINTER_TIMEOUT;
    } else if (r->ah == 0x00) {
        print_character(r, port, bda.parallel_timeout[r->dx]);
    } else {
        if (r->ah == 0x01) { /* INIT low, then high and selected */
            outb(port + 2, 0x08);
            outb(port + 2, 0x0c);
        }
        r->ah = printer_status(port);
    }
    return DONE;
}
