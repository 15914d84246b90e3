/*
 * INT 10h: which function, and the start of the ROM. IBM PS/2 and PC BIOS Interface Technical
 * Reference; VBE 2.0 for AH=4Fh. Light pens (04h), the save area (1Ch) and the CGA's graphics modes
 * are not there.
 */
#include "vga.h"

static void get_cursor(struct registers *r)
{
    r->cx = bda.cursor_shape;
    r->dx = bda.cursor_position[r->bh & 7];
}

static void select_mode(struct registers *r)
{
    set_mode(r->al);
    r->al = 0x30; /* as the VGA leaves it */
}

u8 int10(struct registers *r)
{
    switch (r->ah) {
    case 0x00:
        select_mode(r);
        break;
    case 0x01:
        set_cursor_shape(r->cx);
        break;
    case 0x02:
        set_cursor(r->bh, r->dx);
        break;
    case 0x03:
        get_cursor(r);
        break;
    case 0x04:
        r->ah = 0; /* no light pen */
        break;
    case 0x05:
        set_page(r->al);
        break;
    case 0x06:
    case 0x07:
        scroll(r);
        break;
    case 0x08:
        read_character(r);
        break;
    case 0x09:
        write_character(r, true);
        break;
    case 0x0a:
        write_character(r, false);
        break;
    case 0x0b:
        border_and_palette(r);
        break;
    case 0x0c:
        write_pixel(r);
        break;
    case 0x0d:
        read_pixel(r);
        break;
    case 0x0e:
        teletype(r->al, r->bl, bda.video_page, false);
        break;
    case 0x0f:
        video_state(r);
        break;
    case 0x10:
        palette_function(r);
        break;
    case 0x11:
        font_function(r);
        break;
    case 0x12:
        alternate_select(r);
        break;
    case 0x13:
        write_string(r);
        break;
    case 0x1a:
        display_combination(r);
        break;
    case 0x1b:
        functionality(r);
        break;
    case 0x4f:
        vbe_function(r);
        break;
    }
    return DONE;
}

/* The ROM has been copied to its segment, and the system BIOS has called offset 3. */
void initialise(void)
{
    extern const u8 ROM int10_entry[];
    u16 rom;
    asm("movw %%cs, %0" : "=r"(rom));
    far_write16(0, 0x10 * 4, (u32)int10_entry);
    far_write16(0, 0x10 * 4 + 2, rom);
    far_write16(0, 0x1f * 4, (u32)(font_8x8 + 128 * 8));
    far_write16(0, 0x1f * 4 + 2, rom);
    outb(VGA_ENABLE, 1);
    bda.video_flags = 0x11; /* 400 lines, a VGA */
    set_mode(0x03);
}
