/* Memory and strings: the few functions of the C library that the kernel (and GCC) need. */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *to, const void *from, size_t count);
void *memmove(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);
int memcmp(const void *a, const void *b, size_t count);
size_t strlen(const char *text);
bool text_equal(const char *a, const char *b);

/* Reads a decimal, or after "0x" hexadecimal, number of up to 32 bits; false if it is none. */
bool parse_number(const char *text, uint32_t *number);

#endif
