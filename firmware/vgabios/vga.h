/*
 * The VGA's registers (IBM VGA, Hardware Interface Technical Reference) and what the files of the
 * VGA BIOS share.
 */
#ifndef VGA_H
#define VGA_H

#include "../bios/bda.h"
#include "../bios/io.h"
#include "../bios/registers.h"

/* A constant in the ROM; it and pointers to it are read through GS (entry.S). */
#define ROM __seg_gs
#define ROM_DATA const ROM __attribute__((section(".constants")))

extern volatile struct bda __seg_fs bda;

enum {
    ATTRIBUTE = 0x3c0,
    MISC_WRITE = 0x3c2,
    VGA_ENABLE = 0x3c3,
    SEQUENCER = 0x3c4,
    DAC_MASK = 0x3c6,
    DAC_READ_INDEX = 0x3c7,
    DAC_WRITE_INDEX = 0x3c8,
    DAC_DATA = 0x3c9,
    MISC_READ = 0x3cc,
    GRAPHICS = 0x3ce,
    CRTC_COLOUR = 0x3d4,
};

enum { CRTC_MAX_SCAN_LINE = 0x09, CRTC_CURSOR_START = 0x0a, CRTC_CURSOR_END = 0x0b,
       CRTC_START_HIGH = 0x0c, CRTC_CURSOR_HIGH = 0x0e, CRTC_DISPLAY_END = 0x12 };

enum memory_kind { TEXT, PLANAR, LINEAR };
enum palette_kind { PALETTE_TEXT, PALETTE_200_LINES, PALETTE_MONO, PALETTE_256 };

/* A mode as the BIOS sets it: what programs are told, and the registers. */
struct mode {
    u8 number;
    u8 kind;
    u8 palette;
    u8 columns, rows, character_height;
    u16 segment, page_size;
    u8 pages;
    u8 misc;
    u8 sequencer[4];            /* 1-4 */
    u8 crtc[25];
    u8 attribute[20];
    u8 graphics[9];
};

static inline void write_indexed(u16 port, u8 index, u8 value)
{
    outw(port, value << 8 | index);
}

static inline u8 read_indexed(u16 port, u8 index)
{
    outb(port, index);
    return inb(port + 1);
}

/* Video memory, by segment; the string instructions do the work. */
void fill_words(u16 segment, u16 offset, u16 value, u16 count);
void fill_bytes(u16 segment, u16 offset, u8 value, u16 count);
void copy_bytes(u16 segment, u16 to, u16 from, u16 count);
u8 far_read8(u16 segment, u16 offset);
u16 far_read16(u16 segment, u16 offset);
void far_write8(u16 segment, u16 offset, u8 value);
void far_write16(u16 segment, u16 offset, u16 value);
void far_write32(u16 segment, u16 offset, u32 value);

/* modes.c */
const ROM struct mode *find_mode(u8 number);
const ROM struct mode *current_mode(void);
void set_mode(u8 number_and_flag);
void set_attribute_register(u8 index, u8 value);

/* text.c */
void set_cursor_shape(u16 shape);
void set_cursor(u8 page, u16 position);
void set_page(u8 page);
void scroll(struct registers *r);
void read_character(struct registers *r);
void write_character(struct registers *r, bool with_attribute);
void teletype(u8 character, u8 attribute, u8 page, bool with_attribute);
void write_string(struct registers *r);

/* graphics.c */
void draw_character(const ROM struct mode *mode, u16 position, u8 character, u8 attribute,
                    u8 background);
void scroll_graphics(const ROM struct mode *mode, const struct registers *r);
void write_pixel(const struct registers *r);
void read_pixel(struct registers *r);

/* palette.c */
void load_palette(u8 kind);
void palette_function(struct registers *r);
void border_and_palette(const struct registers *r);

/* fonts.c */
extern ROM_DATA u8 font_8x8[256 * 8];
extern ROM_DATA u8 font_8x14[256 * 14];
extern ROM_DATA u8 font_8x16[256 * 16];
void load_rom_font(u8 height, u8 block);
void set_graphics_font(u8 height);
void font_function(struct registers *r);

/* state.c */
void video_state(struct registers *r);
void alternate_select(struct registers *r);
void display_combination(struct registers *r);
void functionality(struct registers *r);

/* vbe.c */
bool vbe_present(void);
void vbe_disable(void);
void vbe_function(struct registers *r);

#endif
