/*
 * Colours: the DAC's contents for each kind of mode, and INT 10h AH=0Bh and 10h. DAC entries are
 * six bits each of red, green and blue.
 */
#include "vga.h"

enum { MODE_CONTROL = 0x10, OVERSCAN = 0x11, COLOUR_SELECT = 0x14, BLINK = 0x08 };

static void write_colour(u8 red, u8 green, u8 blue)
{
    outb(DAC_DATA, red);
    outb(DAC_DATA, green);
    outb(DAC_DATA, blue);
}

/* The EGA's 64 colours: bits rgbRGB, a third and two thirds of full strength. */
static void ega_colours(void)
{
    for (u8 i = 0; i < 64; i++)
        write_colour((i & 4 ? 42 : 0) + (i & 0x20 ? 21 : 0), (i & 2 ? 42 : 0) + (i & 0x10 ? 21 : 0),
                     (i & 1 ? 42 : 0) + (i & 8 ? 21 : 0));
}

/* The CGA's colour i of 16: intensity, and brown instead of dark yellow. */
static void cga_colour(u8 i)
{
    u8 bright = i & 8 ? 21 : 0;
    u8 green = i == 6 ? 21 : (i & 2 ? 42 : 0) + bright;
    write_colour((i & 4 ? 42 : 0) + bright, green, (i & 1 ? 42 : 0) + bright);
}

/* In modes of 200 lines bit 4 of the attribute's value is intensity, 3 and 5 are not used. */
static void cga_colours(void)
{
    for (u8 i = 0; i < 64; i++)
        cga_colour((i & 7) | (i & 0x10 ? 8 : 0));
}

static void mono_colours(void)
{
    for (u8 i = 0; i < 64; i++) {
        u8 level = (i & 8 ? 42 : 0) + (i & 0x10 ? 21 : 0);
        write_colour(level, level, level);
    }
}

static ROM_DATA u8 grey_levels[16] = {0, 5, 8, 11, 14, 17, 20, 24, 28, 32, 36, 40, 45, 50, 56, 63};

/* Nine rings of 24 hues: three brightnesses, each with three saturations; the five steps from the
   weakest component to the strongest. */
static ROM_DATA u8 ring_levels[9][5] = {
    {0, 16, 31, 47, 63}, {31, 39, 47, 55, 63}, {45, 49, 54, 58, 63},
    {0, 7, 14, 21, 28},  {14, 17, 21, 24, 28}, {20, 22, 24, 26, 28},
    {0, 4, 8, 12, 16},   {8, 10, 12, 14, 16},  {11, 12, 13, 15, 16},
};

/* A component's step around the ring: four places up, eight at the top, four down, eight at 0. */
static u8 ring_step(u8 place)
{
    place %= 24;
    return place < 4 ? place : place < 12 ? 4 : place < 16 ? 16 - place : 0;
}

static void mode_13_colours(void)
{
    for (u8 i = 0; i < 16; i++)
        cga_colour(i);
    for (u8 i = 0; i < 16; i++)
        write_colour(grey_levels[i], grey_levels[i], grey_levels[i]);
    for (u8 ring = 0; ring < 9; ring++) {
        for (u8 hue = 0; hue < 24; hue++) /* from blue over magenta to red */
            write_colour(ring_levels[ring][ring_step(hue)], ring_levels[ring][ring_step(hue + 16)],
                         ring_levels[ring][ring_step(hue + 8)]);
    }
    for (u8 i = 0; i < 8; i++)
        write_colour(0, 0, 0);
}

void load_palette(u8 kind)
{
    outb(DAC_MASK, 0xff);
    outb(DAC_WRITE_INDEX, 0);
    switch (kind) {
    case PALETTE_TEXT:
        ega_colours();
        break;
    case PALETTE_200_LINES:
        cga_colours();
        break;
    case PALETTE_MONO:
        mono_colours();
        break;
    default:
        mode_13_colours();
        break;
    }
}

static u8 read_attribute_register(u8 index)
{
    inb(bda.crtc_port + 6);
    outb(ATTRIBUTE, index);
    u8 value = inb(ATTRIBUTE + 1);
    inb(bda.crtc_port + 6);
    outb(ATTRIBUTE, 0x20);
    return value;
}

