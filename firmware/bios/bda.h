/* The BIOS data area at 0040:0000 (IBM PC/AT Technical Reference) and its extension. */
#ifndef BDA_H
#define BDA_H

#include "layout.h"
#include "types.h"

struct bda {
    u16 serial_ports[4];        /* 00 */
    u16 parallel_ports[3];      /* 08 */
    u16 ebda_segment;           /* 0e */
    u16 equipment;              /* 10 */
    u8 unused_12;               /* 12 */
    u16 base_memory_kib;        /* 13 */
    u16 unused_15;              /* 15 */
    u8 shift_flags;             /* 17 */
    u8 shift_keys;              /* 18 */
    u8 alt_digits;              /* 19: Alt + digits, the number so far */
    u16 key_head, key_tail;     /* 1a: offsets from segment 40 */
    u16 key_buffer[16];         /* 1e */
    u8 diskette[11];            /* 3e */
    u8 video_mode;              /* 49 */
    u16 video_columns;          /* 4a */
    u16 video_page_size;        /* 4c */
    u16 video_page_offset;      /* 4e */
    u16 cursor_position[8];     /* 50: row << 8 | column */
    u16 cursor_shape;           /* 60: start << 8 | end */
    u8 video_page;              /* 62 */
    u16 crtc_port;              /* 63 */
    u8 video_mode_register;     /* 65 */
    u8 video_palette;           /* 66 */
    u16 resume_offset, resume_segment; /* 67 */
    u8 unused_6b;               /* 6b */
    u32 ticks;                  /* 6c */
    u8 midnight;                /* 70 */
    u8 break_flag;              /* 71: bit 7 */
    u16 reset_flag;             /* 72: 1234h keeps memory */
    u8 disk_status;             /* 74 */
    u8 disk_count;              /* 75 */
    u8 disk_control;            /* 76 */
    u8 unused_77;               /* 77 */
    u8 parallel_timeout[4];     /* 78 */
    u8 serial_timeout[4];       /* 7c */
    u16 key_buffer_start, key_buffer_end; /* 80 */
    u8 video_rows;              /* 84: less one */
    u16 character_height;       /* 85 */
    u8 video_control;           /* 87 */
    u8 video_switches;          /* 88 */
    u8 video_flags;             /* 89 */
    u8 video_display_code;      /* 8a */
    u8 unused_8b[11];           /* 8b */
    u8 key_mode;                /* 96 */
    u8 key_leds;                /* 97 */
    u16 wait_flag_offset, wait_flag_segment; /* 98 */
    u32 wait_us;                /* 9c */
    u8 wait_active;             /* a0 */
    u8 unused_a1[7];            /* a1 */
    u16 video_save_offset, video_save_segment; /* a8 */
} PACKED;

_Static_assert(__builtin_offsetof(struct bda, ticks) == 0x6c, "ticks");
_Static_assert(__builtin_offsetof(struct bda, video_rows) == 0x84, "video_rows");
_Static_assert(__builtin_offsetof(struct bda, video_save_offset) == 0xa8, "video_save");

enum {
    EQUIPMENT_FPU = 0x0002,
    EQUIPMENT_MOUSE = 0x0004,
    EQUIPMENT_COLOUR_80 = 0x0020,
    EQUIPMENT_SERIAL_SHIFT = 9,
    EQUIPMENT_PARALLEL_SHIFT = 14,
};

#endif
