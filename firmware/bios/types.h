/* Integer types of fixed width; both the 16-bit and the 32-bit half use them. */
#ifndef TYPES_H
#define TYPES_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8;
typedef signed short s16;
typedef signed int s32;
typedef _Bool bool;

#define true 1
#define false 0
#define NULL ((void *)0)
#define PACKED __attribute__((packed))
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
