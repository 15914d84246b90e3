/* The VGA text screen, 80 x 25. */
#ifndef SCREEN_H
#define SCREEN_H

#include <stdbool.h>
#include <stdint.h>

enum { SCREEN_COLUMNS = 80, SCREEN_ROWS = 25 };

/* Attributes: foreground on black. */
enum colour { GREY = 7, GREEN = 10, CYAN = 11, RED = 12, YELLOW = 14, WHITE = 15 };

void screen_init(void);
void screen_put(char character);
void screen_set_colour(enum colour colour);

/* Puts one cell without moving the cursor. */
void screen_put_at(unsigned row, unsigned column, char character, enum colour colour);

/* True if the text buffer and the cursor registers keep what is written to them. */
bool screen_check(void);

#endif
