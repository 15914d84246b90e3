/*
 * Characters and the cursor: INT 10h AH=01h-0Ah, 0Eh, 13h (IBM PS/2 and PC BIOS Interface Technical
 * Reference). Graphics modes draw the same characters (graphics.c). The bell is silent.
 */
#include "vga.h"

enum { BELL = 7, BACKSPACE = 8, LINE_FEED = 10, RETURN = 13 };

static u8 row_of(u16 position)
{
    return position >> 8;
}

static u8 column_of(u16 position)
{
    return position;
}

static void write_cursor_register(u8 index, u16 value)
{
    write_indexed(bda.crtc_port, index, value >> 8);
    write_indexed(bda.crtc_port, index + 1, value);
}

/* Shapes are given for cells of 8 lines; unless told otherwise, they are stretched to the cell. */
static u8 stretched(u8 line, u8 height, u8 short_by)
{
    return line >= 8 || height <= 8 ? line : line == 0 ? 0 : (line + 1) * height / 8 - short_by;
}

void set_cursor_shape(u16 shape)
{
    u8 start = shape >> 8 & 0x3f, end = shape & 0x1f, height = bda.character_height;
    bda.cursor_shape = shape;
    if (!(bda.video_control & 1) && !(start & 0x20)) {
        start = stretched(start, height, 1);
        end = stretched(end, height, 2);
    }
    write_indexed(bda.crtc_port, CRTC_CURSOR_START, start);
    write_indexed(bda.crtc_port, CRTC_CURSOR_END, end);
}

void set_cursor(u8 page, u16 position)
{
    page &= 7;
    bda.cursor_position[page] = position;
    if (page == bda.video_page)
        write_cursor_register(CRTC_CURSOR_HIGH,
                              bda.video_page_offset / 2 +
                                  row_of(position) * bda.video_columns + column_of(position));
}

void set_page(u8 page)
{
    const ROM struct mode *mode = current_mode();
    if (page >= mode->pages)
        return;
    bda.video_page = page;
    bda.video_page_offset = page * bda.video_page_size;
    write_cursor_register(CRTC_START_HIGH,
                          mode->kind == TEXT ? bda.video_page_offset / 2 : bda.video_page_offset);
    set_cursor(page, bda.cursor_position[page]);
}

static u16 cell_offset(u8 page, u16 position)
{
    return page * bda.video_page_size +
           (row_of(position) * bda.video_columns + column_of(position)) * 2;
}

static void scroll_text(const ROM struct mode *mode, const struct registers *r)
{
    u8 top = r->ch, left = r->cl, bottom = r->dh, right = r->dl;
    u8 width = right - left + 1, height = bottom - top + 1;
    u8 lines = r->al == 0 || r->al > height ? height : r->al;
    u16 blank = r->bh << 8 | ' ';
    bool up = r->ah == 0x06;
    for (u8 i = 0; i < height; i++) {
        u8 row = up ? top + i : bottom - i;
        u16 to = cell_offset(bda.video_page, row << 8 | left);
        u16 from = cell_offset(bda.video_page, (up ? row + lines : row - lines) << 8 | left);
        if (i + lines < height)
            copy_bytes(mode->segment, to, from, width * 2);
        else
            fill_words(mode->segment, to, blank, width);
    }
}

/* AH: 06h up, 07h down; AL: lines, 0 for all; CH, CL to DH, DL: the window; BH: attribute. */
void scroll(struct registers *r)
{
    const ROM struct mode *mode = current_mode();
    if (r->dh > bda.video_rows)
        r->dh = bda.video_rows;
    if (r->dl >= bda.video_columns)
        r->dl = bda.video_columns - 1;
    if (r->ch > r->dh || r->cl > r->dl)
        return;
    if (mode->kind == TEXT)
        scroll_text(mode, r);
    else
        scroll_graphics(mode, r);
}

void read_character(struct registers *r)
{
    const ROM struct mode *mode = current_mode();
    u8 page = r->bh & 7;
    if (mode->kind == TEXT)
        r->ax = far_read16(mode->segment, cell_offset(page, bda.cursor_position[page]));
    else
        r->ax = 0;
}

static void put_character(u8 page, u16 position, u16 cell, bool with_attribute)
{
    const ROM struct mode *mode = current_mode();
    u16 offset = cell_offset(page, position);
    if (mode->kind != TEXT)
        draw_character(mode, position, cell, cell >> 8, 0);
    else if (with_attribute)
        far_write16(mode->segment, offset, cell);
    else
        far_write8(mode->segment, offset, cell);
}

/* AL: character, BL: attribute, CX: how often; the cursor stays. */
void write_character(struct registers *r, bool with_attribute)
{
    const ROM struct mode *mode = current_mode();
    u8 page = mode->kind == TEXT ? r->bh & 7 : 0;
    u16 position = bda.cursor_position[page];
    u16 cells = (bda.video_rows + 1) * bda.video_columns;
    u16 count = r->cx < cells ? r->cx : cells;
    for (; count; count--) {
        if (mode->kind == LINEAR)
            draw_character(mode, position, r->al, r->bl, r->bh);
        else
            put_character(page, position, r->bl << 8 | r->al, with_attribute);
        position++;
        if (column_of(position) >= bda.video_columns)
            position = (row_of(position) + 1) << 8;
        if (row_of(position) > bda.video_rows)
            return;
    }
}

static void line_feed(u8 page, u16 *position)
{
    const ROM struct mode *mode = current_mode();
    if (row_of(*position) < bda.video_rows) {
        *position += 0x100;
        return;
    }
    u8 blank = mode->kind == TEXT
                   ? far_read16(mode->segment, cell_offset(page, *position)) >> 8
                   : 0;
    struct registers r = {
        .ax = 0x0601,
        .bx = blank << 8,
        .dx = bda.video_rows << 8 | (bda.video_columns - 1),
    };
    scroll(&r);
}

/* Where the cursor is after a character that is printed or obeyed. */
void teletype(u8 character, u8 attribute, u8 page, bool with_attribute)
{
    page &= 7;
    u16 position = bda.cursor_position[page];
    switch (character) {
    case BELL:
        break;
    case BACKSPACE:
        if (column_of(position))
            position--;
        break;
    case LINE_FEED:
        line_feed(page, &position);
        break;
    case RETURN:
        position &= 0xff00;
        break;
    default:
        put_character(page, position, attribute << 8 | character, with_attribute);
        position++;
        if (column_of(position) >= bda.video_columns) {
            position &= 0xff00;
            line_feed(page, &position);
        }
        break;
    }
    set_cursor(page, position);
}

/* AL bit 0: move the cursor, bit 1: attributes are in the string; ES:BP, CX characters at DX. */
void write_string(struct registers *r)
{
    u8 page = r->bh & 7, attribute = r->bl;
    u16 before = bda.cursor_position[page], offset = r->bp;
    set_cursor(page, r->dx);
    for (u16 count = r->cx; count; count--) {
        u8 character = far_read8(r->es, offset++);
        if (r->al & 2)
            attribute = far_read8(r->es, offset++);
        teletype(character, attribute, page, true);
    }
    if (!(r->al & 1))
        set_cursor(page, before);
}
