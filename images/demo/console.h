/* Output to the screen and the serial line at once. */
#ifndef CONSOLE_H
#define CONSOLE_H

#include "screen.h"

void console_put(char character);

/* Prints with %s %c %d %u %x %llx %%, with a width, '0' and '-' flags. */
__attribute__((format(printf, 1, 2))) void print(const char *format, ...);

/* Prints in a colour on the screen; the serial line stays plain text. */
__attribute__((format(printf, 2, 3))) void print_in(enum colour colour, const char *format, ...);

#endif
