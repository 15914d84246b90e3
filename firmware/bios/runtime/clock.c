/*
 * Time: IRQ 0 (INT 08h), IRQ 8 (INT 70h), the clock functions of INT 1Ah, and the waits of INT 15h
 * (83h, 86h). IBM PC/AT Technical Reference; MC146818A for the registers.
 *
 * Waits count the clock's periodic interrupt, 1,024 Hz; one wait at a time, in the data area's
 * fields 98h-A0h.
 */
#include "clock.h"
#include "runtime.h"

enum {
    RTC_SECONDS = 0,
    RTC_SECONDS_ALARM = 1,
    RTC_MINUTES = 2,
    RTC_MINUTES_ALARM = 3,
    RTC_HOURS = 4,
    RTC_HOURS_ALARM = 5,
    RTC_DAY = 7,
    RTC_MONTH = 8,
    RTC_YEAR = 9,
    RTC_A = 10,
    RTC_B = 11,
    RTC_C = 12,
    RTC_CENTURY = 0x32,
};

enum {
    A_UPDATING = 0x80,
    B_SET = 0x80,
    B_PERIODIC = 0x40,
    B_ALARM = 0x20,
    B_24_HOURS = 0x02,
    B_DAYLIGHT = 0x01,
    C_PERIODIC = 0x40,
    C_ALARM = 0x20,
};

enum { TICKS_PER_DAY = 0x1800b0, PERIOD_US = 976 };

enum { WAIT_BUSY = 1, WAIT_OVER = 0x80 };

u8 timer_tick(struct registers *r)
{
    (void)r;
    u32 ticks = bda.ticks + 1;
    if (ticks >= TICKS_PER_DAY) {
        ticks = 0;
        bda.midnight++;
    }
    bda.ticks = ticks;
    return DONE;
}

static void set_periodic(bool on)
{
    u8 b = cmos_read(RTC_B);
    cmos_write(RTC_B, on ? b | B_PERIODIC : b & ~B_PERIODIC);
}

static void count_wait(void)
{
    if (!(bda.wait_active & WAIT_BUSY))
        return;
    if (bda.wait_us > PERIOD_US) {
        bda.wait_us -= PERIOD_US;
        return;
    }
    set_periodic(false);
    bda.wait_us = 0;
    bda.wait_active = 0;
    u16 segment = bda.wait_flag_segment, offset = bda.wait_flag_offset;
    far_write_u8(segment, offset, far_read_u8(segment, offset) | WAIT_OVER);
}

/* AH tells interrupts.S to raise INT 4Ah, the user's alarm. */
u8 clock_interrupt(struct registers *r)
{
    u8 cause = cmos_read(RTC_C) & cmos_read(RTC_B);
    if (cause & C_PERIODIC)
        count_wait();
    r->ah = cause & C_ALARM ? 0x4a : 0;
    return DONE;
}

bool wait_start(u32 us, u16 flag_segment, u16 flag_offset)
{
    if (bda.wait_active & WAIT_BUSY)
        return false;
    bda.wait_us = us;
    bda.wait_flag_segment = flag_segment;
    bda.wait_flag_offset = flag_offset;
    bda.wait_active = WAIT_BUSY;
    outb(0xa1, inb(0xa1) & ~1);
    cmos_read(RTC_C);
    set_periodic(true);
    return true;
}

void wait_cancel(void)
{
    set_periodic(false);
    bda.wait_active = 0;
}

bool wait_running(void)
{
    return bda.wait_active & WAIT_BUSY;
}

/* False if the clock stays in an update (it has no battery, or is being set). */
static bool clock_stable(void)
{
    for (u16 tries = 0; tries < 60000; tries++) {
        if (!(cmos_read(RTC_A) & A_UPDATING))
            return true;
    }
    return false;
}

static void read_time(struct registers *r)
{
    r->dh = cmos_read(RTC_SECONDS);
    r->cl = cmos_read(RTC_MINUTES);
    r->ch = cmos_read(RTC_HOURS);
    r->dl = cmos_read(RTC_B) & B_DAYLIGHT;
}

static void set_time(const struct registers *r)
{
    cmos_write(RTC_SECONDS, r->dh);
    cmos_write(RTC_MINUTES, r->cl);
    cmos_write(RTC_HOURS, r->ch);
    u8 b = cmos_read(RTC_B) & (B_PERIODIC | B_ALARM);
    cmos_write(RTC_B, b | B_24_HOURS | (r->dl & B_DAYLIGHT));
}

static void read_date(struct registers *r)
{
    r->dl = cmos_read(RTC_DAY);
    r->dh = cmos_read(RTC_MONTH);
    r->cl = cmos_read(RTC_YEAR);
    r->ch = cmos_read(RTC_CENTURY);
}

static void set_date(const struct registers *r)
{
    cmos_write(RTC_DAY, r->dl);
    cmos_write(RTC_MONTH, r->dh);
    cmos_write(RTC_YEAR, r->cl);
    cmos_write(RTC_CENTURY, r->ch);
    cmos_write(RTC_B, cmos_read(RTC_B) & ~B_SET);
}

static bool set_alarm(const struct registers *r)
{
    u8 b = cmos_read(RTC_B);
    if (b & B_ALARM)
        return false;
    cmos_write(RTC_SECONDS_ALARM, r->dh);
    cmos_write(RTC_MINUTES_ALARM, r->cl);
    cmos_write(RTC_HOURS_ALARM, r->ch);
    outb(0xa1, inb(0xa1) & ~1);
    cmos_write(RTC_B, (b & ~B_SET) | B_ALARM);
    return true;
}

static bool clock_function(struct registers *r)
{
    switch (r->ah) {
    case 0x00:
        r->cx = bda.ticks >> 16;
        r->dx = bda.ticks;
        r->al = bda.midnight;
        bda.midnight = 0;
        return true;
    case 0x01:
        bda.ticks = (u32)r->cx << 16 | r->dx;
        bda.midnight = 0;
        return true;
    case 0x02:
        if (!clock_stable())
            return false;
        read_time(r);
        return true;
    case 0x03:
        set_time(r);
        return true;
    case 0x04:
        if (!clock_stable())
            return false;
        read_date(r);
        return true;
    case 0x05:
        set_date(r);
        return true;
    case 0x06:
        return set_alarm(r);
    case 0x07:
        cmos_write(RTC_B, cmos_read(RTC_B) & ~B_ALARM);
        return true;
    default:
        return false;
    }
}

u8 int1a(struct registers *r)
{
    bool good = r->ah == 0xb1 ? pci_bios(r) : clock_function(r);
    set_flag(r, FLAG_CARRY, !good);
    return DONE;
}
