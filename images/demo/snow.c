/* Snow on the screen: flakes fall at their own speeds and lie where they land. */
#include "snow.h"

#include "console.h"
#include "input.h"
#include "random.h"
#include "timer.h"

enum { FLAKES = 70, FRAME = TICKS_PER_SECOND / 20, HIGHEST_DRIFT = 12, FINE = 8 };

struct flake {
    unsigned column, height; /* height in eighths of a row */
    unsigned speed;
};

static struct flake flakes[FLAKES];
static unsigned drift[SCREEN_COLUMNS]; /* how high the snow lies */
static uint32_t state = 0x5EED;

static void start_flake(struct flake *flake)
{
    flake->column = random_below(&state, SCREEN_COLUMNS);
    flake->height = 0;
    flake->speed = 1 + random_below(&state, FINE);
}

static unsigned ground(unsigned column) { return SCREEN_ROWS - 1 - drift[column]; }

static void land(struct flake *flake)
{
    if (drift[flake->column] < HIGHEST_DRIFT) {
        screen_put_at(ground(flake->column), flake->column, '*', WHITE);
        drift[flake->column]++;
    }
    start_flake(flake);
}

static void fall(struct flake *flake)
{
    screen_put_at(flake->height / FINE, flake->column, ' ', GREY);
    flake->height += flake->speed;
    if (!random_below(&state, 4))
        flake->column = (flake->column + SCREEN_COLUMNS - 1 + random_below(&state, 3)) %
                        SCREEN_COLUMNS;
    if (flake->height / FINE >= ground(flake->column))
        land(flake);
    else
        screen_put_at(flake->height / FINE, flake->column, flake->speed > FINE / 2 ? '*' : '.',
                      flake->speed > FINE / 2 ? WHITE : GREY);
}

void snow(void)
{
    print("It snows on the screen until you press a key.\n");
    screen_init();
    for (unsigned i = 0; i < SCREEN_COLUMNS; i++)
        drift[i] = 0;
    for (unsigned i = 0; i < FLAKES; i++) {
        start_flake(&flakes[i]);
        flakes[i].height = random_below(&state, (SCREEN_ROWS - 1) * FINE);
    }
    while (!input_waits()) {
        for (unsigned i = 0; i < FLAKES; i++)
            fall(&flakes[i]);
        timer_sleep(FRAME);
    }
    input_next();
    screen_init();
}
