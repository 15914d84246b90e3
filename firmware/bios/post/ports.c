/* Serial and parallel ports: which of the usual addresses answer. INT 14h and 17h use the list. */
#include "post.h"

static bool serial_at(u16 port)
{
    outb(port + 1, 0x02);
    if (inb(port + 1) != 0x02 || (inb(port + 2) & 0x3f) != 0x02)
        return false;
    outb(port + 1, 0);
    outb(port + 3, 0x80); /* 115,200 baud, 8 bits: for messages */
    outb(port, 1);
    outb(port + 1, 0);
    outb(port + 3, 0x03);
    outb(port + 4, 0x03);
    return true;
}

static bool parallel_at(u16 port)
{
    outb(port, 0xaa);
    return inb(port) == 0xaa;
}

void ports_detect(void)
{
    static const u16 serial[] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
    static const u16 parallel[] = {0x378, 0x278, 0x3bc};
    u32 serials = 0, parallels = 0;
    for (u32 i = 0; i < COUNT(serial); i++) {
        if (serial_at(serial[i])) {
            BDA.serial_timeout[serials] = 10;
            BDA.serial_ports[serials++] = serial[i];
        }
    }
    for (u32 i = 0; i < COUNT(parallel); i++) {
        if (parallel_at(parallel[i])) {
            BDA.parallel_timeout[parallels] = 20;
            BDA.parallel_ports[parallels++] = parallel[i];
        }
    }
    BDA.equipment |= serials << EQUIPMENT_SERIAL_SHIFT | parallels << EQUIPMENT_PARALLEL_SHIFT;
}
