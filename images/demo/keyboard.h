/* The PS/2 keyboard. */
#ifndef KEYBOARD_H
#define KEYBOARD_H

#include <stdbool.h>

void keyboard_init(void);

/* Takes one scan code; called by interrupt 1. */
void keyboard_interrupt(void);

/* True if the keyboard answers the echo command. */
bool keyboard_check(void);

#endif
