/*
 * Fonts: the character generator in plane 2 (eight blocks of 256 cells of 32 bytes), and INT 10h
 * AH=11h. Graphics modes take glyphs from the table that interrupt vector 43h points to, and
 * characters 80h and up of 8x8 cells from vector 1Fh.
 */
#include "vga.h"

enum {
    MAP_MASK = 2, CHARACTER_MAP = 3, MEMORY_MODE = 4, READ_PLANE = 4, MODE = 5, MISCELLANEOUS = 6,
};
enum { CELL_BYTES = 32 };

static const ROM u8 *rom_font(u8 height)
{
    return height == 8 ? font_8x8 : height == 14 ? font_8x14 : font_8x16;
}

/* While the generator is open, A000 is plane 2 alone, a byte a byte. */
static void open_generator(void)
{
    write_indexed(SEQUENCER, MAP_MASK, 0x04);
    write_indexed(SEQUENCER, MEMORY_MODE, 0x06);
    write_indexed(GRAPHICS, READ_PLANE, 0x02);
    write_indexed(GRAPHICS, MODE, 0x00);
    write_indexed(GRAPHICS, MISCELLANEOUS, 0x04);
}

static void close_generator(void)
{
    const ROM struct mode *mode = current_mode();
    write_indexed(SEQUENCER, MAP_MASK, mode->sequencer[MAP_MASK - 1]);
    write_indexed(SEQUENCER, MEMORY_MODE, mode->sequencer[MEMORY_MODE - 1]);
    write_indexed(GRAPHICS, READ_PLANE, mode->graphics[READ_PLANE]);
    write_indexed(GRAPHICS, MODE, mode->graphics[MODE]);
    write_indexed(GRAPHICS, MISCELLANEOUS, mode->graphics[MISCELLANEOUS]);
}

/* Blocks 0-3 stand at 16 KiB steps, 4-7 between them. */
static u16 block_offset(u8 block)
{
    return (block & 3) << 14 | (block & 4) << 11;
}

static u16 cell_offset(u8 block, u8 character)
{
    return block_offset(block) + character * CELL_BYTES;
}

void load_rom_font(u8 height, u8 block)
{
    const ROM u8 *font = rom_font(height);
    open_generator();
    for (u16 c = 0; c < 256; c++) {
        for (u8 line = 0; line < height; line++)
            far_write8(0xa000, cell_offset(block, c) + line, *font++);
    }
    close_generator();
}

static u16 rom_segment(void)
{
    u16 segment;
    asm("movw %%cs, %0" : "=r"(segment));
    return segment;
}

static void set_vector(u8 number, u16 segment, u16 offset)
{
    far_write16(0, number * 4, offset);
    far_write16(0, number * 4 + 2, segment);
}

void set_graphics_font(u8 height)
{
    set_vector(0x43, rom_segment(), (u32)rom_font(height));
    bda.character_height = height;
}

/* ES:BP: glyphs of BH lines, CX of them, from character DX on, into block BL. */
static void load_user_font(const struct registers *r)
{
    u16 from = r->bp;
    u8 height = r->bh <= CELL_BYTES ? r->bh : CELL_BYTES;
    open_generator();
    for (u16 i = 0; i < r->cx && r->dx + i < 256; i++) {
        for (u8 line = 0; line < height; line++)
            far_write8(0xa000, cell_offset(r->bl, r->dx + i) + line,
                       far_read8(r->es, from + line));
        from += r->bh;
    }
    close_generator();
}

static u16 scan_lines(void)
{
    u8 overflow = read_indexed(bda.crtc_port, 0x07);
    return read_indexed(bda.crtc_port, CRTC_DISPLAY_END) + (overflow & 2 ? 256 : 0) +
           (overflow & 0x40 ? 512 : 0) + 1;
}

/* A cell of another height changes how many rows there are. */
static void set_text_height(u8 height)
{
    if (height == 0)
        return;
    u8 maximum = read_indexed(bda.crtc_port, CRTC_MAX_SCAN_LINE);
    write_indexed(bda.crtc_port, CRTC_MAX_SCAN_LINE, (maximum & 0xe0) | (height - 1));
    u16 rows = scan_lines() / height;
    bda.video_rows = rows - 1;
    bda.character_height = height;
    bda.video_page_size = (rows * bda.video_columns * 2 + 255) & ~255;
    set_cursor_shape(bda.cursor_shape);
    set_cursor(bda.video_page, bda.cursor_position[bda.video_page]);
}

/* BL: 1 for 14 rows, 2 for 25, 3 for 43, 0 for DL rows. */
static void set_graphics_rows(const struct registers *r)
{
    static ROM_DATA u8 rows[] = {14, 25, 43};
    bda.video_rows = (r->bl >= 1 && r->bl <= 3 ? rows[r->bl - 1] : r->dl) - 1;
}

/* BH chooses a table; ES:BP points to it, CX: its height, DL: rows less one. */
static void font_information(struct registers *r)
{
    u8 which = r->bh;
    r->cx = bda.character_height;
    r->dl = bda.video_rows;
    if (which <= 1) {
        u16 vector = (which == 0 ? 0x1f : 0x43) * 4;
        r->bp = far_read16(0, vector);
        r->es = far_read16(0, vector + 2);
        return;
    }
    const ROM u8 *font = which == 2 || which == 5 ? font_8x14
                         : which == 3             ? font_8x8
                         : which == 4             ? font_8x8 + 128 * 8
                                                  : font_8x16;
    r->es = rom_segment();
    r->bp = (u32)font;
}

void font_function(struct registers *r)
{
    static ROM_DATA u8 heights[] = {0, 14, 8, 0, 16};
    u8 which = r->al & 15;
    switch (r->al) {
    case 0x00:
    case 0x10:
        load_user_font(r);
        if (r->al & 0x10)
            set_text_height(r->bh);
        break;
    case 0x01:
    case 0x02:
    case 0x04:
    case 0x11:
    case 0x12:
    case 0x14:
        load_rom_font(heights[which], r->bl);
        if (r->al & 0x10)
            set_text_height(heights[which]);
        break;
    case 0x03:
        write_indexed(SEQUENCER, CHARACTER_MAP, r->bl);
        break;
    case 0x20:
        set_vector(0x1f, r->es, r->bp);
        break;
    case 0x21:
        set_vector(0x43, r->es, r->bp);
        bda.character_height = r->cx;
        set_graphics_rows(r);
        break;
    case 0x22:
    case 0x23:
    case 0x24:
        set_graphics_font(heights[which == 2 ? 1 : which == 3 ? 2 : 4]);
        set_graphics_rows(r);
        break;
    case 0x30:
        font_information(r);
        break;
    }
}
