/*
 * The standard modes: 00h-03h and 07h text, 0Dh-12h planar graphics, 13h with 256 colours. Register
 * values are those of IBM's VGA (parameter table of its BIOS); the CGA's graphics modes 04h-06h are
 * not there.
 */
#include "vga.h"

#define ATTRIBUTES_TEXT                                                                            \
    {0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0, 0x0f, 8}
#define ATTRIBUTES_200_LINES                                                                       \
    {0, 1, 2, 3, 4, 5, 6, 7, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 1, 0, 0x0f, 0}
#define ATTRIBUTES_16_COLOURS                                                                      \
    {0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 1, 0, 0x0f, 0}
#define ATTRIBUTES_MONO_TEXT                                                                       \
    {0, 8, 8, 8, 8, 8, 8, 8, 0x10, 0x18, 0x18, 0x18, 0x18, 0x18, 0x18, 0x18, 0x0e, 0, 0x0f, 8}
#define ATTRIBUTES_TWO_COLOURS                                                                     \
    {0, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f,  \
     1, 0, 0x0f, 0}
#define ATTRIBUTES_256                                                                             \
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x41, 0, 0x0f, 0}

/* Horizontal timing, vertical timing, and what stands between. */
#define CRTC_40_COLUMNS_TEXT                                                                       \
    {0x2d, 0x27, 0x28, 0x90, 0x2b, 0xa0, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0,           \
     0x9c, 0x8e, 0x8f, 0x14, 0x1f, 0x96, 0xb9, 0xa3, 0xff}
#define CRTC_80_COLUMNS_TEXT(underline)                                                            \
    {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0,           \
     0x9c, 0x8e, 0x8f, 0x28, underline, 0x96, 0xb9, 0xa3, 0xff}
#define CRTC_320X200                                                                               \
    {0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0x00, 0xc0, 0, 0, 0, 0, 0, 0,                 \
     0x9c, 0x8e, 0x8f, 0x14, 0x00, 0x96, 0xb9, 0xe3, 0xff}
#define CRTC_640X200                                                                               \
    {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0xc0, 0, 0, 0, 0, 0, 0,                 \
     0x9c, 0x8e, 0x8f, 0x28, 0x00, 0x96, 0xb9, 0xe3, 0xff}
#define CRTC_640X350                                                                               \
    {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0x40, 0, 0, 0, 0, 0, 0,                 \
     0x83, 0x85, 0x5d, 0x28, 0x0f, 0x63, 0xba, 0xe3, 0xff}
#define CRTC_640X480(mode_control)                                                                 \
    {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00, 0x40, 0, 0, 0, 0, 0, 0,                 \
     0xea, 0x8c, 0xdf, 0x28, 0x00, 0xe7, 0x04, mode_control, 0xff}
#define CRTC_256                                                                                   \
    {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0x41, 0, 0, 0, 0, 0, 0,                 \
     0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff}

#define GRAPHICS_TEXT(map) {0, 0, 0, 0, 0, 0x10, map, 0x0f, 0xff}
#define GRAPHICS_PLANAR {0, 0, 0, 0, 0, 0, 0x05, 0x0f, 0xff}

#define TEXT_40(n)                                                                                 \
    {n, TEXT, PALETTE_TEXT, 40, 25, 16, 0xb800, 0x0800, 8, 0x67, {0x08, 0x03, 0, 0x02},            \
     CRTC_40_COLUMNS_TEXT, ATTRIBUTES_TEXT, GRAPHICS_TEXT(0x0e)}
#define TEXT_80(n)                                                                                 \
    {n, TEXT, PALETTE_TEXT, 80, 25, 16, 0xb800, 0x1000, 8, 0x67, {0x00, 0x03, 0, 0x02},            \
     CRTC_80_COLUMNS_TEXT(0x1f), ATTRIBUTES_TEXT, GRAPHICS_TEXT(0x0e)}

