/* Copies between the runtime segment and memory anywhere below 1 MiB. */
#include "runtime.h"

void *memcpy(void *to, const void *from, u32 size)
{
    void *end = to;
    asm volatile("rep movsb" : "+D"(end), "+S"(from), "+c"(size) : : "memory");
    return to;
}

void *memset(void *to, int value, u32 size)
{
    void *end = to;
    asm volatile("rep stosb" : "+D"(end), "+c"(size) : "a"(value) : "memory");
    return to;
}

void far_copy_out(u16 segment, u16 offset, const void *from, u16 size)
{
    u32 edi = offset, esi = (u32)from, ecx = size;
    asm volatile("pushw %%es\n\tmovw %w3, %%es\n\trep movsb\n\tpopw %%es"
                 : "+D"(edi), "+S"(esi), "+c"(ecx)
                 : "a"(segment)
                 : "memory");
}

void far_copy_in(void *to, u16 segment, u16 offset, u16 size)
{
    u32 edi = (u32)to, esi = offset, ecx = size;
    asm volatile("pushw %%ds\n\tmovw %w3, %%ds\n\trep movsb\n\tpopw %%ds"
                 : "+D"(edi), "+S"(esi), "+c"(ecx)
                 : "a"(segment)
                 : "memory");
}
