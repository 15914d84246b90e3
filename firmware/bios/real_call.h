/*
 * A call of real-mode code (an interrupt or an option ROM) from C: its registers before and after.
 * The block is a variable of the runtime, in low memory; POST reaches it at its flat address.
 */
#ifndef REAL_CALL_H
#define REAL_CALL_H

#define REAL_EAX 0
#define REAL_EBX 4
#define REAL_ECX 8
#define REAL_EDX 12
#define REAL_ESI 16
#define REAL_EDI 20
#define REAL_EBP 24
#define REAL_DS 28
#define REAL_ES 30
#define REAL_FLAGS 32
#define REAL_TARGET 34
#define REAL_SP 38

#ifndef __ASSEMBLER__
#include "types.h"

struct real_call {
    u32 eax, ebx, ecx, edx, esi, edi, ebp;
    u16 ds, es, flags;
    u16 target_offset, target_segment;
    u16 saved_sp;
} PACKED;

_Static_assert(__builtin_offsetof(struct real_call, saved_sp) == REAL_SP, "REAL_SP");

extern struct real_call real_call;
#endif
#endif
