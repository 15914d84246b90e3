/* What the user types: a ring filled by the interrupts of keyboard and serial line. */
#include "input.h"

#include "console.h"
#include "io.h"

enum { RING = 256 };

static volatile char ring[RING];
static volatile unsigned head, tail;

void input_push(char character)
{
    if (head - tail < RING)
        ring[head++ % RING] = character;
}

bool input_waits(void) { return head != tail; }

char input_next(void)
{
    char character;

    interrupts_off();
    while (!input_waits())
        sleep_until_interrupt();
    character = ring[tail++ % RING];
    interrupts_on();
    return character;
}

void input_line(char *line, size_t size)
{
    size_t length = 0;

    for (;;) {
        char character = input_next();
        if (character == '\r' || character == '\n') {
            console_put('\n');
            line[length] = 0;
            return;
        }
        if ((character == '\b' || character == 0x7F) && length) {
            print("\b \b");
            length--;
        } else if (character >= ' ' && character < 0x7F && length + 1 < size) {
            console_put(character);
            line[length++] = character;
        }
    }
}
