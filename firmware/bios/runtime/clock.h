/* Waits on the real-time clock, and INT 1Ah's other half, the PCI BIOS. */
#ifndef CLOCK_H
#define CLOCK_H

#include "runtime.h"

/* Sets bit 7 of a byte after `us` microseconds; false if another wait runs. */
bool wait_start(u32 us, u16 flag_segment, u16 flag_offset);
void wait_cancel(void);
bool wait_running(void);

/* INT 1Ah AH=B1h; false: CF is to be set. */
bool pci_bios(struct registers *r);

#endif
