/*
 * What the display is and does: INT 10h AH=0Fh, 12h, 1Ah, 1Bh. A VGA with a colour display, 256
 * KiB, and nothing beside it.
 */
#include "vga.h"

enum { DISPLAY_VGA_COLOUR = 8, SUPPORTED = 0x12, STATE_SUPPORTED = 0x1b };

void video_state(struct registers *r)
{
    r->ah = bda.video_columns;
    r->al = bda.video_mode | (bda.video_control & 0x80);
    r->bh = bda.video_page;
}

/* What a setting of AL 0 (on) or 1 (off) does to a bit that means "off". */
static void set_flag_bit(volatile u8 __seg_fs *flags, u8 bit, bool set)
{
    *flags = set ? *flags | bit : *flags & ~bit;
}

void alternate_select(struct registers *r)
{
    switch (r->bl) {
    case 0x10:
        r->bh = bda.crtc_port == 0x3b4;
        r->bl = 3; /* 256 KiB */
        r->cx = bda.video_switches & 15;
        return;
    case 0x30: /* scan lines of text modes: there are 400 */
    case 0x35:
        break;
    case 0x31:
        set_flag_bit(&bda.video_flags, 0x08, r->al);
        break;
    case 0x32:
        outb(MISC_WRITE, (inb(MISC_READ) & ~2) | (r->al ? 0 : 2));
        break;
    case 0x33:
        set_flag_bit(&bda.video_flags, 0x02, !r->al);
        break;
    case 0x34:
        set_flag_bit(&bda.video_control, 0x01, r->al);
        break;
    case 0x36: {
        u8 clocking = read_indexed(SEQUENCER, 1);
        write_indexed(SEQUENCER, 1, r->al ? clocking | 0x20 : clocking & ~0x20);
        break;
    }
    default:
        return;
    }
    r->al = SUPPORTED;
}

void display_combination(struct registers *r)
{
    if (r->al == 0)
        r->bx = DISPLAY_VGA_COLOUR;
    if (r->al <= 1)
        r->al = 0x1a;
}

/* Static functionality: modes, scan lines, blocks, and what the other functions can. */
static ROM_DATA u8 static_functionality[16] = {
    0x8f, 0xe0, 0x0f, 0, 0, 0, 0, /* modes 0-3 and 7, 0Dh-0Fh.., 10h-13h */
    0x04,                         /* 400 scan lines */
    2, 8, 0xef, 0x0c, 0, 0, 0, 0,
};

static void copy_data_area(u16 segment, u16 offset, u16 from, u8 count)
{
    for (u8 i = 0; i < count; i++)
        far_write8(segment, offset + i, far_read8(BDA_SEGMENT, from + i));
}

/* AH=1Bh: 64 bytes to ES:DI. */
void functionality(struct registers *r)
{
    u16 segment = r->es, at = r->di, rom;
    if (r->bx != 0)
        return;
    asm("movw %%cs, %0" : "=r"(rom));
    fill_bytes(segment, at, 0, 64);
    far_write16(segment, at, (u32)static_functionality);
    far_write16(segment, at + 2, rom);
    copy_data_area(segment, at + 0x04, 0x49, 30);
    far_write8(segment, at + 0x22, bda.video_rows + 1);
    far_write16(segment, at + 0x23, bda.character_height);
    far_write8(segment, at + 0x25, DISPLAY_VGA_COLOUR);
    far_write16(segment, at + 0x27, bda.video_mode == 0x13 ? 256 : 16);
    far_write8(segment, at + 0x29, current_mode()->pages);
    far_write8(segment, at + 0x2a, 2); /* 400 lines */
    far_write8(segment, at + 0x31, 3); /* 256 KiB */
    r->al = STATE_SUPPORTED;
}
