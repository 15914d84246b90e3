/*
 * Characters, scrolling and pixels in graphics modes: four planes (set/reset and bit mask of the
 * graphics controller do the drawing) and 256 colours in a line.
 */
#include "vga.h"

enum {
    SET_RESET = 0, ENABLE_SET_RESET = 1, FUNCTION = 3, READ_PLANE = 4, WRITE_MODE = 5, BIT_MASK = 8,
};
enum { FUNCTION_XOR = 0x18, WRITE_THROUGH_LATCHES = 1, ALL_PLANES = 0x0f };
enum { XOR = 0x80 };

static u8 glyph_row(u8 character, u8 line)
{
    u16 offset = far_read16(0, 0x43 * 4), segment = far_read16(0, 0x43 * 4 + 2);
    return far_read8(segment, offset + character * bda.character_height + line);
}

/* Loads the latches, then writes what set/reset and bit mask make of them. */
static void touch(u16 segment, u16 offset)
{
    far_read8(segment, offset);
    far_write8(segment, offset, 0xff);
}

static void planar_bits(u16 segment, u16 offset, u8 mask, u8 colour)
{
    write_indexed(GRAPHICS, SET_RESET, colour);
    write_indexed(GRAPHICS, BIT_MASK, mask);
    touch(segment, offset);
}

static void planar_begin(u8 colour)
{
    write_indexed(GRAPHICS, ENABLE_SET_RESET, ALL_PLANES);
    if (colour & XOR)
        write_indexed(GRAPHICS, FUNCTION, FUNCTION_XOR);
}

static void planar_end(void)
{
    write_indexed(GRAPHICS, FUNCTION, 0);
    write_indexed(GRAPHICS, SET_RESET, 0);
    write_indexed(GRAPHICS, ENABLE_SET_RESET, 0);
    write_indexed(GRAPHICS, BIT_MASK, 0xff);
}

static u16 planar_offset(u16 line, u16 byte)
{
    return bda.video_page_offset + line * bda.video_columns + byte;
}

static void draw_planar(u16 position, u8 character, u8 colour, u8 background)
{
    planar_begin(colour);
    for (u8 line = 0; line < bda.character_height; line++) {
        u8 bits = glyph_row(character, line);
        u16 offset = planar_offset((position >> 8) * bda.character_height + line, position & 0xff);
        if (!(colour & XOR))
            planar_bits(0xa000, offset, ~bits, background);
        planar_bits(0xa000, offset, bits, colour & ALL_PLANES);
    }
    planar_end();
}

static void draw_linear(u16 position, u8 character, u8 colour, u8 background)
{
    for (u8 line = 0; line < 8; line++) {
        u8 bits = glyph_row(character, line);
        u16 offset = ((position >> 8) * 8 + line) * 320 + (position & 0xff) * 8;
        for (u8 mask = 0x80; mask; mask >>= 1)
            far_write8(0xa000, offset++, bits & mask ? colour : background);
    }
}

void draw_character(const ROM struct mode *mode, u16 position, u8 character, u8 attribute,
                    u8 background)
{
    if (mode->kind == LINEAR)
        draw_linear(position, character, attribute, background);
    else
        draw_planar(position, character, attribute, background);
}

/* One row of characters is `height` lines; a window's line is `width` bytes. */
struct window {
    u16 line_size, first_byte, width, height;
};

static u16 line_offset(const struct window *w, u16 line)
{
    return bda.video_page_offset + line * w->line_size + w->first_byte;
}

void scroll_graphics(const ROM struct mode *mode, const struct registers *r)
{
    bool planar = mode->kind == PLANAR, up = r->ah == 0x06;
    u8 cell = planar ? 1 : 8, height = bda.character_height;
    struct window w = {mode->columns * cell, r->cl * cell, (r->dl - r->cl + 1) * cell,
                       (r->dh - r->ch + 1) * height};
    u16 top = r->ch * height, shift = r->al * height;
    if (shift == 0 || shift > w.height)
        shift = w.height;
    if (planar)
        write_indexed(GRAPHICS, WRITE_MODE, WRITE_THROUGH_LATCHES);
    for (u16 i = 0; i + shift < w.height; i++) {
        u16 line = up ? top + i : top + w.height - 1 - i;
        copy_bytes(0xa000, line_offset(&w, line),
                   line_offset(&w, up ? line + shift : line - shift), w.width);
    }
    if (planar) {
        write_indexed(GRAPHICS, WRITE_MODE, 0);
        write_indexed(GRAPHICS, ENABLE_SET_RESET, ALL_PLANES);
        write_indexed(GRAPHICS, SET_RESET, r->bh & ALL_PLANES);
    }
    u16 first = up ? top + w.height - shift : top;
    for (u16 i = 0; i < shift; i++)
        fill_bytes(0xa000, line_offset(&w, first + i), r->bh, w.width);
    if (planar)
        planar_end();
}

/* AL: colour, CX: column, DX: line. */
void write_pixel(const struct registers *r)
{
    const ROM struct mode *mode = current_mode();
    if (mode->kind == LINEAR) {
        far_write8(0xa000, r->dx * 320 + r->cx, r->al);
    } else if (mode->kind == PLANAR) {
        planar_begin(r->al);
        planar_bits(0xa000, planar_offset(r->dx, r->cx >> 3), 0x80 >> (r->cx & 7),
                    r->al & ALL_PLANES);
        planar_end();
    }
}

void read_pixel(struct registers *r)
{
    const ROM struct mode *mode = current_mode();
    if (mode->kind == LINEAR) {
        r->al = far_read8(0xa000, r->dx * 320 + r->cx);
    } else if (mode->kind == PLANAR) {
        u16 offset = planar_offset(r->dx, r->cx >> 3);
        r->al = 0;
        for (u8 plane = 0; plane < 4; plane++) {
            write_indexed(GRAPHICS, READ_PLANE, plane);
            if (far_read8(0xa000, offset) & (0x80 >> (r->cx & 7)))
                r->al |= 1 << plane;
        }
        write_indexed(GRAPHICS, READ_PLANE, 0);
    }
}
