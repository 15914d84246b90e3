/* What the user types: keyboard and serial line in one queue. */
#ifndef INPUT_H
#define INPUT_H

#include <stdbool.h>
#include <stddef.h>

/* Called by interrupt handlers; a full queue drops the character. */
void input_push(char character);

/* True if a character waits. */
bool input_waits(void);

/* Waits, halted, for the next character. */
char input_next(void);

/* Reads a line with echo and backspace; it ends at return, which is not stored. */
void input_line(char *line, size_t size);

#endif
