/* What the processor says about itself. */
#ifndef CPU_H
#define CPU_H

#include <stdbool.h>

/* The vendor's 12 letters and a zero. */
void cpu_vendor(char vendor[13]);

void cpu_show(void);

#endif
