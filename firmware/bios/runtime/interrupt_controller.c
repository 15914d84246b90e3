/*
 * Hardware interrupts that nobody has taken: acknowledge them, and mask them so that they do not
 * come again. A spurious IRQ 7 or 15 is not in service and gets no (slave) end of interrupt.
 */
#include "runtime.h"

enum { MASTER = 0x20, SLAVE = 0xa0, END_OF_INTERRUPT = 0x20, READ_IN_SERVICE = 0x0b };

static u8 in_service(u16 port)
{
    outb(port, READ_IN_SERVICE);
    return inb(port);
}

u8 irq_master(struct registers *r)
{
    (void)r;
    u8 serving = in_service(MASTER);
    if (serving) {
        outb(MASTER + 1, inb(MASTER + 1) | (serving & ~0x04));
        outb(MASTER, END_OF_INTERRUPT);
    }
    return DONE;
}

u8 irq_slave(struct registers *r)
{
    (void)r;
    u8 serving = in_service(SLAVE);
    if (serving) {
        outb(SLAVE + 1, inb(SLAVE + 1) | serving);
        outb(SLAVE, END_OF_INTERRUPT);
    }
    outb(MASTER, END_OF_INTERRUPT);
    return DONE;
}
