/* The real-time clock: Motorola MC146818A data sheet; the century in CMOS byte 32h. */
#include "rtc.h"

#include "io.h"
#include "text.h"
#include "timer.h"

enum { INDEX = 0x70, DATA = 0x71 };
enum { SECOND = 0, MINUTE = 2, HOUR = 4, DAY = 7, MONTH = 8, YEAR = 9, CENTURY = 0x32 };
enum { STATUS_A = 0x0A, STATUS_B = 0x0B, UPDATING = 0x80, BINARY = 4, HOURS_24 = 2, PM = 0x80 };

static uint8_t read(uint8_t reg)
{
    out8(INDEX, reg);
    return in8(DATA);
}

static uint8_t number(uint8_t value)
{
    return read(STATUS_B) & BINARY ? value : (uint8_t)((value >> 4) * 10 + (value & 15));
}

static struct date read_once(void)
{
    uint8_t hour = read(HOUR), century = number(read(CENTURY));
    bool afternoon = !(read(STATUS_B) & HOURS_24) && hour & PM;

    hour = number(hour & (uint8_t)~PM);
    if (!(read(STATUS_B) & HOURS_24))
        hour = (uint8_t)(hour % 12 + (afternoon ? 12 : 0));
    return (struct date){
        .year = (uint16_t)((century ? century : 20) * 100 + number(read(YEAR))),
        .month = number(read(MONTH)),
        .day = number(read(DAY)),
        .hour = hour,
        .minute = number(read(MINUTE)),
        .second = number(read(SECOND)),
    };
}

bool rtc_read(struct date *date)
{
    uint32_t start = timer_ticks();
    struct date again;

    while (timer_ticks() - start < TICKS_PER_SECOND) {
        if (read(STATUS_A) & UPDATING)
            continue;
        *date = read_once();
        again = read_once();
        if (!memcmp(date, &again, sizeof again))
            return date->month >= 1 && date->month <= 12 && date->day >= 1 && date->day <= 31 &&
                   date->hour < 24 && date->minute < 60 && date->second < 60;
    }
    return false;
}
