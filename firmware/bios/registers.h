/* The caller's registers as an interrupt service sees and changes them (pushed by interrupts.S). */
#ifndef REGISTERS_H
#define REGISTERS_H

#include "types.h"

/* A 32-bit register with the halves that real-mode interfaces use. */
#define REGISTER(letter)                                                                           \
    union {                                                                                        \
        u32 e##letter##x;                                                                          \
        u16 letter##x;                                                                             \
        struct {                                                                                   \
            u8 letter##l, letter##h;                                                               \
        };                                                                                         \
    }
#define INDEX(name)                                                                                \
    union {                                                                                        \
        u32 e##name;                                                                               \
        u16 name;                                                                                  \
    }

struct registers {
    u16 padding;
    u16 gs, fs, es, ds;
    INDEX(di);
    INDEX(si);
    INDEX(bp);
    INDEX(sp);
    REGISTER(b);
    REGISTER(d);
    REGISTER(c);
    REGISTER(a);
    /* Near pointer to the handler: one that waits may name another to go on with. */
    u32 handler;
    u16 ip, cs, flags;
} PACKED;

_Static_assert(sizeof(struct registers) == 52, "BLOCK_SIZE in interrupts.S");

enum { FLAG_CARRY = 0x0001, FLAG_ZERO = 0x0040, FLAG_INTERRUPT = 0x0200 };

/* What a handler returns: the service is complete, or halt until an interrupt and call again. */
enum outcome { DONE = 0, WAIT = 1 };

typedef u8 (*service)(struct registers *r);

static inline void set_flag(struct registers *r, u16 flag, bool value)
{
    r->flags = value ? r->flags | flag : r->flags & ~flag;
}

#endif
