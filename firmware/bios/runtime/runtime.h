/*
 * What all interrupt services share: the BIOS data area, and memory outside the runtime segment.
 *
 * The runtime is 16-bit code (gcc -m16) with CS = DS = ES = SS = RUNTIME_SEGMENT and FS = 40h; it
 * stays in the mode of its caller, real or virtual-8086, and addresses nothing above 1 MiB.
 */
#ifndef RUNTIME_H
#define RUNTIME_H

#include "../bda.h"
#include "../io.h"
#include "../registers.h"

extern volatile struct bda __seg_fs bda;

/* The compiler may call these for structure copies; 32-bit POST has its own. */
void *memcpy(void *to, const void *from, u32 size) asm("runtime_memcpy");
void *memset(void *to, int value, u32 size) asm("runtime_memset");

static inline void set_gs(u16 segment)
{
    asm volatile("movw %0, %%gs" : : "rm"(segment) : "memory");
}

#define FAR_ACCESS(type, name)                                                                     \
    static inline type far_read_##name(u16 segment, u16 offset)                                    \
    {                                                                                              \
        set_gs(segment);                                                                           \
        return *(volatile type __seg_gs *)(u32)offset;                                             \
    }                                                                                              \
    static inline void far_write_##name(u16 segment, u16 offset, type value)                       \
    {                                                                                              \
        set_gs(segment);                                                                           \
        *(volatile type __seg_gs *)(u32)offset = value;                                            \
    }

FAR_ACCESS(u8, u8)
FAR_ACCESS(u16, u16)
FAR_ACCESS(u32, u32)

void far_copy_out(u16 segment, u16 offset, const void *from, u16 size);
void far_copy_in(void *to, u16 segment, u16 offset, u16 size);

/* 64 by 32 bits; the quotient must fit in 32. */
static inline u32 divide(u64 dividend, u32 divisor)
{
    u32 quotient, remainder;
    asm("divl %4"
        : "=a"(quotient), "=d"(remainder)
        : "a"((u32)dividend), "d"((u32)(dividend >> 32)), "rm"(divisor)
        : "cc");
    return quotient;
}

/* Text for a person: to the screen (INT 10h), the debug port and COM1. */
void announce(const char *text);

#endif