/* AH=0Bh: the border's colour; the CGA's palettes do not exist here. */
void border_and_palette(const struct registers *r)
{
    if (r->bh == 0)
        set_attribute_register(OVERSCAN, r->bl & 0x1f);
}

static void set_all_attributes(const struct registers *r)
{
    for (u8 i = 0; i < 16; i++)
        set_attribute_register(i, far_read8(r->es, r->dx + i));
    set_attribute_register(OVERSCAN, far_read8(r->es, r->dx + 16));
}

static void get_all_attributes(const struct registers *r)
{
    for (u8 i = 0; i < 16; i++)
        far_write8(r->es, r->dx + i, read_attribute_register(i));
    far_write8(r->es, r->dx + 16, read_attribute_register(OVERSCAN));
}

static void set_colours(const struct registers *r)
{
    outb(DAC_WRITE_INDEX, r->bl);
    for (u16 i = 0; i < (r->cx < 256 ? r->cx : 256) * 3; i++)
        outb(DAC_DATA, far_read8(r->es, r->dx + i));
}

static void get_colours(const struct registers *r)
{
    outb(DAC_READ_INDEX, r->bl);
    for (u16 i = 0; i < (r->cx < 256 ? r->cx : 256) * 3; i++)
        far_write8(r->es, r->dx + i, inb(DAC_DATA));
}

/* Red, green and blue become what the eye sees of them: 30, 59 and 11 per cent. */
static void sum_to_grey(u8 first, u16 count)
{
    for (; count; count--, first++) {
        outb(DAC_READ_INDEX, first);
        u16 red = inb(DAC_DATA), green = inb(DAC_DATA), blue = inb(DAC_DATA);
        u8 grey = (red * 77 + green * 151 + blue * 28 + 128) >> 8;
        outb(DAC_WRITE_INDEX, first);
        write_colour(grey, grey, grey);
    }
}

static void select_page(u8 what, u8 value)
{
    u8 control = read_attribute_register(MODE_CONTROL);
    if (what == 0)
        set_attribute_register(MODE_CONTROL, value ? control | 0x80 : control & 0x7f);
    else
        set_attribute_register(COLOUR_SELECT, control & 0x80 ? value & 15 : value << 2 & 15);
}

static void set_blink(bool on)
{
    u8 control = read_attribute_register(MODE_CONTROL);
    set_attribute_register(MODE_CONTROL, on ? control | BLINK : control & ~BLINK);
}

void palette_function(struct registers *r)
{
    switch (r->al) {
    case 0x00:
        if (r->bl <= COLOUR_SELECT)
            set_attribute_register(r->bl, r->bh);
        break;
    case 0x01:
        set_attribute_register(OVERSCAN, r->bh);
        break;
    case 0x02:
        set_all_attributes(r);
        break;
    case 0x03:
        set_blink(r->bl);
        break;
    case 0x07:
        r->bh = read_attribute_register(r->bl);
        break;
    case 0x08:
        r->bh = read_attribute_register(OVERSCAN);
        break;
    case 0x09:
        get_all_attributes(r);
        break;
    case 0x10:
        outb(DAC_WRITE_INDEX, r->bx);
        write_colour(r->dh, r->ch, r->cl);
        break;
    case 0x12:
        set_colours(r);
        break;
    case 0x13:
        select_page(r->bl, r->bh);
        break;
    case 0x15:
        outb(DAC_READ_INDEX, r->bx);
        r->dh = inb(DAC_DATA);
        r->ch = inb(DAC_DATA);
        r->cl = inb(DAC_DATA);
        break;
    case 0x17:
        get_colours(r);
        break;
    case 0x18:
        outb(DAC_MASK, r->bl);
        break;
    case 0x19:
        r->bl = inb(DAC_MASK);
        break;
    case 0x1a:
        r->bl = read_attribute_register(MODE_CONTROL) >> 7;
        r->bh = read_attribute_register(COLOUR_SELECT);
        break;
    case 0x1b:
        sum_to_grey(r->bx, r->cx < 256 ? r->cx : 256);
        break;
    }
}