static ROM_DATA struct mode modes[] = {
    TEXT_40(0x00),
    TEXT_40(0x01),
    TEXT_80(0x02),
    TEXT_80(0x03),
    {0x07, TEXT, PALETTE_MONO, 80, 25, 16, 0xb000, 0x1000, 8, 0x66, {0x00, 0x03, 0, 0x02},
     CRTC_80_COLUMNS_TEXT(0x0f), ATTRIBUTES_MONO_TEXT, GRAPHICS_TEXT(0x0a)},
    {0x0d, PLANAR, PALETTE_200_LINES, 40, 25, 8, 0xa000, 0x2000, 8, 0x63, {0x09, 0x0f, 0, 0x06},
     CRTC_320X200, ATTRIBUTES_200_LINES, GRAPHICS_PLANAR},
    {0x0e, PLANAR, PALETTE_200_LINES, 80, 25, 8, 0xa000, 0x4000, 4, 0x63, {0x01, 0x0f, 0, 0x06},
     CRTC_640X200, ATTRIBUTES_200_LINES, GRAPHICS_PLANAR},
    {0x10, PLANAR, PALETTE_TEXT, 80, 25, 14, 0xa000, 0x8000, 2, 0xa3, {0x01, 0x0f, 0, 0x06},
     CRTC_640X350, ATTRIBUTES_16_COLOURS, GRAPHICS_PLANAR},
    {0x11, PLANAR, PALETTE_TEXT, 80, 30, 16, 0xa000, 0xa000, 1, 0xe3, {0x01, 0x0f, 0, 0x06},
     CRTC_640X480(0xc3), ATTRIBUTES_TWO_COLOURS, {0, 0, 0, 0, 0, 0, 0x05, 0x01, 0xff}},
    {0x12, PLANAR, PALETTE_TEXT, 80, 30, 16, 0xa000, 0xa000, 1, 0xe3, {0x01, 0x0f, 0, 0x06},
     CRTC_640X480(0xe3), ATTRIBUTES_16_COLOURS, GRAPHICS_PLANAR},
    {0x13, LINEAR, PALETTE_256, 40, 25, 8, 0xa000, 0xfa00, 1, 0x63, {0x01, 0x0f, 0, 0x0e},
     CRTC_256, ATTRIBUTES_256, {0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff}},
};

enum { KEEP_MEMORY = 0x80, CONTROL_DEFAULT = 0x60, FLAGS_NO_PALETTE = 0x08 };

const ROM struct mode *find_mode(u8 number)
{
    for (u32 i = 0; i < COUNT(modes); i++) {
        if (modes[i].number == number)
            return &modes[i];
    }
    return NULL;
}

/* The mode that is set; mode 3 if the data area names none (a VBE mode). */
const ROM struct mode *current_mode(void)
{
    const ROM struct mode *mode = find_mode(bda.video_mode);
    return mode ? mode : find_mode(3);
}

void set_attribute_register(u8 index, u8 value)
{
    inb(bda.crtc_port + 6); /* the next write is an index */
    outb(ATTRIBUTE, index);
    outb(ATTRIBUTE, value);
    outb(ATTRIBUTE, 0x20); /* video on */
}

static void write_registers(const ROM struct mode *mode)
{
    u16 crtc = mode->misc & 1 ? 0x3d4 : 0x3b4;
    write_indexed(SEQUENCER, 0, 1);
    outb(MISC_WRITE, mode->misc);
    for (u8 i = 0; i < 4; i++)
        write_indexed(SEQUENCER, i + 1, mode->sequencer[i]);
    write_indexed(SEQUENCER, 0, 3);
    write_indexed(crtc, 0x11, 0); /* unlocks 0-7 */
    for (u8 i = 0; i < 25; i++)
        write_indexed(crtc, i, mode->crtc[i]);
    for (u8 i = 0; i < 9; i++)
        write_indexed(GRAPHICS, i, mode->graphics[i]);
    inb(crtc + 6);
    for (u8 i = 0; i < 20; i++) {
        outb(ATTRIBUTE, i);
        outb(ATTRIBUTE, mode->attribute[i]);
    }
    outb(ATTRIBUTE, 0x14);
    outb(ATTRIBUTE, 0);
    outb(ATTRIBUTE, 0x20);
}

static void clear_memory(const ROM struct mode *mode)
{
    if (mode->kind == TEXT) {
        fill_words(mode->segment, 0, 0x0720, 0x4000);
        return;
    }
    fill_words(mode->segment, 0, 0, 0x8000);
}

static void note_mode(const ROM struct mode *mode, u8 flag)
{
    bda.video_mode = mode->number;
    bda.video_columns = mode->columns;
    bda.video_page_size = mode->page_size;
    bda.video_page_offset = 0;
    bda.video_page = 0;
    bda.crtc_port = mode->misc & 1 ? 0x3d4 : 0x3b4;
    bda.video_rows = mode->rows - 1;
    bda.character_height = mode->character_height;
    bda.video_control = CONTROL_DEFAULT | flag;
    bda.video_switches = 0xf9;
    bda.video_display_code = 0x08;
    for (u8 page = 0; page < 8; page++)
        bda.cursor_position[page] = 0;
}

void set_mode(u8 number_and_flag)
{
    u8 flag = number_and_flag & KEEP_MEMORY;
    const ROM struct mode *mode = find_mode(number_and_flag & ~KEEP_MEMORY);
    if (!mode)
        return;
    vbe_disable();
    write_registers(mode);
    note_mode(mode, flag);
    if (!(bda.video_flags & FLAGS_NO_PALETTE))
        load_palette(mode->palette);
    if (!flag)
        clear_memory(mode);
    if (mode->kind == TEXT) {
        load_rom_font(mode->character_height, 0);
        set_cursor_shape(0x0607);
        set_cursor(0, 0);
    } else {
        set_graphics_font(mode->character_height);
    }
}
