/*
 * The VGA text screen: the buffer at 0xB8000, and the cursor in the CRT controller's registers
 * 0Eh and 0Fh (IBM VGA, "Cursor Location").
 */
#include "screen.h"

#include "io.h"
#include "text.h"

enum { CRTC_INDEX = 0x3D4, CRTC_DATA = 0x3D5, CURSOR_HIGH = 0x0E, CURSOR_LOW = 0x0F };

static volatile uint16_t *const cells = (volatile uint16_t *)0xB8000;
static unsigned row, column;
static enum colour colour = GREY;

static uint16_t cell(char character, enum colour of)
{
    return (uint16_t)(of << 8 | (uint8_t)character);
}

static void show_cursor(void)
{
    uint16_t position = (uint16_t)(row * SCREEN_COLUMNS + column);

    out8(CRTC_INDEX, CURSOR_HIGH);
    out8(CRTC_DATA, (uint8_t)(position >> 8));
    out8(CRTC_INDEX, CURSOR_LOW);
    out8(CRTC_DATA, (uint8_t)position);
}

static void clear_rows(unsigned first, unsigned last)
{
    for (unsigned i = first * SCREEN_COLUMNS; i < last * SCREEN_COLUMNS; i++)
        cells[i] = cell(' ', GREY);
}

static void scroll(void)
{
    memmove((void *)cells, (void *)(cells + SCREEN_COLUMNS),
            (SCREEN_ROWS - 1) * SCREEN_COLUMNS * sizeof *cells);
    clear_rows(SCREEN_ROWS - 1, SCREEN_ROWS);
    row = SCREEN_ROWS - 1;
}

void screen_init(void)
{
    clear_rows(0, SCREEN_ROWS);
    row = column = 0;
    show_cursor();
}

void screen_put(char character)
{
    switch (character) {
    case '\n':
        row++;
        column = 0;
        break;
    case '\r':
        column = 0;
        break;
    case '\b':
        if (column)
            column--;
        break;
    default:
        cells[row * SCREEN_COLUMNS + column++] = cell(character, colour);
    }
    if (column == SCREEN_COLUMNS) {
        row++;
        column = 0;
    }
    if (row == SCREEN_ROWS)
        scroll();
    show_cursor();
}

void screen_set_colour(enum colour to) { colour = to; }

void screen_put_at(unsigned at_row, unsigned at_column, char character, enum colour of)
{
    cells[at_row * SCREEN_COLUMNS + at_column] = cell(character, of);
}

bool screen_check(void)
{
    volatile uint16_t *last = &cells[SCREEN_ROWS * SCREEN_COLUMNS - 1];
    uint16_t kept = *last, position = (uint16_t)(row * SCREEN_COLUMNS + column), seen;
    bool holds;

    *last = 0x1FB1;
    holds = *last == 0x1FB1;
    *last = kept;
    show_cursor();
    out8(CRTC_INDEX, CURSOR_HIGH);
    seen = (uint16_t)(in8(CRTC_DATA) << 8);
    out8(CRTC_INDEX, CURSOR_LOW);
    seen |= in8(CRTC_DATA);
    return holds && seen == position;
}
