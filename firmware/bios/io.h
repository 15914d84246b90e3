/* Port access, and the BCD of the clock. The same source serves 16-bit and 32-bit code. */
#ifndef IO_H
#define IO_H

#include "types.h"

static inline u8 inb(u16 port)
{
    u8 value;
    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline u16 inw(u16 port)
{
    u16 value;
    asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline u32 inl(u16 port)
{
    u32 value;
    asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void outb(u16 port, u8 value)
{
    asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void outw(u16 port, u16 value)
{
    asm volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline void outl(u16 port, u32 value)
{
    asm volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

/* RTC registers (MC146818A); bit 7 of the index port stays 0, which leaves NMI enabled. */
static inline u8 cmos_read(u8 index)
{
    outb(0x70, index);
    return inb(0x71);
}

static inline void cmos_write(u8 index, u8 value)
{
    outb(0x70, index);
    outb(0x71, value);
}

static inline u8 bcd_to_binary(u8 bcd)
{
    return (bcd >> 4) * 10 + (bcd & 15);
}

static inline u32 swap32(u32 value)
{
    return value << 24 | (value & 0xff00) << 8 | (value >> 8 & 0xff00) | value >> 24;
}

#endif
