/* Bytes and text: what a freestanding C program must bring itself. */
#include "post.h"

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

int memcmp(const void *a, const void *b, u32 size)
{
    const u8 *x = a, *y = b;
    for (; size--; x++, y++) {
        if (*x != *y)
            return *x - *y;
    }
    return 0;
}

u32 text_length(const char *text)
{
    u32 length = 0;
    while (text[length])
        length++;
    return length;
}

bool text_equal(const char *a, const char *b)
{
    u32 length = text_length(a) + 1;
    return text_starts(b, a) && b[length - 1] == 0;
}

bool text_starts(const char *text, const char *start)
{
    for (; *start; text++, start++) {
        if (*text != *start)
            return false;
    }
    return true;
}

/* What the last byte must be for all to add up to 0. */
u8 checksum(const void *from, u32 size)
{
    u8 sum = 0;
    for (const u8 *byte = from; size--; byte++)
        sum += *byte;
    return -sum;
}
