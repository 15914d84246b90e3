/* Memory outside the stack: video memory, interrupt vectors, buffers of the caller. */
#include "vga.h"

void fill_words(u16 segment, u16 offset, u16 value, u16 count)
{
    u32 edi = offset, ecx = count;
    asm volatile("pushw %%es\n\tmovw %w3, %%es\n\trep stosw\n\tpopw %%es"
                 : "+D"(edi), "+c"(ecx)
                 : "a"(value), "d"(segment)
                 : "memory");
}

void fill_bytes(u16 segment, u16 offset, u8 value, u16 count)
{
    u32 edi = offset, ecx = count;
    asm volatile("pushw %%es\n\tmovw %w3, %%es\n\trep stosb\n\tpopw %%es"
                 : "+D"(edi), "+c"(ecx)
                 : "a"(value), "d"(segment)
                 : "memory");
}

/* Bytes, not words: planes are copied through the VGA's latches, one byte at a time. */
void copy_bytes(u16 segment, u16 to, u16 from, u16 count)
{
    u32 edi = to, esi = from, ecx = count;
    asm volatile("pushw %%ds\n\tpushw %%es\n\tmovw %w3, %%ds\n\tmovw %w3, %%es\n\t"
                 "rep movsb\n\tpopw %%es\n\tpopw %%ds"
                 : "+D"(edi), "+S"(esi), "+c"(ecx)
                 : "a"(segment)
                 : "memory");
}

u8 far_read8(u16 segment, u16 offset)
{
    u32 value;
    asm volatile("pushw %%es\n\tmovw %w1, %%es\n\tmovzbl %%es:(%2), %0\n\tpopw %%es"
                 : "=r"(value)
                 : "r"(segment), "r"((u32)offset)
                 : "memory");
    return value;
}

u16 far_read16(u16 segment, u16 offset)
{
    u32 value;
    asm volatile("pushw %%es\n\tmovw %w1, %%es\n\tmovzwl %%es:(%2), %0\n\tpopw %%es"
                 : "=r"(value)
                 : "r"(segment), "r"((u32)offset)
                 : "memory");
    return value;
}

void far_write8(u16 segment, u16 offset, u8 value)
{
    fill_bytes(segment, offset, value, 1);
}

void far_write16(u16 segment, u16 offset, u16 value)
{
    fill_words(segment, offset, value, 1);
}

void far_write32(u16 segment, u16 offset, u32 value)
{
    far_write16(segment, offset, value);
    far_write16(segment, offset + 2, value >> 16);
}
