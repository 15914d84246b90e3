/* The date and time kept by the battery-backed clock. */
#ifndef RTC_H
#define RTC_H

#include <stdbool.h>
#include <stdint.h>

struct date {
    uint16_t year;
    uint8_t month, day, hour, minute, second;
} __attribute__((packed)); /* no padding: two readings are compared byte by byte */

/* False if the clock never stands still or shows no possible date. */
bool rtc_read(struct date *date);

#endif
