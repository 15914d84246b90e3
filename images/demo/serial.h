/* The first serial port (COM1), 115200 8n1. */
#ifndef SERIAL_H
#define SERIAL_H

#include <stdbool.h>

void serial_init(void);
void serial_put(char character);

/* Takes what has come in; called by interrupt 4. */
void serial_interrupt(void);

/* True if a byte sent in loopback mode comes back. */
bool serial_check(void);

#endif
