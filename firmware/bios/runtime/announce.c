/*
 * Messages of the runtime: what a person must know when there is nothing to boot. They go to the
 * screen, and to the debug port and COM1 for whoever has no screen.
 */
#include "../real_call.h"
#include "runtime.h"

struct real_call real_call;

/* A line of POST's, for print_text (interrupts.S). */
char screen_text[128];

static void serial_write(u8 character)
{
    u16 port = bda.serial_ports[0];
    if (port == 0)
        return;
    for (u32 tries = 0; tries < 10000; tries++) {
        if (inb(port + 5) & 0x20) {
            outb(port, character);
            return;
        }
    }
}

static void screen_write(u8 character)
{
    extern void far_call(void);
    real_call.eax = 0x0e00 | character;
    real_call.ebx = 7;
    real_call.flags = 0;
    real_call.target_offset = far_read_u16(0, 0x10 * 4);
    real_call.target_segment = far_read_u16(0, 0x10 * 4 + 2);
    far_call();
}

void announce(const char *text)
{
    for (; *text; text++) {
        if (*text == '\n') {
            screen_write('\r');
            serial_write('\r');
        }
        screen_write(*text);
        serial_write(*text);
        outb(0x402, *text);
    }
}
